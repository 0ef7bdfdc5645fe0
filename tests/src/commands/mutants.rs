//! `cargo xtask mutants`: whether tests notice changes to the security-relevant modules.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::mutants::{self, Ledger, Mutant, PARTS, Part, Sample, Shard, Verdict};
use crate::outcome::{Outcome, rounded};
use crate::programs::root;

/// The share of compiling mutants that must be noticed.
const SHARE_MIN: f64 = 0.95;

/// Arguments of `mutants`.
#[derive(Debug, Args)]
pub(super) struct Mutants {
    /// At least this many, chosen at random, some of each module
    #[arg(long, value_name = "N", default_value_t = 300)]
    sample: usize,
    /// All of them instead
    #[arg(long, conflicts_with = "sample")]
    all: bool,
    /// Decides which ones are chosen
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Only this part of them, so that several machines can share the work: 2/8 is the second of eight
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: Shard,
    /// Only those of this package
    #[arg(long, value_name = "NAME")]
    package: Option<String>,
    /// Again those that no test has noticed so far
    #[arg(long, conflicts_with = "report")]
    again: bool,
    /// Try none; only report what is known
    #[arg(long)]
    report: bool,
    /// Where verdicts are kept; `target/mutants` by default
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// What is known of the mutants of one file.
#[derive(Debug, Default)]
struct Tally {
    mutants: usize,
    viable: usize,
    noticed: usize,
    left: usize,
}

impl Mutants {
    /// Tries the mutants that have no verdict yet, and prints the names of those that no test has noticed.
    ///
    /// # Errors
    /// `cargo mutants` is not installed, or the tests fail without any mutant.
    pub(super) fn run(&self) -> Result<Outcome> {
        let wanted = |part: &&Part| self.package.as_ref().is_none_or(|package| package == part.package);
        let parts: Vec<&Part> = PARTS.iter().filter(wanted).collect();
        ensure!(!parts.is_empty(), "no modules of such a package are covered");
        let folder = self.folder.clone().unwrap_or_else(|| root().join("target/mutants"));
        let mut ledger = Ledger::open(&folder)?;
        let chosen = self.chosen()?;
        for part in &parts {
            let mut to_try = Vec::new();
            for mutant in chosen.iter().filter(|mutant| part.files.contains(&mutant.file.as_str())) {
                if self.is_to_be_tried(ledger.verdict(mutant)?) {
                    to_try.push(mutant.clone());
                }
            }
            if !to_try.is_empty() {
                println!("{}: {} mutants", part.package, to_try.len());
                mutants::run(part, &to_try, &mut ledger, &folder)?;
            }
        }
        report(&parts, &chosen, &mut ledger)
    }

    /// The same, whichever package is requested.
    fn chosen(&self) -> Result<Vec<Mutant>> {
        let mut all = Vec::new();
        for part in &PARTS {
            all.extend(mutants::list(part)?);
        }
        let sample = Sample { size: (!self.all).then_some(self.sample), seed: self.seed };
        Ok(self.shard.of(sample.of(&all)))
    }

    fn is_to_be_tried(&self, verdict: Option<Verdict>) -> bool {
        !self.report && (verdict.is_none() || self.again && verdict == Some(Verdict::Missed))
    }
}

fn report(parts: &[&Part], chosen: &[Mutant], ledger: &mut Ledger) -> Result<Outcome> {
    let mut total = Tally::default();
    let mut modules = Map::new();
    for file in parts.iter().flat_map(|part| part.files) {
        let mut tally = Tally::default();
        for mutant in chosen.iter().filter(|mutant| mutant.file == **file) {
            let verdict = ledger.verdict(mutant)?;
            tally.add(verdict);
            if verdict == Some(Verdict::Missed) {
                println!("missed: {}", mutant.name);
            }
        }
        modules.insert((*file).to_owned(), tally.figures());
        total.merge(&tally);
    }
    let share = if total.viable == 0 { 0.0 } else { total.noticed as f64 / total.viable as f64 };
    Ok(Outcome::new(total.left == 0 && share >= SHARE_MIN)
        .figure("mutants", total.mutants)
        .figure("left", total.left)
        .figure("viable", total.viable)
        .figure("noticed", total.noticed)
        .at_least("share", rounded(share), SHARE_MIN)
        .figure("modules", Value::Object(modules)))
}

impl Tally {
    fn add(&mut self, verdict: Option<Verdict>) {
        self.mutants += 1;
        match verdict {
            None => self.left += 1,
            Some(Verdict::Unviable) => {}
            Some(verdict) => {
                self.viable += 1;
                self.noticed += usize::from(verdict.is_noticed());
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.mutants += other.mutants;
        self.viable += other.viable;
        self.noticed += other.noticed;
        self.left += other.left;
    }

    fn figures(&self) -> Value {
        json!({ "viable": self.viable, "noticed": self.noticed, "left": self.left })
    }
}
