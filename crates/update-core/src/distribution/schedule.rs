//! Scheduling: the one place that decides which datagram leaves, and when.

use super::Distribution;
use super::outbox::{Sent, Slot};
use super::phase::{Phase, Step};
use crate::time::{Instant, earliest};
use group_oscore::ProtectError;

/// How many phases may follow one another before a datagram is sent. A phase hands over only when it has
/// nothing to send, so a few are enough; the bound is only for safety.
const PHASES_IN_A_ROW_MAX: usize = 8;

impl Distribution {
    /// The datagram to send now: from the phase, or to a single agent if it is the single agents' turn.
    pub(super) fn next_datagram(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
    ) -> Result<Option<Sent>, ProtectError> {
        if self.is_for_one(now)
            && let Some(sent) = self.next_for_one(Slot { now, buffer })?
        {
            return Ok(Some(sent));
        }
        for _ in 0..PHASES_IN_A_ROW_MAX {
            match self.phase.step(Slot { now, buffer }, &mut self.parts)? {
                Step::Sent(sent) => {
                    self.parts.shares.group_was_sent(sent.len());
                    return Ok(Some(sent));
                }
                Step::Idle => {
                    self.parts.shares.group_has_nothing();
                    return Ok(None);
                }
                Step::Next(next) => {
                    // Between two asks the program must check its socket.
                    let goes_on = !self.phase.is_like(&next);
                    self.enter(next);
                    if !goes_on || self.block_wanted(now).is_some() {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether the next datagram is for a single agent. While the group waits too, this is limited to their
    /// share.
    fn is_for_one(&self, now: Instant) -> bool {
        let waits = self.parts.replies.next().is_some()
            || self.parts.singles.is_waiting()
            || self.parts.laggards_due(now).is_some_and(|due| due <= now);
        waits && (self.parts.shares.is_for_one() || !self.group_waits(now))
    }

    /// Whether the phase has something to send now.
    fn group_waits(&self, now: Instant) -> bool {
        self.phase.wakes_at(now).is_some_and(|moment| moment <= now)
    }

    /// Sends the oldest reply, or else a question to a laggard.
    fn next_for_one(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let group_waits = self.group_waits(slot.now);
        let sent = match self.parts.replies.next() {
            Some(_) => self.parts.next_reply(slot)?,
            None if self.parts.singles.is_waiting() => self.parts.next_single(slot)?,
            None => self.parts.ask_laggard(slot)?,
        };
        if let Some(sent) = sent.as_ref().filter(|_| group_waits) {
            self.parts.shares.one_was_sent(sent.len());
        }
        Ok(sent)
    }

    /// Changes to another phase. This is the only place that does.
    pub(super) fn enter(&mut self, next: Phase) {
        self.phase = next;
    }

    /// The image block that must be read before the next datagram can leave.
    pub(super) fn block_wanted(&self, now: Instant) -> Option<u32> {
        let number = match self.parts.replies.next().filter(|_| self.is_for_one(now)) {
            Some(reply) => reply.image_block(),
            None => self.phase.image_block(self.parts.outbox.free_at() <= now),
        }?;
        (!self.parts.block.has(number)).then_some(number)
    }

    /// When the next thing must be sent or decided.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let phase = self.phase.wakes_at(now);
        if self.phase.is_finished() {
            return None;
        }
        let waits = self.parts.replies.next().is_some() || self.parts.singles.is_waiting();
        let reply = waits.then_some(now);
        let wanted = earliest(earliest(phase, reply), self.parts.laggards_due(now)).map(|at| at.max(now));
        // Waiting for answers costs nothing. Anything that may be sent now waits for the pace.
        let wanted =
            wanted.map(|moment| if moment > now { moment } else { moment.max(self.parts.outbox.free_at()) });
        earliest(wanted, self.parts.time_limit())
    }
}
