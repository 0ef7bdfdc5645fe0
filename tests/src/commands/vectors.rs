//! `cargo xtask vectors`: suites of Group OSCORE vectors, byte for byte.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result, ensure};
use clap::Args;

use crate::outcome::Outcome;
use crate::programs::root;
use crate::vectors;

/// Where the suites of this repository are.
const SHIPPED: &str = "tests/vectors";

/// Arguments of `vectors`.
#[derive(Debug, Args)]
pub(super) struct Vectors {
    /// Files with suites
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Vectors {
    /// The suites of this repository.
    pub(super) fn shipped() -> Result<Self> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(root().join(SHIPPED))? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "json") {
                files.push(file);
            }
        }
        files.sort();
        ensure!(!files.is_empty(), "there are no suites in {SHIPPED}");
        Ok(Self { files })
    }

    /// Runs them all, even after one has failed.
    pub(super) fn run(&self) -> Result<Outcome> {
        let mut total = vectors::Report::default();
        let mut failed = Vec::new();
        for file in &self.files {
            match run(file) {
                Ok(report) => {
                    total.suites += report.suites;
                    total.values += report.values;
                    total.messages += report.messages;
                    total.refused += report.refused;
                    println!("ok      {}", file.display());
                }
                Err(error) => {
                    println!("FAILED  {error:#}");
                    failed.push(file.display().to_string());
                }
            }
        }
        Ok(Outcome::new(failed.is_empty())
            .figure("files", self.files.len())
            .figure("suites", total.suites)
            .figure("values", total.values)
            .figure("messages", total.messages)
            .figure("refused", total.refused)
            .figure("failed", failed))
    }
}

fn run(file: &Path) -> Result<vectors::Report> {
    vectors::run(file).map_err(Error::msg)
}
