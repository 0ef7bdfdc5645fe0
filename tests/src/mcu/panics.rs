//! Where the microcontroller's programs may panic. Each source file in a panic location of an image must be
//! on the list next to the budgets, with the reason why it remains.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::boards::BOARDS;
use super::build::BOARD;
use super::elf::Linked;
use super::tree::{CRATES, ROOT};
use crate::programs::root;

/// The list, below the folder of the boards.
const LIST: &str = "panics.json";

/// Files that may panic for the same reason.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    /// Why the panics remain.
    why: String,
    /// The files: in this repository by their path, in a dependency as `crate/path`. An entry that ends with
    /// `/` stands for a whole folder.
    files: Vec<String>,
    /// Only for this board.
    #[serde(default)]
    board: Option<String>,
}

/// The list of remaining panics, for each program.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panics {
    agent: Vec<Reason>,
    boot: Vec<Reason>,
}

impl Panics {
    /// Reads the list.
    ///
    /// # Errors
    /// It is missing or malformed.
    pub fn read() -> Result<Self> {
        let path = root().join(BOARDS).join(LIST);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is malformed", path.display()))
    }

    /// Compares the agent and the boot stage of a board with the list, and prints how many files may panic.
    ///
    /// # Errors
    /// A file is not on the list, or is on it and no longer in the image.
    pub fn hold(&self, board: &str, agent: &Linked, boot: &Linked) -> Result<()> {
        let agent = compare("agent", board, &self.agent, &files(board, agent))?;
        let boot = compare("boot stage", board, &self.boot, &files(board, boot))?;
        println!("panics      in {agent} files of the agent, {boot} of the boot stage, each with its reason");
        Ok(())
    }
}

/// Checks that the list has exactly what was found.
fn compare(program: &str, board: &str, list: &[Reason], found: &BTreeSet<String>) -> Result<usize> {
    // Entries for all boards must be true of the emulated one.
    let is_meant = |reason: &&Reason| reason.board.as_deref().unwrap_or(board) == board;
    let is_due = |reason: &&Reason| reason.board.as_deref().unwrap_or(BOARD) == board;
    let listed = |reason: &'_ Reason| reason.files.clone();
    let all: Vec<String> = list.iter().filter(is_meant).flat_map(listed).collect();
    let due: Vec<String> = list.iter().filter(is_due).flat_map(listed).collect();
    let covers =
        |entry: &str, file: &str| if entry.ends_with('/') { file.starts_with(entry) } else { file == entry };
    let new: Vec<_> = found.iter().filter(|file| !all.iter().any(|entry| covers(entry, file))).collect();
    ensure!(
        new.is_empty(),
        "the {program} of {board} may panic in {new:?}: avoid that, or say in {LIST} why it remains"
    );
    let stale: Vec<_> = due.iter().filter(|entry| !found.iter().any(|file| covers(entry, file))).collect();
    ensure!(
        stale.is_empty(),
        "the {program} of {board} no longer panics in {stale:?}: remove it from {LIST}"
    );
    ensure!(list.iter().all(|reason| !reason.why.is_empty()), "a reason in {LIST} is empty");
    Ok(found.len())
}

fn files(board: &str, program: &Linked) -> BTreeSet<String> {
    program.panics.iter().map(|path| source(board, path)).collect()
}

/// The compiler's path, without what differs between versions.
fn source(board: &str, path: &str) -> String {
    if let Some(behind) = path.strip_prefix(CRATES)
        && let Some((package, file)) = behind.trim_start_matches('/').split_once('/')
    {
        let version = package
            .match_indices('-')
            .find(|(at, _)| package[at + 1..].starts_with(|character: char| character.is_ascii_digit()));
        let name = version.map_or(package, |(at, _)| &package[..at]);
        return format!("{name}/{file}");
    }
    // What a build script wrote, in a folder named after its package and a hash.
    if let Some((before, file)) = path.rsplit_once("/out/")
        && let Some((_, folder)) = before.rsplit_once("/build/")
        && let Some((package, _)) = folder.rsplit_once('-')
    {
        return format!("{package}/{file}");
    }
    if let Some((_, file)) = path.split_once("/library/") {
        return file.to_owned();
    }
    match path.strip_prefix(ROOT) {
        Some(file) => file.trim_start_matches('/').to_owned(),
        // A file of the workspace being built.
        None => format!("{BOARDS}/{board}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_the_same_on_every_machine() {
        for (path, expected) in [
            ("/crates/smoltcp-0.13.1/src/wire/udp.rs", "smoltcp/src/wire/udp.rs"),
            ("/crates/curve25519-dalek-5.0.0/src/a.rs", "curve25519-dalek/src/a.rs"),
            ("/built/release/build/embassy-stm32-3a89/out/generated.rs", "embassy-stm32/generated.rs"),
            ("/rustc/0a0b/library/core/src/time.rs", "core/src/time.rs"),
            ("/compiler/lib/rustlib/src/rust/library/core/src/time.rs", "core/src/time.rs"),
            ("src/time.rs", "agent-embedded/boards/b/src/time.rs"),
            ("/fwcast/crates/update-core/src/tree.rs", "crates/update-core/src/tree.rs"),
        ] {
            assert_eq!(source("b", path), expected);
        }
    }

    #[test]
    fn a_new_file_and_a_stale_one_are_told() {
        let reason = |files: &[&str], board: Option<&str>| Reason {
            why: "because".to_owned(),
            files: files.iter().map(|file| (*file).to_owned()).collect(),
            board: board.map(str::to_owned),
        };
        let list = [reason(&["a.rs", "core/"], None), reason(&["c.rs"], Some("other"))];
        let found = |files: &[&str]| files.iter().map(|file| (*file).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(compare("agent", BOARD, &list, &found(&["a.rs", "core/x.rs", "core/y.rs"])).unwrap(), 3);
        let told =
            |board, files: &[&str]| compare("agent", board, &list, &found(files)).unwrap_err().to_string();
        assert!(told(BOARD, &["a.rs", "core/x.rs", "b.rs"]).contains("b.rs"));
        assert!(told(BOARD, &["a.rs", "core/x.rs", "c.rs"]).contains("c.rs"));
        assert!(told(BOARD, &["core/x.rs"]).contains("a.rs"));
        assert!(told("other", &["a.rs"]).contains("c.rs"));
        assert_eq!(compare("agent", "other", &list, &found(&["c.rs"])).unwrap(), 1);
    }
}
