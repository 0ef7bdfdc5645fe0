//! Asking: the census from the distributor's side (protocol.md \[census\]).

use super::named::Named;
use super::outbox::{Sent, Slot, To};
use super::{Agent, Distribution, Ending, Event, Phase};
use crate::census::{Query, Report, State, Window};
use crate::limits::{
    ASK_REPEATS_MAX, LEISURE_MAX, LEISURE_MIN, POLL_WAIT, POLLS_MAX, TARGET_BYTES_MAX, WINDOW_BLOCKS_MAX,
};
use crate::platform::Area;
use crate::target::{Target, member_number};
use crate::time::{Duration, Instant};
use alloc::vec::Vec;
use coap_wire::Token;
use core::net::SocketAddr;
use group_oscore::ProtectError;

/// What an ask is to find out, which decides what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Which pages of the hash tree are missing, and whether the offer arrived.
    Pages,
    /// Which image blocks are missing.
    Blocks,
    /// How far the unicast repair is, which this ask allows up to so many blocks.
    Repair(u32),
    /// Who of those not yet heard is there at all.
    Close,
    /// How the trial goes.
    Confirm,
    /// What has become of an update that is being taken back.
    Withdrawn,
    /// Only what everyone is doing.
    Status,
}

/// One ask: a query, repeated to those who stay silent, for each window in turn.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) purpose: Purpose,
    window: Option<Window>,
    /// Queries sent for this window so far.
    tries: u8,
    /// The highest member number that this try has asked so far, where one target does not name all.
    named_to: Option<u32>,
    repeats_max: u8,
    /// The query goes out from this moment.
    from: Instant,
    /// Answers are awaited until then; `None` before the query is sent.
    until: Option<Instant>,
    /// This ask's number; agents that have answered it carry it.
    number: u32,
    /// The number of the ask for the first window: since then nothing has been sent.
    first_number: u32,
}

impl Ask {
    /// When something is to be done for this ask.
    pub(super) fn wakes_at(&self) -> Instant {
        self.until.unwrap_or(self.from)
    }
}

impl Distribution {
    /// Begins to ask, at once or later.
    pub(super) fn ask(&mut self, purpose: Purpose, from: Instant) {
        let window = match purpose {
            Purpose::Pages => self.window_from(Area::Pages, 0),
            Purpose::Blocks => self.window_from(Area::Image, 0),
            _ => None,
        };
        let number = self.questions.begin_ask();
        let once = self.fleet.is_large() && !matches!(purpose, Purpose::Close | Purpose::Withdrawn);
        let repeats_max = if once { 0 } else { ASK_REPEATS_MAX };
        self.forget_needed(window);
        self.phase = Phase::Asking(Ask {
            purpose,
            window,
            tries: 0,
            named_to: None,
            repeats_max,
            from,
            until: None,
            number,
            first_number: number,
        });
    }

    /// What somebody needed when it was last asked is told anew.
    fn forget_needed(&mut self, window: Option<Window>) {
        match (&mut self.job, window.map(|window| window.area)) {
            (Some(subject), Some(Area::Image)) => subject.needed_blocks.clear(),
            (Some(subject), Some(Area::Pages)) => subject.needed_pages.clear(),
            _ => {}
        }
    }

    fn window_from(&self, area: Area, first: u32) -> Option<Window> {
        let subject = self.job.as_ref()?;
        let count = match area {
            Area::Image => subject.needed_blocks.count(),
            Area::Pages => subject.needed_pages.count(),
        };
        let left = count.checked_sub(first).filter(|left| *left > 0)?;
        Some(Window { area, first, count: left.min(WINDOW_BLOCKS_MAX) })
    }

    /// Sends the query, waits for the answers, repeats it to the silent, goes on with the next window, and at
    /// the end decides what comes next.
    pub(super) fn step_asking(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let Phase::Asking(ask) = &self.phase else { return Ok(None) };
        let now = slot.now;
        let ask = ask.clone();
        match ask.until {
            None if ask.from > now => Ok(None),
            None => self.send_query(&ask, slot),
            Some(until) => {
                let unheard = self.unheard(&ask);
                if !unheard.is_empty() && now < until {
                    return Ok(None);
                }
                self.answers_are_in(now, ask, &unheard);
                Ok(None)
            }
        }
    }

