//! Steps: which run comes next, or what to wait for.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use jiff::{SignedDuration, Timestamp};

use super::engine::{Engine, Output, Run, Task};
use super::judge::Why;
use super::many::Many;
use super::plan::{AgentKey, When};
use super::record::{AgentRecord, Progress};
use super::state::{Pause, Stage};

/// How often a soaking wave is asked: every tenth of its soak, within these bounds in seconds.
const CENSUS_EVERY_S: core::ops::RangeInclusive<u32> = 2..=300;
/// How often at most a lost agent that has come back is told to activate, if it has no retries left.
const COMEBACKS_MAX: u8 = 3;

impl Engine {
    /// One decision; `None` if it moved to another stage, which must be saved before the next one.
    pub(super) fn step(&mut self, now: Timestamp) -> Option<Output> {
        if self.pause_holds() {
            return Some(Output::Wait(None));
        }
        let spreads = matches!(self.state.stage, Stage::Activation { .. } | Stage::Soak { .. });
        if spreads && !self.state.transfer_over && self.transfer_time_is_over() {
            self.lose_the_late(now);
            return None;
        }
        match self.state.stage {
            Stage::Transfer => self.step_transfer(now),
            Stage::Activation { wave } => self.step_activation(now, wave),
            Stage::Soak { wave, until, checked } => self.step_soak(now, wave, until, checked),
            Stage::Approval { .. } => Some(Output::Wait(None)),
            Stage::Stopping { heard_until, .. } => self.step_stopping(now, heard_until),
            Stage::Cancelling => Some(self.run(Task::Cancel, self.everyone())),
            Stage::Undoing => Some(self.run(Task::Undo, self.everyone())),
            Stage::Ended { .. } => Some(Output::Ended),
        }
    }

    /// Whether a pause holds up the stage. What ends a rollout does so even in a pause, and trials continue
    /// to their end: only a pause for something broken holds those up.
    fn pause_holds(&self) -> bool {
        match self.state.stage {
            Stage::Cancelling | Stage::Undoing | Stage::Ended { .. } => false,
            Stage::Stopping { .. } => matches!(self.state.paused, Some(Pause::Broken(_))),
            _ => self.state.paused.is_some(),
        }
    }

    /// No agent is told to activate any more, and those that were told are asked for the result. Only then is
    /// the rollout over, so that no agent is left halfway.
    fn step_stopping(&mut self, now: Timestamp, heard_until: Option<Timestamp>) -> Option<Output> {
        let with = self.reachable(now);
        let told = |key: &AgentKey| self.agents.get(key).is_some_and(|agent| agent.told);
        let told: Vec<AgentKey> = with.into_iter().filter(|key| told(key)).collect();
        let Some(until) = heard_until else {
            self.begin_hearing(now);
            return None;
        };
        if told.is_empty() || now >= until {
            self.end_hearing(now);
            return None;
        }
        let next = self.next_census(now, self.plan.report_within_s).min(until);
        if now >= next {
            return Some(self.run(Task::Census, told));
        }
        Some(Output::Wait(Some(next)))
    }

    /// When to ask agents that are watched for this long again.
    fn next_census(&self, now: Timestamp, watched_s: u32) -> Timestamp {
        let every = (watched_s / 10).clamp(*CENSUS_EVERY_S.start(), *CENSUS_EVERY_S.end());
        self.censused.map_or(now, |last| after(last, every))
    }

    fn step_transfer(&mut self, now: Timestamp) -> Option<Output> {
        if let Some(at) = self.state.try_at.filter(|at| *at > now) {
            return Some(Output::Wait(Some(at)));
        }
        if !self.plan.transfer_windows.are_open(now) {
            if self.tells_that_it_waits(now) {
                return None;
            }
            return Some(Output::Wait(self.plan.transfer_windows.next_open(now)));
        }
        if !self.state.started {
            self.state.started = true;
            self.tell(
                now,
                None,
                "transfer-started",
                format!("blocks go to {}", Many(self.agents.len(), "agent")),
            );
            return None;
        }
        Some(self.run(Task::Transfer, self.everyone()))
    }

