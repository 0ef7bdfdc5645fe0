//! Offers: put together, verified, admitted, and only then anything is stored (DESIGN \[order\], [one
//! update]).

use super::{Event, Failure, Phase, Reason, Reception, Update};
use crate::block::BlockSize;
use crate::census::State;
use crate::digest::UpdateId;
use crate::limits::{ENVELOPE_BYTES_MAX, RECONSIDER_AFTER, REPLACE_AFTER};
use crate::record::Outcome;
use crate::refusal::Refusal;
use crate::suit::{self, Offer};
use crate::time::Instant;
use crate::tree::TreeShape;
use coap_wire::Block;

/// An envelope that comes in blocks, in any order.
#[derive(Debug)]
pub(super) struct Assembly {
    id: Option<UpdateId>,
    size_exponent: u8,
    /// One bit for each block.
    have: u32,
    /// Blocks in all, once the last one has been seen.
    count: Option<u32>,
    len: usize,
    bytes: [u8; ENVELOPE_BYTES_MAX],
}

impl Default for Assembly {
    fn default() -> Self {
        Self { id: None, size_exponent: 0, have: 0, count: None, len: 0, bytes: [0; ENVELOPE_BYTES_MAX] }
    }
}

impl Assembly {
    /// Puts one block in its place; `true` when the envelope is whole.
    fn add(&mut self, id: UpdateId, block: Block, payload: &[u8]) -> bool {
        if self.id != Some(id) || self.size_exponent != block.size_exponent {
            *self = Self { id: Some(id), size_exponent: block.size_exponent, ..Self::default() };
        }
        let start = block.number as usize * block.size();
        let right_shape = block.number < u32::BITS
            && if block.more { payload.len() == block.size() } else { payload.len() <= block.size() };
        let Some(target) = self.bytes.get_mut(start..start + payload.len()).filter(|_| right_shape) else {
            return false;
        };
        target.copy_from_slice(payload);
        self.have |= 1 << block.number;
        if !block.more {
            self.count = Some(block.number + 1);
            self.len = start + payload.len();
        }
        self.count.is_some_and(|count| self.have.count_ones() == count)
    }

    /// The lowest block of this envelope that is missing, and the SZX of its blocks as far as it is known.
    pub(super) fn next_missing(&self, id: UpdateId) -> (u32, Option<u8>) {
        if self.id == Some(id) && self.have != 0 {
            (self.have.trailing_ones(), Some(self.size_exponent))
        } else {
            (0, None)
        }
    }
}

/// The last offer that was refused, or the last update that another one replaced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    id: UpdateId,
    state: State,
    code: u8,
    at: Instant,
}

impl Refused {
    /// What to report of this update.
    pub(super) fn report(&self, id: UpdateId) -> Option<(State, u8)> {
        (self.id == id).then_some((self.state, self.code))
    }

    /// Whether it would be refused again. After a while that may have changed, and busy is nobody for ever.
    fn stands(&self, now: Instant, id: UpdateId) -> bool {
        self.id == id && self.code != Reason::Busy.code() && now.since(self.at) < RECONSIDER_AFTER
    }
}

