//! Documents into the store, images into the state folder.

use jiff::Timestamp;

use super::Fleet;
use crate::manifest::Manifests;
use crate::manifest::{AppliedDocument, ApplyError, apply};
use crate::store::Store;

impl<S: Store> Fleet<S> {
    /// Takes documents over with the images that they name: all, or none. Nothing is sent.
    ///
    /// # Errors
    /// An image is not there, or not the one that was signed; a document that is in use; the store's own.
    pub async fn apply(&self, manifests: &Manifests) -> Result<Vec<AppliedDocument>, ApplyError> {
        apply(&self.dir, &self.store, manifests, Timestamp::now()).await
    }
}
