//! The plan of a rollout.

use std::collections::BTreeSet;
use std::path::Path;

use provisioning::Name;

use super::Fleet;
use fwcast_documents::rollout::Rollout;
use fwcast_documents::{Diagnostic, DocumentError, Known, PlanError, Planned};
use fwcast_documents::{Found, Manifests};
use fwcast_store::Store;
use rollout_engine::plan::{AgentKey, Plan};

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
        self.refuse_downgrade(&compiled.plan).await?;
        let name: Name = rollout.metadata.name.clone();
        Ok(Planned { name, generation, plan: compiled.plan, left_out: compiled.left_out })
    }

    /// Plans a rollout that was applied, from the content of the store.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub(super) async fn plan_applied(
        &self,
        rollout: &Rollout,
        generation: u32,
    ) -> Result<Planned, PlanError> {
        let name = &rollout.metadata.name;
        let known = Known::in_store(&self.store).await?;
        // Applied documents name no files.
        let planned = known.plan(&self.dir, rollout, Path::new(""))?;
        let place = format!("rollout '{name}' as applied");
        let compiled = planned.map_err(|diagnostics| {
            let diagnostics = diagnostics.iter();
            PlanError::Diagnostics(diagnostics.map(|it| Diagnostic::with_file(&place, &it.problem)).collect())
        })?;
        self.refuse_downgrade(&compiled.plan).await?;
        Ok(Planned { name: name.clone(), generation, plan: compiled.plan, left_out: compiled.left_out })
    }

    /// Agents that are known to run a higher manifest sequence number would all refuse the image.
    async fn refuse_downgrade(&self, plan: &Plan) -> Result<(), PlanError> {
        let sequence_number = plan.image.sequence_number;
        let planned: BTreeSet<&AgentKey> = plan.agents().map(|(_, key)| key).collect();
        let agents = self.store.agents(None).await.map_err(DocumentError::from)?;
        let ahead = agents
            .into_iter()
            .filter(|agent| agent.installed > sequence_number && planned.contains(&agent.key));
        let mut ahead: Vec<(AgentKey, u64)> = ahead.map(|agent| (agent.key, agent.installed)).collect();
        ahead.sort();
        match ahead.first() {
            None => Ok(()),
            Some((first, installed)) => Err(PlanError::Downgrade {
                first: first.clone(),
                installed: *installed,
                agents: ahead.len(),
                sequence_number,
            }),
        }
    }
}
