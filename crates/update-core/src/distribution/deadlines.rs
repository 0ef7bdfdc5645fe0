//! Deadlines: until when each agent is waited for (protocol.md \[silence\]).
//!
//! No other agent waits for one that stays silent: the others get their blocks, activate and report. The
//! silent one is asked now and then, and counts as lost when its own time is over.

use super::parts::Parts;
use super::phase::Phase;
use super::{Activate, Agent, Ending, Event};
use crate::time::{Duration, Instant};

const NEVER: Instant = Instant::from_micros(u64::MAX);

/// The next moment at which somebody's time may be over.
#[derive(Debug)]
pub(super) struct Deadlines {
    next: Instant,
}

impl Deadlines {
    pub(super) const fn new(now: Instant) -> Self {
        Self { next: now }
    }

    /// At this moment an agent's time is over.
    fn note(&mut self, at: Instant) {
        self.next = self.next.min(at);
    }
}

impl Parts {
    /// When to check whose time is over.
    pub(super) fn time_limit(&self) -> Option<Instant> {
        let ends = self.job.is_some() && self.withdrawal.is_none();
        Some(self.deadlines.next).filter(|next| ends && *next < NEVER)
    }

    /// Counts agents as lost whose time is over. Returns what follows, if that changes what is done.
    pub(super) fn time_is_over(&mut self, now: Instant) -> Option<Phase> {
        self.time_limit().filter(|limit| now >= *limit)?;
        for index in self.fleet.indices(|agent| !agent.ended() && self.time_of(agent) <= now) {
            if let Some(agent) = self.fleet.get_mut(index) {
                agent.lose();
                self.events.push_back(Event::Lost(agent.id));
            }
        }
        let transfer = self.transfer_ends();
        let open = self.fleet.agents().iter().filter(|agent| !agent.ended()).map(|agent| self.time_of(agent));
        let more = Some(transfer).filter(|end| *end > now && !self.is_on_trial());
        self.deadlines.next = open.chain(more).min().unwrap_or(NEVER);
        if self.is_on_trial() {
            return self.trials_are_over(now).then(|| self.end_trials());
        }
        if now >= transfer {
            return Some(self.transfer_complete(now));
        }
        let nobody_is_left = self.fleet.waited_for().all(|agent| agent.lost);
        let ending = if self.fleet.anybody_heard() { Ending::Done } else { Ending::NobodyAnswered };
        nobody_is_left.then(|| self.finish(ending))
    }

    /// An agent's report may change until when it is waited for.
    pub(super) fn note_deadline(&mut self, index: usize) {
        let at = self.fleet.get(index).filter(|agent| !agent.ended()).map(|agent| self.time_of(agent));
        self.deadlines.note(at.unwrap_or(NEVER));
    }

    /// Until when an agent is waited for.
    fn time_of(&self, agent: &Agent) -> Instant {
        if let Some(at) = agent.on_trial_since() {
            let put_off = if agent.was_deferred() { self.config.deferred_within } else { Duration::ZERO };
            return at + self.delay() + self.config.confirm_within + put_off;
        }
        if !agent.waited_for() || agent.has_all() {
            // Nothing is expected of it, or it waits for the order.
            return NEVER;
        }
        if agent.status.is_none() && !self.config.leaves_silent {
            return self.transfer_ends().min(self.first_answer_due());
        }
        self.transfer_ends()
    }

    /// When the time for the transfer is over.
    fn transfer_ends(&self) -> Instant {
        self.started_at + self.config.transfer_within
    }

    /// By when some agent must have answered.
    pub(super) fn first_answer_due(&self) -> Instant {
        self.started_at + self.config.first_answer_within
    }

    pub(super) fn transfer_is_late(&self, now: Instant) -> bool {
        now >= self.transfer_ends()
    }

    /// These agents run the new image on trial, or were just told to.
    pub(super) fn note_trials(&mut self, now: Instant, told: &[usize]) {
        let ends = now + self.delay() + self.config.confirm_within;
        for index in told {
            if let Some(agent) = self.fleet.get_mut(*index)
                && agent.begin_trial(now)
            {
                self.deadlines.note(ends);
            }
        }
    }

    /// Whether an agent that is waited for is silent and may still come back.
    pub(super) fn waits_for_silent(&self) -> bool {
        let leaves = self.config.leaves_silent && self.config.activate == Activate::Nobody;
        !leaves && self.fleet.waited_for().any(Agent::is_absent)
    }
}
