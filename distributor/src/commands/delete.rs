//! `fwcast delete`: deletes what is no longer needed.

use clap::Args;

use super::agent::remove_agent;
use super::confirm::Yes;
use super::kind::{Noun, on_fleet};
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output::say;
use fwcast_service::members;

/// Delete a rollout group, an image or a rollout that nothing uses, or remove an agent
#[derive(Debug, Args)]
pub struct Delete {
    /// What
    #[arg(value_enum)]
    noun: Noun,
    /// Its name; an agent's optionally with its group, like hall/lamp-1
    name: String,
    #[command(flatten)]
    yes: Yes,
}

impl Delete {
    /// Deletes it, and an image that no document names any more.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let Some(kind) = self.noun.document() else {
            on_fleet(global, async |fleet| remove_agent(fleet, &self.name, None, self.yes).await)?;
            return Ok(Exit::Done);
        };
        on_fleet(global, async |fleet| {
            let name = members::name(&self.name)?;
            fleet.describe_document(kind, name.as_str()).await?;
            let what = format!("{} '{name}'", kind.noun());
            self.yes.or_ask(&format!("delete {what} for good?"), &what)?;
            fleet.delete(kind, &name).await?;
            say!("{} '{name}' deleted", kind.noun());
            fleet.collect_images().await?;
            Ok(Exit::Done)
        })
    }
}