impl Reception<'_> {
    /// Whether an offer with this identifier would tell anything new. What was cancelled may come again, and
    /// what failed for the medium's sake too, after a while.
    pub(super) fn knows(&self, now: Instant, id: UpdateId) -> bool {
        const CANCELLED: Outcome = Outcome::Failed(Failure::Cancelled as u8);
        const STORAGE: Outcome = Outcome::Failed(Failure::Storage as u8);
        let held = self.update.as_ref().is_some_and(|update| {
            update.offer.id == id
                && match update.outcome {
                    CANCELLED => false,
                    STORAGE => self.failed_at.is_some_and(|at| now.since(at) < REPLACE_AFTER),
                    _ => true,
                }
        });
        held || self.refused.is_some_and(|refused| refused.stands(now, id))
    }

    /// One block of an envelope.
    pub(super) fn take_offer(&mut self, now: Instant, id: UpdateId, block: Block, payload: &[u8]) {
        let known_size = BlockSize::from_exponent(block.size_exponent).is_some();
        if !self.knows(now, id) && known_size && self.assembly.add(id, block, payload) {
            let assembly = core::mem::take(&mut self.assembly);
            let envelope = assembly.bytes.get(..assembly.len).unwrap_or_default();
            if let Err(reason) = self.consider(now, id, envelope) {
                let already = reason == Reason::Refusal(Refusal::AlreadyInstalled);
                let state = if already { State::Confirmed } else { State::Refused };
                let code = if already { 0 } else { reason.code() };
                self.refused = Some(Refused { id, state, code, at: now });
                self.event(Event::Refused { id, reason });
            }
            self.fetch.offer_wanted = None;
        }
    }

    /// Signature, manifest sequence number, vendor and class, size: in this order.
    fn consider(&mut self, now: Instant, id: UpdateId, envelope: &[u8]) -> Result<(), Reason> {
        let offer =
            suit::verify(envelope, &self.config.keys).map_err(|error| Reason::Refusal(error.into()))?;
        if offer.id != id {
            return Err(Reason::Refusal(Refusal::Malformed));
        }
        self.config.device.admit(&offer).map_err(Reason::Refusal)?;
        if !self.has_memory_for(&offer) {
            return Err(Reason::Refusal(Refusal::ImageTooLarge));
        }
        self.make_way(now, &offer)?;
        let (id, sequence_number) = (offer.id, offer.sequence_number);
        let image_bytes = offer.layout.image_size.bytes();
        if !self.adopt(offer, envelope) {
            return Err(Reason::Refusal(Refusal::ImageTooLarge));
        }
        self.phase = Phase::Receiving;
        self.heard_at = now;
        self.saves.update = true;
        self.saves.prepare = true;
        self.event(Event::Accepted { id, sequence_number, image_bytes });
        Ok(())
    }

    /// [one update]: only a higher manifest sequence number takes the place of an unfinished update, at most
    /// once in ten minutes, and never while an image is on trial.
    fn make_way(&mut self, now: Instant, offer: &Offer) -> Result<(), Reason> {
        let Some(update) = &self.update else { return Ok(()) };
        let current = &update.offer;
        match self.phase {
            // There is nothing that it could be rolled back to, so nothing that has to be kept.
            Phase::Trial if self.recovered => return Ok(()),
            Phase::Trial | Phase::Activating => return Err(Reason::Busy),
            Phase::Idle | Phase::Ended => return Ok(()),
            _ => {}
        }
        if offer.sequence_number < current.sequence_number {
            return Err(Reason::Refusal(Refusal::Downgrade));
        }
        if offer.sequence_number == current.sequence_number {
            return Err(Reason::Refusal(Refusal::SequenceNumberReused));
        }
        if self.replaced_at.is_some_and(|at| now.since(at) < REPLACE_AFTER) {
            return Err(Reason::Busy);
        }
        let id = current.id;
        self.replaced_at = Some(now);
        self.refused = Some(Refused { id, state: State::Failed, code: Failure::Superseded as u8, at: now });
        self.event(Event::Failed { id, failure: Failure::Superseded });
        Ok(())
    }

    fn has_memory_for(&self, offer: &Offer) -> bool {
        let pages = TreeShape::new(offer.layout).page_count();
        self.blocks.capacity() >= offer.layout.block_count() && self.pages.capacity() >= pages
    }

    /// Makes a verified offer the agent's update, with nothing of it present; `false` when the memory for its
    /// two sets is too small.
    pub(super) fn adopt(&mut self, offer: Offer, envelope: &[u8]) -> bool {
        let shape = TreeShape::new(offer.layout);
        // [attempt]: what was acted upon under this digest stays so, also after a cancellation.
        let same = self.update.as_ref().filter(|update| update.offer.digest == offer.digest);
        let attempt = same.map_or(0, |update| update.attempt);
        let fits = self.blocks.reset(offer.layout.block_count()) && self.pages.reset(shape.page_count());
        let Some(target) = self.envelope.get_mut(..envelope.len()).filter(|_| fits) else {
            self.update = None;
            self.phase = Phase::Idle;
            return false;
        };
        target.copy_from_slice(envelope);
        self.envelope_len = envelope.len();
        self.update = Some(Update { offer, shape, attempt, outcome: Outcome::Open });
        self.recovered = false;
        self.digest_doubted = false;
        self.held = None;
        self.page.index = None;
        self.unsynced_since = None;
        self.storage_failures = 0;
        self.sync_failures = 0;
        self.fetch.restart();
        true
    }
}
