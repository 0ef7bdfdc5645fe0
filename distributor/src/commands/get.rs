//! `fwcast get`: lists of what there is.

use clap::Args;

use super::kind::{Noun, document_name, on_fleet};
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output::{self, Printable};
use crate::commands::report::{AgentList, DocumentList, RolloutList};
use crate::fleet::members;
use crate::manifest::Kind;
use crate::manifest::selector::Selector;
use crate::state::StateDir;
use crate::store::Store;

/// List agents, rollout groups, images or rollouts
#[derive(Debug, Args)]
pub struct Get {
    /// What
    #[arg(value_enum)]
    noun: Noun,
    /// Only these, by name
    names: Vec<String>,
    /// Only those with such labels, like 'model=lamp-2,ring!=canary'
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<Selector>,
}

impl Get {
    /// Prints the list.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        on_fleet(global, async |fleet| match self.noun.document() {
            None => output::print(global.output, &self.agents(fleet.dir(), fleet.store()).await?),
            Some(Kind::Rollout) => output::print(global.output, &self.rollouts(fleet.store()).await?),
            Some(kind) => output::print(global.output, &self.documents(fleet.store(), kind).await?),
        })?;
        Ok(Exit::Done)
    }

    async fn agents<S: Store>(&self, dir: &StateDir, store: &S) -> Result<AgentList, Failure> {
        let keys = self.names.iter().map(|name| members::find(dir, name, None));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let mut agents = store.agents(None).await?;
        agents.retain(|agent| keys.is_empty() || keys.contains(&agent.key));
        agents.retain(|agent| self.selector.as_ref().is_none_or(|selector| selector.matches(&agent.labels)));
        Ok(AgentList::new(agents))
    }

    async fn documents<S: Store>(&self, store: &S, kind: Kind) -> Result<DocumentList, Failure> {
        let mut list = DocumentList(store.documents(kind).await?);
        self.check_names(kind, &list)?;
        list.0.retain(|document| self.is_wanted(document.name.as_str(), &document.labels));
        Ok(list)
    }

    async fn rollouts<S: Store>(&self, store: &S) -> Result<RolloutList, Failure> {
        let documents = store.documents(Kind::Rollout).await?;
        let mut list = RolloutList::new(documents, store.rollouts().await?);
        self.check_names(Kind::Rollout, &list)?;
        list.0.retain(|row| self.is_wanted(row.name.as_str(), &row.labels));
        Ok(list)
    }

    /// Each name that was given is there.
    fn check_names(&self, kind: Kind, list: &impl Printable) -> Result<(), Failure> {
        let there = list.names().unwrap_or_default();
        for name in &self.names {
            let name = document_name(name)?;
            if !there.iter().any(|other| other == name.as_str()) {
                return Err(super::describe::missing(kind, &name));
            }
        }
        Ok(())
    }

    fn is_wanted(&self, name: &str, labels: &std::collections::BTreeMap<String, String>) -> bool {
        let named = self.names.is_empty() || self.names.iter().any(|wanted| wanted == name);
        named && self.selector.as_ref().is_none_or(|selector| selector.matches(labels))
    }
}
