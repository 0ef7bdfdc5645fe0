//! Who is enrolled, what each agent last reported, and the loss measured on the way to them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use provisioning::Name;
use rollout_engine::plan::AgentKey;

use super::{Agent, Answer, Heard, Loss, Member};

/// Who is enrolled, what each agent last reported, and the loss measured on the way to them.
///
/// See [`Store`](super::Store).
pub trait Agents: Send + Sync {
    /// The fingerprint of each group's folder when [`Self::sync_agents`] last copied it.
    fn fingerprints(&self) -> impl Future<Output = Answer<BTreeMap<Name, String>>> + Send;

    /// Copies who is enrolled in a group. What an agent has reported stays.
    fn sync_agents(
        &self,
        group: &Name,
        members: &[Member],
        fingerprint: &str,
    ) -> impl Future<Output = Answer<()>> + Send;

    /// Forgets the agents of a deleted group, and the loss measured on the way to them.
    fn forget_group(&self, group: &Name) -> impl Future<Output = Answer<()>> + Send;

    /// All agents, of all groups or of one, by group and name.
    fn agents(&self, group: Option<&Name>) -> impl Future<Output = Answer<Vec<Agent>>> + Send;

    /// One agent.
    fn agent(&self, key: &AgentKey) -> impl Future<Output = Answer<Option<Agent>>> + Send;

    /// Records what agents report outside of any rollout; skips those that are not enrolled.
    fn hear(&self, heard: &[Heard], at: Timestamp) -> impl Future<Output = Answer<()>> + Send;

    /// Records the loss measured on the way to a security group's agents, in place of an earlier one.
    fn note_loss(&self, group: &Name, loss: Loss) -> impl Future<Output = Answer<()>> + Send;

    /// The last measured loss, by security group.
    fn losses(&self) -> impl Future<Output = Answer<BTreeMap<Name, Loss>>> + Send;
}
