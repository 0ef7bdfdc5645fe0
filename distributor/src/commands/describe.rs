//! `fwcast describe`: one thing with all that is known of it.

use clap::Args;
use provisioning::Name;

use super::kind::{Noun, document_name, on_fleet};
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output;
use crate::commands::report::{DescribedAgent, DescribedDocument, DescribedRollout, RolloutRow};
use crate::fleet::{DeleteError, members};
use crate::manifest::Kind;
use crate::state::StateDir;
use crate::store::Documents as _;
use crate::store::{EventQuery, Store};

/// So many of the newest events are shown.
const EVENTS_SHOWN: u32 = 10;

/// Show one agent, rollout group, image or rollout
#[derive(Debug, Args)]
pub struct Describe {
    /// What
    #[arg(value_enum)]
    noun: Noun,
    /// Its name; an agent's may have its group in front, like hall/lamp-1
    name: String,
}

impl Describe {
    /// Prints it.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        on_fleet(global, async |fleet| match self.noun.document() {
            None => output::print(global.output, &self.agent(fleet.dir(), fleet.store()).await?),
            Some(Kind::Rollout) => output::print(global.output, &self.rollout(fleet.store()).await?),
            Some(kind) => {
                let name = document_name(&self.name)?;
                let document = fleet.store().document(kind, &name).await?;
                let document = document.ok_or_else(|| missing(kind, &name))?;
                output::print(global.output, &DescribedDocument(document))
            }
        })?;
        Ok(Exit::Done)
    }

    async fn agent<S: Store>(&self, dir: &StateDir, store: &S) -> Result<DescribedAgent, Failure> {
        let key = members::find(dir, &self.name, None)?;
        let agent = store.agent(&key).await?;
        // Someone removed it a moment ago.
        let agent = agent.ok_or_else(|| Failure::error(format!("agent '{key}' is no longer enrolled")))?;
        let query = EventQuery { after: None, rollout: None, agent: Some(key), limit: EVENTS_SHOWN };
        Ok(DescribedAgent::new(agent, store.events(&query).await?))
    }

    async fn rollout<S: Store>(&self, store: &S) -> Result<DescribedRollout, Failure> {
        let name = document_name(&self.name)?;
        let document = store.document(Kind::Rollout, &name).await?;
        let rollout = store.rollout(&name).await?;
        let (line, plan) = rollout.map(|rollout| (rollout.line, rollout.plan)).unzip();
        let row = RolloutRow::new(document.clone(), line).ok_or_else(|| missing(Kind::Rollout, &name))?;
        let agents = store.rollout_agents(&name).await?;
        let query = EventQuery { after: None, rollout: Some(name), agent: None, limit: EVENTS_SHOWN };
        Ok(DescribedRollout::new(row, plan, &agents, document, store.events(&query).await?))
    }
}

/// There is no document, and no rollout, of this name.
pub(super) fn missing(kind: Kind, name: &Name) -> Failure {
    DeleteError::Missing { kind, name: name.clone() }.into()
}
