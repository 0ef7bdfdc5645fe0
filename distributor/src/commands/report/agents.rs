//! Agents in lists.

use std::collections::BTreeMap;

use comfy_table::{Cell, Table};
use jiff::Timestamp;
use provisioning::{Hex, Name};
use serde::Serialize;
use uuid::Uuid;

use super::{labels, or_dash, word_or_id};
use crate::commands::output::{self, Printable, age_of, columns, safe};
use fwcast_service::{Versions, installed};
use fwcast_state::Words;
use fwcast_store::Agent;
use rollout_engine::record::Progress;

/// Agents of the fleet, with what each last reported.
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
    /// What the operator wrote for them; `None` for a UUID.
    pub words: Words,
    /// The operator's labels for it.
    pub labels: BTreeMap<String, String>,
    /// When it was enrolled, if that was recorded.
    pub enrolled_at: Option<Timestamp>,
    /// Its last known progress in a rollout.
    pub progress: Option<Progress>,
    /// The manifest sequence number of what it runs and has confirmed; 0 if unknown.
    pub installed: u64,
    /// The version of that, as a rollout named it.
    pub version: Option<String>,
    /// When it was last heard from.
    pub heard: Option<Timestamp>,
    /// The rollout that it is part of now.
    pub rollout: Option<Name>,
}

impl AgentLine {
    /// An agent, with its version if that is known.
    pub(super) fn new(agent: Agent, versions: &Versions) -> Self {
        Self {
            version: versions.of(&agent).map(str::to_owned),
            name: agent.key.name,
            group: agent.key.group,
            sender_id: agent.sender_id,
            vendor: agent.vendor,
            class: agent.class,
            words: agent.words,
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
    pub fn new(agents: Vec<Agent>, versions: &Versions) -> Self {
        Self(agents.into_iter().map(|agent| AgentLine::new(agent, versions)).collect())
    }
}

impl AgentLine {
    /// What it runs, for a table.
    pub(super) fn installed(&self) -> String {
        safe(&installed(self.installed, self.version.as_deref())).into_owned()
    }

    /// Its progress, for a table.
    fn state(&self) -> Cell {
        match (self.progress, &self.sender_id) {
            (_, None) => Cell::new("enroll-again"),
            (Some(progress), Some(_)) => output::progress(progress),
            (None, Some(_)) => Cell::new("-"),
        }
    }
}

impl Printable for AgentList {
    fn table(&self) -> Table {
        let now = Timestamp::now();
        let mut table = columns(["GROUP", "AGENT", "STATE", "INSTALLED", "HEARD", "ROLLOUT", "LABELS"]);
        for agent in &self.0 {
            table.add_row([
                Cell::new(&agent.group),
                Cell::new(&agent.name),
                agent.state(),
                Cell::new(agent.installed()),
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
                Cell::new(agent.installed()),
                Cell::new(age_of(agent.heard, now)),
                Cell::new(or_dash(agent.rollout.as_ref())),
                Cell::new(or_dash(agent.sender_id.as_ref())),
                Cell::new(word_or_id(agent.words.vendor.as_deref(), &agent.vendor)),
                Cell::new(word_or_id(agent.words.class.as_deref(), &agent.class)),
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
