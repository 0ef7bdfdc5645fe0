//! [wear]: a compromised distributor can neither wear out a device's flash nor keep it restarting.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::agent::{Agent, Did, ready};
use common::group::{Image, Speaker, order, question};
use group_oscore::Mode;
use update_core::census::{Query, State};
use update_core::command::Command;
use update_core::limits::{ALLOWANCE_AGAIN, ALLOWANCE_MAX};
use update_core::platform::{RollBackCause, Trial};
use update_core::reception::Via;
use update_core::resource::Resource;
use update_core::time::Duration;

const BUSY: u8 = 80;

fn count(agent: &Agent, counts: fn(&Did) -> bool) -> usize {
    agent.did.iter().filter(|did| counts(did)).count()
}

fn erases(agent: &Agent) -> usize {
    count(agent, |did| matches!(did, Did::Prepare(..)))
}

/// State, reason, and for how long it is busy.
fn says(agent: &mut Agent, speaker: &mut Speaker, image: &Image) -> (State, u8, u32) {
    agent.ask(speaker, &question(image), |report| (report.state, report.reason, report.busy_seconds))
}

/// The offer, followed by the order to drop it.
fn offer_and_cancel(agent: &mut Agent, speaker: &mut Speaker, image: &Image, attempt: u32) {
    let offer = speaker.offer(image);
    agent.hear_all(&offer);
    agent.hear(Via::Group, &speaker.dates());
    let cancel = speaker.command(Mode::Group, Resource::Cancel, &order(image, attempt));
    agent.hear(Via::Group, &cancel);
}

#[test]
fn wear_the_slot_is_erased_eight_times_and_then_once_in_ten_minutes() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = Agent::new(0);
    for attempt in 1..50 {
        offer_and_cancel(&mut agent, &mut speaker, &image, attempt);
        agent.pass(Duration::from_secs(1));
    }
    assert_eq!(erases(&agent), usize::from(ALLOWANCE_MAX));
    let offer = speaker.offer(&image);
    agent.hear_all(&offer);
    // The first one came 49 s ago.
    assert_eq!(says(&mut agent, &mut speaker, &image), (State::Refused, BUSY, 551));
    agent.pass(Duration::from_secs(550));
    agent.hear_all(&speaker.offer(&image));
    assert_eq!(says(&mut agent, &mut speaker, &image), (State::Refused, BUSY, 1));
    for attempt in 100..150 {
        agent.pass(Duration::from_secs(60));
        offer_and_cancel(&mut agent, &mut speaker, &image, attempt);
    }
    assert_eq!(erases(&agent), usize::from(ALLOWANCE_MAX) + 5, "in fifty minutes");
    // Time without any use fills the bucket up, but no further.
    agent.pass(ALLOWANCE_AGAIN * 100);
    for attempt in 200..230 {
        offer_and_cancel(&mut agent, &mut speaker, &image, attempt);
    }
    assert_eq!(erases(&agent), 2 * usize::from(ALLOWANCE_MAX) + 5);
}

#[test]
fn wear_an_update_that_fails_is_started_over_eight_times_and_then_once_in_ten_minutes() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = Agent::new(0);
    agent.refuse = |did| matches!(did, Did::Sync);
    let fails = |agent: &mut Agent, speaker: &mut Speaker| {
        for _ in 0..20 {
            agent.hear_all(&speaker.everything(&image));
            agent.pass(Duration::from_secs(1));
        }
        assert_eq!(agent.machine.state(), State::Failed);
    };
    fails(&mut agent, &mut speaker);
    let mut began = 0;
    for run in 1..30 {
        let (query, _) = speaker.query(Mode::Group, &Query { run, ..question(&image) });
        agent.hear(Via::Group, &query);
        if agent.machine.state() != State::Failed {
            began += 1;
            fails(&mut agent, &mut speaker);
        }
    }
    assert_eq!(began, usize::from(ALLOWANCE_MAX) - 1, "the first one was for the offer");
    agent.pass(ALLOWANCE_AGAIN);
    let (query, _) = speaker.query(Mode::Group, &Query { run: 99, ..question(&image) });
    agent.hear(Via::Group, &query);
    assert_eq!(agent.machine.state(), State::Pages);
}

#[test]
fn wear_a_reset_that_nobody_ordered_gives_one_and_no_more() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = Agent::new(0);
    for attempt in 1..20 {
        offer_and_cancel(&mut agent, &mut speaker, &image, attempt);
    }
    assert_eq!(erases(&agent), 8);
    for resets in 1..5 {
        agent.restart(true);
        speaker.context.skip(300);
        for attempt in 0..5 {
            offer_and_cancel(&mut agent, &mut speaker, &image, 20 * resets + attempt);
        }
        assert_eq!(erases(&agent), 8 + resets as usize);
    }
}

/// A device that rolls each activation back and is told to try again repeatedly, with a restart after each if
/// so configured.
fn activations(restarts: bool, orders: u32) -> (Agent, Speaker, Image) {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = ready(&mut speaker, &image);
    for attempt in 1..=orders {
        // After a roll back the first order makes the agent check the image, and the next one is acted upon.
        for _ in 0..2 {
            agent.hear(Via::Group, &speaker.dates());
            agent.hear(Via::Group, &speaker.activate(&image, attempt));
            agent.pass(Duration::from_millis(100));
        }
        if agent.trial != Trial::Running {
            continue;
        }
        if restarts {
            agent.restart(true);
            speaker.context.skip(300);
        }
        agent.judge(Trial::RolledBack(RollBackCause::Unhealthy));
    }
    (agent, speaker, image)
}

#[test]
fn wear_a_device_activates_eight_times_and_then_says_until_when_it_will_not() {
    for restarts in [false, true] {
        let (mut agent, mut speaker, image) = activations(restarts, 30);
        let activated = count(&agent, |did| matches!(did, Did::Activate(_)));
        assert_eq!(activated, usize::from(ALLOWANCE_MAX), "restarts: {restarts}");
        let (state, reason, busy) = says(&mut agent, &mut speaker, &image);
        assert_eq!((state, reason), (State::Ready, BUSY), "restarts: {restarts}");
        assert!((590..=600).contains(&busy), "{busy} s");
        agent.pass(Duration::from_secs(u64::from(busy)));
        assert_eq!(says(&mut agent, &mut speaker, &image), (State::Ready, 0, 0));
        agent.hear(Via::Group, &speaker.activate(&image, 100));
        assert_eq!(agent.machine.state(), State::Trial);
    }
}

/// A device that takes back what it activated is limited by whichever bucket is empty first.
#[test]
fn wear_an_image_on_trial_is_taken_back_eight_times() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = ready(&mut speaker, &image);
    let mut attempt = 0;
    for turn in 0..12 {
        // The activations are not the subject here.
        agent.pass(if turn < 8 { Duration::from_secs(1) } else { ALLOWANCE_AGAIN / 4 });
        for _ in 0..2 {
            attempt += 1;
            agent.hear(Via::Group, &speaker.dates());
            agent.hear(Via::Group, &speaker.activate(&image, attempt));
            agent.pass(Duration::from_millis(100));
        }
        attempt += 1;
        let back = Command { from_trial: true, ..order(&image, attempt) };
        agent.hear(Via::Group, &speaker.command(Mode::Group, Resource::Cancel, &back));
        if agent.trial == Trial::RolledBack(RollBackCause::Ordered) {
            agent.judge(agent.trial);
        }
    }
    let undone = count(&agent, |did| *did == Did::RollBack);
    assert_eq!(undone, usize::from(ALLOWANCE_MAX), "within ten minutes");
}
