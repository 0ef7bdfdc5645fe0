//! The store's records, as its callers see them.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use provisioning::{Hex, Name};
use serde::Serialize;
use uuid::Uuid;

use crate::kind::Kind;
use fwcast_state::Words;
use rollout_engine::plan::{AgentKey, Plan};
use rollout_engine::record::{AgentRecord, Fact, Order, OrderOutcome, Outcome, Progress, Settled};

/// A document to apply: its kind, its name, and its spec as canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDocument {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its spec, a JSON object.
    pub spec: serde_json::Value,
}

/// An applied document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// 1 when it was first applied, and one more with each change.
    pub generation: u32,
    /// When it was created or last changed.
    pub applied_at: Timestamp,
    /// The SHA-256 of its labels and its spec, as JSON.
    pub digest: Hex,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its spec.
    pub spec: serde_json::Value,
}

/// What applying a document did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Applied {
    /// It is new.
    Created,
    /// Its spec was changed.
    Changed,
    /// It was already there.
    Unchanged,
}

/// An agent as recorded in its security group's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: Name,
    /// Its Sender ID; `None` if it has no keys until it is enrolled again.
    pub sender_id: Option<Hex>,
    /// SUIT vendor identifier.
    pub vendor: Uuid,
    /// SUIT class identifier.
    pub class: Uuid,
    /// The words that the operator wrote for them.
    pub words: Words,
    /// The operator's labels for it.
    pub labels: BTreeMap<String, String>,
    /// When it was enrolled, if that was recorded.
    pub enrolled_at: Option<Timestamp>,
}

/// An agent, with what it last reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Agent {
    /// Its security group and its name.
    pub key: AgentKey,
    /// Its Sender ID; `None` if it has no keys until it is enrolled again.
    pub sender_id: Option<Hex>,
    /// SUIT vendor identifier.
    pub vendor: Uuid,
    /// SUIT class identifier.
    pub class: Uuid,
    /// The words that the operator wrote for them.
    pub words: Words,
    /// The operator's labels for it.
    pub labels: BTreeMap<String, String>,
    /// When it was enrolled, if that was recorded.
    pub enrolled_at: Option<Timestamp>,
    /// Its last known progress in a rollout.
    pub progress: Option<Progress>,
    /// The manifest sequence number of what it runs and has confirmed; 0 if unknown.
    pub installed: u64,
    /// When it was last heard from.
    pub heard: Option<Timestamp>,
    /// The rollout that it is part of now.
    pub rollout: Option<Name>,
}

/// What was measured on the way to a security group's agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Image blocks that agents had still missed when they were sent.
    pub awaited: u64,
    /// How many of them they still missed afterwards.
    pub missed: u64,
    /// When.
    pub at: Timestamp,
}

/// How many blocks agents must have missed before the lost part of them is meaningful.
const LOSS_SAMPLE_MIN: u64 = 100;

impl Loss {
    /// The measured loss, if there is enough data.
    pub fn measured(awaited: u64, missed: u64, at: Timestamp) -> Option<Self> {
        (awaited >= LOSS_SAMPLE_MIN).then_some(Self { awaited, missed, at })
    }
}

/// An agent that was heard from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Which one.
    pub key: AgentKey,
    /// The manifest sequence number of what it runs and has confirmed.
    pub installed: u64,
}

/// A rollout that begins.
#[derive(Debug, Clone, Copy)]
pub struct NewRollout<'a> {
    /// Its name.
    pub name: &'a Name,
    /// The generation of the document that it was compiled from; 0 if there is none.
    pub generation: u32,
    /// The plan.
    pub plan: &'a Plan,
    /// The engine's state, which is opaque to the store.
    pub state: &'a str,
    /// All its agents.
    pub agents: &'a [(AgentKey, AgentRecord)],
    /// What happened.
    pub facts: &'a [Fact],
    /// When.
    pub at: Timestamp,
}

/// A step of a rollout. All of it is stored, or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Which rollout.
    pub rollout: &'a Name,
    /// The engine's state after it.
    pub state: &'a str,
    /// How the rollout ended, if it has.
    pub outcome: Option<Outcome>,
    /// The agents that have changed.
    pub agents: &'a [(AgentKey, AgentRecord)],
    /// What happened.
    pub facts: &'a [Fact],
    /// The orders that it carries out or refuses. An order that is already settled does not change.
    pub settled: &'a [Settled],
    /// When.
    pub at: Timestamp,
}

/// A rollout in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolloutLine {
    /// Its name.
    pub name: Name,
    /// The generation of the document that it was compiled from.
    pub generation: u32,
    /// How it ended; `None` while it has not.
    pub outcome: Option<Outcome>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it took its last step.
    pub updated_at: Timestamp,
    /// How many of its agents are in each state of progress.
    pub agents: BTreeMap<Progress, u32>,
}

/// A rollout, with everything needed to continue it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// As in a list.
    pub line: RolloutLine,
    /// The plan.
    pub plan: Plan,
    /// The engine's state.
    pub state: String,
}

/// An operator's order to a rollout, which may run in another process.
#[derive(Debug, Clone, Copy)]
pub struct NewOrder<'a> {
    /// Which rollout.
    pub rollout: &'a Name,
    /// What.
    pub order: Order,
    /// Why, in the operator's words.
    pub reason: Option<&'a str>,
    /// Who.
    pub by: &'a str,
    /// When.
    pub at: Timestamp,
}

/// An order that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GivenOrder {
    /// Its number, higher than all before it.
    pub id: i64,
    /// Which rollout.
    pub rollout: Name,
    /// What.
    pub order: Order,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What came of it; `None` while it is open.
    pub outcome: Option<OrderOutcome>,
    /// When it was settled.
    pub settled_at: Option<Timestamp>,
}

/// Which events to return. All conditions apply together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// Those with a higher number than this, in order; without it, the newest ones.
    pub after: Option<i64>,
    /// Of this rollout.
    pub rollout: Option<Name>,
    /// About this agent.
    pub agent: Option<AgentKey>,
    /// At most this many.
    pub limit: u32,
}

/// Something that happened, with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its number, higher than all before it.
    pub id: i64,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

/// Which database this is, and how often a process has opened it to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Random, created with the database, and the same in every copy of it.
    pub database: u64,
    /// Rises by one for each process that opens it to send; 0 for never.
    pub number: u64,
}

/// Differs from an earlier one of the same store if any process has written meanwhile. Its content is private
/// to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision([i64; 2]);

impl Revision {
    /// One that differs from every other.
    pub const UNKNOWN: Self = Self([-1; 2]);

    pub(super) const fn new(marks: [i64; 2]) -> Self {
        Self(marks)
    }
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        })
    }
}
