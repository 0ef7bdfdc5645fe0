//! Sending: rounds over pages or blocks that some agent misses.

use super::image_block::ImageBlock;
use super::job::Subject;
use super::named::Named;
use super::offer::Offered;
use super::outbox::{Put, Sent, Slot, To};
use super::parts::Parts;
use super::phase::{Phase, Step};
use super::symbols::Symbols;
use super::{Agent, Ending, Event, Stage};
use crate::census::Query;
use crate::limits::{
    BLOCK_COPIES_MAX, BOTTOM_PAGES_COPIES, PROBE_AFTER, ROOT_PAGES_COPIES, SHORT_ROUND_MIN, SHORT_ROUND_PARTS,
};
use crate::platform::Area;
use crate::resource::Resource;
use crate::target::Target;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::vec::Vec;
use coap_wire::Block;
use group_oscore::ProtectError;

/// One pass over what is needed of one area.
#[derive(Debug)]
pub(super) struct Round {
    area: Area,
    /// The block taken from the needed ones and not yet sent.
    current: Option<u32>,
    /// How many more times to send the current block.
    copies: u8,
    /// How many times to send each image block, or page of the bottom level.
    usual_copies: u8,
    /// The parity symbols of a round that sends those, instead of blocks.
    symbols: Option<Box<Symbols>>,
    /// What to repeat for late joiners, or to ask, before the round continues.
    interlude: Interlude,
    /// Until then it is enough to ask for late joiners; `None` before the round begins.
    probe_by: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interlude {
    None,
    Offer,
    Question,
    /// Asks how the trials stand, and repeats the order to agents of the wave that have not heard it.
    Trials,
}

impl Round {
    fn new(area: Area, subject: &mut Subject, usual_copies: u8) -> Self {
        let interlude = Interlude::None;
        let (current, symbols, probe_by) = (None, None, None);
        let mut round = Self { area, current, copies: 0, usual_copies, symbols, interlude, probe_by };
        round.take_next(subject);
        round
    }

    fn of_symbols(area: Area, symbols: Symbols) -> Self {
        let (symbols, interlude) = (Some(Box::new(symbols)), Interlude::None);
        Self { area, current: None, copies: 0, usual_copies: 1, symbols, interlude, probe_by: None }
    }

    /// The block to send next, or the next one to make parity symbols of. These are made while the pace lets
    /// nothing out, or there is none to send.
    pub(super) fn image_block(&self, is_free: bool) -> Option<u32> {
        match &self.symbols {
            _ if self.area == Area::Pages => None,
            Some(symbols) if is_free && symbols.is_ready() => None,
            Some(symbols) => symbols.block_wanted(),
            None => self.current,
        }
    }

    /// Takes the block that was read last, if it is the one that the symbols need next.
    pub(super) fn take_block(&mut self, block: &ImageBlock) {
        let Some(symbols) = self.symbols.as_mut().filter(|_| self.area == Area::Image) else { return };
        if symbols.block_wanted().is_some_and(|number| block.has(number))
            && let Some(bytes) = block.bytes()
        {
            symbols.take_block(bytes);
        }
    }

    /// Whether everything has been sent.
    fn is_over(&self) -> bool {
        self.symbols.as_ref().map_or(self.current.is_none(), |symbols| symbols.are_sent())
    }

