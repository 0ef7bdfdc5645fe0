//! Images that must never run, wherever they are: one whose key was revoked, and an older one if nothing
//! allows it.

use boot_stage::boot_record::{BootRecord, Phase};
use boot_stage::exchange::BySpare;
use boot_stage::record_log::{Kind, RecordLog};
use boot_stage::start::{Recovery, Start, start};
use boot_stage::verify::{Ed25519, Trust};
use ed25519_dalek::{Signer, SigningKey};
use update_core::device::Installed;
use update_core::key_set::KeySet;
use update_core::record::encode_installed;

use super::device::{Device, ROOT_SEED};
use crate::nor_flash::SimulatedFlash;
use crate::world::Release;

const PAGE: usize = 256;

type Flash = SimulatedFlash<32, PAGE>;

/// The images that ran and must not have.
#[must_use]
pub fn violations() -> Vec<&'static str> {
    let device = Device::new(PAGE as u32, 900, false, false);
    let newer = key_set(2);
    [
        ("an image whose key a stored key set has revoked", revoked(&device, &device.key_set, &newer)),
        ("an image whose key the provisioned key set has revoked", revoked(&device, &newer, &device.key_set)),
        ("an activated image that is older than the confirmed one", older_activated(&device)),
        ("an older image, where the provisioning forbids it", older_recovered(&device)),
    ]
    .into_iter()
    .filter_map(|(what, runs)| runs.then_some(what))
    .collect()
}

/// A signed key set with this version, and a key that has signed no image here.
fn key_set(version: u64) -> Vec<u8> {
    let key = SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes();
    let set = KeySet::new(version, &[key]).expect("a good key");
    set.attach(SigningKey::from_bytes(&ROOT_SEED).sign(&set.to_be_signed()).to_bytes()).to_vec()
}

fn revoked(device: &Device, provisioned: &[u8], stored: &[u8]) -> bool {
    let mut flash: Flash = device.flash();
    let mut log = RecordLog::open(&mut flash, device.layout.records).expect("a good flash");
    log.append(&mut flash, Kind::KeySet, stored).expect("it has room");
    runs(&mut flash, device, provisioned, Recovery::Previous).is_some()
}

/// The device has confirmed the new image, and is told to activate the old one.
fn older_activated(device: &Device) -> bool {
    let mut flash = confirmed(device, BootRecord { phase: Phase::Activated, ..named(&device.old) });
    runs(&mut flash, device, &device.key_set, Recovery::Previous) != Some(2)
}

/// The device has confirmed the new image, of which a bit is flipped; the old one is in the other slot.
fn older_recovered(device: &Device) -> bool {
    let mut flash = confirmed(device, named(&device.new));
    flash.flip(device.layout.active.offset, 0);
    runs(&mut flash, device, &device.key_set, Recovery::None).is_some()
}

fn named(release: &Release) -> BootRecord {
    BootRecord { name: BootRecord::name_of(&release.digest().0), ..BootRecord::SETTLED }
}

/// The new image is confirmed, and the old one is in the update slot.
fn confirmed(device: &Device, record: BootRecord) -> Flash {
    let mut flash = device.blank_flash();
    device.put(&mut flash, device.layout.active, &device.new);
    device.put(&mut flash, device.layout.update, &device.old);
    let mut log = RecordLog::open(&mut flash, device.layout.records).expect("a good flash");
    let offer = &device.new.offer;
    let installed = Installed { sequence_number: offer.sequence_number, digest: offer.digest };
    let mut buffer = [0; 64];
    let len = encode_installed(&installed, &mut buffer).expect("the buffer is long enough");
    log.append(&mut flash, Kind::Installed, &buffer[..len]).expect("it has room");
    record.save(&mut flash, &mut log).expect("it has room");
    flash
}

/// The manifest sequence number of what runs.
fn runs(flash: &mut Flash, device: &Device, key_set: &[u8], recovery: Recovery) -> Option<u64> {
    let trust = Trust { root_key: &device.root_key, key_set };
    match start(flash, &device.layout, &mut BySpare, &trust, recovery, &mut Ed25519) {
        Ok(Start::Run(runs)) => Some(runs.sequence_number),
        Ok(Start::Reset) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_runs_that_must_not() {
        assert_eq!(super::violations(), [""; 0]);
    }
}
