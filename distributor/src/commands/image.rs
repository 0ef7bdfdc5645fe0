//! `fwcast image`: signed images.

mod inspect;
mod sign;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;

use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;

/// The image commands.
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Sign an image: write the SUIT envelope that offers it
    Sign(Box<sign::Sign>),
    /// Show what a SUIT envelope claims, without verifying it
    Inspect {
        /// The envelope
        file: PathBuf,
    },
    /// Verify a SUIT envelope, and an image against it
    Verify(verify::Verify),
}

impl Image {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        match self {
            Self::Sign(sign) => sign.run(global.output)?,
            Self::Inspect { file } => inspect::run(file, global.output)?,
            Self::Verify(verify) => verify.run(global.output)?,
        }
        Ok(Exit::Done)
    }
}
