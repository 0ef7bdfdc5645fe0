//! The progress of a rollout: what survives a restart, in addition to the agents' records.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

use jiff::Timestamp;
use provisioning::Name;
use serde::{Deserialize, Serialize};

use super::plan::AgentKey;
use super::record::{Given, Outcome, Progress};

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
    /// The deadline of the transfer is over, and agents that had not the image by then are lost. Agents that
    /// come back later have the whole time for themselves.
    #[serde(default)]
    pub transfer_over: bool,
    /// The opening of a window, or the moment, that it has said it waits for.
    #[serde(default)]
    pub awaited: Option<Timestamp>,
    /// Who ordered the end of it, and why.
    #[serde(default)]
    pub given_up: Option<Given>,
    /// Why nothing can be sent to some security groups at the moment.
    #[serde(default)]
    pub outages: BTreeMap<Name, String>,
    /// How far the blocks of the current run are, by security group.
    #[serde(default)]
    pub sending: BTreeMap<Name, Sending>,
    /// Agents that were told to activate and are no longer enrolled, with their state when they left, unless
    /// confirmed. They still count for their wave, so that removing a failed agent makes no wave healthy.
    #[serde(default)]
    pub left: BTreeMap<AgentKey, Progress>,
}

/// How far the blocks of a run are in one security group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sending {
    /// Which pass over image blocks; 0 is the first.
    pub round: u32,
    /// How many blocks it sends; 0 if none are sent at the moment.
    pub blocks: u32,
    /// How many of them are still to be sent.
    pub left: u32,
    /// At so many bits a second on the link.
    pub bits_per_second: u64,
}

impl Sending {
    /// So many blocks are left of a round.
    pub fn new(round: u32, blocks: u32, left: u32, bits_per_second: u64) -> Self {
        Self { round, blocks, left: left.min(blocks), bits_per_second }
    }

    /// Seconds until the blocks of this round are sent, where each has so many bytes on the link.
    pub fn seconds_left(&self, bytes_on_link: u64) -> u64 {
        (u64::from(self.left) * bytes_on_link * 8).div_ceil(self.bits_per_second.max(1))
    }
}

/// Why nothing new begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pause {
    /// The rollout manifest says so.
    Manifest,
    /// An operator ordered it.
    Operator(Given),
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
            transfer_over: false,
            awaited: None,
            given_up: None,
            outages: BTreeMap::new(),
            sending: BTreeMap::new(),
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
            Self::Operator(Given { by, reason: None }) => write!(f, "{by} paused it"),
            Self::Operator(Given { by, reason: Some(reason) }) => {
                write!(f, "{by} paused it, reason: {reason}")
            }
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
