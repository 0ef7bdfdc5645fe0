//! Rollouts, with the state of their engines and of their agents.

use provisioning::Name;
use rollout_engine::plan::{AgentKey, PlannedImage};
use rollout_engine::record::AgentRecord;

use super::{Answer, NewRollout, Rollout, RolloutLine, Step};

/// Rollouts, with the state of their engines and of their agents.
///
/// See [`Store`](super::Store).
pub trait Rollouts: Send + Sync {
    /// Begins a rollout. It replaces an ended one with the same name, whose events stay. Orders that are
    /// still open are refused, because they were not meant for this one.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](super::StoreError::Conflict): another rollout that has not ended has some of
    /// the agents. [`StoreError::Begun`](super::StoreError::Begun): this one has not ended.
    fn begin_rollout(&self, rollout: NewRollout<'_>) -> impl Future<Output = Answer<()>> + Send;

    /// Stores a step of a rollout, and settles the orders that led to it.
    ///
    /// # Errors
    /// [`StoreError::NoRollout`](super::StoreError::NoRollout).
    fn save(&self, step: Step<'_>) -> impl Future<Output = Answer<()>> + Send;

    /// All rollouts, ended or not, by name.
    fn rollouts(&self) -> impl Future<Output = Answer<Vec<RolloutLine>>> + Send;

    /// One rollout.
    fn rollout(&self, name: &Name) -> impl Future<Output = Answer<Option<Rollout>>> + Send;

    /// The images of all rollouts, each with a security group that it went to.
    fn images_by_group(&self) -> impl Future<Output = Answer<Vec<(Name, PlannedImage)>>> + Send;

    /// The agents of a rollout, by group and name.
    fn rollout_agents(
        &self,
        name: &Name,
    ) -> impl Future<Output = Answer<Vec<(AgentKey, AgentRecord)>>> + Send;
}
