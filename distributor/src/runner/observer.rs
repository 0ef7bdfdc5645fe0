//! Who looks on while a rollout runs.

use std::fmt;

use provisioning::Name;

use super::RunError;
use crate::store::StoreError;
use rollout_engine::plan::AgentKey;
use rollout_engine::record::Fact;
use rollout_engine::{Engine, Run};

/// Is told what a rollout does. A front shows it in its own way, or not at all.
pub trait RolloutObserver {
    /// What has happened, after it was saved.
    fn facts(&mut self, facts: &[Fact]);
    /// A run begins.
    fn run_begins(&mut self, run: &Run, engine: &Engine);
    /// The next run waits, because another process sends for this group. Told again and again.
    fn waits_for(&mut self, group: &Name);
    /// Some time has passed.
    fn tick(&mut self, engine: &Engine);
    /// Something went wrong that the rollout goes on without.
    fn note(&mut self, note: Note);
    /// Nothing more is told.
    fn finish(&mut self);
}

/// What went wrong, although the rollout goes on.
#[derive(Debug)]
pub enum Note {
    /// An agent of the rollout's groups that the image is not for.
    LeftOut(AgentKey),
    /// Whether agents were enrolled since the rollout ended is not known.
    JoinedUnknown(RunError),
    /// The loss on the way to a group was measured, and could not be stored.
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
                write!(f, "whether agents were enrolled since is not known: {error}")
            }
            Self::LossNotStored { group, error } => {
                write!(f, "the loss on the way to group '{group}' could not be stored: {error}")
            }
        }
    }
}
