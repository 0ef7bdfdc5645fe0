//! How much memory the programs hold for the largest image.

use std::time::Duration;

use anyhow::Result;

use crate::fleet::{Fleet, Place, Plan, Update};
use crate::outcome::Outcome;
use crate::programs::Programs;

const AGENTS: usize = 8;
const IMAGE_BYTES: u64 = 64 * 1024 * 1024;
/// As fast as two processors can serve nine programs: only memory is measured here.
const RATE: &str = "40Mbit/s";
/// How long the push may take.
const WITHIN: Duration = Duration::from_secs(300);
const MIB: f64 = 1024.0 * 1024.0;

/// Measures on this machine's loopback.
///
/// # Errors
/// A program fails.
pub fn run() -> Result<Outcome> {
    let programs = Programs::build()?;
    let folder = tempfile::tempdir()?;
    let plan = Plan::new(AGENTS, RATE);
    let mut fleet = Fleet::create(&programs, Place::Loopback, folder.path(), plan)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    fleet.start_all()?;
    let pushed = update.push(&mut fleet, &[])?.wait(WITHIN)?;
    let distributor = pushed.peak_bytes as f64 / MIB;
    let report = pushed.report?;
    let mut agent: f64 = 0.0;
    for number in 1..=AGENTS {
        agent = agent.max(fleet.agent_peak_bytes(number)? as f64 / MIB);
    }
    Ok(Outcome::new(report.ok)
        .at_least("agents_confirmed", report.count("confirmed") as f64, AGENTS as f64)
        .at_most("agent_mebibytes", agent, 24.0)
        .at_most("distributor_mebibytes", distributor, 64.0)
        .figure("image_bytes", IMAGE_BYTES)
        .figure("seconds", report.seconds))
}
