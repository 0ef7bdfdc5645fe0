//! The documents that operators have applied.

use jiff::Timestamp;
use provisioning::Name;

use super::{Answer, Applied, Document, NewDocument};
use crate::kind::Kind;

/// The documents that operators have applied.
///
/// See [`Store`](super::Store).
pub trait Documents: Send + Sync {
    /// Applies all of the documents or none, and records each change as made by `by`. Returns what it did to
    /// each, in their order.
    fn apply(
        &self,
        documents: &[NewDocument],
        by: &str,
        at: Timestamp,
    ) -> impl Future<Output = Answer<Vec<Applied>>> + Send;

    /// All documents of a kind, by name.
    fn documents(&self, kind: Kind) -> impl Future<Output = Answer<Vec<Document>>> + Send;

    /// One document.
    fn document(&self, kind: Kind, name: &Name) -> impl Future<Output = Answer<Option<Document>>> + Send;

    /// Deletes a document, and for a rollout's document also its record, and records that as done by `by`;
    /// returns whether there was anything.
    ///
    /// # Errors
    /// [`StoreError::InUse`](super::StoreError::InUse): a rollout that has not ended needs it.
    fn delete(
        &self,
        kind: Kind,
        name: &Name,
        by: &str,
        at: Timestamp,
    ) -> impl Future<Output = Answer<bool>> + Send;
}
