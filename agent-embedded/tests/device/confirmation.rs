//! How an image on trial is confirmed.

use std::rc::Rc;

use super::common::drive::Ran;
use super::common::group::{Speaker, question};
use super::common::{Flash, LAYOUT, drive, flash_in, image, lose_update, phase, reception, spoil_update};
use agent_embedded::drive::{HEALTHY_WITHIN, RESTART_VETO_MAX, WATCHDOG_WITHIN};
use agent_embedded::provisioning::Health;
use agent_embedded::start::restore;
use agent_embedded::store::FlashStore;
use boot_stage::boot_record::Phase;
use group_oscore::Mode;
use update_core::census::State;
use update_core::limits::RECORD_BYTES_MAX;
use update_core::platform::{Platform, Record, RollBackCause, Trial};
use update_core::reception::Via;
use update_core::record::decode_installed;
use update_core::time::{Duration, Instant};

/// Starts an image on trial; once it has heard the distributor, the flash refuses this many writes.
fn trial(mut flash: Flash, refused: u32) -> (Flash, Rc<Ran>) {
    let refuses = flash.refuses.clone();
    let mut store = FlashStore::open(&mut flash, LAYOUT).unwrap();
    let mut reception = reception();
    restore(&mut store, &mut reception, Instant::from_micros(0)).unwrap();
    let (heard, _) = Speaker::distributor(1).query(Mode::Group, &question(&image()));
    let heard = vec![(Via::Group, heard)];
    let ran = drive::run(&mut reception, store, heard, || refuses.set(refused), 2 * HEALTHY_WITHIN);
    flash.refuses.set(0);
    (flash, ran)
}

/// An image on trial that hears the distributor, with an application that refuses this many restarts, and
/// with this self-test.
fn tested(vetoes: u32, self_test: impl Future<Output = bool>) -> (Flash, Rc<Ran>) {
    tested_until(2 * HEALTHY_WITHIN, vetoes, self_test)
}

/// Like [`tested`], for this long.
fn tested_until(end: Duration, vetoes: u32, self_test: impl Future<Output = bool>) -> (Flash, Rc<Ran>) {
    let mut flash = flash_in(Phase::Trial, &image());
    let mut store = FlashStore::open(&mut flash, LAYOUT).unwrap();
    let mut reception = reception();
    restore(&mut store, &mut reception, Instant::from_micros(0)).unwrap();
    let (heard, _) = Speaker::distributor(1).query(Mode::Group, &question(&image()));
    let heard = vec![(Via::Group, heard)];
    let ran = drive::run_with(&mut reception, store, heard, || (), end, vetoes, self_test);
    (flash, ran)
}

#[test]
fn the_self_test_decides_about_the_confirmation() {
    let (flash, ran) = tested(0, std::future::ready(true));
    assert_eq!((phase(&flash), ran.restarted.get()), (Phase::Settled, None));
    let (flash, ran) = tested(0, std::future::ready(false));
    assert_eq!(phase(&flash), Phase::GivenUp(RollBackCause::Unhealthy));
    assert_eq!(ran.restarted.get(), Some(Duration::ZERO));
    assert!(ran.lines.borrow().iter().any(|line| line.contains("the self test failed")));
    let (flash, ran) = tested(0, std::future::pending());
    assert_eq!(phase(&flash), Phase::GivenUp(RollBackCause::Unhealthy));
    assert_eq!(ran.restarted.get(), Some(HEALTHY_WITHIN));
}

/// An image on trial that hears nobody, under this rule.
fn alone(health: Health, self_test: impl Future<Output = bool>) -> (Flash, Rc<Ran>) {
    let mut flash = flash_in(Phase::Trial, &image());
    let mut store = FlashStore::open(&mut flash, LAYOUT).unwrap();
    let mut reception = reception();
    restore(&mut store, &mut reception, Instant::from_micros(0)).unwrap();
    let end = 100 * HEALTHY_WITHIN;
    let ran = drive::run_by(health, &mut reception, store, (vec![], || ()), end, 0, self_test);
    (flash, ran)
}

#[test]
fn the_provisioning_decides_how_long_a_trial_takes() {
    for within_seconds in [1, 5 * 60, 60 * 60] {
        let health = Health { within_seconds, ..Health::DEFAULT };
        let (flash, ran) = alone(health, std::future::ready(true));
        assert_eq!(phase(&flash), Phase::GivenUp(RollBackCause::Unhealthy));
        assert_eq!(ran.restarted.get(), Some(Duration::from_secs(within_seconds.into())));
        assert!(ran.hungry.get() < WATCHDOG_WITHIN / 2, "{:?}", ran.hungry);
    }
}

#[test]
fn the_provisioning_decides_whether_the_self_test_is_enough() {
    let rule = Health { hears_distributor: false, ..Health::DEFAULT };
    let (flash, ran) = alone(rule, std::future::ready(true));
    assert_eq!((phase(&flash), ran.restarted.get()), (Phase::Settled, None));
    let (flash, _) = alone(rule, std::future::ready(false));
    assert_eq!(phase(&flash), Phase::GivenUp(RollBackCause::Unhealthy));
    let (flash, ran) = alone(rule, std::future::pending());
    assert_eq!(phase(&flash), Phase::GivenUp(RollBackCause::Unhealthy));
    assert_eq!(ran.restarted.get(), Some(HEALTHY_WITHIN));
}