    /// A wave activates: first the agents whose turn it is, then those that are retried.
    fn step_activation(&mut self, now: Timestamp, wave: u32) -> Option<Output> {
        let due = self.due(now, wave);
        if !due.is_empty() {
            return match self.activation_waits(now) {
                Some(_) if self.tells_that_it_waits(now) => None,
                Some(until) => Some(Output::Wait(until)),
                None => {
                    let due = self.within_budget(due);
                    self.activate(now, wave, due)
                }
            };
        }
        if let Some(at) = self.next_retry(now, wave) {
            return Some(Output::Wait(Some(at)));
        }
        self.wave_is_through(now, wave);
        None
    }

    fn step_soak(&mut self, now: Timestamp, wave: u32, until: Timestamp, checked: bool) -> Option<Output> {
        // Agents that came late or came back do not wait for the soak.
        let due = self.due(now, wave);
        if !due.is_empty() && self.activation_waits(now).is_none() {
            let due = self.within_budget(due);
            return self.activate(now, wave, due);
        }
        if now >= until && checked {
            self.wave_has_soaked(now, wave);
            return None;
        }
        let soak = self.plan.waves.get(wave as usize).map_or(0, |wave| wave.soak_s);
        let next = self.next_census(now, soak).min(until);
        if now >= next {
            return Some(self.run(Task::Census, self.reachable(now)));
        }
        let retry = self.next_retry(now, wave);
        Some(Output::Wait(Some(retry.map_or(next, |retry| retry.min(next)))))
    }

    /// Until when a wave must wait before it may activate.
    fn activation_waits(&self, now: Timestamp) -> Option<Option<Timestamp>> {
        match self.plan.activation {
            When::At(moment) if now < moment => Some(Some(moment)),
            When::Window if !self.plan.activation_windows.are_open(now) => {
                Some(self.plan.activation_windows.next_open(now))
            }
            _ => None,
        }
    }

    /// Orders the run in which these agents activate. Its facts are saved first: `None` until then.
    fn activate(&mut self, now: Timestamp, wave: u32, due: BTreeSet<AgentKey>) -> Option<Output> {
        let with = self.reachable(now);
        let (due, absent): (BTreeSet<_>, BTreeSet<_>) = due.into_iter().partition(|key| with.contains(key));
        for key in &absent {
            // It needs blocks, and none may be sent now: later runs send them.
            self.is_absent(now, key);
        }
        let again = due.iter().any(|key| self.agents.get(key).is_some_and(|agent| agent.tries > 0));
        let mut fresh = !absent.is_empty();
        if again && !self.state.retrying {
            self.state.retrying = true;
            self.state.attempt = self.state.attempt.saturating_add(1);
            fresh = true;
        }
        for key in &due {
            if let Some(agent) = self.agents.get_mut(key)
                && !core::mem::replace(&mut agent.told, true)
            {
                self.changed.insert(key.clone());
                fresh = true;
            }
        }
        if self.state.reached.is_none_or(|reached| reached < wave) {
            self.state.reached = Some(wave);
            let text = format!("wave '{}' activates: {}", self.wave_name(wave), Many(due.len(), "agent"));
            self.tell(now, None, "wave-activated", text);
            fresh = true;
        }
        (!fresh).then(|| self.run(Task::Activate(due), with))
    }

    /// The agent's turn has come, or came before an interruption, and it cannot be reached now.
    fn is_absent(&mut self, now: Timestamp, key: &AgentKey) {
        if self.agents.get(key).is_some_and(|agent| agent.told) {
            self.try_ended(now, key);
        } else {
            self.set(now, key, Progress::Lost, Why::NONE);
        }
    }

    /// As many of these agents as the disruption budget allows. Agents that are being told, or are on trial,
    /// come first; the others have their turn in the next runs.
    fn within_budget(&self, due: BTreeSet<AgentKey>) -> BTreeSet<AgentKey> {
        let Some(budget) = &self.plan.budget else { return due };
        let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
        // An agent that stays on trial however often it was told counts no longer: its place would wait for
        // ever.
        let is_out = |key: &AgentKey| {
            self.agents.get(key).is_some_and(|agent| agent.told || agent.progress.is_on_trial())
        };
        for key in due.iter().filter(|key| is_out(key)) {
            *taken.entry(budget.place_of(key)).or_default() += 1;
        }
        let mut fits = |key: &AgentKey| {
            if is_out(key) {
                return true;
            }
            let place = budget.place_of(key);
            let count = taken.entry(place).or_default();
            let fits = *count < budget.most(place);
            *count += usize::from(fits);
            fits
        };
        due.iter().filter(|key| fits(key)).cloned().collect()
    }

