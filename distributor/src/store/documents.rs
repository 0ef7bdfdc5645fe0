//! The documents that operators have applied.

use jiff::Timestamp;
use provisioning::Name;

use super::{Answer, Applied, Document, NewDocument};
use crate::kind::Kind;

/// The documents that operators have applied.
///
/// See [`Store`](super::Store).
pub trait Documents: Send + Sync {
    /// Applies documents: all of them, or none. In the order of the documents, what it did to each.
    fn apply(
        &self,
        documents: &[NewDocument],
        at: Timestamp,
    ) -> impl Future<Output = Answer<Vec<Applied>>> + Send;

    /// All documents of a kind, by name.
    fn documents(&self, kind: Kind) -> impl Future<Output = Answer<Vec<Document>>> + Send;

    /// One document.
    fn document(&self, kind: Kind, name: &Name) -> impl Future<Output = Answer<Option<Document>>> + Send;

    /// Deletes a document, and with the document of a rollout also its record; whether there was anything.
    ///
    /// # Errors
    /// [`StoreError::InUse`](super::StoreError::InUse): a rollout that is not done needs it.
    fn delete(&self, kind: Kind, name: &Name) -> impl Future<Output = Answer<bool>> + Send;
}
