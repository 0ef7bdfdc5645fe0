//! The cost of an update on the distributor's link, and its duration, with loss on every agent's link.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::fleet::{Fleet, Place, Plan, Update};
use crate::netns::{self, Family, Net};
use crate::outcome::Outcome;
use crate::programs::Programs;

const AGENTS: u8 = 8;
const IMAGE_BYTES: u64 = 4 * 1024 * 1024;
const RATE: &str = "10Mbit/s";
const RATE_BITS: f64 = 10_000_000.0;
const LOSS_PERCENT: f64 = 5.0;
/// How long the push may take.
const WITHIN: Duration = Duration::from_secs(120);

/// Measures.
///
/// # Errors
/// Not root, or a program fails.
pub fn run() -> Result<Outcome> {
    if let Some(why) = netns::unavailable() {
        bail!("{why}: run `cargo xtask bench transfer` as root");
    }
    let programs = Programs::build()?;
    let net = Net::new("transfer", Family::V4, AGENTS + 1)?;
    let folder = tempfile::tempdir()?;
    let plan = Plan::new(AGENTS.into(), RATE);
    let mut fleet = Fleet::create(&programs, Place::Net(&net), folder.path(), plan)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    for host in 1..=AGENTS.into() {
        net.drop_randomly(host, LOSS_PERCENT)?;
    }
    fleet.start_all()?;
    let before = net.link_bytes(0)?;
    let pushed = update.push(&mut fleet, &[])?.wait(WITHIN)?;
    let bytes = (net.link_bytes(0)? - before) as f64;
    let report = pushed.report?;
    ensure!(!report.agents.is_empty(), "the report contains no agent");
    let sent = (report.bytes_multicast + report.bytes_unicast) as f64;
    Ok(Outcome::new(report.ok)
        .at_least("agents_confirmed", report.count("confirmed") as f64, AGENTS.into())
        .at_most("link_bytes_per_image_byte", bytes / IMAGE_BYTES as f64, 1.75)
        .at_most("seconds_per_second_of_these_bytes", report.seconds / (bytes * 8.0 / RATE_BITS), 1.25)
        .at_most("unicast_part", report.bytes_unicast as f64 / sent, 0.1)
        .figure("image_bytes", IMAGE_BYTES)
        .figure("link_bytes", bytes)
        .figure("seconds", report.seconds)
        .figure("rounds", report.rounds)
        .figure("blocks_multicast", report.blocks_multicast)
        .figure("blocks_unicast", report.blocks_unicast))
}