    pub(super) fn step(&mut self, slot: Slot<'_>, parts: &mut Parts) -> Result<Step, ProtectError> {
        if self.is_over() {
            let purpose = parts.purpose_after(self.area);
            return Ok(Step::Next(parts.ask(purpose, slot.now)));
        }
        let probe_by = *self.probe_by.get_or_insert(slot.now + PROBE_AFTER);
        if parts.offers.is_due(slot.now, parts.offer_every()) && self.interlude == Interlude::None {
            self.interlude = Interlude::Offer;
        }
        match self.interlude {
            Interlude::Offer => {
                let Some(Offered { sent, is_whole }) = parts.send_offer(slot)? else { return Ok(Step::Idle) };
                if is_whole {
                    self.interlude = Interlude::Question;
                }
                Ok(Step::Sent(sent))
            }
            Interlude::Question => {
                self.interlude = if parts.is_on_trial() { Interlude::Trials } else { Interlude::None };
                // The next question comes with the next offer.
                let is_probe = self.area == Area::Pages || slot.now + parts.offer_every() > probe_by;
                if is_probe {
                    self.probe_by = None;
                }
                parts.send_question(slot, is_probe || parts.is_on_trial()).map(Step::Sent)
            }
            Interlude::Trials => {
                self.interlude = Interlude::None;
                parts.look_at_trials(slot)
            }
            Interlude::None if self.symbols.is_some() => self.send_symbol(slot, parts),
            Interlude::None => self.send_block(slot, parts),
        }
    }

    fn send_symbol(&mut self, slot: Slot<'_>, parts: &mut Parts) -> Result<Step, ProtectError> {
        let (Some(subject), Some(symbols)) = (&parts.job, &mut self.symbols) else { return Ok(Step::Idle) };
        while self.area == Area::Pages
            && let Some(page) = symbols.block_wanted().filter(|_| !symbols.is_ready())
        {
            symbols.take_block(subject.page(page).unwrap_or_default());
        }
        let (Some(mending), Some((number, payload))) = (&subject.mending, symbols.next_ready()) else {
            return Ok(Step::Idle);
        };
        let resource = Resource::parity_of(self.area, subject.update.offer.id);
        let size_exponent = subject.update.offer.layout.block_size.exponent();
        let is_last = mending.of(self.area).generations.is_last(number);
        let block = Block { number, more: !is_last, size_exponent };
        let sent = parts.outbox.put(slot, &Put { resource, queries: [&[]; 2], block, payload })?;
        symbols.sent();
        Ok(Step::Sent(sent))
    }

    fn send_block(&mut self, slot: Slot<'_>, parts: &mut Parts) -> Result<Step, ProtectError> {
        let (Some(subject), Some(number)) = (&mut parts.job, self.current) else { return Ok(Step::Idle) };
        let id = subject.update.offer.id;
        let payload = match self.area {
            Area::Image => parts.block.bytes(),
            Area::Pages => subject.page(number),
        };
        let Some(payload) = payload else { return Ok(Step::Idle) };
        let resource = Resource::of_area(self.area, id);
        let size_exponent = subject.update.offer.layout.block_size.exponent();
        let block = Block { number, more: subject.shape.contains(self.area, number + 1), size_exponent };
        let sent = parts.outbox.put(slot, &Put { resource, queries: [&[]; 2], block, payload })?;
        self.copies -= 1;
        if self.copies == 0 {
            self.take_next(subject);
        }
        Ok(Step::Sent(sent))
    }

