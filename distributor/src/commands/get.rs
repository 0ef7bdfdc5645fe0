//! `fwcast get`: lists.

use clap::Args;

use super::kind::{Noun, on_fleet};
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output;
use crate::commands::report::{AgentList, DocumentList, RolloutList};
use crate::fleet::look::Filter;
use crate::kind::Kind;
use crate::manifest::selector::Selector;

/// List agents, rollout groups, images or rollouts
#[derive(Debug, Args)]
pub struct Get {
    /// What
    #[arg(value_enum)]
    noun: Noun,
    /// Only these, by name
    names: Vec<String>,
    /// Only those with these labels, like 'model=lamp-2,ring!=canary'
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<Selector>,
}

impl Get {
    /// Prints the list.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let filter = Filter { names: &self.names, selector: self.selector.as_ref() };
        on_fleet(global, async |fleet| match self.noun.document() {
            None => output::print(global.output, &AgentList::new(fleet.agents(&filter).await?)),
            Some(Kind::Rollout) => {
                output::print(global.output, &RolloutList::new(fleet.rollouts(&filter).await?))
            }
            Some(kind) => output::print(global.output, &DocumentList(fleet.documents(kind, &filter).await?)),
        })?;
        Ok(Exit::Done)
    }
}
