//! Deletes documents that are no longer needed.

use provisioning::Name;

use super::Fleet;
use super::look::Missing;
use crate::kind::Kind;
use crate::store::images::Images;
use crate::store::{Store, StoreError};

/// Why a document was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// Something uses it, or the store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no document with this name.
    #[error(transparent)]
    Missing(#[from] Missing),
}

impl<S: Store> Fleet<S> {
    /// Deletes a document, and an image that no document names any more.
    ///
    /// # Errors
    /// There is no document with this name, or something uses it.
    pub async fn delete(&self, kind: Kind, name: &Name) -> Result<(), DeleteError> {
        if !self.store.delete(kind, name).await? {
            return Err(Missing { kind, name: name.clone() }.into());
        }
        Ok(())
    }

    /// Removes images that no document or rollout names.
    ///
    /// # Errors
    /// The folder cannot be written, or the store's errors.
    pub async fn collect_images(&self) -> Result<(), StoreError> {
        Images::of(&self.dir).collect(&self.store).await?;
        Ok(())
    }
}
