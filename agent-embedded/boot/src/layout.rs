//! Where everything lies in the flash of a device.

use embedded_storage::nor_flash::NorFlash;
use update_core::limits::ENVELOPE_BYTES_MAX;

use crate::record_log::BANK_BYTES_MIN;

/// Bytes at the end of each slot for the signed envelope of its image.
pub const TRAILER_BYTES: u32 = ENVELOPE_BYTES_MAX as u32 + 64;

/// Longest word in bytes.
pub const WORD_BYTES_MAX: usize = 32;

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
    pub fn check<F: NorFlash>(&self, flash: &F) -> Result<(), LayoutError> {
        if F::READ_SIZE != 1 || !F::WRITE_SIZE.is_power_of_two() || F::WRITE_SIZE > WORD_BYTES_MAX {
            return Err(LayoutError::Words);
        }
        let page = u32::try_from(F::ERASE_SIZE).map_err(|_| LayoutError::Words)?;
        let capacity = u32::try_from(flash.capacity()).unwrap_or(u32::MAX);
        let all = [self.active, self.update, self.spare, self.pages, self.records, self.provisioning];
        let separate = all.iter().enumerate().all(|(index, partition)| {
            partition.fits(page, capacity) && all.iter().skip(index + 1).all(|other| partition.avoids(other))
        });
        if !separate {
            return Err(LayoutError::Partition);
        }
        if self.active.bytes != self.update.bytes || self.active.bytes <= TRAILER_BYTES {
            return Err(LayoutError::Slots);
        }
        if self.spare.bytes != page {
            return Err(LayoutError::Spare);
        }
        let bank = self.records.bytes / 2;
        if bank < BANK_BYTES_MIN || !bank.is_multiple_of(page) {
            return Err(LayoutError::Records);
        }
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

impl Partition {
    fn fits(&self, page: u32, capacity: u32) -> bool {
        let end = self.offset.checked_add(self.bytes);
        let aligned = self.offset.is_multiple_of(page) && self.bytes.is_multiple_of(page);
        aligned && self.bytes > 0 && end.is_some_and(|end| end <= capacity)
    }

    /// Whether the two have no byte in common. Both fit the flash.
    const fn avoids(&self, other: &Self) -> bool {
        self.offset + self.bytes <= other.offset || other.offset + other.bytes <= self.offset
    }
}
