//! The engine: which run comes next, and what its reports lead to.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use jiff::{SignedDuration, Timestamp};
use provisioning::Name;

use super::many::Many;
use super::plan::{AgentKey, Plan};
use super::record::{AgentRecord, Fact, Given, Order, OrderOutcome, Progress, Report, Settled};
use super::state::{Sending, Stage, State};

/// The current time, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// By the wall clock.
    pub wall: Timestamp,
    /// Since the process began, by a monotonic clock.
    pub steady: Duration,
}

/// The inputs of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The last run that was ordered has ended. Its reports came before this.
    RunEnded {
        /// How it ended.
        end: RunEnd,
        /// The highest attempt number used (protocol.md \[attempt\]).
        attempt: u32,
    },
    /// An agent of the current run has reported, or stayed silent to its end.
    Report {
        /// The agent.
        agent: AgentKey,
        /// What it reported, or what its silence means.
        report: Report,
    },
    /// Nothing can be sent to a security group, for this reason; `None`: it can again.
    Outage {
        /// Which group.
        group: Name,
        /// Why.
        why: Option<String>,
    },
    /// How far the blocks of the current run are in a security group.
    Sending {
        /// Which group.
        group: Name,
        /// How far.
        sending: Sending,
    },
    /// An operator's order. [`Engine::take_changes`] returns its result.
    Order {
        /// Its number, used to settle it.
        id: i64,
        /// The order.
        order: Order,
        /// Who gave it, and why.
        given: Given,
    },
    /// The program that runs the rollout tries again what was broken.
    Mended,
    /// An agent that belongs to the rollout was enrolled.
    Joined(AgentKey),
    /// An agent is no longer enrolled.
    Left(AgentKey),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// Everything possible is done; agents that stayed silent have been reported as lost.
    Done,
    /// It was stopped, as [`Output::Stop`] requested.
    Stopped,
    /// No agent answered at all.
    NobodyAnswered,
    /// It cannot continue, for this reason. No retry will help before somebody fixes it. A run that
    /// withdraws the update has told all agents that it could reach.
    Broken(String),
}

/// The outputs of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Output {
    /// Make [`Engine::state`] and the result of [`Engine::take_changes`] durable before continuing.
    Save,
    /// Begin this run, hand in what agents report, and at the end [`Input::RunEnded`].
    Run(Run),
    /// Stop the current run; agents keep what they have.
    Stop,
    /// There is nothing to do until then, or until the next input.
    Wait(Option<Timestamp>),
    /// The rollout is over.
    Ended,
}

/// Work with some agents, in the foreground until it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What to do.
    pub task: Task,
    /// The agents of the run. Others hear nothing of it.
    pub agents: Vec<AgentKey>,
    /// The attempt number to activate with (protocol.md \[attempt\]).
    pub attempt: u32,
    /// An agent that still misses something after this many seconds counts as lost.
    pub transfer_within_s: u32,
    /// An agent that has not confirmed this many seconds after the activation counts as lost.
    pub report_within_s: u32,
    /// An agent whose device has put the activation off has this many seconds more.
    pub deferred_within_s: u32,
}

impl Run {
    /// Whether it tells this agent to activate.
    pub fn tells(&self, agent: &AgentKey) -> bool {
        matches!(&self.task, Task::Activate(told) if told.contains(agent))
    }
}

/// The purpose of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Send the image to all of the agents.
    Transfer,
    /// Send the image to agents that still miss some of it, and let these activate.
    Activate(BTreeSet<AgentKey>),
    /// Ask, and send the image to agents that miss some of it.
    Census,
    /// Tell all of the agents to drop the update.
    Cancel,
    /// Tell the agents on trial to roll back.
    Undo,
}

impl Task {
    /// Whether it withdraws the update.
    pub fn withdraws(&self) -> bool {
        matches!(self, Self::Cancel | Self::Undo)
    }
}

/// What has changed since the last call.
#[derive(Debug, Default)]
pub struct Changes {
    /// Agents with a new record.
    pub agents: Vec<(AgentKey, AgentRecord)>,
    /// What happened, in order.
    pub facts: Vec<Fact>,
    /// Orders that were carried out or refused.
    pub settled: Vec<Settled>,
}

