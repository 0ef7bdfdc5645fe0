//! How results are printed: a table for people, JSON for programs.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::exit::Failure;

/// The form of what a command prints on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// One JSON value. Fields may be added, none changes its meaning.
    Json,
}

/// Something that a command prints.
pub trait Report: Serialize {
    /// The same as a table.
    fn table(&self) -> Table;
}

/// Prints a report on standard output. A reader that has gone away (`| head`) is no failure.
pub fn print<R: Report>(format: Format, report: &R) -> Result<(), Failure> {
    let text = match format {
        Format::Table => report.table().to_string(),
        Format::Json => serde_json::to_string_pretty(report)
            .map_err(|error| Failure::error(format!("cannot write the result as JSON: {error}")))?,
    };
    print_text(&format!("{text}\n"))
}

/// Prints a text on standard output as it is. A reader that has gone away is no failure.
pub fn print_text(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::error(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// A table with these column heads.
pub fn columns<const N: usize>(heads: [&str; N]) -> Table {
    let mut table = plain();
    table.set_header(heads);
    table
}

/// A table of one thing: its fields below one another.
pub fn fields<const N: usize>(rows: [(&str, String); N]) -> Table {
    let mut table = plain();
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    table
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}
