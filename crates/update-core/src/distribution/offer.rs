//! The offer: the signed manifest, sent a few times before anything else, and repeated for late joiners.

use super::asks::Purpose;
use super::named::Named;
use super::outbox::{Put, Sent, Slot};
use super::parts::Parts;
use super::phase::{Phase, Step};
use super::{Event, Stage};
use crate::limits::{
    DATAGRAM_BYTES_MAX, OFFER_AGAIN_AFTER, OFFER_AGAIN_FIRST, OFFER_COST_PARTS, PUT_OVERHEAD_MAX,
    TARGET_QUERY_BYTES_MAX,
};
use crate::parity::QUERY_BYTES_MAX;
use crate::resource::Resource;
use crate::time::{Duration, Instant};
use alloc::vec::Vec;
use coap_wire::Block;
use group_oscore::ProtectError;

/// The progress of the current offer, and when the last one ended.
#[derive(Debug)]
pub(super) struct Offers {
    next_block: u32,
    /// Agents named so far, if the offer must be sent several times to name all.
    named: usize,
    ended_at: Instant,
}

/// A block of the offer that has been sent.
pub(super) struct Offered {
    pub(super) sent: Sent,
    /// It was the last block: every agent meant has had a chance to hear the whole offer.
    pub(super) is_whole: bool,
}

impl Offers {
    pub(super) const fn new(now: Instant) -> Self {
        Self { next_block: 0, named: 0, ended_at: now }
    }

    /// Starts again with the first block.
    pub(super) const fn begin_anew(&mut self) {
        self.next_block = 0;
    }

    /// Whether the offer is due again, if it is repeated so often.
    pub(super) fn is_due(&self, now: Instant, every: Duration) -> bool {
        now.since(self.ended_at) >= every
    }

    /// Notes that a block was sent. `names_the_last` says whether its target names the last agent. Returns
    /// whether that ended the offer.
    const fn sent(&mut self, now: Instant, block: Block, names_the_last: bool) -> bool {
        self.next_block = if block.more { block.number + 1 } else { 0 };
        let whole = !block.more && names_the_last;
        if whole {
            self.ended_at = now;
        }
        whole
    }
}

/// Sends the offer a few times, then asks.
#[derive(Debug)]
pub(super) struct Offering {
    /// Whole offers still to be sent.
    left: u8,
}

impl Offering {
    pub(super) fn step(&mut self, slot: Slot<'_>, parts: &mut Parts) -> Result<Step, ProtectError> {
        if self.left == 0 {
            return Ok(Step::Next(parts.ask(Purpose::Pages, slot.now)));
        }
        let Some(Offered { sent, is_whole }) = parts.send_offer(slot)? else { return Ok(Step::Idle) };
        self.left -= u8::from(is_whole);
        Ok(Step::Sent(sent))
    }
}

impl Parts {
    /// The phase that sends the offer this many times.
    pub(super) fn offer(&mut self, copies: u8) -> Phase {
        self.offers.begin_anew();
        self.offers.named = 0;
        self.events.push_back(Event::Stage(Stage::Offer));
        Phase::Offering(Offering { left: copies })
    }

    /// How often the offer is repeated in a long round: often where it and the answers to the question that
    /// follows it cost little beside the blocks.
    pub(super) fn offer_every(&self) -> Duration {
        let bytes = self.job.as_ref().map_or(0, |subject| subject.update.envelope.len() as u64);
        let cost = self.outbox.airtime(bytes) + self.leisure(self.fleet.len(), None);
        (cost * OFFER_COST_PARTS).clamp(OFFER_AGAIN_FIRST, OFFER_AGAIN_AFTER)
    }

    /// Sends one block of the offer, or all of it if it fits one block. For a part of the group it is sent as
    /// often as it takes to name everyone.
    pub(super) fn send_offer(&mut self, slot: Slot<'_>) -> Result<Option<Offered>, ProtectError> {
        let Some(subject) = &self.job else { return Ok(None) };
        let now = slot.now;
        let block_size = subject.update.offer.layout.block_size;
        let bytes = block_size.bytes() as usize;
        let envelope = &subject.update.envelope;
        let count = envelope.len().div_ceil(bytes) as u32;
        let number = self.offers.next_block % count.max(1);
        let start = number as usize * bytes;
        let end = (start + bytes).min(envelope.len());
        let block = Block { number, more: number + 1 < count, size_exponent: block_size.exponent() };
        let resource = Resource::Manifest(subject.update.offer.id);
        let (mut query, mut query_len, mut names_the_last) = ([0; 2 + 2 * TARGET_QUERY_BYTES_MAX], 0, true);
        let mut parity = [0; QUERY_BYTES_MAX];
        let parity_len = match subject.mending.as_ref() {
            Some(mending) => mending.parity.to_query(&mut parity).ok_or(ProtectError::BufferTooSmall)?,
            None => 0,
        };
        if !self.config.everyone {
            let all: Vec<usize> = (0..self.fleet.len()).collect();
            let numbers = self.fleet.numbers(&all);
            let left = numbers.get(self.offers.named..).unwrap_or_default();
            // All blocks of one offer are for the same agents.
            // The option's header takes a byte or two more than its value.
            let parity_room = if parity_len > 0 { parity_len + 2 } else { 0 };
            let room = DATAGRAM_BYTES_MAX - PUT_OVERHEAD_MAX - bytes.min(envelope.len()) - parity_room;
            // The option's header and `t=` take 5 bytes, and hexadecimal takes two characters for each byte.
            let (named, named_count) = Named::first_of(left, TARGET_QUERY_BYTES_MAX.min((room - 5) / 2));
            query_len = named.target().to_query(&mut query).ok_or(ProtectError::BufferTooSmall)?;
            names_the_last = named_count >= left.len();
            if !block.more {
                self.offers.named = if names_the_last { 0 } else { self.offers.named + named_count };
            }
        }
        let payload = envelope.get(start..end).unwrap_or_default();
        let put = Put { resource, queries: [&query[..query_len], &parity[..parity_len]], block, payload };
        let sent = self.outbox.put(slot, &put)?;
        let is_whole = self.offers.sent(now, block, names_the_last);
        Ok(Some(Offered { sent, is_whole }))
    }
}
