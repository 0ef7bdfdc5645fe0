//! Every state has a way out: from any of them, `cancel` ends the rollout, whatever is broken.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::engine::{Input, Output};
use super::plan::{Plan, RetryOn, When};
use super::record::{Order, OrderOutcome, Outcome};
use super::state::Stage;
use super::testing::{Fleet, Nature, given, key, nightly, percent, plan};

/// What happens to a rollout between two steps.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Steps(u8),
    Order(Order),
    Crash,
    /// Nothing can be sent from now on, or everything can again.
    Broken(bool),
    /// A process runs it again.
    RunAgain,
    /// An agent leaves, or comes back.
    Leaves(usize),
    Joins(usize),
}

fn orders() -> impl Strategy<Value = Order> {
    use Order::{Approve, Cancel, Pause, Resume, Retry, Start, Undo};
    prop::sample::select([Start, Pause, Resume, Approve, Retry, Cancel, Undo].as_slice())
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (0_u8..12).prop_map(Turn::Steps),
        3 => orders().prop_map(Turn::Order),
        1 => Just(Turn::Crash),
        1 => any::<bool>().prop_map(Turn::Broken),
        1 => Just(Turn::RunAgain),
        1 => (0_usize..6).prop_map(Turn::Leaves),
        1 => (0_usize..7).prop_map(Turn::Joins),
    ]
}

fn nature() -> impl Strategy<Value = Nature> {
    use Nature::{Good, Off, Slow, Undecided, Unhealthy};
    prop::sample::select([Good, Good, Unhealthy, Off, Undecided, Slow].as_slice())
}

prop_compose! {
    fn plans()(night in any::<bool>(), by_day in any::<bool>(), paused in any::<bool>(),
               approval in any::<bool>(), abort in any::<bool>(), max in 0_u8..2) -> Plan {
        let mut plan = plan(&[2, 4]);
        (plan.paused, plan.waves[0].approval, plan.retry.max) = (paused, approval, max);
        plan.retry.on = [RetryOn::Lost, RetryOn::Unhealthy].into();
        plan.success = percent("50%");
        if night {
            plan.transfer_windows = nightly();
        }
        if by_day {
            (plan.activation_windows, plan.activation) = (nightly(), When::Window);
        }
        plan.abort.failed = abort.then(|| percent("20%"));
        plan
    }
}

fn befall(fleet: &mut Fleet, turn: Turn) {
    match turn {
        Turn::Steps(count) => {
            (0..count).all(|_| fleet.step());
        }
        Turn::Order(order) => {
            let _ = fleet.order(order);
        }
        Turn::Crash => fleet.crash(),
        Turn::Broken(broken) => fleet.broken = broken,
        Turn::RunAgain => fleet.engine.handle(fleet.now, Input::Mended),
        Turn::Leaves(number) => fleet.engine.handle(fleet.now, Input::Left(key(number))),
        Turn::Joins(number) => {
            let one = fleet.devices[&key(0)];
            fleet.devices.entry(key(number)).or_insert(one);
            fleet.engine.handle(fleet.now, Input::Joined(key(number)));
        }
    }
}

proptest! {
    #[test]
    fn from_any_state_cancel_ends_it(
        plan in plans(),
        natures in prop::collection::vec(nature(), 6),
        turns in prop::collection::vec(turn(), 0..24),
        broken in any::<bool>(),
    ) {
        let natures: Vec<_> = natures.into_iter().enumerate().collect();
        let mut fleet = Fleet::new(plan).with(&natures);
        for turn in turns {
            befall(&mut fleet, turn);
        }
        fleet.broken = broken;
        let before = fleet.engine.state().outcome();
        let said = fleet.order(Order::Cancel);
        let is_over = !matches!(before, None | Some(Outcome::Stopped));
        prop_assert_eq!(said.is_err(), is_over, "{:?}: {:?}", before, said);
        fleet.go();
        let outcome = fleet.engine.state().outcome();
        prop_assert!(outcome.is_some(), "{:?}", fleet.engine.state());
        prop_assert!(is_over || outcome == Some(Outcome::Cancelled), "{:?}", outcome);
        prop_assert!(fleet.engine.agents().values().all(|agent| agent.retry_at.is_none()));
    }
}

#[test]
fn who_could_not_be_told_is_no_secret() {
    for (order, natures) in [(Order::Cancel, Nature::Good), (Order::Undo, Nature::Undecided)] {
        let mut fleet = Fleet::new(plan(&[2])).with(&[(0, natures), (1, natures)]);
        while !matches!(fleet.engine.state().stage, Stage::Activation { .. }) {
            fleet.step();
        }
        if order == Order::Undo {
            fleet.step();
            fleet.step();
        }
        fleet.broken = true;
        fleet.engine.handle(fleet.now, Input::Order { id: 1, order, given: given() });
        fleet.go();
        assert_eq!(fleet.engine.poll(fleet.now), Output::Ended);
        let Stage::Ended { why, .. } = &fleet.engine.state().stage else { unreachable!("it has ended") };
        assert!(why.contains("not every agent could be told: no key of the group has signed"), "{why}");
        let settled = &fleet.engine.take_changes().settled;
        assert!(settled.iter().all(|settled| matches!(settled.outcome, OrderOutcome::Done(_))));
    }
}
