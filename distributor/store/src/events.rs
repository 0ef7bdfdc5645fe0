//! What happened, and whether anything has.

use super::{Answer, Event, EventQuery, Revision};

/// What happened, and whether anything has.
///
/// See [`Store`](super::Store).
pub trait Events: Send + Sync {
    /// Events, by ascending number.
    fn events(&self, query: &EventQuery) -> impl Future<Output = Answer<Vec<Event>>> + Send;

    /// What has changed since. Cheap enough to call a few times a second.
    fn revision(&self) -> impl Future<Output = Answer<Revision>> + Send;
}
