//! `cargo xtask sim`: the simulated world.

use clap::Args;

use crate::outcome::Outcome;
use crate::world::{self, run_seeds};

/// Arguments of `sim`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Sim {
    /// The worlds of the seeds 0 to N - 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// The world of this seed alone, exactly as it was
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl Sim {
    /// The worlds of so many seeds.
    pub(super) const fn of_seeds(count: u64) -> Self {
        Self { seeds: Some(count), seed: None }
    }

    /// Lets them run. What is found wrong is printed with the seed that shows it again.
    pub(super) fn run(&self) -> Outcome {
        let summary = match self.seed {
            Some(seed) => run_seeds([seed], tell),
            None => run_seeds(0..self.seeds.unwrap_or_default(), tell),
        };
        Outcome::new(summary.ok)
            .figure("seeds", summary.seeds)
            .figure("updates", summary.updates)
            .figure("trace_hash", summary.trace_hash)
            .figure("bricked", summary.bricked)
            .figure("wrong_image", summary.wrong_image)
            .figure("nonce_reuse", summary.nonce_reuse)
    }
}

fn tell(seed: u64, ended: &world::Outcome) {
    for violation in &ended.violations {
        println!("seed {seed}: {violation} (again: cargo xtask sim --seed {seed})");
    }
}
