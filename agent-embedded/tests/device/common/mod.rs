//! A simulated device: its flash, the contents, and its group.

#[path = "../../../../crates/update-core/tests/common/group.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests of update-core use the rest of it")]
pub(crate) mod group;
#[path = "../../../../crates/update-core/tests/common/keys.rs"]
#[allow(unreachable_pub, reason = "as above")]
mod keys;

pub(crate) mod drive;

pub(crate) use keys::{keys, public_key, signing_key};

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use agent_embedded::store::FlashStore;
use boot_stage::boot_record::{BootRecord, Phase};
use boot_stage::exchange::BySpare;
use boot_stage::image::{self, WRITTEN_BYTES_MAX};
use boot_stage::layout::{FlashLayout, Partition};
use boot_stage::record_log::{Kind, LogError, RecordLog};
use boot_stage::start::{Halt, Recovery, Runs, Start, start};
use boot_stage::verify::{Ed25519, Trust};
use ed25519_dalek::Signer;
use embassy_futures::block_on;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use group::Image;
use group_oscore::{ReplayWindow, SequenceNumbers};
use provisioning::cbor::{Health, McuSettings};
use provisioning::testing::enrolled;
use update_core::device::Device;
use update_core::key_set::KeySet;
use update_core::limits::RECORD_BYTES_MAX;
use update_core::platform::{Area, Platform, Record};
use update_core::reception::{Memory, Reception, ReceptionConfig};
use update_core::record::{Allowance, Outcome, UpdateRecord};
use update_core::time::{Duration, Instant};

const PAGE: usize = 4096;

pub(crate) const LAYOUT: FlashLayout = FlashLayout {
    provisioning: Partition { offset: 0, bytes: 0x1000 },
    spare: Partition { offset: 0x1000, bytes: 0x1000 },
    records: Partition { offset: 0x4000, bytes: 0x4000 },
    pages: Partition { offset: 0x2000, bytes: 0x1000 },
    active: Partition { offset: 0x8000, bytes: 0x4000 },
    update: Partition { offset: 0xc000, bytes: 0x4000 },
    rewritable: true,
};

/// Flash that is never torn, and refuses as many writes as configured.
#[derive(Debug, Clone)]
pub(crate) struct Flash {
    pub(crate) bytes: Vec<u8>,
    pub(crate) refuses: Rc<Cell<u32>>,
    /// Offsets of the erased pages, in order.
    pub(crate) erased: Rc<RefCell<Vec<u32>>>,
}

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        check_erase(self, from, to)?;
        self.erased.borrow_mut().extend((from..to).step_by(PAGE));
        self.bytes[from as usize..to as usize].fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        check_write(self, offset, bytes.len())?;
        if let Some(left) = self.refuses.get().checked_sub(1) {
            self.refuses.set(left);
            return Err(NorFlashErrorKind::Other);
        }
        for (place, byte) in self.bytes[offset as usize..].iter_mut().zip(bytes) {
            *place &= byte;
        }
        Ok(())
    }
}

/// An update of four blocks.
pub(crate) fn image() -> Image {
    Image::new(7, 4, 256)
}

pub(crate) fn erased() -> Flash {
    Flash { bytes: vec![0xff; 0x1_0000], refuses: Rc::default(), erased: Rc::default() }
}

/// The provisioning area of a device in the group with this Gid.
pub(crate) fn provisioned(gid: [u8; 4]) -> Vec<u8> {
    provisioned_with(gid, |_| {})
}

/// Like [`provisioned`], with something else in it.
pub(crate) fn provisioned_with(
    gid: [u8; 4],
    change: impl FnOnce(&mut provisioning::Provisioning),
) -> Vec<u8> {
    let mut document = enrolled("[ff15::f00d]:5683".parse().unwrap(), "[fd77::1]:5690".parse().unwrap());
    document.key.context_id = provisioning::Hex::from(gid);
    change(&mut document);
    let settings = McuSettings {
        address: "fd77::7".parse().unwrap(),
        prefix_bits: 64,
        router: None,
        health: Health::DEFAULT,
        recovery: provisioning::cbor::Recovery::Previous,
    };
    document.to_flash(&settings, &[0xc1; 32]).unwrap().to_vec()
}

/// Writes an image with its signed envelope into a slot.
pub(crate) fn put(flash: &mut Flash, slot: Partition, image: &Image) {
    let mut buffer = [0; WRITTEN_BYTES_MAX];
    flash.write(slot.offset, &image.bytes).unwrap();
    let trailer = image::trailer(&image.envelope, &mut buffer).unwrap();
    flash.write(LAYOUT.trailer(slot).offset, trailer).unwrap();
}

/// The key that signs key sets.
pub(crate) const ROOT: u8 = 9;

/// A key set, signed by the root key.
pub(crate) fn signed_key_set(version: u64, keys: &[[u8; 32]]) -> Vec<u8> {
    let set = KeySet::new(version, keys).unwrap();
    set.attach(signing_key(ROOT).sign(&set.to_be_signed()).to_bytes())
}

