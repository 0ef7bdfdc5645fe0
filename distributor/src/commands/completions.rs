//! `fwcast completions` and `fwcast man`: files for shells and `man`.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::output;

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

impl Completions {
    /// Prints them.
    pub fn run(&self) -> Result<Exit, Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "fwcast", &mut text);
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
