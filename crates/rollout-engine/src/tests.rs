//! The behaviour of rollouts, on a fleet without a network.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use jiff::SignedDuration;
use proptest::prelude::*;
use update_core::census::State as Doing;
use update_core::remark::Remark;

use super::engine::{Input, Now, Output, RunEnd, Task};
use super::judge::Counts;
use super::plan::{Percent, RetryOn, When};
use super::record::{Order, Outcome, Progress};
use super::state::{Pause, Stage};
use super::steps::Waits;
use super::testing::{Fleet, Nature, key, nightly, outcome, percent, plan};

#[test]
fn everyone_receives_once_and_one_wave_after_the_other_activates() {
    let mut fleet = Fleet::new(plan(&[2, 6, 12]));
    fleet.go();
    assert_eq!(outcome(&fleet), Some(Outcome::Done));
    assert_eq!(fleet.runs.iter().filter(|task| **task == Task::Transfer).count(), 1);
    let told: Vec<usize> = fleet
        .runs
        .iter()
        .filter_map(|task| if let Task::Activate(told) = task { Some(told.len()) } else { None })
        .collect();
    assert_eq!(told, [2, 6, 12]);
    // Each wave is watched for its whole soak.
    let soaks = fleet.kinds().iter().filter(|kind| **kind == "wave-soaks").count();
    assert_eq!(soaks, 3);
    assert!(fleet.now.steady.as_secs() >= 3 * 60);
}

#[test]
fn a_canary_that_fails_leaves_the_others_untouched() {
    let mut fleet = Fleet::new(plan(&[2, 18])).with(&[(1, Nature::Unhealthy)]);
    fleet.go();
    assert_eq!(outcome(&fleet), Some(Outcome::Stopped));
    assert_eq!((fleet.doing(0), fleet.doing(1)), (Doing::Confirmed, Doing::RolledBack));
    assert!((2..20).all(|number| fleet.doing(number) == Doing::Ready));
}

#[test]
fn a_failure_within_what_is_tolerated_does_not_stop() {
    let mut plan = plan(&[2, 6, 12]);
    plan.success = percent("80%");
    let mut fleet = Fleet::new(plan).with(&[(3, Nature::Undecided)]);
    fleet.go();
    assert_eq!(outcome(&fleet), Some(Outcome::DoneWithFailures));
    assert_eq!(fleet.engine.counts(|_| true).confirmed, 19);
    assert_eq!(
        fleet.engine.agents()[&key(3)].progress,
        Progress::Trial,
        "heard by the census of the next wave"
    );
}

#[test]
fn nothing_stops_before_the_minimum_sample() {
    let mut plan = plan(&[1, 9, 10]);
    plan.success = percent("0%");
    plan.abort.failed = Some(percent("10%"));
    plan.abort.min_sample = 10;
    let mut one = Fleet::new(plan.clone()).with(&[(0, Nature::Unhealthy)]);
    assert_eq!(outcome(one.go()), Some(Outcome::DoneWithFailures));
    let mut two = Fleet::new(plan).with(&[(0, Nature::Unhealthy), (1, Nature::Unhealthy)]);
    assert_eq!(outcome(two.go()), Some(Outcome::Stopped));
    assert_eq!(two.doing(10), Doing::Ready);
}

#[test]
fn the_lost_count() {
    let mut plan = plan(&[4, 4]);
    plan.success = percent("0%");
    plan.abort.lost = Some(percent("30%"));
    let natures = [(0, Nature::Off), (1, Nature::Off)];
    let mut fleet = Fleet::new(plan).with(&natures);
    assert_eq!(outcome(fleet.go()), Some(Outcome::Stopped));
    assert_eq!(fleet.engine.counts(|wave| wave == 0).lost, 2);
}

#[test]
fn who_may_be_retried_is_retried_with_backoff() {
    let mut plan = plan(&[2, 2]);
    plan.retry.max = 2;
    plan.retry.on.insert(RetryOn::Unhealthy);
    let mut fleet = Fleet::new(plan).with(&[(0, Nature::UnhealthyAtFirst(2))]);
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
    assert_eq!(fleet.devices[&key(0)].attempts, 3);
    assert!(fleet.now.steady.as_secs() >= 60 + 120, "the wait doubles");
}

