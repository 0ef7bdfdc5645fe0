//! The folder that a board's programs are built from. It must leave no trace in them: the compiler writes
//! other names for the folders of this machine, and `boards/compiler.sh` does the rest.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, ensure};

use crate::programs::root;

/// Replaces the root of the repository in a program.
pub(super) const ROOT: &str = "/fwcast";
/// Replaces the folder with the sources of dependencies.
pub(super) const CRATES: &str = "/crates";
/// Replaces the folder with the build output.
const BUILT: &str = "/built";
/// Replaces the folder of the compiler and its library.
const COMPILER: &str = "/compiler";

/// A folder that contains the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The folder.
    pub root: PathBuf,
    /// Where the build output goes, if not in cargo's default place.
    pub target: Option<PathBuf>,
}

impl Tree {
    /// The tree that this program was built from.
    #[must_use]
    pub fn own() -> Self {
        Self { root: root(), target: None }
    }

    /// Copies everything that would be committed into this folder, which is created. The build output goes
    /// there too.
    ///
    /// # Errors
    /// git or the file system failed.
    pub fn copy(into: &Path) -> Result<Self> {
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(root())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run git")?;
        ensure!(listed.status.success(), "git does not list the repository's files");
        let names = String::from_utf8(listed.stdout).context("a file's name is not UTF-8")?;
        // Files that git still lists may be deleted.
        for name in names.split_terminator('\0').filter(|name| root().join(name).is_file()) {
            let copy = into.join(name);
            fs::create_dir_all(copy.parent().unwrap_or(into))?;
            fs::copy(root().join(name), &copy).with_context(|| format!("cannot write {}", copy.display()))?;
        }
        Ok(Self { root: into.to_owned(), target: Some(into.join("target")) })
    }

    /// Where the build output of a board goes.
    fn output(&self, board: &Path) -> PathBuf {
        let target = self.target.clone().or_else(|| env::var_os("CARGO_TARGET_DIR").map(PathBuf::from));
        board.join(target.unwrap_or_else(|| "target".into()))
    }

    /// Hides the rules of any folder above from rustfmt, by an empty file with rules. The build script of
    /// embassy-stm32 formats what it generates, and the numbers of its lines are in the image.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn hide_rules(&self, board: &Path) -> Result<()> {
        let output = self.output(board);
        fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
        let rules = output.join("rustfmt.toml");
        fs::write(&rules, "").with_context(|| format!("cannot write {}", rules.display()))
    }

    /// The arguments with which cargo, run in the folder of a board, passes this to the compiler. They are
    /// added to the board's own configuration.
    ///
    /// # Errors
    /// There is no compiler.
    pub(super) fn remaps(&self, board: &Path) -> Result<Vec<String>> {
        let target = self.output(board);
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
        let mut remaps = vec![(self.root.clone(), ROOT), (target, BUILT), (sysroot()?, COMPILER)];
        // One folder for each registry, named in this machine's configuration.
        for registry in fs::read_dir(home.unwrap_or_default().join("registry/src")).into_iter().flatten() {
            remaps.push((registry?.path(), CRATES));
        }
        Ok(remaps.iter().flat_map(|(from, to)| arguments(from, to)).collect())
    }
}

fn arguments(from: &Path, to: &str) -> [String; 2] {
    let flag = format!("--remap-path-prefix={}={to}", from.display());
    ["--config".to_owned(), format!("build.rustflags=[{}]", toml_string(&flag))]
}

/// A basic string of TOML.
fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted + "\""
}

fn sysroot() -> Result<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().context("cannot run rustc")?;
    ensure!(output.status.success(), "rustc prints no sysroot");
    Ok(String::from_utf8(output.stdout).context("the sysroot is not UTF-8")?.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_of_this_machine_gets_another_name() {
        let tree = Tree { root: "/srv/a \"b\"/fwcast".into(), target: Some("/t".into()) };
        let arguments = tree.remaps(Path::new("/srv/board")).unwrap();
        let (flags, remaps): (Vec<_>, Vec<_>) = arguments.chunks(2).map(|it| (&it[0], &it[1])).unzip();
        assert!(flags.iter().all(|flag| *flag == "--config"));
        let expected = r#"build.rustflags=["--remap-path-prefix=/srv/a \"b\"/fwcast=/fwcast"]"#;
        assert_eq!(remaps[0], expected);
        assert_eq!(remaps[1], r#"build.rustflags=["--remap-path-prefix=/t=/built"]"#);
        assert!(remaps[2].ends_with("=/compiler\"]"), "{}", remaps[2]);
    }

    #[test]
    fn rustfmt_finds_the_same_rules_wherever_the_output_goes() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("rustfmt.toml"), "max_width = 40").unwrap();
        let tree = Tree { root: folder.path().into(), target: Some(folder.path().join("target")) };
        tree.hide_rules(folder.path()).unwrap();
        let generated = folder.path().join("target/generated.rs");
        fs::write(&generated, "fn f() { one_long_name(1, 2, 3, 4, 5, 6, 7, 8) }").unwrap();
        assert!(Command::new("rustfmt").arg(&generated).status().unwrap().success());
        assert_eq!(fs::read_to_string(&generated).unwrap().lines().count(), 3);
    }

    #[test]
    fn a_copy_has_what_is_built() {
        let folder = tempfile::tempdir().unwrap();
        let copy = Tree::copy(folder.path()).unwrap();
        assert!(copy.root.join("agent-embedded/boards/rp2350/src/bin/boot.rs").is_file());
        assert!(!copy.root.join("target").exists() && !copy.root.join(".git").exists());
    }
}
