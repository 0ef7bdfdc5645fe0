//! The disruption budget: never more agents of one place on trial than it allows, also after a kill.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::engine::Task;
use super::plan::{AgentKey, Budget, RetryOn, Unavailable};
use super::record::Outcome;
use super::testing::{Fleet, Nature, key, outcome, percent, plan};

/// Agents 0 to 11 are in three places in turn; agents from 9 on have no label.
fn budget(max: Unavailable) -> Budget {
    let mut places: BTreeMap<String, BTreeSet<AgentKey>> = BTreeMap::new();
    for number in 0..12 {
        let place = if number < 9 { format!("site-{}", number % 3) } else { String::new() };
        places.entry(place).or_default().insert(key(number));
    }
    Budget { label: "site".to_owned(), max, places }
}

/// The most agents of each place that were told in one run.
fn most_at_once(fleet: &Fleet, budget: &Budget) -> BTreeMap<String, usize> {
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    for task in &fleet.runs {
        let Task::Activate(told) = task else { continue };
        let mut here: BTreeMap<&str, usize> = BTreeMap::new();
        told.iter().for_each(|agent| *here.entry(budget.place_of(agent)).or_default() += 1);
        for (place, count) in here {
            let before = most.entry(place.to_owned()).or_default();
            *before = count.max(*before);
        }
    }
    most
}

#[test]
fn a_wave_activates_in_as_many_runs_as_the_budget_takes() {
    for (max, runs) in [(Unavailable::Count(1), 3), (Unavailable::Count(2), 2), (Unavailable::Count(9), 1)] {
        let mut plan = plan(&[12]);
        plan.budget = Some(budget(max));
        let mut fleet = Fleet::new(plan);
        assert_eq!(outcome(fleet.go()), Some(Outcome::Done));
        let activations = fleet.runs.iter().filter(|task| matches!(task, Task::Activate(_))).count();
        assert_eq!(activations, runs, "{max:?}");
    }
}

#[test]
fn a_share_is_of_the_place_and_never_nothing() {
    let of = |max| budget(max).most("site-0");
    assert_eq!(of(Unavailable::Share(percent("10%"))), 1);
    assert_eq!(of(Unavailable::Share(percent("67%"))), 3);
    assert_eq!(of(Unavailable::Share(percent("0%"))), 1);
    assert_eq!(budget(Unavailable::Count(2)).most("nowhere"), 2);
    assert_eq!(budget(Unavailable::Count(2)).place_of(&key(77)), "");
}

/// An agent that stays on trial for longer than a trial may last is lost, and counts no longer: there is none
/// of these here.
fn nature() -> impl Strategy<Value = Nature> {
    use Nature::{BusyWhenTold, Good, Off, StorageFailsAtFirst, Unhealthy, UnhealthyAtFirst};
    let natures = [Good, Good, Unhealthy, UnhealthyAtFirst(1), BusyWhenTold(1), StorageFailsAtFirst(1), Off];
    prop::sample::select(natures.to_vec())
}

proptest! {
    #[test]
    fn the_budget_is_never_exceeded(
        natures in prop::collection::vec(nature(), 12),
        max in 1_u32..4,
        share in prop::option::of(1_u16..100),
        sizes in prop_oneof![Just(vec![12]), Just(vec![2, 10]), Just(vec![4, 4, 4])],
        retries in 0_u8..3,
        crashes in prop::collection::btree_set(2_u32..120, 0..8),
    ) {
        let max = share.map_or(Unavailable::Count(max), |share| {
            Unavailable::Share(super::plan::Percent::from_hundredths(share * 100).unwrap())
        });
        let budget = budget(max);
        let mut plan = plan(&sizes);
        (plan.budget, plan.success, plan.retry.max) = (Some(budget.clone()), percent("0%"), retries);
        plan.retry.on = [RetryOn::Unhealthy, RetryOn::Lost, RetryOn::Storage, RetryOn::Busy].into();
        let natures: Vec<_> = natures.into_iter().enumerate().collect();
        let mut fleet = Fleet::new(plan).with(&natures);
        fleet.crashes = crashes;
        fleet.go();
        prop_assert!(outcome(&fleet).is_some());
        for (place, count) in most_at_once(&fleet, &budget) {
            prop_assert!(count <= budget.most(&place), "{place}: {count}");
        }
    }
}