    fn take_next(&mut self, subject: &mut Subject) {
        let needed = match self.area {
            Area::Image => &mut subject.needed_blocks,
            Area::Pages => &mut subject.needed_pages,
        };
        self.current = needed.take_next(0);
        // [pages first]: a missing page makes all pages below it useless. The pages above the bottom level
        // are few, so they are sent with a stated redundancy.
        let upper = self.area == Area::Pages
            && self.current.is_some_and(|page| page < subject.shape.bottom_level_first());
        let only_root = subject.shape.page_count() == 1;
        self.copies = match self.area {
            Area::Pages if upper || only_root => ROOT_PAGES_COPIES,
            _ => self.usual_copies,
        };
    }
}

/// How often to send each block of a round. In a short one each is sent so often that probably none of them
/// is missed again: a few datagrams more cost less time than another round.
fn block_copies(subject: &Subject, loss: u32) -> u8 {
    let (blocks, all) = (subject.needed_blocks.len(), subject.needed_blocks.count());
    let most = SHORT_ROUND_MIN.max(all / SHORT_ROUND_PARTS);
    let mut copies = 1;
    let mut missed = u64::from(blocks) * u64::from(loss);
    while missed > 500 && copies < BLOCK_COPIES_MAX && blocks * u32::from(copies + 1) <= most {
        copies += 1;
        missed = missed * u64::from(loss) / 1000;
    }
    copies
}

impl Parts {
    /// The phase that sends everything that is needed of an area.
    pub(super) fn send_round(&mut self, area: Area) -> Phase {
        let loss = self.worst_loss();
        let Some(subject) = &mut self.job else { return self.finish(Ending::Done) };
        let stage = match area {
            Area::Pages => {
                self.turns.begin_page_round();
                Stage::Pages(subject.needed_pages.len())
            }
            Area::Image => {
                let round = self.turns.begin_round();
                subject.last_blocks.clone_from(&subject.needed_blocks);
                Stage::Blocks { round, blocks: subject.needed_blocks.len() }
            }
        };
        // What an agent misses is in the round if it said so when it was last asked.
        let is_whole = area == Area::Image && subject.needed_blocks.len() == subject.needed_blocks.count();
        self.fleet.iter_mut().for_each(|agent| agent.begin_round(area, is_whole));
        self.events.push_back(Event::Stage(stage));
        let copies = match area {
            Area::Image => block_copies(subject, loss),
            Area::Pages if subject.needed_pages.len() == subject.needed_pages.count() => 1,
            Area::Pages => BOTTOM_PAGES_COPIES,
        };
        Phase::Sending(Round::new(area, subject, copies))
    }

    /// The highest loss on the way to an agent that misses some block, in thousandths.
    fn worst_loss(&self) -> u32 {
        let open = self.fleet.agents().iter().filter(|agent| agent.awaited() && !agent.has_all());
        open.map(Agent::loss).max().unwrap_or(0)
    }

    /// The phase that sends so many parity symbols of each generation.
    pub(super) fn send_symbols(&mut self, area: Area, planned: &[u16]) -> Phase {
        let Some(subject) = &mut self.job else { return self.finish(Ending::Done) };
        let Some(mending) = &mut subject.mending else { return self.finish(Ending::Done) };
        let bytes = subject.update.offer.layout.block_size.bytes() as usize;
        let count = planned.iter().map(|count| u32::from(*count)).sum();
        let mending = mending.of_mut(area);
        let take_turns = !mending.lacks.room_is_short();
        let planned = mending.take_symbols(planned).into_iter();
        let symbols = Symbols::new(mending.generations, bytes, planned, take_turns);
        self.fleet.iter_mut().for_each(|agent| agent.begin_parity_round(area, count));
        self.events.push_back(Event::Stage(Stage::Parity(count)));
        Phase::Sending(Round::of_symbols(area, symbols))
    }

    /// Asks in the middle of a long round: now and then for everyone's progress, as otherwise a distributor
    /// would send for hours to agents that may not be there (RFC 10020 section 3.6, PROBING_RATE); and in
    /// between for those that have just joined, who miss pages of the hash tree.
    fn send_question(&mut self, slot: Slot<'_>, is_probe: bool) -> Result<Sent, ProtectError> {
        let concerned = self.concerned();
        let everyone = self.config.everyone && concerned.len() == self.fleet.len();
        let named = if everyone { Vec::new() } else { self.fleet.named(&concerned) };
        // If one target cannot name all agents, the targets take turns.
        let target = self.turns.question_turn(&named).map_or(Target::All, Named::target);
        let leisure = self.leisure(concerned.len(), None);
        let query = Query {
            target,
            update: self.job.as_ref().map(|subject| subject.update.offer.id),
            leisure_ms: leisure.as_millis() as u32,
            window: self.first_pages().filter(|_| !is_probe),
            // Only an answer tells how a trial is going.
            only_missing: !is_probe || (self.fleet.is_large() && !self.is_on_trial()),
            unicast_max: 0,
            detail: false,
            run: 0,
            generations: None,
        };
        // Number 0 belongs to no ask: answers to it are news, and no reason to stop waiting.
        self.questions.send(&mut self.outbox, slot, &query, 0, leisure, To::Group)
    }
}
