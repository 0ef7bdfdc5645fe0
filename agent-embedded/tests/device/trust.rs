//! What the boot stage trusts: the key set in force, and never an image older than the confirmed one.

use super::common::group::Image;
use super::common::{Flash, LAYOUT, erased, public_key, put, signed_key_set, start_by_spare};
use boot_stage::boot_record::{BootRecord, Phase};
use boot_stage::image::ImageError;
use boot_stage::record_log::{Kind, RecordLog};
use boot_stage::start::{Halt, News};
use update_core::device::Installed;
use update_core::record::encode_installed;

/// The key that signs [`Image`]s, and one that signs none.
const SIGNS: u8 = 1;
const OTHER: u8 = 2;

/// A device with an image in its active slot and these records.
fn device(image: &Image, records: &[(Kind, &[u8])]) -> Flash {
    let mut flash = erased();
    put(&mut flash, LAYOUT.active, image);
    let mut log = RecordLog::open(&mut flash, LAYOUT.records).unwrap();
    for (kind, content) in records {
        log.append(&mut flash, *kind, content).unwrap();
    }
    flash
}

fn installed(image: &Image) -> Vec<u8> {
    let mut bytes = [0; 64];
    let installed = Installed { sequence_number: image.offer.sequence_number, digest: image.offer.digest };
    let len = encode_installed(&installed, &mut bytes).unwrap();
    bytes[..len].to_vec()
}

#[test]
fn of_the_stored_and_the_provisioned_key_set_the_one_with_the_higher_version_is_in_force() {
    let image = Image::new(7, 4, 256);
    for (stored, provisioned, runs) in [
        // A revoked key does not come back, and a new one counts, whichever set is the newer one.
        ((2, OTHER), (1, SIGNS), false),
        ((2, SIGNS), (1, OTHER), true),
        ((1, SIGNS), (2, OTHER), false),
        ((1, OTHER), (2, SIGNS), true),
        // If both have the same version, the provisioned one.
        ((2, SIGNS), (2, OTHER), false),
        ((2, OTHER), (2, SIGNS), true),
    ] {
        let set = |(version, key): (u64, u8)| signed_key_set(version, &[public_key(key)]);
        let mut flash = device(&image, &[(Kind::KeySet, &set(stored))]);
        let ended = start_by_spare(&mut flash, &set(provisioned));
        match ended {
            Ok(start) if runs => assert_eq!(start.sequence_number, 7),
            Err(Halt::Image(ImageError::NotSigned)) if !runs => {}
            ended => panic!("{ended:?} with {stored:?} stored and {provisioned:?} provisioned"),
        }
    }
}

#[test]
fn a_stored_key_set_that_the_root_key_did_not_sign_counts_as_none() {
    let image = Image::new(7, 4, 256);
    let mut forged = signed_key_set(2, &[public_key(OTHER)]);
    *forged.last_mut().unwrap() ^= 1;
    let provisioned = signed_key_set(1, &[public_key(SIGNS)]);
    let mut flash = device(&image, &[(Kind::KeySet, &forged)]);
    assert_eq!(start_by_spare(&mut flash, &provisioned).unwrap().sequence_number, 7);
    // And if the provisioned one is invalid, only what the root key signed is trusted.
    let mut flash = device(&image, &[(Kind::KeySet, &signed_key_set(2, &[public_key(SIGNS)]))]);
    assert_eq!(start_by_spare(&mut flash, &forged).unwrap().sequence_number, 7);
    let mut flash = device(&image, &[(Kind::KeySet, &forged)]);
    assert_eq!(start_by_spare(&mut flash, &forged), Err(Halt::KeySet));
}

#[test]
fn an_image_below_the_confirmed_one_does_not_run() {
    let provisioned = signed_key_set(1, &[public_key(SIGNS)]);
    let [older, confirmed] = [6, 7].map(|number| Image::new(number, 4, 256));
    let floor = installed(&confirmed);
    let mut flash = device(&confirmed, &[(Kind::Installed, &floor)]);
    assert_eq!(start_by_spare(&mut flash, &provisioned).unwrap().sequence_number, 7);
    let mut flash = device(&older, &[(Kind::Installed, &floor)]);
    assert_eq!(start_by_spare(&mut flash, &provisioned), Err(Halt::Downgrade));
    // Nor if the boot record is of another version, so that the progress of an update is unknown.
    for boot in [&b"short"[..], b"of sixteen bytes", b"longer than sixteen bytes"] {
        let mut flash = device(&older, &[(Kind::Installed, &floor), (Kind::Boot, boot)]);
        assert_eq!(start_by_spare(&mut flash, &provisioned), Err(Halt::Downgrade));
        let mut flash = device(&confirmed, &[(Kind::Installed, &floor), (Kind::Boot, boot)]);
        assert_eq!(start_by_spare(&mut flash, &provisioned).unwrap().sequence_number, 7);
    }
}

#[test]
fn an_older_image_is_neither_activated_nor_takes_the_place_of_a_damaged_one() {
    let provisioned = signed_key_set(1, &[public_key(SIGNS)]);
    let [older, confirmed] = [6, 7].map(|number| Image::new(number, 4, 256));
    let name = BootRecord::name_of(&older.offer.digest.0);
    for (phase, damaged) in [(Phase::Activated, false), (Phase::Settled, true)] {
        let mut flash = device(&confirmed, &[(Kind::Installed, &installed(&confirmed))]);
        put(&mut flash, LAYOUT.update, &older);
        let mut log = RecordLog::open(&mut flash, LAYOUT.records).unwrap();
        BootRecord { phase, name, ..BootRecord::SETTLED }.save(&mut flash, &mut log).unwrap();
        flash.bytes[LAYOUT.active.offset as usize] ^= u8::from(damaged);
        match start_by_spare(&mut flash, &provisioned) {
            Ok(runs) if !damaged => assert_eq!((runs.sequence_number, runs.news), (7, News::None)),
            Err(Halt::Image(ImageError::Damaged)) if damaged => {}
            ended => panic!("{phase:?}: {ended:?}"),
        }
    }
}

#[test]
fn where_the_confirmed_number_was_lost_nothing_new_begins_to_run() {
    let provisioned = signed_key_set(1, &[public_key(SIGNS)]);
    let [old, new] = [7, 8].map(|number| Image::new(number, 4, 256));
    let name = BootRecord::name_of(&new.offer.digest.0);
    for (content, runs) in [(&installed(&old)[..], 8), (b"of another version", 7), (&[1; 100], 7)] {
        let mut flash = device(&old, &[(Kind::Installed, content)]);
        put(&mut flash, LAYOUT.update, &new);
        let mut log = RecordLog::open(&mut flash, LAYOUT.records).unwrap();
        let record = BootRecord { phase: Phase::Activated, name, ..BootRecord::SETTLED };
        record.save(&mut flash, &mut log).unwrap();
        assert_eq!(start_by_spare(&mut flash, &provisioned).unwrap().sequence_number, runs);
    }
}
