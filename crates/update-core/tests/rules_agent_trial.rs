//! The rules of a trial that neither simply succeeds nor fails: it is deferred, or cannot be rolled back.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::agent::{Agent, Did, MILLIS, ready};
use common::fleet::{Fleet, config};
use common::group::{Image, Speaker, order, question};
use group_oscore::Mode;
use update_core::census::State;
use update_core::command::Command;
use update_core::distribution::{DistributionConfig, Ending, Fate, Input};
use update_core::platform::{RollBackCause, Trial};
use update_core::reception::{Failure, NOT_NOW, Reason, Via};
use update_core::remark::Remark;
use update_core::resource::Resource;
use update_core::time::Duration;

/// An agent that was told to activate, and cannot do so now.
fn deferred(speaker: &mut Speaker, image: &Image) -> Agent {
    let mut agent = ready(speaker, image);
    let activation = speaker.activate(image, 1);
    agent.hear(Via::Group, &activation);
    agent.judge(Trial::Deferred);
    agent.machine.set_remark(Remark::new("somebody is using it"));
    agent
}

#[test]
fn a_device_may_put_the_activation_off_and_says_so() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = deferred(&mut speaker, &image);
    assert_eq!(agent.stand(&mut speaker, &image), (State::Deferred, NOT_NOW));
    let remark = agent.ask(&mut speaker, &question(&image), |report| report.remark);
    assert_eq!(remark.as_str(), "somebody is using it");
    agent.restart(true);
    assert_eq!(agent.machine.state(), State::Deferred, "also after a restart");
    agent.judge(Trial::Running);
    speaker.context.skip(300);
    assert_eq!(agent.stand(&mut speaker, &image), (State::Trial, 0));
    agent.judge(Trial::Healthy);
    assert_eq!(agent.stand(&mut speaker, &image), (State::Confirmed, 0));
}

#[test]
fn what_was_put_off_too_long_has_ended() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = deferred(&mut speaker, &image);
    agent.judge(Trial::RolledBack(RollBackCause::NotReady));
    let stand = (State::RolledBack, RollBackCause::NotReady as u8);
    assert_eq!(agent.stand(&mut speaker, &image), stand);
    // A higher attempt tries again.
    for _ in 0..2 {
        // The first order makes the agent read the slot back.
        let activation = speaker.activate(&image, 2);
        agent.hear(Via::Group, &activation);
        agent.pass(MILLIS(100));
    }
    assert_eq!(agent.machine.state(), State::Trial);
    let remark = agent.ask(&mut speaker, &question(&image), |report| report.remark);
    assert!(remark.is_empty(), "the remark about the last try no longer counts: {remark:?}");
}

#[test]
fn cancel_drops_what_was_put_off() {
    for from_trial in [false, true] {
        let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
        let mut agent = deferred(&mut speaker, &image);
        let cancel = Command { from_trial, ..order(&image, 2) };
        let datagram = speaker.command(Mode::Group, Resource::Cancel, &cancel);
        agent.hear(Via::Group, &datagram);
        assert!(agent.did.contains(&Did::RollBack));
    }
}

#[test]
fn who_cannot_go_back_says_so_and_gives_way_to_nothing() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = ready(&mut speaker, &image);
    let activation = speaker.activate(&image, 1);
    agent.hear(Via::Group, &activation);
    agent.judge(Trial::Stuck);
    assert_eq!(agent.stand(&mut speaker, &image), (State::Failed, Failure::Stuck as u8));
    let newer = Image::new(6, 3, 64);
    agent.hear_all(&speaker.offer(&newer));
    assert_eq!(agent.stand(&mut speaker, &newer), (State::Refused, Reason::BUSY));
    // An order to go back tries once more.
    let undo = Command { from_trial: true, ..order(&image, 2) };
    let datagram = speaker.command(Mode::Group, Resource::Cancel, &undo);
    agent.hear(Via::Group, &datagram);
    assert!(agent.did.contains(&Did::RollBack));
    agent.judge(Trial::RolledBack(RollBackCause::Unhealthy));
    assert_eq!(agent.stand(&mut speaker, &image), (State::RolledBack, RollBackCause::Unhealthy as u8));
}

#[test]
fn the_distributor_hears_at_once_that_an_agent_cannot_go_back_and_undo_reaches_it() {
    let image = Image::new(5, 20, 64);
    let mut fleet = Fleet::new(&image, 2);
    fleet.verdict = |index| if index == 0 { Trial::Stuck } else { Trial::Healthy };
    assert_eq!(fleet.run(), Ending::Done);
    let status = fleet.distribution.agents()[0].status.unwrap();
    assert_eq!((status.state, status.reason), (State::Failed, Failure::Stuck as u8));
    assert!(fleet.now.since(update_core::time::Instant::default()) < Duration::from_secs(30));
    // The device's program is repaired: the next order succeeds.
    fleet.restart_distribution(config());
    fleet.distribution.handle(fleet.now, Input::Undo);
    assert_eq!(fleet.run(), Ending::Undone);
    assert_eq!(fleet.distribution.agents()[0].fate(), Fate::RolledBack);
}

#[test]
fn the_distributor_waits_longer_for_who_is_deferred_and_no_longer_than_it_is_told() {
    let image = Image::new(5, 20, 64);
    for (deferred_s, is_confirmed) in [(0, false), (300, true)] {
        let config = DistributionConfig { deferred_within: Duration::from_secs(deferred_s), ..config() };
        let mut fleet = Fleet::with(&image, 2, config, None);
        fleet.verdict = |index| if index == 0 { Trial::Deferred } else { Trial::Healthy };
        while fleet.ending.is_none() {
            fleet.step(&mut |_| 1);
            let passed = fleet.now.since(update_core::time::Instant::default());
            if passed > Duration::from_secs(200) && fleet.agents[0].trial == Trial::Deferred {
                fleet.verdict = |_| Trial::Healthy;
                let now = fleet.now;
                fleet.agents[0].now = now;
                fleet.agents[0].judge(Trial::Running);
            }
        }
        let [agent, other] = fleet.distribution.agents() else { panic!("two agents") };
        assert_eq!(other.state(), Some(State::Confirmed));
        let state = if is_confirmed { State::Confirmed } else { State::Deferred };
        assert_eq!((agent.state(), agent.lost), (Some(state), !is_confirmed), "{deferred_s} s");
    }
}
