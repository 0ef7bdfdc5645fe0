//! Updates that succeed in spite of loss, late joiners, crashes and interruptions.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Scenario, Stage};
use crate::fleet::{Fleet, Place, Plan, Push, Update};
use crate::netns::Family::{V4, V6};
use crate::push_report::PushReport;

pub(super) const SCENARIOS: [Scenario; 10] = [
    Scenario::new("eight agents with loss", V6, 8, eight_agents_with_loss),
    Scenario::new("eight agents with loss", V4, 8, eight_agents_with_loss),
    Scenario::new("late joiner", V6, 3, late_joiner),
    Scenario::new("agent killed", V6, 3, agent_killed),
    Scenario::new("agent killed", V4, 3, agent_killed),
    Scenario::new("agent lost", V4, 3, agent_lost),
    Scenario::new("distributor killed", V6, 3, distributor_killed),
    Scenario::new("push interrupted", V4, 3, push_interrupted),
    Scenario::new("agent cut off", V6, 3, agent_cut_off),
    Scenario::new("unhealthy image", V4, 2, unhealthy_image),
];

/// Exit code if some agents have failed.
const SOME_FAILED: i32 = 5;
/// Exit code of an interrupted push.
const INTERRUPTED: i32 = 130;
const RATE: &str = "4Mbit/s";
const IMAGE_BYTES: u64 = 1024 * 1024;
const BLOCKS: u64 = IMAGE_BYTES / 1024;
/// Loss on every link, each way.
const LOSS_PERCENT: f64 = 5.0;
/// How long a push may take.
const WITHIN: Duration = Duration::from_secs(120);

fn eight_agents_with_loss(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    for host in 1..=stage.agents.into() {
        stage.net.drop_randomly(host, LOSS_PERCENT)?;
    }
    fleet.start_all()?;
    let report = update.push(&mut fleet, &[])?.wait(WITHIN)?.succeeded()?;
    everyone_runs(&fleet, &update, &report)?;
    let again = report.blocks_repaired(IMAGE_BYTES, 1024);
    ensure!(again > 0, "with {LOSS_PERCENT} % loss one round cannot have been enough");
    Ok(())
}

/// An agent that joins when half of the image has been sent gets the second half once, and the first half in
/// a repetition.
fn late_joiner(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    fleet.start(1)?;
    fleet.start(2)?;
    let mut push = update.push(&mut fleet, &[])?;
    wait_for_bytes(stage, &mut push, IMAGE_BYTES / 2)?;
    fleet.start(3)?;
    let report = push.wait(WITHIN)?.succeeded()?;
    everyone_runs(&fleet, &update, &report)
}

/// The journal is the hash tree: after a crash an agent knows what it has without being told.
fn agent_killed(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    fleet.start_all()?;
    let mut push = update.push(&mut fleet, &[])?;
    wait_for_bytes(stage, &mut push, IMAGE_BYTES / 2)?;
    fleet.kill(2)?;
    std::thread::sleep(Duration::from_millis(300));
    fleet.start(2)?;
    let report = push.wait(WITHIN)?.succeeded()?;
    everyone_runs(&fleet, &update, &report)?;
    // Its counters restarted with it, so they show what it needed after the crash.
    let agents = fleet.status()?;
    let restarted = agents.iter().find(|agent| agent.name == fleet.agent_names()[1]);
    let restarted = restarted.context("the agent that was killed does not answer")?;
    let heard = restarted.heard_multicast + restarted.heard_unicast;
    ensure!(heard > 0 && heard < BLOCKS * 3 / 4, "after the crash it needed {heard} of {BLOCKS} blocks");
    Ok(())
}

/// An agent that is gone for good is reported as lost, and not remembered as heard at the end.
fn agent_lost(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    let update = Update::make(&fleet, IMAGE_BYTES / 2)?;
    fleet.start_all()?;
    let mut push = update.push(&mut fleet, &["--transfer-within", "15s"])?;
    wait_for_bytes(stage, &mut push, IMAGE_BYTES / 4)?;
    fleet.kill(2)?;
    let pushed = push.wait(WITHIN)?;
    let report = pushed.report?;
    ensure!(
        pushed.status.code() == Some(SOME_FAILED) && report.count("confirmed") == 2,
        "the push ended with {}: {:?}",
        pushed.status,
        report.agents
    );
    let lost = &fleet.agent_names()[1];
    for agent in known_agents(&fleet)? {
        let heard = agent["heard"].is_string();
        ensure!(heard != (agent["name"] == **lost), "{lost} is lost, and remembered is {agent}");
    }
    Ok(())
}

/// A push that continues a killed one does not start over.
fn distributor_killed(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    fleet.start_all()?;
    let mut push = update.push(&mut fleet, &[])?;
    wait_for_bytes(stage, &mut push, IMAGE_BYTES / 2)?;
    push.kill()?;
    resumed(&mut fleet, &update)
}

