//! The network moves under the distributor, and agents fall silent for a while: everything goes on by itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::updates::{everyone_runs, wait_for_bytes};
use super::{Scenario, Stage};
use crate::fleet::{FIRST_SEQUENCE, Fleet, GROUP, RolloutReport, Signing, Update, manifest};
use crate::netns::Family::{V4, V6};

pub(super) const SCENARIOS: [Scenario; 7] = [
    Scenario::new("link down", V4, 2, link_down),
    Scenario::new("link down", V6, 2, link_down),
    Scenario::new("address gone", V4, 2, address_gone),
    Scenario::new("address gone", V6, 2, address_gone),
    Scenario::new("link down in a soak", V4, 2, link_down_in_a_soak),
    Scenario::new("agent frozen", V4, 3, agent_frozen),
    Scenario::new("no multicast route", V4, 2, no_multicast_route),
];

const RATE: &str = "4Mbit/s";
const IMAGE_BYTES: u64 = 1024 * 1024;
/// How long a push may take.
const WITHIN: Duration = Duration::from_secs(120);
/// How long the distributor cannot send.
const OUTAGE: Duration = Duration::from_secs(3);

fn link_down(stage: &Stage<'_>) -> Result<()> {
    outage(stage, true, |down| stage.net.take_down(0, down))
}

fn address_gone(stage: &Stage<'_>) -> Result<()> {
    // Linux goes on sending from a socket whose IPv6 address is gone, so there is nothing to tell.
    outage(stage, stage.net.family() == V4, |away| stage.net.take_address(0, away))
}

/// Twice in one push: for a moment, and for longer.
fn outage(stage: &Stage<'_>, is_told: bool, breaks: impl Fn(bool) -> Result<()>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    fleet.start_all()?;
    let mut push = update.push(&mut fleet, &[])?;
    for outage in [Duration::ZERO, OUTAGE] {
        wait_for_bytes(stage, &mut push, IMAGE_BYTES / 4)?;
        breaks(true)?;
        std::thread::sleep(outage);
        breaks(false)?;
    }
    let pushed = push.wait(WITHIN)?;
    let said = pushed.said.clone();
    let report = pushed.succeeded()?;
    ensure!(
        !is_told || (said.contains("cannot send") && said.contains("can send again")),
        "nothing is told of the outage: {said}"
    );
    everyone_runs(&fleet, &update, &report)
}

/// While a wave is watched, and nothing is sent but a question now and then.
fn link_down_in_a_soak(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    fleet.make_image("spring.img", IMAGE_BYTES / 8)?;
    fleet.sign("spring.img", "spring.img.suit", Signing::of_sequence(FIRST_SEQUENCE + 1))?;
    let waves = "  waves:
    - { name: canary, size: 1, soak: 15s }
    - { name: others, size: rest }";
    std::fs::write(fleet.path("spring.yaml"), manifest("spring", "spring.img", waves))?;
    fleet.start_all()?;
    let run = fleet.run_rollout("spring.yaml")?;
    until(&fleet, "in its soak", |status| status.doing.contains("is watched until"))?;
    stage.net.take_down(0, true)?;
    until(&fleet, "told of the outage", |status| status.doing.contains("cannot be reached"))?;
    std::thread::sleep(OUTAGE);
    stage.net.take_down(0, false)?;
    let (status, report) = run.wait(WITHIN)?;
    let report = report?;
    ensure!(status.success() && report.count("confirmed") == 2, "it ended with {status}: {report:?}");
    let events = fleet.fwcast(&[&["events", "--rollout", "spring"]])?.stdout;
    let events = String::from_utf8_lossy(&events).into_owned();
    ensure!(events.contains("network-lost") && events.contains("network-back"), "{events}");
    Ok(())
}

fn until(fleet: &Fleet<'_>, what: &str, holds: impl Fn(&RolloutReport) -> bool) -> Result<()> {
    let start = Instant::now();
    loop {
        let output = fleet.fwcast_output(&["status", "spring", "-o", "json"])?;
        let status: Option<RolloutReport> = serde_json::from_slice(&output.stdout).ok();
        if status.as_ref().is_some_and(&holds) {
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_secs(60), "it is not {what}: {status:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A push names its interface and needs no route: `doctor` looks as it sends.
fn no_multicast_route(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    let update = Update::make(&fleet, IMAGE_BYTES / 8)?;
    stage.net.take_multicast_route(0)?;
    fleet.start_all()?;
    let doctor = fleet.fwcast(&[&["doctor", "--group", GROUP, "--probes", "5"]])?.stdout;
    let found = String::from_utf8_lossy(&doctor).into_owned();
    ensure!(!found.contains("BAD") && found.contains("5 of 5 questions answered"), "{found}");
    let report = update.push(&mut fleet, &[])?.wait(WITHIN)?.succeeded()?;
    everyone_runs(&fleet, &update, &report)
}

/// An agent that does not run for 15 s in a transfer is waited for, and nobody waits with it.
fn agent_frozen(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    fleet.start_all()?;
    let mut push = update.push(&mut fleet, &[])?;
    wait_for_bytes(stage, &mut push, IMAGE_BYTES / 4)?;
    fleet.freeze(2, true)?;
    let frozen = Instant::now();
    let image = std::fs::read(fleet.path(&update.image))?;
    while fleet.running_image(1)? != image || fleet.running_image(3)? != image {
        ensure!(frozen.elapsed() < Duration::from_secs(12), "the others wait for it: {}", push.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(15).saturating_sub(frozen.elapsed()));
    ensure!(!push.has_ended()?, "the push did not wait for it: {}", push.said());
    fleet.freeze(2, false)?;
    let report = push.wait(WITHIN)?.succeeded().context("it was waited for")?;
    everyone_runs(&fleet, &update, &report)
}
