//! The nouns of `get`, `describe` and `delete`, and what they share.

use clap::ValueEnum;
use provisioning::Name;

use crate::cli::Global;
use crate::commands::exit_codes::Failure;
use crate::manifest::Kind;
use crate::process::runtime;
use crate::rollout::plan::AgentKey;
use crate::state::{Agents, StateDir};
use crate::store::{SqliteStore, mirror};

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Noun {
    /// Agents of all groups
    #[value(alias = "agent", alias = "agt")]
    Agents,
    /// Rollout groups
    #[value(alias = "group", alias = "grp")]
    Groups,
    /// Images
    #[value(alias = "image", alias = "img")]
    Images,
    /// Rollouts
    #[value(alias = "rollout", alias = "ro")]
    Rollouts,
}

impl Noun {
    /// The documents of this kind; `None` for agents, which no document makes.
    pub(super) const fn document(self) -> Option<Kind> {
        match self {
            Self::Agents => None,
            Self::Groups => Some(Kind::RolloutGroup),
            Self::Images => Some(Kind::Image),
            Self::Rollouts => Some(Kind::Rollout),
        }
    }
}

/// Opens the store with agents as the groups' folders have them, does something with it, and closes it.
pub(super) fn on_store<T>(
    global: &Global,
    work: impl AsyncFnOnce(&StateDir, &SqliteStore) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let dir = global.state_dir()?;
    runtime()?.block_on(async {
        let store = SqliteStore::open(&dir).await?;
        mirror::refresh(&dir, &store).await?;
        let done = work(&dir, &store).await;
        store.close().await;
        done
    })
}

/// The name of a document, as an argument.
pub(super) fn document_name(text: &str) -> Result<Name, Failure> {
    Name::new(text).map_err(|error| Failure::usage(format!("'{}' is no name: {error}", text.escape_debug())))
}

/// The agent that an operator means: `GROUP/NAME`, or a name that only one group has.
pub(super) fn find_agent(dir: &StateDir, text: &str, group: Option<&Name>) -> Result<AgentKey, Failure> {
    if text.contains('/') {
        let key: AgentKey = text.parse().map_err(Failure::usage)?;
        let wanted = group.is_none_or(|group| *group == key.group);
        return if wanted && has(dir, &key)? { Ok(key) } else { Err(no_agent(text, group)) };
    }
    let name = document_name(text)?;
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
        [] => Err(no_agent(text, group)),
        [key] => Ok(key.clone()),
        [first, second, ..] => Err(Failure::usage(format!(
            "agent '{name}' is in {} groups: write '{first}' or '{second}'",
            found.len()
        ))),
    }
}

fn has(dir: &StateDir, key: &AgentKey) -> Result<bool, Failure> {
    let is_group = Agents::fingerprint(dir, &key.group)?.is_some();
    Ok(is_group && Agents::load(dir, &key.group)?.has(&key.name))
}

/// There is no such agent.
pub(super) fn no_agent(text: &str, group: Option<&Name>) -> Failure {
    let place = group.map(|group| format!(" in group '{group}'")).unwrap_or_default();
    Failure::error(format!(
        "there is no agent '{}'{place}: `fwcast agent list` shows those there are",
        text.escape_debug()
    ))
}
