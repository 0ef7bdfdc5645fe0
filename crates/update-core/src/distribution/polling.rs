//! Polling: silent agents are asked one by one (protocol.md \[census\]).

use super::asks::{Ask, Purpose};
use super::outbox::{Slot, To};
use super::parts::Parts;
use super::phase::{Phase, Step};
use crate::census::Query;
use crate::limits::{POLL_WAIT, POLLS_MAX};
use crate::target::Target;
use crate::time::Duration;
use alloc::vec::Vec;
use group_oscore::ProtectError;

/// Asks agents by unicast, then waits for their answers.
#[derive(Debug)]
pub(super) struct Polling {
    /// The number of the ask.
    ask: u32,
    /// The agents still to be asked, by index.
    left: Vec<usize>,
}

impl Polling {
    pub(super) fn step(&mut self, slot: Slot<'_>, parts: &mut Parts) -> Result<Step, ProtectError> {
        let Some(agent) = self.left.pop().and_then(|index| parts.fleet.get(index)) else {
            let until = slot.now + POLL_WAIT;
            return Ok(Step::Next(Phase::Asking(Ask::sent(Purpose::Close, self.ask, slot.now, until))));
        };
        let Some(address) = agent.address else { return Ok(Step::Idle) };
        let to = To::Agent(address, agent.id);
        let query = Query {
            target: Target::All,
            update: parts.job.as_ref().map(|subject| subject.update.offer.id),
            leisure_ms: 0,
            window: None,
            only_missing: false,
            unicast_max: 0,
            detail: true,
            run: parts.run,
            generations: None,
        };
        parts.questions.send(&mut parts.outbox, slot, &query, self.ask, Duration::ZERO, to).map(Step::Sent)
    }
}

impl Parts {
    /// The phase that polls, a few at a time, the agents that stayed silent through the multicast asks.
    /// `None` if none of them has a known address.
    pub(super) fn poll_silent(&mut self) -> Option<Phase> {
        let mut left = self.fleet.indices(|agent| {
            agent.unsure() && agent.address.is_some() && self.concerns(agent, Purpose::Close)
        });
        left.truncate(POLLS_MAX);
        if left.is_empty() {
            return None;
        }
        Some(Phase::Polling(Polling { ask: self.questions.begin_ask(), left }))
    }
}
