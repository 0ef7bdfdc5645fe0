//! Asking: the census from the distributor's side (protocol.md \[census\]).

use super::Agent;
use super::named::Named;
use super::outbox::{Slot, To};
use super::parts::Parts;
use super::phase::{Phase, Step};
use crate::census::{GenerationWindow, Query, Window};
use crate::limits::{
    ANSWER_BYTES, ASK_REPEATS_MAX, ASK_REPEATS_UNHEARD, FEW_PARTS, LEISURE_MAX, LEISURE_MIN,
    TARGET_BYTES_MAX, WINDOW_BLOCKS_MAX,
};
use crate::parity::lacks;
use crate::platform::Area;
use crate::target::{Target, member_number};
use crate::time::{Duration, Instant};
use alloc::vec::Vec;
use group_oscore::ProtectError;

/// What an ask is for. This decides what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Which pages of the hash tree are missing, and whether the offer arrived.
    Pages,
    /// Which image blocks are missing.
    Blocks,
    /// What the generations of the image lack, of agents that use parity.
    Generations,
    /// How far the unicast repair has come. The ask allows repair of up to this many blocks.
    Repair(u32),
    /// Which of the agents not yet heard are there at all.
    Close,
    /// How the trial is going.
    Confirm,
    /// What has become of an update that is being withdrawn.
    Withdrawn,
    /// Only the state of every agent.
    Status,
}

/// What a question is about: a window, generations, or both, so that each agent answers in its terms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    window: Option<Window>,
    generations: Option<GenerationWindow>,
}

impl Scope {
    /// The bytes that an answer takes for it.
    fn answer_bytes(self) -> u64 {
        let of_window = self.window.map_or(0, |window| u64::from(window.count).div_ceil(8));
        let of_generations = self
            .generations
            .map_or(0, |window| u64::from(window.count) * lacks::bytes_each(window.parity) as u64);
        of_window.max(of_generations)
    }
}

/// One ask: a query, repeated to those who stay silent, for each window in turn.
#[derive(Debug)]
pub(super) struct Ask {
    purpose: Purpose,
    scope: Option<Scope>,
    /// Queries sent so far for this window.
    tries: u8,
    /// The highest member number asked so far in this try, if one target cannot name all agents.
    named_to: Option<u32>,
    repeats_max: u8,
    /// The query may go out from this moment.
    from: Instant,
    /// Answers are awaited until then; `None` before the query is sent.
    until: Option<Instant>,
    /// When the leisure of the answers ends, if they are answers to a query that this ask has sent.
    leisure_ends: Option<Instant>,
    /// The number of this ask. Agents that have answered it carry it.
    number: u32,
    /// The number of the ask for the first window. Nothing has been sent since then.
    first_number: u32,
}

impl Ask {
    /// An ask with this number whose queries have already been sent one by one. It awaits answers until then.
    pub(super) const fn sent(purpose: Purpose, number: u32, from: Instant, until: Instant) -> Self {
        Self {
            purpose,
            scope: None,
            tries: 1,
            named_to: None,
            repeats_max: 0,
            from,
            until: Some(until),
            leisure_ends: None,
            number,
            first_number: number,
        }
    }

    /// When this ask next has something to do.
    pub(super) fn wakes_at(&self) -> Instant {
        self.until.unwrap_or(self.from)
    }

    /// The number of the ask for the first window.
    pub(super) const fn first_number(&self) -> u32 {
        self.first_number
    }

    /// Sends the query, waits for the answers, repeats it to the silent agents, continues with the next
    /// window, and at the end decides what comes next.
    pub(super) fn step(&mut self, slot: Slot<'_>, parts: &mut Parts) -> Result<Step, ProtectError> {
        match self.until {
            None if self.from > slot.now => Ok(Step::Idle),
            None => self.send_query(slot, parts),
            Some(until) => {
                let unheard = parts.unheard(self);
                // The answers so far show how late others may still be.
                let straggle = parts.questions.straggle_wait(self.tries.saturating_sub(1));
                let until = self.leisure_ends.map_or(until, |ends| until.min(ends + straggle));
                self.until = Some(until);
                if !unheard.is_empty() && slot.now < until {
                    return Ok(Step::Idle);
                }
                Ok(self.answers_are_in(slot.now, &unheard, parts))
            }
        }
    }

    fn answers_are_in(&mut self, now: Instant, unheard: &[usize], parts: &mut Parts) -> Step {
        if !unheard.is_empty()
            && self.tries <= self.repeats_max
            && parts.is_worth_repeating(unheard, self.tries)
        {
            self.send_again(now);
            return Step::Idle;
        }
        let only_missing = parts.only_missing(self.scope);
        for index in unheard {
            match parts.fleet.get_mut(*index) {
                Some(agent) if only_missing => agent.had_no_reason_to_answer(),
                Some(agent) => agent.missed_an_ask(),
                None => {}
            }
        }
        let next = self.scope.and_then(|scope| parts.scope_after(scope));
        if next.is_some() {
            self.scope = next;
            self.number = parts.questions.begin_ask();
            self.tries = 0;
            self.send_again(now);
            return Step::Idle;
        }
        Step::Next(parts.decide(now, self.purpose))
    }

