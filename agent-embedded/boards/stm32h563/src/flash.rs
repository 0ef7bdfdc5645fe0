//! The flash: 2 MiB in two banks, pages of 8 KiB, words of 16 bytes with an error-correcting code, which can
//! be programmed once between two erases (RM0481 section 7).
//!
//! A word whose programming was cut may have a wrong code. Reading it raises a non-maskable interrupt, not a
//! fault: the driver checks whether one occurred.
//!
//! All of it is seen through the instruction cache, including data. The driver reads and writes with the
//! cache off: a cache would hide words that have changed since, and torn ones that read differently each
//! time.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use board_common::flash::FlashError;
use boot_stage::unreadable::{LastRead, Unreadable, judge};
use cortex_m::asm::{dsb, isb};
use embassy_stm32::pac::FLASH;
use embassy_stm32::pac::flash::vals::NscrBksel;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash, check_erase, check_read, check_write};

use crate::cache;
use crate::place::program;

/// Where it is mapped. Images run from here.
pub const BASE: usize = 0x0800_0000;
/// Its size in bytes.
pub const BYTES: usize = 2 * 1024 * 1024;
/// The length of a page, which is erased as a whole.
pub const PAGE_BYTES: usize = 8192;
/// The length of a word, which is programmed as a whole.
pub const WORD_BYTES: usize = 16;

const PAGES_OF_A_BANK: u32 = 128;
const KEYS: [u32; 2] = [0x4567_0123, 0xcdef_89ab];

/// The length of a bank: the controller reports the place of an error as a word in its bank.
const BANK_BYTES: u32 = PAGES_OF_A_BANK * PAGE_BYTES as u32;

/// The current or last read: its offset in its bank, and its length.
static OFFSET: AtomicU32 = AtomicU32::new(0);
static READ_BYTES: AtomicU32 = AtomicU32::new(0);
/// Whether the read is in progress.
static READS: AtomicBool = AtomicBool::new(false);
/// Whether an error of it was reported after its end.
static WAS_LATE: AtomicBool = AtomicBool::new(false);
/// Whether one of its words was unreadable.
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
    /// Only one exists at a time, and nobody holds references into the flash where it is written.
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

    /// Waits for the end of an operation, and revokes the permission for the next one.
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
        // The controller counts the banks as they are, the processor as it sees them.
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
            // SAFETY: inside the flash and aligned; by the contract of `take` nobody holds a reference to it.
            unsafe { (at as *mut u32).write_volatile(u32::from_le_bytes(*quarter)) };
        }
        Self::finish()
    }
}

/// For the non-maskable interrupt. Damage in the running program resets the chip: the boot stage then finds
/// it, and decides.
pub fn on_interrupt() {
    let detected = FLASH.eccdetr().read();
    // Without an error, it was handled at the end of its read, before the interrupt came.
    if !detected.eccd() {
        return;
    }
    FLASH.eccdetr().modify(|detected| detected.set_eccd(true));
    if detected.sysf_ecc() || detected.otp_ecc() || detected.obk_ecc() || detected.edata_ecc() {
        return;
    }
    let last = LastRead {
        offset: OFFSET.load(Ordering::SeqCst),
        bytes: READ_BYTES.load(Ordering::SeqCst),
        goes_on: READS.load(Ordering::SeqCst),
        was_late: WAS_LATE.load(Ordering::SeqCst),
    };
    let at = u32::from(detected.addr_ecc()) * WORD_BYTES as u32;
    match judge(at, WORD_BYTES as u32, &program(), &last) {
        Unreadable::Read => UNREADABLE.store(true, Ordering::SeqCst),
        Unreadable::Unused => WAS_LATE.store(true, Ordering::SeqCst),
        Unreadable::Program => cortex_m::peripheral::SCB::sys_reset(),
    }
}

/// Reads with the cache off, and checks that all of it was readable.
fn read_uncached(offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
    let from = (BASE + offset as usize) as *const u8;
    READS.store(false, Ordering::SeqCst);
    UNREADABLE.store(false, Ordering::SeqCst);
    WAS_LATE.store(false, Ordering::SeqCst);
    OFFSET.store(offset % BANK_BYTES, Ordering::SeqCst);
    READ_BYTES.store(bytes.len() as u32, Ordering::SeqCst);
    READS.store(true, Ordering::SeqCst);
    dsb();
    // SAFETY: the caller has checked that this is inside the flash, which holds plain bytes and which nothing
    // else writes in the meantime.
    unsafe { core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
    dsb();
    isb();
    // An error whose interrupt is still pending.
    on_interrupt();
    READS.store(false, Ordering::SeqCst);
    if UNREADABLE.load(Ordering::SeqCst) { Err(FlashError::Unreadable) } else { Ok(()) }
}

impl ErrorType for Flash {
    type Error = FlashError;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len())?;
        cache::without(|| read_uncached(offset, bytes))
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
        let mut pages = from / PAGE_BYTES as u32..to / PAGE_BYTES as u32;
        cache::without(|| pages.try_for_each(|page| self.erase_page(page)))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len())?;
        let mut words = (offset..).step_by(WORD_BYTES).zip(bytes.chunks_exact(WORD_BYTES));
        cache::without(|| words.try_for_each(|(offset, word)| self.program_word(offset, word)))
    }
}
