//! Withdrawing an update: a cancellation drops it where it is not yet on trial; an undo takes it back where
//! it is (protocol.md \[attempt\]). Either way every agent is then asked for the result.

use super::asks::Purpose;
use super::named::Named;
use super::outbox::Slot;
use super::parts::Parts;
use super::phase::{Phase, Step};
use super::{Agent, Ending, Event, Stage, Status};
use crate::census::State;
use crate::limits::{ATTEMPTS_AHEAD_MAX, ORDER_AGAIN_AFTER, ORDER_COPIES, WITHDRAWAL_ROUNDS_MAX};
use crate::reception::Failure;
use crate::resource::Resource;
use crate::target::Target;
use crate::time::Instant;
use alloc::vec::Vec;
use group_oscore::ProtectError;

/// The withdrawal of an update.
#[derive(Debug)]
pub(super) struct Withdrawal {
    undoes: bool,
    began_at: Instant,
    /// When the attempt was last raised.
    raised_at: Instant,
    /// Its first ask: earlier reports do not count.
    first_ask: u32,
    /// Orders and asks so far.
    rounds: u8,
    /// The targets of the current orders, which take turns; empty for everyone.
    named: Vec<Named>,
    turn: usize,
}

/// What has become of the update at one agent, because of an order to withdraw it or before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The agent has dropped it, and runs what it ran before.
    Dropped,
    /// It had already ended there: failed, refused, or never taken up.
    Nothing,
    /// The agent still holds it, without running it.
    Held,
    /// The agent runs it on trial.
    OnTrial,
    /// The agent runs it and has confirmed it.
    Confirmed,
    /// The agent has returned to its previous image.
    RolledBack,
    /// The agent has not been heard since.
    Silent,
}

impl Agent {
    /// What has become of the update here, after [`Ending::Cancelled`] or [`Ending::Undone`].
    #[must_use]
    pub fn fate(&self) -> Fate {
        let Some(status) = self.status.filter(|_| !self.lost) else { return Fate::Silent };
        match status.state {
            State::Failed if status.reason == Failure::Cancelled as u8 => Fate::Dropped,
            State::Failed if status.reason == Failure::Stuck as u8 => Fate::OnTrial,
            State::Failed | State::Refused | State::Unknown | State::Idle => Fate::Nothing,
            State::Trial => Fate::OnTrial,
            State::Confirmed => Fate::Confirmed,
            State::RolledBack => Fate::RolledBack,
            _ => Fate::Held,
        }
    }

    /// Whether the agent holds an update that a cancellation would make it drop.
    const fn can_drop(status: &Status) -> bool {
        matches!(
            status.state,
            State::Recovering
                | State::Pages
                | State::Blocks
                | State::Checking
                | State::Ready
                | State::Scheduled
                | State::Deferred
        )
    }

    /// Whether the agent runs an update on trial, or is about to.
    const fn can_go_back(status: &Status) -> bool {
        matches!(status.state, State::Trial | State::Scheduled | State::Deferred)
            || (matches!(status.state, State::Failed) && status.reason == Failure::Stuck as u8)
    }
}

impl Withdrawal {
    /// Whether it also takes back an image on trial.
    pub(super) const fn undoes(&self) -> bool {
        self.undoes
    }

    /// Whether this ask belongs to the withdrawal.
    pub(super) const fn asks(&self, number: u32) -> bool {
        number >= self.first_ask
    }

    /// The target of the next order; `None` for everyone.
    fn next_named(&mut self) -> Option<Named> {
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn.checked_rem(self.named.len());
        turn.and_then(|turn| self.named.get(turn)).cloned()
    }

    /// Whether the order is for an agent with this status.
    pub(super) const fn is_for(&self, status: &Status) -> bool {
        if self.undoes { Agent::can_go_back(status) } else { Agent::can_drop(status) }
    }
}

/// Sends the order to withdraw the update a few times, then asks for the result.
#[derive(Debug)]
pub(super) struct Withdrawing {
    /// Orders still to be sent.
    left: u32,
}

impl Withdrawing {
    pub(super) fn step(&mut self, slot: Slot<'_>, parts: &mut Parts) -> Result<Step, ProtectError> {
        let Some(withdrawal) = &mut parts.withdrawal else { return Ok(Step::Idle) };
        if self.left == 0 {
            if withdrawal.undoes {
                parts.outbox.skip_soon();
            }
            let wait = parts.pause(slot.now);
            return Ok(Step::Next(parts.ask(Purpose::Withdrawn, slot.now + wait)));
        }
        self.left -= 1;
        let (named, undoes) = (withdrawal.next_named(), withdrawal.undoes);
        let copy = withdrawal.turn.checked_div(withdrawal.named.len().max(1)).unwrap_or(0);
        let target = named.as_ref().map_or(Target::All, Named::target);
        let sent = parts.send_order(Resource::Cancel, parts.attempts.used(), target, undoes, copy, slot)?;
        Ok(sent.map_or(Step::Idle, Step::Sent))
    }
}

impl Parts {
    /// The phase that drops the update everywhere.
    pub(super) fn cancel(&mut self, now: Instant) -> Phase {
        if !self.begin_withdrawal(now, false) {
            return self.finish(Ending::Cancelled);
        }
        self.events.push_back(Event::Stage(Stage::Cancellation));
        self.raise_attempt(now);
        if self.fleet.heard_question(0, self.questions.remembered_from()).is_none() {
            // No agent could tell that the order is recent, so they are asked first.
            return self.ask(Purpose::Withdrawn, now);
        }
        // To everyone at first, whatever each agent has acted upon.
        let all: Vec<usize> = (0..self.fleet.len()).collect();
        self.order(&all, ORDER_COPIES)
    }