    /// The agents that this ask waits for and has not heard, by index.
    fn unheard(&self, ask: &Ask) -> Vec<usize> {
        let waits_for = |agent: &Agent| match ask.purpose {
            Purpose::Close => agent.unsure(),
            // A census wants to hear everyone, whatever has become of an update there.
            Purpose::Status => !agent.lost,
            Purpose::Withdrawn => self.is_to_answer_for_it(agent),
            _ => agent.awaited(),
        };
        self.fleet.indices(|agent| {
            !agent.has_answered(ask.number) && self.concerns(agent, ask.purpose) && waits_for(agent)
        })
    }

    /// The agents that are asked: at first also those that nobody waits for any more.
    fn asked(&self, ask: &Ask) -> Vec<usize> {
        if ask.tries > 0 || matches!(ask.purpose, Purpose::Close | Purpose::Withdrawn) {
            return self.unheard(ask);
        }
        let everyone = ask.purpose == Purpose::Status;
        let open = |agent: &Agent| everyone || agent.lost || !agent.ended();
        self.fleet.indices(|agent| open(agent) && self.concerns(agent, ask.purpose))
    }

    fn answers_are_in(&mut self, now: Instant, ask: Ask, unheard: &[usize]) {
        if !unheard.is_empty() && ask.tries <= ask.repeats_max {
            self.phase = Phase::Asking(Ask { from: now, until: None, named_to: None, ..ask });
            return;
        }
        let only_missing = self.only_missing(&ask);
        for index in unheard {
            match self.fleet.get_mut(*index) {
                Some(agent) if only_missing => agent.had_no_reason_to_answer(),
                Some(agent) => agent.missed_an_ask(),
                None => {}
            }
        }
        let next = ask.window.and_then(|window| self.window_from(window.area, window.first + window.count));
        if let Some(window) = next {
            let number = self.questions.begin_ask();
            let next =
                Ask { window: Some(window), tries: 0, named_to: None, from: now, until: None, number, ..ask };
            self.phase = Phase::Asking(next);
            return;
        }
        self.decide(now, ask.purpose);
    }

    /// In a large group only those who miss something answer a question about a window, once a first round
    /// has been decided upon with everyone's answers.
    fn only_missing(&self, ask: &Ask) -> bool {
        ask.window.is_some() && self.fleet.is_large() && self.turns.round > 0
    }

    fn send_query(&mut self, ask: &Ask, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let now = slot.now;
        let asked = self.asked(ask);
        let numbers = self.fleet.numbers(&asked);
        let left = &numbers[numbers.partition_point(|number| Some(*number) <= ask.named_to)..];
        let (named, count) = Named::first_of(left, TARGET_BYTES_MAX);
        // In the whole group a question to all costs less than several to some.
        let all = self.config.everyone && (asked.len() == self.fleet.len() || count < numbers.len());
        let (target, last) =
            if all { (Target::All, numbers.last()) } else { (named.target(), left[..count].last()) };
        let Some(last) = last.copied() else {
            // Nobody is left to be asked.
            self.phase = Phase::Asking(Ask { tries: ask.tries + 1, until: Some(now), ..ask.clone() });
            return Ok(None);
        };
        for index in &asked {
            if let Some(agent) = self.fleet.get_mut(*index) {
                let number = member_number(agent.id);
                if all || (number > ask.named_to && number <= Some(last)) {
                    agent.count_asked();
                }
            }
        }
        // Where several targets are needed, their answers share the same time.
        let leisure = self.leisure(asked.len(), ask.window);
        let id = self.job.as_ref().map(|subject| subject.update.offer.id);
        let query = Query {
            target,
            // Who has dropped an update would fetch it again if it were asked for it by name.
            update: id.filter(|_| ask.purpose != Purpose::Withdrawn),
            leisure_ms: leisure.as_millis() as u32,
            window: ask.window,
            only_missing: self.only_missing(ask),
            unicast_max: if let Purpose::Repair(blocks) = ask.purpose { blocks } else { 0 },
            detail: matches!(ask.purpose, Purpose::Status | Purpose::Close | Purpose::Confirm),
        };
        let sent = self.questions.send(&mut self.outbox, slot, &query, ask.number, leisure, To::Group)?;
        if Some(last) < numbers.last().copied() {
            self.phase = Phase::Asking(Ask { named_to: Some(last), ..ask.clone() });
            return Ok(Some(sent));
        }
        let waits = leisure + self.questions.straggle_wait(ask.tries);
        let airtime = self.outbox.airtime(sent.len() as u64);
        self.phase =
            Phase::Asking(Ask { tries: ask.tries + 1, until: Some(now + airtime + waits), ..ask.clone() });
        Ok(Some(sent))
    }

