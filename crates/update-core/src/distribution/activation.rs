//! The order to activate (protocol.md \[attempt\], [moment], [bound]).

use super::asks::Purpose;
use super::named::Named;
use super::outbox::{Sent, Slot};
use super::{Distribution, Event, Phase, Stage};
use crate::command::Command;
use crate::limits::{ATTEMPTS_AHEAD_MAX, ORDER_COPIES};
use crate::resource::Resource;
use crate::target::Target;
use crate::time::Instant;
use alloc::vec::Vec;
use group_oscore::ProtectError;

impl Distribution {
    pub(super) fn begin_activation(&mut self, now: Instant) {
        self.turns.attempt = self.config.attempt.max(1);
        self.turns.activated_at = Some(now);
        self.turns.again = crate::limits::ASK_AGAIN_FIRST;
        self.events.push_back(Event::Stage(Stage::Activation));
        self.phase = Phase::Activating { left: ORDER_COPIES * self.orders().max(1) };
    }

    pub(super) fn step_activating(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let Phase::Activating { left } = &mut self.phase else { return Ok(None) };
        if *left == 0 {
            self.outbox.skip_soon();
            let wait = self.turns.wait();
            self.ask(Purpose::Confirm, slot.now + wait);
            return Ok(None);
        }
        *left -= 1;
        self.send_activation(slot)
    }

    /// Orders those who wait to activate, one attempt at a time where they need different ones. They are
    /// named one by one, so that a higher attempt reaches nobody who has rolled back at a lower one, and one
    /// target at a time where one does not name them all.
    pub(super) fn send_activation(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let orders = self.activations();
        let turn = self.turns.activations as usize;
        self.turns.activations = self.turns.activations.wrapping_add(1);
        let next = turn.checked_rem(orders.len()).and_then(|turn| orders.get(turn));
        let Some((attempt, named)) = next else { return Ok(None) };
        let attempt = *attempt;
        if attempt - self.turns.attempt <= ATTEMPTS_AHEAD_MAX {
            self.turns.attempt_used = self.turns.attempt_used.max(attempt);
        }
        self.send_order(Resource::Activate, attempt, named.target(), false, slot)
    }

    /// How many orders it takes to reach everyone who waits.
    pub(super) fn orders(&self) -> u32 {
        self.activations().len() as u32
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

    /// An attempt that was acted upon and yet left the image waiting was cut off by a reset: this agent, and
    /// no other one, needs a higher one.
    fn attempt_for(&self, index: usize) -> u32 {
        let status = self.fleet.get(index).and_then(|agent| agent.status);
        let acted_upon = status.map_or(0, |status| status.attempt);
        self.turns.attempt.max(acted_upon.saturating_add(1))
    }

    /// Sends an order to the group.
    pub(super) fn send_order(
        &mut self,
        resource: Resource,
        attempt: u32,
        target: Target<'_>,
        from_trial: bool,
        slot: Slot<'_>,
    ) -> Result<Option<Sent>, ProtectError> {
        let Some(subject) = &self.job else { return Ok(None) };
        let digest = subject.digest();
        let command = Command { digest, attempt, target, delay_ms: self.config.delay_ms, from_trial };
        self.outbox.order(slot, resource, &command).map(Some)
    }

    pub(super) fn delay(&self) -> crate::time::Duration {
        crate::time::Duration::from_millis(u64::from(self.config.delay_ms))
    }
}