    /// The agents to communicate with: outside a transfer window only those that need no blocks.
    fn reachable(&self, now: Timestamp) -> Vec<AgentKey> {
        if self.plan.transfer_windows.are_open(now) {
            return self.everyone();
        }
        let needs_none = |progress: Progress| {
            let has_it = matches!(progress, Progress::Ready | Progress::Confirmed | Progress::RolledBack);
            has_it || progress.is_on_trial()
        };
        let agents = self.agents.iter().filter(|(_, agent)| needs_none(agent.progress));
        agents.map(|(key, _)| key.clone()).collect()
    }

    fn everyone(&self) -> Vec<AgentKey> {
        let agents = self.agents.iter().filter(|(_, agent)| agent.progress != Progress::Removed);
        agents.map(|(key, _)| key.clone()).collect()
    }

    /// Agents up to this wave that should be told to activate now, or that were told and have not ended. An
    /// agent that is to be retried and cannot be reached now waits until it can.
    fn due(&self, now: Timestamp, wave: u32) -> BTreeSet<AgentKey> {
        let tries_max = COMEBACKS_MAX.max(self.plan.retry.max);
        let with: BTreeSet<AgentKey> = self.reachable(now).into_iter().collect();
        let agents = self.agents.iter().filter(|(key, agent)| {
            let open = !agent.progress.has_ended() && agent.tries <= tries_max;
            let again = agent.retry_at.is_some_and(|at| at <= now) && with.contains(*key);
            agent.progress != Progress::Removed && (agent.told || (agent.wave <= wave && (open || again)))
        });
        agents.map(|(key, _)| key.clone()).collect()
    }

    /// When the next agent up to this wave may be retried: always after `now`.
    fn next_retry(&self, now: Timestamp, wave: u32) -> Option<Timestamp> {
        let with: BTreeSet<AgentKey> = self.reachable(now).into_iter().collect();
        let agents = self.agents.iter().filter(|(_, agent)| agent.wave <= wave);
        let moment = |(key, agent): (&AgentKey, &AgentRecord)| match agent.retry_at? {
            at if at > now => Some(at),
            _ if with.contains(key) => self.activation_waits(now).flatten(),
            _ => self.plan.transfer_windows.next_open(now),
        };
        agents.filter_map(moment).min()
    }

    fn run(&mut self, task: Task, agents: Vec<AgentKey>) -> Output {
        self.running = Some(task.clone());
        self.stopping = false;
        // Once the deadline is over, agents that have come back have the whole time.
        let counts = task == Task::Transfer || !self.state.transfer_over;
        let spent = if counts { self.state.transfer_spent_s } else { 0 };
        Output::Run(Run {
            task,
            agents,
            attempt: self.state.attempt,
            transfer_within_s: self.transfer_left_s(spent),
            report_within_s: self.plan.report_within_s,
            deferred_within_s: self.plan.deferred_within_s,
        })
    }

    /// Whether the time of the transfer passes: blocks may be sent, and some agent may still come.
    pub(super) fn transfer_goes_on(&self, now: Timestamp) -> bool {
        match self.state.stage {
            Stage::Transfer => self.running == Some(Task::Transfer),
            Stage::Activation { .. } | Stage::Soak { .. } => {
                !self.state.transfer_over
                    && self.state.paused.is_none()
                    && self.plan.transfer_windows.are_open(now)
            }
            _ => false,
        }
    }

    /// Whether the whole deadline of the transfer has been spent.
    pub(super) fn transfer_time_is_over(&self) -> bool {
        self.state.transfer_spent_s >= self.plan.transfer_s()
    }

    /// How long each lane may take in a run, after so many seconds of transfer. The lanes of one security
    /// group follow one another, and each has the whole deadline: together they have it so many times.
    fn transfer_left_s(&self, spent: u32) -> u32 {
        self.plan.transfer_s().saturating_sub(spent).clamp(1, self.plan.transfer_within_s.max(1))
    }

