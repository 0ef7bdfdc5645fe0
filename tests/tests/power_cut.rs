//! A power cut at every operation of two kinds of flash: the part of `cargo xtask powercut` that every test
//! run can afford, so that a change of the boot stage or the flash store is noticed at once.

use tests::powercut::{Depth, Geometry, Story, finds};

const SMALL: Geometry = Geometry { page: 256, word: 32, rewritable: false, banks: false };

#[test]
fn one_cut_anywhere_leaves_the_old_image_or_the_new_one() {
    let found = finds(SMALL, Story::Silent, Depth::One);
    assert!(found.is_none(), "{}", found.expect("one was found"));
}

#[test]
fn one_cut_anywhere_is_survived_where_the_chip_exchanges_its_banks() {
    let found = finds(Geometry::BANKS, Story::Confirmed, Depth::One);
    assert!(found.is_none(), "{}", found.expect("one was found"));
}
