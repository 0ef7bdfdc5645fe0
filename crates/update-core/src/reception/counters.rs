//! The two counters' bounds, stored before anything relies on them (protocol.md \[reserve\], [bound]).

use super::vault::Doing;
use super::{Output, Reception};
use crate::limits::{AGENT_RESERVE_LOW, AGENT_RESERVE_STEP, FLOOR_AHEAD};
use crate::platform::Record;
use crate::record::CounterBounds;
use group_oscore::Reservation;

/// What is stored of the two counters, and what is being stored.
#[derive(Debug)]
pub(super) struct Bounds {
    /// The stored floor: Partial IVs below it may have been accepted.
    pub(super) floor: u64,
    saving_floor: u64,
    saving: Option<Reservation>,
    /// A planned end: the exact numbers are stored once more ...
    exact: bool,
    /// ... and then nothing is sent or accepted any more.
    pub(super) closed: bool,
}

impl Bounds {
    pub(super) const fn new(floor: u64) -> Self {
        Self { floor, saving_floor: floor, saving: None, exact: false, closed: false }
    }
}

impl Reception<'_> {
    pub(super) fn counters_due(&self) -> bool {
        let due = self.context.reservation_due(AGENT_RESERVE_LOW, AGENT_RESERVE_STEP).is_some()
            || self.floor_due().is_some();
        self.bounds.exact || (due && !self.bounds.closed)
    }

    fn floor_due(&self) -> Option<u64> {
        self.context.recipients().first()?.window().floor_due(self.bounds.floor, FLOOR_AHEAD)
    }

    /// The number above the highest Partial IV accepted from the distributor; after a reboot, what the stored
    /// floor proves of it.
    pub(super) fn distributor_next(&self) -> u64 {
        let highest = self.context.recipients().first().and_then(|recipient| recipient.window().highest());
        highest.map_or(self.config.floor.saturating_sub(FLOOR_AHEAD), |highest| highest + 1)
    }

    /// Before a planned end of the program: stores the exact numbers, so that nothing is skipped at the next
    /// start, and makes durable what was written. Poll until it waits for ever; nothing is sent or accepted
    /// any more.
    pub fn close(&mut self) {
        self.bounds.exact = true;
        self.bounds.closed = true;
    }

    pub(super) fn save_counters(&mut self) -> Output<'_> {
        let exact = core::mem::take(&mut self.bounds.exact);
        self.bounds.saving = self.context.reservation_due(AGENT_RESERVE_LOW, AGENT_RESERVE_STEP);
        self.bounds.saving_floor = self.floor_due().unwrap_or(self.bounds.floor);
        let mut reserved_end = self.context.next_sequence_number() + self.context.remaining();
        if let Some(reservation) = &self.bounds.saving {
            reserved_end = reservation.end;
        }
        if exact {
            self.bounds.saving = None;
            reserved_end = self.context.next_sequence_number();
            // Not below what a reboot before this one has proved.
            let highest =
                self.context.recipients().first().and_then(|recipient| recipient.window().highest());
            self.bounds.saving_floor = highest.map_or(self.bounds.floor, |highest| highest + 1);
        }
        let bounds =
            CounterBounds { gid: self.context.common().gid(), reserved_end, floor: self.bounds.saving_floor };
        self.vault.begin(Doing::SaveCounters);
        Output::Task(self.vault.save_task(Record::Counters, |out| bounds.encode(out)))
    }

    /// They are durable: now they may be used.
    pub(super) fn counters_saved(&mut self) {
        self.bounds.floor = self.bounds.saving_floor;
        if let Some(reservation) = self.bounds.saving.take() {
            self.context.reserve(reservation);
        }
    }
}
