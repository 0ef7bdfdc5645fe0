//! Stores documents in the store and images in the state folder.

use jiff::Timestamp;

use super::Fleet;
use crate::manifest::Manifests;
use crate::manifest::{AppliedDocument, ApplyError, apply};
use crate::store::Store;

impl<S: Store> Fleet<S> {
    /// Stores documents and the images they name: all or none. Nothing is sent.
    ///
    /// # Errors
    /// An image is missing or is not the signed one, a document is in use, or the store's errors.
    pub async fn apply(&self, manifests: &Manifests) -> Result<Vec<AppliedDocument>, ApplyError> {
        apply(&self.dir, &self.store, manifests, Timestamp::now()).await
    }
}
