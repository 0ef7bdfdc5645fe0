//! Reading back: the walk that finds after a restart what is whole (DESIGN \[journal\]), and the hash over
//! the whole image (DESIGN \[whole\]).

use super::{Doing, Event, Failure, Phase, Reception};
use crate::block::BlockNumber;
use crate::digest::Hasher;
use crate::platform::{Area, Task};
use crate::time::Instant;
use crate::tree::{check_block, check_page, check_root};

/// The walk: pages of the hash tree from the root downwards, then the image blocks that they prove.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    area: Area,
    next: u32,
}

impl Walk {
    pub(super) const fn new() -> Self {
        Self { area: Area::Pages, next: 0 }
    }
}

/// The hash over the whole image, read from storage.
#[derive(Debug, Clone)]
pub(super) struct Check {
    next: u32,
    hasher: Hasher,
    then: Then,
}

/// What follows when the whole image is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It can be reported as ready.
    Report,
    /// It is activated, as this attempt.
    Activate(u32),
}

impl Check {
    pub(super) fn new(then: Then) -> Self {
        Self { next: 0, hasher: Hasher::new(), then }
    }
}

impl Reception<'_> {
    /// Starts to read back everything, for example because what storage says can no longer be relied upon.
    pub(super) fn start_walk(&mut self) {
        self.blocks.clear();
        self.pages.clear();
        self.page.index = None;
        self.unsynced_since = None;
        self.phase = Phase::Recovering(Walk::new());
    }

    /// The next read of the walk or of the check; what cannot be there is passed over without a read.
    pub(super) fn next_examination(&mut self, now: Instant) -> Option<Doing> {
        let Some(update) = &self.update else { return None };
        let Phase::Recovering(walk) = &mut self.phase else { return Some(Doing::Examine) };
        loop {
            let parent = match walk.area {
                Area::Pages if walk.next >= update.shape.page_count() => {
                    *walk = Walk { area: Area::Image, next: 0 };
                    continue;
                }
                Area::Pages => update.shape.parent(walk.next),
                Area::Image if walk.next >= self.blocks.count() => break,
                Area::Image => update.shape.entry_of_leaf(BlockNumber(walk.next)),
            };
            match parent {
                Some((page, _)) if !self.pages.contains(page) => walk.next += 1,
                Some((page, _)) if self.page.index != Some(page) => return Some(Doing::LoadPage(page)),
                _ => return Some(Doing::Examine),
            }
        }
        self.walk_ended(now);
        None
    }

    fn walk_ended(&mut self, now: Instant) {
        let Some(update) = &self.update else { return };
        let (id, of) = (update.offer.id, self.blocks.count());
        // Without a root page nothing in the areas can be relied upon, their size included.
        self.saves.prepare = self.pages.is_empty();
        self.digest_doubted &= self.blocks.is_full();
        // After the end of a program alone, what was read may still wait to be written to the medium.
        self.unsynced_since = Some(now);
        self.phase = Phase::Receiving;
        self.event(Event::Recovered { id, blocks: self.blocks.len(), of });
    }

    pub(super) fn examination(&self) -> Option<Task<'_>> {
        let layout = self.update.as_ref()?.offer.layout;
        let block_bytes = layout.block_size.bytes();
        let (area, number) = match &self.phase {
            Phase::Recovering(walk) => (walk.area, walk.next),
            Phase::Checking(check) => (Area::Image, check.next),
            _ => return None,
        };
        let len = match area {
            Area::Image => layout.block_range(BlockNumber(number))?.1,
            Area::Pages => block_bytes as usize,
        };
        Some(Task::Read { area, offset: number * block_bytes, len })
    }

    /// What was read for the walk or the check; `None` when it could not be read.
    pub(super) fn examined(&mut self, bytes: Option<&[u8]>) {
        match &self.phase {
            Phase::Recovering(_) => self.walked(bytes),
            Phase::Checking(_) => self.checked(bytes),
            _ => {}
        }
    }

    fn walked(&mut self, bytes: Option<&[u8]>) {
        let (Phase::Recovering(walk), Some(update)) = (&mut self.phase, &self.update) else { return };
        let (area, number) = (walk.area, walk.next);
        walk.next += 1;
        let Some(bytes) = bytes else { return };
        let page = self.page.of(update.offer.layout.block_size);
        let right = match area {
            Area::Pages => match update.shape.parent(number) {
                None => check_root(&update.offer.tree_root, bytes),
                Some((_, entry)) => check_page(page, entry, bytes),
            },
            Area::Image => update
                .shape
                .entry_of_leaf(BlockNumber(number))
                .is_some_and(|(_, entry)| check_block(page, entry, bytes)),
        };
        if right {
            match area {
                Area::Pages => self.pages.insert(number),
                Area::Image => self.blocks.insert(number),
            };
        }
    }

    fn checked(&mut self, bytes: Option<&[u8]>) {
        let Phase::Checking(check) = &mut self.phase else { return };
        let Some(bytes) = bytes else {
            // A block that was stored cannot be read: find out what is still there.
            return self.start_walk();
        };
        check.hasher.update(bytes);
        check.next += 1;
        if check.next < self.blocks.count() {
            return;
        }
        let (digest, then) = (check.hasher.clone().finish(), check.then);
        let Some(update) = &self.update else { return };
        let id = update.offer.id;
        match (digest == update.offer.image_digest, then) {
            (true, Then::Report) => {
                self.phase = Phase::Ready;
                self.event(Event::Verified(id));
            }
            (true, Then::Activate(attempt)) => self.activate(attempt),
            // Every block was read back and matched the signed tree, and yet: the signed digest itself does
            // not fit the image.
            (false, _) if self.digest_doubted => self.give_up(Failure::ImageDigest),
            // Storage may have changed since it was found right: the walk finds where, and the rest is
            // repaired.
            (false, _) => {
                self.digest_doubted = true;
                self.start_walk();
            }
        }
    }
}
