//! The simulated world: some seeds, its figures, and whether its checker notices violations.

use tests::world::{Faults, Options, Outcome, Sabotage, parity, run, run_seeds};
use update_core::time::Duration;

fn fine(outcome: &Outcome) {
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    assert_eq!((outcome.bricked, outcome.wrong_image, outcome.nonce_reuse), (0, 0, 0));
}

#[test]
fn the_same_seed_takes_the_same_course() {
    let hash = |seed| run(seed, &Options::of(seed)).trace_hash;
    assert_eq!(hash(3), hash(3));
    assert_ne!(hash(3), hash(4));
    let summary = run_seeds([3], |_, _| {});
    assert!(summary.ok);
    assert_eq!(summary.trace_hash, hex::encode(hash(3)));
}

#[test]
fn twenty_worlds_end_well() {
    let mut restarts = 0;
    let summary = run_seeds(0..20, |seed, outcome| {
        assert!(outcome.violations.is_empty(), "seed {seed}: {:?}", outcome.violations);
        restarts += outcome.restarts;
    });
    assert!(summary.ok && summary.updates > 60, "{summary:?}");
    assert!(restarts > 20, "{restarts}");
}

#[test]
fn broken_promises_are_noticed() {
    for sabotage in Sabotage::ALL {
        let noticed = (0..60).map(|seed| {
            let mut options = Options { sabotage: Some(sabotage), ..Options::of(seed) };
            // Without a verdict nothing ever ends.
            options.deadline = options.deadline.min(Duration::from_secs(200));
            run(seed, &options)
        });
        let first = noticed.into_iter().find(|outcome| !outcome.violations.is_empty());
        let outcome = first.unwrap_or_else(|| panic!("{sabotage:?} was not noticed"));
        match sabotage {
            Sabotage::CountersForgotten | Sabotage::ReservationsForgotten => {
                assert!(outcome.nonce_reuse > 0, "{sabotage:?}: {:?}", outcome.violations);
            }
            Sabotage::ImageChanged => assert!(outcome.wrong_image > 0),
            _ => {}
        }
    }
}

#[test]
fn in_a_perfect_world_each_block_goes_out_once() {
    let outcome = run(1, &Options::perfect(4, 300_000, 1024));
    fine(&outcome);
    assert!((outcome.figures.blocks_ratio - 1.0).abs() < f64::EPSILON);
    assert_eq!((outcome.figures.blocks_unicast, outcome.pushes), (0, 1));
}

#[test]
fn four_mebibytes_to_eight_agents_at_five_percent_loss() {
    let options = Options { faults: Faults::loss(0.05), ..Options::perfect(8, 4 << 20, 1024) };
    let outcome = run(1, &options);
    fine(&outcome);
    let figures = outcome.figures;
    assert!(figures.sent_ratio <= 1.75, "{figures:?}");
    assert!(figures.time_ratio <= 1.25, "{figures:?}");
    assert!(figures.unicast_share < 0.10, "{figures:?}");
}

#[test]
fn parity_brings_four_mebibytes_near_the_limit() {
    // Per image byte: 1.185 for headers, signature and tree, times what the code takes.
    let cases = [(8, 0.05, 64, 1.36, 1.25), (8, 0.20, 128, 1.62, 1.75), (32, 0.05, 64, 1.40, 1.25)];
    for (agents, loss, generation, at_most, seconds) in cases {
        let faults = Faults::loss(loss);
        let options =
            Options { faults, parity: parity(generation), ..Options::perfect(agents, 4 << 20, 1024) };
        let outcome = run(1, &options);
        fine(&outcome);
        let figures = outcome.figures;
        assert!(figures.sent_ratio <= at_most, "{agents} agents, {loss}, {generation}: {figures:?}");
        assert!(figures.time_ratio <= seconds, "{agents} agents, {loss}, {generation}: {figures:?}");
        assert!(figures.unicast_share < 0.02, "{agents} agents, {loss}, {generation}: {figures:?}");
    }
}

#[test]
fn one_that_is_never_there_and_one_that_comes_late_hold_nobody_up() {
    let mut options = Options { faults: Faults::loss(0.05), ..Options::perfect(8, 1 << 20, 1024) };
    options.late = Some(Duration::from_millis(900));
    options.absent = true;
    let outcome = run(1, &options);
    fine(&outcome);
    assert_eq!((outcome.updates, outcome.pushes), (7, 1));
    assert!(outcome.figures.seconds < 12.0, "{:?}", outcome.figures);
}

#[test]
fn waves_with_loss_activate_one_after_another() {
    let options = Options { waves: true, faults: Faults::loss(0.10), ..Options::perfect(8, 1 << 18, 1024) };
    for seed in 1..4 {
        let outcome = run(seed, &options);
        fine(&outcome);
        // 1, 2, 4 and the last one.
        assert_eq!((outcome.updates, outcome.pushes), (8, 4), "seed {seed}");
        assert!(outcome.figures.blocks_ratio < 2.0, "it is sent once for all: {:?}", outcome.figures);
    }
}

#[test]
fn three_hundred_agents_are_not_too_many() {
    let options = Options { faults: Faults::loss(0.05), ..Options::perfect(300, 8192, 1024) };
    let outcome = run(1, &options);
    fine(&outcome);
    assert_eq!(outcome.updates, 300);
}
