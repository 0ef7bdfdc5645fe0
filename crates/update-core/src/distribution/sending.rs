//! Sending: the offer, and rounds over pages or blocks that somebody misses.

use super::asks::Purpose;
use super::named::Named;
use super::outbox::{Put, Sent, Slot, To};
use super::{Agent, Distribution, Event, Phase, Stage};
use crate::census::Query;
use crate::limits::{
    DATAGRAM_BYTES_MAX, OFFER_AGAIN_AFTER, PUT_OVERHEAD_MAX, ROOT_PAGES_COPIES, TARGET_QUERY_BYTES_MAX,
};
use crate::platform::Area;
use crate::resource::Resource;
use crate::target::Target;
use alloc::vec::Vec;
use coap_wire::Block;
use group_oscore::ProtectError;

/// One pass over what is needed of one area.
#[derive(Debug, Clone)]
pub(super) struct Round {
    pub(super) area: Area,
    /// Taken out of what is needed, and not yet sent.
    current: Option<u32>,
    /// How often the current one is still to be sent.
    copies: u8,
    /// Something is repeated for those who came late, or asked for news, before the round goes on.
    interlude: Interlude,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interlude {
    None,
    Offer,
    Question,
    /// How the trials stand, and the order to whoever of the wave has not heard it.
    Trials,
}

impl Round {
    pub(super) fn image_block(&self) -> Option<u32> {
        self.current.filter(|_| self.area == Area::Image)
    }
}

impl Distribution {
    /// Begins a round over everything that is needed of an area.
    pub(super) fn send_round(&mut self, area: Area) {
        let Some(subject) = &mut self.job else { return };
        let stage = match area {
            Area::Pages => Stage::Pages(subject.needed_pages.len()),
            Area::Image => {
                let round = self.turns.round;
                self.turns.round += 1;
                self.fleet.iter_mut().for_each(Agent::begin_round);
                Stage::Blocks { round, blocks: subject.needed_blocks.len() }
            }
        };
        self.events.push_back(Event::Stage(stage));
        let mut round = Round { area, current: None, copies: 0, interlude: Interlude::None };
        Self::take_next(subject, &mut round);
        self.phase = Phase::Sending(round);
    }

    fn take_next(subject: &mut super::Subject, round: &mut Round) {
        let needed = match round.area {
            Area::Image => &mut subject.needed_blocks,
            Area::Pages => &mut subject.needed_pages,
        };
        round.current = needed.take_next(0);
        // [pages first]: a page that is missing makes all pages below it useless, so those above the bottom
        // level, which are few, go out with a stated redundancy.
        let upper = round.area == Area::Pages
            && round.current.is_some_and(|page| page < subject.shape.bottom_level_first());
        let only_root = subject.shape.page_count() == 1;
        round.copies = if upper || (only_root && round.area == Area::Pages) { ROOT_PAGES_COPIES } else { 1 };
    }

    pub(super) fn step_offering(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let Phase::Offering { left } = &mut self.phase else { return Ok(None) };
        if *left == 0 {
            self.ask(Purpose::Pages, slot.now);
            return Ok(None);
        }
        *left -= 1;
        self.send_offer(slot)
    }

    pub(super) fn step_sending(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let Phase::Sending(round) = &mut self.phase else { return Ok(None) };
        let Some(number) = round.current else {
            let area = round.area;
            self.ask(self.purpose_after(area), slot.now);
            return Ok(None);
        };
        let on_trial = self.turns.activated_at.is_some();
        if slot.now.since(self.offered_at) >= OFFER_AGAIN_AFTER && round.interlude == Interlude::None {
            round.interlude = Interlude::Offer;
        }
        match round.interlude {
            Interlude::Offer => {
                round.interlude = Interlude::Question;
                self.send_offer(slot)
            }
            Interlude::Question => {
                round.interlude = if on_trial { Interlude::Trials } else { Interlude::None };
                self.send_question(slot)
            }
            Interlude::Trials => {
                round.interlude = Interlude::None;
                self.look_at_trials(slot)
            }
            Interlude::None => self.send_block(number, slot),
        }
    }

