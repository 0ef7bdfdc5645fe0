//! The comparison as a table and as JSON, beside its limits.

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::Profile;
use super::column::{Column, FRAME_BYTES, RATE_MAX};
use super::run::Run;
use super::tool::Tool;
use crate::outcome::rounded;

/// Blocks of 1,024 bytes: what headers, signature and hash pages of fwcast make of a byte of the image.
const HEADERS: f64 = FRAME_BYTES / 1024.0 * (1.0 + 16.0 / 1024.0);
/// The most that fwcast with parity may take in bytes, for receivers and loss.
const BARS: [(u8, u8, f64); 6] =
    [(8, 0, 1.20), (8, 5, 1.28), (8, 20, 1.53), (32, 0, 1.20), (32, 5, 1.29), (32, 20, 1.53)];
/// The same for agents like microcontrollers.
const BARS_MCU: [(u8, u8, f64); 6] =
    [(8, 0, 1.20), (8, 5, 1.36), (8, 20, 1.85), (32, 0, 1.20), (32, 5, 1.40), (32, 20, 2.0)];

/// A tool in a column.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    /// The tool.
    pub(super) tool: Tool,
    /// The column.
    pub(super) column: Column,
    /// Its runs; failed ones have no figures.
    pub(super) runs: Vec<Option<Run>>,
}

impl Cell {
    /// Medians of the runs that did not fail.
    fn median(&self) -> Option<Run> {
        let of = |figure: fn(&Run) -> f64| {
            let mut figures: Vec<f64> = self.runs.iter().flatten().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied()
        };
        Some(Run {
            seconds: of(|run| run.seconds)?,
            session_seconds: of(|run| run.session_seconds)?,
            bytes: of(|run| run.bytes)?,
        })
    }

    fn failed(&self) -> usize {
        self.runs.iter().filter(|run| run.is_none()).count()
    }

    /// Bytes and seconds, and how many runs failed.
    fn text(&self) -> String {
        let failed = match self.failed() {
            0 => String::new(),
            failed => format!(" ({failed} of {} failed)", self.runs.len()),
        };
        match self.median() {
            Some(run) => format!("{:.3}, {:.2} s{failed}", run.bytes, run.seconds),
            None => "failed".to_owned(),
        }
    }

    /// All figures, with the limits.
    pub(super) fn json(&self, profile: Profile) -> Value {
        let Column { receivers, loss, rate } = self.column;
        let median = self.median();
        let air = |run: Run| run.bytes * 4.0 * 1024.0 * 1024.0 * 8.0 / rate;
        json!({
            "tool": self.tool.to_string(),
            "receivers": receivers,
            "loss_percent": loss,
            "bits_per_second": rate,
            "runs": self.runs.len(),
            "failed": self.failed(),
            "bytes": median.map(|run| rounded(run.bytes)),
            "seconds": median.map(|run| rounded(run.seconds)),
            "session_seconds": median.map(|run| rounded(run.session_seconds)),
            "seconds_beside_air": median.map(|run| rounded(run.seconds / air(run))),
            "ideal_bytes": rounded(ideal(&self.column)),
            "bytes_at_most": (self.tool == Tool::Fwcast).then(|| bar(&self.column, profile)).flatten(),
        })
    }

    /// Whether fwcast brings the image to all, with parity within its bars.
    fn is_right(&self, parity: Option<&str>, profile: Profile) -> bool {
        let none = parity == Some("none");
        let within = |bytes: f64| none || bar(&self.column, profile).is_none_or(|bar| bytes <= bar);
        self.failed() == 0 && self.median().is_some_and(|run| within(run.bytes))
    }
}

/// Whether all of fwcast's cells are right.
pub(super) fn is_right(cells: &[Cell], parity: Option<&str>, profile: Profile) -> bool {
    cells.iter().filter(|cell| cell.tool == Tool::Fwcast).all(|cell| cell.is_right(parity, profile))
}

/// Tools in rows, columns in columns, and the limits of theory below.
pub(super) fn markdown(tools: &[Tool], columns: &[Column], cells: &[Cell]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let heading = |column: &Column| match column.rate < RATE_MAX {
        true => format!("{column}, {:.1} Mbit/s", column.rate / 1e6),
        false => column.to_string(),
    };
    table.set_header([String::new()].into_iter().chain(columns.iter().map(heading)));
    let row = |name: String, text: &dyn Fn(&Column) -> String| {
        [name].into_iter().chain(columns.iter().map(text)).collect::<Vec<_>>()
    };
    for tool in tools {
        table.add_row(row(tool.to_string(), &|column| {
            let cell = cells.iter().find(|cell| cell.tool == *tool && cell.column == *column);
            cell.map(Cell::text).unwrap_or_default()
        }));
    }
    let limit = |bytes: f64, column: &Column| {
        format!("{bytes:.3}, {:.2} s", bytes * 4.0 * 1024.0 * 1024.0 * 8.0 / column.rate)
    };
    table.add_row(row("fwcast's datagrams, ideal code".to_owned(), &|it| limit(ideal(it), it)));
    table.add_row(row("fwcast's datagrams, repetition".to_owned(), &|it| {
        limit(HEADERS * it.repetition(), it)
    }));
    table.to_string()
}

/// What an ideal code would take with fwcast's headers.
fn ideal(column: &Column) -> f64 {
    HEADERS * column.ideal()
}

fn bar(column: &Column, profile: Profile) -> Option<f64> {
    let bars = match profile {
        Profile::Linux => BARS,
        Profile::Mcu => BARS_MCU,
    };
    let bar = bars.iter().find(|(receivers, loss, _)| (*receivers, *loss) == (column.receivers, column.loss));
    bar.map(|(_, _, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(bytes: &[Option<f64>]) -> Cell {
        let runs = bytes.iter().map(|bytes| {
            bytes.map(|bytes| Run { seconds: bytes * 3.0, session_seconds: bytes * 4.0, bytes })
        });
        let column = Column { receivers: 8, loss: 5, rate: RATE_MAX };
        Cell { tool: Tool::Fwcast, column, runs: runs.collect() }
    }

    #[test]
    fn a_cell_shows_the_median_and_what_failed() {
        assert_eq!(cell(&[Some(1.5), Some(1.25), Some(9.0)]).text(), "1.500, 4.50 s");
        assert_eq!(cell(&[Some(1.5), None, Some(1.25)]).text(), "1.500, 4.50 s (1 of 3 failed)");
        assert_eq!(cell(&[None, None]).text(), "failed");
    }

    #[test]
    fn fwcast_is_right_within_its_bars_and_with_all_runs() {
        assert!(cell(&[Some(1.28)]).is_right(Some("auto"), Profile::Linux));
        assert!(cell(&[Some(1.36)]).is_right(Some("cauchy"), Profile::Mcu));
        assert!(!cell(&[Some(1.281)]).is_right(Some("auto"), Profile::Linux));
        assert!(cell(&[Some(1.7)]).is_right(Some("none"), Profile::Linux));
        assert!(!cell(&[Some(1.2), None]).is_right(None, Profile::Linux));
    }

    #[test]
    fn the_table_can_be_pasted() {
        let column = Column { receivers: 8, loss: 5, rate: RATE_MAX };
        let shown = markdown(&[Tool::Fwcast], &[column], &[cell(&[Some(1.25)])]);
        assert!(shown.contains("| fwcast"), "{shown}");
        assert!(shown.contains("1.250, 3.75 s"), "{shown}");
        assert!(shown.lines().nth(1).unwrap().starts_with("|--"), "{shown}");
    }
}
