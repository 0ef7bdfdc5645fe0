//! `fwcast agent label` and `fwcast agent remove`.

use std::str::FromStr;

use clap::Args;
use provisioning::Name;

use super::super::kind::{find_agent, no_agent};
use crate::commands::exit_codes::Failure;
use crate::commands::output::say;
use crate::rollout::plan::AgentKey;
use crate::state::{Agents, GroupLock, Label, ManagerState, StateDir};

/// Arguments of `agent label`.
#[derive(Debug, Args)]
pub struct Relabel {
    /// Which agent; its group may stand in front, like hall/lamp-1
    name: String,
    /// Its group, where several have an agent of this name
    #[arg(long)]
    group: Option<Name>,
    /// Labels to set (KEY=VALUE) and to take away (KEY-)
    #[arg(value_name = "KEY=VALUE|KEY-", required = true)]
    edits: Vec<Edit>,
}

/// Arguments of `agent remove`.
#[derive(Debug, Args)]
pub struct Remove {
    /// Which agent; its group may stand in front, like hall/lamp-1
    name: String,
    /// Its group, where several have an agent of this name
    #[arg(long)]
    group: Option<Name>,
}

/// A change of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Edit {
    Set(Label),
    TakeAway(Name),
}

impl FromStr for Edit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(key) = text.strip_suffix('-').filter(|_| !text.contains('=')) {
            let key = Name::new(key).map_err(|error| format!("a label is taken away by KEY-: {error}"))?;
            return Ok(Self::TakeAway(key));
        }
        text.parse().map(Self::Set).map_err(|error: crate::state::LabelError| error.to_string())
    }
}

impl Relabel {
    /// Changes the labels. The key of the agent.
    pub(super) fn run(&self, dir: &StateDir) -> Result<AgentKey, Failure> {
        let key = find_agent(dir, &self.name, self.group.as_ref())?;
        let lock = GroupLock::to_edit(dir, &key.group)?;
        let mut agents = Agents::load(dir, &key.group)?;
        let labels = agents.labels_mut(&key.name).ok_or_else(|| gone(&key))?;
        for edit in &self.edits {
            match edit {
                Edit::Set(label) => labels.insert(label.key.to_string(), label.value.clone()),
                Edit::TakeAway(key) => labels.remove(key.as_str()),
            };
        }
        agents.save(dir, &lock)?;
        Ok(key)
    }
}

impl Remove {
    pub(super) fn run(&self, dir: &StateDir) -> Result<(), Failure> {
        remove_agent(dir, &find_agent(dir, &self.name, self.group.as_ref())?)
    }
}

/// Takes an agent out of its group, and says what that does not do.
pub fn remove_agent(dir: &StateDir, key: &AgentKey) -> Result<(), Failure> {
    let lock = GroupLock::to_edit(dir, &key.group)?;
    let mut agents = Agents::load(dir, &key.group)?;
    let mut manager = ManagerState::load(dir, &key.group)?;
    if !agents.remove(&key.name) {
        return Err(gone(key));
    }
    // In this order: an agent without its individual context would be half enrolled.
    agents.save(dir, &lock)?;
    if manager.contexts.remove(&key.name).is_some() {
        manager.save(dir, &lock)?;
    }
    say!(
        "agent '{key}' removed; it still has the group's keys, until `fwcast group create {} --replace` \
        makes fresh ones",
        key.group
    );
    Ok(())
}

/// Someone removed it a moment ago.
fn gone(key: &AgentKey) -> Failure {
    no_agent(key.name.as_str(), Some(&key.group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_set_and_taken_away() {
        assert!(matches!("ring=canary".parse(), Ok(Edit::Set(_))));
        assert_eq!("ring-".parse(), Ok(Edit::TakeAway(Name::new("ring").unwrap())));
        // A value may end with a dash; a key without a value is no edit.
        assert!(matches!("ring=a-".parse(), Ok(Edit::Set(_))));
        for text in ["ring", "-", "a/b-", "=x", "ring=a b"] {
            assert!(text.parse::<Edit>().is_err(), "{text}");
        }
    }
}
