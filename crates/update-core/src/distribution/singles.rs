//! Orders to single agents (protocol.md \[fresh\]): an agent that has not acted upon an order to the group
//! gets it individually. It may not hear multicast, or it may be unable to tell whether the order is recent
//! and require its Echo value.

use super::outbox::{Sent, Slot, To};
use super::parts::Parts;
use crate::command::Command;
use crate::limits::ECHO_BYTES_MAX;
use crate::resource::Resource;
use crate::target::Target;
use alloc::collections::VecDeque;
use group_oscore::ProtectError;

/// Agents that wait for an individual order, each with the Echo value that it asked for.
#[derive(Debug, Default)]
pub(super) struct Singles(VecDeque<(usize, EchoValue)>);

/// Empty for none.
type EchoValue = heapless::Vec<u8, ECHO_BYTES_MAX>;

impl Singles {
    /// Queues the order for the agent with this index.
    fn push(&mut self, index: usize) {
        if self.0.iter().all(|(waiting, _)| *waiting != index) {
            self.0.push_back((index, EchoValue::new()));
        }
    }

    /// The agent with this index requires this value before it acts. One that is longer than an Echo value
    /// may be is ignored: an order with it might fit no datagram.
    pub(super) fn prove(&mut self, index: usize, echo: &[u8]) {
        let Ok(echo) = EchoValue::from_slice(echo) else { return };
        self.0.retain(|(waiting, _)| *waiting != index);
        self.0.push_front((index, echo));
    }

    /// Whether any agent waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Parts {
    /// Orders to the group are sent to these agents. Those that had one before also get it individually.
    pub(super) fn order_again_alone(&mut self, indices: &[usize]) {
        for index in indices {
            if let Some(agent) = self.fleet.get_mut(*index)
                && agent.hearing.is_ordered_again()
            {
                self.singles.push(*index);
            }
        }
    }

    /// Sends the next of them its order, if it still has to act.
    pub(super) fn next_single(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let Some((index, echo)) = self.singles.0.pop_front() else { return Ok(None) };
        let Some((resource, attempt, from_trial)) = self.order_for(index) else { return Ok(None) };
        let (Some(job), Some(agent)) = (&self.job, self.fleet.get_mut(index)) else { return Ok(None) };
        let Some(address) = agent.address else { return Ok(None) };
        if echo.is_empty() && !agent.hearing.may_be_ordered_alone(slot.now) {
            return Ok(None);
        }
        let dated = agent.hearing.newest().map(|question| question.dated(slot.now));
        let command = Command {
            digest: job.digest(),
            attempt,
            target: Target::All,
            delay_ms: self.config.delay_ms,
            from_trial,
            dated,
        };
        let to = To::Agent(address, agent.id);
        self.attempts.told(attempt);
        // Its answer to an order with its value is final.
        let wants_echo = echo.is_empty().then_some(index);
        let now = slot.now;
        let (sent, token, binding) = self.outbox.order(slot, resource, &command, &echo, to)?;
        self.questions.ordered(now, token, binding, wants_echo);
        Ok(Some(sent))
    }

    /// The order that this agent must still act upon: resource, attempt, and whether it takes back an image
    /// on trial.
    fn order_for(&self, index: usize) -> Option<(Resource, u32, bool)> {
        let agent = self.fleet.get(index)?;
        if let Some(withdrawal) = &self.withdrawal {
            let status = agent.status.as_ref()?;
            let open = self.is_to_answer_for_it(agent) && withdrawal.is_for(status);
            return open.then(|| (Resource::Cancel, self.attempts.used(), withdrawal.undoes()));
        }
        let waits = self.is_on_trial() && agent.waited_for() && agent.waits();
        waits.then(|| (Resource::Activate, self.attempt_for(index), false))
    }
}
