//! Rule [silence]: until when the distributor waits for agents that stay silent, and who waits with it.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::fleet::{self, Fleet};
use common::group::{Image, agent_id};
use update_core::census::State;
use update_core::distribution::{Activate, DistributionConfig, Ending, Event};
use update_core::time::Duration;

/// It takes a few seconds at the rate below.
fn image() -> Image {
    Image::new(5, 400, 256)
}

fn config() -> DistributionConfig {
    DistributionConfig {
        rate: 1_000_000,
        first_answer_within: Duration::from_secs(20),
        transfer_within: Duration::from_secs(300),
        ..fleet::config()
    }
}

fn states(fleet: &Fleet<'_>) -> Vec<State> {
    fleet.agents.iter().map(|agent| agent.machine.state()).collect()
}

fn lost(fleet: &Fleet<'_>) -> Vec<bool> {
    fleet.distribution.agents().iter().map(|agent| agent.lost).collect()
}

fn seconds(fleet: &Fleet<'_>) -> u64 {
    fleet.now.as_micros() / 1_000_000
}

/// Goes on until this holds; it must within so many seconds.
fn until(fleet: &mut Fleet<'_>, within_s: u64, holds: impl Fn(&Fleet<'_>) -> bool) {
    let limit = fleet.now + Duration::from_secs(within_s);
    while !holds(fleet) {
        assert!(fleet.now < limit && fleet.ending.is_none(), "{:?} {:?}", fleet.ending, states(fleet));
        fleet.step(&mut |_| 1);
    }
}

fn until_it_has_some(fleet: &mut Fleet<'_>, index: usize) {
    until(fleet, 10, |fleet| {
        let (missing, _) = fleet.agents[index].machine.progress();
        fleet.agents[index].machine.state() == State::Blocks && missing > 100
    });
}

#[test]
fn silence_of_an_agent_in_the_middle_holds_up_nobody_and_it_may_come_back() {
    let image = image();
    let mut fleet = Fleet::with(&image, 3, config(), None);
    until_it_has_some(&mut fleet, 1);
    fleet.off[1] = true;
    until(&mut fleet, 10, |fleet| {
        states(fleet)[0] == State::Confirmed && states(fleet)[2] == State::Confirmed
    });
    until(&mut fleet, 200, |fleet| seconds(fleet) >= 100);
    assert_eq!(lost(&fleet), [false; 3]);
    fleet.off[1] = false;
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!(states(&fleet), [State::Confirmed; 3]);
    assert!(seconds(&fleet) < 125, "{}", seconds(&fleet));
    assert!(!fleet.events.contains(&Event::Lost(agent_id(1))));
}

#[test]
fn silence_of_an_agent_that_was_heard_lasts_to_the_deadline_of_the_transfer() {
    let image = image();
    let mut fleet = Fleet::with(&image, 3, config(), None);
    until_it_has_some(&mut fleet, 1);
    fleet.off[1] = true;
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!((lost(&fleet), seconds(&fleet)), (vec![false, true, false], 300));
    // RFC 10020 section 3.6: next to nothing is sent to who does not answer.
    let asks = common::wire::seen(&fleet).iter().filter(|seen| seen.path == "/fw/status").count();
    assert!(asks < 200, "{asks}");
    assert_eq!(fleet.events.iter().filter(|event| **event == Event::Lost(agent_id(1))).count(), 1);
}

#[test]
fn silence_of_an_agent_that_was_never_heard_lasts_to_the_first_answer() {
    let image = image();
    let mut fleet = Fleet::with(&image, 3, config(), None);
    fleet.off[1] = true;
    until(&mut fleet, 10, |fleet| {
        states(fleet)[0] == State::Confirmed && states(fleet)[2] == State::Confirmed
    });
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!((lost(&fleet), seconds(&fleet)), (vec![false, true, false], 20));
}

#[test]
fn silence_of_everyone_ends_with_the_time_for_the_first_answer() {
    let image = image();
    let mut fleet = Fleet::with(&image, 2, config(), None);
    fleet.off = vec![true; 2];
    assert_eq!((fleet.run(), seconds(&fleet)), (Ending::NobodyAnswered, 20));
    // The agents come late, but in time.
    let mut fleet = Fleet::with(&image, 2, config(), None);
    fleet.off = vec![true; 2];
    until(&mut fleet, 30, |fleet| seconds(fleet) >= 18);
    fleet.off = vec![false; 2];
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!(states(&fleet), [State::Confirmed; 2]);
}

#[test]
fn silence_is_left_to_others_where_the_caller_says_so() {
    let image = image();
    let config = DistributionConfig { activate: Activate::Nobody, leaves_silent: true, ..config() };
    let mut fleet = Fleet::with(&image, 3, config.clone(), None);
    fleet.off[1] = true;
    until_it_has_some(&mut fleet, 2);
    fleet.off[2] = true;
    assert_eq!(fleet.run(), Ending::Done);
    assert!(seconds(&fleet) < 20, "{}", seconds(&fleet));
    assert_eq!((states(&fleet)[0], lost(&fleet)), (State::Ready, vec![false; 3]));
    // Where the caller does not, the same takes as long as the deadlines allow.
    let mut fleet = Fleet::with(&image, 3, DistributionConfig { leaves_silent: false, ..config }, None);
    fleet.off[1] = true;
    until_it_has_some(&mut fleet, 2);
    fleet.off[2] = true;
    assert_eq!((fleet.run(), seconds(&fleet)), (Ending::Done, 300));
    assert_eq!(lost(&fleet), [false, true, true]);
}

#[test]
fn silence_after_the_order_lasts_as_long_as_a_trial_may_take() {
    let image = image();
    let mut fleet = Fleet::with(&image, 3, config(), None);
    until(&mut fleet, 10, |fleet| fleet.distribution.agents()[1].state() == Some(State::Ready));
    fleet.off[1] = true;
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!(lost(&fleet), [false, true, false]);
    assert!((60..75).contains(&seconds(&fleet)), "{}", seconds(&fleet));
}
