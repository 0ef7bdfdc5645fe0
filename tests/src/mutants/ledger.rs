//! The result for each mutant, as one line of JSON in a file that only grows. So nothing is lost when a
//! campaign is stopped, and the files of several machines can be concatenated.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Mutant;
use crate::programs::root;

/// The result for a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A test failed.
    Caught,
    /// The tests did not terminate. That counts as noticed as well.
    Timeout,
    /// All tests passed.
    Missed,
    /// It does not compile.
    Unviable,
}

impl Verdict {
    /// All results, with the file in which `cargo mutants` lists the mutants.
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
    /// The digest of the file before the change, without its tests: results for other versions of it do not
    /// count.
    sha256: String,
    verdict: Verdict,
}

/// The verdicts so far.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    verdicts: BTreeMap<(String, String), Verdict>,
    /// The digest of each file requested so far.
    digests: BTreeMap<String, String>,
}

impl Ledger {
    /// Opens the file in this folder, or creates it.
    ///
    /// # Errors
    /// It cannot be read or written, or contains an invalid line.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
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

    /// The result for a mutant of the current version of the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn verdict(&mut self, mutant: &Mutant) -> Result<Option<Verdict>> {
        let key = (mutant.name.clone(), self.digest(&mutant.file)?);
        Ok(self.verdicts.get(&key).copied())
    }

    /// Records the result for a mutant.
    ///
    /// # Errors
    /// The file cannot be written, or the source file cannot be read.
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

/// An additional test changes no mutant.
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
        // A result for another version of the file does not count.
        ledger.digests.insert("Cargo.toml".to_owned(), "another".to_owned());
        assert_eq!(ledger.verdict(&mutant("a")).unwrap(), None);
    }

    #[test]
    fn a_test_more_is_no_other_version() {
        assert_eq!(without_tests("code\n\n#[cfg(test)]\nmod tests {\n}\n"), "code\n");
        assert_eq!(without_tests("code\n#[cfg(test)]\nmod more;\n"), "code\n#[cfg(test)]\nmod more;\n");
    }
}
