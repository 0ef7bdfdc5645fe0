//! Stores documents in the store and images in the state folder.

use jiff::Timestamp;

use super::Fleet;
use fwcast_documents::{AppliedDocument, ApplyError, Known, Manifest, Manifests, PlanError, apply};
use fwcast_store::Store;

/// Why documents are not applied.
#[derive(Debug, thiserror::Error)]
pub enum NotApplied {
    /// A group would not accept the image of a rollout. Nothing was stored.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// They cannot be stored.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl<S: Store> Fleet<S> {
    /// Stores documents and the images they name: all or none. Nothing is sent.
    ///
    /// # Errors
    /// An image is missing, is not the signed one, or would not be accepted; a document is in use; or the
    /// store's errors.
    pub async fn apply(&self, manifests: &Manifests) -> Result<Vec<AppliedDocument>, NotApplied> {
        self.verify(manifests).await?;
        Ok(apply(&self.dir, &self.store, manifests, &self.actor, Timestamp::now()).await?)
    }

    /// Checks that the groups of all rollouts among these documents would accept their images, as far as both
    /// are known.
    ///
    /// # Errors
    /// One of them would not, or the image or a group's folder cannot be read.
    pub(super) async fn verify(&self, manifests: &Manifests) -> Result<(), PlanError> {
        let known = Known::in_store(&self.store).await?.with(manifests);
        for found in &manifests.found {
            if let Manifest::Rollout(rollout) = &found.manifest {
                known.verify(&self.dir, rollout, &manifests.source(found).folder)?;
            }
        }
        Ok(())
    }
}
