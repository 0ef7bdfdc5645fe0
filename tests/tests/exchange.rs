//! The exchange of the slots where one page takes nothing any more: whichever it is, and on either way, the
//! other way leads to a whole image.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use boot_stage::boot_record::BootRecord;
use boot_stage::exchange::{BySpare, Exchange, Progress, Way};
use boot_stage::layout::{FlashLayout, Partition, TRAILER_BYTES};
use boot_stage::record_log::{BANK_BYTES_MIN, RecordLog};
use embedded_storage::nor_flash::NorFlash;
use tests::nor_flash::{SimulatedFlash, Wear};

const PAGE: u32 = 256;
/// Pages of the images, and of the slots, which have one page between image and trailer.
const IMAGE_PAGES: u32 = 6;
const TRAILER_PAGES: u32 = TRAILER_BYTES.div_ceil(PAGE);
const SLOT_PAGES: u32 = IMAGE_PAGES + 1 + TRAILER_PAGES;

type Flash = SimulatedFlash<16, { PAGE as usize }>;

const fn partition(first: u32, pages: u32) -> Partition {
    Partition { offset: first * PAGE, bytes: pages * PAGE }
}

const RECORD_PAGES: u32 = 2 * BANK_BYTES_MIN / PAGE;

const LAYOUT: FlashLayout = FlashLayout {
    active: partition(0, SLOT_PAGES),
    update: partition(SLOT_PAGES, SLOT_PAGES),
    spare: partition(2 * SLOT_PAGES, 1),
    pages: partition(2 * SLOT_PAGES + 1, 1),
    records: partition(2 * SLOT_PAGES + 2, RECORD_PAGES),
    provisioning: partition(2 * SLOT_PAGES + 2 + RECORD_PAGES, 1),
    rewritable: false,
};

const OLD: u8 = 0x10;
const NEW: u8 = 0x60;

/// The pages of a slot that take part.
fn taking_part() -> impl Iterator<Item = u32> {
    (0..IMAGE_PAGES).chain(SLOT_PAGES - TRAILER_PAGES..SLOT_PAGES)
}

struct Device {
    flash: Flash,
    log: RecordLog,
    record: BootRecord,
}

impl Device {
    /// With the old image in the active slot and the new one in the update slot. No two pages are alike.
    fn new() -> Self {
        let mut flash = Flash::new(((2 * SLOT_PAGES + 3 + RECORD_PAGES) * PAGE) as usize, false);
        for page in taking_part() {
            for (slot, image) in [(LAYOUT.active, OLD), (LAYOUT.update, NEW)] {
                flash.write(slot.offset + page * PAGE, &[image + page as u8; PAGE as usize]).unwrap();
            }
        }
        let log = RecordLog::open(&mut flash, LAYOUT.records).unwrap();
        Self { flash, log, record: BootRecord { pages: IMAGE_PAGES as u16, ..BootRecord::SETTLED } }
    }

    fn exchange(&mut self, way: Way) -> Progress {
        let Self { flash, log, record } = self;
        let progress = BySpare.go_on(flash, &LAYOUT, log, record, way).unwrap();
        if progress == Progress::Done {
            record.step = 0;
        }
        progress
    }

    fn runs(&self, image: u8) -> bool {
        let page = |page: u32| self.flash.steady(page * PAGE, PAGE as usize).unwrap();
        taking_part().all(|number| page(number) == [image + number as u8; PAGE as usize])
    }
}

/// Every page that the exchange writes to.
fn places() -> impl Iterator<Item = u32> {
    let slots = [LAYOUT.active, LAYOUT.update].into_iter();
    slots
        .flat_map(|slot| taking_part().map(move |page| slot.offset + page * PAGE))
        .chain([LAYOUT.spare.offset])
}

#[test]
fn the_slots_change_places_and_back() {
    let mut device = Device::new();
    assert!(device.runs(OLD));
    assert_eq!(device.exchange(Way::In), Progress::Done);
    assert!(device.runs(NEW));
    assert_eq!(device.exchange(Way::Back), Progress::Done);
    assert!(device.runs(OLD));
    assert_eq!(device.flash.violations(), 0);
}

#[test]
fn whichever_page_refuses_on_the_way_in_the_old_image_comes_back() {
    for place in places() {
        for wear in [Wear::Refuses, Wear::Erase] {
            let mut device = Device::new();
            device.flash.wear_out(place, wear);
            let done = device.exchange(Way::In);
            // A blank page need not be erased, and the spare page is one.
            if done == Progress::Done {
                assert!(device.runs(NEW), "{place:#x}, {wear:?}");
                continue;
            }
            assert_eq!(done, Progress::Refused, "{place:#x}, {wear:?}");
            assert_eq!(device.exchange(Way::Back), Progress::Done, "{place:#x}, {wear:?}");
            assert!(device.runs(OLD), "{place:#x}, {wear:?}");
        }
    }
}

#[test]
fn whichever_page_refuses_on_the_way_back_the_new_image_comes_in_again_or_the_old_one_runs() {
    let (mut refused, mut ran) = (0, 0);
    for place in places() {
        for wear in [Wear::Refuses, Wear::Erase] {
            let mut device = Device::new();
            assert_eq!(device.exchange(Way::In), Progress::Done);
            device.flash.wear_out(place, wear);
            if device.exchange(Way::Back) == Progress::Done {
                assert!(device.runs(OLD), "{place:#x}, {wear:?}");
                ran += 1;
                continue;
            }
            assert_eq!(device.exchange(Way::In), Progress::Done, "{place:#x}, {wear:?}");
            assert!(device.runs(NEW), "{place:#x}, {wear:?}");
            refused += 1;
        }
    }
    // Only a page of the active slot must take the old image.
    let pages = 2 * taking_part().count();
    assert_eq!((refused, ran), (pages, pages + 2));
}