    /// Whether the current run is no longer wanted.
    pub(super) fn run_is_unwanted(&self, now: Timestamp) -> bool {
        let ordered = match self.state.stage {
            Stage::Cancelling => self.running != Some(Task::Cancel),
            Stage::Undoing => self.running != Some(Task::Undo),
            _ => false,
        };
        // Agents that were told to activate are heard to the end, even in a pause.
        let hears = self.state.is_hearing();
        let brings = !hears && matches!(self.running, Some(Task::Transfer | Task::Census));
        let stops = !hears && matches!(self.state.stage, Stage::Stopping { .. });
        ordered
            || stops
            || (brings && self.state.paused.is_some())
            || self.run_stops_at(now).is_some_and(|at| at <= now)
    }

    /// When the current run must stop.
    pub(super) fn run_stops_at(&self, now: Timestamp) -> Option<Timestamp> {
        if self.running != Some(Task::Transfer) || self.plan.transfer_windows.as_slice().is_empty() {
            return None;
        }
        Some(self.plan.transfer_windows.closes(now).unwrap_or(now))
    }

    pub(super) fn wave_name(&self, wave: u32) -> String {
        self.plan.waves.get(wave as usize).map_or_else(String::new, |wave| wave.name.to_string())
    }
}

/// What a rollout waits for that no agent can hasten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Blocks may be sent when the next transfer window opens; `None`: none ever opens.
    TransferWindow(Option<Timestamp>),
    /// A wave may activate when the next activation window opens; `None`: none ever opens.
    ActivationWindow(Option<Timestamp>),
    /// A wave may activate from this moment on.
    Moment(Timestamp),
    /// The next try is at this moment.
    Retry(Timestamp),
}

impl Engine {
    /// What it waits for at this moment, if anything.
    pub fn waits(&self, now: Timestamp) -> Option<Waits> {
        if self.running.is_some() || self.state.paused.is_some() {
            return None;
        }
        match self.state.stage {
            Stage::Transfer => {
                if let Some(at) = self.state.try_at.filter(|at| *at > now) {
                    return Some(Waits::Retry(at));
                }
                let windows = &self.plan.transfer_windows;
                (!windows.are_open(now)).then(|| Waits::TransferWindow(windows.next_open(now)))
            }
            Stage::Activation { wave } if self.due(now, wave).is_empty() => {
                self.next_retry(now, wave).map(Waits::Retry)
            }
            Stage::Activation { .. } => match (self.plan.activation, self.activation_waits(now)?) {
                (When::At(moment), _) => Some(Waits::Moment(moment)),
                (_, opens) => Some(Waits::ActivationWindow(opens)),
            },
            _ => None,
        }
    }

    /// Records once that it waits for a window or a moment; whether it had to.
    fn tells_that_it_waits(&mut self, now: Timestamp) -> bool {
        let waits = self.waits(now);
        let until = match waits {
            Some(Waits::TransferWindow(at) | Waits::ActivationWindow(at)) => at,
            Some(Waits::Moment(at)) => Some(at),
            Some(Waits::Retry(_)) | None => return false,
        };
        let Some(waits) = waits.filter(|_| self.state.awaited != until) else { return false };
        self.state.awaited = until;
        self.tell(now, None, "window-awaited", waits.to_string());
        true
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TransferWindow(Some(at)) => {
                write!(f, "waits for the transfer window that opens at {at:.0}")
            }
            Self::TransferWindow(None) => {
                f.write_str("waits for a transfer window, and none ever opens again")
            }
            Self::ActivationWindow(Some(at)) => {
                write!(f, "waits for the activation window that opens at {at:.0}")
            }
            Self::ActivationWindow(None) => {
                f.write_str("waits for an activation window, and none ever opens again")
            }
            Self::Moment(at) => write!(f, "waits to activate at {at:.0}"),
            Self::Retry(at) => write!(f, "tries again at {at:.0}"),
        }
    }
}

/// The moment this many seconds later.
pub(super) fn after(moment: Timestamp, seconds: u32) -> Timestamp {
    moment.checked_add(SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MAX)
}
