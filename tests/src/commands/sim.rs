//! `cargo xtask sim`: the simulated world.

use clap::Args;
use rollout_engine::Parity;

use crate::outcome::Outcome;
use crate::world::{self, Options, run_seeds};

/// Arguments of `sim`.
#[derive(Debug, Args)]
pub(super) struct Sim {
    /// The worlds of the seeds 0 to N - 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(required_unless_present_any = ["seed", "agents"])]
    seeds: Option<u64>,
    /// Only the world of this seed, exactly as it was
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// One world with this many agents, an image of 256 blocks and 1 % loss
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=2000))]
    #[arg(conflicts_with = "seeds")]
    agents: Option<u16>,
    /// This many of these agents lie to the distributor, or ask for more than their share
    #[arg(long, value_name = "N", requires = "agents")]
    liars: Option<u16>,
    /// The distributor repairs with parity, as `fwcast group create` takes it; a number is that of blocks in
    /// a generation of the Cauchy code
    #[arg(long, requires = "agents", value_parser = parity)]
    parity: Option<Parity>,
}

fn parity(text: &str) -> Result<Parity, String> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { format!("cauchy:{text}").parse() } else { text.parse() }
}

impl Sim {
    /// The worlds of this many seeds.
    pub(super) const fn of_seeds(count: u64) -> Self {
        Self { seeds: Some(count), seed: None, agents: None, liars: None, parity: None }
    }

    /// Runs them. Each problem is printed with the seed that reproduces it.
    pub(super) fn run(&self) -> Outcome {
        if let Some(agents) = self.agents {
            return self.crowd(agents.into());
        }
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

    /// One world with many agents.
    fn crowd(&self, agents: usize) -> Outcome {
        let liars = usize::from(self.liars.unwrap_or(0)).min(agents - 1);
        let seed = self.seed.unwrap_or(1);
        let parity = self.parity.and_then(|parity| parity.for_agents(true).coded());
        let ended = world::run(seed, &Options { parity, ..Options::crowd(agents, liars) });
        tell(seed, &ended);
        Outcome::new(ended.violations.is_empty())
            .figure("agents", agents)
            .figure("liars", liars)
            .figure("updates", ended.updates)
            .figure("trace_hash", hex::encode(ended.trace_hash))
            .figure("bricked", ended.bricked)
            .figure("wrong_image", ended.wrong_image)
            .figure("nonce_reuse", ended.nonce_reuse)
            .figure("pushes", ended.pushes)
            .figure("laggards", ended.laggards)
            .figure("quarantined", ended.quarantined)
            .figure("unicast_share", ended.figures.unicast_share)
            .figure("sent_ratio", ended.figures.sent_ratio)
            .figure("done_by", ended.figures.seconds)
    }
}

fn tell(seed: u64, ended: &world::Outcome) {
    for violation in &ended.violations {
        println!("seed {seed}: {violation} (to repeat it: the same command with --seed {seed})");
    }
}
