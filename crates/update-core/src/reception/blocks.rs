//! From a block's bytes to storage: nothing is written before its hash is right (DESIGN \[tree\]).

use super::{Doing, Failure, Phase, Reception};
use crate::block::{BlockNumber, BlockSize};
use crate::limits::{BLOCK_BYTES_MAX, STORAGE_FAILURES_MAX, STORAGE_PAUSE};
use crate::platform::{Area, Done, Task};
use crate::record::Outcome;
use crate::time::Instant;
use crate::tree::{check_block, check_page, check_root};
use coap_wire::Block;

/// A block or page in the one buffer, on its way to storage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) area: Area,
    pub(super) number: u32,
    pub(super) len: usize,
    /// The page that has its hash, and where in it; `None` for the root page.
    pub(super) parent: Option<(u32, usize)>,
    pub(super) multicast: bool,
    /// Its hash has been compared and is right.
    pub(super) proved: bool,
}

impl Held {
    /// The page to read before the hash can be compared.
    pub(super) fn parent_to_load(&self, cache: &CachedPage) -> Option<u32> {
        let (page, _) = self.parent?;
        (!self.proved && cache.index != Some(page)).then_some(page)
    }
}

/// The page of the hash tree that was needed last.
#[derive(Debug)]
pub(super) struct CachedPage {
    pub(super) index: Option<u32>,
    pub(super) bytes: [u8; BLOCK_BYTES_MAX as usize],
}

impl Default for CachedPage {
    fn default() -> Self {
        Self { index: None, bytes: [0; BLOCK_BYTES_MAX as usize] }
    }
}

impl CachedPage {
    /// The page, where pages have this size.
    pub(super) fn of(&self, size: BlockSize) -> &[u8] {
        self.bytes.get(..size.bytes() as usize).unwrap_or_default()
    }
}