    /// The phase that takes back the update where it is on trial.
    pub(super) fn undo(&mut self, now: Instant) -> Phase {
        if !self.begin_withdrawal(now, true) {
            return self.finish(Ending::Undone);
        }
        self.events.push_back(Event::Stage(Stage::Undo));
        self.raise_attempt(now);
        // Asks first which agents are on trial: no other agent may hear the order.
        self.ask(Purpose::Withdrawn, now)
    }

    /// Begins the withdrawal; `false` if there is nothing to withdraw.
    fn begin_withdrawal(&mut self, now: Instant, undoes: bool) -> bool {
        if self.job.is_none() {
            return false;
        }
        self.fleet.iter_mut().for_each(Agent::expect_again);
        self.turns.moved_on();
        self.withdrawal = Some(Withdrawal {
            undoes,
            began_at: now,
            raised_at: now,
            first_ask: self.questions.next_ask(),
            rounds: 0,
            named: Vec::new(),
            turn: 0,
        });
        true
    }

    /// Whether agents get no more blocks, because the update is being dropped.
    pub(super) fn is_cancelling(&self) -> bool {
        self.withdrawal.as_ref().is_some_and(|withdrawal| !withdrawal.undoes)
    }

    /// Raises the attempt above all that have been acted upon. Implausibly high claims do not count:
    /// otherwise a single agent could use up the attempts of all.
    fn raise_attempt(&mut self, now: Instant) {
        let used = self.attempt();
        let acted_upon = self.fleet.agents().iter().filter_map(|agent| Some(agent.status?.attempt));
        let highest = acted_upon.filter(|attempt| attempt.saturating_sub(used) <= ATTEMPTS_AHEAD_MAX).max();
        self.attempts.raise_to(used.max(highest.unwrap_or(0)).saturating_add(1));
        if let Some(withdrawal) = &mut self.withdrawal {
            withdrawal.raised_at = now;
        }
    }

    /// The phase that sends the order to these agents this many times.
    fn order(&mut self, indices: &[usize], copies: u32) -> Phase {
        self.order_again_alone(indices);
        let everyone = self.config.everyone && indices.len() == self.fleet.len();
        let named = if everyone { Vec::new() } else { self.fleet.named(indices) };
        let left = copies * (named.len().max(1) as u32);
        if let Some(withdrawal) = &mut self.withdrawal {
            withdrawal.named = named;
        }
        Phase::Withdrawing(Withdrawing { left })
    }

    /// Whether the result of the order is not yet known at this agent.
    pub(super) fn is_to_answer_for_it(&self, agent: &Agent) -> bool {
        let Some(withdrawal) = self.withdrawal.as_ref().filter(|_| !agent.lost) else { return false };
        match &agent.status {
            // Whether it activates or only checks its image is known in a moment.
            Some(status) if agent.has_answered(withdrawal.first_ask) => {
                withdrawal.is_for(status) || status.state == State::Checking
            }
            _ => !agent.ended(),
        }
    }

    /// Repeats the order and the question to agents that still hold the update, until every agent has
    /// answered for it or the time is over.
    pub(super) fn decide_withdrawal(&mut self, now: Instant) -> Phase {
        let Some(withdrawal) = &mut self.withdrawal else { return self.finish(Ending::Done) };
        withdrawal.rounds = withdrawal.rounds.saturating_add(1);
        let (undoes, first_ask) = (withdrawal.undoes, withdrawal.first_ask);
        let rounds_over = withdrawal.rounds >= WITHDRAWAL_ROUNDS_MAX;
        // Going back takes as long as a trial; reporting it does not.
        let late = now.since(withdrawal.began_at) >= self.config.confirm_within;
        let over = |agent: &Agent| {
            let goes_back = undoes && agent.status.as_ref().is_some_and(Agent::can_go_back);
            late || (rounds_over && !goes_back)
        };
        let open: Vec<usize> = self.open(|agent| !over(agent));
        if open.is_empty() {
            let silent: Vec<usize> = self.open(|agent| !agent.has_answered(first_ask));
            for index in silent {
                if let Some(agent) = self.fleet.get_mut(index) {
                    agent.lose();
                    self.events.push_back(Event::Lost(agent.id));
                }
            }
            return self.finish(if undoes { Ending::Undone } else { Ending::Cancelled });
        }
        self.order_again(now, open)
    }

    fn open(&self, counts: impl Fn(&Agent) -> bool) -> Vec<usize> {
        self.fleet.indices(|agent| self.is_to_answer_for_it(agent) && counts(agent))
    }

    /// Repeats the order to the agents that it is for. If it drops the update, it also goes to agents not
    /// heard: they may come back. An agent that has heard it needs a higher attempt, and some time before
    /// that.
    fn order_again(&mut self, now: Instant, open: Vec<usize>) -> Phase {
        let Some(withdrawal) = &self.withdrawal else { return self.finish(Ending::Done) };
        let attempt = self.attempts.used();
        let status = |index: &usize| self.fleet.get(*index).and_then(|agent| agent.status);
        let raises = now.since(withdrawal.raised_at) >= ORDER_AGAIN_AFTER;
        let meant = open.into_iter().filter(|index| match status(index) {
            Some(status) if withdrawal.is_for(&status) => raises || status.attempt < attempt,
            Some(_) => false,
            None => !withdrawal.undoes,
        });
        let meant: Vec<usize> = meant.collect();
        if meant.is_empty() {
            let wait = self.pause(now);
            return self.ask(Purpose::Withdrawn, now + wait);
        }
        let heard = meant.iter().any(|index| status(index).is_some_and(|status| status.attempt >= attempt));
        if heard {
            self.raise_attempt(now);
        }
        self.order(&meant, 1)
    }
}
