//! The flash: 2 MiB in two banks, pages of 8 KiB, words of 16 bytes with an error correcting code, which can
//! be programmed once between two erases (RM0481 section 7).
//!
//! A word whose programming was cut may have a wrong code. Reading it raises a non-maskable interrupt and not
//! a fault: the driver asks whether one came.

use core::sync::atomic::{AtomicBool, Ordering};

use board_common::flash::FlashError;
use cortex_m::asm::{dsb, isb};
use embassy_stm32::pac::FLASH;
use embassy_stm32::pac::flash::vals::NscrBksel;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash, check_erase, check_read, check_write};

/// Where it is mapped: images run from here.
pub const BASE: usize = 0x0800_0000;
/// Its size in bytes.
pub const BYTES: usize = 2 * 1024 * 1024;
/// Bytes of a page, which are erased together.
pub const PAGE_BYTES: usize = 8192;
/// Bytes of a word, which are programmed together.
pub const WORD_BYTES: usize = 16;

const PAGES_OF_A_BANK: u32 = 128;
const KEYS: [u32; 2] = [0x4567_0123, 0xcdef_89ab];

/// [`Flash`] reads, and expects that a word may be unreadable.
static READS: AtomicBool = AtomicBool::new(false);
/// A word was unreadable.
static UNREADABLE: AtomicBool = AtomicBool::new(false);

/// The flash of this board, as the processor sees it.
#[derive(Debug)]
pub struct Flash {
    exchanged: bool,
}

impl Flash {
    /// The flash, with its banks `exchanged` or not.
    ///
    /// # Safety
    /// There is one at a time, and nobody holds references into the flash where it is written.
    #[must_use]
    pub const unsafe fn take(exchanged: bool) -> Self {
        Self { exchanged }
    }

    fn unlock() {
        while FLASH.nssr().read().bsy() || FLASH.nssr().read().dbne() {}
        if FLASH.nscr().read().lock() {
            for key in KEYS {
                FLASH.nskeyr().write_value(key);
            }
        }
        FLASH.nsccr().write(|clear| {
            clear.set_clr_eop(true);
            clear.set_clr_wrperr(true);
            clear.set_clr_pgserr(true);
            clear.set_clr_strberr(true);
            clear.set_clr_incerr(true);
        });
    }

    /// Waits for the end of an operation, and takes the permission for the next one away.
    fn finish() -> Result<(), FlashError> {
        dsb();
        isb();
        while FLASH.nssr().read().bsy() || FLASH.nssr().read().wbne() {}
        let status = FLASH.nssr().read();
        FLASH.nscr().write(|control| control.set_lock(true));
        if status.wrperr() {
            Err(FlashError::Protected)
        } else if status.pgserr() || status.strberr() || status.incerr() {
            Err(FlashError::Sequence)
        } else {
            Ok(())
        }
    }

    fn erase_page(&self, page: u32) -> Result<(), FlashError> {
        // The controller counts the banks as they are, and the processor as it sees them.
        let second = (page >= PAGES_OF_A_BANK) != self.exchanged;
        Self::unlock();
        FLASH.nscr().write(|control| {
            control.set_ser(true);
            control.set_snb((page % PAGES_OF_A_BANK) as u8);
            control.set_bksel(if second { NscrBksel::B_0X1 } else { NscrBksel::B_0X0 });
        });
        FLASH.nscr().modify(|control| control.set_strt(true));
        Self::finish()
    }

    fn program_word(&self, offset: u32, word: &[u8]) -> Result<(), FlashError> {
        Self::unlock();
        FLASH.nscr().write(|control| control.set_pg(true));
        let (quarters, _) = word.as_chunks::<4>();
        for (at, quarter) in (BASE + offset as usize..).step_by(4).zip(quarters) {
            // SAFETY: within the flash and aligned; by the contract of `take` nobody holds a reference to it.
            unsafe { (at as *mut u32).write_volatile(u32::from_le_bytes(*quarter)) };
        }
        Self::finish()
    }
}

/// To be called by the non-maskable interrupt: whether it came for a word that [`Flash`] reads.
pub fn on_unreadable() -> bool {
    if !FLASH.eccdetr().read().eccd() {
        return false;
    }
    FLASH.eccdetr().modify(|detected| detected.set_eccd(true));
    UNREADABLE.store(true, Ordering::SeqCst);
    READS.load(Ordering::SeqCst)
}

impl ErrorType for Flash {
    type Error = FlashError;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len())?;
        let from = (BASE + offset as usize) as *const u8;
        UNREADABLE.store(false, Ordering::SeqCst);
        READS.store(true, Ordering::SeqCst);
        dsb();
        // SAFETY: within the flash, which holds plain bytes and which nobody else writes meanwhile.
        unsafe { core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        dsb();
        isb();
        READS.store(false, Ordering::SeqCst);
        if UNREADABLE.load(Ordering::SeqCst) { Err(FlashError::Unreadable) } else { Ok(()) }
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
        (from / PAGE_BYTES as u32..to / PAGE_BYTES as u32).try_for_each(|page| self.erase_page(page))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len())?;
        let words = (offset..).step_by(WORD_BYTES).zip(bytes.chunks_exact(WORD_BYTES));
        words.into_iter().try_for_each(|(offset, word)| self.program_word(offset, word))
    }
}
