//! The layout of a device's flash.

use embedded_storage::nor_flash::NorFlash;
use update_core::limits::ENVELOPE_BYTES_MAX;

use crate::record_log::BANK_BYTES_MIN;

/// Bytes at the end of each slot for the signed envelope of its image.
pub const TRAILER_BYTES: u32 = ENVELOPE_BYTES_MAX as u32 + 64;

/// Longest word in bytes.
pub const WORD_BYTES_MAX: usize = 32;

/// Most pages in a slot: an exchange counts two steps for each, in 16 bits.
const SLOT_PAGES_MAX: u32 = u16::MAX as u32 / 2;

/// A range of the flash. It begins and ends at a page boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Offset of its first byte in the flash.
    pub offset: u32,
    /// Its length in bytes.
    pub bytes: u32,
}

/// The layout of a flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlashLayout {
    /// The slot that runs. The image begins with its first byte; the last [`TRAILER_BYTES`] hold its signed
    /// envelope.
    pub active: Partition,
    /// The slot for an update; it has the same length.
    pub update: Partition,
    /// One page: the slots change places through it, and torn pages are repaired through it.
    pub spare: Partition,
    /// The verified pages of the hash tree.
    pub pages: Partition,
    /// Records and boot state: two banks of equal length, each at least 8 KiB.
    pub records: Partition,
    /// The provisioning data; only read, except for a mark in its last word that the device has been used.
    pub provisioning: Partition,
    /// Whether a word can be programmed again without an erase, as long as bits are only cleared. A word with
    /// an error-correcting code cannot.
    pub rewritable: bool,
}

/// Why a layout is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutError {
    /// A partition does not begin and end at a page boundary, is not inside the flash, or overlaps another.
    Partition,
    /// The slots differ in length, have no room for an image, or more pages than an exchange can count.
    Slots,
    /// The spare partition is not one page.
    Spare,
    /// The records partition is too small for two banks.
    Records,
    /// The flash has words longer than 32 bytes, or cannot be read byte by byte.
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
        let is_usable = self.active.bytes == self.update.bytes && self.active.bytes > TRAILER_BYTES;
        if !is_usable || self.active.bytes / page > SLOT_PAGES_MAX {
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

    /// Length of the largest image in bytes.
    #[must_use]
    pub const fn image_bytes_max(&self) -> u32 {
        self.active.bytes.saturating_sub(TRAILER_BYTES)
    }

    /// Where the signed envelope of the image in a slot is.
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

    /// Whether the two do not overlap. Both are inside the flash.
    const fn avoids(&self, other: &Self) -> bool {
        self.offset + self.bytes <= other.offset || other.offset + other.bytes <= self.offset
    }
}

#[cfg(test)]
mod tests {
    use embedded_storage::nor_flash::{ErrorType, NorFlashErrorKind, ReadNorFlash};

    use super::*;

    /// A flash with very small pages.
    struct Flash;

    impl ErrorType for Flash {
        type Error = NorFlashErrorKind;
    }

    impl ReadNorFlash for Flash {
        const READ_SIZE: usize = 1;

        fn read(&mut self, _offset: u32, _bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
            Ok(())
        }

        fn capacity(&self) -> usize {
            1 << 24
        }
    }

    impl NorFlash for Flash {
        const WRITE_SIZE: usize = 1;
        const ERASE_SIZE: usize = 64;

        fn erase(&mut self, _from: u32, _to: u32) -> Result<(), NorFlashErrorKind> {
            Ok(())
        }

        fn write(&mut self, _offset: u32, _bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
            Ok(())
        }
    }

    #[test]
    fn slots_have_no_more_pages_than_an_exchange_can_count() {
        let check = |pages: u32| {
            let slot = |offset| Partition { offset, bytes: pages * 64 };
            FlashLayout {
                provisioning: Partition { offset: 0, bytes: 64 },
                spare: Partition { offset: 64, bytes: 64 },
                pages: Partition { offset: 128, bytes: 64 },
                records: Partition { offset: 0x1000, bytes: 0x4000 },
                active: slot(0x1_0000),
                update: slot(0x80_0000),
                rewritable: true,
            }
            .check(&Flash)
        };
        assert_eq!(check(32_767), Ok(()));
        assert_eq!(check(32_768), Err(LayoutError::Slots));
    }
}
