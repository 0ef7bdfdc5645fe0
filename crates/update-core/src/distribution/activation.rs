//! Activation, and the wait for confirmations (DESIGN \[attempt\], [moment], [bound]).

use super::asks::Purpose;
use super::{Distribution, Ending, Event, Phase, Stage};
use crate::command::Command;
use crate::limits::{ACTIVATION_COPIES, ATTEMPTS_RAISED_MAX, DATAGRAM_BYTES_MAX};
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
        self.rise_above_cut_off();
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
        self.send_command(Resource::Activate, buffer)
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
        self.send_command(Resource::Cancel, buffer)
    }

    fn send_command(&mut self, resource: Resource, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let digest = self.job.as_ref()?.digest();
        // Named one by one, so that a repetition with a higher attempt reaches nobody who has rolled back.
        let named = self.named(&self.waiting());
        let target = if resource == Resource::Activate { named.target() } else { Target::All };
        let command = Command { digest, attempt: self.turns.attempt, target, delay_ms: self.config.delay_ms };
        let mut payload = [0; DATAGRAM_BYTES_MAX];
        let len = command.encode(&mut payload)?;
        let token = self.next_token();
        let (len, _) = self.protect(Code::POST, resource, token, &payload[..len], Mode::Group, buffer)?;
        Some((self.config.coap_group, len))
    }

    /// An attempt that was acted upon and yet left the image waiting was cut off by a reset. It needs a
    /// higher one, which only those agents are told.
    fn rise_above_cut_off(&mut self) {
        let waiting = self.agents.iter().filter(|agent| agent.waits());
        let acted_upon = waiting.filter_map(|agent| Some(agent.status?.attempt)).max().unwrap_or(0);
        if acted_upon >= self.turns.attempt && self.turns.raised < ATTEMPTS_RAISED_MAX {
            self.turns.attempt = acted_upon.saturating_add(1);
            self.turns.raised += 1;
        }
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
        self.rise_above_cut_off();
        self.phase = Phase::Activating { left: 1 };
    }

    fn delay(&self) -> crate::time::Duration {
        crate::time::Duration::from_millis(u64::from(self.config.delay_ms))
    }
}