/// One rollout; see the module documentation.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) name: Name,
    pub(super) plan: Plan,
    pub(super) state: State,
    pub(super) agents: BTreeMap<AgentKey, AgentRecord>,
    pub(super) changed: BTreeSet<AgentKey>,
    pub(super) facts: Vec<Fact>,
    pub(super) settled: Vec<Settled>,
    pub(super) dirty: bool,
    pub(super) running: Option<Task>,
    pub(super) stopping: bool,
    pub(super) censused: Option<Timestamp>,
    /// Nobody has answered a transfer so far.
    pub(super) asked_in_vain: bool,
    seen: Option<Now>,
    /// How long the transfer has been running.
    transferring: Duration,
}

/// If the wall clock differs from the monotonic one by this much, it was set.
const CLOCK_JUMP_MIN: SignedDuration = SignedDuration::from_secs(30);

impl Engine {
    /// Begins a rollout. `attempt` is the last attempt number used for its image, or 1.
    pub fn begin(name: Name, plan: Plan, attempt: u32, now: Now) -> Self {
        let agents = plan.agents().map(|(wave, key)| (key.clone(), record_of(wave, now.wall))).collect();
        let state = State::new(plan.paused, attempt);
        let mut engine = Self::resume(name, plan, state, agents);
        engine.changed = engine.agents.keys().cloned().collect();
        engine.dirty = true;
        let text = format!(
            "{} in {} to run {} {}",
            Many(engine.agents.len(), "agent"),
            Many(engine.plan.waves.len(), "wave"),
            engine.plan.image.name,
            engine.plan.image.version
        );
        engine.tell(now.wall, None, "rollout-created", text);
        engine
    }

    /// Resumes a rollout from its stored state.
    pub fn resume(name: Name, plan: Plan, state: State, agents: BTreeMap<AgentKey, AgentRecord>) -> Self {
        let transferring = Duration::from_secs(state.transfer_spent_s.into());
        Self {
            name,
            plan,
            state,
            agents,
            changed: BTreeSet::new(),
            facts: Vec::new(),
            settled: Vec::new(),
            dirty: false,
            running: None,
            stopping: false,
            censused: None,
            asked_in_vain: false,
            seen: None,
            transferring,
        }
    }

    /// The name of the rollout.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The plan of the rollout.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How far the rollout has come.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What is known of each agent.
    pub fn agents(&self) -> &BTreeMap<AgentKey, AgentRecord> {
        &self.agents
    }

    /// Returns what has changed since the last call. It must be made durable together with [`Self::state`].
    pub fn take_changes(&mut self) -> Changes {
        let keys = core::mem::take(&mut self.changed);
        let agents = keys.into_iter().filter_map(|key| Some((key.clone(), self.agents.get(&key)?.clone())));
        Changes {
            agents: agents.collect(),
            facts: core::mem::take(&mut self.facts),
            settled: core::mem::take(&mut self.settled),
        }
    }

    /// What was taken last could not be made durable: it is to be saved with the next changes.
    pub fn not_saved(&mut self, changes: Changes) {
        self.changed.extend(changes.agents.into_iter().map(|(key, _)| key));
        self.facts.splice(0..0, changes.facts);
        self.settled.splice(0..0, changes.settled);
        self.dirty = true;
    }

