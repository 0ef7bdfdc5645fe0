//! The flash, a separate chip on QSPI, from which the programs run.
//!
//! The functions of the boot ROM erase and program it, called from RAM with interrupts off (`embassy-rp`).
//! Reads bypass the cache: after a power cut a word may read differently each time, and a cache would hide
//! that.

use embassy_rp::Peri;
use embassy_rp::flash::{self, Blocking};
use embassy_rp::peripherals::FLASH;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash, check_read, check_write};

/// Where it is mapped, through the cache. Images run from here.
pub const BASE: usize = 0x1000_0000;
/// Its size in bytes, as far as this board uses it.
pub const BYTES: usize = 2 * 1024 * 1024;
/// The length of a word, which is programmed as a whole. The chip would accept less; see
/// [`RP2350`](agent_embedded::layouts::RP2350).
pub const WORD_BYTES: usize = 16;

/// Where it is mapped without cache (RP2350 datasheet section 4.4).
const UNCACHED: usize = 0x1400_0000;

/// Errors of this flash.
pub type FlashError = flash::Error;

/// The flash of this board.
pub struct Flash(flash::Flash<'static, FLASH, Blocking, BYTES>);

impl Flash {
    /// The flash.
    #[must_use]
    pub fn new(flash: Peri<'static, FLASH>) -> Self {
        Self(flash::Flash::new_blocking(flash))
    }
}

impl ErrorType for Flash {
    type Error = FlashError;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len())?;
        let from = (UNCACHED + offset as usize) as *const u8;
        // SAFETY: inside the flash, which holds plain bytes; only this driver writes it, and it is borrowed.
        unsafe { core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn capacity(&self) -> usize {
        BYTES
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = flash::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        self.0.blocking_erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len())?;
        self.0.blocking_write(offset, bytes)
    }
}
