//! What happened, and whether anything has.

use rollout_engine::record::Fact;

use super::{Answer, Event, EventQuery, Revision};

/// What happened, and whether anything has.
///
/// See [`Store`](super::Store).
pub trait Events: Send + Sync {
    /// Events, by ascending number.
    fn events(&self, query: &EventQuery) -> impl Future<Output = Answer<Vec<Event>>> + Send;

    /// Records what happened outside of any rollout.
    fn note(&self, facts: &[Fact]) -> impl Future<Output = Answer<()>> + Send;

    /// What has changed since. Cheap enough to call a few times a second.
    fn revision(&self) -> impl Future<Output = Answer<Revision>> + Send;
}
