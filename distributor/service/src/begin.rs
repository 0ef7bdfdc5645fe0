//! Begins or continues a rollout.

use jiff::Timestamp;
use provisioning::{Hex, Name};

use super::Fleet;
use crate::runner::{Note, RolloutObserver, RunError, Runner};
use fwcast_documents::rollout::Rollout;
use fwcast_documents::{ApplyError, DocumentError, PlanError, Planned, apply, stored};
use fwcast_documents::{Found, Manifests};
use fwcast_state::{RolloutLock, StateError};
use fwcast_store::kind::Kind;
use fwcast_store::{Store, StoreError};

/// Why a rollout cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Its documents were not applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// It cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An applied document cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process runs it.
    #[error(transparent)]
    State(#[from] StateError),
    /// It cannot be written to the store, or read from it.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl<S: Store> Fleet<S> {
    /// Begins a rollout that was applied, or continues it if it has begun.
    ///
    /// # Errors
    /// As [`Self::begin`], or no such rollout was applied.
    pub async fn begin_applied<O: RolloutObserver>(
        &self,
        name: &Name,
        observer: O,
    ) -> Result<Runner<'_, S, O>, BeginError> {
        let lock = RolloutLock::to_run(&self.dir, name).await?;
        if self.goes_on(name).await? {
            return Ok(Runner::resume(self.resources(), name, observer, lock).await?);
        }
        let (rollout, generation) = stored::rollout(&self.store, name).await?;
        let planned = self.plan_applied(&rollout, generation).await?;
        self.begin_planned(planned, observer, lock).await
    }

    /// Whether a rollout has begun and the applied documents are still those that it carries out.
    async fn goes_on(&self, name: &Name) -> Result<bool, BeginError> {
        let Some(begun) = self.store.rollout(name).await? else { return Ok(false) };
        // A running rollout still has the same documents for itself and its image: the store changes neither.
        if begun.line.outcome.is_none() {
            return Ok(true);
        }
        let document = self.store.document(Kind::Rollout, name).await?;
        let generation = document.map_or(0, |document| document.generation);
        let digest = stored::image_digest(&self.store, name).await?;
        Ok(begun.line.generation == generation && begun.plan.image.digest == Hex::from(digest.0))
    }

    async fn begin_planned<O: RolloutObserver>(
        &self,
        planned: Planned,
        mut observer: O,
        lock: RolloutLock,
    ) -> Result<Runner<'_, S, O>, BeginError> {
        for agent in &planned.left_out {
            observer.note(Note::LeftOut(agent.clone()));
        }
        Ok(Runner::begin(self.resources(), planned, observer, lock).await?)
    }

    /// Applies documents, and begins the rollout among them, or continues it if it has begun.
    ///
    /// # Errors
    /// As [`Self::apply`] and [`Self::plan`], or another process runs the rollout. What cannot begin leaves
    /// nothing behind.
    pub async fn begin<O: RolloutObserver>(
        &self,
        manifests: &Manifests,
        (found, rollout): (&Found, &Rollout),
        observer: O,
    ) -> Result<Runner<'_, S, O>, BeginError> {
        let name = &rollout.metadata.name;
        let lock = RolloutLock::to_run(&self.dir, name).await?;
        // What cannot begin leaves nothing behind. What has begun goes on as it was stored.
        match self.store.rollout(name).await? {
            Some(begun) if begun.line.outcome.is_none() => {}
            Some(_) => self.verify(manifests).await?,
            None => {
                self.verify(manifests).await?;
                self.plan(manifests, (found, rollout), 0).await?;
            }
        }
        apply(&self.dir, &self.store, manifests, &self.actor, Timestamp::now()).await?;
        if self.goes_on(name).await? {
            return Ok(Runner::resume(self.resources(), name, observer, lock).await?);
        }
        let document = self.store.document(Kind::Rollout, name).await?;
        let generation = document.map_or(0, |document| document.generation);
        let planned = self.plan(manifests, (found, rollout), generation).await?;
        self.begin_planned(planned, observer, lock).await
    }
}
