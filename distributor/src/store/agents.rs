//! Who is enrolled, what was heard of each last, and what was measured on the way there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use provisioning::Name;
use rollout_engine::plan::AgentKey;

use super::{Agent, Answer, Heard, Loss, Member};

/// Who is enrolled, what was heard of each last, and what was measured on the way there.
///
/// See [`Store`](super::Store).
pub trait Agents: Send + Sync {
    /// The fingerprint of each group's folder when [`Self::sync_agents`] last copied it.
    fn fingerprints(&self) -> impl Future<Output = Answer<BTreeMap<Name, String>>> + Send;

    /// Takes over who is enrolled in a group. What was heard of an agent stays.
    fn sync_agents(
        &self,
        group: &Name,
        members: &[Member],
        fingerprint: &str,
    ) -> impl Future<Output = Answer<()>> + Send;

    /// Forgets the agents of a group that was deleted, and what was measured on the way to them.
    fn forget_group(&self, group: &Name) -> impl Future<Output = Answer<()>> + Send;

    /// All agents, of all groups or of one, by group and name.
    fn agents(&self, group: Option<&Name>) -> impl Future<Output = Answer<Vec<Agent>>> + Send;

    /// One agent.
    fn agent(&self, key: &AgentKey) -> impl Future<Output = Answer<Option<Agent>>> + Send;

    /// Notes what was heard of agents outside of any rollout; those that are not enrolled are passed over.
    fn hear(&self, heard: &[Heard], at: Timestamp) -> impl Future<Output = Answer<()>> + Send;

    /// Notes the loss that was measured on the way to a security group's agents, in place of an earlier one.
    fn note_loss(&self, group: &Name, loss: Loss) -> impl Future<Output = Answer<()>> + Send;

    /// The loss that was measured last, by security group.
    fn losses(&self) -> impl Future<Output = Answer<BTreeMap<Name, Loss>>> + Send;
}