    fn send_block(&mut self, number: u32, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let (Phase::Sending(round), Some(subject)) = (&mut self.phase, &mut self.job) else {
            return Ok(None);
        };
        let id = subject.update.offer.id;
        let (resource, count) = match round.area {
            Area::Image => (Resource::Image(id), subject.needed_blocks.count()),
            Area::Pages => (Resource::Hashes(id), subject.needed_pages.count()),
        };
        let payload = match round.area {
            Area::Image => self.block.bytes.get(..self.block.len),
            Area::Pages => subject.page(number),
        };
        let Some(payload) = payload else { return Ok(None) };
        let size_exponent = subject.update.offer.layout.block_size.exponent();
        let block = Block { number, more: number + 1 < count, size_exponent };
        let sent = self.outbox.put(slot, &Put { resource, query: &[], block, payload })?;
        round.copies -= 1;
        if round.copies == 0 {
            Self::take_next(subject, round);
        }
        Ok(Some(sent))
    }

    /// Sends one block of the offer: all of it where it fits one. For a part of the group it goes out as
    /// often as it takes to name everyone.
    fn send_offer(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let Some(subject) = &self.job else { return Ok(None) };
        let now = slot.now;
        let block_size = subject.update.offer.layout.block_size;
        let bytes = block_size.bytes() as usize;
        let envelope = &subject.update.envelope;
        let count = envelope.len().div_ceil(bytes) as u32;
        let number = self.turns.next_offer_block % count.max(1);
        let start = number as usize * bytes;
        let end = (start + bytes).min(envelope.len());
        let block = Block { number, more: number + 1 < count, size_exponent: block_size.exponent() };
        let resource = Resource::Manifest(subject.update.offer.id);
        let (mut query, mut query_len, mut names_the_last) = ([0; 2 + 2 * TARGET_QUERY_BYTES_MAX], 0, true);
        if !self.config.everyone {
            let all: Vec<usize> = (0..self.fleet.len()).collect();
            let numbers = self.fleet.numbers(&all);
            let left = numbers.get(self.turns.offered..).unwrap_or_default();
            // Every block of one offer is for the same agents.
            let room = DATAGRAM_BYTES_MAX - PUT_OVERHEAD_MAX - bytes.min(envelope.len());
            // The option's header and `t=` take 5 bytes, and hexadecimal two for one.
            let (named, named_count) = Named::first_of(left, TARGET_QUERY_BYTES_MAX.min((room - 5) / 2));
            query_len = named.target().to_query(&mut query).ok_or(ProtectError::BufferTooSmall)?;
            names_the_last = named_count >= left.len();
            if !block.more {
                self.turns.offered = if names_the_last { 0 } else { self.turns.offered + named_count };
            }
        }
        let payload = envelope.get(start..end).unwrap_or_default();
        let put = Put { resource, query: &query[..query_len], block, payload };
        let sent = self.outbox.put(slot, &put)?;
        self.turns.next_offer_block = if block.more { number + 1 } else { 0 };
        if !block.more && names_the_last {
            self.offered_at = now;
        } else if let Phase::Offering { left } = &mut self.phase {
            // The copies count whole offers.
            *left += 1;
        } else if let Phase::Sending(round) = &mut self.phase {
            round.interlude = Interlude::Offer;
        }
        Ok(Some(sent))
    }

    /// In the middle of a long round: how far is everyone? Without it a distributor would send for hours to
    /// agents that may not be there (RFC 10020 section 3.6, PROBING_RATE).
    fn send_question(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let concerned = self.concerned();
        let everyone = self.config.everyone && concerned.len() == self.fleet.len();
        let named = if everyone { Vec::new() } else { self.fleet.named(&concerned) };
        // Where one target does not name all, they take turns.
        let turn = (self.turns.questions as usize).checked_rem(named.len());
        self.turns.questions = self.turns.questions.wrapping_add(1);
        let target = turn.and_then(|turn| named.get(turn)).map_or(Target::All, Named::target);
        let leisure = self.leisure(concerned.len(), None);
        let query = Query {
            target,
            update: self.job.as_ref().map(|subject| subject.update.offer.id),
            leisure_ms: leisure.as_millis() as u32,
            window: None,
            // How a trial goes tells only who is asked for it.
            only_missing: self.fleet.is_large() && !self.is_on_trial(),
            unicast_max: 0,
            detail: false,
        };
        // Number 0 answers no ask: what is heard here is news, not a reason to stop waiting.
        self.questions.send(&mut self.outbox, slot, &query, 0, leisure, To::Group).map(Some)
    }

    /// How many datagrams the whole offer takes.
    pub(super) fn offering(&mut self, copies: u8) {
        self.turns.next_offer_block = 0;
        self.turns.offered = 0;
        self.events.push_back(Event::Stage(Stage::Offer));
        self.phase = Phase::Offering { left: copies };
    }
}
