//! A block's way from its bytes to storage, and what follows when a task has ended.

use super::vault::{Change, Doing, Hold, Way, WrongHash};
use super::{Failure, Obstacle, Output, Phase, Reception};
use crate::platform::{Area, Done, Record, Task};
use crate::record::Outcome;
use crate::time::Instant;
use coap_wire::Block;

impl Reception<'_> {
    /// Takes a block or page into the one buffer if it is still missing and its hash can be compared; `false`
    /// when that cannot be.
    pub(super) fn take_block(&mut self, area: Area, block: Block, payload: &[u8], way: Way) -> bool {
        let Some(update) = self.received.update().filter(|_| self.received.is_receiving()) else {
            return true;
        };
        let shape = update.shape();
        let range = shape.range_of(area, block.number);
        let right_shape = block.size_exponent == shape.layout().block_size.exponent()
            && range.is_some_and(|(_, len)| len == payload.len())
            && block.more == shape.contains(area, block.number + 1);
        if !right_shape {
            self.counted.unfitting_block();
            return false;
        }
        match self.vault.hold(shape, area, block.number, payload, way) {
            Hold::Taken => {}
            Hold::Duplicate => self.counted.duplicate(),
            Hold::WithoutPage => {
                self.counted.without_page();
                if area == Area::Image {
                    // If pages are due now, the next census asks for the missing ones.
                    self.fetch.want_pages();
                }
                return false;
            }
        }
        true
    }

    /// Takes a parity symbol of the current update.
    pub(super) fn take_symbol(&mut self, area: Area, block: Block, payload: &[u8]) {
        let Some(update) = self.received.update().filter(|_| self.received.is_receiving()) else { return };
        let size_exponent = update.shape().layout().block_size.exponent();
        if block.size_exponent != size_exponent || !self.vault.take_symbol(area, block.number, payload) {
            self.counted.unfitting_block();
        }
    }

    /// Holds the next block that was made from parity symbols.
    pub(super) fn hold_made(&mut self) {
        if let Some(update) = self.received.update().filter(|_| self.received.is_receiving()) {
            self.vault.hold_made(update.shape());
        }
    }

    /// Compares the hash of the held block or page as soon as the page with its hash is in memory.
    pub(super) fn compare_held(&mut self, now: Instant) {
        let Some(update) = self.received.update() else { return };
        let compared = self.vault.compare(update.shape(), &update.offer().tree_root);
        if let Err(WrongHash { number, way }) = compared {
            self.counted.hash_mismatch();
            if way == Way::Parity {
                self.vault.spoil(number);
            }
            if way == Way::Unicast && self.fetch.was_in_vain(now, Obstacle::WrongHash) {
                // The distributor compares what it sends, so a page stored here may have changed.
                self.start_walk();
            }
        }
    }

    /// The task for this work; `None` if there turns out to be none.
    pub(super) fn task(&self, doing: Doing) -> Option<Task<'_>> {
        let update = self.received.update()?;
        Some(match doing {
            Doing::LoadPage(page) => {
                let (offset, len) = update.shape().range_of(Area::Pages, page)?;
                Task::Read { area: Area::Pages, offset, len }
            }
            Doing::WriteHeld => self.vault.write_task(update.shape())?,
            Doing::Sync => Task::Sync,
            Doing::Activate => Task::Activate {
                image_bytes: update.offer().layout.image_size.bytes(),
                digest: &update.offer().digest.0,
            },
            Doing::Examine => self.examination()?,
            Doing::TakeOut(area, number) => {
                let (offset, len) = update.shape().range_of(area, number)?;
                Task::Read { area, offset, len }
            }
            Doing::SaveCounters | Doing::Change(_) => return None,
        })
    }

    /// The task of the next change that is due.
    pub(super) fn carry_out_change(&mut self) -> Option<Output<'_>> {
        let (received, installed) = (&self.received, self.config.device.installed);
        let left = self.allowances.left();
        Some(Output::Task(match self.vault.begin_change()? {
            Change::Installed => self.vault.save_task(Record::Installed, |out| {
                installed.and_then(|installed| crate::record::encode_installed(&installed, out))
            }),
            Change::Update => self.vault.save_task(Record::Update, |out| received.encode(left, out)),
            Change::RollBack => Task::RollBack,
            Change::Prepare => {
                let (image_bytes, page_bytes) = received.update().map_or((0, 0), |update| {
                    let layout = update.shape().layout();
                    let page_bytes = update.shape().page_count() * layout.block_size.bytes();
                    (layout.image_size.bytes(), page_bytes)
                });
                Task::Prepare { image_bytes, page_bytes }
            }
            Change::Settle => Task::Settle,
        }))
    }

    /// Handles the end of a task.
    pub(super) fn on_done(&mut self, now: Instant, done: Done, bytes: &[u8]) {
        let Some(doing) = self.vault.end() else {
            debug_assert!(false, "a task ended that was not in progress");
            return;
        };
        if matches!(done, Done::Failed(_)) {
            return self.on_failure(now, doing);
        }
        self.vault.succeeded();
        match doing {
            Doing::SaveCounters => self.channel.saved(),
            Doing::LoadPage(page) => self.vault.cache_page(page, bytes),
            Doing::WriteHeld => self.held_written(now),
            Doing::Sync => self.vault.synced(),
            Doing::Examine => self.examined(Some(bytes)),
            Doing::TakeOut(..) => self.vault.take_out(bytes),
            Doing::Activate => self.switched(false),
            Doing::Change(_) => {}
        }
    }

    /// Handles a failure of the medium. The same work is tried again after a pause. After a few consecutive
    /// failures it is abandoned, if the device can do without it.
    fn on_failure(&mut self, now: Instant, doing: Doing) {
        self.counted.storage_failure();
        let hopeless = self.vault.failed(now);
        match doing {
            Doing::LoadPage(page) if hopeless => self.vault.lose_page(page),
            Doing::Examine if hopeless => self.examined(None),
            Doing::TakeOut(..) if hopeless => self.vault.end_making(),
            Doing::WriteHeld | Doing::Change(Change::Prepare) if hopeless => {
                self.storage_failed_for_good(now);
            }
            // It is unknown which of the bytes written since the last sync are lost.
            Doing::Sync => self.start_over(now),
            Doing::Activate => self.switched(true),
            Doing::Change(Change::Update) => self.update_not_saved(now, hopeless),
            // Whether the old image may return depends on the record of what is installed and on settling.
            Doing::Change(change) => self.vault.order(change),
            Doing::SaveCounters
            | Doing::LoadPage(_)
            | Doing::WriteHeld
            | Doing::Examine
            | Doing::TakeOut(..) => {}
        }
    }

    fn update_not_saved(&mut self, now: Instant, hopeless: bool) {
        let outcome = self.received.update().map(super::received::Update::outcome);
        match (outcome, self.received.phase()) {
            // This record may be lost: the next start finds the update open, and fails again or succeeds.
            (Some(Outcome::Failed(_)), _) if hopeless => {}
            // This is the attempt of an order to go back. The order continues without it.
            (Some(Outcome::Open), Phase::Trial) if hopeless => {}
            (Some(Outcome::Open), Phase::Activating) if hopeless => self.switched(true),
            (Some(Outcome::Open), _) if hopeless => self.storage_failed_for_good(now),
            _ => self.vault.order(Change::Update),
        }
    }

    fn held_written(&mut self, now: Instant) {
        let Some(way) = self.vault.written(now) else { return };
        self.counted.stored(way);
        if way == Way::Unicast {
            self.fetch.was_of_use();
        }
    }

    /// Starts over with empty areas, a few times at most.
    fn start_over(&mut self, now: Instant) {
        if self.vault.sync_failed() {
            self.storage_failed_for_good(now);
        } else if self.received.is_receiving() || self.received.is_examining() {
            self.vault.begin_anew();
            self.received.receive();
        }
    }

    fn storage_failed_for_good(&mut self, now: Instant) {
        self.vault.synced();
        if !matches!(self.received.phase(), Phase::Idle | Phase::Trial | Phase::Ended) {
            self.received.storage_failed(now);
            self.give_up(Failure::Storage);
        }
    }
}
