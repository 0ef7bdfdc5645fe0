//! The confirmed image is damaged, and the previous one is intact.

use super::common::group::{self, Image, Speaker, question};
use super::common::{Flash, LAYOUT, drive, erased, keys, phase, public_key, reception, signing_key};
use agent_embedded::drive::HEALTHY_WITHIN;
use agent_embedded::start::restore;
use agent_embedded::store::FlashStore;
use boot_stage::boot_record::{BootRecord, Phase};
use boot_stage::exchange::BySpare;
use boot_stage::image::{self, ImageError, WRITTEN_BYTES_MAX};
use boot_stage::record_log::RecordLog;
use boot_stage::start::{Halt, News, Recovery, Runs, Start, start};
use boot_stage::verify::{Ed25519, Trust};
use ed25519_dalek::Signer;
use embassy_futures::block_on;
use embedded_storage::nor_flash::{NorFlash, NorFlashErrorKind};
use group_oscore::Mode;
use update_core::census::State;
use update_core::device::{Device, Installed};
use update_core::limits::RECORD_BYTES_MAX;
use update_core::platform::{Platform, Record, Trial};
use update_core::reception::Via;
use update_core::record::{Allowance, Outcome, UpdateRecord, decode_installed, encode_installed};
use update_core::refusal::Refusal;
use update_core::time::Instant;

const ROOT: u8 = 9;

fn image(sequence_number: u64) -> Image {
    Image::new(sequence_number, 4, 256)
}

/// One start of the boot stage.
fn boot(flash: &mut Flash, recovery: Recovery) -> Result<Start, Halt<NorFlashErrorKind>> {
    let set = keys();
    let key_set = set.attach(signing_key(ROOT).sign(&set.to_be_signed()).to_bytes());
    let trust = Trust { root_key: &public_key(ROOT), key_set: &key_set };
    start(flash, &LAYOUT, &mut BySpare, &trust, recovery, &mut Ed25519)
}

fn runs(flash: &mut Flash, recovery: Recovery) -> Runs {
    match boot(flash, recovery) {
        Ok(Start::Run(runs)) => runs,
        other => panic!("{other:?}"),
    }
}

/// A device that has confirmed image 8 after image 7, with a bit of image 8 flipped.
fn damaged() -> Flash {
    let mut flash = erased();
    let (old, new) = (image(7), image(8));
    let mut buffer = [0; WRITTEN_BYTES_MAX];
    for (slot, image) in [(LAYOUT.active, &old), (LAYOUT.update, &new)] {
        flash.write(slot.offset, &image.bytes).unwrap();
        let trailer = image::trailer(&image.envelope, &mut buffer).unwrap();
        flash.write(LAYOUT.trailer(slot).offset, trailer).unwrap();
    }
    let mut log = RecordLog::open(&mut flash, LAYOUT.records).unwrap();
    let name = BootRecord::name_of(&new.offer.digest.0);
    BootRecord { phase: Phase::Activated, name, ..BootRecord::SETTLED }.save(&mut flash, &mut log).unwrap();
    assert_eq!(runs(&mut flash, Recovery::Previous).news, News::Trial);
    let mut store = FlashStore::open(&mut flash, LAYOUT).unwrap();
    store.confirm().unwrap();
    let mut buffer = [0; RECORD_BYTES_MAX];
    let update = UpdateRecord {
        envelope: &new.envelope,
        attempt: 1,
        outcome: Outcome::Confirmed,
        left: Allowance::FULL,
    };
    let len = update.encode(&mut buffer).unwrap();
    block_on(store.save(Record::Update, &buffer[..len])).unwrap();
    let installed = Installed { sequence_number: 8, digest: new.offer.digest };
    let len = encode_installed(&installed, &mut buffer).unwrap();
    block_on(store.save(Record::Installed, &buffer[..len])).unwrap();
    block_on(store.settle()).unwrap();
    flash.bytes[LAYOUT.active.offset as usize + 300] ^= 4;
    flash
}

