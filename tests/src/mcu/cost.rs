//! The cost of one block on the emulated board: instructions, counted by QEMU.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::build::Program;
use super::setup::QEMU;
use crate::process::Watched;

/// How long the program may take.
const WITHIN: Duration = Duration::from_secs(120);
/// How often its console is checked.
const GLANCE: Duration = Duration::from_millis(100);

/// The cost of a block with one AEAD, in instructions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Its name.
    pub algorithm: String,
    /// From the datagram to the verified plaintext.
    pub unprotect: u64,
    /// The leaf hash.
    pub hash: u64,
}

/// Runs the board's program `bench`.
///
/// # Errors
/// QEMU cannot be run, or the program does not end.
pub fn measure(bench: &Program) -> Result<Vec<Cost>> {
    let folder = tempfile::tempdir()?;
    let console = folder.path().join("console");
    let mut command = Command::new(QEMU);
    command
        .args(["-M", "mps2-an386", "-icount", "shift=0", "-display", "none", "-monitor", "none"])
        .args(["-nic", "none", "-serial", &format!("file:{}", console.display())])
        .arg("-kernel")
        .arg(&bench.file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut process = Watched::new(command.spawn().with_context(|| format!("cannot run {QEMU}"))?);
    let start = std::time::Instant::now();
    loop {
        let said = std::fs::read_to_string(&console).unwrap_or_default();
        if said.contains("bench: done") {
            return said.lines().filter(|line| *line != "bench: done").map(parse).collect();
        }
        ensure!(process.ended()?.is_none() && start.elapsed() < WITHIN, "the bench does not end: {said}");
        std::thread::sleep(GLANCE);
    }
}

fn parse(line: &str) -> Result<Cost> {
    let parsed = || {
        let (algorithm, figures) = line.strip_prefix("bench: ")?.split_once(" unprotect=")?;
        let (unprotect, hash) = figures.strip_suffix(" instructions")?.split_once(" hash=")?;
        let (unprotect, hash) = (unprotect.parse().ok()?, hash.parse().ok()?);
        Some(Cost { algorithm: algorithm.to_owned(), unprotect, hash })
    };
    parsed().with_context(|| format!("the bench prints '{line}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_cost_or_an_error() {
        let cost = parse("bench: A128GCM unprotect=12 hash=3 instructions").unwrap();
        assert_eq!((cost.algorithm.as_str(), cost.unprotect, cost.hash), ("A128GCM", 12, 3));
        assert!(parse("bench: A128GCM failed").is_err());
    }
}
