//! The order to activate (protocol.md \[attempt\], [moment], [bound]).

use super::asks::Purpose;
use super::named::Named;
use super::outbox::{Sent, Slot, To};
use super::parts::Parts;
use super::phase::{Phase, Step};
use super::{Event, Stage};
use crate::command::Command;
use crate::limits::{ATTEMPTS_AHEAD_MAX, ORDER_COPIES};
use crate::resource::Resource;
use crate::target::Target;
use crate::time::Instant;
use alloc::vec::Vec;
use group_oscore::ProtectError;

/// The attempt numbers of a distribution (protocol.md \[attempt\]), and when it activated.
#[derive(Debug)]
pub(super) struct Attempts {
    /// The attempt for agents that have acted upon none.
    first: u32,
    /// The highest attempt used; 0 for none.
    used: u32,
    /// Orders sent: whose turn is next.
    turn: u32,
    activated_at: Option<Instant>,
}

impl Attempts {
    pub(super) fn new(first: u32) -> Self {
        Self { first: first.max(1), used: 0, turn: 0, activated_at: None }
    }

    /// The highest attempt used; 0 for none.
    pub(super) const fn used(&self) -> u32 {
        self.used
    }

    /// When the activation began.
    pub(super) const fn activated_at(&self) -> Option<Instant> {
        self.activated_at
    }

    /// Marks this attempt as used; no lower one is used afterwards.
    pub(super) const fn raise_to(&mut self, attempt: u32) {
        self.used = attempt;
    }

    /// Notes that an order with this attempt goes out. It does not count if it is too far ahead: an agent
    /// that claims a high attempt must not use the attempts up for all.
    pub(super) fn told(&mut self, attempt: u32) {
        if attempt - self.first <= ATTEMPTS_AHEAD_MAX {
            self.used = self.used.max(attempt);
        }
    }

    /// The number of the next order.
    const fn next_turn(&mut self) -> usize {
        let turn = self.turn;
        self.turn = turn.wrapping_add(1);
        turn as usize
    }
}

/// Sends the order to activate a few times, then asks for the result.
#[derive(Debug)]
pub(super) struct Activating {
    /// Orders still to be sent.
    left: u32,
}

impl Activating {
    pub(super) fn step(&mut self, slot: Slot<'_>, parts: &mut Parts) -> Result<Step, ProtectError> {
        if self.left == 0 {
            parts.outbox.skip_soon();
            let wait = parts.pause(slot.now);
            return Ok(Step::Next(parts.ask(Purpose::Confirm, slot.now + wait)));
        }
        self.left -= 1;
        Ok(parts.send_activation(slot)?.map_or(Step::Idle, Step::Sent))
    }
}

impl Parts {
    pub(super) fn begin_activation(&mut self, now: Instant) -> Phase {
        self.attempts.activated_at = Some(now);
        self.turns.activated();
        self.events.push_back(Event::Stage(Stage::Activation));
        self.activate(ORDER_COPIES)
    }

    /// The phase that sends each order this many times.
    pub(super) fn activate(&mut self, copies: u32) -> Phase {
        let waiting = self.fleet.waiting();
        self.order_again_alone(&waiting);
        let orders = self.activations().len() as u32;
        Phase::Activating(Activating { left: copies * orders.max(1) })
    }

    /// Orders the agents that wait to activate. Where they need different attempts, it sends one attempt at a
    /// time. It names agents one by one, so that a higher attempt does not reach an agent that rolled back at
    /// a lower one. Where one target cannot name them all, it sends one target at a time.
    pub(super) fn send_activation(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let orders = self.activations();
        let turn = self.attempts.next_turn();
        let next = turn.checked_rem(orders.len()).and_then(|turn| orders.get(turn));
        let Some((attempt, named)) = next else { return Ok(None) };
        let attempt = *attempt;
        self.attempts.told(attempt);
        self.note_trials(slot.now, &self.fleet.waiting());
        let copy = turn.checked_div(orders.len()).unwrap_or(0);
        self.send_order(Resource::Activate, attempt, named.target(), false, copy, slot)
    }

    fn activations(&self) -> Vec<(u32, Named)> {
        let waiting = self.fleet.waiting();
        let mut attempts: Vec<u32> = waiting.iter().map(|index| self.attempt_for(*index)).collect();
        attempts.sort_unstable();
        attempts.dedup();
        let mut orders = Vec::new();
        for attempt in attempts {
            let meant: Vec<usize> =
                waiting.iter().copied().filter(|index| self.attempt_for(*index) == attempt).collect();
            orders.extend(self.fleet.named(&meant).into_iter().map(|named| (attempt, named)));
        }
        orders
    }

    /// A reset cuts an attempt off if the agent acted upon it and the image is still waiting. This agent, and
    /// no other, then needs a higher attempt.
    pub(super) fn attempt_for(&self, index: usize) -> u32 {
        let status = self.fleet.get(index).and_then(|agent| agent.status);
        let acted_upon = status.map_or(0, |status| status.attempt);
        self.attempts.first.max(acted_upon.saturating_add(1))
    }

    /// Sends an order to the group, dated by a question that many have answered, and with the next turn by
    /// another one.
    pub(super) fn send_order(
        &mut self,
        resource: Resource,
        attempt: u32,
        target: Target<'_>,
        from_trial: bool,
        turn: usize,
        slot: Slot<'_>,
    ) -> Result<Option<Sent>, ProtectError> {
        let Some(subject) = &self.job else { return Ok(None) };
        let (digest, delay_ms) = (subject.digest(), self.config.delay_ms);
        let question = self.fleet.heard_question(turn, self.questions.remembered_from());
        let dated = question.map(|question| question.dated(slot.now));
        let command = Command { digest, attempt, target, delay_ms, from_trial, dated };
        let (sent, ..) = self.outbox.order(slot, resource, &command, &[], To::Group)?;
        Ok(Some(sent))
    }
}
