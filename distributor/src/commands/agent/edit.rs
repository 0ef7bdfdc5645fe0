//! `fwcast agent label`, `fwcast agent remove` and `fwcast agent release`.

use clap::Args;
use provisioning::Name;

use crate::commands::confirm::Yes;
use crate::commands::exit_codes::Failure;
use crate::commands::output::say;
use crate::commands::runtime::runtime;
use crate::fleet::members::{self, Edit};
use crate::state::StateDir;
use rollout_engine::plan::AgentKey;

/// Arguments of `agent label`.
#[derive(Debug, Args)]
pub struct Relabel {
    /// Name of the agent, optionally with its group, like hall/lamp-1
    name: String,
    /// Its group, if several have an agent with this name
    #[arg(long)]
    group: Option<Name>,
    /// Labels to set (KEY=VALUE) or remove (KEY-)
    #[arg(value_name = "KEY=VALUE|KEY-", required = true)]
    edits: Vec<Edit>,
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
    /// Changes the labels; returns the agent's key.
    pub(super) fn run(&self, dir: &StateDir) -> Result<AgentKey, Failure> {
        let key = members::find(dir, &self.name, self.group.as_ref())?;
        runtime()?.block_on(members::relabel(dir, &key, &self.edits))?;
        Ok(key)
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
