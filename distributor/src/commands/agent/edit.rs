//! `fwcast agent label`, `fwcast agent remove` and `fwcast agent release`.

use clap::Args;
use provisioning::Name;

use crate::commands::completions::names_of;
use crate::commands::confirm::Yes;
use crate::commands::exit_codes::Failure;
use crate::commands::kind::{Noun, made};
use crate::commands::output::say;
use fwcast_documents::selector::Selector;
use fwcast_service::members::{self, Edit};
use fwcast_service::{Fleet, Which};
use fwcast_store::Store;
use rollout_engine::plan::AgentKey;

/// Arguments of `agent label`.
#[derive(Debug, Args)]
pub struct Relabel {
    /// Name of the agent, optionally with its group, like hall/lamp-1; then labels to set (KEY=VALUE) or
    /// remove (KEY-). With a selector, only labels
    #[arg(value_name = "NAME|KEY=VALUE|KEY-", required = true, add = names_of(Noun::Agents))]
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
    #[arg(add = names_of(Noun::Agents))]
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
    #[arg(add = names_of(Noun::Agents))]
    name: String,
    /// Its group, where several have an agent of this name
    #[arg(long)]
    group: Option<Name>,
}

impl Relabel {
    /// Changes the labels; returns the agents' keys.
    pub(super) async fn run<S: Store>(&self, fleet: &Fleet<S>) -> Result<Vec<AgentKey>, Failure> {
        let (which, edits) = match (&self.selector, self.words.as_slice()) {
            (Some(selector), edits) => (Which::Selected(selector), edits),
            (None, [name, edits @ ..]) => (Which::Named(name), edits),
            (None, []) => return Err(Failure::usage("no agent is given: write its name, or a selector")),
        };
        let edits = edits.iter().map(|text| text.parse().map_err(Failure::usage));
        let edits = edits.collect::<Result<Vec<Edit>, _>>()?;
        if edits.is_empty() {
            return Err(Failure::usage(
                "no label is given: write KEY=VALUE to set one, or KEY- to remove it",
            ));
        }
        Ok(made(fleet.relabel(which, self.group.as_ref(), &edits).await?))
    }
}

impl Remove {
    pub(super) async fn run<S: Store>(&self, fleet: &Fleet<S>) -> Result<(), Failure> {
        remove_agent(fleet, &self.name, self.group.as_ref(), self.yes).await
    }
}

impl Release {
    pub(super) async fn run<S: Store>(&self, fleet: &Fleet<S>) -> Result<(), Failure> {
        let key = members::find(fleet.dir(), &self.name, self.group.as_ref())?;
        made(fleet.release(&key).await?);
        say!("agent '{key}' released: what it reports counts again");
        Ok(())
    }
}

/// Removes an agent from its group, if that is agreed, and warns about what that does not do.
pub(in crate::commands) async fn remove_agent<S: Store>(
    fleet: &Fleet<S>,
    name: &str,
    group: Option<&Name>,
    yes: Yes,
) -> Result<(), Failure> {
    let key = members::find(fleet.dir(), name, group)?;
    yes.or_ask(&format!("remove agent '{key}' from its group?"), &format!("agent '{key}'"))?;
    made(fleet.remove(&key).await?);
    say!(
        "agent '{key}' removed; it still has the group's keys, until `fwcast group rekey {}` gives the \
        others new ones",
        key.group
    );
    Ok(())
}
