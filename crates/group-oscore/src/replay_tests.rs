//! The window compared with a model: the set of all accepted numbers.

extern crate std;

use super::*;
use proptest::prelude::*;
use std::{collections::BTreeSet, vec::Vec};

fn piv(number: u64) -> PartialIv {
    PartialIv::new(number).unwrap()
}

/// A window is right if it never accepts a number twice, and refuses no new number within the window.
struct Model {
    accepted: BTreeSet<u64>,
    floor: u64,
}

impl Model {
    fn new(floor: u64) -> Self {
        Self { accepted: BTreeSet::new(), floor }
    }

    fn accepts(&mut self, number: u64) -> bool {
        let too_old = self.accepted.last().is_some_and(|highest| number + REPLAY_WINDOW <= *highest);
        number >= self.floor && !too_old && self.accepted.insert(number)
    }
}

fn agree(window: &mut ReplayWindow, model: &mut Model, numbers: &[u64]) {
    for &number in numbers {
        assert_eq!(window.accept(piv(number)), model.accepts(number), "{number} of {numbers:?}");
        assert_eq!(window.highest(), model.accepted.last().copied());
    }
}

/// Every sequence of six numbers out of `set`, repeats included.
fn all_sequences(set: &[u64], floor: u64, window: &ReplayWindow) {
    let count = set.len().pow(6);
    for code in 0..count {
        let numbers: Vec<u64> = (0..6).map(|place| set[code / set.len().pow(place) % set.len()]).collect();
        agree(&mut window.clone(), &mut Model::new(floor), &numbers);
    }
}

#[test]
fn every_order_of_neighbours_and_edges() {
    all_sequences(&[0, 1, 2, 3, 4, 5, 6], 0, &ReplayWindow::fresh());
    let edge = REPLAY_WINDOW;
    all_sequences(&[0, 1, edge - 1, edge, edge + 1, 2 * edge, 2 * edge + 1], 0, &ReplayWindow::fresh());
    all_sequences(&[62, 63, 64, edge + 62, edge + 64, 2 * edge + 63], 0, &ReplayWindow::fresh());
    all_sequences(
        &[99, 100, 101, edge + 98, edge + 100, SEQUENCE_NUMBER_MAX],
        100,
        &ReplayWindow::from_floor(100),
    );
}

proptest! {
    #[test]
    fn any_numbers_with_large_jumps(
        floor in prop_oneof![Just(0), 0_u64..5000],
        steps in prop::collection::vec((any::<prop::sample::Index>(), -3000_i64..3000), 1..400),
        jump in 0..SEQUENCE_NUMBER_MAX / 2,
    ) {
        let mut at = floor;
        let numbers: Vec<u64> = steps.iter().map(|(index, step)| {
            if index.index(40) == 0 {
                at = (at + jump) % SEQUENCE_NUMBER_MAX;
            }
            at.saturating_add_signed(*step)
        }).collect();
        agree(&mut ReplayWindow::from_floor(floor), &mut Model::new(floor), &numbers);
    }

    #[test]
    fn an_echo_never_lets_a_number_in_twice(
        floor in prop_oneof![Just(None), (0_u64..3000).prop_map(Some)],
        steps in prop::collection::vec((0_u64..4000, any::<bool>()), 1..200),
    ) {
        let mut window = floor.map_or(ReplayWindow::invalid(), ReplayWindow::from_floor);
        let mut accepted = BTreeSet::new();
        for (number, proven) in steps {
            let let_in = if proven { window.accept_proven(piv(number)) } else { window.accept(piv(number)) };
            prop_assert!(!let_in || accepted.insert(number), "{} twice", number);
        }
    }
}

#[test]
fn an_invalid_window_tells_nothing_until_an_echo() {
    let mut window = ReplayWindow::invalid();
    assert_eq!(window.check(piv(7)), Verdict::Unknown);
    assert!(!window.accept(piv(7)));
    assert_eq!((window.floor(), window.next_floor(), window.floor_due(0, 256)), (None, None, None));
    assert!(window.accept_proven(piv(7)));
    assert!(!window.accept_proven(piv(7)));
    assert_eq!(window.check(piv(6)), Verdict::Seen);
    assert!(window.accept(piv(8)));
}

#[test]
fn below_a_stored_floor_nothing_is_known() {
    let mut window = ReplayWindow::from_floor(300);
    assert_eq!(window.check(piv(299)), Verdict::Unknown);
    assert!(window.accept(piv(310)));
    assert_eq!(window.check(piv(299)), Verdict::Unknown);
    // An Echo below what was accepted keeps what is known about the numbers above.
    assert!(window.accept_proven(piv(50)));
    assert_eq!(window.check(piv(49)), Verdict::Seen);
    assert_eq!(window.check(piv(310)), Verdict::Seen);
    assert!(window.accept(piv(51)));
}

#[test]
fn a_floor_is_due_every_so_many_numbers() {
    let mut window = ReplayWindow::fresh();
    assert_eq!(window.floor_due(0, 256), None);
    assert!(window.accept(piv(0)));
    assert_eq!(window.floor_due(0, 256), Some(257));
    assert!(window.accept(piv(256)));
    assert_eq!(window.floor_due(257, 256), None);
    assert!(window.accept(piv(257)));
    assert_eq!(window.floor_due(257, 256), Some(514));
    assert_eq!(window.next_floor(), Some(258));
    assert!(window.accept(piv(SEQUENCE_NUMBER_MAX)));
    assert_eq!(window.floor_due(257, 256), Some(SEQUENCE_NUMBER_MAX + 1));
}
