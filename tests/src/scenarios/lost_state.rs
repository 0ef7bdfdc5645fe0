//! State that is lost, damaged or put back: the Group Manager gives another Sender ID, and nobody touches a
//! device.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::{PUSH_WITHIN, Scenario, Stage, wait_until};
use crate::fleet::{FIRST_SEQUENCE, Fleet, Place, Plan, Signing, Update, with_manager};
use crate::netns::Family::{V4, V6};

pub(super) const SCENARIOS: [Scenario; 2] =
    [Scenario::new("lost state", V4, 3, lost_state), Scenario::new("lost state", V6, 3, lost_state)];

const RATE: &str = "4Mbit/s";
const IMAGE_BYTES: u64 = 64 * 1024;
/// How many answers agents give after the old copy was made, so that the old numbers are many.
const ANSWERS: u32 = 20;
/// An agent announces its start within 5 s.
const ANNOUNCED: Duration = Duration::from_secs(6);
/// The manifest sequence number of the update that all take at the end.
const SECOND: u64 = FIRST_SEQUENCE + 3;
/// What an agent says that has lost count.
const ASKS: &str = "asking the Group Manager for another Sender ID";
/// What it says when it has another one.
const IN_FORCE: &str = "new keys are in force";

/// [lost]: one agent's counters are gone, one's membership is damaged, and the state folder of one is put
/// back from an old copy, which the distributor notices. All are members again, and take an update.
fn lost_state(stage: &Stage<'_>) -> Result<()> {
    let group_arguments = with_manager(stage.net.address(0));
    let plan = Plan { group_arguments, ..Plan::new(stage.agents.into(), RATE) };
    let mut fleet = Fleet::create(stage.programs, Place::Net(stage.net), stage.folder, plan)?;
    fleet.start_all()?;
    let without = fleet.rekey(&["--within", "40s"], 0)?;
    ensure!(without.is_empty(), "without the new keys: {without:?}");
    let copy = stage.folder.join("old-copy");
    fleet.stop(3)?;
    copy_folder(&fleet.agent_folder(3), &copy)?;
    fleet.start(3)?;
    let first = Update::make(&fleet, IMAGE_BYTES)?;
    first.push(&mut fleet, &[])?.wait(PUSH_WITHIN)?.succeeded()?;
    // Each answer takes a number.
    for _ in 0..ANSWERS {
        fleet.status()?;
    }
    let mut manager = fleet.start_manager()?;
    fleet.stop(1)?;
    fs::remove_file(fleet.agent_folder(1).join("counters.cbor"))?;
    fleet.start(1)?;
    back_again(&fleet, 1, 2)?;
    fleet.stop(2)?;
    fs::write(fleet.agent_folder(2).join("membership.cbor"), b"damaged")?;
    fleet.start(2)?;
    back_again(&fleet, 2, 2)?;
    put_back(&mut fleet, &copy)?;
    let second = Update::make_signed(&fleet, "second.img", IMAGE_BYTES, Signing::of_sequence(SECOND))?;
    second.push(&mut fleet, &[])?.wait(PUSH_WITHIN)?.succeeded()?;
    manager.signal(Signal::SIGTERM)?;
    ensure!(manager.wait(PUSH_WITHIN)?.success(), "the Group Manager ended with an error");
    Ok(())
}

/// The state folder of agent 3 is an old copy: it uses numbers again. The distributor of the next push
/// notices that.
fn put_back(fleet: &mut Fleet<'_>, copy: &Path) -> Result<()> {
    let folder = fleet.agent_folder(3);
    fleet.stop(3)?;
    fs::remove_dir_all(&folder)?;
    copy_folder(copy, &folder)?;
    fleet.start(3)?;
    // It announces itself: that takes numbers.
    sleep(ANNOUNCED);
    let other = Update::make_signed(fleet, "other.img", IMAGE_BYTES, Signing::of_sequence(SECOND - 1))?;
    let push = other.push(fleet, &["--no-activate"])?;
    wait_until(|| Ok(fleet.agent_log(3).contains(ASKS)))
        .with_context(|| format!("the log of the agent that was put back: {}", fleet.agent_log(3)))?;
    push.kill()?;
    back_again(fleet, 3, 2)
}

/// It says that it has lost count, and has keys again.
fn back_again(fleet: &Fleet<'_>, number: usize, keys: usize) -> Result<()> {
    wait_until(|| {
        let log = fleet.agent_log(number);
        Ok(log.contains(ASKS) && log.matches(IN_FORCE).count() >= keys)
    })
    .with_context(|| format!("the log of agent {number}: {}", fleet.agent_log(number)))?;
    let name = &fleet.agent_names()[number - 1];
    // Where one is silent, this ends with an exit code of its own.
    let answers = |fleet: &Fleet<'_>| {
        let states = fleet.status().unwrap_or_default();
        states.iter().any(|agent| agent.name == *name && agent.state != "lost")
    };
    wait_until(|| Ok(answers(fleet)))
        .with_context(|| format!("{name} does not answer: {}", fleet.agent_log(number)))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (at, kind) = (to.join(entry.file_name()), entry.file_type()?);
        if kind.is_dir() {
            copy_folder(&entry.path(), &at)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, at)?;
        } else {
            fs::copy(entry.path(), at)?;
        }
    }
    Ok(())
}
