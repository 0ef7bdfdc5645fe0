//! `fwcast schema`: the JSON schema of rollout manifests.

use clap::Args;

use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::output;

/// Print the JSON schema of rollout manifests, for editors
#[derive(Debug, Args)]
pub struct Schema {}

impl Schema {
    /// Prints it on standard output.
    pub fn run(&self) -> Result<Exit, Failure> {
        output::print_text(&fwcast_documents::schema::text())?;
        Ok(Exit::Done)
    }
}
