//! What building and running microcontroller programs needs on this machine. Each step prints what it did.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// QEMU for its processor.
pub const QEMU: &str = "qemu-system-arm";

/// Where Debian keeps newer compilers, and with them the sources of their library.
const SUITE: &str = "trixie-backports";

/// Where the target's core library comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreLibrary {
    /// The compiler includes it.
    Installed,
    /// It is built from the library's sources each time.
    FromSource,
}

/// Prepares this target with rustup or, if rustup cannot download, from Debian's package of the sources.
///
/// # Errors
/// Neither way works; both outputs are in the error.
pub fn target(target: &str) -> Result<CoreLibrary> {
    let library = sysroot()?.join("lib/rustlib");
    if library.join(target).join("lib").is_dir() {
        return Ok(CoreLibrary::Installed);
    }
    if library.join("src/rust/library/core").is_dir() {
        return Ok(CoreLibrary::FromSource);
    }
    eprintln!("adding the target {target} by rustup");
    let Err(by_rustup) = run(Command::new("rustup").args(["target", "add", target])) else {
        eprintln!("rustup added the target {target}");
        return Ok(CoreLibrary::Installed);
    };
    eprintln!("rustup cannot ({by_rustup:#}): using the library's sources from Debian's {SUITE}");
    sources_of_debian(&library.join("src/rust"))
        .with_context(|| format!("rustup: {by_rustup:#}; and Debian's sources"))?;
    eprintln!("put the library's sources below {}", library.display());
    Ok(CoreLibrary::FromSource)
}

/// Installs QEMU if it is missing.
///
/// # Errors
/// The package manager cannot.
pub fn qemu() -> Result<()> {
    if Command::new(QEMU).arg("--version").output().is_ok() {
        return Ok(());
    }
    eprintln!("installing qemu-system-arm");
    let install = ["install", "-q", "-y", "--no-install-recommends", "qemu-system-arm"];
    run(Command::new("apt-get").args(["update", "-q"]))
        .and_then(|()| run(Command::new("apt-get").args(install)))
        .context("qemu-system-arm is missing: install it")
}

fn sysroot() -> Result<PathBuf> {
    Ok(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim().into())
}

/// Unpacks `library/` of Debian's package `rust-src`, of exactly this compiler's version, into `into`.
fn sources_of_debian(into: &Path) -> Result<()> {
    let version = output(Command::new("rustc").arg("--version"))?;
    let version = version.split_whitespace().nth(1).context("rustc prints no version")?.to_owned();
    let folder = tempfile::tempdir()?;
    let apt = Apt::new(folder.path())?;
    run(&mut apt.command("apt-get", &["update", "-q"]))?;
    let madison = output(&mut apt.command("apt-cache", &["madison", "rust-src"]))?;
    let wanted = format!("{version}+");
    let package = madison
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|candidate| candidate.starts_with(&wanted))
        .with_context(|| format!("{SUITE} has no rust-src of {version}"))?;
    run(&mut apt.command("apt-get", &["download", &format!("rust-src={package}")]))?;
    let archive = fs::read_dir(folder.path())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get downloaded nothing")?;
    let unpacked = folder.path().join("unpacked");
    run(Command::new("dpkg").arg("-x").arg(&archive).arg(&unpacked))?;
    let library = find_library(&unpacked)?;
    fs::create_dir_all(into)?;
    run(Command::new("cp").arg("-r").arg(library).arg(into))
}

fn find_library(unpacked: &Path) -> Result<PathBuf> {
    let sources = unpacked.join("usr/src");
    for entry in fs::read_dir(&sources).with_context(|| format!("no folder {}", sources.display()))? {
        let library = entry?.path().join("library");
        if library.join("core").is_dir() {
            return Ok(library);
        }
    }
    bail!("the package has no library")
}

/// apt with separate lists and sources, so that the machine's own are not changed.
struct Apt<'f> {
    folder: &'f Path,
    options: Vec<String>,
}

impl<'f> Apt<'f> {
    fn new(folder: &'f Path) -> Result<Self> {
        let list = folder.join("sources.list");
        fs::write(&list, format!("deb {} {SUITE} main\n", mirror()?))?;
        let lists = folder.join("lists");
        fs::create_dir_all(lists.join("partial"))?;
        let options = vec![
            format!("-oDir::Etc::SourceList={}", list.display()),
            "-oDir::Etc::SourceParts=-".to_owned(),
            format!("-oDir::State::Lists={}", lists.display()),
        ];
        Ok(Self { folder, options })
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).args(arguments).current_dir(self.folder);
        command
    }
}

/// The mirror that this machine's own apt uses.
fn mirror() -> Result<String> {
    let own = ["/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources"];
    let text: String = own.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    let found = mirror_in(&text).context("apt names no mirror here: add the target with rustup instead")?;
    Ok(found.to_owned())
}

/// The first mirror in these apt sources, in either of their formats.
fn mirror_in(sources: &str) -> Option<&str> {
    let lines = sources.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace).filter(|word| word.starts_with("http"));
    words.find(|word| !word.contains("security"))
}

fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}", said.lines().last().unwrap_or("it printed nothing"));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_in_a_comment_is_none() {
        let sources = "Types: deb\n# http://old.example/debian/2025\nURIs: http://new.example/debian\n";
        assert_eq!(mirror_in(sources), Some("http://new.example/debian"));
        let line = "deb http://security.example/debian-security x main\ndeb http://a.example/debian x main\n";
        assert_eq!(mirror_in(line), Some("http://a.example/debian"));
        assert_eq!(mirror_in("# deb http://a.example/debian x main\n"), None);
    }
}
