//! The flash as the processor sees it, and a chip that swaps its two banks.
//!
//! The chip keeps its bank state in a word on a separate page after the banks, which is erased and programmed
//! like any other: a power cut has the same effects there as elsewhere. The chip reads the word at each
//! reset; if it cannot be read, the banks are in their factory state.

use std::cell::RefCell;

use boot_stage::banks::{BankedFlash, Banks};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

use super::device::Device;
use crate::nor_flash::{FlashError, SimulatedFlash};

/// A flash that both the layout and the chip itself use.
pub(super) type Shared<'f, const WORD: usize, const PAGE: usize> =
    RefCell<&'f mut SimulatedFlash<WORD, PAGE>>;

/// The flash as a device's layout sees it.
pub(super) type View<'c, 'f, const WORD: usize, const PAGE: usize> = BankedFlash<Seen<'c, 'f, WORD, PAGE>>;

/// The flash as the processor sees it.
#[derive(Debug)]
pub(super) struct Seen<'c, 'f, const WORD: usize, const PAGE: usize> {
    flash: &'c Shared<'f, WORD, PAGE>,
    bank_bytes: u32,
    exchanged: bool,
}

/// The view of this device's layout.
pub(super) fn view<'c, 'f, const WORD: usize, const PAGE: usize>(
    flash: &'c Shared<'f, WORD, PAGE>,
    device: &Device,
    exchanged: bool,
) -> View<'c, 'f, WORD, PAGE> {
    let bank_bytes = device.bank_bytes.unwrap_or(u32::MAX);
    let slot = device.layout.active;
    let seen = Seen { flash, bank_bytes, exchanged };
    BankedFlash::new(seen, bank_bytes, slot.offset..slot.offset + slot.bytes, exchanged)
}

impl<const WORD: usize, const PAGE: usize> Seen<'_, '_, WORD, PAGE> {
    /// Whether there is no power.
    pub(super) fn is_off(&self) -> bool {
        self.flash.borrow().is_off()
    }

    fn really(&self, offset: u32) -> u32 {
        if self.exchanged { (offset + self.bank_bytes) % (2 * self.bank_bytes) } else { offset }
    }
}

impl<const WORD: usize, const PAGE: usize> ErrorType for Seen<'_, '_, WORD, PAGE> {
    type Error = FlashError;
}

impl<const WORD: usize, const PAGE: usize> ReadNorFlash for Seen<'_, '_, WORD, PAGE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.flash.borrow_mut().read(self.really(offset), bytes)
    }

    fn capacity(&self) -> usize {
        self.flash.borrow().capacity()
    }
}

impl<const WORD: usize, const PAGE: usize> NorFlash for Seen<'_, '_, WORD, PAGE> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        let begin = self.really(from);
        self.flash.borrow_mut().erase(begin, begin + to - from)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        self.flash.borrow_mut().write(self.really(offset), bytes)
    }
}

/// The chip's own word.
#[derive(Debug)]
pub(super) struct OptionWord<'c, 'f, const WORD: usize, const PAGE: usize> {
    pub(super) flash: &'c Shared<'f, WORD, PAGE>,
    pub(super) offset: u32,
    /// The value read at the last reset.
    pub(super) exchanged: bool,
    /// Whether the chip refuses to change it.
    pub(super) locked: bool,
}

/// The value that the chip reads at a reset.
pub(super) fn take_over<const WORD: usize, const PAGE: usize>(
    flash: &mut SimulatedFlash<WORD, PAGE>,
    offset: u32,
) -> bool {
    let mut word = [0xff; WORD];
    flash.read(offset, &mut word).is_ok() && word[0] & 0x80 == 0
}

impl<const WORD: usize, const PAGE: usize> Banks for OptionWord<'_, '_, WORD, PAGE> {
    fn exchanged(&mut self) -> bool {
        self.exchanged
    }

    fn set_exchanged(&mut self, exchanged: bool) -> bool {
        if self.locked {
            return false;
        }
        let mut flash = self.flash.borrow_mut();
        let erased = flash.erase(self.offset, self.offset + PAGE as u32);
        erased.and_then(|()| if exchanged { flash.write(self.offset, &[0; WORD]) } else { Ok(()) }).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::device::Device;
    use super::super::life::{Lives, Story};
    use super::super::{Depth, Geometry};

    fn device(story: Story) -> Lives<16, 8192> {
        let geometry = Geometry::BANKS;
        let Geometry { page, rewritable, banks, .. } = geometry;
        let device = Device::new(page, geometry.image_bytes(Depth::Two), rewritable, banks);
        Lives::new(Arc::new(device), story)
    }

    #[test]
    fn an_exchange_costs_one_reset_more_each_way() {
        // Received; exchanged; on trial; exchanged back; the old one again.
        assert_eq!(device(Story::Silent).lives_to_come().unwrap().len(), 5);
    }

    #[test]
    fn a_chip_that_refuses_keeps_the_old_image() {
        let mut device = device(Story::Silent);
        device.locked = true;
        // Received; the old one again, and reported.
        assert_eq!(device.lives_to_come().unwrap().len(), 2);
        device.run_to_end().unwrap();
    }

    #[test]
    fn a_chip_that_does_not_take_the_new_image_back_keeps_it() {
        for story in [Story::Silent, Story::GivenUp] {
            let mut on_its_way_back = device(story).lives_to_come().unwrap().swap_remove(3);
            on_its_way_back.locked = true;
            on_its_way_back.survive(true).unwrap();
        }
    }
}
