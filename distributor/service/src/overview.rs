//! What there is, at a glance: rollouts, and how the agents of each security group are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use provisioning::Name;
use serde::Serialize;

use super::Fleet;
use super::look::{Filter, LookError, RolloutEntry};
use fwcast_store::{Agent, Store, StoreError};

/// What there is.
#[derive(Debug)]
pub struct Overview {
    /// All rollouts that have not ended, by name.
    pub rollouts: Vec<RolloutEntry>,
    /// How many have ended.
    pub ended: usize,
    /// The agents of each security group.
    pub groups: Vec<GroupGlance>,
}

/// The agents of a security group.
#[derive(Debug, Serialize)]
pub struct GroupGlance {
    /// Its name.
    pub name: Name,
    /// How many are enrolled or wait to be enrolled again.
    pub agents: usize,
    /// How many of them have ever been heard.
    pub heard: usize,
    /// When the one heard last was heard.
    pub last_heard: Option<Timestamp>,
    /// How many run each image, by what lists show of it; `-` where that is unknown.
    pub installed: BTreeMap<String, usize>,
}

/// The versions of images, as rollouts named them.
#[derive(Debug, Default)]
pub struct Versions(BTreeMap<(Name, u64), Option<String>>);

impl Versions {
    /// The versions that rollouts have brought.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn read<S: Store>(store: &S) -> Result<Self, StoreError> {
        let mut versions = BTreeMap::new();
        for (group, image) in store.images_by_group().await? {
            // An image that a rollout names by its file has no version.
            if image.version.starts_with('#') {
                continue;
            }
            let key = (group, image.sequence_number);
            let same = versions.entry(key).or_insert_with(|| Some(image.version.clone()));
            if same.as_ref() != Some(&image.version) {
                *same = None;
            }
        }
        Ok(Self(versions))
    }

    /// The version that an agent runs; `None` if no rollout named it, or two named it differently.
    pub fn of(&self, agent: &Agent) -> Option<&str> {
        self.0.get(&(agent.key.group.clone(), agent.installed))?.as_deref()
    }
}

/// What an agent runs, in one cell: the manifest sequence number and the version; `-` if unknown.
pub fn installed(sequence_number: u64, version: Option<&str>) -> String {
    match (sequence_number, version) {
        (0, _) => "-".to_owned(),
        (number, None) => number.to_string(),
        (number, Some(version)) => format!("{number} ({version})"),
    }
}

impl<S: Store> Fleet<S> {
    /// The versions that rollouts have brought.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn versions(&self) -> Result<Versions, StoreError> {
        Versions::read(&self.store).await
    }

    /// What there is.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn overview(&self) -> Result<Overview, LookError> {
        let all = self.rollouts(&Filter::default()).await?;
        let has_ended = |entry: &RolloutEntry| entry.line.as_ref().is_some_and(|line| line.outcome.is_some());
        let (ended, rollouts): (Vec<_>, Vec<_>) = all.into_iter().partition(has_ended);
        let versions = self.versions().await?;
        let mut groups = Vec::new();
        for name in self.dir.groups()? {
            let agents = self.store.agents(Some(&name)).await?;
            let mut by_image = BTreeMap::new();
            for agent in &agents {
                *by_image.entry(installed(agent.installed, versions.of(agent))).or_default() += 1;
            }
            groups.push(GroupGlance {
                name,
                agents: agents.len(),
                heard: agents.iter().filter(|agent| agent.heard.is_some()).count(),
                last_heard: agents.iter().filter_map(|agent| agent.heard).max(),
                installed: by_image,
            });
        }
        Ok(Overview { rollouts, ended: ended.len(), groups })
    }
}
