//! The rules of the house, as a test over the files that git knows: important rules are enforced here and not
//! left to reviewers. Every rule is a function over text, with a test that shows it at work.
//!
//! | Rule | Where |
//! |---|---|
//! | no std, clock, I/O, thread, printing or `unsafe` | [`rust::hands`], `crates/*/src` outside of tests |
//! | Ed25519 only by `verify_strict` | [`rust::loose_verification`], all Rust outside of tests |
//! | no unfinished code, no ignored test | [`rust::unfinished`], all Rust |
//! | below the command line any store will do | [`rooms::named_stores`], the distributor without its tests |
//! | at most 110 columns and 600 lines | [`text::too_wide`], [`text::too_long`], all Rust |
//! | no paths of one machine, no hosts of registries | [`text::banned`], all text |
//! | the map of `README.md` is the tree; every page of `docs/` is linked | [`map`] |
//! | every page and rule that is cited is there | [`citations`], all text |

pub mod citations;
pub mod map;
pub mod rooms;
pub mod rust;
pub mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A rule that a file breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The file, from the root of the repository.
    pub path: String,
    /// Line, counted from 1; 0 where the whole file is meant.
    pub line: usize,
    /// The problem.
    pub what: String,
}

impl Violation {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// A file of the repository: its path from the root, and its text.
#[derive(Debug, Clone)]
pub struct File {
    /// Path from the root, with slashes.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// All violations in the repository at `root`.
///
/// # Errors
/// `root` is no git repository, or a file of it cannot be read.
pub fn violations(root: &Path) -> Result<Vec<Violation>> {
    let files = files(root)?;
    let mut found: Vec<_> = files.iter().flat_map(in_file).collect();
    found.extend(in_core(&files));
    found.extend(in_rooms(&files));
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let readme = files.iter().find(|file| file.path == "README.md").context("there is no README.md")?;
    found.extend(map::differences(&readme.text, &paths));
    found.extend(map::pages_not_linked(&readme.text, &paths));
    let pages: BTreeMap<&str, &str> = files
        .iter()
        .filter(|file| file.path.ends_with(".md"))
        .map(|file| (file.path.as_str(), file.text.as_str()))
        .collect();
    // The tests of the rules themselves cite invented pages.
    let citing = files.iter().filter(|file| !file.path.starts_with("tests/src/tidy"));
    found.extend(citing.flat_map(|file| citations::unresolved(file, &pages)));
    found.sort();
    Ok(found)
}

/// The text files that git tracks or would track.
fn files(root: &Path) -> Result<Vec<File>> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    ensure!(listed.status.success(), "{} is not in a git repository", root.display());
    let names = String::from_utf8(listed.stdout).context("a path is not UTF-8")?;
    let paths: BTreeSet<&str> = names.split_terminator('\0').collect();
    let mut files = Vec::new();
    for path in paths {
        let full = root.join(path);
        // A deleted file that is not yet committed is skipped; a file that is not text has no lines to check.
        if !full.is_file() {
            continue;
        }
        let bytes = std::fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        let text = String::from_utf8(bytes).unwrap_or_default();
        files.push(File { path: path.to_owned(), text });
    }
    Ok(files)
}

/// The rules that check one file alone.
fn in_file(file: &File) -> Vec<Violation> {
    let mut found = text::banned(file);
    if file.path.ends_with(".rs") {
        found.extend(text::too_wide(file));
        found.extend(text::too_long(file));
        match rust::tokens(file) {
            Ok(tokens) => {
                found.extend(rust::unfinished(&file.path, &tokens));
                if !is_in_tests(&file.path) {
                    found.extend(rust::loose_verification(&file.path, &tokens));
                }
            }
            Err(violation) => found.push(violation),
        }
        found.extend(rust::unfinished_comments(file));
    }
    found
}

/// The rules of the core: `crates/*/src`, without code that is compiled only for tests.
fn in_core(files: &[File]) -> Vec<Violation> {
    outside_of_tests(files, |path| path.starts_with("crates/") && path.contains("/src/"))
        .flat_map(|(file, tokens)| rust::hands(&file.path, &tokens))
        .collect()
}

/// The rule of the distributor's packages.
fn in_rooms(files: &[File]) -> Vec<Violation> {
    outside_of_tests(files, |path| path.starts_with("distributor/") && path.contains("/src/"))
        .flat_map(|(file, tokens)| rooms::named_stores(file, &tokens))
        .collect()
}

/// The Rust files of some folders, without modules that are compiled only for tests.
fn outside_of_tests(
    files: &[File],
    wanted: impl Fn(&str) -> bool,
) -> impl Iterator<Item = (&File, Vec<rust::Token>)> {
    let wanted: Vec<&File> =
        files.iter().filter(|file| file.path.ends_with(".rs") && wanted(&file.path)).collect();
    let test_modules: BTreeSet<String> = wanted.iter().flat_map(|file| rust::test_modules(file)).collect();
    wanted
        .into_iter()
        .filter(move |file| !test_modules.contains(&file.path))
        .filter_map(|file| Some((file, rust::tokens(file).ok()?)))
}

fn is_in_tests(path: &str) -> bool {
    path.split('/').any(|part| part == "tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let found = violations(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))).unwrap();
        let list: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(list.is_empty(), "\n{}\n", list.join("\n"));
    }

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn files_of_the_core_are_found_without_their_test_modules() {
        let files = [
            file("crates/a/src/lib.rs", "#![no_std]\nmod clock;\n#[cfg(test)]\nmod checks;\n"),
            file("crates/a/src/clock.rs", "use std::time::Duration;\n"),
            file("crates/a/src/checks.rs", "use std::vec::Vec;\n"),
            file("crates/a/tests/whole.rs", "use std::vec::Vec;\n"),
            file("distributor/src/lib.rs", "use std::vec::Vec;\n"),
        ];
        let found = in_core(&files);
        let places: Vec<_> = found.iter().map(|found| (found.path.as_str(), found.line)).collect();
        assert_eq!(places, [("crates/a/src/clock.rs", 1)]);
    }

    #[test]
    fn each_file_is_looked_at_by_the_rules_of_its_kind() {
        let wide = "x".repeat(text::COLUMNS_MAX + 1);
        assert_eq!(in_file(&file("a.md", &wide)).len(), 0);
        assert_eq!(in_file(&file("a/b.rs", &format!("// {wide}\nfn f() {{}}\n"))).len(), 1);
        let loose = "use ed25519_dalek::Verifier;\n";
        assert_eq!(in_file(&file("a/src/b.rs", loose)).len(), 1);
        assert_eq!(in_file(&file("a/tests/b.rs", loose)).len(), 0);
        assert_eq!(in_file(&file("a/src/b.rs", "fn f( {")).len(), 1);
    }
}
