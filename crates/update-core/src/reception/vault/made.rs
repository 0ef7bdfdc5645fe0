//! The vault's side of parity: symbols beside the blocks that they complete (protocol.md \[parity\]).

use super::held::Way;
use super::symbols::Symbols;
use super::{Doing, Vault};
use crate::block_set::BlockSet;
use crate::census::{GenerationWindow, Window};
use crate::parity::Parity;
use crate::platform::Area;
use crate::tree::TreeShape;

impl<'m> Vault<'m> {
    /// The distributor tells of the parity of the current update.
    pub(in crate::reception) fn agree(&mut self, parity: Parity, shape: &TreeShape) {
        self.symbols.agree(parity, shape, self.pages.is_full());
    }

    /// The symbols, and the blocks or pages for which they are.
    fn symbols_of(&mut self) -> (&mut Symbols<'m>, &BlockSet<'m>) {
        let set = if self.symbols.area() == Some(Area::Pages) { &self.pages } else { &self.blocks };
        (&mut self.symbols, set)
    }

    /// Takes a parity symbol; `false` if it is none of this update's.
    pub(in crate::reception) fn take_symbol(&mut self, area: Area, number: u32, payload: &[u8]) -> bool {
        if self.symbols.area() != Some(area) {
            return true;
        }
        let (symbols, set) = self.symbols_of();
        symbols.take(number, payload, set)
    }

    /// How many more blocks or symbols are needed for all blocks; `None` if no symbols are taken.
    pub(in crate::reception) fn lacking(&self) -> Option<u32> {
        self.symbols.area()?;
        let held = self.symbols.held_in_all(Area::Image).unwrap_or(0);
        Some(self.missing(Area::Image).saturating_sub(held))
    }

    /// Writes what each of these generations lacks; `None` if no such symbols are taken.
    pub(in crate::reception) fn write_lacks<'o>(
        &self,
        window: GenerationWindow,
        out: &'o mut [u8],
    ) -> Option<&'o [u8]> {
        self.symbols.held_in_all(window.area)?;
        let set = self.set(window.area);
        self.symbols.write_lacks(window.parity, window.first, out, set).then_some(out)
    }

    /// How many symbols there is room for, if that is less than what is missing of this area.
    pub(in crate::reception) fn room(&self, area: Area) -> Option<u32> {
        self.symbols.room(self.set(area)).filter(|_| self.symbols.area() == Some(area))
    }

    /// Whether symbols alone cannot repair what is missing of this area.
    pub(in crate::reception) fn needs_blocks(&self, area: Area) -> bool {
        self.symbols.area() != Some(area) || self.symbols.needs_blocks(self.set(area))
    }

    /// Writes which blocks of a window are needed although there is parity: those that it cannot repair.
    pub(in crate::reception) fn write_needed(&self, window: Window, out: &mut [u8]) {
        if self.symbols.area() == Some(window.area) {
            self.symbols.write_needed(window, out, self.set(window.area));
        } else {
            self.write_missing(window, out);
        }
    }

    /// Whether a generation is being decoded.
    pub(in crate::reception) const fn is_making(&self) -> bool {
        self.symbols.is_making()
    }

    /// What must be read next in order to decode a generation.
    pub(in crate::reception) fn work_for_symbols(&mut self) -> Option<Doing> {
        let area = self.symbols.area()?;
        // A block that is made can be compared only with its page.
        let is_in_vain = area == Area::Image && !self.pages.is_full();
        let (symbols, set) = self.symbols_of();
        if is_in_vain || !symbols.begin(set) {
            return None;
        }
        symbols.next_to_take_out().map(|number| Doing::TakeOut(area, number))
    }

    /// A block was read for it.
    pub(in crate::reception) fn take_out(&mut self, bytes: &[u8]) {
        self.symbols.take_out(bytes);
    }

    /// The blocks for it cannot be read.
    pub(in crate::reception) fn end_making(&mut self) {
        self.symbols.end_making();
    }

    /// Holds the next block that was made, if there is one and nothing else is held.
    pub(in crate::reception) fn hold_made(&mut self, shape: &TreeShape) {
        let Some(area) = self.symbols.area() else { return };
        while self.held.is_none()
            && let Some((number, bytes)) = self.symbols.next_made()
        {
            let set = if area == Area::Pages { &self.pages } else { &self.blocks };
            let held = shape
                .range_of(area, number)
                .map(|(_, len)| (len, super::Held::new(shape, area, number, len, Way::Parity)));
            if !set.contains(number)
                && let Some((len, held)) = held
                && held.can_be_compared(&self.pages)
                && let (Some(from), Some(to)) = (bytes.get(..len), self.held_bytes.get_mut(..len))
            {
                to.copy_from_slice(from);
                self.held = Some(held);
            }
            self.symbols.pass_on();
        }
    }

    /// This block was made wrong.
    pub(in crate::reception) fn spoil(&mut self, block: u32) {
        self.symbols.spoil(block);
    }
}
