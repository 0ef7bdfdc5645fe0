//! What happens when too many have failed: no other agent activates, and those that have are heard to the
//! end.

use alloc::borrow::ToOwned;
use update_core::census::State as Doing;

use super::engine::{Input, RunEnd, Task};
use super::record::{Order, Outcome, Progress};
use super::state::{Pause, Stage};
use super::testing::{Fleet, Nature, key, outcome, percent, plan};

/// The second of four agents fails while the first is on trial and the others have not been told yet.
fn too_many_fail(first: Nature) -> Fleet {
    let mut plan = plan(&[4, 2]);
    plan.abort.failed = Some(percent("0%"));
    Fleet::new(plan).with(&[(0, first), (1, Nature::Unhealthy)])
}

fn is_stopping(fleet: &Fleet) -> bool {
    matches!(fleet.engine.state().stage, Stage::Stopping { .. })
}

fn activations(fleet: &Fleet) -> usize {
    fleet.runs.iter().filter(|task| matches!(task, Task::Activate(_))).count()
}

/// No agent was told after the second had failed, and none is left halfway.
fn is_stopped_cleanly(fleet: &Fleet, first: Progress) {
    assert_eq!(outcome(fleet), Some(Outcome::Stopped));
    assert_eq!(fleet.engine.agents()[&key(0)].progress, first);
    assert_eq!(fleet.doing(1), Doing::RolledBack);
    for number in 2..6 {
        assert_eq!((fleet.doing(number), fleet.devices[&key(number)].attempts), (Doing::Ready, 0));
        assert_eq!(fleet.engine.agents()[&key(number)].tries, 0);
    }
    assert!(fleet.engine.agents().values().all(|agent| !agent.told && agent.retry_at.is_none()));
}

#[test]
fn nobody_is_told_to_activate_any_more_and_who_is_on_trial_is_heard() {
    let mut fleet = too_many_fail(Nature::Slow);
    fleet.go();
    is_stopped_cleanly(&fleet, Progress::Confirmed);
    assert_eq!(activations(&fleet), 1);
}

#[test]
fn a_kill_at_any_moment_lets_nobody_else_activate() {
    for crash in 1..60 {
        let mut fleet = too_many_fail(Nature::Slow);
        fleet.crashes = [crash].into();
        fleet.go();
        is_stopped_cleanly(&fleet, Progress::Confirmed);
    }
}

#[test]
fn who_does_not_say_how_its_trial_ended_is_lost_in_the_end() {
    let mut fleet = too_many_fail(Nature::Slow);
    while !is_stopping(&fleet) {
        fleet.step();
    }
    let began = fleet.now.steady;
    fleet.devices.get_mut(&key(0)).unwrap().nature = Nature::Off;
    fleet.go();
    is_stopped_cleanly(&fleet, Progress::Lost);
    assert!((600..700).contains(&(fleet.now.steady - began).as_secs()), "as long as a trial may take");
    assert_eq!(fleet.engine.may_be_on_trial(), 1);
}

#[test]
fn neither_a_pause_nor_a_run_that_broke_lets_more_activate() {
    for broken in [false, true] {
        let mut fleet = too_many_fail(Nature::Slow);
        while !is_stopping(&fleet) {
            fleet.step();
        }
        let now = fleet.now;
        if broken {
            fleet.engine.running = Some(Task::Census);
            let end = RunEnd::Broken("the disk is full".to_owned());
            fleet.engine.handle(now, Input::RunEnded { end, attempt: 1 });
            fleet.go();
            assert!(matches!(fleet.engine.state().paused, Some(Pause::Broken(_))));
            assert_eq!(outcome(&fleet), None);
            fleet.order(Order::Resume).unwrap();
        } else {
            fleet.order(Order::Pause).unwrap();
        }
        fleet.go();
        is_stopped_cleanly(&fleet, Progress::Confirmed);
    }
}

#[test]
fn what_failed_before_a_retry_does_not_stop_it() {
    let mut plan = plan(&[4]);
    plan.abort.failed = Some(percent("40%"));
    plan.abort.min_sample = 2;
    let natures = [(0, Nature::UnhealthyAtFirst(1)), (1, Nature::UnhealthyAtFirst(1))];
    let mut fleet = Fleet::new(plan).with(&natures);
    assert_eq!(outcome(fleet.go()), Some(Outcome::Stopped));
    fleet.order(Order::Retry).unwrap();
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
}

#[test]
fn a_cancel_goes_ahead_of_a_stop() {
    let mut fleet = too_many_fail(Nature::Slow);
    while !is_stopping(&fleet) {
        fleet.step();
    }
    fleet.order(Order::Cancel).unwrap();
    assert_eq!(fleet.engine.state().stage, Stage::Cancelling);
    assert_eq!(outcome(fleet.go()), Some(Outcome::Cancelled));
    assert_eq!(fleet.doing(2), Doing::Failed);
}