#[test]
fn the_application_decides_when_the_board_restarts() {
    let (flash, ran) = tested(5, std::future::ready(false));
    assert_eq!(phase(&flash), Phase::GivenUp(RollBackCause::Unhealthy));
    assert_eq!(ran.restarted.get(), Some(Duration::from_secs(5)));
    assert!(ran.hungry.get() < WATCHDOG_WITHIN / 2, "{:?}", ran.hungry);
}

#[test]
fn an_application_that_never_allows_a_restart_is_overruled() {
    let end = 3 * RESTART_VETO_MAX;
    let (flash, ran) = tested_until(end, u32::MAX, std::future::ready(false));
    assert_eq!(phase(&flash), Phase::GivenUp(RollBackCause::Unhealthy));
    assert_eq!(ran.restarted.get(), Some(RESTART_VETO_MAX));
    let overruled = ran.lines.borrow().iter().filter(|line| line.contains("all the same")).count();
    assert_eq!(overruled, 1);
    assert!(ran.hungry.get() < WATCHDOG_WITHIN / 2, "{:?}", ran.hungry);
}

#[test]
fn a_confirmation_that_cannot_be_stored_is_tried_again() {
    // So often that neither bank of the records takes it.
    let (flash, ran) = trial(flash_in(Phase::Trial, &image()), 6);
    let failed = ran.lines.borrow().iter().filter(|line| line.contains("confirming failed")).count();
    assert_eq!((failed, ran.restarted.get()), (1, None));
    // Even when idle for more than a minute.
    assert!(ran.hungry.get() < WATCHDOG_WITHIN / 2, "{:?}", ran.hungry);
    // Confirmed, saved as installed and settled.
    assert_eq!(phase(&flash), Phase::Settled);
}

#[test]
fn an_image_that_can_never_be_confirmed_goes_back_in_time() {
    let (flash, ran) = trial(flash_in(Phase::Trial, &image()), u32::MAX);
    assert_eq!(ran.restarted.get(), Some(HEALTHY_WITHIN));
    // The cause could not be stored either: the boot stage rolls back from a trial.
    assert_eq!(phase(&flash), Phase::Trial);
    let failed = ran.lines.borrow().iter().filter(|line| line.contains("confirming failed")).count();
    assert!(failed <= HEALTHY_WITHIN.div_duration_f64(Duration::from_secs(1)) as usize + 1, "{failed}");
}

#[test]
fn an_image_on_trial_whose_update_is_not_understood_goes_back_in_time() {
    let mut flash = flash_in(Phase::Trial, &image());
    spoil_update(&mut flash);
    let (flash, ran) = trial(flash, 0);
    assert_eq!(ran.restarted.get(), Some(HEALTHY_WITHIN));
    assert_eq!(phase(&flash), Phase::GivenUp(RollBackCause::Unhealthy));
}

#[test]
fn a_rotten_record_of_the_update_counts_as_none() {
    let image = image();
    for phase in [Phase::Settled, Phase::RolledBack(RollBackCause::Reset), Phase::Recovered] {
        let mut flash = flash_in(phase, &image);
        lose_update(&mut flash, &image);
        let mut store = FlashStore::open(flash, LAYOUT).unwrap();
        let mut reception = reception();
        restore(&mut store, &mut reception, Instant::from_micros(0)).unwrap();
        assert_eq!(reception.digest(), None, "{phase:?}");
        embassy_futures::block_on(store.prepare(1024, 256)).unwrap();
    }
}

#[test]
fn an_image_that_has_proved_healthy_is_settled_without_the_record_of_its_update() {
    let image = image();
    let mut flash = flash_in(Phase::Healthy, &image);
    lose_update(&mut flash, &image);
    let mut store = FlashStore::open(flash, LAYOUT).unwrap();
    store.note_installed(&super::common::keys()).unwrap();
    restore(&mut store, &mut reception(), Instant::from_micros(0)).unwrap();
    assert_eq!(store.trial(), Ok(Trial::None));
    let mut buffer = [0; RECORD_BYTES_MAX];
    let installed = store.load(Record::Installed, &mut buffer).unwrap().unwrap();
    assert_eq!(decode_installed(installed).unwrap().digest, image.offer.digest);
    embassy_futures::block_on(store.prepare(1024, 256)).unwrap();
}

#[test]
fn a_roll_back_is_told_of_the_update_that_it_was_of() {
    let flash = flash_in(Phase::RolledBack(RollBackCause::Reset), &image());
    let other = super::common::group::Image::new(8, 4, 256);
    for (saved, expected) in [(&image(), State::RolledBack), (&other, State::Recovering)] {
        let mut flash = flash.clone();
        super::common::save_update(&mut flash, saved);
        let mut store = FlashStore::open(flash, LAYOUT).unwrap();
        let mut reception = reception();
        restore(&mut store, &mut reception, Instant::from_micros(0)).unwrap();
        assert_eq!(reception.state(), expected);
    }
}
