//! The progress of a rollout: what survives a restart, in addition to the agents' records.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::plan::AgentKey;
use super::record::{Outcome, Progress};

/// The state of a rollout, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// What is done next.
    pub stage: Stage,
    /// Why nothing new begins, if the rollout is paused.
    pub paused: Option<Pause>,
    /// The rollout has begun: something may have been sent.
    pub started: bool,
    /// The highest wave that has been told to activate.
    pub reached: Option<u32>,
    /// Seconds of transfer so far, without pauses and closed windows.
    pub transfer_spent_s: u32,
    /// How often no agent answered at all.
    pub unanswered: u8,
    /// When to try again after no agent answered.
    pub try_at: Option<Timestamp>,
    /// The attempt number in use (protocol.md \[attempt\]).
    pub attempt: u32,
    /// It has been raised for a run that has not ended, so it is not raised again after a restart.
    pub retrying: bool,
    /// Agents that were told to activate and are no longer enrolled, with their state when they left, unless
    /// confirmed. They still count for their wave, so that removing a failed agent makes no wave healthy.
    #[serde(default)]
    pub left: BTreeMap<AgentKey, Progress>,
}

/// Why nothing new begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pause {
    /// The rollout manifest says so.
    Manifest,
    /// An operator ordered it.
    Operator,
    /// It could not continue, for this reason.
    Broken(String),
}

/// What a rollout does next. Waves count from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Everyone receives.
    Transfer,
    /// A wave activates.
    Activation {
        /// The wave.
        wave: u32,
    },
    /// A wave has confirmed and is being watched.
    Soak {
        /// The wave.
        wave: u32,
        /// Until this moment.
        until: Timestamp,
        /// Whether a census has been taken after that moment.
        checked: bool,
    },
    /// A wave has proved healthy, and an operator must approve before the next one.
    Approval {
        /// The wave that has proved healthy.
        wave: u32,
    },
    /// Too many have failed or are lost. Nothing new begins; the current run is stopped, and agents that were
    /// told to activate are heard to the end.
    Stopping {
        /// The last wave that was reached.
        wave: u32,
        /// Until when they are heard; `None` until the current run has ended.
        heard_until: Option<Timestamp>,
        /// Why, as a sentence for people without a full stop.
        why: String,
    },
    /// Agents are told to drop the update.
    Cancelling,
    /// Agents on trial are told to roll back.
    Undoing,
    /// It is over.
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// A sentence for people, without a full stop.
        why: String,
    },
}

impl State {
    /// The state before anything has been done.
    pub(super) fn new(paused: bool, attempt: u32) -> Self {
        Self {
            stage: Stage::Transfer,
            paused: paused.then_some(Pause::Manifest),
            started: false,
            reached: None,
            transfer_spent_s: 0,
            unanswered: 0,
            try_at: None,
            attempt,
            retrying: false,
            left: BTreeMap::new(),
        }
    }

    /// Whether nothing new begins and agents that were told to activate are heard to the end.
    pub fn is_hearing(&self) -> bool {
        matches!(self.stage, Stage::Stopping { heard_until: Some(_), .. })
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.stage {
            Stage::Ended { outcome, .. } => Some(outcome),
            _ => None,
        }
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => f.write_str("the rollout manifest says so"),
            Self::Operator => f.write_str("an operator paused it"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl Stage {
    /// Its name in output and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Activation { .. } => "activation",
            Self::Soak { .. } => "soak",
            Self::Approval { .. } => "approval",
            Self::Stopping { .. } => "stopping",
            Self::Cancelling => "cancelling",
            Self::Undoing => "undoing",
            Self::Ended { .. } => "ended",
        }
    }
}