impl Reception<'_> {
    /// Takes a block or page into the one buffer if it is still missing and its hash can be compared.
    pub(super) fn take_block(&mut self, area: Area, block: Block, payload: &[u8], multicast: bool) {
        let Some(update) = self.update.as_ref().filter(|_| matches!(self.phase, Phase::Receiving)) else {
            return;
        };
        let layout = update.offer.layout;
        let (len, last) = match area {
            Area::Image => match layout.block_range(BlockNumber(block.number)) {
                Some((_, len)) => (len, layout.is_last(BlockNumber(block.number))),
                None => return self.counters.malformed += 1,
            },
            Area::Pages => {
                (layout.block_size.bytes() as usize, block.number + 1 == update.shape.page_count())
            }
        };
        let right_shape = block.size_exponent == layout.block_size.exponent()
            && payload.len() == len
            && block.more != last
            && (area == Area::Image || block.number < update.shape.page_count());
        if !right_shape {
            self.counters.malformed += 1;
            return;
        }
        let parent = match area {
            Area::Image => update.shape.entry_of_leaf(BlockNumber(block.number)),
            Area::Pages => update.shape.parent(block.number),
        };
        if self.set(area).contains(block.number) {
            self.counters.duplicates += 1;
            return;
        }
        if parent.is_some_and(|(page, _)| !self.pages.contains(page)) {
            self.counters.without_page += 1;
            // Where it is the pages' turn, the next census asks for those that are missing.
            self.fetch.page_wanted |= area == Area::Image;
            return;
        }
        let Some(target) = self.held_bytes.get_mut(..len) else { return };
        target.copy_from_slice(payload);
        self.held = Some(Held { area, number: block.number, len, parent, multicast, proved: false });
    }

    /// Compares the hash of what is held as soon as the page that has it is at hand; drops it if it is wrong.
    pub(super) fn compare_held(&mut self, now: Instant) {
        let (Some(held), Some(update)) = (&mut self.held, &self.update) else { return };
        if held.proved || held.parent_to_load(&self.page).is_some() {
            return;
        }
        let bytes = self.held_bytes.get(..held.len).unwrap_or_default();
        let page = self.page.of(update.offer.layout.block_size);
        let right = match (held.parent, held.area) {
            (None, _) => check_root(&update.offer.tree_root, bytes),
            (Some((_, entry)), Area::Pages) => check_page(page, entry, bytes),
            (Some((_, entry)), Area::Image) => check_block(page, entry, bytes),
        };
        if right {
            held.proved = true;
        } else {
            let multicast = held.multicast;
            self.held = None;
            self.counters.hash_mismatches += 1;
            if !multicast && self.fetched_in_vain(now) {
                // The distributor compares what it sends, so it may be a page here that has changed.
                self.start_walk();
            }
        }
    }

    pub(super) fn set(&self, area: Area) -> &crate::block_set::BlockSet<'_> {
        match area {
            Area::Image => &self.blocks,
            Area::Pages => &self.pages,
        }
    }

    /// The task that stands for this work; `None` when there is none after all.
    pub(super) fn task(&self, doing: Doing) -> Option<Task<'_>> {
        let update = self.update.as_ref()?;
        let block_bytes = update.offer.layout.block_size.bytes();
        Some(match doing {
            Doing::LoadPage(page) => {
                Task::Read { area: Area::Pages, offset: page * block_bytes, len: block_bytes as usize }
            }
            Doing::WriteHeld => {
                let held = self.held.as_ref()?;
                Task::Write {
                    area: held.area,
                    offset: held.number * block_bytes,
                    data: self.held_bytes.get(..held.len)?,
                }
            }
            Doing::Sync => Task::Sync,
            Doing::Activate => Task::Activate {
                image_bytes: update.offer.layout.image_size.bytes(),
                digest: &update.offer.digest.0,
            },
            Doing::Examine => self.examination()?,
            Doing::SaveCounters
            | Doing::SaveUpdate
            | Doing::SaveInstalled
            | Doing::Prepare
            | Doing::RollBack
            | Doing::Settle => {
                return None;
            }
        })
    }

    /// A task has ended.
    pub(super) fn on_done(&mut self, now: Instant, done: Done, bytes: &[u8]) {
        let Some(doing) = self.doing.take() else {
            debug_assert!(false, "a task ended that was not under way");
            return;
        };
        if matches!(done, Done::Failed(_)) {
            return self.on_failure(now, doing);
        }
        self.storage_failures = 0;
        match doing {
            Doing::SaveCounters => self.counters_saved(),
            Doing::LoadPage(page) => self.cache_page(page, bytes),
            Doing::WriteHeld => self.held_written(now),
            Doing::Sync => self.unsynced_since = None,
            Doing::Examine => self.examined(Some(bytes)),
            Doing::Activate => self.switched(false),
            Doing::Prepare | Doing::SaveUpdate | Doing::SaveInstalled | Doing::RollBack | Doing::Settle => {}
        }
    }

    /// The medium has failed: after a pause the same is tried again, and given up after a few times in a row
    /// where the device can do without it.
    fn on_failure(&mut self, now: Instant, doing: Doing) {
        self.counters.storage_failures += 1;
        self.storage_failures = self.storage_failures.saturating_add(1);
        self.rests_until = Some(now + STORAGE_PAUSE * (1 << (self.storage_failures - 1).min(7)));
        let hopeless = self.storage_failures >= STORAGE_FAILURES_MAX;
        match doing {
            Doing::LoadPage(page) if hopeless => self.forget_page(page),
            Doing::Examine if hopeless => self.examined(None),
            Doing::WriteHeld | Doing::Prepare if hopeless => self.storage_failed_for_good(now),
            // Nobody can tell which of the bytes written since the last sync are lost.
            Doing::Sync => self.start_over(now),
            Doing::Activate => self.switched(true),
            Doing::SaveUpdate => self.update_not_saved(now, hopeless),
            // The old image's right to return rests on these two.
            Doing::SaveInstalled => self.saves.installed = true,
            Doing::Settle => self.saves.settle = true,
            Doing::RollBack => self.saves.roll_back = true,
            Doing::Prepare => self.saves.prepare = true,
            Doing::SaveCounters | Doing::LoadPage(_) | Doing::WriteHeld | Doing::Examine => {}
        }
    }

    fn update_not_saved(&mut self, now: Instant, hopeless: bool) {
        let outcome = self.update.as_ref().map(|update| update.outcome);
        match outcome {
            // It may be forgotten: the next start finds the update open and fails again, or does not.
            Some(Outcome::Failed(_)) if hopeless => {}
            // The attempt of an order to go back, which goes on without it.
            Some(Outcome::Open) if hopeless && matches!(self.phase, Phase::Trial) => {}
            Some(Outcome::Open) if hopeless && matches!(self.phase, Phase::Activating) => self.switched(true),
            Some(Outcome::Open) if hopeless => self.storage_failed_for_good(now),
            _ => self.saves.update = true,
        }
    }

    pub(super) fn cache_page(&mut self, page: u32, bytes: &[u8]) {
        if let Some(target) = self.page.bytes.get_mut(..bytes.len()) {
            target.copy_from_slice(bytes);
            self.page.index = Some(page);
        }
    }

    /// A page cannot be read back: it is missing again, and what is held cannot be compared.
    fn forget_page(&mut self, page: u32) {
        self.pages.remove(page);
        self.held = None;
    }

    fn held_written(&mut self, now: Instant) {
        let Some(held) = self.held.take() else { return };
        self.unsynced_since.get_or_insert(now);
        match held.area {
            Area::Image => self.blocks.insert(held.number),
            Area::Pages => self.pages.insert(held.number),
        };
        if held.multicast {
            self.counters.stored_multicast += 1;
        } else {
            self.counters.stored_unicast += 1;
            self.fetch.in_vain = 0;
        }
    }

    /// Begins anew with empty areas, a few times.
    fn start_over(&mut self, now: Instant) {
        self.unsynced_since = None;
        self.sync_failures = self.sync_failures.saturating_add(1);
        if self.sync_failures >= STORAGE_FAILURES_MAX {
            self.storage_failed_for_good(now);
        } else if matches!(self.phase, Phase::Receiving | Phase::Recovering(_) | Phase::Checking(_)) {
            self.blocks.clear();
            self.pages.clear();
            self.page.index = None;
            self.held = None;
            self.saves.prepare = true;
            self.phase = Phase::Receiving;
        }
    }

    fn storage_failed_for_good(&mut self, now: Instant) {
        self.unsynced_since = None;
        if !matches!(self.phase, Phase::Idle | Phase::Trial | Phase::Ended) {
            self.failed_at = Some(now);
            self.give_up(Failure::Storage);
        }
    }
}
