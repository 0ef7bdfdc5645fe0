//! Activation, and the wait for confirmations (DESIGN \[attempt\], [moment], [bound]).

use super::asks::Purpose;
use super::{Distribution, Ending, Event, Phase, Stage};
use crate::command::Command;
use crate::limits::{ACTIVATION_COPIES, ATTEMPTS_AHEAD_MAX, DATAGRAM_BYTES_MAX};
use crate::resource::Resource;
use crate::target::Target;
use crate::time::Instant;
use alloc::vec::Vec;
use coap_wire::Code;
use core::net::SocketAddr;
use group_oscore::Mode;

impl Distribution {
    pub(super) fn begin_activation(&mut self, now: Instant) {
        self.turns.attempt = self.config.attempt.max(1);
        self.turns.activated_at = Some(now);
        self.turns.again = crate::limits::ASK_AGAIN_FIRST;
        self.events.push_back(Event::Stage(Stage::Activation));
        self.phase = Phase::Activating { left: ACTIVATION_COPIES };
    }

    pub(super) fn step_activating(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let Phase::Activating { left } = &mut self.phase else { return None };
        if *left == 0 {
            self.skip_pending = true;
            let wait = self.turns.wait();
            self.ask(Purpose::Confirm, now + wait);
            return None;
        }
        *left -= 1;
        self.send_activation(buffer)
    }

    pub(super) fn step_cancelling(
        &mut self,
        _now: Instant,
        buffer: &mut [u8],
    ) -> Option<(SocketAddr, usize)> {
        let Phase::Cancelling { left } = &mut self.phase else { return None };
        if *left == 0 {
            self.finish(Ending::Cancelled);
            return None;
        }
        *left -= 1;
        let attempt = self.turns.attempt_used;
        self.send_command(Resource::Cancel, attempt, Target::All, buffer)
    }

    /// Orders those who wait to activate, one attempt at a time where they need different ones. They are
    /// named one by one, so that a higher attempt reaches nobody who has rolled back at a lower one.
    fn send_activation(&mut self, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let waiting = self.waiting();
        let mut attempts: Vec<u32> = waiting.iter().map(|index| self.attempt_for(*index)).collect();
        attempts.sort_unstable();
        attempts.dedup();
        let turn = self.turns.activations as usize;
        self.turns.activations += 1;
        let attempt = *attempts.get(turn.checked_rem(attempts.len())?)?;
        if attempt - self.turns.attempt <= ATTEMPTS_AHEAD_MAX {
            self.turns.attempt_used = self.turns.attempt_used.max(attempt);
        }
        let meant: Vec<usize> =
            waiting.into_iter().filter(|index| self.attempt_for(*index) == attempt).collect();
        let named = self.named(&meant);
        self.send_command(Resource::Activate, attempt, named.target(), buffer)
    }

    /// An attempt that was acted upon and yet left the image waiting was cut off by a reset: this agent, and
    /// no other one, needs a higher one.
    fn attempt_for(&self, index: usize) -> u32 {
        let status = self.agents.get(index).and_then(|agent| agent.status);
        let acted_upon = status.map_or(0, |status| status.attempt);
        self.turns.attempt.max(acted_upon.saturating_add(1))
    }

    fn send_command(
        &mut self,
        resource: Resource,
        attempt: u32,
        target: Target<'_>,
        buffer: &mut [u8],
    ) -> Option<(SocketAddr, usize)> {
        let digest = self.job.as_ref()?.digest();
        let command = Command { digest, attempt, target, delay_ms: self.config.delay_ms, from_trial: false };
        let mut payload = [0; DATAGRAM_BYTES_MAX];
        let len = command.encode(&mut payload)?;
        let token = self.next_token();
        let (len, _) = self.protect(Code::POST, resource, token, &payload[..len], Mode::Group, buffer)?;
        Some((self.config.coap_group, len))
    }

    /// Tells everyone to drop the update, whatever each has acted upon. What one agent claims beyond what can
    /// be does not count, or it could use the attempts up for all.
    pub(super) fn begin_cancellation(&mut self) {
        let used = self.attempt();
        let acted_upon = self.agents.iter().filter_map(|agent| Some(agent.status?.attempt));
        let highest = acted_upon.filter(|attempt| attempt.saturating_sub(used) <= ATTEMPTS_AHEAD_MAX).max();
        self.turns.attempt_used = used.max(highest.unwrap_or(0)).saturating_add(1);
        self.events.push_back(Event::Stage(Stage::Cancellation));
        self.phase = Phase::Cancelling { left: ACTIVATION_COPIES };
    }

    fn waiting(&self) -> Vec<usize> {
        let agents = self.agents.iter().enumerate();
        agents.filter(|(_, agent)| agent.waits()).map(|(index, _)| index).collect()
    }

    /// The trials go on until each has ended, or until the deadline.
    pub(super) fn decide_trials(&mut self, now: Instant) {
        let due = self.turns.activated_at.map(|at| at + self.config.confirm_within + self.delay());
        let open = self.agents.iter().any(|agent| !agent.ended());
        if !open {
            return self.finish(Ending::Done);
        }
        if due.is_some_and(|due| now >= due) {
            for agent in self.agents.iter_mut().filter(|agent| !agent.ended()) {
                agent.lost = true;
                self.events.push_back(Event::Lost(agent.id));
            }
            return self.finish(Ending::Done);
        }
        // Silence is no reason to give up here: agents restart.
        for agent in &mut self.agents {
            agent.silent = 0;
        }
        if self.waiting().is_empty() {
            let wait = self.turns.wait();
            return self.ask(Purpose::Confirm, now + wait);
        }
        self.phase = Phase::Activating { left: 1 };
    }

    fn delay(&self) -> crate::time::Duration {
        crate::time::Duration::from_millis(u64::from(self.config.delay_ms))
    }
}
