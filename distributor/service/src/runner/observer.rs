//! Observes a running rollout.

use std::fmt;

use provisioning::Name;

use super::RunError;
use fwcast_store::StoreError;
use rollout_engine::plan::AgentKey;
use rollout_engine::record::Fact;
use rollout_engine::{Engine, Run};

/// Is told what a rollout does. A front end shows it in its own way, or not at all.
pub trait RolloutObserver {
    /// Something happened. It is already saved.
    fn facts(&mut self, facts: &[Fact]);
    /// A run begins.
    fn run_begins(&mut self, run: &Run, engine: &Engine);
    /// The next run waits because another process sends for this group. Called repeatedly.
    fn waits_for(&mut self, group: &Name);
    /// Some time has passed.
    fn tick(&mut self, engine: &Engine);
    /// Something went wrong, but the rollout continues.
    fn note(&mut self, note: Note);
    /// There is nothing more to tell.
    fn finish(&mut self);
}

/// What went wrong while the rollout continues.
#[derive(Debug)]
pub enum Note {
    /// An agent of the rollout's groups that the image does not fit.
    LeftOut(AgentKey),
    /// It is unknown whether agents were enrolled since the rollout ended.
    JoinedUnknown(RunError),
    /// The measured loss on the way to a group could not be stored.
    LossNotStored {
        /// Which group.
        group: Name,
        /// Why.
        error: StoreError,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut(agent) => {
                write!(f, "agent {agent} is left out, because the image is not for its vendor and class")
            }
            Self::JoinedUnknown(error) => {
                write!(f, "cannot tell whether agents were enrolled since the rollout ended: {error}")
            }
            Self::LossNotStored { group, error } => {
                write!(f, "the loss on the way to group '{group}' could not be stored: {error}")
            }
        }
    }
}
