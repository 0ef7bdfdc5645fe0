//! What came of each mutant: one line of JSON for each in a file that only grows, so that nothing is lost
//! when a campaign is stopped, and the files of several machines can be put one behind the other.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Mutant;
use crate::programs::root;

/// What came of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A test failed.
    Caught,
    /// The tests did not come to an end. That is noticed as well.
    Timeout,
    /// All tests passed.
    Missed,
    /// It does not compile.
    Unviable,
}

impl Verdict {
    /// All of them, with the file of `cargo mutants` that lists the mutants.
    pub(super) const ALL: [(Self, &'static str); 4] = [
        (Self::Caught, "caught.txt"),
        (Self::Timeout, "timeout.txt"),
        (Self::Missed, "missed.txt"),
        (Self::Unviable, "unviable.txt"),
    ];

    /// Whether a test has noticed it.
    #[must_use]
    pub const fn is_noticed(self) -> bool {
        matches!(self, Self::Caught | Self::Timeout)
    }
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    mutant: String,
    /// Of the file before it was changed, without its tests: what came of other versions of it says nothing.
    sha256: String,
    verdict: Verdict,
}

/// The verdicts so far.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    verdicts: BTreeMap<(String, String), Verdict>,
    /// The digest of each file that was asked for.
    digests: BTreeMap<String, String>,
}

impl Ledger {
    /// Opens the file in this folder, or makes it.
    ///
    /// # Errors
    /// It cannot be read or written, or a line is none of ours.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("verdicts.jsonl");
        let what = || format!("cannot read {}", path.display());
        let file = OpenOptions::new().create(true).append(true).open(&path).with_context(what)?;
        let mut verdicts = BTreeMap::new();
        for line in fs::read_to_string(&path).with_context(what)?.lines() {
            let line: Line = serde_json::from_str(line).with_context(what)?;
            verdicts.insert((line.mutant, line.sha256), line.verdict);
        }
        Ok(Self { file, verdicts, digests: BTreeMap::new() })
    }

    /// What came of a mutant of the file as it is now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn verdict(&mut self, mutant: &Mutant) -> Result<Option<Verdict>> {
        let key = (mutant.name.clone(), self.digest(&mutant.file)?);
        Ok(self.verdicts.get(&key).copied())
    }

    /// Writes down what came of a mutant.
    ///
    /// # Errors
    /// The file cannot be written, or the source file not be read.
    pub fn note(&mut self, mutant: &Mutant, verdict: Verdict) -> Result<()> {
        let sha256 = self.digest(&mutant.file)?;
        let line = Line { mutant: mutant.name.clone(), sha256: sha256.clone(), verdict };
        writeln!(self.file, "{}", serde_json::to_string(&line)?).context("cannot write the verdicts")?;
        self.verdicts.insert((mutant.name.clone(), sha256), verdict);
        Ok(())
    }

    fn digest(&mut self, file: &str) -> Result<String> {
        if let Some(digest) = self.digests.get(file) {
            return Ok(digest.clone());
        }
        let path: PathBuf = root().join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let digest = hex::encode(Sha256::digest(without_tests(&text)));
        self.digests.insert(file.to_owned(), digest.clone());
        Ok(digest)
    }
}

/// A test more changes no mutant.
fn without_tests(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod tests {").map_or(text, |(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_there_when_it_is_opened_again_and_the_last_word_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mutant = |name: &str| Mutant { file: "Cargo.toml".to_owned(), name: name.to_owned() };
        let mut ledger = Ledger::open(folder.path()).unwrap();
        assert_eq!(ledger.verdict(&mutant("a")).unwrap(), None);
        ledger.note(&mutant("a"), Verdict::Missed).unwrap();
        ledger.note(&mutant("b"), Verdict::Unviable).unwrap();
        ledger.note(&mutant("a"), Verdict::Timeout).unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        assert_eq!(ledger.verdict(&mutant("a")).unwrap(), Some(Verdict::Timeout));
        assert_eq!(ledger.verdict(&mutant("b")).unwrap(), Some(Verdict::Unviable));
        // Of another version of the file it says nothing.
        ledger.digests.insert("Cargo.toml".to_owned(), "another".to_owned());
        assert_eq!(ledger.verdict(&mutant("a")).unwrap(), None);
    }

    #[test]
    fn a_test_more_is_no_other_version() {
        assert_eq!(without_tests("code\n\n#[cfg(test)]\nmod tests {\n}\n"), "code\n");
        assert_eq!(without_tests("code\n#[cfg(test)]\nmod more;\n"), "code\n#[cfg(test)]\nmod more;\n");
    }
}
