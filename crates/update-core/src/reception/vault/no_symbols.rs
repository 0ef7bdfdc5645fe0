//! In place of `symbols` where the feature `parity` is off: no symbols are taken, and the agent lives on
//! blocks.

use crate::block_set::BlockSet;
use crate::census::Window;
use crate::parity::Parity;
use crate::platform::Area;
use crate::tree::TreeShape;
use core::marker::PhantomData;

#[derive(Debug)]
pub(super) struct Symbols<'m>(PhantomData<&'m mut [u8]>);

#[allow(clippy::unused_self, reason = "it stands for one that has a state")]
impl<'m> Symbols<'m> {
    pub(super) const fn new(_memory: &'m mut [u8]) -> Self {
        Self(PhantomData)
    }

    pub(super) const fn forget(&self) {}

    pub(super) const fn clear(&self) {}

    pub(super) const fn agree(&self, _parity: Parity, _shape: &TreeShape, _has_pages: bool) {}

    pub(super) const fn has_pages(&self) {}

    pub(super) const fn area(&self) -> Option<Area> {
        None
    }

    pub(super) const fn room(&self, _blocks: &BlockSet<'_>) -> Option<u32> {
        None
    }

    pub(super) const fn needs_blocks(&self, _blocks: &BlockSet<'_>) -> bool {
        true
    }

    pub(super) const fn write_needed(&self, _window: Window, _out: &mut [u8], _blocks: &BlockSet<'_>) {}

    pub(super) const fn held_in_all(&self, _area: Area) -> Option<u32> {
        None
    }

    pub(super) const fn take(&self, _number: u32, _payload: &[u8], _blocks: &BlockSet<'_>) -> bool {
        true
    }

    pub(super) const fn block_stored(&self, _area: Area, _block: u32, _blocks: &BlockSet<'_>) {}

    pub(super) const fn write_lacks(
        &self,
        _parity: Parity,
        _first: u32,
        _out: &mut [u8],
        _blocks: &BlockSet<'_>,
    ) -> bool {
        false
    }

    pub(super) const fn is_making(&self) -> bool {
        false
    }

    pub(super) const fn begin(&self, _blocks: &BlockSet<'_>) -> bool {
        false
    }

    pub(super) const fn next_to_take_out(&self) -> Option<u32> {
        None
    }

    pub(super) const fn take_out(&self, _block: &[u8]) {}

    pub(super) const fn next_made(&self) -> Option<(u32, &[u8])> {
        None
    }

    pub(super) const fn pass_on(&self) {}

    pub(super) const fn end_making(&self) {}

    pub(super) const fn spoil(&self, _block: u32) {}
}
