//! `fwcast delete`: takes away what is no longer wanted.

use clap::Args;

use super::agent::remove_agent;
use super::describe::missing;
use super::kind::{Noun, document_name, find_agent, on_store};
use crate::cli::Global;
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::output::say;
use crate::store::Store;
use crate::store::images::Images;

/// Delete a rollout group, an image or a rollout that nothing uses, or remove an agent
#[derive(Debug, Args)]
pub struct Delete {
    /// What
    #[arg(value_enum)]
    noun: Noun,
    /// Its name; an agent's may have its group in front, like hall/lamp-1
    name: String,
}

impl Delete {
    /// Deletes it, and with the last document that names an image also that.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let Some(kind) = self.noun.document() else {
            let dir = global.state_dir()?;
            remove_agent(&dir, &find_agent(&dir, &self.name, None)?)?;
            return Ok(Exit::Done);
        };
        on_store(global, async |dir, store| {
            let name = document_name(&self.name)?;
            if !store.delete(kind, &name).await? {
                return Err(missing(kind, &name));
            }
            say!("{} '{name}' deleted", kind.noun());
            Images::of(dir).collect(store).await?;
            Ok(Exit::Done)
        })
    }
}
