//! `cargo xtask vectors`: suites of Group OSCORE vectors, byte for byte.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result};
use clap::Args;

use crate::outcome::Outcome;
use crate::programs::root;
use crate::vectors;

/// The suite that comes with this repository.
const SHIPPED: &str = "tests/vectors/group-oscore-suite-ccm.json";

/// Arguments of `vectors`.
#[derive(Debug, Args)]
pub(super) struct Vectors {
    /// Files with suites
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Vectors {
    /// The suite that comes with this repository.
    pub(super) fn shipped() -> Self {
        Self { files: vec![root().join(SHIPPED)] }
    }

    /// Runs them all, also after one has failed.
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
