//! Judging: what follows from reports, and whether a wave has proved healthy.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use jiff::Timestamp;
use update_core::remark::Remark;

use super::engine::{Engine, RunEnd, Task};
use super::many::Many;
use super::plan::{AgentKey, RetryOn};
use super::record::{AgentRecord, Lag, Outcome, Progress, Report};
use super::state::{Pause, Stage};
use super::steps::after;

/// How many agents are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All agents. One that is no longer enrolled counts only if it was told to activate and had not
    /// confirmed.
    pub all: usize,
    /// Have the whole image, or had it.
    pub have_it: usize,
    /// Run the new image, confirmed.
    pub confirmed: usize,
    /// Of the failed ones: are back on their previous image.
    pub rolled_back: usize,
    /// Refused, gave up, or rolled back.
    pub failed: usize,
    /// Were not heard from by their deadlines.
    pub lost: usize,
    /// On trial.
    pub trial: usize,
    /// Told to activate, and their devices say that they cannot now.
    pub deferred: usize,
    /// Dropped the update by order.
    pub cancelled: usize,
}

/// Why an agent is where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Why {
    /// A reason code of the protocol, 0 for none.
    reason: u8,
    /// The device's own words.
    remark: Remark,
}

impl Why {
    /// There is nothing to say.
    pub(super) const NONE: Self = Self { reason: 0, remark: Remark::NONE };
}

impl Engine {
    /// Takes in an agent's report, or that it stayed silent to the end of a run.
    pub(super) fn report(&mut self, now: Timestamp, key: &AgentKey, report: Report) {
        let sequence_number = self.plan.image.sequence_number;
        let Some(agent) = self.agents.get_mut(key) else { return };
        // It left during a run.
        if agent.progress == Progress::Removed {
            return;
        }
        let mut progress = Progress::from(report);
        // It runs the image, and no longer holds an update.
        if progress == Progress::Waiting && report.installed == sequence_number {
            progress = Progress::Confirmed;
        }
        // Silence undoes nothing, and proves nothing before the time to be heard is over.
        let waits = agent.told && self.state.is_hearing();
        if progress == Progress::Lost && (agent.progress.has_ended() || waits) {
            return;
        }
        if report.state.is_some() {
            agent.heard = Some(now);
            (agent.installed, agent.missing) = (report.installed, report.missing);
            self.changed.insert(key.clone());
        }
        let why = Why { reason: report.reason, remark: report.remark };
        let is_news = (agent.progress, agent.reason) != (progress, report.reason);
        let fails_early = is_news && !agent.told && self.may_be_tried_again(progress, report.reason);
        self.set(now, key, progress, why);
        if waits {
            self.heard_out(key, progress);
        } else if fails_early {
            self.try_ended(now, key);
        }
    }

    /// Whether an agent that failed like this before it was told to activate should be told anyway, after a
    /// while: it was busy, or its storage failed, during the transfer.
    fn may_be_tried_again(&self, progress: Progress, reason: u8) -> bool {
        matches!(progress, Progress::Failed | Progress::Refused)
            && kind_of_failure(progress, reason).is_some_and(|kind| self.plan.retry.on.contains(&kind))
    }

    /// Begins to stop a rollout. Agents that were told to activate are waited for until they report the
    /// result.
    pub(super) fn begin_hearing(&mut self, now: Timestamp) {
        if let Stage::Stopping { heard_until, .. } = &mut self.state.stage {
            *heard_until = Some(after(now, self.plan.report_within_s));
        }
        // The last census is older than the end of the run.
        self.censused = None;
        self.state.retrying = false;
        let told = self.agents.iter().filter(|(_, agent)| agent.told && agent.progress.has_ended());
        for (key, progress) in told.map(|(key, agent)| (key.clone(), agent.progress)).collect::<Vec<_>>() {
            self.heard_out(&key, progress);
        }
        self.dirty = true;
    }

