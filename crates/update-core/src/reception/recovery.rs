//! Reading back: the walk that finds what is intact after a restart (protocol.md \[journal\]), and the hash
//! of the whole image (protocol.md \[whole\]).

use super::vault::{Doing, ReadBack};
use super::{Event, Failure, Phase, Reception};
use crate::digest::{Digest, Hasher};
use crate::platform::{Area, Task};
use crate::time::Instant;

/// The walk: pages of the hash tree from the root down, then the image blocks that they prove.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    area: Area,
    next: u32,
}

impl Walk {
    pub(super) const fn new() -> Self {
        Self { area: Area::Pages, next: 0 }
    }

    /// Enters the next area; `false` if there is none.
    const fn enter_next_area(&mut self) -> bool {
        let had_pages = matches!(self.area, Area::Pages);
        if had_pages {
            *self = Self { area: Area::Image, next: 0 };
        }
        had_pages
    }
}

/// The hash of the whole image, read from storage.
#[derive(Debug, Clone)]
pub(super) struct Check {
    next: u32,
    hasher: Hasher,
    then: Then,
}

/// What follows if the whole image is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It is reported as ready.
    Report,
    /// It is activated, as this attempt.
    Activate(u32),
}

impl Check {
    pub(super) fn new(then: Then) -> Self {
        Self { next: 0, hasher: Hasher::new(), then }
    }

    /// Takes the next block; after the last one, the digest of the whole image and what follows.
    fn add(&mut self, bytes: &[u8], count: u32) -> Option<(Digest, Then)> {
        self.hasher.update(bytes);
        self.next += 1;
        (self.next >= count).then(|| (self.hasher.clone().finish(), self.then))
    }
}

impl Reception<'_> {
    /// Begins to read back everything, for example because storage can no longer be relied upon.
    pub(super) fn start_walk(&mut self) {
        self.vault.clear();
        self.received.begin_walk();
    }

    /// The next read of the walk or of the check. What cannot be present is skipped without a read.
    pub(super) fn next_examination(&mut self, now: Instant) -> Option<Doing> {
        let Some((walk, update)) = self.received.walk() else { return Some(Doing::Examine) };
        loop {
            if !update.shape().contains(walk.area, walk.next) {
                if walk.enter_next_area() {
                    continue;
                }
                break;
            }
            match self.vault.read_back(update.shape(), walk.area, walk.next) {
                ReadBack::Pointless => walk.next += 1,
                ReadBack::Page(page) => return Some(Doing::LoadPage(page)),
                ReadBack::Itself => return Some(Doing::Examine),
            }
        }
        self.walk_ended(now);
        None
    }

    fn walk_ended(&mut self, now: Instant) {
        let Some(id) = self.received.id() else { return };
        let (blocks, of) = self.vault.progress();
        self.vault.read_back_ended(now);
        self.received.walk_ended(self.vault.has_all(Area::Image));
        self.event(Event::Recovered { id, blocks, of });
    }

    pub(super) fn examination(&self) -> Option<Task<'_>> {
        let (area, number) = match self.received.phase() {
            Phase::Recovering(walk) => (walk.area, walk.next),
            Phase::Checking(check) => (Area::Image, check.next),
            _ => return None,
        };
        let (offset, len) = self.received.update()?.shape().range_of(area, number)?;
        Some(Task::Read { area, offset, len })
    }

    /// Takes what was read for the walk or the check; `None` if the read failed.
    pub(super) fn examined(&mut self, bytes: Option<&[u8]>) {
        match self.received.phase() {
            Phase::Recovering(_) => self.walked(bytes),
            Phase::Checking(_) => self.checked(bytes),
            _ => {}
        }
    }

    fn walked(&mut self, bytes: Option<&[u8]>) {
        let Some((walk, update)) = self.received.walk() else { return };
        let (area, number) = (walk.area, walk.next);
        walk.next += 1;
        if let Some(bytes) = bytes {
            self.vault.examined(update.shape(), &update.offer().tree_root, area, number, bytes);
        }
    }

    fn checked(&mut self, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else {
            // A stored block cannot be read: find out what is still intact.
            return self.start_walk();
        };
        let Some((check, update)) = self.received.check() else { return };
        let (id, count) = (update.id(), update.shape().count_of(Area::Image));
        let Some((digest, then)) = check.add(bytes, count) else { return };
        match (digest == update.offer().image_digest, then) {
            (true, Then::Report) => {
                self.received.ready();
                self.event(Event::Verified(id));
            }
            (true, Then::Activate(attempt)) => self.activate(attempt),
            // Every block was read back and matched the signed tree, but the signed digest itself does not
            // fit the image.
            (false, _) if self.received.doubt_digest() => self.give_up(Failure::ImageDigest),
            // Storage may have changed since it was found right. The walk finds where, and the rest is
            // repaired.
            (false, _) => self.start_walk(),
        }
    }
}
