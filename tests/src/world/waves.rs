//! The operator's waves: a first agent, then about as many as have confirmed, until all have.

use super::agent::Work;
use super::{Keys, Release};
use update_core::distribution::Activate;
use update_core::time::Instant;

/// The agents that have been in a wave with the current image.
pub(super) struct Waves {
    wanted: bool,
    named: Vec<bool>,
}

impl Waves {
    /// Waves for this many agents, or none if they are not wanted.
    #[must_use]
    pub(super) fn new(wanted: bool, agents: usize) -> Self {
        Self { wanted, named: vec![false; agents] }
    }

    /// The agents to activate in the next run: everyone, or the next ones that have not confirmed.
    pub(super) fn next(&mut self, confirmed: &[Option<Instant>], keys: &Keys) -> Activate {
        if !self.wanted {
            return Activate::Everyone;
        }
        let size = 1 + confirmed.iter().flatten().count();
        let open = (0..confirmed.len()).filter(|index| confirmed[*index].is_none());
        let wave: Vec<usize> = open.take(size).collect();
        wave.iter().for_each(|index| self.named[*index] = true);
        Activate::Only(wave.into_iter().map(|index| keys.agents[index].id).collect())
    }

    /// Another image begins.
    pub(super) fn begin_anew(&mut self) {
        self.named.fill(false);
    }

    /// Whether an agent activates this image before its wave.
    #[must_use]
    pub(super) fn is_early(&self, index: usize, work: &Work, release: &Release) -> bool {
        let Work::Activate(_, digest) = work else { return false };
        self.wanted && !self.named[index] && *digest == release.digest().0
    }
}
