//! Sender Sequence Numbers: what may continue after a crash, and what must never send again (protocol.md
//! \[reserve\]).

use std::fs;

use super::SequenceDoubt;
use super::sequence::SKIPPED;
use super::testing::World;
use super::{SequenceStore, StateError};

/// Opening must fail for this reason, so that nothing is sent.
fn assert_nothing_is_sent(result: Result<SequenceStore, StateError>, expected: SequenceDoubt) {
    match result {
        Err(StateError::SequenceInDoubt { doubt, .. }) => assert_eq!(doubt, expected),
        other => panic!("wanted {expected:?}, got {other:?}"),
    }
}

/// Reserves up to each end in turn, in one run.
fn reserve(world: &World, ends: &[u64]) {
    let mut store = world.open().unwrap();
    for end in ends {
        store.reserve(*end).unwrap();
    }
}

#[test]
fn a_fresh_group_begins_with_0_and_has_sent_nothing() {
    let world = World::new();
    let mut store = world.open().unwrap();
    assert_eq!((store.numbers().next, store.numbers().end), (0, 0));
    assert!(!store.has_sent());
    // Opening alone uses nothing.
    store.settle(0).unwrap();
    assert_eq!(world.open().unwrap().numbers().next, 0);
}

#[test]
fn no_number_is_used_twice_over_crashes_and_clean_ends() {
    let world = World::new();
    let mut used_below = 0;
    for run in 0..6 {
        let mut store = world.open().unwrap();
        let numbers = store.numbers();
        assert!(numbers.next >= used_below, "run {run}");
        assert_eq!(numbers.end, numbers.next);
        store.reserve(numbers.next + 1000).unwrap();
        assert!(store.has_sent());
        if run % 2 == 0 {
            // Sent 10, then ended cleanly: the other 990 are not lost.
            used_below = numbers.next + 10;
            store.settle(used_below).unwrap();
            assert_eq!(world.open().unwrap().numbers().next, used_below + SKIPPED);
        } else {
            // Killed: all 1000 may have been used.
            used_below = numbers.next + 1000;
            drop(store);
            assert_eq!(world.open().unwrap().numbers().next, used_below + SKIPPED);
        }
    }
}

#[test]
fn closing_gives_back_only_what_this_run_reserved() {
    let world = World::new();
    reserve(&world, &[1000]);
    // Opened and closed without reserving, whatever number is given.
    for next in [0, 500, 1000, 1256] {
        world.open().unwrap().settle(next).unwrap();
        assert_eq!(world.open().unwrap().numbers().next, 1000 + SKIPPED);
    }
    // A number below this run's start frees only this run's numbers.
    let mut store = world.open().unwrap();
    store.reserve(3000).unwrap();
    store.settle(0).unwrap();
    assert!(world.open().unwrap().numbers().next >= 1000 + SKIPPED);
}

#[test]
fn a_crash_between_the_two_writes_is_told_from_a_restore_and_the_higher_is_taken() {
    let world = World::new();
    reserve(&world, &[100, 200]);
    let witness_before = fs::read(world.witness()).unwrap();
    reserve(&world, &[1000]);
    fs::write(world.witness(), witness_before).unwrap();
    let store = world.open().unwrap();
    assert_eq!(store.numbers().next, 1000 + SKIPPED);
    // The witness has followed.
    assert_eq!(fs::read(world.main()).unwrap(), fs::read(world.witness()).unwrap());
}

#[test]
fn a_restored_main_file_sends_nothing() {
    let world = World::new();
    reserve(&world, &[100]);
    let old = fs::read(world.main()).unwrap();
    reserve(&world, &[1000]);
    fs::write(world.main(), &old).unwrap();
    assert_nothing_is_sent(world.open(), SequenceDoubt::MainOlder);
    // It does not do so later either.
    assert_nothing_is_sent(world.open(), SequenceDoubt::MainOlder);
}

#[test]
fn a_restored_witness_sends_nothing() {
    let world = World::new();
    reserve(&world, &[100]);
    let old = fs::read(world.witness()).unwrap();
    reserve(&world, &[1000, 2000]);
    fs::write(world.witness(), &old).unwrap();
    assert_nothing_is_sent(world.open(), SequenceDoubt::WitnessOlder);
}

#[test]
fn two_histories_of_the_same_length_send_nothing() {
    let world = World::new();
    let fresh = fs::read(world.main()).unwrap();
    reserve(&world, &[100]);
    let (one_main, one_witness) = (fs::read(world.main()).unwrap(), fs::read(world.witness()).unwrap());
    fs::write(world.main(), &fresh).unwrap();
    fs::write(world.witness(), &fresh).unwrap();
    reserve(&world, &[200]);
    let other_witness = fs::read(world.witness()).unwrap();
    fs::write(world.main(), &one_main).unwrap();
    assert_nothing_is_sent(world.open(), SequenceDoubt::Differ);
    // One step ahead, but with another history.
    fs::write(world.witness(), &one_witness).unwrap();
    reserve(&world, &[500]);
    fs::write(world.witness(), &other_witness).unwrap();
    assert_nothing_is_sent(world.open(), SequenceDoubt::Differ);
}

