//! A chip that exchanges its two banks of flash in hardware, so that no page is copied.
//!
//! Which bank the processor sees first is one bit of the chip, which it takes over with a reset. The bit is
//! not believed: [`BootRecord::exchanged`] says how the banks have to stand, and at each start, before
//! anything is read from a slot, they are compared. A bit whose programming was cut, and which reads
//! differently each time, is so programmed again until it stands.
//!
//! | the record says | the chip | a start |
//! |---|---|---|
//! | as before | as before | goes on |
//! | exchanged | as before | programs the bit, resets |
//! | exchanged | torn, and taken for either | as one of the two others |
//! | exchanged | exchanged | goes on |
//!
//! The slots lie at the same place of each bank and change places. What is not a slot (records, hash pages,
//! spare page, provisioning) must not; it lies in the first bank only, and [`BankedFlash`] finds it there
//! however the banks stand. The boot stage lies at the start of both.

use core::ops::Range;

use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

use crate::boot_record::BootRecord;
use crate::exchange::{Exchange, Place, Progress, Way};
use crate::layout::FlashLayout;
use crate::record_log::{LogError, RecordLog};

/// A chip that exchanges its two banks of flash with the next reset.
pub trait Banks {
    /// Whether the processor sees them exchanged, against the state from the factory. The same until the next
    /// reset.
    fn exchanged(&mut self) -> bool;

    /// From the next reset on they are exchanged, or not. `false` when the chip refuses; then nothing has
    /// changed. Also to be carried out when the chip believes that it is so already: then it may be so only
    /// for this once.
    fn set_exchanged(&mut self, exchanged: bool) -> bool;
}

/// In hardware.
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

    /// As soon as the banks stand as the record says, nothing is left to do: the resets that it took are
    /// forgotten.
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

/// A flash of two banks, as a layout sees it: what is not within the slots' range of a bank stays where it
/// is.
///
/// An operation lies either within that range or outside of it.
#[derive(Debug, Clone)]
pub struct BankedFlash<F> {
    flash: F,
    bank_bytes: u32,
    slot: Range<u32>,
    exchanged: bool,
}

impl<F> BankedFlash<F> {
    /// `flash` as the processor sees it: two banks of `bank_bytes`, `exchanged` or not. `slot` is where a
    /// slot lies in a bank.
    pub const fn new(flash: F, bank_bytes: u32, slot: Range<u32>, exchanged: bool) -> Self {
        Self { flash, bank_bytes, slot, exchanged }
    }

    /// The flash, to look at.
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
