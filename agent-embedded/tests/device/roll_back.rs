//! An image is taken back before it has run for the first time.

use super::common::{LAYOUT, activated, image, phase};
use agent_embedded::store::FlashStore;
use boot_stage::boot_record::Phase;
use embassy_futures::block_on;
use update_core::platform::{Platform, RollBackCause, Trial};

#[test]
fn an_order_back_before_the_restart_takes_the_activation_back() {
    let image = image();
    let mut store = activated(&image);
    assert_eq!(phase(store.flash()), Phase::Activated);
    block_on(store.roll_back()).unwrap();
    assert_eq!(phase(store.flash()), Phase::RolledBack(RollBackCause::Ordered));

    // After the restart the old image reports it, and the same image can be activated again.
    let mut store = FlashStore::open(store.flash().clone(), LAYOUT).unwrap();
    assert_eq!(store.trial(), Ok(Trial::RolledBack(RollBackCause::Ordered)));
    block_on(store.activate(image.bytes.len() as u32, &image.offer.digest.0)).unwrap();
    assert_eq!(phase(store.flash()), Phase::Activated);
}
