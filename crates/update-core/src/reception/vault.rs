//! What is stored of the update, and what the platform is doing about it. Nothing is written before its hash
//! has been checked (protocol.md \[tree\]).

mod changes;
mod held;
mod made;
#[cfg(feature = "parity")]
mod making;
#[cfg(feature = "parity")]
mod symbols;
#[cfg(not(feature = "parity"))]
#[path = "vault/no_symbols.rs"]
mod symbols;

pub(super) use changes::Change;
pub(super) use held::{Hold, Way, WrongHash};

use super::Memory;
use crate::block::BlockSize;
use crate::block_set::BlockSet;
use crate::census::Window;
use crate::digest::Digest;
use crate::limits::{BLOCK_BYTES_MAX, RECORD_BYTES_MAX, STORAGE_FAILURES_MAX, STORAGE_PAUSE, SYNC_WITHIN};
use crate::platform::{Area, Record, Task};
use crate::time::Instant;
use crate::tree::{self, TreeShape};
use changes::Changes;
use held::Held;
use symbols::Symbols;

/// The stored blocks and pages, the one on its way to storage, and the medium.
#[derive(Debug)]
pub(super) struct Vault<'m> {
    /// Image blocks present; an empty set if there is no update.
    blocks: BlockSet<'m>,
    /// Pages of the hash tree present.
    pages: BlockSet<'m>,
    /// Parity symbols for missing pages or blocks.
    symbols: Symbols<'m>,
    /// A block or page that has arrived and is not yet stored.
    held: Option<Held>,
    held_bytes: [u8; BLOCK_BYTES_MAX as usize],
    page: CachedPage,
    /// What the platform is doing.
    doing: Option<Doing>,
    changes: Changes,
    /// When the first byte that is not yet durable was written.
    unsynced_since: Option<Instant>,
    /// Consecutive failures of the medium, and until when it rests after the last one.
    failures_in_a_row: u8,
    rests_until: Option<Instant>,
    /// Failed syncs of this update. Each one starts it over.
    failed_syncs: u8,
    record: [u8; RECORD_BYTES_MAX],
}

/// The task that the platform is carrying out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    SaveCounters,
    Change(Change),
    Sync,
    Activate,
    /// Reads a page into the cache.
    LoadPage(u32),
    WriteHeld,
    /// Reads a block in order to take it out of parity symbols.
    TakeOut(Area, u32),
    /// Reads for the walk or the check.
    Examine,
}

/// What must be read before a block or page in storage can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadBack {
    /// Nothing: without the page that holds its hash, reading it proves nothing.
    Pointless,
    /// The page that holds its hash.
    Page(u32),
    /// The block or page itself.
    Itself,
}

/// The page of the hash tree that was last needed.
#[derive(Debug)]
struct CachedPage {
    index: Option<u32>,
    bytes: [u8; BLOCK_BYTES_MAX as usize],
}

impl CachedPage {
    /// The page, for pages of this size.
    fn of(&self, size: BlockSize) -> &[u8] {
        self.bytes.get(..size.bytes() as usize).unwrap_or_default()
    }
}

impl<'m> Vault<'m> {
    /// `None` when `memory` is empty.
    pub(super) fn new(memory: Memory<'m>) -> Option<Self> {
        Some(Self {
            blocks: BlockSet::new(memory.blocks, 0)?,
            pages: BlockSet::new(memory.pages, 0)?,
            symbols: Symbols::new(memory.parity),
            held: None,
            held_bytes: [0; BLOCK_BYTES_MAX as usize],
            page: CachedPage { index: None, bytes: [0; BLOCK_BYTES_MAX as usize] },
            doing: None,
            changes: Changes::default(),
            unsynced_since: None,
            failures_in_a_row: 0,
            rests_until: None,
            failed_syncs: 0,
            record: [0; RECORD_BYTES_MAX],
        })
    }

    pub(super) fn has_room_for(&self, shape: &TreeShape) -> bool {
        [Area::Image, Area::Pages].iter().all(|area| self.set(*area).capacity() >= shape.count_of(*area))
    }

    /// Makes room for a new update, of which nothing is stored; `false` if the memory for its two sets is too
    /// small.
    pub(super) fn start(&mut self, shape: &TreeShape) -> bool {
        let fits =
            self.blocks.reset(shape.count_of(Area::Image)) && self.pages.reset(shape.count_of(Area::Pages));
        self.symbols.forget();
        if fits {
            self.held = None;
            self.page.index = None;
            self.unsynced_since = None;
            self.failures_in_a_row = 0;
            self.failed_syncs = 0;
        }
        fits
    }

    /// Image blocks stored, and how many the image has.
    pub(super) const fn progress(&self) -> (u32, u32) {
        (self.blocks.len(), self.blocks.count())
    }

    /// Whether every block and page is stored.
    pub(super) const fn is_whole(&self) -> bool {
        self.pages.is_full() && self.blocks.is_full()
    }

    pub(super) fn has_all(&self, area: Area) -> bool {
        self.set(area).is_full()
    }

    /// How many blocks or pages are missing.
    pub(super) fn missing(&self, area: Area) -> u32 {
        let set = self.set(area);
        set.count() - set.len()
    }

    pub(super) fn next_missing(&self, area: Area, from: u32) -> Option<u32> {
        self.set(area).next_missing(from)
    }

