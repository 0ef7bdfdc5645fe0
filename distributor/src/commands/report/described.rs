//! One thing in the store, with everything known about it.

use comfy_table::{Cell, Table};
use jiff::Timestamp;
use serde::Serialize;

use super::agents::AgentLine;
use super::events::EventLine;
use super::rollouts::RolloutRow;
use super::{labels, or_dash, word_and_id};
use crate::commands::output::{Printable, age, age_of, fields, safe};
use fwcast_service::Versions;
use fwcast_service::look::{RolloutDetails, RolloutEntry};
use fwcast_store::{Agent, Document, Event};
use rollout_engine::plan::{AgentKey, Plan};
use rollout_engine::record::Progress;
use rollout_engine::{Many, in_words, reason_of};

/// How many agents' reasons a table shows; JSON has all of them.
const REASONS_SHOWN_MAX: usize = 10;

/// An agent.
#[derive(Debug, Serialize)]
pub struct DescribedAgent {
    #[serde(flatten)]
    agent: AgentLine,
    /// Its latest events.
    events: Vec<EventLine>,
}

/// A document.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct DescribedDocument(pub Document);

/// A rollout.
#[derive(Debug, Serialize)]
pub struct DescribedRollout {
    #[serde(flatten)]
    row: RolloutRow,
    /// What it does; `None` before it begins.
    plan: Option<Plan>,
    /// How many agents of each wave are in each state of progress.
    waves: Vec<WaveLine>,
    /// Agents that have said why they are where they are, or of which it is known.
    reasons: Vec<ReasonLine>,
    /// The last applied document.
    document: Option<Document>,
    /// The latest events.
    events: Vec<EventLine>,
}

#[derive(Debug, Serialize)]
struct ReasonLine {
    agent: AgentKey,
    progress: Progress,
    reason: String,
}

#[derive(Debug, Serialize)]
struct WaveLine {
    name: String,
    agents: std::collections::BTreeMap<Progress, u32>,
}

impl DescribedAgent {
    /// This agent, with these events.
    pub fn new(agent: Agent, events: Vec<Event>, versions: &Versions) -> Self {
        let agent = AgentLine::new(agent, versions);
        Self { agent, events: events.into_iter().map(EventLine::from).collect() }
    }
}

impl Printable for DescribedAgent {
    fn table(&self) -> Table {
        let (agent, now) = (&self.agent, Timestamp::now());
        let mut table = fields([
            ("agent", agent.name.to_string()),
            ("group", agent.group.to_string()),
            ("Sender ID", or_dash(agent.sender_id.as_ref())),
            ("vendor", word_and_id(agent.words.vendor.as_deref(), &agent.vendor)),
            ("class", word_and_id(agent.words.class.as_deref(), &agent.class)),
            ("labels", labels(&agent.labels)),
            ("enrolled", age_of(agent.enrolled_at, now)),
            ("state", or_dash(agent.progress.map(Progress::name))),
            ("installed", agent.installed()),
            ("heard", age_of(agent.heard, now)),
            ("rollout", or_dash(agent.rollout.as_ref())),
        ]);
        add_events(&mut table, &self.events);
        table
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(vec![format!("{}/{}", self.agent.group, self.agent.name)])
    }
}

impl Printable for DescribedDocument {
    fn table(&self) -> Table {
        let document = &self.0;
        let mut table = fields([
            ("kind", document.kind.to_string()),
            ("name", document.name.to_string()),
            ("generation", document.generation.to_string()),
            ("changed", age(document.applied_at, Timestamp::now())),
            ("digest", document.digest.to_string()),
            ("labels", labels(&document.labels)),
        ]);
        add_spec(&mut table, document);
        table
    }
}

impl DescribedRollout {
    /// Everything known about a rollout.
    pub fn new(details: RolloutDetails) -> Self {
        let RolloutDetails { name, document, begun, standing, agents, events } = details;
        let (line, plan) = begun.map(|rollout| (rollout.line, rollout.plan)).unzip();
        let mut waves: Vec<WaveLine> = plan
            .iter()
            .flat_map(|plan: &Plan| &plan.waves)
            .map(|wave| WaveLine { name: wave.name.to_string(), agents: Default::default() })
            .collect();
        let mut reasons = Vec::new();
        for (agent, record) in agents {
            let reason = in_words(reason_of(record.progress, record.reason), &record.remark);
            if !reason.is_empty() {
                reasons.push(ReasonLine { agent, progress: record.progress, reason });
            }
            if let Some(wave) = waves.get_mut(record.wave as usize) {
                *wave.agents.entry(record.progress).or_default() += 1;
            }
        }
        let events = events.into_iter().map(EventLine::from).collect();
        let row = RolloutEntry { name, document: document.clone(), line, standing }.into();
        Self { row, plan, waves, reasons, document, events }
    }
}

impl Printable for DescribedRollout {
    fn table(&self) -> Table {
        let now = Timestamp::now();
        let mut table = fields([("rollout", self.row.name.to_string())]);
        table.add_row([Cell::new("state"), self.row.state_cell()]);
        table.add_row(["doing".to_owned(), or_dash(self.row.doing.as_deref())]);
        let mut add = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        if let Some(plan) = &self.plan {
            add("image", format!("{} {}", plan.image.name, safe(&plan.image.version)));
            add("manifest sequence number", plan.image.sequence_number.to_string());
            add("digest", plan.image.digest.to_string());
            let lanes =
                plan.lanes.iter().map(|lane| format!("{} ({})", lane.name, Many(lane.agents.len(), "agent")));
            add("groups", lanes.collect::<Vec<_>>().join(" "));
        }
        for (number, wave) in self.waves.iter().enumerate() {
            let counts = wave.agents.iter().map(|(progress, count)| format!("{count} {}", progress.name()));
            let counts = counts.collect::<Vec<_>>().join(", ");
            add(&format!("wave {}", number + 1), format!("{}: {counts}", wave.name));
        }
        for line in self.reasons.iter().take(REASONS_SHOWN_MAX) {
            let reason = format!("{} {}: {}", line.agent, line.progress.name(), safe(&line.reason));
            add("reason", reason);
        }
        if let Some(more @ 1..) = self.reasons.len().checked_sub(REASONS_SHOWN_MAX) {
            add("", format!("and {more} more: `fwcast status {} -o wide`", self.row.name));
        }
        add("began", age_of(self.row.created_at, now));
        add("last step", age_of(self.row.updated_at, now));
        add("labels", labels(&self.row.labels));
        if let Some(document) = &self.document {
            add_spec(&mut table, document);
        }
        add_events(&mut table, &self.events);
        table
    }
}

fn add_spec(table: &mut Table, document: &Document) {
    let text = provisioning::yaml::to_string(&document.spec).unwrap_or_default();
    for (number, line) in text.lines().enumerate() {
        let head = if number == 0 { "spec" } else { "" };
        table.add_row([head.to_owned(), safe(line).into_owned()]);
    }
}

fn add_events(table: &mut Table, events: &[EventLine]) {
    for (number, event) in events.iter().enumerate() {
        let head = if number == 0 { "events" } else { "" };
        table.add_row([head.to_owned(), event.line()]);
    }
}
