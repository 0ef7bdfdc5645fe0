//! The result of a distribution or a census, for people and for programs.

use std::collections::BTreeMap;

use comfy_table::Table;
use serde::Serialize;
use std::time::Duration;
use update_core::census::{Counters, State};
use update_core::distribution::{Agent, Distribution, Ending, Fate, Status};
use update_core::reception::reason_text;

use crate::commands::exit_codes::Exit;
use crate::commands::output::{self, Printable};
use fwcast_service::drive::DistributionEnd;
use fwcast_service::installed;
use fwcast_service::push::Pushed;
use fwcast_service::rewound::heard_at;
use fwcast_state::GroupState;
use rollout_engine::{Parity, in_words};

/// One agent's line.
#[derive(Debug, Clone, Serialize)]
pub struct AgentLine {
    /// Its name.
    pub name: String,
    /// Its Sender ID in hexadecimal.
    pub sender_id: String,
    /// What it is doing, or `lost` or `silent`.
    pub state: &'static str,
    /// Why, if there is a reason.
    pub reason: String,
    /// The reason's number in reports; 0 for none.
    pub reason_code: u8,
    /// The manifest sequence number of what it runs and has confirmed.
    pub installed: u64,
    /// The last attempt that it acted on.
    pub attempt: u32,
    /// How many pages of the hash tree and image blocks it is missing.
    pub missing: u32,
    /// How many blocks and pages it stored from multicast.
    pub heard_multicast: u32,
    /// How many blocks and pages it stored from unicast repair.
    pub heard_unicast: u32,
    /// Its counters since it started, by the names of [`Counters::NAMES`].
    pub counters: Option<BTreeMap<&'static str, u32>>,
}

/// One line for each agent of the group, in order of their names.
pub fn lines(group: &GroupState, distribution: &Distribution) -> Vec<AgentLine> {
    let mut agents: Vec<_> = distribution.agents().iter().collect();
    agents.sort_by_key(|agent| group.agent_by_sender_id(agent.id).map(|enrolled| enrolled.name.clone()));
    agents.into_iter().map(|agent| line(group, agent)).collect()
}

fn line(group: &GroupState, agent: &Agent) -> AgentLine {
    let status = agent.status;
    let reason_code = status.map_or(0, |status| status.reason);
    let counters = status.and_then(|status| status.counters);
    AgentLine {
        name: group
            .agent_by_sender_id(agent.id)
            .map_or_else(String::new, |enrolled| enrolled.name.to_string()),
        sender_id: hex::encode(agent.id.as_bytes()),
        state: match agent.state() {
            _ if agent.is_quarantined() => "quarantined",
            _ if agent.laggard().is_some() => "laggard",
            Some(State::Deferred) => State::Deferred.name(),
            _ if agent.lost => "lost",
            Some(state) => state.name(),
            None => "silent",
        },
        reason: reason_of(agent),
        reason_code,
        installed: status.map_or(0, |status| status.installed),
        attempt: status.map_or(0, |status| status.attempt),
        missing: status.map_or(0, |status| status.missing_blocks + status.missing_pages),
        heard_multicast: counters.map_or(0, |counters| counters.stored_multicast),
        heard_unicast: counters.map_or(0, |counters| counters.stored_unicast),
        counters: counters.map(|counters| Counters::NAMES.into_iter().zip(counters.to_array()).collect()),
    }
}

/// Why an agent is where it is, and from where else its answers come; empty where there is nothing to say.
fn reason_of(agent: &Agent) -> String {
    let reason = state_reason_of(agent);
    let Some((address, other)) = agent.address.zip(agent.also_from()) else { return reason };
    let also =
        format!("its answers come from {address} and {other}: two devices have its keys, or it is imitated");
    if reason.is_empty() { also } else { format!("{reason}; {also}") }
}

fn state_reason_of(agent: &Agent) -> String {
    if agent.is_quarantined() {
        return "said what cannot be true of the distributor's numbers".into();
    }
    if let Some(heard_at) = heard_at(agent) {
        return rewound(agent, &heard_at);
    }
    if let Some(lag) = agent.laggard() {
        return lag.text().into();
    }
    if agent.is_deaf() {
        return "answers unicast, hears no multicast".into();
    }
    match agent.status {
        Some(status) => reason_in_full(&status),
        None if agent.unreadable() > 0 => "answers that cannot be read".into(),
        None => String::new(),
    }
}

/// Another device has the same keys and counters, or the state of this one was wiped or put back.
fn rewound(agent: &Agent, heard_at: &str) -> String {
    let what = match agent.address.zip(agent.rewind()) {
        // After a restart one device may have another port.
        Some((known, again)) if known.ip() != again.from.ip() => {
            format!("two devices have its keys, at {known} and {}", again.from)
        }
        _ => format!("its state was wiped or copied, and its numbers were used before ({heard_at})"),
    };
    format!("{what}: `fwcast agent enroll --again`")
}

/// What the code means, what the device itself says about it, and how long it holds.
fn reason_in_full(status: &Status) -> String {
    let code = reason_text(status.state, status.reason);
    let remark = output::safe(status.remark.as_str());
    let mut reason = in_words(code, &remark);
    if status.busy_seconds > 0 {
        let left = humantime::format_duration(Duration::from_secs(status.busy_seconds.into()));
        reason.push_str(&format!("; that ends in {left}"));
        if status.state == State::Refused {
            reason
                .push_str(", or when that one is cancelled: `fwcast push ITS-IMAGE --group GROUP --cancel`");
        }
    }
    reason
}