    /// The agent has been heard after the last order to activate. Unless it is on trial, nothing more will
    /// follow.
    fn heard_out(&mut self, key: &AgentKey, progress: Progress) {
        let Some(agent) = self.agents.get_mut(key).filter(|_| !progress.is_on_trial()) else { return };
        agent.told = false;
        // An agent that never activated has not tried.
        agent.tries = agent.tries.saturating_add(u8::from(progress.has_ended()));
        self.changed.insert(key.clone());
        self.dirty = true;
    }

    pub(super) fn end_hearing(&mut self, now: Timestamp) {
        let told = self.agents.iter().filter(|(_, agent)| agent.told);
        for key in told.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.try_ended(now, &key);
        }
        if let Stage::Stopping { why, .. } = &self.state.stage {
            let why = why.clone();
            self.stopped(now, why);
        }
    }

    /// Records the state of an agent.
    pub(super) fn set(&mut self, now: Timestamp, key: &AgentKey, progress: Progress, why: Why) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        if agent.remark != why.remark.as_str() {
            agent.remark = why.remark.as_str().to_owned();
            self.changed.insert(key.clone());
        }
        if (agent.progress, agent.reason) == (progress, why.reason) {
            return;
        }
        (agent.progress, agent.reason, agent.since) = (progress, why.reason, now);
        self.changed.insert(key.clone());
        self.dirty = true;
        if progress.has_ended() {
            let why = match in_words(reason_of(progress, why.reason), why.remark.as_str()) {
                why if why.is_empty() => why,
                why => format!(": {why}"),
            };
            self.tell(
                now,
                Some(key.clone()),
                &format!("agent-{}", progress.name()),
                format!("{}{why}", said(progress)),
            );
            self.look_whether_to_stop();
        }
    }

    pub(super) fn run_ended(&mut self, now: Timestamp, end: RunEnd) {
        let Some(task) = self.running.take() else { return };
        self.state.sending.clear();
        self.state.outages.clear();
        self.stopping = false;
        self.dirty = true;
        if matches!(end, RunEnd::Done | RunEnd::NobodyAnswered) {
            self.censused = Some(now);
        }
        match (task, end) {
            // An order to end the rollout ends it, whatever is broken: otherwise it could never end.
            (Task::Cancel, RunEnd::Broken(why)) => self.cancelled(now, Some(&why)),
            (Task::Undo, RunEnd::Broken(why)) => self.undone(now, Some(&why)),
            (_, RunEnd::Broken(why)) => {
                self.tell(now, None, "broken", why.clone());
                self.state.paused = Some(Pause::Broken(why));
            }
            (_, RunEnd::Stopped) => {}
            (Task::Transfer, RunEnd::NobodyAnswered) => self.nobody_answered(now),
            (Task::Transfer, _) => self.transfer_ended(now),
            (Task::Activate(told), _) => self.activation_ended(now, &told),
            (Task::Census, _) => {
                if let Stage::Soak { wave, until, .. } = self.state.stage
                    && now >= until
                {
                    self.look_for_the_silent(now, wave, until);
                    self.enter(Stage::Soak { wave, until, checked: true });
                }
            }
            (Task::Cancel, _) => self.cancelled(now, None),
            (Task::Undo, _) => self.undone(now, None),
        }
    }

    /// An agent that has confirmed but was never heard while its wave was watched counts as lost after all.
    fn look_for_the_silent(&mut self, now: Timestamp, wave: u32, until: Timestamp) {
        let soak = self.plan.waves.get(wave as usize).map_or(0, |wave| wave.soak_s);
        let silent = self.agents.iter().filter(|(_, agent)| {
            let unheard = agent.heard.is_none_or(|heard| after(heard, soak) <= until);
            agent.wave == wave && agent.progress == Progress::Confirmed && unheard
        });
        for key in silent.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.set(now, &key, Progress::Lost, Why::NONE);
        }
    }

    fn nobody_answered(&mut self, now: Timestamp) {
        if !self.transfer_time_is_over() {
            if !core::mem::replace(&mut self.asked_in_vain, true) {
                let text = "no agent has answered so far: all are asked until the deadline of the transfer";
                self.tell(now, None, "nobody-answered", text.to_owned());
            }
            return;
        }
        self.lose_the_late(now);
        let retry = &self.plan.retry;
        if retry.on.contains(&RetryOn::Lost) && self.state.unanswered < retry.max {
            let wait = backoff(retry.backoff_s, self.state.unanswered);
            self.state.unanswered += 1;
            self.state.try_at = Some(after(now, wait));
            self.transfer_begins_anew();
            self.tell(
                now,
                None,
                "nobody-answered",
                format!("no agent answered; the next try is in {wait} s"),
            );
        } else {
            self.stopped(now, "no agent answered".to_owned());
        }
    }

    /// Agents that do not have the image when the time for the transfer is over are lost, unless a run that
    /// they were told to activate in is still waiting for them.
    pub(super) fn lose_the_late(&mut self, now: Timestamp) {
        self.state.transfer_over = true;
        let is_late = |agent: &AgentRecord| {
            !agent.told && matches!(agent.progress, Progress::Waiting | Progress::Receiving)
        };
        let late = self.agents.iter().filter(|(_, agent)| is_late(agent));
        for key in late.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.set(now, &key, Progress::Lost, Why::NONE);
        }
        self.dirty = true;
    }

    fn transfer_ended(&mut self, now: Timestamp) {
        self.state.try_at = None;
        let counts = self.counts(|_| true);
        let text = format!("{} of {} received the whole image", counts.have_it, Many(counts.all, "agent"));
        self.tell(now, None, "transfer-ended", text);
        self.enter(Stage::Activation { wave: 0 });
    }

    fn activation_ended(&mut self, now: Timestamp, told: &alloc::collections::BTreeSet<AgentKey>) {
        self.state.retrying = false;
        for key in told {
            self.try_ended(now, key);
        }
        // Agents that tried again count from now on.
        self.look_whether_to_stop();
    }

    /// Ends an agent's try: the run that told it to activate is over, or it failed before it was told. An
    /// agent that has not reported how it ended is lost.
    pub(super) fn try_ended(&mut self, now: Timestamp, key: &AgentKey) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        agent.tries = agent.tries.saturating_add(1);
        (agent.told, agent.retry_at) = (false, None);
        self.changed.insert(key.clone());
        self.dirty = true;
        if !agent.progress.has_ended() {
            self.set(now, key, Progress::Lost, Why::NONE);
        }
        self.plan_retry(now, key);
    }

    /// When the agent may try again automatically, if it may.
    fn plan_retry(&mut self, now: Timestamp, key: &AgentKey) {
        let retry = &self.plan.retry;
        let Some(agent) = self.agents.get_mut(key) else { return };
        let kind = kind_of_failure(agent.progress, agent.reason);
        if agent.tries <= retry.max && kind.is_some_and(|kind| retry.on.contains(&kind)) {
            agent.retry_at = Some(after(now, backoff(retry.backoff_s, agent.tries.saturating_sub(1))));
        }
    }

    /// Every agent of a wave has ended, and none will be retried.
    pub(super) fn wave_is_through(&mut self, now: Timestamp, wave: u32) {
        if !self.is_healthy(now, wave) {
            return;
        }
        let soak = self.plan.waves.get(wave as usize).map_or(0, |wave| wave.soak_s);
        if soak == 0 {
            return self.wave_is_healthy(now, wave);
        }
        let text = format!("wave '{}' is watched for {soak} s", self.wave_name(wave));
        self.tell(now, None, "wave-soaks", text);
        self.enter(Stage::Soak { wave, until: after(now, soak), checked: false });
    }

    pub(super) fn wave_has_soaked(&mut self, now: Timestamp, wave: u32) {
        if self.is_healthy(now, wave) {
            self.wave_is_healthy(now, wave);
        }
    }

    fn wave_is_healthy(&mut self, now: Timestamp, wave: u32) {
        let counts = self.counts(|of| of == wave);
        let name = self.wave_name(wave);
        let text =
            format!("wave '{name}' has proved healthy: {} of {} confirmed", counts.confirmed, counts.all);
        self.tell(now, None, "wave-healthy", text);
        let last = wave as usize + 1 >= self.plan.waves.len();
        if last {
            self.all_waves_done(now);
        } else if self.plan.waves.get(wave as usize).is_some_and(|wave| wave.approval) {
            let next = self.wave_name(wave + 1);
            let text = format!("wave '{next}' waits for `fwcast rollout approve {}`", self.name);
            self.tell(now, None, "approval-wanted", text);
            self.enter(Stage::Approval { wave });
        } else {
            self.enter(Stage::Activation { wave: wave + 1 });
        }
    }

    fn all_waves_done(&mut self, now: Timestamp) {
        let counts = self.counts(|_| true);
        let why = format!("{} of {} confirmed", counts.confirmed, Many(counts.all, "agent"));
        let outcome = if counts.confirmed == counts.all { Outcome::Done } else { Outcome::DoneWithFailures };
        self.end(now, outcome, why);
    }

    /// Judges a wave. If it has not proved healthy, everything stops.
    fn is_healthy(&mut self, now: Timestamp, wave: u32) -> bool {
        let counts = self.counts(|of| of == wave);
        if !self.agents.values().any(|agent| agent.wave == wave && agent.progress != Progress::Removed) {
            let why = format!(
                "all agents of wave '{}' have left the rollout, so nothing proves it healthy: apply the \
                 rollout manifest under another name, for the agents that there are now",
                self.wave_name(wave)
            );
            self.stopped(now, why);
            return false;
        }
        if self.plan.success.is_reached_by(counts.confirmed, counts.all) {
            return true;
        }
        let why = format!(
            "wave '{}' has not proved healthy: {} of {} confirmed, and the rollout wants {}",
            self.wave_name(wave),
            counts.confirmed,
            Many(counts.all, "agent"),
            self.plan.success
        );
        self.stopped(now, why);
        false
    }

    /// If too many have failed or are lost, nothing new begins. Agents that are being told to try again do
    /// not count: their earlier failures are already known.
    fn look_whether_to_stop(&mut self) {
        let Some(reached) = self.state.reached else { return };
        if matches!(
            self.state.stage,
            Stage::Stopping { .. } | Stage::Ended { .. } | Stage::Cancelling | Stage::Undoing
        ) {
            return;
        }
        let again = |agent: &AgentRecord| agent.told && agent.tries > 0;
        let counts = self.counts_of(|agent| agent.wave <= reached && !again(agent));
        let ended = counts.confirmed + counts.failed + counts.lost;
        let abort = self.plan.abort;
        if ended < abort.min_sample as usize {
            return;
        }
        let too_many = |limit: Option<super::plan::Percent>, part, what| {
            let limit = limit.filter(|limit| limit.is_exceeded_by(part, ended))?;
            Some(format!("{part} of {} {what}, and at most {limit} may", Many(ended, "agent")))
        };
        let why = too_many(abort.failed, counts.failed, "failed")
            .or_else(|| too_many(abort.lost, counts.lost, "were lost"));
        if let Some(why) = why {
            self.enter(Stage::Stopping { wave: reached, heard_until: None, why });
        }
    }

    fn stopped(&mut self, now: Timestamp, why: String) {
        if !matches!(self.state.stage, Stage::Ended { .. }) {
            self.end(now, Outcome::Stopped, why);
        }
    }

    pub(super) fn end(&mut self, now: Timestamp, outcome: Outcome, why: String) {
        for (key, agent) in &mut self.agents {
            if agent.retry_at.take().is_some() {
                self.changed.insert(key.clone());
            }
        }
        self.tell(now, None, "rollout-ended", format!("{}: {why}", outcome.name()));
        self.enter(Stage::Ended { outcome, why });
    }

    /// Counts the agents of some waves.
    pub fn counts(&self, of: impl Fn(u32) -> bool) -> Counts {
        self.counts_of(|agent| of(agent.wave))
    }

    fn counts_of(&self, of: impl Fn(&AgentRecord) -> bool) -> Counts {
        let mut counts = Counts::default();
        for (key, agent) in self.agents.iter().filter(|(_, agent)| of(agent)) {
            let progress = self.state.left.get(key).copied().unwrap_or(agent.progress);
            counts.all += usize::from(progress != Progress::Removed);
            counts.failed += usize::from(progress.has_failed());
            match progress {
                Progress::Confirmed => counts.confirmed += 1,
                Progress::RolledBack => counts.rolled_back += 1,
                Progress::Lost => counts.lost += 1,
                Progress::Trial => counts.trial += 1,
                Progress::Deferred => counts.deferred += 1,
                Progress::Cancelled => counts.cancelled += 1,
                _ => {}
            }
            let has_it = [Progress::Ready, Progress::Confirmed, Progress::RolledBack];
            counts.have_it += usize::from(has_it.contains(&progress) || progress.is_on_trial());
        }
        counts
    }
}

