//! Rollouts in lists: those that were applied, and those that have begun.

use std::collections::BTreeMap;

use comfy_table::{Cell, Color, Table};
use jiff::Timestamp;
use provisioning::Name;
use serde::Serialize;

use super::or_dash;
use crate::commands::output::{Printable, age_of, columns};
use fwcast_service::look::RolloutEntry;
use rollout_engine::record::Progress;

/// Rollouts.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct RolloutList(pub Vec<RolloutRow>);

/// One rollout.
#[derive(Debug, Serialize)]
pub struct RolloutRow {
    /// Its name.
    pub name: Name,
    /// `not-begun`, `running`, `waiting`, `paused`, `no-process`, or how it ended.
    pub state: &'static str,
    /// What it does or waits for, as a sentence; `None` before it begins.
    pub doing: Option<String>,
    /// The generation of the last applied document; `None` if there is none.
    pub applied_generation: Option<u32>,
    /// The generation of the document that it carries out; `None` before it begins.
    pub generation: Option<u32>,
    /// How many of its agents are in each state of progress.
    pub agents: BTreeMap<Progress, u32>,
    /// When it began.
    pub created_at: Option<Timestamp>,
    /// When it took its last step.
    pub updated_at: Option<Timestamp>,
    /// The labels of its document.
    pub labels: BTreeMap<String, String>,
}

impl From<RolloutEntry> for RolloutRow {
    fn from(entry: RolloutEntry) -> Self {
        let RolloutEntry { name, document, line, standing } = entry;
        let (state, doing) = match standing {
            None => ("not-begun", None),
            Some((standing, doing)) => (standing.name(), Some(doing)),
        };
        let applied_generation = document.as_ref().map(|document| document.generation);
        let labels = document.map(|document| document.labels).unwrap_or_default();
        let (generation, created_at, updated_at) = match &line {
            Some(line) => (Some(line.generation), Some(line.created_at), Some(line.updated_at)),
            None => (None, None, None),
        };
        let agents = line.map(|line| line.agents).unwrap_or_default();
        Self { name, state, doing, applied_generation, generation, agents, created_at, updated_at, labels }
    }
}

impl RolloutRow {
    /// How many of its agents are in one of these states.
    fn count(&self, is: impl Fn(Progress) -> bool) -> u32 {
        self.agents.iter().filter(|(progress, _)| is(**progress)).map(|(_, count)| count).sum()
    }

    /// Its state, coloured as good or bad news.
    pub(super) fn state_cell(&self) -> Cell {
        let cell = Cell::new(self.state);
        match self.state {
            "done" => cell.fg(Color::Green),
            "done-with-failures" => cell.fg(Color::Yellow),
            "stopped" => cell.fg(Color::Red),
            "no-process" => cell.fg(Color::Yellow),
            _ => cell,
        }
    }
}

impl RolloutList {
    /// These rollouts.
    pub fn new(entries: Vec<RolloutEntry>) -> Self {
        Self(entries.into_iter().map(RolloutRow::from).collect())
    }
}

impl Printable for RolloutList {
    fn wide(&self) -> Table {
        let mut table = columns(["ROLLOUT", "STATE", "DOING"]);
        for row in &self.0 {
            table.add_row([Cell::new(&row.name), row.state_cell(), Cell::new(or_dash(row.doing.as_deref()))]);
        }
        table
    }

    fn table(&self) -> Table {
        let now = Timestamp::now();
        let mut table =
            columns(["ROLLOUT", "STATE", "AGENTS", "CONFIRMED", "FAILED", "LOST", "BEGAN", "LAST STEP"]);
        for row in &self.0 {
            table.add_row([
                Cell::new(&row.name),
                row.state_cell(),
                Cell::new(row.count(|_| true)),
                Cell::new(row.count(|progress| progress == Progress::Confirmed)),
                Cell::new(row.count(Progress::has_failed)),
                Cell::new(row.count(|progress| progress == Progress::Lost)),
                Cell::new(age_of(row.created_at, now)),
                Cell::new(age_of(row.updated_at, now)),
            ]);
        }
        table
    }
}
