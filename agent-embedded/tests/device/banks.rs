//! A chip that accepts the order to swap its flash banks and does not carry it out.

use super::common::group::Image;
use super::common::{Flash, LAYOUT, ROOT, erased, keys, phase, public_key, put, signed_key_set};
use boot_stage::banks::{Banks, ByBanks};
use boot_stage::boot_record::{BootRecord, Phase};
use boot_stage::record_log::RecordLog;
use boot_stage::start::{Halt, News, RESETS_MAX, Recovery, Start, start};
use boot_stage::verify::{Ed25519, Trust};
use update_core::platform::RollBackCause;

/// Accepts everything; its banks stay in the factory state.
struct Idle(u32);

impl Banks for Idle {
    fn exchanged(&mut self) -> bool {
        false
    }

    fn set_exchanged(&mut self, _exchanged: bool) -> bool {
        self.0 += 1;
        true
    }
}

/// A device with an image in each slot and this boot state.
fn device(phase: Phase, exchanged: bool) -> Flash {
    let mut flash = erased();
    let new = Image::new(8, 4, 256);
    let old = Image::new(7, 4, 256);
    let (active, update) = if exchanged { (&new, &old) } else { (&old, &new) };
    put(&mut flash, LAYOUT.active, active);
    put(&mut flash, LAYOUT.update, update);
    let mut log = RecordLog::open(&mut flash, LAYOUT.records).unwrap();
    let name = BootRecord::name_of(&new.offer.digest.0);
    let record = BootRecord { phase, name, exchanged, ..BootRecord::SETTLED };
    record.save(&mut flash, &mut log).unwrap();
    flash
}

/// Starts again until no reset is requested; returns how many resets there were.
fn resets(
    flash: &mut Flash,
) -> (u32, Result<Start, Halt<<Flash as embedded_storage::nor_flash::ErrorType>::Error>>) {
    let key_set = signed_key_set(keys().version(), keys().keys());
    let trust = Trust { root_key: &public_key(ROOT), key_set: &key_set };
    let mut chip = ByBanks(Idle(0));
    for count in 0..1000 {
        match start(flash, &LAYOUT, &mut chip, &trust, Recovery::Previous, &mut Ed25519) {
            Ok(Start::Reset) => assert_eq!(chip.0.0, count + 1),
            end => return (count, end),
        }
    }
    panic!("it resets for ever");
}

#[test]
fn an_exchange_that_never_comes_counts_as_refused() {
    let mut flash = device(Phase::Activated, false);
    let (count, end) = resets(&mut flash);
    assert_eq!(count, u32::from(RESETS_MAX));
    let Ok(Start::Run(runs)) = end else { panic!("{end:?}") };
    assert_eq!((runs.sequence_number, runs.news), (7, News::None));
    assert_eq!(phase(&flash), Phase::RolledBack(RollBackCause::ActivationFailed));
}

#[test]
fn a_new_image_that_cannot_go_back_stays_because_nothing_else_can_run() {
    let mut flash = device(Phase::ExchangingBack(RollBackCause::Reset), true);
    let (count, end) = resets(&mut flash);
    let Ok(Start::Run(runs)) = end else { panic!("{end:?}") };
    assert_eq!((count, runs.news), (u32::from(RESETS_MAX), News::Recovered));
    let (count, end) = resets(&mut flash);
    let Ok(Start::Run(again)) = end else { panic!("{end:?}") };
    assert_eq!((count, again.sequence_number), (0, runs.sequence_number));
    assert_ne!(runs.sequence_number, 7);
}
