//! Deletes documents that are no longer needed.

use jiff::Timestamp;
use provisioning::Name;

use super::Fleet;
use super::look::Missing;
use fwcast_store::images::Images;
use fwcast_store::kind::Kind;
use fwcast_store::{Store, StoreError};

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
        if !self.store.delete(kind, name, &self.actor, Timestamp::now()).await? {
            return Err(Missing { kind, name: name.clone() }.into());
        }
        Ok(())
    }

    /// A rollout that has not ended and has agents of this security group.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn rollout_that_uses(&self, group: &Name) -> Result<Option<Name>, StoreError> {
        for line in self.store.rollouts().await?.into_iter().filter(|line| line.outcome.is_none()) {
            let agents = self.store.rollout_agents(&line.name).await?;
            if agents.iter().any(|(key, _)| key.group == *group) {
                return Ok(Some(line.name));
            }
        }
        Ok(None)
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
