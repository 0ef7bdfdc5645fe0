//! The plan of a rollout.

use provisioning::Name;

use super::Fleet;
use crate::manifest::rollout::Rollout;
use crate::manifest::{Found, Manifests};
use crate::manifest::{Known, PlanError, Planned};
use crate::store::Store;

impl<S: Store> Fleet<S> {
    /// Plans a rollout from documents and the content of the store. `generation` is that of its document, 0
    /// if it was not applied.
    ///
    /// # Errors
    /// The rollout's document has errors, or the image or a group's folder cannot be read.
    pub async fn plan(
        &self,
        manifests: &Manifests,
        (found, rollout): (&Found, &Rollout),
        generation: u32,
    ) -> Result<Planned, PlanError> {
        let known = Known::in_store(&self.store).await?.with(manifests);
        let planned = known.plan(&self.dir, rollout, &manifests.source(found).folder)?;
        let compiled =
            planned.map_err(|diagnostics| PlanError::Diagnostics(manifests.placed(found, diagnostics)))?;
        let name: Name = rollout.metadata.name.clone();
        Ok(Planned { name, generation, plan: compiled.plan, left_out: compiled.left_out })
    }
}
