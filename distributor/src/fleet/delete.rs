//! Documents that are no longer wanted.

use provisioning::Name;

use super::Fleet;
use crate::manifest::Kind;
use crate::store::images::Images;
use crate::store::{Store, StoreError};

/// Why a document was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// Something uses it; the store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none of this name.
    #[error("there is no {} '{name}': `fwcast get {}` shows those there are", .kind.noun(), .kind.nouns())]
    Missing {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: Name,
    },
}

impl<S: Store> Fleet<S> {
    /// Deletes a document, and with the last document that names an image also that.
    ///
    /// # Errors
    /// There is none of this name, or something uses it.
    pub async fn delete(&self, kind: Kind, name: &Name) -> Result<(), DeleteError> {
        if !self.store.delete(kind, name).await? {
            return Err(DeleteError::Missing { kind, name: name.clone() });
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