/// One start of a device whose slots change places page by page, and which runs nothing instead of a damaged
/// image.
pub(crate) fn start_by_spare(flash: &mut Flash, key_set: &[u8]) -> Result<Runs, Halt<NorFlashErrorKind>> {
    let trust = Trust { root_key: &public_key(ROOT), key_set };
    match start(flash, &LAYOUT, &mut BySpare, &trust, Recovery::None, &mut Ed25519)? {
        Start::Run(runs) => Ok(runs),
        Start::Reset => panic!("a reset without need"),
    }
}

/// The flash of an agent that starts in this phase of an update: the record of the update, and the signed
/// envelope after the image in the active slot.
pub(crate) fn flash_in(phase: Phase, image: &Image) -> Flash {
    let mut flash = erased();
    let mut buffer = [0; WRITTEN_BYTES_MAX];
    let trailer = image::trailer(&image.envelope, &mut buffer).unwrap();
    flash.write(LAYOUT.trailer(LAYOUT.active).offset, trailer).unwrap();
    let mut log = RecordLog::open(&mut flash, LAYOUT.records).unwrap();
    let name = BootRecord::name_of(&image.offer.digest.0);
    BootRecord { phase, name, ..BootRecord::SETTLED }.save(&mut flash, &mut log).unwrap();
    save_update(&mut flash, image);
    flash
}

/// Saves the record of an open update.
pub(crate) fn save_update(flash: &mut Flash, image: &Image) {
    let mut record = [0; RECORD_BYTES_MAX];
    let len = open_update(image, &mut record);
    let mut log = RecordLog::open(flash, LAYOUT.records).unwrap();
    log.append(flash, Kind::Update, &record[..len]).unwrap();
}

fn open_update(image: &Image, record: &mut [u8]) -> usize {
    let update =
        UpdateRecord { envelope: &image.envelope, attempt: 1, outcome: Outcome::Open, left: Allowance::FULL };
    update.encode(record).unwrap()
}

/// Flips a bit in both copies of the update record.
pub(crate) fn lose_update(flash: &mut Flash, image: &Image) {
    let records = LAYOUT.records.offset as usize..(LAYOUT.records.offset + LAYOUT.records.bytes) as usize;
    let part = &image.envelope[..64];
    for _ in 0..2 {
        let place =
            flash.bytes[records.clone()].windows(part.len()).rposition(|bytes| bytes == part).unwrap();
        flash.bytes[records.start + place] ^= 1;
    }
    let log = RecordLog::open(flash, LAYOUT.records).unwrap();
    assert_eq!(log.read(flash, Kind::Update, &mut [0; RECORD_BYTES_MAX]), Err(LogError::Lost));
}

/// Saves something else as the record of the update.
pub(crate) fn spoil_update(flash: &mut Flash) {
    let mut log = RecordLog::open(flash, LAYOUT.records).unwrap();
    log.append(flash, Kind::Update, b"of another version").unwrap();
}

/// The phase that the boot stage would find.
pub(crate) fn phase(flash: &Flash) -> Phase {
    let mut flash = flash.clone();
    let log = RecordLog::open(&mut flash, LAYOUT.records).unwrap();
    BootRecord::load(&mut flash, &log).unwrap().phase
}

/// A store that has received an image and activated it.
pub(crate) fn activated(image: &Image) -> FlashStore<Flash> {
    let mut store = FlashStore::open(erased(), LAYOUT).unwrap();
    receive(&mut store, image);
    store
}

/// Receives an image and activates it.
pub(crate) fn receive<F: NorFlash<Error: std::fmt::Debug>>(store: &mut FlashStore<F>, image: &Image) {
    let mut record = [0; RECORD_BYTES_MAX];
    let len = open_update(image, &mut record);
    block_on(async {
        store.save(Record::Update, &record[..len]).await.unwrap();
        store.prepare(image.bytes.len() as u32, image.pages.len() as u32).await.unwrap();
        for (number, block) in (0..).zip(image.bytes.chunks(image.block_bytes())) {
            let offset = number * image.block_bytes() as u32;
            store.write(Area::Image, offset, block).await.unwrap();
        }
        store.activate(image.bytes.len() as u32, &image.offer.digest.0).await.unwrap();
    });
}

/// The state machine of a device without saved records.
pub(crate) fn reception() -> Reception<'static> {
    let config = ReceptionConfig {
        device: Device { vendor: group::VENDOR, class: group::CLASS, slot_bytes: 8192, installed: None },
        keys: keys(),
        name: group::name(0),
        distributor: group::distributor_id(),
        distributor_address: "10.0.0.1:5683".parse().unwrap(),
        quiet: Duration::from_secs(30),
        announce_spread: Duration::from_millis(500),
        floor: 0,
    };
    let context = group::agent_context(0, SequenceNumbers::new(0, 0), ReplayWindow::fresh());
    let memory = Memory { blocks: vec![0; 64].leak(), pages: vec![0; 64].leak(), parity: &mut [] };
    Reception::without_update(config, context, memory, false, 1, Instant::from_micros(0)).unwrap()
}