/// The final result of a `push`.
#[derive(Debug, Serialize)]
pub struct PushReport {
    /// Whether every agent has reached the goal.
    pub ok: bool,
    /// How it ended.
    pub ending: &'static str,
    /// The time from the first datagram to the last, in seconds.
    pub seconds: f64,
    /// The group's name.
    pub group: String,
    /// The update, by the first 4 bytes of its digest.
    pub update: String,
    /// Its manifest sequence number.
    pub sequence_number: u64,
    /// The size of the image in bytes.
    pub image_bytes: u32,
    /// Each agent.
    pub agents: Vec<AgentLine>,
    /// Passes over image blocks.
    pub rounds: u32,
    /// Datagrams to the CoAP group.
    pub datagrams_multicast: u64,
    /// Datagrams to single agents.
    pub datagrams_unicast: u64,
    /// UDP payload to the CoAP group.
    pub bytes_multicast: u64,
    /// UDP payload to single agents.
    pub bytes_unicast: u64,
    /// Image blocks to the CoAP group, repetitions included.
    pub blocks_multicast: u64,
    /// Parity symbols to the CoAP group.
    pub symbols_multicast: u64,
    /// Blocks and pages sent on request.
    pub blocks_unicast: u64,
    /// How many agents have reached the goal.
    #[serde(skip)]
    reached: usize,
}

impl PushReport {
    /// How many agents have reached the goal, and how many there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.reached, self.agents.len())
    }

    /// Fills in what the distribution knows. The goal is this state, or where the update was cancelled, that
    /// nobody holds it any more.
    pub fn new(pushed: &Pushed, rounds: u32, wanted: State) -> Self {
        let Pushed { group, distribution, ended, took, offer: update, .. } = pushed;
        let tallies = distribution.tallies();
        let is_cancelled = *ended == DistributionEnd::By(Ending::Cancelled);
        let is_free =
            |agent: &&Agent| matches!(agent.fate(), Fate::Dropped | Fate::Nothing | Fate::RolledBack);
        let lines = lines(group, distribution);
        let reached = if is_cancelled {
            distribution.agents().iter().filter(is_free).count()
        } else {
            lines.iter().filter(|line| line.state == wanted.name()).count()
        };
        let mut report = Self {
            ok: false,
            ending: ending_name(*ended),
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
            group: group.name.to_string(),
            update: update.id.to_string(),
            sequence_number: update.sequence_number,
            image_bytes: update.layout.image_size.bytes(),
            agents: lines,
            rounds,
            datagrams_multicast: tallies.datagrams_multicast,
            datagrams_unicast: tallies.datagrams_unicast,
            bytes_multicast: tallies.bytes_multicast,
            bytes_unicast: tallies.bytes_unicast,
            blocks_multicast: tallies.blocks_multicast,
            symbols_multicast: tallies.symbols_multicast,
            blocks_unicast: tallies.blocks_unicast,
            reached,
        };
        let (there, of) = report.counts();
        report.ok = (is_cancelled || *ended == DistributionEnd::By(Ending::Done)) && there == of;
        report
    }

    /// The exit code that goes with it.
    pub fn exit(&self, ended: DistributionEnd) -> Exit {
        match (ended, self.counts()) {
            (DistributionEnd::Interrupted, _) => Exit::Interrupted,
            (DistributionEnd::By(Ending::ImageUnreadable), _) => Exit::BadSignature,
            (DistributionEnd::By(Ending::CounterBehind { .. } | Ending::NumbersExhausted), _) => {
                Exit::NotAllowed
            }
            (DistributionEnd::By(Ending::Unprotectable(_)), _) => Exit::Error,
            (DistributionEnd::By(_), (there, of)) if there == of => Exit::Done,
            (DistributionEnd::By(_), (0, _)) => Exit::RolloutFailed,
            (DistributionEnd::By(_), _) => Exit::SomeDevicesFailed,
        }
    }
}

impl Printable for PushReport {
    fn table(&self) -> Table {
        agent_table(&self.agents)
    }
}

/// The result of `status`.
#[derive(Debug, Serialize)]
pub struct StatusReport {
    /// Whether every agent answered.
    pub ok: bool,
    /// The group's name.
    pub group: String,
    /// The parity code of its pushes, with the blocks of a generation.
    pub parity: Parity,
    /// Each agent.
    pub agents: Vec<AgentLine>,
}

impl Printable for StatusReport {
    fn table(&self) -> Table {
        agent_table(&self.agents)
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(self.agents.iter().map(|agent| format!("{}/{}", self.group, agent.name)).collect())
    }
}

fn agent_table(agents: &[AgentLine]) -> Table {
    let heads = ["AGENT", "ID", "STATE", "INSTALLED", "MISSING", "MULTICAST", "UNICAST", "REASON"];
    let mut table = output::columns(heads);
    for agent in agents {
        table.add_row([
            agent.name.clone(),
            agent.sender_id.clone(),
            agent.state.to_owned(),
            installed(agent.installed, None),
            agent.missing.to_string(),
            agent.heard_multicast.to_string(),
            agent.heard_unicast.to_string(),
            agent.reason.clone(),
        ]);
    }
    table
}

/// How a run ended, in one word.
pub fn ending_name(ended: DistributionEnd) -> &'static str {
    match ended {
        DistributionEnd::Interrupted => "interrupted",
        DistributionEnd::By(Ending::Done) => "done",
        DistributionEnd::By(Ending::NobodyAnswered) => "nobody-answered",
        DistributionEnd::By(Ending::CounterBehind { .. }) => "counter-behind",
        DistributionEnd::By(Ending::ImageUnreadable) => "image-unreadable",
        DistributionEnd::By(Ending::NumbersExhausted) => "numbers-exhausted",
        DistributionEnd::By(Ending::Unprotectable(_)) => "unprotectable",
        DistributionEnd::By(Ending::Cancelled) => "cancelled",
        DistributionEnd::By(Ending::Undone) => "undone",
    }
}
