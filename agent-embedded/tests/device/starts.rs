//! Failing starts, and starts of a device that has lost its records.

use super::common::group::Image;
use super::common::{Flash, LAYOUT, erased, keys, public_key, signing_key};
use agent_embedded::network::NetworkError;
use agent_embedded::start::StartError;
use agent_embedded::store::{FlashStore, StoreError};
use boot_stage::exchange::BySpare;
use boot_stage::image::{self, ImageError, WRITTEN_BYTES_MAX};
use boot_stage::record_log::RecordLog;
use boot_stage::start::{Halt, News, Recovery, Start, start};
use boot_stage::verify::{Ed25519, Trust};
use ed25519_dalek::Signer;
use embedded_storage::nor_flash::{NorFlash, NorFlashErrorKind};

const ROOT: u8 = 9;

/// A device with a signed image in its active slot and nothing else.
fn device() -> Flash {
    let mut flash = erased();
    let image = Image::new(7, 4, 256);
    let mut buffer = [0; WRITTEN_BYTES_MAX];
    flash.write(LAYOUT.active.offset, &image.bytes).unwrap();
    let trailer = image::trailer(&image.envelope, &mut buffer).unwrap();
    flash.write(LAYOUT.trailer(LAYOUT.active).offset, trailer).unwrap();
    flash
}

/// One start of the boot stage.
fn boot(flash: &mut Flash) -> Result<Start, Halt<NorFlashErrorKind>> {
    let set = keys();
    let key_set = set.attach(signing_key(ROOT).sign(&set.to_be_signed()).to_bytes());
    let trust = Trust { root_key: &public_key(ROOT), key_set: &key_set };
    start(flash, &LAYOUT, &mut BySpare, &trust, Recovery::Previous, &mut Ed25519)
}

/// Overwrites the records with something else.
fn lose_records(flash: &mut Flash) {
    let records = LAYOUT.records.offset as usize..(LAYOUT.records.offset + LAYOUT.records.bytes) as usize;
    flash.bytes[records].fill(0x5a);
}

#[test]
fn a_reset_may_help_an_agent_whose_flash_or_network_fails() {
    let mut flash = device();
    RecordLog::open(&mut flash, LAYOUT.records).unwrap();
    flash.refuses.set(u32::MAX);
    let error = FlashStore::open(flash, LAYOUT).map(drop).unwrap_err();
    assert_eq!(error, StoreError::Flash(NorFlashErrorKind::Other));
    assert!(StartError::Store(error).may_pass());
    assert!(StartError::Store(StoreError::<NorFlashErrorKind>::NotKept).may_pass());
    assert!(NetworkError::Bind.may_pass() && NetworkError::Join.may_pass());
}

#[test]
fn no_reset_brings_records_or_provisioning_back() {
    let mut flash = device();
    lose_records(&mut flash);
    let error = FlashStore::open(flash, LAYOUT).map(drop).unwrap_err();
    assert_eq!(error, StoreError::Lost);
    assert!(!StartError::Store(error).may_pass() && !StartError::<()>::Records.may_pass());
    assert!(!NetworkError::NotIpv6.may_pass());
}

#[test]
fn without_any_record_the_verified_image_runs_and_nothing_is_written() {
    let mut flash = device();
    lose_records(&mut flash);
    let before = flash.bytes.clone();
    for _ in 0..2 {
        let Ok(Start::Run(runs)) = boot(&mut flash) else { panic!("nothing runs") };
        assert_eq!((runs.sequence_number, runs.news), (7, News::None));
    }
    assert!(flash.bytes == before);
}

#[test]
fn without_any_record_a_damaged_image_does_not_run() {
    let mut flash = device();
    lose_records(&mut flash);
    flash.bytes[LAYOUT.active.offset as usize] ^= 1;
    assert_eq!(boot(&mut flash), Err(Halt::Image(ImageError::Damaged)));
}