/// What a reason means, and what the device says about it.
pub fn in_words(meaning: &str, remark: &str) -> String {
    match (meaning, remark) {
        (one, "") | ("", one) => one.to_owned(),
        (meaning, remark) => format!("{meaning}: {remark}"),
    }
}

/// Why an agent is in its state, in plain words; empty if there is nothing to say.
pub fn reason_of(progress: Progress, reason: u8) -> &'static str {
    use update_core::census::State;
    let state = match progress {
        Progress::RolledBack => State::RolledBack,
        Progress::Refused => State::Refused,
        Progress::Failed | Progress::Cancelled => State::Failed,
        Progress::Receiving => State::Blocks,
        Progress::Trial => State::Trial,
        Progress::Deferred => State::Deferred,
        Progress::Lost => return Lag::of_code(reason).map_or("not heard from by its deadline", Lag::text),
        _ => return "",
    };
    update_core::reception::reason_text(state, reason)
}

fn said(progress: Progress) -> &'static str {
    match progress {
        Progress::Confirmed => "runs the new image, confirmed",
        Progress::RolledBack => "is back on its previous image",
        Progress::Failed => "gave the update up",
        Progress::Refused => "did not take the update",
        Progress::Cancelled => "dropped the update",
        Progress::Lost => "is lost",
        Progress::Removed => "is no longer enrolled",
        Progress::Deferred => "cannot activate now",
        Progress::Waiting | Progress::Receiving | Progress::Ready | Progress::Trial => "goes on",
    }
}

/// The kind of a failure, for [`super::plan::Retry::on`].
fn kind_of_failure(progress: Progress, reason: u8) -> Option<RetryOn> {
    use update_core::platform::RollBackCause;
    use update_core::reception::{Failure, Reason};
    match progress {
        Progress::Lost if reason == Lag::Quarantined as u8 || reason == Lag::Rewound as u8 => None,
        Progress::Lost => Some(RetryOn::Lost),
        Progress::RolledBack if reason == RollBackCause::Unhealthy as u8 => Some(RetryOn::Unhealthy),
        Progress::RolledBack if reason == RollBackCause::Reset as u8 => Some(RetryOn::Reset),
        Progress::RolledBack if reason == RollBackCause::ActivationFailed as u8 => Some(RetryOn::Storage),
        Progress::Failed if reason == Failure::Storage as u8 => Some(RetryOn::Storage),
        Progress::Refused if reason == Reason::BUSY => Some(RetryOn::Busy),
        _ => None,
    }
}

/// Seconds until the next try; they double from try to try.
fn backoff(first_s: u32, tries_before: u8) -> u32 {
    first_s.saturating_mul(1_u32.checked_shl(tries_before.into()).unwrap_or(u32::MAX))
}
