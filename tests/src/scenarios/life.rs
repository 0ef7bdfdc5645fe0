//! The life of a group: new keys, in the middle of an update too, a new address, and who has to go.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use super::{PUSH_WITHIN, Scenario, Stage, wait_until};
use crate::fleet::{Fleet, GROUP, Place, Plan, Update, with_manager};
use crate::netns::Family::{V4, V6};

pub(super) const SCENARIOS: [Scenario; 3] = [
    Scenario::new("rekey and eviction", V4, 4, rekey),
    Scenario::new("rekey and eviction", V6, 4, rekey),
    Scenario::new("the Group Manager is killed", V4, 4, killed),
];

const RATE: &str = "4Mbit/s";
const IMAGE_BYTES: u64 = 256 * 1024;
/// 256 blocks, 4 pages with their hashes, and the root.
const BLOCKS_AND_PAGES: u64 = 261;
/// Exit code for what has not ended in time.
const TIMED_OUT: i32 = 6;
/// How often the Group Manager is killed, and how long it lives at most.
const KILLS: u32 = 200;
const LIVES_MILLIS: u32 = 90;

/// [rekey]: with all blocks on the agents but not yet activated, the group gets new keys. One agent is
/// switched off meanwhile, another is killed right after. The update goes on without a block sent again. Then
/// the group moves to another CoAP group, and one agent is evicted: it gets nothing any more, and comes back.
fn rekey(stage: &Stage<'_>) -> Result<()> {
    let group_arguments = with_manager(stage.net.address(0));
    let plan = Plan { group_arguments, ..Plan::new(stage.agents.into(), RATE) };
    let mut fleet = Fleet::create(stage.programs, Place::Net(stage.net), stage.folder, plan)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    for number in 1..=3 {
        fleet.start(number)?;
    }
    // Agent 4 is switched off, and misses the first new keys.
    let arguments = ["--no-activate", "--first-answer-within", "2s"];
    let received = update.push(&mut fleet, &arguments)?.wait(PUSH_WITHIN)?;
    let report = received.report.with_context(|| format!("the push said: {}", received.said))?;
    ensure!(report.count("ready") == 3, "not all are ready: {}", received.said);
    let without = fleet.rekey(&["--within", "10s"], TIMED_OUT)?;
    ensure!(without == fleet.agent_names()[3..], "without the new keys: {without:?}");
    fleet.kill(2)?;
    fleet.start(2)?;
    fleet.start(4)?;
    // Who was switched off asks when it starts.
    let moved = fleet.another_coap_group();
    let without = fleet.rekey(&["--coap-group", &moved, "--within", "40s"], 0)?;
    ensure!(without.is_empty(), "without the second new keys: {without:?}");
    let done = update.push(&mut fleet, &[])?.wait(PUSH_WITHIN)?.succeeded()?;
    // What an agent has stored since it started. The second one has started again, and has everything.
    for (index, expected) in [(0, BLOCKS_AND_PAGES), (1, 0), (2, BLOCKS_AND_PAGES)] {
        let agent = done.agents.get(index).context("an agent is missing")?;
        let stored = agent.heard_multicast + agent.heard_unicast;
        ensure!(stored == expected, "agent {} has stored {stored} blocks, not {expected}", index + 1);
    }
    eviction(&mut fleet)
}

/// One agent is evicted, learns it from the Group Manager, and comes back.
fn eviction(fleet: &mut Fleet<'_>) -> Result<()> {
    let gone = fleet.agent_names()[0].clone();
    fleet.fwcast(&[&["agent", "evict", &gone, "--reason", "lent out", "--yes", "--within", "40s"]])?;
    let there: Vec<String> = fleet.status()?.into_iter().map(|agent| agent.name).collect();
    ensure!(there == fleet.agent_names()[1..], "the group has {there:?}");
    let mut manager = fleet.start_manager()?;
    // It asks when it starts, and is refused.
    fleet.stop(1)?;
    fleet.start(1)?;
    wait_until(|| Ok(fleet.agent_log(1).contains("is not a member of its group")))
        .with_context(|| format!("the evicted agent's log: {}", fleet.agent_log(1)))?;
    // The Group Manager at work notices the new keys.
    let without = fleet.rekey(&["--within", "40s"], 0)?;
    ensure!(without.is_empty(), "without the keys after the eviction: {without:?}");
    fleet.fwcast(&[&["agent", "rejoin", &gone, "--group", GROUP]])?;
    wait_until(|| Ok(fleet.agent_log(1).matches("new keys are in force").count() > 2))
        .with_context(|| format!("the log of the agent that came back: {}", fleet.agent_log(1)))?;
    let states = fleet.status()?;
    let confirmed = states.iter().filter(|agent| agent.state == "confirmed").count();
    ensure!(confirmed == fleet.agent_names().len(), "{states:?}");
    manager.signal(Signal::SIGTERM)?;
    let ended = manager.wait(PUSH_WITHIN)?;
    ensure!(ended.success(), "the Group Manager ended with {ended}");
    Ok(())
}

/// The Group Manager is killed at any moment, and so are rekeys that do its work. Members and keys agree
/// afterwards: all get the next keys, and take an update with them.
fn killed(stage: &Stage<'_>) -> Result<()> {
    let group_arguments = with_manager(stage.net.address(0));
    let plan = Plan { group_arguments, ..Plan::new(stage.agents.into(), RATE) };
    let mut fleet = Fleet::create(stage.programs, Place::Net(stage.net), stage.folder, plan)?;
    fleet.start_all()?;
    let mut dice = Pcg64Mcg::new(1 << 64 | 7);
    let rekey = ["group", "rekey", GROUP, "--within", "1s"];
    for round in 0..KILLS {
        let mut victim =
            if round % 4 == 0 { fleet.start_in_background(&rekey)? } else { fleet.start_manager()? };
        sleep(Duration::from_millis((dice.next_u32() % LIVES_MILLIS).into()));
        victim.kill()?;
        if round % 20 == 0 {
            // It asks when it starts.
            let number = 1 + round as usize / 20 % usize::from(stage.agents);
            fleet.kill(number)?;
            fleet.start(number)?;
        }
    }
    let without = fleet.rekey(&["--within", "60s"], 0)?;
    ensure!(without.is_empty(), "without the last keys: {without:?}");
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    update.push(&mut fleet, &[])?.wait(PUSH_WITHIN)?.succeeded()?;
    Ok(())
}
