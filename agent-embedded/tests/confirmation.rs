//! How an image on trial is confirmed.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use agent_embedded::drive::HEALTHY_WITHIN;
use agent_embedded::store::FlashStore;
use boot_stage::boot_record::Phase;
use common::group::{Speaker, question};
use common::{LAYOUT, drive, flash_in, image, phase, reception};
use group_oscore::Mode;
use update_core::limits::RECORD_BYTES_MAX;
use update_core::platform::Record;
use update_core::reception::Via;
use update_core::time::Duration;

/// Starts an image on trial, and once it has heard the distributor the flash refuses so many writes.
fn trial(refused: u32) -> (common::Flash, std::rc::Rc<drive::Ran>) {
    let image = image();
    let mut flash = flash_in(Phase::Trial, &image);
    let refuses = flash.refuses.clone();
    let mut store = FlashStore::open(&mut flash, LAYOUT).unwrap();
    let mut reception = reception();
    let mut record = [0; RECORD_BYTES_MAX];
    let record = store.load(Record::Update, &mut record).unwrap().unwrap();
    reception.restore(record, store.trial().unwrap());
    let (heard, _) = Speaker::distributor(1).query(Mode::Group, &question(&image));
    let heard = vec![(Via::Group, heard)];
    let ran = drive::run(&mut reception, store, heard, || refuses.set(refused), 2 * HEALTHY_WITHIN);
    flash.refuses.set(0);
    (flash, ran)
}

#[test]
fn a_confirmation_that_cannot_be_stored_is_tried_again() {
    let (flash, ran) = trial(1);
    let failed = ran.lines.borrow().iter().filter(|line| line.contains("confirming failed")).count();
    assert_eq!((failed, ran.restarted.get()), (1, None));
    // Confirmed, saved as installed and settled.
    assert_eq!(phase(&flash), Phase::Settled);
}

#[test]
fn an_image_that_can_never_be_confirmed_goes_back_in_time() {
    let (flash, ran) = trial(u32::MAX);
    assert_eq!(ran.restarted.get(), Some(HEALTHY_WITHIN));
    // The cause could not be stored either: the boot stage goes back from a trial.
    assert_eq!(phase(&flash), Phase::Trial);
    let failed = ran.lines.borrow().iter().filter(|line| line.contains("confirming failed")).count();
    assert!(failed <= HEALTHY_WITHIN.div_duration_f64(Duration::from_secs(1)) as usize + 1, "{failed}");
}
