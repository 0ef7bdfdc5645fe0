//! Offers: assembled, verified and admitted before anything is stored (protocol.md \[order\], [one update]).

use super::allowances::Costly;
use super::vault::Change;
use super::{Event, Failure, Phase, Reason, Reception};
use crate::block::BlockSize;
use crate::census::{Report, State};
use crate::digest::{Digest, UpdateId};
use crate::limits::{ENVELOPE_BYTES_MAX, RECONSIDER_AFTER, REPLACE_AFTER};
use crate::refusal::Refusal;
use crate::suit::{self, Offer};
use crate::time::{Duration, Instant};
use crate::tree::TreeShape;
use coap_wire::Block;

/// An envelope that arrives in blocks, in any order.
#[derive(Debug)]
struct Assembly {
    id: Option<UpdateId>,
    size_exponent: u8,
    /// One bit for each block.
    have: u32,
    /// The number of blocks, once the last one has been seen.
    count: Option<u32>,
    len: usize,
    bytes: [u8; ENVELOPE_BYTES_MAX],
}

impl Default for Assembly {
    fn default() -> Self {
        Self { id: None, size_exponent: 0, have: 0, count: None, len: 0, bytes: [0; ENVELOPE_BYTES_MAX] }
    }
}

/// What became of a block of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Added {
    /// It is in its place, and others are still missing.
    Part,
    /// It was the last missing one.
    Whole,
    /// The envelope is longer than an agent has room for.
    TooLong,
    /// No block of an envelope looks like this, or it contradicts the earlier ones.
    Unfitting,
}

impl Assembly {
    /// Puts one block in its place.
    fn add(&mut self, id: UpdateId, block: Block, payload: &[u8]) -> Added {
        let right_shape = BlockSize::from_exponent(block.size_exponent).is_some()
            && if block.more { payload.len() == block.size() } else { payload.len() <= block.size() };
        if !right_shape {
            return Added::Unfitting;
        }
        if self.id != Some(id) || self.size_exponent != block.size_exponent {
            *self = Self { id: Some(id), size_exponent: block.size_exponent, ..Self::default() };
        }
        let start = block.number as usize * block.size();
        let end = start + payload.len() + usize::from(block.more);
        if end > ENVELOPE_BYTES_MAX {
            return Added::TooLong;
        }
        let is_last = self.count.map_or(!block.more, |count| block.number + 1 == count);
        let has_later = self.have >> block.number > 1;
        if block.more == is_last
            || self.count.is_some_and(|count| block.number >= count)
            || (is_last && has_later)
        {
            return Added::Unfitting;
        }
        let Some(target) = self.bytes.get_mut(start..start + payload.len()) else { return Added::TooLong };
        target.copy_from_slice(payload);
        self.have |= 1 << block.number;
        if is_last {
            self.count = Some(block.number + 1);
            self.len = start + payload.len();
        }
        if self.count.is_some_and(|count| self.have.count_ones() == count) {
            Added::Whole
        } else {
            Added::Part
        }
    }

    /// The lowest missing block of this envelope, and the SZX of its blocks if known.
    fn next_missing(&self, id: UpdateId) -> (u32, Option<u8>) {
        if self.id == Some(id) && self.have != 0 {
            (self.have.trailing_ones(), Some(self.size_exponent))
        } else {
            (0, None)
        }
    }
}

/// The last offer that was refused, or the last update that was replaced.
#[derive(Debug, Clone, Copy)]
struct Refused {
    id: UpdateId,
    /// The whole digest, if the update was verified.
    digest: Option<Digest>,
    state: State,
    code: u8,
    at: Instant,
    /// When it would be accepted, if known.
    until: Option<Instant>,
}

impl Refused {
    /// Whether it would be refused again. After a while that may have changed, and no agent is busy for ever.
    fn stands(&self, now: Instant, id: UpdateId) -> bool {
        self.id == id && self.code != Reason::BUSY && now.since(self.at) < RECONSIDER_AFTER
    }
}

/// The incoming offers, and the decision on the last one.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// An offer that arrives in pieces.
    assembly: Assembly,
    /// The last refused offer or replaced update.
    refused: Option<Refused>,
    /// When an unfinished update was last replaced by another (protocol.md \[one update\]).
    replaced_at: Option<Instant>,
}

