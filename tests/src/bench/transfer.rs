//! The cost of an update on the distributor's link, and its duration, with loss on every agent's link.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use rollout_engine::Parity;
use update_core::parity::ErasureCode;

use crate::fleet::{Fleet, Place, Plan, Update};
use crate::netns::{self, Family, Net};
use crate::outcome::Outcome;
use crate::programs::Programs;

const IMAGE_BYTES: u64 = 4 * 1024 * 1024;
const RATE: &str = "10Mbit/s";
const RATE_BITS: f64 = 10_000_000.0;
/// How long the push may take.
const WITHIN: Duration = Duration::from_secs(120);

/// Arguments of `bench transfer`.
#[derive(Debug, Clone, Copy, Args)]
pub struct Transfer {
    /// How many agents
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    agents: u8,
    /// Percent of datagrams that each agent's link loses, in each direction
    #[arg(long, value_name = "PERCENT", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u8).range(..=50))]
    loss: u8,
    /// The group's parity, as `fwcast group create` takes it
    #[arg(long, default_value = "none")]
    parity: Parity,
}

impl Transfer {
    /// Measures.
    ///
    /// # Errors
    /// Not root, or a program fails.
    pub fn run(self) -> Result<Outcome> {
        if let Some(why) = netns::unavailable() {
            bail!("{why}: run `cargo xtask bench transfer` as root");
        }
        let programs = Programs::build()?;
        let net = Net::new("transfer", Family::V4, self.agents + 1)?;
        let folder = tempfile::tempdir()?;
        let group_arguments = vec!["--parity".to_owned(), self.parity.to_string()];
        let plan = Plan { group_arguments, ..Plan::new(self.agents.into(), RATE) };
        let mut fleet = Fleet::create(&programs, Place::Net(&net), folder.path(), plan)?;
        let update = Update::make(&fleet, IMAGE_BYTES)?;
        for host in 1..=self.agents.into() {
            if self.loss > 0 {
                net.drop_randomly(host, self.loss.into())?;
            }
        }
        fleet.start_all()?;
        let before = net.link_bytes(0)?;
        let pushed = update.push(&mut fleet, &[])?.wait(WITHIN)?;
        let bytes = (net.link_bytes(0)? - before) as f64;
        let report = pushed.report?;
        ensure!(!report.agents.is_empty(), "the report contains no agent");
        let sent = (report.bytes_multicast + report.bytes_unicast) as f64;
        Ok(Outcome::new(report.ok)
            .at_least("agents_confirmed", report.count("confirmed") as f64, self.agents.into())
            .at_most("link_bytes_per_image_byte", bytes / IMAGE_BYTES as f64, self.bytes_max())
            .at_most("seconds_per_second_of_these_bytes", report.seconds / (bytes * 8.0 / RATE_BITS), 1.25)
            .at_most("unicast_part", report.bytes_unicast as f64 / sent, 0.1)
            .figure("image_bytes", IMAGE_BYTES)
            .figure("link_bytes", bytes)
            .figure("seconds", report.seconds)
            .figure("rounds", report.rounds)
            .figure("blocks_multicast", report.blocks_multicast)
            .figure("blocks_unicast", report.blocks_unicast)
            .figure("agents", u64::from(self.agents))
            .figure("loss_percent", u64::from(self.loss))
            .figure("parity", self.parity.to_string()))
    }

    /// The most bytes on the link for each byte of the image. The agents of this benchmark run Linux.
    fn bytes_max(self) -> f64 {
        let code = self.parity.for_agents(true).coded().map(update_core::parity::Parity::code);
        match (code, self.agents, self.loss) {
            (_, _, 0) => 1.2,
            (None, ..=8, ..=5) => 1.75,
            (None, ..) => 4.0,
            (Some(ErasureCode::Rs16), ..=8, ..=5) => 1.28,
            (Some(ErasureCode::Rs16), ..=32, ..=5) => 1.29,
            (Some(ErasureCode::Rs16), ..=32, ..=20) => 1.53,
            (Some(ErasureCode::Cauchy), ..=8, ..=5) => 1.36,
            (Some(ErasureCode::Cauchy), ..=8, ..=20) => 1.85,
            (Some(ErasureCode::Cauchy), ..=32, ..=5) => 1.4,
            (Some(ErasureCode::Cauchy), ..=32, ..=20) => 2.0,
            _ => 3.0,
        }
    }
}
