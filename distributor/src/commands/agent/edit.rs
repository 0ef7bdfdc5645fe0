//! `fwcast agent label`, `fwcast agent remove` and `fwcast agent release`.

use clap::Args;
use provisioning::Name;

use crate::commands::exit_codes::Failure;
use crate::commands::output::say;
use crate::commands::runtime::runtime;
use crate::fleet::members::{self, Edit};
use crate::state::StateDir;
use rollout_engine::plan::AgentKey;

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
    /// Changes the labels. The key of the agent.
    pub(super) fn run(&self, dir: &StateDir) -> Result<AgentKey, Failure> {
        let key = members::find(dir, &self.name, self.group.as_ref())?;
        runtime()?.block_on(members::relabel(dir, &key, &self.edits))?;
        Ok(key)
    }
}

impl Remove {
    pub(super) fn run(&self, dir: &StateDir) -> Result<(), Failure> {
        remove_agent(dir, &members::find(dir, &self.name, self.group.as_ref())?)
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

/// Takes an agent out of its group, and says what that does not do.
pub fn remove_agent(dir: &StateDir, key: &AgentKey) -> Result<(), Failure> {
    runtime()?.block_on(members::remove(dir, key))?;
    say!(
        "agent '{key}' removed; it still has the group's keys, until `fwcast group create {} --replace` \
        makes fresh ones",
        key.group
    );
    Ok(())
}
