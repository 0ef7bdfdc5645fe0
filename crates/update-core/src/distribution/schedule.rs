//! Who goes next: the one place that decides which datagram leaves, and when.

use super::Distribution;
use super::outbox::{Sent, Slot};
use super::phase::{Phase, Step};
use crate::time::{Instant, earliest};
use group_oscore::ProtectError;

/// Phases that may follow one another before a datagram is sent. Each hands over to the next only when it has
/// nothing to send, so that a few are enough; the bound is for safety alone.
const PHASES_IN_A_ROW_MAX: usize = 8;

impl Distribution {
    /// The datagram that leaves now: a reply, or else what the phase sends.
    pub(super) fn next_datagram(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
    ) -> Result<Option<Sent>, ProtectError> {
        if let Some(sent) = self.parts.next_reply(Slot { now, buffer })? {
            return Ok(Some(sent));
        }
        for _ in 0..PHASES_IN_A_ROW_MAX {
            match self.phase.step(Slot { now, buffer }, &mut self.parts)? {
                Step::Sent(sent) => return Ok(Some(sent)),
                Step::Idle => return Ok(None),
                Step::Next(next) => {
                    // Between two asks, the program looks at its socket.
                    let goes_on = !self.phase.is_like(&next);
                    self.enter(next);
                    if !goes_on || self.block_wanted().is_some() {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Goes over to another phase. No other place does.
    pub(super) fn enter(&mut self, next: Phase) {
        self.phase = next;
    }

    /// The image block that has to be read before the next datagram can leave.
    pub(super) fn block_wanted(&self) -> Option<u32> {
        let number = match self.parts.replies.next() {
            Some(reply) => reply.image_block(),
            None => self.phase.image_block(),
        }?;
        (!self.parts.block.has(number)).then_some(number)
    }

    /// When something is to be sent or decided next.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let phase = self.phase.wakes_at(now);
        if self.phase.is_finished() {
            return None;
        }
        let reply = self.parts.replies.next().map(|_| now);
        let wanted = earliest(phase, reply).map(|moment| moment.max(now));
        // Waiting for answers costs nothing; anything that may be sent now waits for the pace.
        wanted.map(|moment| if moment > now { moment } else { moment.max(self.parts.outbox.free_at()) })
    }
}