fn installed(flash: &Flash) -> u64 {
    let mut store = FlashStore::open(flash.clone(), LAYOUT).unwrap();
    let mut buffer = [0; RECORD_BYTES_MAX];
    let bytes = store.load(Record::Installed, &mut buffer).unwrap().unwrap();
    decode_installed(bytes).unwrap().sequence_number
}

#[test]
fn the_image_before_takes_the_place_of_a_damaged_one() {
    let mut flash = damaged();
    for _ in 0..3 {
        let runs = runs(&mut flash, Recovery::Previous);
        assert_eq!((runs.sequence_number, runs.news), (7, News::Previous));
        assert_eq!((phase(&flash), installed(&flash)), (Phase::Previous, 8));
    }
}

#[test]
fn where_the_provisioning_says_so_nothing_runs_instead() {
    let mut flash = damaged();
    let before = installed(&flash);
    assert_eq!(boot(&mut flash, Recovery::None), Err(Halt::Image(ImageError::Damaged)));
    assert_eq!((phase(&flash), installed(&flash)), (Phase::Settled, before));
    // Nor if it was different before.
    runs(&mut flash, Recovery::Previous);
    assert_eq!(boot(&mut flash, Recovery::None), Err(Halt::Downgrade));
}

#[test]
fn only_an_image_that_is_not_older_than_the_confirmed_one_is_taken_from_there() {
    let mut flash = damaged();
    runs(&mut flash, Recovery::Previous);
    let mut store = FlashStore::open(flash, LAYOUT).unwrap();
    let admits_above = store.admits_above().unwrap();
    let device =
        Device { vendor: group::VENDOR, class: group::CLASS, slot_bytes: 8192, installed: admits_above };
    for older in [1, 6] {
        assert_eq!(device.admit(&image(older).offer), Err(Refusal::Downgrade));
    }
    assert_eq!(device.admit(&image(7).offer), Err(Refusal::SequenceNumberReused));
    for update in [8, 9] {
        assert_eq!(device.admit(&image(update).offer), Ok(()), "{update}");
    }
    // It can be received and activated.
    block_on(store.prepare(1024, 256)).unwrap();
}

#[test]
fn it_is_told_as_on_trial_and_never_confirmed() {
    let mut flash = damaged();
    runs(&mut flash, Recovery::Previous);
    let mut store = FlashStore::open(&mut flash, LAYOUT).unwrap();
    assert_eq!(store.trial(), Ok(Trial::Recovered));
    let mut reception = reception();
    restore(&mut store, &mut reception, Instant::from_micros(0)).unwrap();
    assert_eq!(reception.state(), State::Trial);
    assert_eq!(reception.digest(), Some(image(7).offer.digest));
    let (heard, _) = Speaker::distributor(1).query(Mode::Group, &question(&image(8)));
    let ran = drive::run(&mut reception, store, vec![(Via::Group, heard)], || (), 5 * HEALTHY_WITHIN);
    assert_eq!(ran.restarted.get(), None);
    assert_eq!((phase(&flash), installed(&flash)), (Phase::Previous, 8));
    assert_eq!(runs(&mut flash, Recovery::Previous).sequence_number, 7);
}

#[test]
fn an_update_that_fails_there_comes_back_to_it() {
    let mut flash = damaged();
    runs(&mut flash, Recovery::Previous);
    let mut store = FlashStore::open(&mut flash, LAYOUT).unwrap();
    let new = image(9);
    super::common::receive(&mut store, &new);
    assert_eq!(runs(&mut flash, Recovery::Previous).news, News::Trial);
    // The power fails.
    let back = runs(&mut flash, Recovery::Previous);
    assert_eq!(back.sequence_number, 7);
    assert!(matches!(back.news, News::RolledBack(_)), "{back:?}");
    block_on(FlashStore::open(&mut flash, LAYOUT).unwrap().settle()).unwrap();
    let again = runs(&mut flash, Recovery::Previous);
    assert_eq!((again.sequence_number, again.news), (7, News::Previous));
    assert_eq!(installed(&flash), 8);
}
