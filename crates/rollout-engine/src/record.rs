//! What is known of a rollout's agents, what operators order, and what is recorded for the history.

use alloc::string::String;
use core::fmt;
use jiff::Timestamp;
use provisioning::Name;
use serde::{Deserialize, Serialize};
use update_core::census::State;
use update_core::remark::Remark;

use super::plan::AgentKey;

/// The state of an agent in a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// Not heard yet.
    Waiting,
    /// It has taken up the offer and misses something.
    Receiving,
    /// It has the whole image, and the old one runs.
    Ready,
    /// The new image runs on trial, or is about to.
    Trial,
    /// It was told to activate, and its device says that it cannot now.
    Deferred,
    /// The new image is confirmed.
    Confirmed,
    /// The old image runs again.
    RolledBack,
    /// The update was given up.
    Failed,
    /// The offer was refused.
    Refused,
    /// The update was dropped by order.
    Cancelled,
    /// It was not heard from, or did not finish, by its deadline.
    Lost,
    /// It is no longer enrolled.
    Removed,
}

/// One agent of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRecord {
    /// Its wave, from 0.
    pub wave: u32,
    /// Its state.
    pub progress: Progress,
    /// When it entered that state.
    pub since: Timestamp,
    /// Why: a reason code of the protocol ([`update_core::reception::reason_text`]), 0 for none.
    pub reason: u8,
    /// What its device says about that, in its own words; empty for nothing.
    pub remark: String,
    /// Blocks and pages that it misses.
    pub missing: u32,
    /// Manifest sequence number of what it runs and has confirmed; 0 if unknown.
    pub installed: u64,
    /// When it was last heard from.
    pub heard: Option<Timestamp>,
    /// It is being told to activate, in a run that has not ended.
    pub told: bool,
    /// How often it was told to activate, in runs that have ended.
    pub tries: u8,
    /// When it will be told again.
    pub retry_at: Option<Timestamp>,
}

/// What an agent has reported, or what follows from its silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// What it is doing; `None` if it was not heard from by its deadline.
    pub state: Option<State>,
    /// Why.
    pub reason: u8,
    /// What its device says about that.
    pub remark: Remark,
    /// Blocks and pages that it misses.
    pub missing: u32,
    /// Manifest sequence number of what it runs and has confirmed.
    pub installed: u64,
}

/// Why an agent counts as lost although it was heard: the reason of a report without a state. The protocol's
/// own reasons are below these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Lag {
    /// It does not take up the offer.
    Offer = 200,
    /// It does not get the pages of the hash tree.
    Pages,
    /// It does not get the image blocks.
    Blocks,
    /// It does not finish checking what it has.
    Busy,
    /// What it reports cannot be true, so nothing that it reports counts.
    Quarantined,
    /// It has used numbers again that it had used before.
    Rewound,
}

impl Lag {
    /// The reason of a report.
    pub fn of_code(code: u8) -> Option<Self> {
        [Self::Offer, Self::Pages, Self::Blocks, Self::Busy, Self::Quarantined, Self::Rewound]
            .into_iter()
            .find(|lag| *lag as u8 == code)
    }

    /// In words, after the agent's name.
    pub fn text(self) -> &'static str {
        match self {
            Self::Offer => "laggard: does not take up the offer",
            Self::Pages => "laggard: does not get the pages of the hash tree",
            Self::Blocks => "laggard: does not get the image blocks",
            Self::Busy => "laggard: does not finish checking what it has",
            Self::Quarantined => {
                "quarantined: what it says of the distributor's numbers is untrue; `fwcast agent release`"
            }
            Self::Rewound => {
                "its numbers were used before (state wiped or copied): `fwcast agent enroll --again`"
            }
        }
    }
}

/// Who gave an order, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The operator's name on the machine.
    pub by: String,
    /// The operator's reason.
    pub reason: Option<String>,
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "by {}, reason: {reason}", self.by),
            None => write!(f, "by {}", self.by),
        }
    }
}

/// An operator's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Begin, if the rollout manifest says `paused: true`.
    Start,
    /// Begin nothing new until `resume`.
    Pause,
    /// Continue.
    Resume,
    /// Let the next wave activate.
    Approve,
    /// Retry what failed.
    Retry,
    /// Stop for good; agents that have not activated drop the update.
    Cancel,
    /// Stop for good; agents on trial roll back.
    Undo,
}

/// The result of an order, as a sentence for people without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderOutcome {
    /// It was carried out.
    Done(String),
    /// It was refused: why, and what would make sense.
    Refused(String),
}

/// An order that needs no more attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The number of the order.
    pub id: i64,
    /// Its result.
    pub outcome: OrderOutcome,
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every agent has confirmed.
    Done,
    /// Every wave has proved healthy, but some agents have not confirmed.
    DoneWithFailures,
    /// A wave did not prove healthy, or too many failed or were lost.
    Stopped,
    /// An operator cancelled it.
    Cancelled,
    /// An operator undid it.
    Undone,
}

/// Something that happened, for the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// When.
    pub at: Timestamp,
    /// The rollout.
    pub rollout: Option<Name>,
    /// The agent that it is about.
    pub agent: Option<AgentKey>,
    /// Its kind, in one word for programs, like `wave-activated`.
    pub kind: String,
    /// A sentence for people, without a full stop.
    pub text: String,
}

impl Progress {
    /// Its name in output and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Receiving => "receiving",
            Self::Ready => "ready",
            Self::Trial => "trial",
            Self::Deferred => "deferred",
            Self::Confirmed => "confirmed",
            Self::RolledBack => "rolled-back",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Removed => "removed",
        }
    }

    /// Whether it has ended badly, other than by silence.
    pub fn has_failed(self) -> bool {
        matches!(self, Self::RolledBack | Self::Failed | Self::Refused)
    }

    /// Whether it was told to activate and goes on by itself: on trial, or put off by its device.
    pub fn is_on_trial(self) -> bool {
        matches!(self, Self::Trial | Self::Deferred)
    }

    /// Whether nothing more follows without a new order.
    pub fn has_ended(self) -> bool {
        self.has_failed() || matches!(self, Self::Confirmed | Self::Cancelled | Self::Lost | Self::Removed)
    }
}

impl From<Report> for Progress {
    fn from(report: Report) -> Self {
        match report.state {
            None => Self::Lost,
            Some(State::Idle | State::Unknown) => Self::Waiting,
            Some(State::Recovering | State::Pages | State::Blocks | State::Checking) => Self::Receiving,
            Some(State::Ready) => Self::Ready,
            Some(State::Deferred) => Self::Deferred,
            Some(State::Scheduled | State::Trial) => Self::Trial,
            Some(State::Confirmed) => Self::Confirmed,
            Some(State::RolledBack) => Self::RolledBack,
            Some(State::Failed) if report.reason == CANCELLED => Self::Cancelled,
            Some(State::Failed) => Self::Failed,
            Some(State::Refused) => Self::Refused,
        }
    }
}

const CANCELLED: u8 = update_core::reception::Failure::Cancelled as u8;
