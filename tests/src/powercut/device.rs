//! A device from the factory: its layout, its image, and the update for it.

use boot_stage::image::{WRITTEN_BYTES_MAX, trailer};
use boot_stage::layout::{FlashLayout, Partition, TRAILER_BYTES};
use boot_stage::medium::program;
use boot_stage::record_log::BANK_BYTES_MIN;
use ed25519_dalek::{Signer, SigningKey};
use group_oscore::AeadAlgorithm;

use crate::nor_flash::SimulatedFlash;
use crate::world::{Dice, Keys, Release};

/// The seed of the root key.
pub(super) const ROOT_SEED: [u8; 32] = [7; 32];

/// Bytes in a block of the update.
const BLOCK_BYTES: u32 = 256;

/// The longest image without blank parts.
const SHORT_BYTES: u32 = 1024;
/// How many bytes of each block of a longer image are not blank.
const WRITTEN_BYTES: usize = 32;

/// A device, and the update for it.
pub struct Device {
    /// The layout of its flash.
    pub layout: FlashLayout,
    /// The image that it runs when it leaves the factory.
    pub old: Release,
    /// The update.
    pub new: Release,
    /// Its root key.
    pub root_key: [u8; 32],
    /// Its key set, as it was signed.
    pub key_set: Vec<u8>,
    /// The length of each of its two banks, if the chip swaps them.
    pub bank_bytes: Option<u32>,
}

impl Device {
    /// A device with pages of this many bytes. Its images take `image_bytes`, the new one slightly less.
    #[must_use]
    pub fn new(page_bytes: u32, image_bytes: u32, rewritable: bool, banks: bool) -> Self {
        let mut dice = Dice::new(4, 0);
        let keys = Keys::new(0, [AeadAlgorithm::A128Gcm, AeadAlgorithm::A128Gcm], &mut dice);
        let old = Release::of(&keys, 1, image(image_bytes, &mut dice), BLOCK_BYTES);
        let new = Release::of(&keys, 2, image(image_bytes - image_bytes / 3, &mut dice), BLOCK_BYTES);
        let root = SigningKey::from_bytes(&ROOT_SEED);
        let key_set = keys.key_set.attach(root.sign(&keys.key_set.to_be_signed()).to_bytes());
        let root_key = root.verifying_key().to_bytes();
        let mut layout = layout(page_bytes, image_bytes, new.pages.len() as u32, rewritable);
        let bank_bytes = banks.then(|| layout.provisioning.offset + layout.provisioning.bytes);
        if let Some(bytes) = bank_bytes {
            layout.update.offset = layout.active.offset + bytes;
        }
        Self { layout, old, new, root_key, key_set, bank_bytes }
    }

    /// Where the active slot begins in the flash itself, with the banks swapped or not.
    #[must_use]
    pub fn active(&self, exchanged: bool) -> u32 {
        self.layout.active.offset + self.bank_bytes.filter(|_| exchanged).unwrap_or(0)
    }

    /// Writes an image and its envelope into a blank slot.
    pub(super) fn put<const WORD: usize, const PAGE: usize>(
        &self,
        flash: &mut SimulatedFlash<WORD, PAGE>,
        slot: Partition,
        release: &Release,
    ) {
        let mut buffer = [0; WRITTEN_BYTES_MAX];
        let trailer = trailer(&release.envelope, &mut buffer).expect("an envelope of the usual size");
        let mut image = release.image.clone();
        image.resize(image.len().next_multiple_of(WORD), 0xff);
        program(flash, slot.offset, &image).expect("a blank flash");
        program(flash, self.layout.trailer(slot).offset, trailer).expect("a blank flash");
    }

    /// Its flash as it leaves the factory.
    #[must_use]
    pub fn flash<const WORD: usize, const PAGE: usize>(&self) -> SimulatedFlash<WORD, PAGE> {
        let mut flash = self.blank_flash();
        self.put(&mut flash, self.layout.active, &self.old);
        flash
    }

    /// The same, but empty.
    pub(super) fn blank_flash<const WORD: usize, const PAGE: usize>(&self) -> SimulatedFlash<WORD, PAGE> {
        let one = self.layout.provisioning.offset + self.layout.provisioning.bytes;
        // After two banks, the page with the chip's own word.
        let end = self.bank_bytes.map_or(one, |bytes| 2 * bytes + PAGE as u32);
        SimulatedFlash::new(end as usize, self.layout.rewritable)
    }
}

/// Larger pages are not left free between image and envelope: they would be copied with each device.
const FREE_PAGE_BYTES_MAX: u32 = 8192;

/// An image of this many bytes. Long ones are mostly blank: a blank word needs no operation.
fn image(bytes: u32, dice: &mut Dice) -> Vec<u8> {
    let mut image = dice.bytes(bytes as usize);
    if bytes > SHORT_BYTES {
        for part in image.chunks_mut(BLOCK_BYTES as usize) {
            let written = part.len().min(WRITTEN_BYTES);
            part[written..].fill(0xff);
        }
    }
    image
}

fn layout(page: u32, image_bytes: u32, hash_page_bytes: u32, rewritable: bool) -> FlashLayout {
    // Images are shorter than their slots, by more than an envelope.
    let free = if page <= FREE_PAGE_BYTES_MAX { TRAILER_BYTES.next_multiple_of(page) } else { 0 };
    let mut next = 0;
    let mut partition = |bytes: u32| {
        let bytes = bytes.next_multiple_of(page);
        next += bytes;
        Partition { offset: next - bytes, bytes }
    };
    FlashLayout {
        active: partition(image_bytes + free + TRAILER_BYTES),
        update: partition(image_bytes + free + TRAILER_BYTES),
        spare: partition(page),
        pages: partition(hash_page_bytes),
        records: partition(2 * BANK_BYTES_MIN.max(page)),
        provisioning: partition(page),
        rewritable,
    }
}
