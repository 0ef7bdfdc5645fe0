//! Agents neither believe nor answer an attacker's datagrams, and count them correctly.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use update_core::digest::UpdateId;
use update_core::resource::Resource;
use update_core::suit_inspect::inspect_unverified;

use super::attacker::{Forger, Recorder, send};
use super::updates::everyone_runs;
use super::{Scenario, Stage};
use crate::fleet::{FIRST_SEQUENCE, Fleet, Signing, Update};
use crate::netns::Family::{V4, V6};

pub(super) const SCENARIOS: [Scenario; 4] = [
    Scenario::new("forged sender", V6, 3, forged_sender),
    Scenario::new("forged sender", V4, 3, forged_sender),
    Scenario::new("replayed capture", V6, 2, replayed_capture),
    Scenario::new("replayed capture", V4, 2, replayed_capture),
];

const RATE: &str = "4Mbit/s";
const IMAGE_BYTES: u64 = 256 * 1024;
const BLOCK_BYTES: usize = 1024;
/// How long a push may take.
const WITHIN: Duration = Duration::from_secs(60);
/// The distributor's port, which makes a datagram look genuine.
const DISTRIBUTOR_PORT: u16 = 5683;

/// [role]: agent 3 is a member of the group and has everything that a member has. Still it may not make an
/// offer signed by a trusted image key, in whosever name.
fn forged_sender(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    fleet.start_all()?;
    let envelope = std::fs::read(fleet.path(&update.envelope))?;
    let inspection = inspect_unverified(&envelope).ok().context("the envelope is none")?;
    let id = UpdateId::of(&inspection.digest);
    let mut member = Forger::member(&fleet.agent_file(3))?;
    let mut impostor = Forger::impostor(&fleet.agent_file(3))?;
    let mut from_member = Vec::new();
    let mut from_impostor = Vec::new();
    for number in 0..30 {
        from_member.push(member.put(Resource::Manifest(id), 0, &envelope)?);
        from_member.push(member.put(Resource::Image(id), number, &[0xbb; BLOCK_BYTES])?);
        from_impostor.push(impostor.put(Resource::Manifest(id), 0, &envelope)?);
        from_impostor.push(impostor.put(Resource::Image(id), number, &[0xbb; BLOCK_BYTES])?);
    }
    let (net, group) = (stage.net, fleet.coap_group());
    send(net, stage.attacker(), 0, group, &from_member)?;
    send(net, stage.attacker(), 0, group, &from_impostor)?;
    // The distributor's address does not make it genuine either.
    send(net, 0, DISTRIBUTOR_PORT, group, &from_impostor)?;
    counted(&fleet, "not_for_us", from_member.len())?;
    counted(&fleet, "bad_countersignature", 2 * from_impostor.len())?;
    for agent in fleet.status()? {
        ensure!(agent.state == "idle", "{} has believed it: {}", agent.name, agent.state);
    }
    // The genuine update is not disturbed while the attack continues.
    let push = update.push(&mut fleet, &[])?;
    send(net, stage.attacker(), 0, group, &from_impostor)?;
    let report = push.wait(WITHIN)?.succeeded()?;
    everyone_runs(&fleet, &update, &report)
}

/// [bound]: everything that was sent is replayed from the distributor's address, also to an agent that has
/// lost power since.
fn replayed_capture(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    fleet.start_all()?;
    let (net, group) = (stage.net, fleet.coap_group());
    let recorder = Recorder::start(net, stage.attacker(), group)?;
    let report = update.push(&mut fleet, &[])?.wait(WITHIN)?.succeeded()?;
    let recorded = recorder.stop()?;
    let sent = usize::try_from(report.datagrams_multicast)?;
    ensure!(recorded.len() == sent, "{} of {sent} datagrams were recorded", recorded.len());
    everyone_runs(&fleet, &update, &report)?;
    send(net, 0, DISTRIBUTOR_PORT, group, &recorded)?;
    counted(&fleet, "replayed", recorded.len())?;
    fleet.kill(2)?;
    fleet.start(2)?;
    send(net, stage.attacker(), 0, group, &recorded)?;
    counted(&fleet, "replayed", recorded.len())?;
    everyone_runs(&fleet, &update, &report)?;
    let signing = Signing::of_sequence(FIRST_SEQUENCE + 2);
    let next = Update::make_signed(&fleet, "next.img", IMAGE_BYTES / 2, signing)?;
    let report = next.push(&mut fleet, &[])?.wait(WITHIN)?.succeeded()?;
    everyone_runs(&fleet, &next, &report)
}

/// Every agent has counted at least this many datagrams under this name since it started.
fn counted(fleet: &Fleet<'_>, name: &str, least: usize) -> Result<()> {
    let agents = fleet.status()?;
    ensure!(agents.len() == fleet.agent_names().len(), "some agents do not answer");
    for agent in agents {
        let count = agent.counter(name).with_context(|| format!("{} counts no {name}", agent.name))?;
        ensure!(count >= least as u64, "{} has counted {count} as {name}, not {least}", agent.name);
    }
    Ok(())
}
