//! `cargo xtask net`: the scenarios between network namespaces.

use anyhow::{Result, bail};
use clap::Args;

use crate::netns;
use crate::outcome::Outcome;
use crate::programs::Programs;
use crate::scenarios::{self, Scenario};

/// Arguments of `net`.
#[derive(Debug, Args)]
pub(super) struct NetScenarios {
    /// Only scenarios with one of these words in their names
    words: Vec<String>,
}

impl NetScenarios {
    /// All scenarios.
    #[must_use]
    pub(super) const fn all() -> Self {
        Self { words: Vec::new() }
    }

    /// Runs them one after another.
    ///
    /// # Errors
    /// Not root, or a program does not build. A failing scenario is part of the outcome.
    pub(super) fn run(&self) -> Result<Outcome> {
        if let Some(why) = netns::unavailable() {
            bail!("{why}: run `cargo xtask net` as root");
        }
        let chosen: Vec<Scenario> =
            scenarios::all().into_iter().filter(|it| self.wants(&it.name())).collect();
        if chosen.is_empty() {
            bail!("no scenario has such a name: without a name, all are run");
        }
        let programs = Programs::build()?;
        let mut failed = Vec::new();
        for scenario in &chosen {
            let name = scenario.name();
            match scenario.run(&programs) {
                Ok(seconds) => println!("ok      {name} ({seconds:.1} s)"),
                Err(error) => {
                    println!("FAILED  {name}: {error:#}");
                    failed.push(name);
                }
            }
        }
        Ok(Outcome::new(failed.is_empty())
            .figure("scenarios", chosen.len())
            .figure("passed", chosen.len() - failed.len())
            .figure("failed", failed))
    }

    fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}
