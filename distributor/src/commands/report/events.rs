//! Events.

use comfy_table::Table;
use serde::Serialize;

use super::or_dash;
use crate::commands::output::{Printable, columns, safe};
use fwcast_store::Event;

/// Events, by ascending number.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct EventList(pub Vec<EventLine>);

/// One event, with the version of its format.
#[derive(Debug, Clone, Serialize)]
pub struct EventLine {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    #[serde(flatten)]
    event: Event,
}

impl EventList {
    /// These events.
    pub fn new(events: Vec<Event>) -> Self {
        Self(events.into_iter().map(EventLine::from).collect())
    }
}

impl From<Event> for EventLine {
    fn from(event: Event) -> Self {
        Self { api_version: "fwcast/v1", event }
    }
}

impl EventLine {
    /// One line for people, with the same columns as the table.
    pub fn line(&self) -> String {
        let [at, rollout, agent, kind, text] = self.cells();
        format!("{at}  {rollout}  {agent}  {kind}  {text}")
    }

    fn cells(&self) -> [String; 5] {
        let fact = &self.event.fact;
        [
            // To the second; JSON has more digits.
            fact.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            or_dash(fact.rollout.as_ref()),
            or_dash(fact.agent.as_ref()),
            safe(&fact.kind).into_owned(),
            safe(&fact.text).into_owned(),
        ]
    }
}

impl Printable for EventList {
    fn table(&self) -> Table {
        let mut table = columns(["AT", "ROLLOUT", "AGENT", "KIND", "WHAT"]);
        for event in &self.0 {
            table.add_row(event.cells());
        }
        table
    }
}