    pub(super) fn misses_in(&self, window: Window) -> bool {
        self.next_missing(window.area, window.first)
            .is_some_and(|missing| missing < window.first + window.count)
    }

    pub(super) fn write_missing(&self, window: Window, out: &mut [u8]) {
        self.set(window.area).write_missing_bitmap(window.first, window.count, out);
    }

    fn set(&self, area: Area) -> &BlockSet<'m> {
        match area {
            Area::Image => &self.blocks,
            Area::Pages => &self.pages,
        }
    }

    fn set_mut(&mut self, area: Area) -> &mut BlockSet<'m> {
        match area {
            Area::Image => &mut self.blocks,
            Area::Pages => &mut self.pages,
        }
    }
}

/// Reading back.
impl Vault<'_> {
    /// Nothing counts as present until it has been read back.
    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        self.pages.clear();
        self.symbols.clear();
        self.page.index = None;
        self.unsynced_since = None;
    }

    /// Like [`clear`](Self::clear), for areas that are being emptied.
    pub(super) fn begin_anew(&mut self) {
        self.clear();
        self.held = None;
        self.changes.insert(Change::Prepare);
    }

    pub(super) fn read_back(&self, shape: &TreeShape, area: Area, number: u32) -> ReadBack {
        match shape.parent_of(area, number) {
            Some((page, _)) if !self.pages.contains(page) => ReadBack::Pointless,
            Some((page, _)) if self.page.index != Some(page) => ReadBack::Page(page),
            _ => ReadBack::Itself,
        }
    }

    /// A block or page was read back: it counts as present if its hash is right.
    pub(super) fn examined(
        &mut self,
        shape: &TreeShape,
        root: &Digest,
        area: Area,
        number: u32,
        bytes: &[u8],
    ) {
        let page = self.page.of(shape.layout().block_size);
        let parent = shape.parent_of(area, number).map(|(_, entry)| (page, entry));
        if tree::check(area, parent, root, bytes) {
            self.set_mut(area).insert(number);
        }
    }

    /// Everything has been read back.
    pub(super) const fn read_back_ended(&mut self, now: Instant) {
        // Without a root page nothing in the areas can be relied upon, including their size.
        if self.pages.is_empty() {
            self.changes.insert(Change::Prepare);
        } else {
            self.changes.remove(Change::Prepare);
        }
        // If only the program ended, what was read may not have reached the medium yet.
        self.unsynced_since = Some(now);
    }
}

/// What is not yet durable.
impl Vault<'_> {
    pub(super) const fn order(&mut self, change: Change) {
        self.changes.insert(change);
    }

    pub(super) const fn withdraw(&mut self, change: Change) {
        self.changes.remove(change);
    }

    pub(super) const fn is_ordered(&self, change: Change) -> bool {
        self.changes.contains(change)
    }

    pub(super) const fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The next change to carry out, which is then in progress.
    pub(super) fn begin_change(&mut self) -> Option<Change> {
        let change = self.changes.take_first()?;
        self.begin(Doing::Change(change));
        Some(change)
    }

    /// The task that stores a record. `encode` writes its content and returns its length.
    pub(super) fn save_task(
        &mut self,
        record: Record,
        encode: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Task<'_> {
        let len = encode(&mut self.record).unwrap_or(0);
        Task::Save { record, bytes: self.record.get(..len).unwrap_or_default() }
    }

    /// Whether written bytes must become durable now (protocol.md \[synced\]). `urgent`: something already
    /// relies on them.
    pub(super) fn sync_due(&self, now: Instant, urgent: bool) -> bool {
        self.unsynced_since.is_some_and(|since| urgent || now.since(since) >= SYNC_WITHIN)
    }

    pub(super) fn sync_deadline(&self) -> Option<Instant> {
        self.unsynced_since.map(|since| since + SYNC_WITHIN)
    }

    pub(super) const fn is_unsynced(&self) -> bool {
        self.unsynced_since.is_some()
    }

    /// Written bytes are durable, or nothing relies on them any more.
    pub(super) const fn synced(&mut self) {
        self.unsynced_since = None;
    }

    /// A sync has failed. `true` if that has happened too often.
    pub(super) const fn sync_failed(&mut self) -> bool {
        self.unsynced_since = None;
        self.failed_syncs = self.failed_syncs.saturating_add(1);
        self.failed_syncs >= STORAGE_FAILURES_MAX
    }
}

/// The medium.
impl Vault<'_> {
    pub(super) const fn begin(&mut self, doing: Doing) {
        self.doing = Some(doing);
    }

    pub(super) const fn is_doing(&self) -> bool {
        self.doing.is_some()
    }

    pub(super) const fn end(&mut self) -> Option<Doing> {
        self.doing.take()
    }

    pub(super) const fn succeeded(&mut self) {
        self.failures_in_a_row = 0;
    }

    /// The medium has failed and rests for a while. `true` if that has happened too often in a row.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.rests_until = Some(now + STORAGE_PAUSE * (1 << (self.failures_in_a_row - 1).min(7)));
        self.failures_in_a_row >= STORAGE_FAILURES_MAX
    }

    /// Until when the medium rests.
    pub(super) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.rests_until.filter(|until| *until > now)
    }
}
