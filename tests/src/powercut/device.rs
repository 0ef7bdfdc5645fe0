//! A device from the factory: its layout, the image that it runs, and the update that is for it.

use boot_stage::image::{WRITTEN_BYTES_MAX, trailer};
use boot_stage::layout::{FlashLayout, Partition, TRAILER_BYTES};
use boot_stage::medium::program;
use boot_stage::record_log::BANK_BYTES_MIN;
use ed25519_dalek::{Signer, SigningKey};
use group_oscore::AeadAlgorithm;

use crate::nor_flash::SimulatedFlash;
use crate::world::{Dice, Keys, Release};

/// Bytes in a block of the update.
const BLOCK_BYTES: u32 = 256;

/// What a device is, and what it is to become.
pub struct Device {
    /// Where everything lies.
    pub layout: FlashLayout,
    /// What it runs when it comes from the factory.
    pub old: Release,
    /// The update.
    pub new: Release,
    /// Its root key.
    pub root_key: [u8; 32],
    /// Its key set, as it was signed.
    pub key_set: Vec<u8>,
}

impl Device {
    /// A device with pages of so many bytes. Its images take `image_bytes`, the new one a bit less.
    #[must_use]
    pub fn new(page_bytes: u32, image_bytes: u32, rewritable: bool) -> Self {
        let mut dice = Dice::new(4, 0);
        let keys = Keys::new(0, [AeadAlgorithm::A128Gcm, AeadAlgorithm::A128Gcm], &mut dice);
        let old = Release::new(&keys, 1, image_bytes, BLOCK_BYTES, &mut dice);
        let new = Release::new(&keys, 2, image_bytes - image_bytes / 3, BLOCK_BYTES, &mut dice);
        let root = SigningKey::from_bytes(&[7; 32]);
        let key_set = keys.key_set.attach(root.sign(&keys.key_set.to_be_signed()).to_bytes());
        let root_key = root.verifying_key().to_bytes();
        let layout = layout(page_bytes, image_bytes, new.pages.len() as u32, rewritable);
        Self { layout, old, new, root_key, key_set }
    }

    /// Its flash, as it comes from the factory.
    #[must_use]
    pub fn flash<const WORD: usize, const PAGE: usize>(&self) -> SimulatedFlash<WORD, PAGE> {
        let end = self.layout.provisioning.offset + self.layout.provisioning.bytes;
        let mut flash = SimulatedFlash::new(end as usize, self.layout.rewritable);
        let mut buffer = [0; WRITTEN_BYTES_MAX];
        let trailer = trailer(&self.old.envelope, &mut buffer).expect("an envelope of the usual size");
        let mut image = self.old.image.clone();
        image.resize(image.len().next_multiple_of(WORD), 0xff);
        let active = self.layout.active;
        program(&mut flash, active.offset, &image).expect("a blank flash");
        program(&mut flash, self.layout.trailer(active).offset, trailer).expect("a blank flash");
        flash
    }
}

fn layout(page: u32, image_bytes: u32, hash_page_bytes: u32, rewritable: bool) -> FlashLayout {
    let mut next = 0;
    let mut partition = |bytes: u32| {
        let bytes = bytes.next_multiple_of(page);
        next += bytes;
        Partition { offset: next - bytes, bytes }
    };
    FlashLayout {
        active: partition(image_bytes + TRAILER_BYTES),
        update: partition(image_bytes + TRAILER_BYTES),
        spare: partition(page),
        pages: partition(hash_page_bytes),
        records: partition(2 * BANK_BYTES_MIN.max(page)),
        provisioning: partition(page),
        rewritable,
    }
}
