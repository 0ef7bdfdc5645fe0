//! Running `cargo mutants`: what it lists, and its results.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Ledger, Mutant, Part, Verdict};
use crate::programs::cargo;

/// How often its lists are read: at most this much is lost when the campaign is stopped.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Exit codes if all were noticed, some were missed, and some did not terminate.
const ENDS_WELL: [i32; 3] = [0, 2, 3];
/// How long tests may take that are not measured first.
const SECONDS_MAX: &str = "300";
/// The folder of its lists, within the folder that it is given.
const LISTS: &str = "mutants.out";

/// All mutants of a part.
///
/// # Errors
/// `cargo mutants` is not installed, or its output is not understood.
pub fn list(part: &Part) -> Result<Vec<Mutant>> {
    let output = mutants(part, part.files)
        .args(["--list", "--json"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo mutants is missing: cargo install cargo-mutants --locked");
    let listed: Vec<Value> =
        serde_json::from_slice(&output.stdout).context("the list of cargo mutants has an unknown format")?;
    let text = |mutant: &Value, key: &str| mutant[key].as_str().map(ToOwned::to_owned);
    listed
        .iter()
        .map(|mutant| Some(Mutant { file: text(mutant, "file")?, name: text(mutant, "name")? }))
        .collect::<Option<_>>()
        .context("the list of cargo mutants has an unknown format")
}

/// Tries mutants of a part, one after the other, and records each verdict as soon as it is known.
///
/// # Errors
/// The tests fail without any mutant, or the ledger cannot be written.
pub fn run(part: &Part, chosen: &[Mutant], ledger: &mut Ledger, folder: &Path) -> Result<()> {
    let folder = folder.join(part.package);
    let lists = folder.join(LISTS);
    if lists.exists() {
        fs::remove_dir_all(&lists).with_context(|| format!("cannot remove {}", lists.display()))?;
    }
    fs::create_dir_all(&folder)?;
    let files: BTreeSet<&str> = chosen.iter().map(|mutant| mutant.file.as_str()).collect();
    let mut cargo = mutants(part, &Vec::from_iter(files));
    cargo.args(["--no-shuffle", "--colors", "never", "--output"]).arg(&folder);
    if part.tests == [part.package] {
        cargo.args(["--timeout-multiplier", "3"]);
    } else {
        // It would only run the tests of the package itself.
        hold_without_mutant(part)?;
        cargo.args(["--baseline", "skip", "--timeout", SECONDS_MAX]);
    }
    for mutant in chosen {
        cargo.args(["--re", &exactly(&mutant.name)]);
    }
    for package in part.tests {
        cargo.args(["--test-package", package]);
    }
    cargo.arg("--").args(part.only);
    let mut child = cargo.spawn().context("cannot run cargo")?;
    let mut known = BTreeSet::new();
    let status = loop {
        let ended = child.try_wait().context("cannot wait for cargo mutants")?;
        look(&lists, chosen, &mut known, ledger)?;
        match ended {
            Some(status) => break status,
            None => sleep(LOOK_EVERY),
        }
    };
    let ends_well = status.code().is_some_and(|code| ENDS_WELL.contains(&code));
    ensure!(ends_well, "cargo mutants on {} ended with {status}", part.package);
    Ok(())
}

/// Tests that fail without any mutant notice none.
fn hold_without_mutant(part: &Part) -> Result<()> {
    let packages = part.tests.iter().flat_map(|package| ["--package", package]);
    let status = cargo().arg("test").args(packages).args(part.only).status().context("cannot run cargo")?;
    ensure!(status.success(), "the tests fail without any mutant");
    Ok(())
}

fn mutants(part: &Part, files: &[&str]) -> Command {
    let mut cargo = cargo();
    cargo.args(["mutants", "--package", part.package]);
    for file in files {
        cargo.args(["--file", file]);
    }
    cargo
}

/// Records the new entries in its lists.
fn look(lists: &Path, chosen: &[Mutant], known: &mut BTreeSet<String>, ledger: &mut Ledger) -> Result<()> {
    for (verdict, list) in Verdict::ALL {
        // It is created with the first entry.
        let text = fs::read_to_string(lists.join(list)).unwrap_or_default();
        let names = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        for mutant in names.filter_map(|name| chosen.iter().find(|mutant| mutant.name == name)) {
            if known.insert(mutant.name.clone()) {
                ledger.note(mutant, verdict)?;
            }
        }
    }
    Ok(())
}

/// A regular expression that matches only this name.
fn exactly(name: &str) -> String {
    let mut expression = String::from("^");
    for character in name.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            expression.push('\\');
        }
        expression.push(character);
    }
    expression.push('$');
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_itself_alone() {
        let name = "a/b.rs:1:2: replace f -> Option<[u8; 4]> with Some([0; 4])";
        let expected = r"^a/b\.rs:1:2: replace f -> Option<\[u8; 4\]> with Some\(\[0; 4\]\)$";
        assert_eq!(exactly(name), expected);
    }

    #[test]
    fn lists_that_grow_are_noted_once_and_a_line_that_is_not_finished_waits() {
        let folder = tempfile::tempdir().unwrap();
        let chosen = ["a", "b"].map(|name| Mutant { file: "Cargo.toml".to_owned(), name: name.to_owned() });
        let mut ledger = Ledger::open(folder.path()).unwrap();
        let mut known = BTreeSet::new();
        fs::write(folder.path().join("missed.txt"), "a\nb").unwrap();
        look(folder.path(), &chosen, &mut known, &mut ledger).unwrap();
        let verdicts = chosen.clone().map(|mutant| ledger.verdict(&mutant).unwrap());
        assert_eq!(verdicts, [Some(Verdict::Missed), None]);
        fs::write(folder.path().join("missed.txt"), "a\nb\n").unwrap();
        fs::write(folder.path().join("caught.txt"), "of another campaign\n").unwrap();
        look(folder.path(), &chosen, &mut known, &mut ledger).unwrap();
        assert_eq!(ledger.verdict(&chosen[1]).unwrap(), Some(Verdict::Missed));
        assert_eq!(known.len(), 2);
    }
}
