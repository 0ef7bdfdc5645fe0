//! `fwcast config`: the settings, and where each comes from.

use std::path::Path;

use clap::{Args, Subcommand};
use comfy_table::Table;
use serde::Serialize;

use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output::{self, Printable, columns, fields};
use crate::commands::settings::Origin;
use fwcast_state::files::shown;
use fwcast_state::{MachineId, StateDir};

/// The configuration commands.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Show the settings in force
    View(View),
    /// Show this machine's identity, for `fwcast backup --move-to`
    Machine,
}

#[derive(Serialize)]
struct Machine {
    machine: String,
}

impl Printable for Machine {
    fn table(&self) -> Table {
        fields([("machine", self.machine.clone())])
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(vec![self.machine.clone()])
    }
}

/// Arguments of `config view`.
#[derive(Debug, Args)]
pub struct View {
    /// Show where each comes from
    #[arg(long)]
    origin: bool,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
}

#[derive(Serialize)]
struct Lines(Vec<Line>);

impl Config {
    /// Prints them.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let view = match self {
            Self::View(view) => view,
            Self::Machine => {
                let machine = MachineId::of_this_machine()?.as_str().to_owned();
                output::print(global.output, &Machine { machine })?;
                return Ok(Exit::Done);
            }
        };
        let settings = global.settings()?;
        let (state, witness) =
            StateDir::folders(settings.state.value.as_deref(), settings.witness.value.as_deref())?;
        let whole = |folder: &Path| std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let line = |name, value: String, origin: &Origin| Line {
            name,
            value,
            origin: view.origin.then(|| origin.clone()),
        };
        let lines = vec![
            line("state", shown(&whole(&state)).to_string(), &settings.state.origin),
            line("witness", shown(&whole(&witness)).to_string(), &settings.witness.origin),
            line("output", output::word(global.output), &settings.output.origin),
            line("color", output::word(settings.color.value.unwrap_or_default()), &settings.color.origin),
        ];
        output::print(global.output, &Lines(lines))?;
        Ok(Exit::Done)
    }
}

impl Printable for Lines {
    fn table(&self) -> Table {
        let mut table = columns(["SETTING", "VALUE", "FROM"]);
        for line in &self.0 {
            let origin = line.origin.as_ref().map_or_else(String::new, ToString::to_string);
            table.add_row([line.name.to_owned(), line.value.clone(), origin]);
        }
        table
    }
}