    /// Handles an input.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.look_at_clocks(now);
        match input {
            Input::RunEnded { end, attempt } => {
                self.state.attempt = self.state.attempt.max(attempt);
                self.run_ended(now.wall, end);
            }
            Input::Report { agent, report } => self.report(now.wall, &agent, report),
            Input::Outage { group, why } => self.outage(now.wall, group, why),
            Input::Sending { group, sending } => drop(self.state.sending.insert(group, sending)),
            Input::Order { id, order, given } => {
                let outcome = match self.carry_out(now.wall, order, &given) {
                    Ok(said) => OrderOutcome::Done(said),
                    Err(why) => OrderOutcome::Refused(why),
                };
                self.settled.push(Settled { id, outcome });
                self.dirty = true;
            }
            Input::Mended => self.mended(now.wall),
            Input::Joined(agent) => self.joined(now.wall, agent),
            Input::Left(agent) => self.left(now.wall, &agent),
        }
    }

    /// Returns what to do next.
    pub fn poll(&mut self, now: Now) -> Output {
        self.look_at_clocks(now);
        // A step that only moves to another stage is saved, and the next step follows.
        if core::mem::take(&mut self.dirty) {
            return Output::Save;
        }
        if self.running.is_some() {
            if self.run_is_unwanted(now.wall) && !self.stopping {
                self.stopping = true;
                return Output::Stop;
            }
            return Output::Wait(self.run_stops_at(now.wall));
        }
        let output = self.step(now.wall).unwrap_or(Output::Save);
        self.dirty &= output != Output::Save;
        output
    }

    /// When a clock was set, moves the moments that are waited for, so that a soak lasts as long as intended.
    fn look_at_clocks(&mut self, now: Now) {
        let Some(seen) = self.seen.replace(now) else { return };
        let passed = SignedDuration::try_from(now.steady.saturating_sub(seen.steady)).unwrap_or_default();
        let jump = now.wall.duration_since(seen.wall) - passed;
        if self.transfer_goes_on(now.wall) {
            self.transferring += now.steady.saturating_sub(seen.steady);
            self.state.transfer_spent_s = u32::try_from(self.transferring.as_secs()).unwrap_or(u32::MAX);
        }
        if jump.abs() < CLOCK_JUMP_MIN {
            return;
        }
        let moved = |moment: Timestamp| moment.checked_add(jump).unwrap_or(moment);
        match &mut self.state.stage {
            Stage::Soak { until, .. } | Stage::Stopping { heard_until: Some(until), .. } => {
                *until = moved(*until);
            }
            _ => {}
        }
        for moment in [&mut self.state.try_at, &mut self.censused].into_iter().flatten() {
            *moment = moved(*moment);
        }
        for (key, agent) in &mut self.agents {
            if let Some(moment) = &mut agent.retry_at {
                *moment = moved(*moment);
                self.changed.insert(key.clone());
            }
        }
        let text =
            format!("this machine's clock was set by {jump:#}; soak times and retries continue unchanged");
        self.tell(now.wall, None, "clock-set", text);
    }

    fn outage(&mut self, now: Timestamp, group: Name, why: Option<String>) {
        let (kind, text) = match &why {
            Some(why) => (
                "network-lost",
                format!("nothing can be sent to group '{group}' ({why}): tries again and goes on"),
            ),
            None => ("network-back", format!("group '{group}' can be reached again")),
        };
        self.tell(now, None, kind, text);
        match why {
            Some(why) => drop(self.state.outages.insert(group, why)),
            None => drop(self.state.outages.remove(&group)),
        }
    }

    /// Resets the time spent on the transfer.
    pub(super) fn transfer_begins_anew(&mut self) {
        (self.transferring, self.state.transfer_spent_s) = (Duration::ZERO, 0);
        (self.state.transfer_over, self.asked_in_vain) = (false, false);
    }

    /// Records a fact.
    pub(super) fn tell(&mut self, at: Timestamp, agent: Option<AgentKey>, kind: &str, text: String) {
        let rollout = Some(self.name.clone());
        self.facts.push(Fact { at, rollout, agent, kind: kind.to_owned(), text });
        self.dirty = true;
    }

    /// Enters another stage.
    pub(super) fn enter(&mut self, stage: Stage) {
        self.state.stage = stage;
        self.dirty = true;
    }
}

/// The record of an agent that has not been heard.
pub(super) fn record_of(wave: usize, now: Timestamp) -> AgentRecord {
    AgentRecord {
        wave: u32::try_from(wave).unwrap_or(u32::MAX),
        progress: Progress::Waiting,
        since: now,
        reason: 0,
        remark: String::new(),
        missing: 0,
        installed: 0,
        heard: None,
        told: false,
        tries: 0,
        retry_at: None,
    }
}
