//! Activation, and the wait for confirmations (DESIGN \[attempt\], [moment], [bound]).

use super::asks::Purpose;
use super::{Distribution, Ending, Event, Phase, Stage};
use crate::census::State;
use crate::command::Command;
use crate::limits::{ACTIVATION_COPIES, ATTEMPTS_RAISED_MAX, DATAGRAM_BYTES_MAX};
use crate::resource::Resource;
use crate::target::{Ranges, Target};
use crate::time::Instant;
use alloc::vec::Vec;
use coap_wire::Code;
use core::net::SocketAddr;
use group_oscore::Mode;

impl Distribution {
    pub(super) fn begin_activation(&mut self, now: Instant) {
        self.turns.attempt = self.turns.attempt.max(self.config.attempt).max(1);
        self.turns.activated_at = Some(now);
        self.turns.again = crate::limits::ASK_AGAIN_FIRST;
        self.events.push_back(Event::Stage(Stage::Activation));
        self.phase = Phase::Activating { left: ACTIVATION_COPIES };
    }

    pub(super) fn step_activating(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let Phase::Activating { left } = &mut self.phase else { return None };
        if *left == 0 {
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
        // Named one by one where they fit, so that a late repetition reaches nobody else.
        let waiting: Vec<usize> = (0..self.agents.len()).filter(|index| self.is_waiting(*index)).collect();
        let ranges = self.ranges(&waiting);
        let named = resource == Resource::Activate && !ranges.is_empty();
        let target = if named { Target::Ranges(Ranges::Given(&ranges)) } else { Target::All };
        let command = Command { digest, attempt: self.turns.attempt, target, delay_ms: self.config.delay_ms };
        let mut payload = [0; DATAGRAM_BYTES_MAX];
        let len = command.encode(&mut payload)?;
        let token = self.next_token();
        let (len, _) = self.protect(Code::POST, resource, token, &payload[..len], Mode::Group, buffer)?;
        Some((self.config.coap_group, len))
    }

    fn is_waiting(&self, index: usize) -> bool {
        self.agents.get(index).is_some_and(|agent| agent.state() == Some(State::Ready) && !agent.lost)
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
        let waiting: Vec<usize> = (0..self.agents.len()).filter(|index| self.is_waiting(*index)).collect();
        if waiting.is_empty() {
            let wait = self.turns.wait();
            return self.ask(Purpose::Confirm, now + wait);
        }
        // An attempt that was acted upon and yet left the image waiting was cut off by a reset: it needs a
        // higher one, which only those agents are told.
        let cut_off = waiting
            .iter()
            .filter_map(|index| self.agents.get(*index)?.status)
            .any(|status| status.attempt >= self.turns.attempt);
        if cut_off && self.turns.attempt < self.config.attempt + ATTEMPTS_RAISED_MAX {
            self.turns.attempt += 1;
        }
        self.phase = Phase::Activating { left: 1 };
    }

    fn delay(&self) -> crate::time::Duration {
        crate::time::Duration::from_millis(u64::from(self.config.delay_ms))
    }
}