#[test]
fn retries_have_an_end() {
    let mut plan = plan(&[2]);
    plan.retry.max = 2;
    plan.retry.on.insert(RetryOn::Unhealthy);
    let mut fleet = Fleet::new(plan).with(&[(0, Nature::Unhealthy)]);
    assert_eq!(outcome(fleet.go()), Some(Outcome::Stopped));
    assert_eq!(fleet.devices[&key(0)].attempts, 3);
}

#[test]
fn an_operator_tries_again_what_was_stopped() {
    let mut fleet = Fleet::new(plan(&[2, 2])).with(&[(0, Nature::UnhealthyAtFirst(1))]);
    assert_eq!(outcome(fleet.go()), Some(Outcome::Stopped));
    fleet.order(Order::Retry).unwrap();
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
}

#[test]
fn an_agent_that_comes_back_is_caught_up() {
    let mut plan = plan(&[2, 2]);
    plan.success = percent("50%");
    plan.waves[1].approval = false;
    plan.waves[0].approval = true;
    let mut fleet = Fleet::new(plan).with(&[(0, Nature::Off)]);
    fleet.go();
    assert!(matches!(fleet.engine.state().stage, Stage::Approval { wave: 0 }));
    fleet.devices.get_mut(&key(0)).unwrap().nature = Nature::Good;
    fleet.order(Order::Approve).unwrap();
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
    assert_eq!(fleet.doing(0), Doing::Confirmed);
}

#[test]
fn a_late_joiner_goes_with_the_last_wave() {
    let mut plan = plan(&[1, 1]);
    plan.waves[0].approval = true;
    let mut fleet = Fleet::new(plan);
    fleet.go();
    fleet.devices.insert(key(9), fleet.devices[&key(1)]);
    let now = fleet.now;
    fleet.engine.handle(now, Input::Joined(key(9)));
    fleet.order(Order::Approve).unwrap();
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
    assert_eq!(fleet.doing(9), Doing::Confirmed);
    // Also when everything is over.
    fleet.devices.insert(key(8), fleet.devices[&key(9)]);
    fleet.devices.get_mut(&key(8)).unwrap().doing = Doing::Idle;
    let now = fleet.now;
    fleet.engine.handle(now, Input::Joined(key(8)));
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
    assert_eq!(fleet.doing(8), Doing::Confirmed);
}

#[test]
fn an_approval_is_waited_for_and_asked_for_once() {
    let mut plan = plan(&[1, 1]);
    plan.waves[0].approval = true;
    let mut fleet = Fleet::new(plan);
    assert!(fleet.order(Order::Approve).is_err());
    fleet.go();
    assert_eq!(fleet.doing(1), Doing::Ready);
    fleet.order(Order::Approve).unwrap();
    assert!(fleet.order(Order::Approve).is_err());
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
}

#[test]
fn paused_means_that_nothing_begins() {
    let mut plan = plan(&[1]);
    plan.paused = true;
    let mut fleet = Fleet::new(plan);
    fleet.go();
    assert!(fleet.runs.is_empty());
    assert!(fleet.order(Order::Pause).is_err());
    fleet.order(Order::Start).unwrap();
    assert!(fleet.order(Order::Start).is_err());
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
}

#[test]
fn what_was_given_up_is_given_up_for_good() {
    let mut plan = plan(&[1, 1]);
    plan.paused = true;
    let mut fleet = Fleet::new(plan);
    fleet.order(Order::Cancel).unwrap();
    // First no agent has been told yet, then every agent has.
    for _ in 0..2 {
        for order in [Order::Start, Order::Retry] {
            let why = fleet.order(order).unwrap_err();
            assert!(why.contains("cancelled"), "{why}");
        }
        assert_eq!(outcome(fleet.go()), Some(Outcome::Cancelled));
    }
    assert_eq!(fleet.doing(0), Doing::Failed);
}

#[test]
fn an_undo_that_was_cut_off_is_no_longer_retried() {
    let mut fleet = Fleet::new(plan(&[1, 1])).with(&[(0, Nature::Undecided)]);
    while !fleet.engine.agents()[&key(0)].told {
        fleet.step();
    }
    fleet.engine.enter(Stage::Undoing);
    let why = fleet.order(Order::Retry).unwrap_err();
    assert!(why.contains("being undone") && why.contains("fwcast rollout undo"), "{why}");
}

