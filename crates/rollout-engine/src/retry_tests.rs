//! Which failures are retried, and which agents `minSample` counts.

use alloc::vec::Vec;

use update_core::census::State;
use update_core::platform::RollBackCause;
use update_core::reception::Failure;
use update_core::refusal::Refusal;

use super::plan::RetryOn;
use super::record::{Outcome, Progress};
use super::testing::{Fleet, Nature, key, outcome, percent, plan};

/// An agent that fails once in this way, and may be retried once after these failures.
fn fails_once(nature: Nature, on: &[RetryOn]) -> Fleet {
    let mut plan = plan(&[1]);
    plan.retry.max = 1;
    plan.retry.on = on.iter().copied().collect();
    let mut fleet = Fleet::new(plan).with(&[(0, nature)]);
    fleet.go();
    fleet
}

const ALL: [RetryOn; 5] =
    [RetryOn::Lost, RetryOn::Unhealthy, RetryOn::Reset, RetryOn::Storage, RetryOn::Busy];

const FAILURES: [(Nature, RetryOn); 4] = [
    (Nature::UnhealthyAtFirst(1), RetryOn::Unhealthy),
    (Nature::StorageFailsAtFirst(1), RetryOn::Storage),
    (Nature::BusyAtFirst(1), RetryOn::Busy),
    (Nature::BusyWhenTold(1), RetryOn::Busy),
];

#[test]
fn each_failure_is_tried_again_where_its_kind_is_named_and_only_there() {
    for (nature, kind) in FAILURES {
        let named = fails_once(nature, &[kind]);
        assert_eq!(outcome(&named), Some(Outcome::Done), "{nature:?}");
        assert!(named.now.steady.as_secs() >= 60, "{nature:?}: after the backoff");
        let others: Vec<RetryOn> = ALL.into_iter().filter(|other| *other != kind).collect();
        let not_named = fails_once(nature, &others);
        assert_eq!(outcome(&not_named), Some(Outcome::Stopped), "{nature:?}");
        assert_eq!(not_named.devices[&key(0)].attempts + not_named.devices[&key(0)].refusals, 1);
    }
}

#[test]
fn what_another_try_cannot_mend_is_not_tried_again() {
    for (state, reason) in [
        (State::Refused, Refusal::ImageTooLarge.code()),
        (State::Failed, Failure::ImageDigest as u8),
        (State::RolledBack, RollBackCause::Ordered as u8),
    ] {
        let fleet = fails_once(Nature::Ends(state, reason), &ALL);
        assert_eq!(outcome(&fleet), Some(Outcome::Stopped), "{state:?}");
        assert!(fleet.now.steady.as_secs() < 60, "{state:?}: nothing is waited for");
    }
}

#[test]
fn an_activation_that_failed_counts_as_storage() {
    let mut plan = plan(&[1]);
    plan.retry.max = 1;
    plan.retry.on.insert(RetryOn::Storage);
    let mut fleet = Fleet::new(plan).with(&[(0, Nature::ActivationFailsAtFirst(1))]);
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
    assert_eq!(fleet.devices[&key(0)].attempts, 2);
}

#[test]
fn who_is_busy_for_ever_is_tried_again_only_so_often() {
    for nature in [Nature::BusyAtFirst(u8::MAX), Nature::BusyWhenTold(u8::MAX)] {
        let mut plan = plan(&[2]);
        plan.retry.max = 2;
        plan.retry.on.insert(RetryOn::Busy);
        let mut fleet = Fleet::new(plan).with(&[(0, nature)]);
        assert_eq!(outcome(fleet.go()), Some(Outcome::Stopped), "{nature:?}");
        let agent = &fleet.engine.agents()[&key(0)];
        assert_eq!((agent.progress, agent.tries), (Progress::Refused, 3), "{nature:?}");
        assert!(fleet.now.steady.as_secs() >= 60 + 120, "the wait doubles");
    }
}

/// Two of four are lost. With a sample of four they all count, and 50 % is above the limit. With a sample of
/// five there are too few to judge.
#[test]
fn who_is_lost_counts_for_the_minimum_sample() {
    for (min_sample, ends) in [(4, Outcome::Stopped), (5, Outcome::DoneWithFailures)] {
        let mut plan = plan(&[4]);
        plan.success = percent("0%");
        plan.abort.lost = Some(percent("30%"));
        plan.abort.min_sample = min_sample;
        let mut fleet = Fleet::new(plan).with(&[(0, Nature::Off), (1, Nature::Off)]);
        assert_eq!(outcome(fleet.go()), Some(ends), "of {min_sample}");
        let counts = fleet.engine.counts(|_| true);
        assert_eq!((counts.lost, counts.confirmed), (2, 2));
    }
}

#[test]
fn an_agent_that_never_answers_is_told_and_waited_for_as_often_as_retries_say() {
    let mut plan = plan(&[2]);
    plan.success = percent("0%");
    plan.retry.max = 2;
    plan.retry.on.insert(RetryOn::Lost);
    let mut fleet = Fleet::new(plan).with(&[(0, Nature::Off)]);
    assert_eq!(outcome(fleet.go()), Some(Outcome::DoneWithFailures));
    let agent = &fleet.engine.agents()[&key(0)];
    assert_eq!((agent.progress, agent.tries, agent.retry_at), (Progress::Lost, 3, None));
}

#[test]
fn an_end_without_a_reason_is_told_without_a_colon() {
    for (nature, kind, text) in [
        (Nature::Good, "agent-confirmed", "runs the new image, confirmed"),
        (
            Nature::Unhealthy,
            "agent-rolled-back",
            "is back on its previous image: the health check did not pass in time",
        ),
    ] {
        let fleet = fails_once(nature, &[]);
        let told = fleet.facts.iter().find(|fact| fact.kind == kind);
        assert_eq!(told.map(|fact| fact.text.as_str()), Some(text), "{:?}", fleet.kinds());
    }
}

#[test]
fn the_deferred_are_counted_while_they_wait() {
    let nature = Nature::Ends(State::Deferred, update_core::reception::NOT_NOW);
    let mut fleet = Fleet::new(plan(&[2])).with(&[(1, nature)]);
    let counted = (0..100).any(|_| {
        let counts = fleet.engine.counts(|_| true);
        counts.deferred == 1 && counts.have_it == 2 && counts.failed == 0 || !fleet.step() && counts.all == 0
    });
    assert!(counted, "{:?}", fleet.engine.counts(|_| true));
}
