//! The PSRAM as NOR flash: an erase sets all bits of a page, a program operation only clears bits.
//!
//! QEMU keeps it in a file, so it survives resets and the end of QEMU itself.

use board_common::flash::FlashError;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash, check_erase, check_read, check_write};

/// Where it is mapped. Images run from here.
pub const BASE: usize = 0x2100_0000;
/// Its size in bytes.
pub const BYTES: usize = 16 * 1024 * 1024;
/// The length of a page, which is erased as a whole.
pub const PAGE_BYTES: usize = 4096;
/// The length of a word, which is programmed as a whole.
pub const WORD_BYTES: usize = 4;

/// The flash of this board.
#[derive(Debug)]
pub struct Flash(());

impl Flash {
    /// The flash.
    ///
    /// # Safety
    /// Only one exists at a time, and nobody holds references into the flash where it is written.
    #[must_use]
    pub const unsafe fn take() -> Self {
        Self(())
    }

    fn word(offset: u32) -> *mut u32 {
        (BASE + offset as usize) as *mut u32
    }
}

impl ErrorType for Flash {
    type Error = FlashError;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len())?;
        let from = (BASE + offset as usize) as *const u8;
        // SAFETY: inside the PSRAM, which holds plain bytes and which nothing else writes in the meantime.
        unsafe { core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn capacity(&self) -> usize {
        BYTES
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = PAGE_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        check_erase(self, from, to)?;
        for offset in (from..to).step_by(WORD_BYTES) {
            // SAFETY: inside the PSRAM and aligned; by the contract of `take` nobody holds a reference to it.
            unsafe { Self::word(offset).write_volatile(u32::MAX) };
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len())?;
        for (offset, word) in (offset..).step_by(WORD_BYTES).zip(bytes.chunks_exact(WORD_BYTES)) {
            let mut value = [0; WORD_BYTES];
            value.copy_from_slice(word);
            let value = u32::from_le_bytes(value);
            let place = Self::word(offset);
            // SAFETY: as in `erase`.
            let old = unsafe { place.read_volatile() };
            if old & value != value {
                return Err(FlashError::NotErased);
            }
            // SAFETY: as in `erase`.
            unsafe { place.write_volatile(value) };
        }
        Ok(())
    }
}
