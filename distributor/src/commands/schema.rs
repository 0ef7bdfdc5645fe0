//! `fwcast schema`: the JSON schema of rollout manifests.

use clap::Args;

use crate::exit::{Exit, Failure};
use crate::manifest;
use crate::output;

/// Print the JSON schema of rollout manifests, for editors
#[derive(Debug, Args)]
pub struct Schema {}

impl Schema {
    /// Prints it on standard output.
    pub fn run(&self) -> Result<Exit, Failure> {
        output::print_text(&manifest::schema::text())?;
        Ok(Exit::Done)
    }
}
