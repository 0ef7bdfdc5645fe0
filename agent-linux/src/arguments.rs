//! The command line.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::config::Overrides;
use crate::failure::Failure;
use crate::loss::Loss;

const EXAMPLES: &str = "\
Examples:
  fwcast-agent --config lamp-1.yaml --install firmware-1.bin --sequence 1
  fwcast-agent --config lamp-1.yaml --check
  fwcast-agent --config lamp-1.yaml
  fwcast-agent completions bash > /usr/share/bash-completion/completions/fwcast-agent
  fwcast-agent man | man -l -

Exit codes:
  0  stopped on request, installed, or checked without errors
  1  something is wrong on this machine
  2  an argument or the configuration is invalid
  8  secrets that others can read, or a state folder in doubt";

/// What is printed for other programs.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Print {
    /// Print the completions for a shell
    #[command(after_help = "Example:\n  fwcast-agent completions bash > \
                            /usr/share/bash-completion/completions/fwcast-agent")]
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  fwcast-agent man | man -l -")]
    Man,
}

impl Print {
    /// The text.
    ///
    /// # Errors
    /// Never in practice.
    pub fn text(self) -> io::Result<Vec<u8>> {
        let mut command = Arguments::command();
        let mut text = Vec::new();
        match self {
            Self::Completions { shell } => {
                clap_complete::generate(shell, &mut command, "fwcast-agent", &mut text);
            }
            Self::Man => clap_mangen::Man::new(command).render(&mut text)?,
        }
        Ok(text)
    }
}

/// What kind of device the agent is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Memory for generations of 4096 blocks
    Linux,
    /// 15 symbols of 1 KiB, as on a microcontroller
    Mcu,
}

impl Profile {
    /// Memory for parity symbols. On Linux: what 64 MiB need at 20 % loss, and a few more. What is not used
    /// takes none. Decoding a large generation takes 8 MiB in addition, for as long as it lasts, and tables
    /// of as much.
    #[must_use]
    pub const fn parity_bytes(self) -> usize {
        match self {
            Self::Linux => 16 * 1024 * 1024,
            // For the numbers of the symbols, and for what is held of 64 generations, half a KiB more.
            Self::Mcu => 15 * 1024 + 512,
        }
    }
}

/// Receives firmware over multicast, tries it, and keeps it or rolls it back.
#[derive(Debug, Parser)]
#[command(name = "fwcast-agent", version, after_help = EXAMPLES, after_long_help = EXAMPLES,
    args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to print instead of running
    #[command(subcommand)]
    pub print: Option<Print>,

    /// The agent's configuration, written by `fwcast agent enroll`
    #[arg(long, value_name = "FILE", default_value = "/etc/fwcast/agent.yaml")]
    pub config: PathBuf,

    /// Check everything that can be checked without running, and exit
    #[arg(long, conflicts_with = "install")]
    pub check: bool,

    /// Install this file as the device's first image, and exit
    #[arg(long, value_name = "IMAGE", requires = "sequence")]
    pub install: Option<PathBuf>,

    /// Manifest sequence number of the first image; later ones must be higher
    #[arg(long, value_name = "N", requires = "install")]
    pub sequence: Option<u64>,

    /// Folder for slots and records, instead of the configured one
    #[arg(long, value_name = "FOLDER")]
    pub state_directory: Option<PathBuf>,

    /// Network interface to join the CoAP group on, instead of the configured one
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,

    /// The state folder has moved to this machine for good: nothing uses it elsewhere
    #[arg(long)]
    pub moved: bool,

    /// Wait so many seconds for the network interface, if it is not there yet at the start
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub interface_within: u32,

    /// Drop this percentage of all datagrams in both directions, for experiments
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, allow_negative_numbers = true)]
    pub inject_loss: f64,

    /// Seed for the dropped datagrams: the same seed drops the same ones
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// How much memory to use for parity, for experiments
    #[arg(long, value_enum, default_value_t = Profile::Linux)]
    pub profile: Profile,

    /// Log more; twice: log everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Arguments {
    /// Overrides of the configuration file.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides {
            state_directory: self.state_directory.clone(),
            interface: self.interface.clone(),
            moved: self.moved,
        }
    }

    /// How long the interface is waited for.
    #[must_use]
    pub fn interface_within(&self) -> Duration {
        Duration::from_secs(self.interface_within.into())
    }

    /// The deliberate loss.
    ///
    /// # Errors
    /// It is not a percentage.
    pub fn loss(&self) -> Result<Loss, Failure> {
        Loss::new(self.inject_loss, self.seed).ok_or_else(|| {
            Failure::usage(format!("--inject-loss {}: give 0 to 100 percent", self.inject_loss))
        })
    }

    /// The log level.
    #[must_use]
    pub const fn level(&self) -> tracing::Level {
        match self.verbose {
            0 => tracing::Level::INFO,
            1 => tracing::Level::DEBUG,
            _ => tracing::Level::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn loss_is_a_percentage() {
        for (text, right) in
            [("0", true), ("12.5", true), ("100", true), ("101", false), ("-1", false), ("nan", false)]
        {
            let arguments = Arguments::try_parse_from(["fwcast-agent", "--inject-loss", text]).unwrap();
            assert_eq!(arguments.loss().is_ok(), right, "{text}");
        }
    }

    #[test]
    fn an_installation_needs_its_sequence_number() {
        for wrong in
            [&["--install", "x"][..], &["--sequence", "1"], &["--check", "--install", "x", "--sequence", "1"]]
        {
            let line = std::iter::once("fwcast-agent").chain(wrong.iter().copied());
            assert!(Arguments::try_parse_from(line).is_err(), "{wrong:?}");
        }
    }
}