impl Offers {
    /// Takes one block. A block that contradicts the earlier ones restarts the envelope.
    fn add(&mut self, id: UpdateId, block: Block, payload: &[u8]) -> Added {
        let added = self.assembly.add(id, block, payload);
        if matches!(added, Added::Unfitting | Added::TooLong) && self.assembly.id == Some(id) {
            self.assembly = Assembly::default();
        }
        added
    }

    /// The complete envelope. The next one starts empty.
    fn take_assembly(&mut self) -> Assembly {
        core::mem::take(&mut self.assembly)
    }

    /// The lowest missing block of this offer, and the SZX of its blocks if known.
    pub(super) fn next_missing(&self, id: UpdateId) -> (u32, Option<u8>) {
        self.assembly.next_missing(id)
    }

    const fn refuse(&mut self, refused: Refused) {
        self.refused = Some(refused);
    }

    /// This unfinished update was replaced by another.
    const fn replaced(&mut self, now: Instant, digest: Digest) {
        self.replaced_at = Some(now);
        let (id, code) = (UpdateId::of(&digest), Failure::Superseded as u8);
        self.refuse(Refused { id, digest: Some(digest), state: State::Failed, code, at: now, until: None });
    }

    /// When another unfinished update may be replaced, if not now.
    fn replaces_again_at(&self, now: Instant) -> Option<Instant> {
        self.replaced_at.map(|at| at + REPLACE_AFTER).filter(|at| *at > now)
    }

    /// It is the agent's update now, whatever was decided about it before.
    fn taken(&mut self, id: UpdateId) {
        self.refused.take_if(|refused| refused.id == id);
    }

    fn would_refuse(&self, now: Instant, id: UpdateId) -> bool {
        self.refused.is_some_and(|refused| refused.stands(now, id))
    }

    /// Adds what there is to report about a refused or replaced update; `false` for any other.
    pub(super) fn describe(&self, id: UpdateId, report: &mut Report<'_>, now: Instant) -> bool {
        let Some(refused) = self.refused.filter(|refused| refused.id == id) else { return false };
        (report.state, report.reason, report.digest) = (refused.state, refused.code, refused.digest);
        report.busy_seconds = seconds_until(now, refused.until);
        true
    }
}

