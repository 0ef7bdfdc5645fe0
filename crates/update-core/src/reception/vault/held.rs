//! A block or page that has arrived and is not yet stored. Nothing is written before its hash has been
//! checked (protocol.md \[tree\]).

use super::{Doing, Vault};
use crate::block_set::BlockSet;
use crate::digest::Digest;
use crate::platform::{Area, Task};
use crate::time::Instant;
use crate::tree::{self, TreeShape};

/// What became of a block or page that should be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::reception) enum Hold {
    Taken,
    /// It is stored already.
    Duplicate,
    /// The page that holds its hash is missing.
    WithoutPage,
}

/// How a block or page came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::reception) enum Way {
    Multicast,
    Unicast,
    /// It was made from parity symbols.
    Parity,
}

/// The held block or page had the wrong hash and was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::reception) struct WrongHash {
    pub(in crate::reception) number: u32,
    pub(in crate::reception) way: Way,
}

/// A block or page in the one buffer, on its way to storage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    area: Area,
    number: u32,
    len: usize,
    /// The page that holds its hash, and the entry in it; `None` for the root page.
    parent: Option<(u32, usize)>,
    way: Way,
    /// Its hash has been checked and is right.
    proved: bool,
}

impl Held {
    pub(super) fn new(shape: &TreeShape, area: Area, number: u32, len: usize, way: Way) -> Self {
        Self { area, number, len, parent: shape.parent_of(area, number), way, proved: false }
    }

    /// Whether the page that holds its hash is stored.
    pub(super) fn can_be_compared(&self, pages: &BlockSet<'_>) -> bool {
        self.parent.is_none_or(|(page, _)| pages.contains(page))
    }
}

impl Vault<'_> {
    /// Takes a block or page into the one buffer if it is still missing and its hash can be compared.
    pub(in crate::reception) fn hold(
        &mut self,
        shape: &TreeShape,
        area: Area,
        number: u32,
        payload: &[u8],
        way: Way,
    ) -> Hold {
        if self.set(area).contains(number) {
            return Hold::Duplicate;
        }
        let held = Held::new(shape, area, number, payload.len(), way);
        if !held.can_be_compared(&self.pages) {
            return Hold::WithoutPage;
        }
        if let Some(target) = self.held_bytes.get_mut(..payload.len()) {
            target.copy_from_slice(payload);
            self.held = Some(held);
        }
        Hold::Taken
    }

    pub(in crate::reception) const fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    pub(in crate::reception) const fn drop_held(&mut self) {
        self.held = None;
    }

    /// Checks the hash of the held block or page as soon as the page with that hash is in memory; drops it if
    /// it is wrong.
    pub(in crate::reception) fn compare(
        &mut self,
        shape: &TreeShape,
        root: &Digest,
    ) -> Result<(), WrongHash> {
        let Some(held) = &mut self.held else { return Ok(()) };
        if held.proved || held.parent.is_some_and(|(page, _)| self.page.index != Some(page)) {
            return Ok(());
        }
        let bytes = self.held_bytes.get(..held.len).unwrap_or_default();
        let page = self.page.of(shape.layout().block_size);
        held.proved = tree::check(held.area, held.parent.map(|(_, entry)| (page, entry)), root, bytes);
        if held.proved {
            return Ok(());
        }
        let wrong = WrongHash { number: held.number, way: held.way };
        self.held = None;
        Err(wrong)
    }

    /// What must be done next for the held block or page.
    pub(in crate::reception) fn work_for_held(&self) -> Option<Doing> {
        let held = self.held.as_ref()?;
        Some(match held.parent {
            Some((page, _)) if !held.proved && self.page.index != Some(page) => Doing::LoadPage(page),
            _ => Doing::WriteHeld,
        })
    }

    pub(in crate::reception) fn write_task(&self, shape: &TreeShape) -> Option<Task<'_>> {
        let held = self.held.as_ref()?;
        let (offset, _) = shape.range_of(held.area, held.number)?;
        Some(Task::Write { area: held.area, offset, data: self.held_bytes.get(..held.len)? })
    }

    /// The held block or page is written, and counts as present. Returns how it came.
    pub(in crate::reception) fn written(&mut self, now: Instant) -> Option<Way> {
        let held = self.held.take()?;
        self.unsynced_since.get_or_insert(now);
        self.set_mut(held.area).insert(held.number);
        let set = if held.area == Area::Pages { &self.pages } else { &self.blocks };
        self.symbols.block_stored(held.area, held.number, set);
        if self.pages.is_full() {
            self.symbols.has_pages();
        }
        Some(held.way)
    }

    /// Takes a page that has been read.
    pub(in crate::reception) fn cache_page(&mut self, page: u32, bytes: &[u8]) {
        if let Some(target) = self.page.bytes.get_mut(..bytes.len()) {
            target.copy_from_slice(bytes);
            self.page.index = Some(page);
        }
    }

    /// A page cannot be read back: it counts as missing again, and the held block or page cannot be checked.
    pub(in crate::reception) fn lose_page(&mut self, page: u32) {
        self.pages.remove(page);
        self.held = None;
    }
}
