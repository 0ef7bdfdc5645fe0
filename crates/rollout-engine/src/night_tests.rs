//! Rollouts at night: agents that cannot be reached by day, and agents that have left in the meantime.

use alloc::vec;
use alloc::vec::Vec;
use jiff::SignedDuration;
use provisioning::Name;
use update_core::census::State as Doing;
use update_core::remark::Remark;

use super::engine::{Input, Output, Run, RunEnd};
use super::plan::{Lane, RetryOn, When};
use super::record::{Order, Outcome, Progress, Report};
use super::state::Stage;
use super::testing::{Fleet, Nature, key, nightly, outcome, percent, plan};

/// Transfers at night, and an agent that is switched off once it has the image: by day it cannot catch up.
fn lost_by_day(retries: u8) -> Fleet {
    let mut plan = plan(&[2]);
    plan.transfer_windows = nightly();
    plan.success = percent("50%");
    plan.retry.max = retries;
    plan.retry.on.insert(RetryOn::Lost);
    plan.activation = When::At("2026-11-26T12:00:00Z".parse().unwrap());
    let mut fleet = Fleet::new(plan);
    while fleet.runs.is_empty() {
        fleet.step();
    }
    fleet.devices.get_mut(&key(0)).unwrap().nature = Nature::Off;
    fleet
}

#[test]
fn who_is_lost_by_day_is_tried_again_in_the_next_transfer_window() {
    let mut fleet = lost_by_day(1);
    while fleet.engine.agents()[&key(0)].progress != Progress::Lost {
        fleet.step();
    }
    fleet.devices.get_mut(&key(0)).unwrap().nature = Nature::Good;
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
    assert!(fleet.wall() >= "2026-11-27T01:00:00Z".parse().unwrap(), "{}", fleet.wall());
}

#[test]
fn an_operator_who_retries_by_day_is_served_at_night() {
    let mut fleet = lost_by_day(0);
    assert_eq!(outcome(fleet.go()), Some(Outcome::DoneWithFailures));
    fleet.devices.get_mut(&key(0)).unwrap().nature = Nature::Good;
    fleet.order(Order::Retry).unwrap();
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
    assert!(fleet.wall() >= "2026-11-27T01:00:00Z".parse().unwrap(), "{}", fleet.wall());
}

#[test]
fn who_was_told_in_a_run_that_was_cut_off_and_is_out_of_reach_by_day_is_lost() {
    let mut fleet = lost_by_day(0);
    fleet.devices.get_mut(&key(0)).unwrap().nature = Nature::Good;
    while !fleet.engine.agents()[&key(0)].told {
        fleet.step();
    }
    // It has lost its update in the meantime, and would need blocks.
    fleet.engine.agents.get_mut(&key(0)).unwrap().progress = Progress::Receiving;
    fleet.engine.changed.insert(key(0));
    assert_eq!(outcome(fleet.go()), Some(Outcome::DoneWithFailures));
    let agent = &fleet.engine.agents()[&key(0)];
    assert_eq!((agent.progress, agent.told, agent.tries), (Progress::Lost, false, 1));
}

#[test]
fn who_has_left_is_told_nothing_and_counts_nowhere() {
    let mut plan = plan(&[1, 2]);
    plan.transfer_windows = nightly();
    plan.activation_windows = nightly();
    plan.activation = When::Window;
    plan.abort.lost = Some(percent("0%"));
    plan.waves[0].approval = true;
    let mut fleet = Fleet::new(plan);
    fleet.go();
    let now = fleet.now;
    // As after an interruption.
    let agent = fleet.engine.agents.get_mut(&key(1)).unwrap();
    (agent.told, agent.retry_at) = (true, Some(now.wall));
    fleet.engine.handle(now, Input::Left(key(1)));
    let late =
        Report { state: Some(Doing::Confirmed), reason: 0, remark: Remark::NONE, missing: 0, installed: 2 };
    fleet.engine.report(now.wall, &key(1), late);
    let agent = &fleet.engine.agents()[&key(1)];
    assert_eq!((agent.progress, agent.told, agent.retry_at), (Progress::Removed, false, None));
    fleet.order(Order::Approve).unwrap();
    fleet.go();
    assert_eq!(fleet.engine.agents()[&key(1)].progress, Progress::Removed);
    assert_eq!(fleet.doing(1), Doing::Ready);
}

#[test]
fn a_retry_that_waits_for_the_activation_window_does_not_spin() {
    let mut plan = plan(&[2]);
    plan.success = percent("50%");
    plan.activation_windows = nightly();
    plan.activation = When::Window;
    plan.waves[0].soak_s = 7200;
    let mut fleet = Fleet::new(plan).with(&[(0, Nature::UnhealthyAtFirst(1))]);
    while !matches!(fleet.engine.state().stage, Stage::Soak { .. }) {
        fleet.step();
    }
    fleet.pass(SignedDuration::from_mins(60));
    let now = fleet.wall();
    // It falls due while no wave may activate.
    fleet.engine.agents.get_mut(&key(0)).unwrap().retry_at = Some(now);
    fleet.engine.changed.insert(key(0));
    assert!(outcome(fleet.go()).is_some());
}

/// The next run, with everything saved before it.
fn next_run(fleet: &mut Fleet) -> Run {
    loop {
        match fleet.engine.poll(fleet.now) {
            Output::Save => {
                let _ = fleet.engine.take_changes();
            }
            Output::Run(run) => return run,
            Output::Wait(Some(until)) => fleet.pass(until.duration_since(fleet.wall())),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn each_lane_has_the_whole_deadline_also_when_the_night_is_too_short_for_all() {
    let lane = |name: &str, security: &str| Lane {
        name: Name::new(name).unwrap(),
        security_group: Name::new(security).unwrap(),
        interface: None,
        hops: None,
        rate_bits_per_second: None,
        parity: None,
        agents: Vec::new(),
    };
    let mut plan = plan(&[1]);
    plan.transfer_windows = nightly();
    plan.transfer_within_s = 3000;
    plan.lanes = vec![lane("one", "hall"), lane("other", "hall"), lane("alone", "stairs")];
    let mut fleet = Fleet::new(plan);
    let mut left = Vec::new();
    for _ in 0..3 {
        left.push(next_run(&mut fleet).transfer_within_s);
        assert!(matches!(fleet.engine.poll(fleet.now), Output::Wait(Some(_))));
        fleet.pass(SignedDuration::from_mins(60));
        assert_eq!(fleet.engine.poll(fleet.now), Output::Stop);
        let now = fleet.now;
        fleet.engine.handle(now, Input::RunEnded { end: RunEnd::Stopped, attempt: 1 });
    }
    // Two lanes one after the other have 6000 s together; one night has 3600 s of that.
    assert_eq!(left, [3000, 2400, 1]);
    fleet.order(Order::Retry).unwrap();
    assert_eq!(next_run(&mut fleet).transfer_within_s, 3000);
}