    /// Sends the query once more, or for the first time.
    const fn send_again(&mut self, now: Instant) {
        (self.from, self.until, self.leisure_ends, self.named_to) = (now, None, None, None);
    }

    fn send_query(&mut self, slot: Slot<'_>, parts: &mut Parts) -> Result<Step, ProtectError> {
        let now = slot.now;
        let asked = parts.asked(self);
        let numbers = parts.fleet.numbers(&asked);
        let left = &numbers[numbers.partition_point(|number| Some(*number) <= self.named_to)..];
        let (named, count) = Named::first_of(left, TARGET_BYTES_MAX);
        // In the whole group, one question to everyone costs less than several questions to some.
        let all = parts.config.everyone && (asked.len() == parts.fleet.len() || count < numbers.len());
        let (target, last) =
            if all { (Target::All, numbers.last()) } else { (named.target(), left[..count].last()) };
        let Some(last) = last.copied() else {
            // Nobody is left to ask.
            (self.tries, self.until) = (self.tries + 1, Some(now));
            return Ok(Step::Idle);
        };
        for index in &asked {
            if let Some(agent) = parts.fleet.get_mut(*index) {
                let number = member_number(agent.id);
                if all || (number > self.named_to && number <= Some(last)) {
                    agent.is_asked_in(self.number);
                }
            }
        }
        // If several targets are needed, their answers share the same leisure.
        let leisure = parts.leisure(asked.len(), self.scope);
        let query = self.query(target, leisure, parts);
        let sent = parts.questions.send(&mut parts.outbox, slot, &query, self.number, leisure, To::Group)?;
        if Some(last) < numbers.last().copied() {
            self.named_to = Some(last);
            return Ok(Step::Sent(sent));
        }
        let waits = leisure + parts.questions.straggle_wait(self.tries);
        let airtime = parts.outbox.airtime(sent.len() as u64);
        (self.tries, self.until) = (self.tries + 1, Some(now + airtime + waits));
        self.leisure_ends = Some(now + airtime + leisure);
        Ok(Step::Sent(sent))
    }

    fn query<'t>(&self, target: Target<'t>, leisure: Duration, parts: &Parts) -> Query<'t> {
        let id = parts.job.as_ref().map(|subject| subject.update.offer.id);
        Query {
            target,
            // An agent that has dropped an update would fetch it again if the query named it.
            update: id.filter(|_| self.purpose != Purpose::Withdrawn),
            leisure_ms: leisure.as_millis() as u32,
            window: self.scope.and_then(|scope| scope.window),
            only_missing: parts.only_missing(self.scope),
            unicast_max: match self.purpose {
                Purpose::Repair(blocks) => blocks,
                // Nothing else is to be sent, and each answer to a request may help.
                _ if parts.turns.serves_only_faint() => u32::MAX,
                _ => 0,
            },
            detail: matches!(self.purpose, Purpose::Status | Purpose::Close | Purpose::Confirm),
            run: parts.run,
            generations: self.scope.and_then(|scope| scope.generations),
        }
    }
}

impl Parts {
    /// The phase that asks, now or later.
    pub(super) fn ask(&mut self, purpose: Purpose, from: Instant) -> Phase {
        let scope = match purpose {
            Purpose::Pages => self.window(Area::Pages, 0).map(|scope| Scope {
                generations: self.generations(Area::Pages, 0).filter(|_| self.turns.has_sent_pages()),
                ..scope
            }),
            Purpose::Blocks => self.blocks_scope(0),
            Purpose::Generations => self.generation_scope(0),
            _ => None,
        };
        let number = self.questions.begin_ask();
        let once = self.fleet.is_large() && !matches!(purpose, Purpose::Close | Purpose::Withdrawn);
        let repeats_max = if once { 0 } else { ASK_REPEATS_MAX };
        self.forget_needed(scope);
        Phase::Asking(Ask {
            purpose,
            scope,
            tries: 0,
            named_to: None,
            repeats_max,
            from,
            until: None,
            leisure_ends: None,
            number,
            first_number: number,
        })
    }

    /// What is asked in order to know which blocks to send.
    pub(super) fn asks_what_is_missing(&self) -> Purpose {
        let uses_parity = self.job.as_ref().is_some_and(|subject| subject.mending.is_some());
        if uses_parity { Purpose::Generations } else { Purpose::Blocks }
    }

    /// Forgets what agents were last known to need: they report it anew.
    fn forget_needed(&mut self, scope: Option<Scope>) {
        let (Some(subject), Some(scope)) = (&mut self.job, scope) else { return };
        match scope.window.map(|window| window.area) {
            // What generations lack beside has just been said.
            Some(Area::Image) => return subject.needed_blocks.clear(),
            // What agents have said holds until pages are sent.
            Some(Area::Pages) if self.turns.has_sent_pages() => subject.needed_pages.clear(),
            Some(Area::Pages) | None => {}
        }
        if let (Some(window), Some(mending)) = (scope.generations, &mut subject.mending) {
            mending.of_mut(window.area).lacks.clear();
        }
    }

