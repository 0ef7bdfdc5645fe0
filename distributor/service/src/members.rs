//! Finds, labels and removes the agents of groups. The groups' folders are their only source.

use std::fmt;
use std::str::FromStr;

use provisioning::{Name, NameError};
use update_core::distribution::Conduct;

use fwcast_documents::selector::Selector;
use fwcast_state::{
    Agents, FloorStore, GroupLock, GroupState, Label, LabelError, ManagerState, StateDir, StateError,
};
use rollout_engine::plan::AgentKey;

/// Why an agent was not found, or not changed.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The groups' files.
    #[error(transparent)]
    State(#[from] StateError),
    /// It is not a valid name.
    #[error("'{}' is not a valid name: {error}", .text.escape_debug())]
    NotAName {
        /// What was given.
        text: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// It is not a valid name with a group.
    #[error("{0}")]
    NotAKey(String),
    /// Several groups have an agent with this name.
    #[error("agent '{}' is in {count} groups: write '{}' or '{}'", .agents[0].name, .agents[0], .agents[1])]
    InSeveralGroups {
        /// How many groups.
        count: usize,
        /// The first two of them.
        agents: Box<[AgentKey; 2]>,
    },
    /// Its reports count: there is nothing to release it from.
    #[error("agent '{0}' is not quarantined")]
    NotQuarantined(AgentKey),
    /// There is no such agent.
    #[error(
        "there is no agent '{}'{}: `fwcast agent list` lists them all",
        .text.escape_debug(), in_group(.group.as_ref())
    )]
    Missing {
        /// What was given.
        text: String,
        /// Where it was searched for, if not in all groups.
        group: Option<Name>,
    },
}

fn in_group(group: Option<&Name>) -> String {
    group.map(|group| format!(" in group '{group}'")).unwrap_or_default()
}

/// A name as given.
///
/// # Errors
/// It is not a valid name.
pub fn name(text: &str) -> Result<Name, MemberError> {
    Name::new(text).map_err(|error| MemberError::NotAName { text: text.to_owned(), error })
}

/// The agent that an operator means: `GROUP/NAME`, or a name that only one group has.
///
/// # Errors
/// There is none, or there are several.
pub fn find(dir: &StateDir, text: &str, group: Option<&Name>) -> Result<AgentKey, MemberError> {
    let missing = || MemberError::Missing { text: text.to_owned(), group: group.cloned() };
    if text.contains('/') {
        let key: AgentKey = text.parse().map_err(MemberError::NotAKey)?;
        let wanted = group.is_none_or(|group| *group == key.group);
        return if wanted && has(dir, &key)? { Ok(key) } else { Err(missing()) };
    }
    let name = name(text)?;
    let groups = match group {
        Some(group) => vec![group.clone()],
        None => dir.groups()?,
    };
    let mut found = Vec::new();
    for group in groups {
        let key = AgentKey { group, name: name.clone() };
        if has(dir, &key)? {
            found.push(key);
        }
    }
    match found.as_slice() {
        [] => Err(missing()),
        [key] => Ok(key.clone()),
        [first, second, ..] => Err(MemberError::InSeveralGroups {
            count: found.len(),
            agents: Box::new([first.clone(), second.clone()]),
        }),
    }
}

fn has(dir: &StateDir, key: &AgentKey) -> Result<bool, MemberError> {
    let is_group = Agents::fingerprint(dir, &key.group)?.is_some();
    Ok(is_group && Agents::load(dir, &key.group)?.has(&key.name))
}

/// A change of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// `KEY=VALUE`.
    Set(Label),
    /// `KEY-`.
    TakeAway(Name),
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(label) => write!(f, "{}={}", label.key, label.value),
            Self::TakeAway(key) => write!(f, "{key}-"),
        }
    }
}

impl FromStr for Edit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(key) = text.strip_suffix('-').filter(|_| !text.contains('=')) {
            let key = Name::new(key).map_err(|error| format!("a label is removed with KEY-: {error}"))?;
            return Ok(Self::TakeAway(key));
        }
        text.parse().map(Self::Set).map_err(|error: LabelError| error.to_string())
    }
}

/// All agents with these labels, of one group or of all, enrolled or waiting.
///
/// # Errors
/// The group is missing, or its files cannot be read.
pub fn select(
    dir: &StateDir,
    group: Option<&Name>,
    selector: &Selector,
) -> Result<Vec<AgentKey>, MemberError> {
    let groups = match group {
        // Opened first, so that a missing group is reported as missing.
        Some(name) => vec![GroupState::open(dir, name)?.name],
        None => dir.groups()?,
    };
    let mut keys = Vec::new();
    for group in groups {
        let agents = Agents::load(dir, &group)?;
        let enrolled = agents.enrolled.iter().map(|agent| (&agent.name, &agent.labels));
        let all = enrolled.chain(agents.waiting.iter().map(|agent| (&agent.name, &agent.labels)));
        let chosen = all.filter(|(_, labels)| selector.matches(labels));
        keys.extend(chosen.map(|(name, _)| AgentKey { group: group.clone(), name: name.clone() }));
    }
    Ok(keys)
}

/// Changes the labels of agents, of all of a group at once.
///
/// # Errors
/// Another command removed one a moment ago, or the group's files cannot be written.
pub async fn relabel(dir: &StateDir, keys: &[AgentKey], edits: &[Edit]) -> Result<(), MemberError> {
    for keys in keys.chunk_by(|one, other| one.group == other.group) {
        let [first, ..] = keys else { continue };
        let lock = GroupLock::to_edit(dir, &first.group).await?;
        let mut agents = Agents::load(dir, &first.group)?;
        for key in keys {
            let labels = agents.labels_mut(&key.name).ok_or_else(|| gone(key))?;
            for edit in edits {
                match edit {
                    Edit::Set(label) => labels.insert(label.key.to_string(), label.value.clone()),
                    Edit::TakeAway(key) => labels.remove(key.as_str()),
                };
            }
        }
        agents.save(dir, &lock)?;
    }
    Ok(())
}

/// Removes an agent from its group. It still has the group's keys.
///
/// # Errors
/// As [`relabel`].
pub async fn remove(dir: &StateDir, key: &AgentKey) -> Result<(), MemberError> {
    let lock = GroupLock::to_edit(dir, &key.group).await?;
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
    Ok(())
}

/// Ends the quarantine of an agent: its reports count again, and a claim of our numbers may be made anew.
///
/// # Errors
/// It is not quarantined; the group is being sent for; the group's files cannot be written.
pub fn release(dir: &StateDir, key: &AgentKey) -> Result<(), MemberError> {
    let lock = GroupLock::to_send(dir, &key.group)?;
    let group = GroupState::open(dir, &key.group)?;
    let agent = group.agents.iter().find(|agent| agent.name == key.name).ok_or_else(|| gone(key))?;
    let store = FloorStore::new(dir, &group);
    let mut remembered = store.load(&group, true)?;
    if remembered.conduct.remove(&agent.member_id()) != Some(Conduct::Quarantined) {
        return Err(MemberError::NotQuarantined(key.clone()));
    }
    store.save(&remembered)?;
    drop(lock);
    Ok(())
}

/// Another command removed it a moment ago.
fn gone(key: &AgentKey) -> MemberError {
    MemberError::Missing { text: key.name.to_string(), group: Some(key.group.clone()) }
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
