//! Waves: which agents a distribution waits for, and how the trials of some run alongside the transfer to
//! others (protocol.md \[waves\]).
//!
//! A wave activates when each of its agents has the image, has ended or is lost; it waits for no other agent.
//! From then on questions go to the wave, and to agents outside it that are known to miss something. Those
//! are sent what they miss until the time for the transfer is over. The distribution ends with the trials of
//! the wave, whatever the others still miss.

use super::asks::Purpose;
use super::outbox::Slot;
use super::parts::Parts;
use super::phase::{Phase, Step};
use super::{Agent, Ending};
use crate::platform::Area;
use crate::time::Instant;
use alloc::vec::Vec;
use group_oscore::ProtectError;

impl Parts {
    /// Whether the image has been activated.
    pub(super) const fn is_on_trial(&self) -> bool {
        self.attempts.activated_at().is_some()
    }

    /// Whether an agent is asked for this purpose. How the trial is going concerns only the wave; meanwhile
    /// agents outside it that miss nothing are not asked.
    pub(super) fn concerns(&self, agent: &Agent, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Close | Purpose::Confirm => agent.waited_for(),
            // Who uses parity says what its generations lack.
            Purpose::Blocks if !agent.lives_on_blocks() => false,
            Purpose::Pages | Purpose::Blocks | Purpose::Generations | Purpose::Repair(_)
                if self.is_on_trial() =>
            {
                self.is_expected(agent)
            }
            Purpose::Pages => self.may_have_news_of_pages(agent),
            Purpose::Blocks | Purpose::Generations | Purpose::Repair(_) => {
                // Orders are dated by questions that agents have answered a short time ago.
                !agent.has_all() || agent.silence() > 0 || !self.questions.was_answered_of_late(agent)
            }
            Purpose::Status | Purpose::Withdrawn => true,
        }
    }

    /// Whether an agent may say something new about pages of the hash tree. What agents have named is still
    /// needed until pages are sent, and who has them all keeps them.
    fn may_have_news_of_pages(&self, agent: &Agent) -> bool {
        let is_named = self.job.as_ref().is_some_and(|subject| subject.needed_pages.len() > 0);
        let may_miss_some = if is_named && !self.turns.has_sent_pages() {
            agent.is_without_update()
        } else {
            agent.may_miss_pages()
        };
        may_miss_some || agent.silence() > 0 || agent.is_busy()
    }

    /// Whether something is still expected of an agent that has not ended.
    fn is_expected(&self, agent: &Agent) -> bool {
        !self.is_on_trial() || agent.waited_for() || !agent.has_all()
    }

    /// The agents of which something is still expected, by index.
    pub(super) fn concerned(&self) -> Vec<usize> {
        let open = |agent: &Agent| !self.is_on_trial() || agent.lost || !agent.ended();
        self.fleet.indices(|agent| open(agent) && self.is_expected(agent))
    }

    /// What to ask after a round.
    pub(super) fn purpose_after(&self, round: Area) -> Purpose {
        match round {
            // The trials come first; then the question what is missing.
            _ if self.is_on_trial() => Purpose::Confirm,
            Area::Pages => Purpose::Pages,
            Area::Image => self.asks_what_is_missing(),
        }
    }

    /// Continues the trials until each has ended, or until the deadline.
    pub(super) fn decide_trials(&mut self, now: Instant, purpose: Purpose) -> Phase {
        self.note_trials(now, &self.fleet.indices(Agent::is_on_trial));
        if self.trials_are_over(now) {
            return self.end_trials();
        }
        let only_silent = self.fleet.waited_for().all(|agent| agent.ended() || agent.is_absent());
        // Agents restart: silence after the order means nothing. For an agent that is silent and misses
        // something, nothing is sent.
        for agent in self.fleet.iter_mut().filter(|agent| agent.waited_for() && agent.has_all()) {
            agent.forgive_silence();
        }
        if !self.fleet.waiting().is_empty() {
            return self.activate(1);
        }
        if !self.transfer_is_late(now)
            && let Some(next) = self.serve(now, purpose)
        {
            return next;
        }
        let wait = if only_silent { self.pause_for_silent(now) } else { self.pause(now) };
        self.ask(Purpose::Confirm, now + wait)
    }

    /// In the middle of a round for others, checks whether the trials have ended, or whether an agent of the
    /// wave waits for the order.
    pub(super) fn look_at_trials(&mut self, slot: Slot<'_>) -> Result<Step, ProtectError> {
        if self.trials_are_over(slot.now) {
            return Ok(Step::Next(self.end_trials()));
        }
        let Some(sent) = self.send_activation(slot)? else { return Ok(Step::Idle) };
        self.outbox.skip_soon();
        Ok(Step::Sent(sent))
    }

    /// Whether each trial has ended and laggards have had their time as well.
    pub(super) fn trials_are_over(&mut self, now: Instant) -> bool {
        let over = self.fleet.waited_for().all(|agent| agent.ended() || agent.laggard().is_some());
        over && !self.laggards_may_catch_up(now)
    }

    pub(super) fn end_trials(&mut self) -> Phase {
        self.fleet.lose(&mut self.events, |agent| agent.waited_for() && !agent.ended());
        self.finish(Ending::Done)
    }
}