#[test]
fn a_pause_stops_a_transfer_but_hears_trials_to_the_end() {
    let mut fleet = Fleet::new(plan(&[1]));
    let run = |fleet: &mut Fleet| loop {
        match fleet.engine.poll(fleet.now) {
            Output::Save => {
                let _ = fleet.engine.take_changes();
            }
            Output::Run(run) => break run,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(run(&mut fleet).task, Task::Transfer);
    let now = fleet.now;
    fleet.order(Order::Pause).unwrap();
    assert_eq!(fleet.engine.poll(now), Output::Save);
    assert_eq!(fleet.engine.poll(now), Output::Stop);
    assert_eq!(fleet.engine.poll(now), Output::Wait(None), "it is reported once");
    fleet.engine.handle(now, Input::RunEnded { end: RunEnd::Stopped, attempt: 1 });
    fleet.order(Order::Resume).unwrap();
    run(&mut fleet);
    fleet.engine.handle(now, Input::RunEnded { end: RunEnd::Done, attempt: 1 });
    assert!(matches!(run(&mut fleet).task, Task::Activate(_)));
    fleet.order(Order::Pause).unwrap();
    assert_eq!(fleet.engine.poll(now), Output::Save);
    assert!(matches!(fleet.engine.poll(now), Output::Wait(_)));
}

#[test]
fn cancel_says_what_it_did() {
    let mut plan = plan(&[1, 2]);
    plan.waves[0].approval = true;
    let mut fleet = Fleet::new(plan);
    fleet.go();
    fleet.order(Order::Cancel).unwrap();
    fleet.go();
    let Stage::Ended { outcome: Outcome::Cancelled, why } = &fleet.engine.state().stage else { panic!() };
    assert!(why.starts_with("2 agents dropped the update; confirmed: 1,"), "{why}");
    assert!(fleet.order(Order::Cancel).is_err());
    assert!(fleet.order(Order::Retry).is_err());
}

#[test]
fn undo_brings_those_on_trial_back_and_tells_what_to_do_with_the_others() {
    let mut plan = plan(&[3]);
    plan.success = percent("10%");
    plan.waves[0].soak_s = 3600;
    let mut fleet = Fleet::new(plan).with(&[(0, Nature::Undecided)]);
    // Until the soak, where a census hears that one is still on trial.
    while !matches!(fleet.runs.last(), Some(Task::Census)) {
        fleet.step();
    }
    fleet.order(Order::Undo).unwrap();
    fleet.go();
    let Stage::Ended { outcome: Outcome::Undone, why } = &fleet.engine.state().stage else { panic!() };
    assert!(why.starts_with("1 agent returned") && why.contains("2 confirmed"), "{why}");
    assert_eq!(fleet.doing(0), Doing::RolledBack);
    let why = fleet.order(Order::Undo).unwrap_err();
    assert!(why.contains("higher manifest sequence number") && why.contains("--sequence 3"), "{why}");
}

#[test]
fn an_undo_is_repeated_for_who_was_on_trial_and_was_not_heard() {
    let mut plan = plan(&[3]);
    plan.success = percent("10%");
    plan.waves[0].soak_s = 3600;
    let mut fleet = Fleet::new(plan).with(&[(0, Nature::Undecided)]);
    while !matches!(fleet.runs.last(), Some(Task::Census)) {
        fleet.step();
    }
    assert_eq!(fleet.engine.may_be_on_trial(), 1);
    fleet.devices.get_mut(&key(0)).unwrap().nature = Nature::Off;
    for _ in 0..2 {
        fleet.order(Order::Undo).unwrap();
        assert_eq!(outcome(fleet.go()), Some(Outcome::Undone));
        assert_eq!(fleet.engine.agents()[&key(0)].progress, Progress::Lost);
        assert_eq!(fleet.engine.may_be_on_trial(), 1);
        let Stage::Ended { why, .. } = &fleet.engine.state().stage else { unreachable!("it has ended") };
        assert!(why.contains("perhaps on trial: 1") && why.contains("fwcast rollout undo update"), "{why}");
    }
    fleet.devices.get_mut(&key(0)).unwrap().nature = Nature::Undecided;
    fleet.order(Order::Undo).unwrap();
    fleet.go();
    assert_eq!((fleet.engine.may_be_on_trial(), fleet.doing(0)), (0, Doing::RolledBack));
    assert!(fleet.order(Order::Undo).is_err());
}

#[test]
fn an_undo_reaches_who_was_told_in_a_run_that_was_cut_off() {
    let mut fleet = Fleet::new(plan(&[1])).with(&[(0, Nature::Undecided)]);
    while !fleet.engine.agents()[&key(0)].told {
        fleet.step();
    }
    // It has heard the order, and the process that sent it was killed before it could record that.
    fleet.devices.get_mut(&key(0)).unwrap().doing = Doing::Trial;
    fleet.crash();
    fleet.order(Order::Undo).unwrap();
    assert_eq!(outcome(fleet.go()), Some(Outcome::Undone));
    assert_eq!((fleet.engine.may_be_on_trial(), fleet.doing(0)), (0, Doing::RolledBack));
}

#[test]
fn windows_hold_transfer_and_activation_back() {
    let mut plan = plan(&[1]);
    plan.transfer_windows = nightly();
    plan.activation_windows = nightly();
    plan.activation = When::Window;
    plan.waves[0].soak_s = 7200;
    let mut fleet = Fleet::new(plan);
    let began = fleet.wall();
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
    assert_eq!(fleet.runs.first(), Some(&Task::Transfer));
    let waited = fleet.wall().duration_since(began);
    assert!(waited >= SignedDuration::from_hours(13 + 2), "{waited:?}");
}

#[test]
fn a_window_that_closes_stops_the_transfer() {
    let mut plan = plan(&[1]);
    plan.transfer_windows = nightly();
    let mut fleet = Fleet::new(plan);
    fleet.now.wall = "2026-11-26T01:30:00Z".parse().unwrap();
    for _ in 0..2 {
        assert_eq!(fleet.engine.poll(fleet.now), Output::Save);
    }
    assert!(matches!(fleet.engine.poll(fleet.now), Output::Run(_)));
    assert_eq!(fleet.engine.poll(fleet.now), Output::Wait("2026-11-26T02:00:00Z".parse().ok()));
    fleet.pass(SignedDuration::from_mins(30));
    assert_eq!(fleet.engine.poll(fleet.now), Output::Stop);
    let now = fleet.now;
    fleet.engine.handle(now, Input::RunEnded { end: RunEnd::Stopped, attempt: 1 });
    // It says once what it waits for.
    assert_eq!([fleet.engine.poll(now), fleet.engine.poll(now)], [Output::Save, Output::Save]);
    let opens: jiff::Timestamp = "2026-11-27T01:00:00Z".parse().unwrap();
    for _ in 0..3 {
        assert_eq!(fleet.engine.poll(now), Output::Wait(Some(opens)));
    }
    assert_eq!(fleet.engine.waits(now.wall), Some(Waits::TransferWindow(Some(opens))));
    let facts = fleet.engine.take_changes().facts;
    let said: Vec<&str> =
        facts.iter().filter(|fact| fact.kind == "window-awaited").map(|fact| fact.text.as_str()).collect();
    assert_eq!(said, ["waits for the transfer window that opens at 2026-11-27T01:00:00Z"]);
}

#[test]
fn a_clock_that_is_set_makes_no_soak_shorter() {
    for jump in [SignedDuration::from_hours(48), SignedDuration::from_hours(-48)] {
        let mut fleet = Fleet::new(plan(&[1]));
        while !matches!(fleet.engine.state().stage, Stage::Soak { .. }) {
            fleet.step();
        }
        let began = fleet.now.steady;
        fleet.now = Now { wall: fleet.now.wall + jump, ..fleet.now };
        assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
        let soaked = (fleet.now.steady - began).as_secs();
        assert!((60..120).contains(&soaked), "{jump:?}: {soaked}");
        assert!(fleet.kinds().contains(&"clock-set"));
    }
}

#[test]
fn what_cannot_go_on_is_paused_with_its_reason() {
    let mut fleet = Fleet::new(plan(&[1]));
    while fleet.engine.running.is_none() {
        let _ = fleet.engine.poll(fleet.now);
    }
    let now = fleet.now;
    fleet
        .engine
        .handle(now, Input::RunEnded { end: RunEnd::Broken("the image changed".to_owned()), attempt: 1 });
    fleet.go();
    assert_eq!(fleet.engine.state().paused, Some(Pause::Broken("the image changed".to_owned())));
    fleet.order(Order::Resume).unwrap();
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
}

#[test]
fn when_nobody_answers_it_stops_or_tries_again() {
    let off = [(0, Nature::Off), (1, Nature::Off)];
    let mut fleet = Fleet::new(plan(&[2])).with(&off);
    assert_eq!(outcome(fleet.go()), Some(Outcome::Stopped));
    let mut plan = plan(&[2]);
    plan.retry.max = 3;
    plan.retry.on.insert(RetryOn::Lost);
    let mut fleet = Fleet::new(plan).with(&off);
    assert_eq!(outcome(fleet.go()), Some(Outcome::Stopped));
    // Each try has the whole deadline, in as many runs as that takes, and is told once, as its end is.
    assert!(fleet.now.steady.as_secs() >= 4 * 3600, "{:?}", fleet.now);
    assert_eq!(fleet.kinds().iter().filter(|kind| **kind == "nobody-answered").count(), 4 + 3);
    assert_eq!(fleet.engine.counts(|_| true).lost, 2);
}

#[test]
fn who_goes_silent_while_it_is_watched_is_lost_after_all() {
    let mut fleet = Fleet::new(plan(&[1, 1]));
    while !matches!(fleet.engine.state().stage, Stage::Soak { .. }) {
        fleet.step();
    }
    fleet.devices.get_mut(&key(0)).unwrap().nature = Nature::Off;
    assert_eq!(outcome(fleet.go()), Some(Outcome::Stopped));
    assert_eq!(fleet.engine.agents()[&key(0)].progress, Progress::Lost);
    assert_eq!(fleet.doing(1), Doing::Ready);
}

/// A canary of these has failed, in a soak that does not end on its own.
fn failed_canary(canaries: usize) -> Fleet {
    let mut plan = plan(&[canaries, 2]);
    plan.success = percent("50%");
    let mut fleet = Fleet::new(plan);
    while !matches!(fleet.engine.state().stage, Stage::Soak { .. }) {
        fleet.step();
    }
    let device = fleet.devices.get_mut(&key(0)).unwrap();
    (device.doing, device.reason) = (Doing::RolledBack, 1);
    device.remark = Remark::new("/bin/check: exit code 3");
    while fleet.engine.agents()[&key(0)].progress != Progress::RolledBack {
        fleet.step();
    }
    fleet
}

#[test]
fn what_a_device_says_is_kept_with_its_last_report() {
    let mut fleet = failed_canary(2);
    assert_eq!(fleet.engine.agents()[&key(0)].remark, "/bin/check: exit code 3");
    let said = |fact: &&super::record::Fact| fact.kind == "agent-rolled-back";
    let fact = fleet.facts.iter().find(said).unwrap();
    assert!(fact.text.ends_with(": /bin/check: exit code 3"), "{}", fact.text);
    // Other words for the same reason are stored, and are no news.
    let facts = fleet.facts.len();
    fleet.devices.get_mut(&key(0)).unwrap().remark = Remark::new("exit code 4");
    while fleet.engine.agents()[&key(0)].remark != "exit code 4" {
        fleet.step();
    }
    assert!(fleet.facts[facts..].iter().all(|fact| fact.kind != "agent-rolled-back"));
    let now = fleet.now;
    fleet.engine.handle(now, Input::Left(key(0)));
    assert_eq!(fleet.engine.agents()[&key(0)].remark, "", "a device that is gone says nothing");
}

#[test]
fn taking_a_failed_agent_away_makes_no_wave_healthy() {
    let mut fleet = failed_canary(2);
    fleet.engine.plan.success = percent("100%");
    let now = fleet.now;
    fleet.engine.handle(now, Input::Left(key(0)));
    assert_eq!(fleet.engine.counts(|wave| wave == 0).failed, 1);
    assert_eq!(outcome(fleet.go()), Some(Outcome::Stopped));
    assert_eq!((fleet.doing(2), fleet.doing(3)), (Doing::Ready, Doing::Ready));
}

#[test]
fn a_failed_agent_that_leaves_and_comes_back_has_failed_still() {
    let mut fleet = failed_canary(2);
    fleet.engine.plan.success = percent("100%");
    let now = fleet.now;
    fleet.engine.handle(now, Input::Left(key(0)));
    fleet.engine.handle(now, Input::Joined(key(0)));
    let agent = &fleet.engine.agents()[&key(0)];
    assert_eq!((agent.wave, agent.progress), (0, Progress::RolledBack));
    assert_eq!(outcome(fleet.go()), Some(Outcome::Stopped));
}

#[test]
fn a_wave_of_which_everyone_has_left_stops_the_rollout() {
    for success in ["0%", "100%"] {
        let mut fleet = failed_canary(1);
        fleet.engine.plan.success = percent(success);
        let now = fleet.now;
        fleet.engine.handle(now, Input::Left(key(0)));
        fleet.go();
        let Stage::Ended { outcome: Outcome::Stopped, why } = &fleet.engine.state().stage else { panic!() };
        assert!(why.contains("have left"), "{why}");
        assert_eq!(fleet.doing(1), Doing::Ready);
    }
}

#[test]
fn who_leaves_before_it_was_told_to_activate_does_not_count() {
    let mut plan = plan(&[2, 2]);
    plan.waves[0].approval = true;
    let mut fleet = Fleet::new(plan);
    fleet.go();
    let now = fleet.now;
    fleet.engine.handle(now, Input::Left(key(3)));
    fleet.order(Order::Approve).unwrap();
    assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
    assert_eq!(fleet.engine.counts(|_| true).all, 3);
}

fn nature() -> impl Strategy<Value = Nature> {
    prop_oneof![
        6 => Just(Nature::Good),
        1 => Just(Nature::Unhealthy),
        1 => Just(Nature::UnhealthyAtFirst(1)),
        1 => Just(Nature::Off),
        1 => Just(Nature::Undecided),
    ]
}

/// How a rollout ended for its agents. An agent that stays on trial was last seen on trial, or was last
/// waited for in vain: which of the two depends on when it was asked last.
fn ending(fleet: &Fleet) -> Counts {
    let mut counts = fleet.engine.counts(|_| true);
    let undecided = fleet.devices.values().filter(|device| device.doing == Doing::Trial).count();
    assert!(counts.trial <= undecided, "agents reported as on trial are on trial");
    counts.have_it -= counts.trial;
    counts.lost += core::mem::take(&mut counts.trial);
    counts
}

#[test]
fn a_crash_moves_only_when_an_agent_on_trial_is_heard_last() {
    let mut plan = plan(&[2, 3, 3]);
    plan.success = percent("34%");
    let natures = [(1, Nature::Undecided), (3, Nature::Unhealthy), (4, Nature::Unhealthy)];
    let mut smooth = Fleet::new(plan.clone()).with(&natures);
    smooth.go();
    let mut rough = Fleet::new(plan).with(&natures);
    rough.crashes = [27, 40].into();
    rough.go();
    assert_ne!(smooth.engine.counts(|_| true), rough.engine.counts(|_| true));
    assert_eq!(ending(&smooth), ending(&rough));
    assert_eq!(outcome(&smooth), outcome(&rough));
}

proptest! {
    /// Crashes at any moment do not change the outcome, no wave activates before the previous one has proved
    /// healthy, and no agent outside the waves that were reached runs anything new.
    #[test]
    fn crashes_change_nothing(
        natures in prop::collection::vec(nature(), 8),
        success in 0_u16..=100,
        retries in 0_u8..3,
        crashes in prop::collection::btree_set(2_u32..80, 0..6),
    ) {
        let mut plan = plan(&[2, 3, 3]);
        plan.success = Percent::from_hundredths(success * 100).unwrap();
        plan.retry.max = retries;
        plan.retry.on = [RetryOn::Unhealthy, RetryOn::Lost].into();
        let natures: Vec<_> = natures.into_iter().enumerate().collect();
        let mut smooth = Fleet::new(plan.clone()).with(&natures);
        smooth.go();
        let mut rough = Fleet::new(plan).with(&natures);
        rough.crashes = crashes;
        rough.go();
        prop_assert_eq!(outcome(&smooth), outcome(&rough));
        prop_assert_eq!(ending(&smooth), ending(&rough));
        let reached = rough.engine.state().reached.map_or(0, |wave| wave + 1);
        for (key, agent) in rough.engine.agents() {
            prop_assert!(agent.wave < reached || rough.devices[key].attempts == 0);
        }
    }
}

#[test]
fn who_is_deferred_goes_on_and_has_the_image() {
    let report = |state, reason| {
        let state = Some(state);
        Progress::from(super::record::Report {
            state,
            reason,
            remark: Remark::NONE,
            missing: 0,
            installed: 1,
        })
    };
    let deferred = report(Doing::Deferred, update_core::reception::NOT_NOW);
    assert_eq!(deferred, Progress::Deferred);
    assert!(deferred.is_on_trial() && !deferred.has_ended() && !deferred.has_failed());
    // At the limit of the rollout it counts as failed, with the same reason.
    let failed = report(Doing::Failed, update_core::reception::NOT_NOW);
    assert!(failed.has_failed());
    let reason = crate::reason_of(failed, update_core::reception::NOT_NOW);
    assert_eq!(reason, "the device says not now");
}
