//! `fwcast get`: lists.

use clap::Args;
use provisioning::Name;

use super::kind::{Noun, on_fleet};
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output;
use crate::commands::report::{AgentList, DocumentList, RolloutList};
use fwcast_documents::selector::Selector;
use fwcast_service::look::Filter;
use fwcast_state::GroupState;
use fwcast_store::Agent;
use fwcast_store::kind::Kind;
use rollout_engine::record::Progress;

/// List agents, rollout groups, images or rollouts
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct Get {
    /// What
    #[arg(value_enum)]
    noun: Noun,
    /// Only these, by name
    names: Vec<String>,
    /// Only those with these labels, like 'model=lamp-2,ring!=canary'
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<Selector>,
    /// Only agents of this security group
    #[arg(long)]
    group: Option<Name>,
    /// Only agents in this state, as the list shows it, like confirmed or rolled-back
    #[arg(long, value_name = "STATE", value_parser = progress)]
    progress: Option<Progress>,
    /// Only agents that run the image with this manifest sequence number
    #[arg(long, value_name = "N")]
    version: Option<u64>,
}

impl Get {
    /// Prints the list.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let for_agents = self.group.is_some() || self.progress.is_some() || self.version.is_some();
        if for_agents && self.noun.document().is_some() {
            return Err(Failure::usage(
                "--group, --progress and --version choose agents: `fwcast get agents`",
            ));
        }
        let filter = Filter { names: &self.names, selector: self.selector.as_ref() };
        on_fleet(global, async |fleet| match self.noun.document() {
            None => {
                if let Some(group) = &self.group {
                    // Opened, so that a missing group is reported as missing.
                    GroupState::open(fleet.dir(), group)?;
                }
                let mut agents = fleet.agents(&filter).await?;
                agents.retain(|agent| self.wants(agent));
                output::print(global.output, &AgentList::new(agents, &fleet.versions().await?))
            }
            Some(Kind::Rollout) => {
                output::print(global.output, &RolloutList::new(fleet.rollouts(&filter).await?))
            }
            Some(kind) => output::print(global.output, &DocumentList(fleet.documents(kind, &filter).await?)),
        })?;
        Ok(Exit::Done)
    }

    fn wants(&self, agent: &Agent) -> bool {
        self.group.as_ref().is_none_or(|group| agent.key.group == *group)
            && self.progress.is_none_or(|state| agent.progress == Some(state))
            && self.version.is_none_or(|version| agent.installed == version)
    }
}

/// A state as lists show it.
fn progress(text: &str) -> Result<Progress, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string().replace('`', "'"))
}
