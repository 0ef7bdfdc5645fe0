//! The vault's side of parity: symbols beside the blocks that they complete (protocol.md \[parity\]).

use super::held::Way;
use super::{Doing, Vault};
use crate::block::{BlockNumber, Layout};
use crate::parity::Parity;
use crate::platform::Area;
use crate::tree::TreeShape;

impl Vault<'_> {
    /// The distributor tells of the parity of the current update.
    pub(in crate::reception) fn agree(&mut self, parity: Parity, layout: Layout) {
        self.symbols.agree(parity, layout);
    }

    /// The distributor asks what generations lack.
    pub(in crate::reception) fn open_window(&mut self) {
        let blocks = &self.blocks;
        self.symbols.open_window(|block| blocks.contains(block));
    }

    /// Takes a parity symbol; `false` if it is none of this update's.
    pub(in crate::reception) fn take_symbol(&mut self, number: u32, payload: &[u8]) -> bool {
        let blocks = &self.blocks;
        self.symbols.take(number, payload, |block| blocks.contains(block))
    }

    /// How many more blocks or symbols are needed for all blocks; `None` if no symbols are taken.
    pub(in crate::reception) fn lacking(&self) -> Option<u32> {
        let held = self.symbols.held_in_all()?;
        Some(self.missing(Area::Image).saturating_sub(held))
    }

    /// Writes what each of these generations lacks; `None` if no symbols are taken.
    pub(in crate::reception) fn write_lacks<'o>(&self, first: u32, out: &'o mut [u8]) -> Option<&'o [u8]> {
        self.symbols.held_in_all()?;
        self.symbols.write_lacks(first, out, |block| self.blocks.contains(block));
        Some(out)
    }

    /// Whether a generation is being decoded.
    pub(in crate::reception) const fn is_making(&self) -> bool {
        self.symbols.is_making()
    }

    /// What must be read next in order to decode a generation.
    pub(in crate::reception) fn work_for_symbols(&mut self) -> Option<Doing> {
        let blocks = &self.blocks;
        // What is made can be compared only with its page.
        if !self.pages.is_full() || !self.symbols.begin(|block| blocks.contains(block)) {
            return None;
        }
        self.symbols.next_to_take_out().map(Doing::TakeOut)
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
        while self.held.is_none()
            && let Some((block, bytes)) = self.symbols.next_made()
        {
            if !self.blocks.contains(block)
                && let Some((_, len)) = shape.layout().block_range(BlockNumber(block))
                && let (Some(from), Some(to)) = (bytes.get(..len), self.held_bytes.get_mut(..len))
            {
                to.copy_from_slice(from);
                self.held = Some(super::Held::new(shape, Area::Image, block, len, Way::Parity));
            }
            self.symbols.pass_on();
        }
    }

    /// This block was made wrong.
    pub(in crate::reception) fn spoil(&mut self, block: u32) {
        self.symbols.spoil(block);
    }
}