impl Reception<'_> {
    /// Whether an offer with this identifier would bring nothing new.
    pub(super) fn knows(&self, now: Instant, id: UpdateId) -> bool {
        self.received.knows(now, id) || self.offers.would_refuse(now, id)
    }

    /// Takes one block of an envelope; `false` when it was useless.
    pub(super) fn take_offer(&mut self, now: Instant, id: UpdateId, block: Block, payload: &[u8]) -> bool {
        if self.knows(now, id) {
            self.fetch.offer_settled();
            return true;
        }
        match self.offers.add(id, block, payload) {
            Added::Part => return true,
            Added::Unfitting => return false,
            Added::TooLong => self.refuse(now, id, Reason::Refusal(Refusal::EnvelopeTooLong)),
            Added::Whole => {
                let assembly = self.offers.take_assembly();
                let envelope = assembly.bytes.get(..assembly.len).unwrap_or_default();
                if let Err(reason) = self.consider(now, id, envelope) {
                    self.refuse(now, id, reason);
                }
            }
        }
        self.fetch.offer_settled();
        true
    }

    /// Refuses this offer. The census will report why.
    fn refuse(&mut self, now: Instant, id: UpdateId, reason: Reason) {
        let already = reason == Reason::Refusal(Refusal::AlreadyInstalled);
        let state = if already { State::Confirmed } else { State::Refused };
        let code = if already { 0 } else { reason.code() };
        let digest = self.config.device.installed.map(|installed| installed.digest).filter(|_| already);
        let until = if let Reason::Busy { until } = reason { until } else { None };
        self.offers.refuse(Refused { id, digest, state, code, at: now, until });
        self.event(Event::Refused { id, reason });
    }

    /// Checks signature, manifest sequence number, vendor and class, and size, in this order.
    fn consider(&mut self, now: Instant, id: UpdateId, envelope: &[u8]) -> Result<(), Reason> {
        let offer =
            suit::verify(envelope, &self.config.keys).map_err(|error| Reason::Refusal(error.into()))?;
        if offer.id != id {
            return Err(Reason::Refusal(Refusal::Malformed));
        }
        self.config.device.admit(&offer).map_err(Reason::Refusal)?;
        if !self.vault.has_room_for(&TreeShape::new(offer.layout)) {
            return Err(Reason::Refusal(Refusal::ImageTooLarge));
        }
        self.make_way(now, &offer)?;
        let (id, sequence_number) = (offer.id, offer.sequence_number);
        let image_bytes = offer.layout.image_size.bytes();
        if !self.adopt(offer, envelope) {
            return Err(Reason::Refusal(Refusal::ImageTooLarge));
        }
        self.offers.taken(id);
        self.received.receive();
        self.received.heard(now);
        self.vault.order(Change::Update);
        self.vault.order(Change::Prepare);
        self.event(Event::Accepted { id, sequence_number, image_bytes });
        Ok(())
    }

    /// [one update]: only a higher manifest sequence number replaces an unfinished update, at most once in
    /// ten minutes, and never while an image is on trial.
    fn make_way(&mut self, now: Instant, offer: &Offer) -> Result<(), Reason> {
        let replaced = self.may_replace(now, offer)?;
        // [wear]
        self.allowances.take(now, Costly::Erase).map_err(|until| Reason::Busy { until: Some(until) })?;
        if let Some(digest) = replaced {
            self.offers.replaced(now, digest);
            self.event(Event::Failed { id: UpdateId::of(&digest), failure: Failure::Superseded });
        }
        Ok(())
    }

    /// Whether an offer may replace what is there; if that is an unfinished update, its digest.
    fn may_replace(&self, now: Instant, offer: &Offer) -> Result<Option<Digest>, Reason> {
        let Some(update) = self.received.update() else { return Ok(None) };
        let current = update.offer();
        match self.received.phase() {
            // There is no image to roll back to, so there is nothing to keep.
            Phase::Trial if self.received.is_recovered() => return Ok(None),
            Phase::Trial | Phase::Activating => return Err(Reason::Busy { until: None }),
            Phase::Idle | Phase::Ended => return Ok(None),
            _ => {}
        }
        if offer.sequence_number < current.sequence_number {
            return Err(Reason::Refusal(Refusal::Downgrade));
        }
        if offer.sequence_number == current.sequence_number {
            return Err(Reason::Refusal(Refusal::SequenceNumberReused));
        }
        if let Some(until) = self.offers.replaces_again_at(now) {
            return Err(Reason::Busy { until: Some(until) });
        }
        Ok(Some(current.digest))
    }

    /// Starts over an update that failed because of the medium, with empty areas ([again], [wear]).
    pub(super) fn begin_anew(&mut self, now: Instant) {
        let Some(update) = self.received.update() else { return };
        let offer = update.offer();
        let (id, sequence_number) = (offer.id, offer.sequence_number);
        let image_bytes = offer.layout.image_size.bytes();
        if self.allowances.take(now, Costly::Erase).is_err() || !self.vault.start(update.shape()) {
            return;
        }
        self.received.begin_anew();
        self.received.heard(now);
        self.fetch.restart();
        self.vault.order(Change::Update);
        self.vault.order(Change::Prepare);
        self.event(Event::Accepted { id, sequence_number, image_bytes });
    }

    /// Makes a verified offer the agent's update, with no block present; `false` if the memory for its two
    /// sets is too small.
    pub(super) fn adopt(&mut self, offer: Offer, envelope: &[u8]) -> bool {
        let shape = TreeShape::new(offer.layout);
        let fits = self.vault.start(&shape);
        let adopted = self.received.adopt(offer, shape, envelope, fits);
        if adopted {
            self.fetch.restart();
        }
        adopted
    }
}

/// Whole seconds until then, rounded up; 0 if that is unknown or has passed.
pub(super) fn seconds_until(now: Instant, until: Option<Instant>) -> u32 {
    let left = until.map_or(Duration::ZERO, |until| until.since(now));
    let begun = u64::from(left.subsec_nanos() > 0);
    u32::try_from(left.as_secs() + begun).unwrap_or(u32::MAX)
}
