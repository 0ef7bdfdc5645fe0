//! Pairs of cuts that once broke the records.

use std::sync::Arc;

use super::device::Device;
use super::life::{Lives, Story};
use super::oracle::Wrong;
use super::{Depth, Geometry, LEFT};
use crate::nor_flash::{Cut, Way};

/// A device from the factory that will confirm its update.
fn device<const WORD: usize, const PAGE: usize>(geometry: Geometry) -> Lives<WORD, PAGE> {
    let Geometry { page, rewritable, banks, .. } = geometry;
    let device = Device::new(page, geometry.image_bytes(Depth::Two), rewritable, banks);
    Lives::new(Arc::new(device), Story::Confirmed)
}

fn after<const WORD: usize, const PAGE: usize>(
    device: Lives<WORD, PAGE>,
    cuts: [(u32, Way); 2],
) -> Result<(), Wrong> {
    device.after(&cuts.map(|(after, way)| Cut { after, way }))
}

/// An entry that was never finished looked intact in the very start in which the seal before it did not.
#[test]
fn two_words_in_doubt_lose_no_record() {
    for (first, second) in [(2, 1), (35, 1), (38, 1), (80, 2), (127, 1), (142, 2)] {
        let cuts = [first, second].map(|after| (after, Way::Unstable));
        assert_eq!(after(device::<16, 8192>(Geometry::BANKS), cuts), Ok(()), "{cuts:?}");
    }
}

/// The header of an entry was readable in one start, which wrote a seal after content that did not exist. In
/// the next start it was not readable. The seal then looked blank, and was in the middle of what was written
/// next.
#[test]
fn a_word_that_looks_blank_is_not_written() {
    let [small, large, banks] = Geometry::small();
    let cuts = [(6, Way::Unstable), (1, Way::Unstable)];
    assert_eq!(after(device::<32, 256>(small), cuts), Ok(()));
    assert_eq!(after(device::<32, 4096>(large), cuts), Ok(()));
    assert_eq!(after(device::<16, 8192>(banks), cuts), Ok(()));
}

/// A long entry that had to be written twice left no room to mark the other bank as in use.
#[test]
fn a_bank_may_be_full_to_its_last_cell() {
    for first in [Way::Before, Way::Half] {
        for second in [Way::Half, Way::Random, Way::Unreadable, Way::Unstable] {
            let used = device::<16, 8192>(Geometry::BANKS).with_full_bank(LEFT).expect("it has room");
            assert_eq!(after(used, [(42, first), (73, second)]), Ok(()), "{first:?}, {second:?}");
        }
    }
}
