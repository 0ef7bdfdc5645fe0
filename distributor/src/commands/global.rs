//! The options of every command, from flags, the environment and configuration files.

use std::path::PathBuf;

use clap::Args;

use super::exit_codes::Failure;
use super::output::{Color, Format};
use super::settings::{Flags, Settings};
use fwcast_state::StateDir;
use fwcast_state::files::shown;

/// The options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file [env: FWCAST_CONFIG] [default: ./fwcast.yaml,
    /// $XDG_CONFIG_HOME/fwcast/config.yaml or /etc/fwcast/config.yaml]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for groups, keys and counters [env: FWCAST_STATE] [default: $STATE_DIRECTORY, else
    /// $XDG_STATE_HOME/fwcast, else ~/.local/state/fwcast]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Folder for the second copy of the counters, outside the state folder and its backups [env:
    /// FWCAST_WITNESS] [default: $XDG_DATA_HOME/fwcast-witness, else ~/.local/share/fwcast-witness]
    #[arg(long, global = true, value_name = "DIR")]
    witness: Option<PathBuf>,
    /// Output format [env: FWCAST_OUTPUT] [default: table]
    #[arg(id = "output", short, long, global = true, value_enum, value_name = "FORM")]
    output_flag: Option<Format>,
    /// Colours in tables: on a terminal unless NO_COLOR is set, always, or never [env: FWCAST_COLOR]
    /// [default: auto]
    #[arg(long, global = true, value_enum, value_name = "WHEN")]
    color: Option<Color>,
    /// The output format, from any source.
    #[arg(skip)]
    pub output: Format,
}

impl Global {
    /// The folders that the operator named, or their defaults. The state folder must be there: a command
    /// that only looks, or a wrong path, creates nothing.
    pub fn state_dir(&self) -> Result<StateDir, Failure> {
        let settings = self.settings()?;
        let (state, witness) = (settings.state.value.as_deref(), settings.witness.value.as_deref());
        let (state, witness) = StateDir::folders(state, witness)?;
        if !state.is_dir() {
            return Err(Failure::error(format!(
                "there is no state folder {}: check --state and FWCAST_STATE; `fwcast group create` makes \
                 the first one",
                shown(&state)
            )));
        }
        Ok(StateDir::open(&state, &witness)?)
    }

    /// The folders that the operator named, or their defaults, created if they are missing.
    pub fn state_dir_or_new(&self) -> Result<StateDir, Failure> {
        let settings = self.settings()?;
        Ok(StateDir::locate(settings.state.value.as_deref(), settings.witness.value.as_deref())?)
    }

    /// All settings with their origins.
    pub fn settings(&self) -> Result<Settings, Failure> {
        Settings::gather(Flags {
            config: self.config.clone(),
            state: self.state.clone(),
            witness: self.witness.clone(),
            output: self.output_flag,
            color: self.color,
        })
    }

    /// Applies the settings from outside the flags.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        let settings = self.settings()?;
        settings.color.value.unwrap_or_default().choose();
        self.output = settings.output.value.unwrap_or_default();
        Ok(())
    }
}
