//! `fwcast agent label`, `fwcast agent remove` and `fwcast agent release`.

use clap::Args;
use provisioning::Name;

use crate::commands::confirm::Yes;
use crate::commands::exit_codes::Failure;
use crate::commands::output::say;
use crate::commands::runtime::runtime;
use fwcast_documents::selector::Selector;
use fwcast_service::members::{self, Edit};
use fwcast_state::StateDir;
use rollout_engine::plan::AgentKey;

/// Arguments of `agent label`.
#[derive(Debug, Args)]
pub struct Relabel {
    /// Name of the agent, optionally with its group, like hall/lamp-1; then labels to set (KEY=VALUE) or
    /// remove (KEY-). With a selector, only labels
    #[arg(value_name = "NAME|KEY=VALUE|KEY-", required = true)]
    words: Vec<String>,
    /// Its group, if several have an agent with this name
    #[arg(long)]
    group: Option<Name>,
    /// All agents with these labels, like 'model=lamp-2,ring!=canary', instead of one by its name
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<Selector>,
}

/// Arguments of `agent remove`.
#[derive(Debug, Args)]
pub struct Remove {
    /// Name of the agent, optionally with its group, like hall/lamp-1
    name: String,
    /// Its group, if several have an agent with this name
    #[arg(long)]
    group: Option<Name>,
    #[command(flatten)]
    yes: Yes,
}

/// Arguments of `agent release`.
#[derive(Debug, Args)]
pub struct Release {
    /// Which agent; its group may stand in front, like hall/lamp-1
    name: String,
    /// Its group, where several have an agent of this name
    #[arg(long)]
    group: Option<Name>,
}

impl Relabel {
    /// Changes the labels; returns the agents' keys.
    pub(super) fn run(&self, dir: &StateDir) -> Result<Vec<AgentKey>, Failure> {
        let (name, edits) = match (&self.selector, self.words.as_slice()) {
            (Some(_), edits) => (None, edits),
            (None, [name, edits @ ..]) => (Some(name), edits),
            (None, []) => (None, &[][..]),
        };
        let edits = edits.iter().map(|text| text.parse().map_err(Failure::usage));
        let edits = edits.collect::<Result<Vec<Edit>, _>>()?;
        if edits.is_empty() {
            return Err(Failure::usage(
                "no label is given: write KEY=VALUE to set one, or KEY- to remove it",
            ));
        }
        let keys = match (name, &self.selector) {
            (Some(name), _) => vec![members::find(dir, name, self.group.as_ref())?],
            (None, Some(selector)) => members::select(dir, self.group.as_ref(), selector)?,
            (None, None) => Vec::new(),
        };
        runtime()?.block_on(members::relabel(dir, &keys, &edits))?;
        Ok(keys)
    }
}

impl Remove {
    pub(super) fn run(&self, dir: &StateDir) -> Result<(), Failure> {
        remove_agent(dir, &members::find(dir, &self.name, self.group.as_ref())?, self.yes)
    }
}

impl Release {
    pub(super) fn run(&self, dir: &StateDir) -> Result<(), Failure> {
        let key = members::find(dir, &self.name, self.group.as_ref())?;
        members::release(dir, &key)?;
        say!("agent '{key}' released: what it reports counts again");
        Ok(())
    }
}

/// Removes an agent from its group, if that is agreed, and warns about what that does not do.
pub(in crate::commands) fn remove_agent(dir: &StateDir, key: &AgentKey, yes: Yes) -> Result<(), Failure> {
    yes.or_ask(&format!("remove agent '{key}' from its group?"), &format!("agent '{key}'"))?;
    runtime()?.block_on(members::remove(dir, key))?;
    say!(
        "agent '{key}' removed; it still has the group's keys, until `fwcast group create {} --replace` \
        creates fresh ones",
        key.group
    );
    Ok(())
}
