//! Images that do not fill their slot: between image and trailer are pages that take no part in an exchange.

use super::common::group::Image;
use super::common::{Flash, LAYOUT, erased, public_key, put, signed_key_set, start_by_spare};
use boot_stage::boot_record::{BootRecord, Phase};
use boot_stage::layout::Partition;
use boot_stage::record_log::RecordLog;
use boot_stage::start::News;
use update_core::platform::RollBackCause;

const PAGE: u32 = 4096;
/// Pages of a slot, including the one with the trailer.
const PAGES: u32 = LAYOUT.active.bytes / PAGE;
const TRAILER: u32 = PAGES - 1;

/// An image of slightly less than this many pages.
fn image(sequence_number: u64, pages: u32) -> Image {
    Image::new(sequence_number, pages * (PAGE / 512), 512)
}

fn page(slot: Partition, index: u32) -> core::ops::Range<usize> {
    let begin = (slot.offset + index * PAGE) as usize;
    begin..begin + PAGE as usize
}

/// An update was activated. Pages that belong to no image hold something else.
fn activated(old: &Image, new: &Image) -> Flash {
    let mut flash = erased();
    for slot in [LAYOUT.active, LAYOUT.update] {
        for index in 0..TRAILER {
            flash.bytes[page(slot, index)].fill(0x40 + index as u8);
        }
    }
    for (slot, image) in [(LAYOUT.active, old), (LAYOUT.update, new)] {
        let pages = (image.bytes.len() as u32).div_ceil(PAGE);
        (0..pages).for_each(|index| flash.bytes[page(slot, index)].fill(0xff));
        put(&mut flash, slot, image);
    }
    let mut log = RecordLog::open(&mut flash, LAYOUT.records).unwrap();
    let name = BootRecord::name_of(&new.offer.digest.0);
    BootRecord { phase: Phase::Activated, name, ..BootRecord::SETTLED }.save(&mut flash, &mut log).unwrap();
    flash
}

fn holds(flash: &Flash, image: &Image) -> bool {
    flash.bytes[LAYOUT.active.offset as usize..].starts_with(&image.bytes)
}

/// The update is installed, never confirmed, and rolled back. Pages of neither image do not change and are
/// never erased.
fn there_and_back(old_pages: u32, new_pages: u32) {
    let (old, new) = (image(7, old_pages), image(8, new_pages));
    let key_set = signed_key_set(1, &[public_key(1)]);
    let mut flash = activated(&old, &new);
    let before = flash.bytes.clone();
    let used = old_pages.max(new_pages);
    let others = || {
        let of = move |slot| (used + u32::from(used < TRAILER)..TRAILER).map(move |index| page(slot, index));
        of(LAYOUT.active).chain(of(LAYOUT.update))
    };

    let runs = start_by_spare(&mut flash, &key_set).unwrap();
    assert_eq!((runs.sequence_number, runs.news), (8, News::Trial), "{old_pages}, {new_pages}");
    assert!(holds(&flash, &new), "{old_pages}, {new_pages}");
    assert!(others().all(|page| flash.bytes[page.clone()] == before[page]));

    let runs = start_by_spare(&mut flash, &key_set).unwrap();
    let back = News::RolledBack(RollBackCause::Reset);
    assert_eq!((runs.sequence_number, runs.news), (7, back), "{old_pages}, {new_pages}");
    assert!(holds(&flash, &old), "{old_pages}, {new_pages}");
    for slot in [LAYOUT.active, LAYOUT.update] {
        let pages = |slot: Partition| slot.offset as usize..(slot.offset + slot.bytes) as usize;
        let unused = page(slot, used).start..page(slot, TRAILER).start;
        assert_eq!(flash.bytes[unused.clone()], before[unused], "{old_pages}, {new_pages}");
        assert!(
            flash.bytes[pages(slot)] == before[pages(slot)] || slot == LAYOUT.update,
            "the active slot is what it was: {old_pages}, {new_pages}"
        );
    }
    // The update is intact in its slot again, and can be tried once more.
    let mut log = RecordLog::open(&mut flash, LAYOUT.records).unwrap();
    let name = BootRecord::name_of(&new.offer.digest.0);
    BootRecord { phase: Phase::Activated, name, ..BootRecord::SETTLED }.save(&mut flash, &mut log).unwrap();
    assert_eq!(start_by_spare(&mut flash, &key_set).unwrap().sequence_number, 8);
    assert!(holds(&flash, &new));
}

#[test]
fn images_of_every_length_change_places_and_come_back() {
    assert_eq!(TRAILER, 3);
    for old in 1..=TRAILER {
        for new in 1..=TRAILER {
            there_and_back(old, new);
        }
    }
}

/// As many pages change places as the longer of the two has, in addition to those of the trailer.
#[test]
fn only_pages_of_an_image_and_of_the_trailer_are_erased() {
    let key_set = signed_key_set(1, &[public_key(1)]);
    for (old_pages, new_pages, erases) in [(1, 1, 4), (1, 2, 6), (2, 1, 6), (3, 3, 8)] {
        let mut flash = activated(&image(7, old_pages), &image(8, new_pages));
        start_by_spare(&mut flash, &key_set).unwrap();
        let slots = LAYOUT.active.offset..LAYOUT.update.offset + LAYOUT.update.bytes;
        let of_slots = |offset: &&u32| slots.contains(*offset) || **offset == LAYOUT.spare.offset;
        assert_eq!(flash.erased.borrow().iter().filter(of_slots).count(), erases, "{old_pages}, {new_pages}");
    }
}