fn push_interrupted(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    fleet.start_all()?;
    let mut push = update.push(&mut fleet, &[])?;
    wait_for_bytes(stage, &mut push, IMAGE_BYTES / 2)?;
    push.interrupt()?;
    let pushed = push.wait(Duration::from_secs(10))?;
    ensure!(
        pushed.status.code() == Some(INTERRUPTED),
        "the push ended with {}: {}",
        pushed.status,
        pushed.said
    );
    resumed(&mut fleet, &update)
}

/// For a while one agent neither hears nor is heard.
fn agent_cut_off(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    fleet.start_all()?;
    let mut push = update.push(&mut fleet, &[])?;
    wait_for_bytes(stage, &mut push, IMAGE_BYTES / 4)?;
    stage.net.cut(2, true)?;
    wait_for_bytes(stage, &mut push, IMAGE_BYTES / 4)?;
    stage.net.cut(2, false)?;
    let report = push.wait(WITHIN)?.succeeded()?;
    everyone_runs(&fleet, &update, &report)
}

/// [attempt]: an image that does not prove healthy is rolled back, and retried only when the operator says
/// so.
fn unhealthy_image(stage: &Stage<'_>) -> Result<()> {
    let mut plan = Plan::new(stage.agents.into(), RATE);
    // An agent is healthy when this file is there.
    let cured = stage.folder.join("cured");
    let health = ["--health-command", "test", "--health-command=-e", "--health-command"];
    plan.agent_arguments = health.map(str::to_owned).to_vec();
    plan.agent_arguments.push(cured.display().to_string());
    plan.agent_arguments.extend(["--health-deadline", "2s", "--health-interval", "1s"].map(str::to_owned));
    let mut fleet = Fleet::create(stage.programs, Place::Net(stage.net), stage.folder, plan)?;
    let update = Update::make(&fleet, IMAGE_BYTES / 8)?;
    fleet.start_all()?;
    let before = fleet.running_image(1)?;
    for attempt in ["the first", "the same"] {
        let pushed = update.push(&mut fleet, &[])?.wait(WITHIN)?;
        let report = pushed.report?;
        ensure!(!pushed.status.success() && !report.ok, "{attempt} push reports success");
        let rolled_back = report.count("rolled back");
        ensure!(rolled_back == usize::from(stage.agents), "{attempt} push: {:?}", report.agents);
        ensure!(fleet.running_image(1)? == before, "after {attempt} push the new image runs");
    }
    std::fs::write(&cured, b"")?;
    let report = update.push(&mut fleet, &["--retry"])?.wait(WITHIN)?.succeeded()?;
    everyone_runs(&fleet, &update, &report)
}

fn resumed(fleet: &mut Fleet<'_>, update: &Update) -> Result<()> {
    let report = update.push(fleet, &[])?.wait(WITHIN)?.succeeded()?;
    everyone_runs(fleet, update, &report)?;
    let sent = report.blocks_multicast + report.blocks_unicast + report.symbols_multicast;
    ensure!(sent > 0 && sent < BLOCKS * 3 / 4, "the second push sent {sent} of {BLOCKS} blocks");
    Ok(())
}

/// Every agent reports that it has confirmed the image, and runs it byte for byte.
pub(super) fn everyone_runs(fleet: &Fleet<'_>, update: &Update, report: &PushReport) -> Result<()> {
    let image = std::fs::read(fleet.path(&update.image))?;
    let names = fleet.agent_names();
    let confirmed = report.count("confirmed");
    ensure!(confirmed == names.len(), "{confirmed} of {} have confirmed: {:?}", names.len(), report.agents);
    for (index, name) in names.iter().enumerate() {
        ensure!(fleet.running_image(index + 1)? == image, "{name} runs something else");
    }
    let known = known_agents(fleet)?;
    let heard =
        known.iter().filter(|agent| agent["installed"] == update.sequence && agent["heard"].is_string());
    ensure!(heard.count() == names.len(), "what was heard is not remembered: {known:?}");
    Ok(())
}

/// What the distributor remembers of each agent.
fn known_agents(fleet: &Fleet<'_>) -> Result<Vec<serde_json::Value>> {
    Ok(serde_json::from_slice(&fleet.fwcast(&[&["get", "agents", "-o", "json"]])?.stdout)?)
}

/// Waits until this many bytes have gone over the distributor's link since the push began.
pub(super) fn wait_for_bytes(stage: &Stage<'_>, push: &mut Push, bytes: u64) -> Result<()> {
    let until = stage.net.link_bytes(0)? + bytes;
    let start = Instant::now();
    while stage.net.link_bytes(0)? < until {
        ensure!(!push.has_ended()?, "the push ended before it was half done: {}", push.said());
        ensure!(start.elapsed() < WITHIN, "the push sends too little: {}", push.said());
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