    /// The blocks of an area from `first` on, as many as one question may cover.
    fn window(&self, area: Area, first: u32) -> Option<Scope> {
        let subject = self.job.as_ref()?;
        let count = match area {
            Area::Image => subject.needed_blocks.count(),
            Area::Pages => subject.needed_pages.count(),
        };
        let left = count.checked_sub(first).filter(|left| *left > 0)?;
        let window = Window { area, first, count: left.min(WINDOW_BLOCKS_MAX) };
        Some(Scope { window: Some(window), generations: None })
    }

    /// The first pages of the hash tree, as many as one question may cover.
    pub(super) fn first_pages(&self) -> Option<Window> {
        self.window(Area::Pages, 0).and_then(|scope| scope.window)
    }

    /// The generations of an area from `first` on, as many as one question may cover.
    fn generations(&self, area: Area, first: u32) -> Option<GenerationWindow> {
        let mending = self.job.as_ref()?.mending.as_ref()?;
        let left = mending.of(area).generations.count().checked_sub(first).filter(|left| *left > 0)?;
        let count = left.min(lacks::asked_max(mending.parity));
        Some(GenerationWindow { parity: mending.parity, area, first, count })
    }

    /// The blocks from `first` on. Who uses parity names only those that parity cannot repair.
    fn blocks_scope(&self, first: u32) -> Option<Scope> {
        let scope = self.window(Area::Image, first)?;
        Some(Scope { generations: self.generations(Area::Image, 0), ..scope })
    }

    fn generation_scope(&self, first: u32) -> Option<Scope> {
        let generations = self.generations(Area::Image, first)?;
        Some(Scope { window: None, generations: Some(generations) })
    }

    /// What the next question of an ask is about.
    fn scope_after(&self, scope: Scope) -> Option<Scope> {
        match (scope.window, scope.generations) {
            (Some(window), _) if window.area == Area::Image => self.blocks_scope(window.first + window.count),
            (Some(window), _) => self.window(window.area, window.first + window.count),
            (None, Some(window)) => self.generation_scope(window.first + window.count),
            (None, None) => None,
        }
    }

    /// The agents that this ask waits for and has not yet heard, by index.
    fn unheard(&self, ask: &Ask) -> Vec<usize> {
        let waits_for = |agent: &Agent| match ask.purpose {
            Purpose::Close => agent.unsure(),
            // A census asks everyone, whatever has become of an update there.
            Purpose::Status => !agent.lost,
            Purpose::Withdrawn => self.is_to_answer_for_it(agent),
            _ => agent.awaited(),
        };
        self.fleet.indices(|agent| {
            !agent.has_answered(ask.number) && self.concerns(agent, ask.purpose) && waits_for(agent)
        })
    }

    /// Whether a question is repeated to those who have not answered, after so many tries. While others wait,
    /// few are asked only once more, and not at all if they had not answered the ask before either.
    fn is_worth_repeating(&self, unheard: &[usize], tries: u8) -> bool {
        let answers = |agent: &Agent| agent.silence() == 0 && agent.status.is_some();
        let others_wait = self.fleet.agents().iter().any(|agent| {
            answers(agent) && agent.waited_for() && agent.awaited() && agent.on_trial_since().is_none()
        });
        if !others_wait {
            return tries <= ASK_REPEATS_UNHEARD || self.fleet.anybody_heard();
        }
        let is_new = |agent: &Agent| agent.silence() == 0;
        let news = unheard.iter().filter_map(|index| self.fleet.get(*index)).any(is_new);
        let few = unheard.len() <= (self.fleet.len() / FEW_PARTS).max(1);
        news && (tries < 2 || !few)
    }

    /// The agents to ask; in the first try this includes those that nobody waits for any more.
    fn asked(&self, ask: &Ask) -> Vec<usize> {
        if ask.tries > 0 || matches!(ask.purpose, Purpose::Close | Purpose::Withdrawn) {
            return self.unheard(ask);
        }
        let everyone = ask.purpose == Purpose::Status;
        let open = |agent: &Agent| everyone || agent.lost || !agent.ended();
        self.fleet.indices(|agent| open(agent) && self.concerns(agent, ask.purpose))
    }

    /// In a large group only agents that miss something answer a question about a window, once everyone's
    /// answers have decided a first round.
    fn only_missing(&self, scope: Option<Scope>) -> bool {
        scope.is_some() && self.fleet.is_large() && self.turns.has_had_a_round()
    }

    /// Leisure = S * G / R (RFC 10020 section 3.6.1), with the real sizes.
    pub(super) fn leisure(&self, asked: usize, scope: Option<Scope>) -> Duration {
        let bytes = scope.map_or(0, Scope::answer_bytes);
        let answer_bits = (bytes + ANSWER_BYTES + u64::from(self.config.overhead_bytes)) * 8;
        let micros = answer_bits * asked as u64 * 1_000_000 / self.outbox.bits_per_second();
        Duration::from_micros(micros).clamp(LEISURE_MIN, LEISURE_MAX)
    }
}