#[test]
fn a_missing_copy_sends_nothing() {
    for (main, witness, doubt) in [
        (true, false, SequenceDoubt::MainMissing),
        (false, true, SequenceDoubt::WitnessMissing),
        (true, true, SequenceDoubt::BothMissing),
    ] {
        let world = World::new();
        reserve(&world, &[100]);
        let paths = [(main, world.main()), (witness, world.witness())];
        for (_, path) in paths.iter().filter(|(remove, _)| *remove) {
            fs::remove_file(path).unwrap();
        }
        assert_nothing_is_sent(world.open(), doubt);
    }
}

#[test]
fn a_torn_copy_sends_nothing() {
    let world = World::new();
    reserve(&world, &[100]);
    for (path, doubt) in
        [(world.main(), SequenceDoubt::MainTorn), (world.witness(), SequenceDoubt::WitnessTorn)]
    {
        let whole = fs::read(&path).unwrap();
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert_nothing_is_sent(world.open(), doubt);
        }
        fs::write(&path, &whole).unwrap();
    }
    world.open().unwrap();
}

#[test]
fn another_machine_sends_nothing() {
    let world = World::new();
    reserve(&world, &[100]);
    assert_nothing_is_sent(world.open_on(&world.other_machine()), SequenceDoubt::OtherMachine);
    world.open().unwrap();
}

#[test]
fn counters_of_other_keys_send_nothing() {
    let world = World::new();
    reserve(&world, &[100]);
    let (main, witness) = (fs::read(world.main()).unwrap(), fs::read(world.witness()).unwrap());
    world.create(true).unwrap();
    assert_eq!(world.open().unwrap().numbers().next, 0);
    fs::write(world.main(), &main).unwrap();
    assert_nothing_is_sent(world.open(), SequenceDoubt::OtherGroup);
    fs::write(world.witness(), &witness).unwrap();
    assert_nothing_is_sent(world.open(), SequenceDoubt::OtherGroup);
}

#[test]
fn a_change_behind_our_back_stops_the_next_reservation() {
    let world = World::new();
    let fresh = fs::read(world.main()).unwrap();
    let mut store = world.open().unwrap();
    store.reserve(100).unwrap();
    // A backup is restored while we send.
    fs::write(world.main(), &fresh).unwrap();
    fs::write(world.witness(), &fresh).unwrap();
    let error = store.reserve(200).unwrap_err();
    let changed = SequenceDoubt::ChangedMeanwhile;
    assert!(matches!(error, StateError::SequenceInDoubt { doubt, .. } if doubt == changed), "{error}");
}

#[test]
fn a_witness_that_cannot_be_read_stops_this_run_and_the_next_one_goes_on_above_it() {
    let world = World::new();
    let mut store = world.open().unwrap();
    store.reserve(100).unwrap();
    let witness = world.witness();
    let aside = witness.with_extension("aside");
    // A folder in its place cannot be read as a record or replaced.
    fs::rename(&witness, &aside).unwrap();
    fs::create_dir(&witness).unwrap();
    assert!(store.reserve(200).is_err());
    assert!(store.reserve(200).is_err());
    fs::remove_dir(&witness).unwrap();
    fs::rename(&aside, &witness).unwrap();
    drop(store);
    assert!(world.open().unwrap().numbers().next >= 100 + SKIPPED);
}

#[test]
fn an_agent_that_has_seen_more_stops_the_group_for_good() {
    let world = World::new();
    let mut store = world.open().unwrap();
    store.reserve(100).unwrap();
    let error = store.condemn();
    assert!(matches!(error, StateError::SequenceInDoubt { doubt: SequenceDoubt::SeenAhead, .. }));
    assert_nothing_is_sent(world.open(), SequenceDoubt::SeenAhead);
    assert!(error.to_string().contains("fwcast group rekey hall"), "{error}");
    world.create(true).unwrap();
    assert_eq!(world.open().unwrap().numbers().next, 0);
}

#[test]
fn numbers_end_at_2_to_the_40() {
    let world = World::new();
    let mut store = world.open().unwrap();
    store.reserve(1 << 40).unwrap();
    assert!(store.reserve((1 << 40) + 1).is_err());
    drop(store);
    let mut store = world.open().unwrap();
    let next = store.numbers().next;
    assert!(store.reserve(next + 1).is_err());
}
