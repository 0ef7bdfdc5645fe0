//! A chip that swaps its two flash banks in hardware, so that no page is copied.
//!
//! One bit of the chip selects the bank that the processor sees first. It takes effect at a reset. The bit is
//! not trusted: [`BootRecord::exchanged`] says which bank must come first, and at each start the two are
//! compared before anything is read from a slot. So a bit whose programming was cut, and which reads
//! differently each time, is programmed again until it is stable.
//!
//! | the record says | the chip | a start |
//! |---|---|---|
//! | as before | as before | continues |
//! | exchanged | as before | programs the bit, resets |
//! | exchanged | torn, and read as either | as one of the two others |
//! | exchanged | exchanged | continues |
//!
//! The slots are at the same place in each bank and change places. What is not a slot (records, hash pages,
//! spare page, provisioning) must not. It is only in the first bank, and [`BankedFlash`] finds it there
//! whichever bank comes first. The boot stage is at the start of both.

use core::ops::Range;

use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

use crate::boot_record::BootRecord;
use crate::exchange::{Exchange, Place, Progress, Way};
use crate::layout::FlashLayout;
use crate::record_log::{LogError, RecordLog};

/// A chip that swaps its two flash banks at the next reset.
pub trait Banks {
    /// Whether the processor sees them swapped, compared with the factory state. It does not change before
    /// the next reset.
    fn exchanged(&mut self) -> bool;

    /// Swaps the banks from the next reset on, or not. `false` if the chip refuses; then nothing has changed.
    /// Carry this out even if the chip reports that it is already so: that may be true only this once.
    fn set_exchanged(&mut self, exchanged: bool) -> bool;
}

/// The slots change places in hardware.
#[derive(Debug, Clone, Copy)]
pub struct ByBanks<B>(pub B);

impl<B: Banks> Exchange for ByBanks<B> {
    fn hold(&mut self, record: &BootRecord) -> Progress {
        if self.0.exchanged() == record.exchanged {
            Progress::Done
        } else if self.0.set_exchanged(record.exchanged) {
            Progress::NeedsReset
        } else {
            Progress::Refused
        }
    }

    /// Once the banks are as the record says, nothing is left to do: the resets that it took are forgotten.
    fn go_on<F: NorFlash>(
        &mut self,
        _flash: &mut F,
        _layout: &FlashLayout,
        _log: &mut RecordLog,
        record: &mut BootRecord,
        _way: Way,
    ) -> Result<Progress, LogError<F::Error>> {
        record.step = 0;
        Ok(Progress::Done)
    }

    fn put_out(&self, layout: &FlashLayout, _page_bytes: u32, _record: &BootRecord) -> Place {
        Place::Slot(layout.update)
    }
}

/// A flash of two banks, as a layout sees it. What is outside the slot range of a bank stays where it is.
///
/// An operation must be entirely inside that range or entirely outside it.
#[derive(Debug, Clone)]
pub struct BankedFlash<F> {
    flash: F,
    bank_bytes: u32,
    slot: Range<u32>,
    exchanged: bool,
}

impl<F> BankedFlash<F> {
    /// `flash` as the processor sees it: two banks of `bank_bytes`, `exchanged` or not. `slot` is the range
    /// of a slot within a bank.
    pub const fn new(flash: F, bank_bytes: u32, slot: Range<u32>, exchanged: bool) -> Self {
        Self { flash, bank_bytes, slot, exchanged }
    }

    /// The flash, for inspection.
    #[must_use]
    pub const fn flash(&self) -> &F {
        &self.flash
    }

    /// Where the processor sees this offset of a layout.
    #[must_use]
    pub fn seen(&self, offset: u32) -> u32 {
        let in_bank = offset % self.bank_bytes.max(1);
        if !self.exchanged || self.slot.contains(&in_bank) {
            offset
        } else if offset < self.bank_bytes {
            offset + self.bank_bytes
        } else {
            in_bank
        }
    }
}

impl<F: ErrorType> ErrorType for BankedFlash<F> {
    type Error = F::Error;
}

impl<F: ReadNorFlash> ReadNorFlash for BankedFlash<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        self.flash.read(self.seen(offset), bytes)
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl<F: NorFlash> NorFlash for BankedFlash<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        let seen = self.seen(from);
        self.flash.erase(seen, seen + to.saturating_sub(from))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), F::Error> {
        self.flash.write(self.seen(offset), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_change_places_and_nothing_else_does() {
        let seen = |exchanged| {
            let flash = BankedFlash::new((), 100, 10..60, exchanged);
            [0, 9, 10, 59, 60, 99, 100, 109, 110, 159, 160, 199].map(|offset| flash.seen(offset))
        };
        assert_eq!(seen(false), [0, 9, 10, 59, 60, 99, 100, 109, 110, 159, 160, 199]);
        assert_eq!(seen(true), [100, 109, 10, 59, 160, 199, 0, 9, 110, 159, 60, 99]);
    }
}
