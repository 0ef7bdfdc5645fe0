//! The command line of `fwcast`.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output::{Format, no_names};
use crate::commands::{
    agent, apply, backup, completions, config, delete, describe, doctor, events, examples, get, group, image,
    key, manager, plan, push, rollout, run, schema, status, validate,
};

/// Updates the firmware of many devices at once, over secured multicast.
#[derive(Debug, Parser)]
#[command(name = "fwcast", version, propagate_version = true, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 done, 1 error, 2 usage, 3 something would change \
(plan), 4 rollout failed, 5 finished but some devices failed, 6 timed out, 8 not allowed (a secret that \
others can read, counters in doubt), 9 bad signature or hash, 130 interrupted.";

/// One variant for each noun or verb, with its arguments in `commands/`. A new command (`push`, `status`,
/// `doctor`) adds its variant here, one line to [`Cli::run`], and a module `commands/<name>.rs` with a type
/// that derives [`clap::Args`] or [`clap::Subcommand`] and has `run(&self, &Global) -> Result<Exit,
/// Failure>`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Create and show signing keys
    #[command(subcommand)]
    Key(key::Key),
    /// Create and show security groups
    #[command(subcommand)]
    Group(group::Group),
    /// Enroll, list, label and remove agents
    #[command(subcommand)]
    Agent(agent::Agent),
    /// Bring keys to the agents
    #[command(subcommand)]
    Manager(manager::Manager),
    /// Sign and check images
    #[command(subcommand)]
    Image(image::Image),
    Push(push::Push),
    Status(status::Status),
    Doctor(doctor::Doctor),
    Get(get::Get),
    Describe(describe::Describe),
    Delete(delete::Delete),
    History(events::History),
    Events(events::Events),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Validate(validate::Validate),
    Schema(schema::Schema),
    Plan(plan::Plan),
    Apply(apply::Apply),
    Run(run::Run),
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    #[command(subcommand)]
    Config(config::Config),
    Completions(completions::Completions),
    Man(completions::Man),
}

impl Command {
    /// Whether what it prints has no name: `--output name` is refused before it does anything.
    const fn prints_no_names(&self) -> bool {
        match self {
            Self::Key(_) | Self::Image(_) | Self::Push(_) | Self::Doctor(_) | Self::Events(_) => true,
            Self::Manager(_) => true,
            Self::History(history) => history.prints_events(),
            _ => false,
        }
    }
}

impl Cli {
    /// Reads the command line of this process; ends it where that has no meaning.
    #[must_use]
    pub fn from_command_line() -> Self {
        let matches = Self::with_examples().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// The command line with examples in its help.
    #[must_use]
    pub fn with_examples() -> clap::Command {
        examples::with_examples(Self::command())
    }

    /// Runs the command.
    pub fn run(mut self) -> Result<Exit, Failure> {
        self.global.settle()?;
        let global = &self.global;
        if global.output == Format::Name && self.command.prints_no_names() {
            return Err(no_names());
        }
        match &self.command {
            Command::Key(key) => key.run(global),
            Command::Group(group) => group.run(global),
            Command::Agent(agent) => agent.run(global),
            Command::Manager(manager) => manager.run(global),
            Command::Image(image) => image.run(global),
            Command::Push(push) => push.run(global),
            Command::Status(status) => status.run(global),
            Command::Doctor(doctor) => doctor.run(global),
            Command::Get(get) => get.run(global),
            Command::Describe(describe) => describe.run(global),
            Command::Delete(delete) => delete.run(global),
            Command::History(history) => history.run(global),
            Command::Events(events) => events.run(global),
            Command::Backup(backup) => backup.run(global),
            Command::Restore(restore) => restore.run(global),
            Command::Validate(validate) => validate.run(global),
            Command::Schema(schema) => schema.run(),
            Command::Plan(plan) => plan.run(global),
            Command::Apply(apply) => apply.run(global),
            Command::Run(run) => run.run(global),
            Command::Rollout(rollout) => rollout.run(global),
            Command::Config(config) => config.run(global),
            Command::Completions(completions) => completions.run(),
            Command::Man(man) => man.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
