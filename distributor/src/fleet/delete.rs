//! Documents that are no longer wanted.

use provisioning::Name;

use super::Fleet;
use super::look::Missing;
use crate::kind::Kind;
use crate::store::images::Images;
use crate::store::{Store, StoreError};

/// Why a document was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// Something uses it; the store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none of this name.
    #[error(transparent)]
    Missing(#[from] Missing),
}

impl<S: Store> Fleet<S> {
    /// Deletes a document, and with the last document that names an image also that.
    ///
    /// # Errors
    /// There is none of this name, or something uses it.
    pub async fn delete(&self, kind: Kind, name: &Name) -> Result<(), DeleteError> {
        if !self.store.delete(kind, name).await? {
            return Err(Missing { kind, name: name.clone() }.into());
        }
        Ok(())
    }

    /// Removes images that no document and no rollout names.
    ///
    /// # Errors
    /// The folder cannot be written; the store's own.
    pub async fn collect_images(&self) -> Result<(), StoreError> {
        Images::of(&self.dir).collect(&self.store).await?;
        Ok(())
    }
}
