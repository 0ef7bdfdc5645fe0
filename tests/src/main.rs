//! `cargo xtask`: the commands for people and CI. Everything is in the library.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tests::commands::Arguments;
use tests::outcome::Outcome;

fn main() -> Result<ExitCode> {
    let outcome = Arguments::parse().run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Outcome::new(false).figure("error", format!("{error:#}"))
    });
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