    /// Only agents that stay silent through the multicast asks are polled by unicast, a few at a time
    /// (protocol.md \[census\]). `false` when there is nobody whose address is known.
    pub(super) fn poll_silent(&mut self) -> bool {
        let mut indices = self.fleet.indices(|agent| {
            agent.unsure() && agent.address.is_some() && self.concerns(agent, Purpose::Close)
        });
        indices.truncate(POLLS_MAX);
        let any = !indices.is_empty();
        if any {
            let ask = self.questions.begin_ask();
            self.phase = Phase::Polling { ask, indices };
        }
        any
    }

    pub(super) fn step_polling(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let Phase::Polling { ask: number, indices } = &mut self.phase else { return Ok(None) };
        let number = *number;
        let Some(agent) = indices.pop().and_then(|index| self.fleet.get(index)) else {
            let (purpose, until) = (Purpose::Close, Some(slot.now + POLL_WAIT));
            self.phase = Phase::Asking(Ask {
                purpose,
                window: None,
                tries: 1,
                named_to: None,
                repeats_max: 0,
                from: slot.now,
                until,
                number,
                first_number: number,
            });
            return Ok(None);
        };
        let Some(address) = agent.address else { return Ok(None) };
        let to = To::Agent(address, agent.id);
        let query = Query {
            target: Target::All,
            update: self.job.as_ref().map(|subject| subject.update.offer.id),
            leisure_ms: 0,
            window: None,
            only_missing: false,
            unicast_max: 0,
            detail: true,
        };
        self.questions.send(&mut self.outbox, slot, &query, number, Duration::ZERO, to).map(Some)
    }

    /// Leisure = S * G / R (RFC 10020 section 3.6.1), with the real sizes.
    pub(super) fn leisure(&self, asked: usize, window: Option<Window>) -> Duration {
        let bitmap = window.map_or(0, |window| u64::from(window.count).div_ceil(8));
        let answer_bits = (bitmap + 80 + u64::from(self.config.overhead_bytes)) * 8;
        let micros = answer_bits * asked as u64 * 1_000_000 / self.outbox.bits_per_second();
        Duration::from_micros(micros).clamp(LEISURE_MIN, LEISURE_MAX)
    }

    /// A response: an answer to one of the last queries, or nothing of ours.
    pub(super) fn on_response(&mut self, now: Instant, from: SocketAddr, token: Token, bytes: &mut [u8]) {
        let Some(binding) = self.questions.binding(token) else { return };
        let Ok(response) = self.outbox.unprotect_response(bytes, binding) else { return };
        let Some(index) = self.outbox.members().index(response.kid()) else { return };
        let Ok(report) = Report::decode(response.body().payload()) else { return };
        let number = self.questions.answered(now, token);
        if let Some(agent) = self.fleet.get_mut(index).filter(|_| number > 0) {
            agent.count_answered();
        }
        self.take_report(index, from, number, &report);
    }

    /// What an agent says of itself, in an answer or an announcement.
    pub(super) fn take_report(&mut self, index: usize, from: SocketAddr, number: u32, report: &Report<'_>) {
        let next = self.outbox.next_sequence_number();
        let Some(agent) = self.fleet.get_mut(index) else { return };
        agent.heard_from(from);
        if report.distributor_next > next {
            let (agent, expects) = (agent.id, report.distributor_next);
            return self.finish(Ending::CounterBehind { agent, expects });
        }
        let about_this = self.job.as_ref().is_none_or(|s| report.update == Some(s.update.offer.id));
        let withdrawn = self.withdrawal.as_ref().is_some_and(|withdrawal| withdrawal.asks(number));
        if !about_this && !withdrawn {
            return;
        }
        if about_this {
            agent.take(number, report);
        } else {
            // It was asked what it holds, and that is something else or nothing.
            agent.take(
                number,
                &Report { state: State::Unknown, reason: 0, missing_pages: 0, missing_blocks: 0, ..*report },
            );
        }
        let id = agent.id;
        self.events.push_back(Event::Report(id));
        if let (Some((window, bitmap)), Some(subject)) = (report.window, &mut self.job) {
            let needed = match window.area {
                Area::Image => &mut subject.needed_blocks,
                Area::Pages => &mut subject.needed_pages,
            };
            // A late answer to an earlier ask may name blocks that have been sent since: only the ask under
            // way adds to what is sent next.
            if matches!(&self.phase, Phase::Asking(ask) if number >= ask.first_number) {
                needed.insert_bitmap(window.first, bitmap);
            }
        }
    }
}
