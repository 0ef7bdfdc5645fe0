//! `fwcast completions` and `fwcast man`: files for shells and `man`.
//!
//! A shell asks `fwcast` itself what may follow, with `COMPLETE` in the environment, so it knows the names of
//! rollouts, groups and agents.

use std::ffi::OsStr;
use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};

use super::kind::Noun;
use super::runtime::runtime;
use crate::cli::Cli;
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::output;
use crate::commands::settings::{Flags, Settings};
use fwcast_state::{Agents, StateDir};
use fwcast_store::{Documents as _, Rollouts as _, SqliteStore};

/// The variable with which a shell asks.
const VARIABLE: &str = "COMPLETE";

/// Print the completions for a shell
#[derive(Debug, Args)]
pub struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page of fwcast or of a command
#[derive(Debug, Args)]
pub struct Man {
    /// A command and its subcommands, such as `rollout approve`
    command: Vec<String>,
}

/// Answers a shell that asks what may follow, and ends the process; returns if none asks.
pub fn answer_shell() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// What completes the names of these things. Where they cannot be read, there are none.
pub(super) fn names_of(noun: Noun) -> ArgValueCompleter {
    completer(move || names(noun))
}

/// What completes the names of security groups.
pub(super) fn security_groups() -> ArgValueCompleter {
    completer(|| Some(state()?.groups().ok()?.iter().map(ToString::to_string).collect()))
}

fn completer(names: impl Fn() -> Option<Vec<String>> + Send + Sync + 'static) -> ArgValueCompleter {
    ArgValueCompleter::new(move |typed: &OsStr| {
        let typed = typed.to_string_lossy();
        let names = names().unwrap_or_default().into_iter();
        names.filter(|name| name.starts_with(&*typed)).map(CompletionCandidate::new).collect::<Vec<_>>()
    })
}

/// The state folder of the environment or a configuration file, if it exists. What is being typed may name
/// another.
fn state() -> Option<StateDir> {
    let settings = Settings::gather(Flags::default()).ok()?;
    let (state, witness) = (settings.state.value.as_deref(), settings.witness.value.as_deref());
    let (state, witness) = StateDir::folders(state, witness).ok()?;
    if state.is_dir() { StateDir::open(&state, &witness).ok() } else { None }
}

fn names(noun: Noun) -> Option<Vec<String>> {
    let dir = state()?;
    let Some(kind) = noun.document() else {
        let mut names = Vec::new();
        for group in dir.groups().ok()? {
            let agents = Agents::load(&dir, &group).ok()?;
            let enrolled = agents.enrolled.into_iter().map(|agent| agent.name);
            let all = enrolled.chain(agents.waiting.into_iter().map(|agent| agent.name));
            names.extend(all.map(|name| format!("{group}/{name}")));
        }
        return Some(names);
    };
    // Looking creates no database.
    if !SqliteStore::file(&dir).is_file() {
        return None;
    }
    runtime().ok()?.block_on(async {
        let store = SqliteStore::open(&dir).await.ok()?;
        let mut names: Vec<String> =
            store.documents(kind).await.ok()?.into_iter().map(|document| document.name.to_string()).collect();
        if noun == Noun::Rollouts {
            names.extend(store.rollouts().await.ok()?.into_iter().map(|line| line.name.to_string()));
        }
        names.sort();
        names.dedup();
        Some(names)
    })
}

impl Completions {
    /// Prints them.
    pub fn run(&self) -> Result<Exit, Failure> {
        let mut text = Vec::new();
        let shells = Shells::builtins();
        let shell = shells.completer(&self.shell.to_string());
        let shell = shell.ok_or_else(|| Failure::usage("there are no completions for this shell"))?;
        shell
            .write_registration(VARIABLE, "fwcast", "fwcast", "fwcast", &mut text)
            .map_err(|error| Failure::error(format!("cannot write the completions: {error}")))?;
        print(&text)
    }
}

impl Man {
    /// Prints it.
    pub fn run(&self) -> Result<Exit, Failure> {
        let mut command = Cli::with_examples();
        command.build();
        for name in &self.command {
            command = command.find_subcommand(name).cloned().ok_or_else(|| {
                Failure::usage(format!(
                    "fwcast has no command '{}': `fwcast --help` lists them",
                    self.command.join(" ").escape_debug()
                ))
            })?;
        }
        let mut text = Vec::new();
        let written: io::Result<()> = clap_mangen::Man::new(command).render(&mut text);
        written.map_err(|error| Failure::error(format!("cannot write the manual page: {error}")))?;
        print(&text)
    }
}

fn print(text: &[u8]) -> Result<Exit, Failure> {
    output::print_text(&String::from_utf8_lossy(text))?;
    Ok(Exit::Done)
}
