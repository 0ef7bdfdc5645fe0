//! One rollout, as `run` and `status` print it.

use std::collections::BTreeMap;

use comfy_table::{Cell, Table};
use jiff::Timestamp;
use provisioning::Name;
use serde::Serialize;

use crate::commands::output::{Printable, age_of, columns, progress, safe};
use fwcast_service::installed;
use fwcast_service::runner::doing_of;
use rollout_engine::plan::AgentKey;
use rollout_engine::record::{Outcome, Progress};
use rollout_engine::state::Sending;
use rollout_engine::{Engine, Parity, in_words, reason_of};

/// A rollout with its waves and its agents.
#[derive(Debug, Serialize)]
pub struct RolloutStatus {
    /// Its name.
    pub name: Name,
    /// Whether it ended well or is going well.
    pub ok: bool,
    /// Its stage: `transfer`, `activation`, `soak`, `approval`, `cancelling`, `undoing` or `ended`.
    pub stage: &'static str,
    /// How it ended; `None` while it has not.
    pub outcome: Option<Outcome>,
    /// Whether some process runs it.
    #[serde(rename = "running")]
    pub is_run: bool,
    /// What it does or waits for, as a sentence.
    pub doing: String,
    /// The parity code of each rollout group, with the blocks of a generation.
    pub parity: BTreeMap<Name, Parity>,
    /// How far the blocks of the current run are, by security group.
    pub sending: BTreeMap<Name, Sending>,
    /// Each wave.
    pub waves: Vec<WaveStatus>,
    /// Each agent, by group and name.
    pub agents: Vec<AgentStatus>,
}

/// One wave.
#[derive(Debug, Serialize)]
pub struct WaveStatus {
    /// Its name.
    pub name: Name,
    /// How many agents it has.
    pub agents: usize,
    /// How many have confirmed.
    pub confirmed: usize,
    /// How many refused, gave up, or rolled back.
    pub failed: usize,
    /// How many are lost.
    pub lost: usize,
    /// How many cannot activate now, as their devices say.
    pub deferred: usize,
}

/// One agent.
#[derive(Debug, Serialize)]
pub struct AgentStatus {
    /// Its name.
    pub name: AgentKey,
    /// Its wave.
    pub wave: Name,
    /// Its progress.
    pub progress: Progress,
    /// Why, in words; with the device's own words, if it has said some.
    pub reason: String,
    /// How many blocks and pages it is missing.
    pub missing: u32,
    /// The manifest sequence number of what it runs and has confirmed.
    pub installed: u64,
    /// How often it has been told to activate.
    pub tries: u8,
    /// When it got there.
    pub since: Timestamp,
    /// When it was last heard from.
    pub heard: Option<Timestamp>,
}

impl RolloutStatus {
    /// The rollout as the engine knows it.
    pub fn new(engine: &Engine, is_run: bool, parity: BTreeMap<Name, Parity>) -> Self {
        let waves = engine.plan().waves.iter().zip(0_u32..).map(|(wave, number)| {
            let counts = engine.counts(|of| of == number);
            WaveStatus {
                name: wave.name.clone(),
                agents: counts.all,
                confirmed: counts.confirmed,
                failed: counts.failed,
                lost: counts.lost,
                deferred: counts.deferred,
            }
        });
        let wave_of = |number: u32| engine.plan().waves.get(number as usize).map(|wave| wave.name.clone());
        let agents = engine.agents().iter().filter_map(|(key, agent)| {
            Some(AgentStatus {
                name: key.clone(),
                wave: wave_of(agent.wave)?,
                progress: agent.progress,
                reason: in_words(reason_of(agent.progress, agent.reason), &agent.remark),
                missing: agent.missing,
                installed: agent.installed,
                tries: agent.tries,
                since: agent.since,
                heard: agent.heard,
            })
        });
        let outcome = engine.state().outcome();
        Self {
            name: engine.name().clone(),
            ok: matches!(outcome, None | Some(Outcome::Done | Outcome::DoneWithFailures)),
            stage: engine.state().stage.name(),
            outcome,
            is_run,
            doing: doing_of(engine, is_run),
            parity,
            sending: engine.state().sending.clone(),
            waves: waves.collect(),
            agents: agents.collect(),
        }
    }
}

impl RolloutStatus {
    /// What it does, and with which parity, for people.
    pub fn summary(&self) -> String {
        let groups = self.parity.iter().map(|(group, parity)| format!("{group} {parity}"));
        let groups: Vec<String> = groups.collect();
        if groups.is_empty() {
            return self.doing.clone();
        }
        format!("{}\nparity: {}", self.doing, groups.join(", "))
    }
}

impl Printable for RolloutStatus {
    fn table(&self) -> Table {
        // Few devices can put an activation off.
        let some_deferred = self.waves.iter().any(|wave| wave.deferred > 0);
        let deferred = |cell: String| Some(cell).filter(|_| some_deferred);
        let mut table = if some_deferred {
            columns(["WAVE", "AGENTS", "CONFIRMED", "FAILED", "LOST", "DEFERRED"])
        } else {
            columns(["WAVE", "AGENTS", "CONFIRMED", "FAILED", "LOST"])
        };
        for wave in &self.waves {
            let counts = [wave.agents, wave.confirmed, wave.failed, wave.lost].map(|count| count.to_string());
            let counts = counts.into_iter().chain(deferred(wave.deferred.to_string()));
            table.add_row([wave.name.to_string()].into_iter().chain(counts));
        }
        table
    }

    fn wide(&self) -> Table {
        let now = Timestamp::now();
        let mut table =
            columns(["AGENT", "WAVE", "PROGRESS", "FOR", "MISSING", "INSTALLED", "TRIES", "HEARD", "REASON"]);
        for agent in &self.agents {
            table.add_row([
                Cell::new(&agent.name),
                Cell::new(&agent.wave),
                progress(agent.progress),
                Cell::new(age_of(Some(agent.since), now)),
                Cell::new(agent.missing),
                Cell::new(installed(agent.installed, None)),
                Cell::new(agent.tries),
                Cell::new(age_of(agent.heard, now)),
                Cell::new(safe(&agent.reason)),
            ]);
        }
        table
    }
}
