//! Agents, in lists.

use std::collections::BTreeMap;

use comfy_table::{Cell, Table};
use jiff::Timestamp;
use provisioning::{Hex, Name};
use serde::Serialize;
use update_core::census::State;
use update_core::reception::reason_text;
use uuid::Uuid;

use super::{labels, or_dash};
use crate::output::{self, Report, age_of, columns};
use crate::rollout::plan::AgentKey;
use crate::rollout::record::{AgentRecord, Progress};
use crate::store::Agent;

/// Agents of the fleet, with what was heard of each last.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct AgentList(pub Vec<AgentLine>);

/// An agent of the fleet.
#[derive(Debug, Serialize)]
pub struct AgentLine {
    /// Its name.
    pub name: Name,
    /// Its security group.
    pub group: Name,
    /// None until the agent is enrolled again.
    pub sender_id: Option<Hex>,
    /// SUIT vendor identifier.
    pub vendor: Uuid,
    /// SUIT class identifier.
    pub class: Uuid,
    /// What the operator calls it by.
    pub labels: BTreeMap<String, String>,
    /// When it was enrolled, where that was written down.
    pub enrolled_at: Option<Timestamp>,
    /// Where it was last with the update of a rollout.
    pub progress: Option<Progress>,
    /// Manifest sequence number of what it runs and has confirmed; 0 where that is not known.
    pub installed: u64,
    /// When it last let itself be heard.
    pub heard: Option<Timestamp>,
    /// The rollout that it is in now.
    pub rollout: Option<Name>,
}

/// The agents of one rollout.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct RolloutAgents(Vec<RolloutAgent>);

#[derive(Debug, Serialize)]
struct RolloutAgent {
    name: Name,
    group: Name,
    #[serde(flatten)]
    record: AgentRecord,
    /// Why, in words.
    reason_text: &'static str,
}

impl From<Agent> for AgentLine {
    fn from(agent: Agent) -> Self {
        Self {
            name: agent.key.name,
            group: agent.key.group,
            sender_id: agent.sender_id,
            vendor: agent.vendor,
            class: agent.class,
            labels: agent.labels,
            enrolled_at: agent.enrolled_at,
            progress: agent.progress,
            installed: agent.installed,
            heard: agent.heard,
            rollout: agent.rollout,
        }
    }
}

impl AgentList {
    /// These agents.
    pub fn new(agents: Vec<Agent>) -> Self {
        Self(agents.into_iter().map(AgentLine::from).collect())
    }
}

impl AgentLine {
    /// Where it is, for a table.
    fn state(&self) -> Cell {
        match (self.progress, &self.sender_id) {
            (_, None) => Cell::new("enroll-again"),
            (Some(progress), Some(_)) => output::progress(progress),
            (None, Some(_)) => Cell::new("-"),
        }
    }
}

impl Report for AgentList {
    fn table(&self) -> Table {
        let now = Timestamp::now();
        let mut table = columns(["GROUP", "AGENT", "STATE", "INSTALLED", "HEARD", "ROLLOUT", "LABELS"]);
        for agent in &self.0 {
            table.add_row([
                Cell::new(&agent.group),
                Cell::new(&agent.name),
                agent.state(),
                Cell::new(number(agent.installed)),
                Cell::new(age_of(agent.heard, now)),
                Cell::new(or_dash(agent.rollout.as_ref())),
                Cell::new(labels(&agent.labels)),
            ]);
        }
        table
    }

    fn wide(&self) -> Table {
        let now = Timestamp::now();
        let mut table = columns([
            "GROUP",
            "AGENT",
            "STATE",
            "INSTALLED",
            "HEARD",
            "ROLLOUT",
            "SENDER ID",
            "VENDOR",
            "CLASS",
            "ENROLLED",
            "LABELS",
        ]);
        for agent in &self.0 {
            table.add_row([
                Cell::new(&agent.group),
                Cell::new(&agent.name),
                agent.state(),
                Cell::new(number(agent.installed)),
                Cell::new(age_of(agent.heard, now)),
                Cell::new(or_dash(agent.rollout.as_ref())),
                Cell::new(or_dash(agent.sender_id.as_ref())),
                Cell::new(agent.vendor),
                Cell::new(agent.class),
                Cell::new(age_of(agent.enrolled_at, now)),
                Cell::new(labels(&agent.labels)),
            ]);
        }
        table
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(self.0.iter().map(|agent| format!("{}/{}", agent.group, agent.name)).collect())
    }
}

impl RolloutAgents {
    /// These agents.
    pub fn new(agents: Vec<(AgentKey, AgentRecord)>) -> Self {
        let line = |(key, record): (AgentKey, AgentRecord)| RolloutAgent {
            name: key.name,
            group: key.group,
            reason_text: why(&record),
            record,
        };
        Self(agents.into_iter().map(line).collect())
    }
}

impl Report for RolloutAgents {
    fn table(&self) -> Table {
        let now = Timestamp::now();
        let mut table = columns([
            "GROUP",
            "AGENT",
            "WAVE",
            "STATE",
            "SINCE",
            "MISSING",
            "INSTALLED",
            "HEARD",
            "TRIES",
            "WHY",
        ]);
        for agent in &self.0 {
            let record = &agent.record;
            table.add_row([
                Cell::new(&agent.group),
                Cell::new(&agent.name),
                Cell::new(record.wave + 1),
                output::progress(record.progress),
                Cell::new(output::age(record.since, now)),
                Cell::new(record.missing),
                Cell::new(number(record.installed)),
                Cell::new(age_of(record.heard, now)),
                Cell::new(record.tries),
                Cell::new(agent.reason_text),
            ]);
        }
        table
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(self.0.iter().map(|agent| format!("{}/{}", agent.group, agent.name)).collect())
    }
}

/// Why an agent is where it is, in words.
fn why(record: &AgentRecord) -> &'static str {
    match record.progress {
        Progress::Refused => reason_text(State::Refused, record.reason),
        Progress::RolledBack => reason_text(State::RolledBack, record.reason),
        Progress::Failed | Progress::Cancelled => reason_text(State::Failed, record.reason),
        _ => "",
    }
}

/// A manifest sequence number, where it is known.
fn number(number: u64) -> String {
    match number {
        0 => "-".to_owned(),
        number => number.to_string(),
    }
}
