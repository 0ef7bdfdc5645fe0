//! The finished runs, kept in a file: a comparison that was interrupted goes on from there.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::run::Run;

/// The runs in the file, one JSON object per line.
#[derive(Debug)]
pub(super) struct Kept {
    file: File,
    lines: Vec<Line>,
}

/// A finished run. A run that failed has no figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    what: String,
    run: u8,
    took: Option<Run>,
}

impl Kept {
    /// Opens the file, and empties it first if everything is to be measured anew. A line that was cut off is
    /// measured again.
    ///
    /// # Errors
    /// The system's own.
    pub(super) fn open(path: &Path, fresh: bool) -> Result<Self> {
        let text = if fresh { String::new() } else { fs::read_to_string(path).unwrap_or_default() };
        let lines: Vec<Line> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut kept = Self { file, lines: Vec::new() };
        for line in lines {
            kept.add(line)?;
        }
        Ok(kept)
    }

    /// The run of this cell with this number, if it is there.
    pub(super) fn run(&self, what: &str, run: u8) -> Option<Option<Run>> {
        self.lines.iter().find(|line| line.what == what && line.run == run).map(|line| line.took)
    }

    /// Keeps a run.
    ///
    /// # Errors
    /// The system's own.
    pub(super) fn keep(&mut self, what: &str, run: u8, took: Option<Run>) -> Result<()> {
        self.add(Line { what: what.to_owned(), run, took })
    }

    fn add(&mut self, line: Line) -> Result<()> {
        writeln!(self.file, "{}", serde_json::to_string(&line)?)?;
        self.lines.push(line);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_finished_is_found_again_and_what_was_cut_off_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.jsonl");
        let took = Run { seconds: 4.5, session_seconds: 5.0, bytes: 1.25 };
        let mut kept = Kept::open(&path, false).unwrap();
        kept.keep("UFTP N=8", 1, Some(took)).unwrap();
        kept.keep("UFTP N=8", 2, None).unwrap();
        drop(kept);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}{{\"what\":\"UFTP N")).unwrap();
        let again = Kept::open(&path, false).unwrap();
        assert_eq!(again.run("UFTP N=8", 1), Some(Some(took)));
        assert_eq!(again.run("UFTP N=8", 2), Some(None));
        assert_eq!(again.run("UFTP N=8", 3), None);
        assert_eq!(again.run("UFTP N=32", 1), None);
        drop(again);
        assert_eq!(Kept::open(&path, true).unwrap().run("UFTP N=8", 1), None);
    }
}
