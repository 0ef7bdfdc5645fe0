//! What a rollout waits for and what it does not: silent agents, outages, windows; and what it says of
//! orders.

use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::engine::{Input, Output};
use super::plan::{Plan, When};
use super::record::{Given, Order, Outcome, Progress};
use super::state::Stage;
use super::steps::Waits;
use super::testing::{Fleet, Nature, given, key, nightly, outcome, percent, plan};

/// The plan of two waves, the first of which is watched for longer than the transfer may take.
fn long_soak() -> Plan {
    let mut plan = plan(&[2, 2]);
    plan.success = percent("0%");
    (plan.waves[0].soak_s, plan.transfer_within_s) = (2 * 3600, 3600);
    plan
}

#[test]
fn nobody_waits_for_an_agent_that_is_silent_and_it_may_come_back_in_time() {
    let mut fleet = Fleet::new(long_soak()).with(&[(3, Nature::Off)]);
    while fleet.engine.agents()[&key(0)].progress != Progress::Confirmed {
        fleet.step();
    }
    assert!(fleet.now.steady.as_secs() < 60, "{:?}", fleet.now);
    assert_eq!(fleet.engine.agents()[&key(3)].progress, Progress::Waiting);
    fleet.devices.get_mut(&key(3)).unwrap().nature = Nature::Good;
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
}

#[test]
fn an_agent_that_is_silent_to_the_deadline_of_the_transfer_is_lost_before_its_turn_comes() {
    for crash in [None, Some(12)] {
        let mut fleet = Fleet::new(long_soak()).with(&[(3, Nature::Off)]);
        fleet.crashes.extend(crash);
        while fleet.engine.agents()[&key(3)].progress != Progress::Lost {
            fleet.step();
        }
        let seconds = fleet.now.steady.as_secs();
        assert!((3600..3600 + 400).contains(&seconds), "{seconds}");
        assert_eq!(fleet.engine.agents()[&key(3)].tries, 0);
        // Back after all: it has the whole time again, when the others of its wave activate.
        fleet.devices.get_mut(&key(3)).unwrap().nature = Nature::Good;
        fleet.go();
        assert_eq!(fleet.engine.counts(|_| true).confirmed, 4, "{:?}", fleet.engine.agents());
    }
}

#[test]
fn an_outage_is_told_and_shown_and_ends_with_the_run() {
    let mut fleet = Fleet::new(plan(&[1]));
    let hall = provisioning::Name::new("hall").unwrap();
    let outage = |why: Option<&str>| Input::Outage { group: hall.clone(), why: why.map(str::to_owned) };
    fleet.engine.handle(fleet.now, outage(Some("Network is unreachable")));
    assert_eq!(fleet.engine.state().outages[&hall], "Network is unreachable");
    fleet.engine.handle(fleet.now, outage(None));
    assert!(fleet.engine.state().outages.is_empty());
    fleet.engine.handle(fleet.now, outage(Some("Network is unreachable")));
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
    assert!(fleet.engine.state().outages.is_empty());
    let kinds = fleet.kinds();
    let outages = kinds.iter().filter(|kind| kind.starts_with("network-")).copied().collect::<Vec<_>>();
    assert_eq!(outages, ["network-lost", "network-back", "network-lost"]);
}

#[test]
fn who_ordered_something_and_why_is_no_secret() {
    let mut fleet = Fleet::new(plan(&[1]));
    let given = Given { by: "ada".to_owned(), reason: Some("wrong image".to_owned()) };
    for (id, order) in [(1, Order::Pause), (2, Order::Cancel)] {
        fleet.engine.handle(fleet.now, Input::Order { id, order, given: given.clone() });
        if order == Order::Pause {
            let paused = fleet.engine.state().paused.as_ref().unwrap().to_string();
            assert_eq!(paused, "ada paused it, reason: wrong image");
        }
    }
    fleet.go();
    let Stage::Ended { why, .. } = &fleet.engine.state().stage else { unreachable!("it has ended") };
    assert!(why.ends_with("(by ada, reason: wrong image)"), "{why}");
    let told = fleet.facts.iter().filter(|fact| fact.text.contains("by ada, reason: wrong image"));
    assert_eq!(told.map(|fact| fact.kind.as_str()).collect::<Vec<_>>(), ["pause", "cancel", "rollout-ended"]);
}

#[test]
fn what_could_not_be_saved_is_saved_with_the_next_changes() {
    let mut fleet = Fleet::new(plan(&[2]));
    let first = fleet.engine.take_changes();
    let (agents, facts) = (first.agents.clone(), first.facts.clone());
    fleet.engine.not_saved(first);
    fleet.engine.handle(fleet.now, Input::Order { id: 7, order: Order::Pause, given: given() });
    assert_eq!(fleet.engine.poll(fleet.now), Output::Save);
    let changes = fleet.engine.take_changes();
    assert_eq!((changes.agents, &changes.facts[..facts.len()]), (agents, &facts[..]));
    assert_eq!((changes.facts.len(), changes.settled[0].id), (facts.len() + 1, 7));
}

#[test]
fn a_wave_that_waits_for_its_window_or_its_moment_says_so() {
    let moment = "2026-11-26T06:00:00Z".parse().unwrap();
    for (activation, waits) in [
        (When::At(moment), Waits::Moment(moment)),
        (When::Window, Waits::ActivationWindow("2026-11-26T01:00:00Z".parse().ok())),
    ] {
        let mut plan = plan(&[1]);
        (plan.activation, plan.activation_windows) = (activation, nightly());
        let mut fleet = Fleet::new(plan);
        while fleet.engine.waits(fleet.now.wall).is_none() {
            fleet.step();
        }
        assert_eq!(fleet.engine.waits(fleet.now.wall), Some(waits));
        assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
        assert_eq!(fleet.kinds().iter().filter(|kind| **kind == "window-awaited").count(), 1);
        assert_eq!(fleet.engine.waits(fleet.now.wall), None);
    }
}
