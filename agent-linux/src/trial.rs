//! Trying a new image: switch to it, ask the health command, and keep it or roll back, without help from
//! outside.
//!
//! Nothing is lost when the future is dropped for a datagram and created again: [`Runner`] keeps what runs
//! and what to wait for; the boot record keeps the decisions.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use update_core::platform::{RollBackCause, Trial};

use update_core::remark::Remark;

use crate::boot_record::{Cause, Phase, Slot};
use crate::command::{Action, Call, End, Ended, Launcher, Running, end_of};
use crate::program;
use crate::slots::{RESTARTS_MAX, Slots, Switch};

/// How often the old image is brought back by itself before an order is waited for.
pub const TRIES_BACK_MAX: u8 = 8;
/// After so many tries in vain the distributor is told.
pub const TRIES_BACK_TOLD: u8 = 2;
/// The longest pause between two tries.
const BACK_AGAIN_MAX: Duration = Duration::from_secs(600);
/// How long one run of the ready command may take.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How much of the time for which the device has said no may be forgotten by a restart: each storing wears
/// the medium.
const ASKED_STORED_S: u32 = 600;

/// How images are tried on this device.
#[derive(Debug, Clone)]
pub struct TrialSettings {
    /// The command that makes an image run; `None` for the built-in switch.
    pub activate_command: Option<Vec<String>>,
    /// How long it may take.
    pub activate_deadline: Duration,
    /// The command that reports whether the device may activate now; `None` if it always may.
    pub ready_command: Option<Vec<String>>,
    /// For how long it may say no before the activation is given up.
    pub ready_deadline: Duration,
    /// The pause after it has said no.
    pub ready_interval: Duration,
    /// The command that reports whether the new image is healthy; `None` if it always is.
    pub health_command: Option<Vec<String>>,
    /// How long after the switch the image must have proved healthy.
    pub health_deadline: Duration,
    /// The pause after a failed health check, and before a failed switch back is retried.
    pub health_interval: Duration,
}

impl TrialSettings {
    /// The kind of switch in these settings.
    #[must_use]
    pub const fn switch(&self) -> Switch {
        match self.activate_command {
            Some(_) => Switch::Command,
            None => Switch::BuiltIn,
        }
    }

    /// The phase in which a trial begins.
    #[must_use]
    pub const fn first_phase(&self) -> Phase {
        match self.ready_command {
            Some(_) => Phase::Asking,
            None => Phase::Switching,
        }
    }

    const fn command(&self, action: Action) -> Option<&Vec<String>> {
        match action {
            Action::Ready => self.ready_command.as_ref(),
            Action::Health => self.health_command.as_ref(),
            Action::Activate | Action::Rollback => self.activate_command.as_ref(),
        }
    }

    /// What is wrong with the commands, so that an update could not succeed: each as one sentence.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        let commands = [
            ("activate_command", &self.activate_command),
            ("ready_command", &self.ready_command),
            ("health_command", &self.health_command),
        ];
        commands.into_iter().filter_map(|(key, command)| {
            let problem = program::problem(command.as_ref()?)?;
            Some(format!("{key}: {problem}"))
        })
    }
}

/// Continues a trial from the phase in the boot record.
#[derive(Debug)]
pub struct Runner {
    settings: TrialSettings,
    launcher: Launcher,
    running: Option<Running>,
    /// Nothing begins before this moment.
    pause: Option<Instant>,
    /// When to give up the new image; set when its first health check begins.
    health_until: Option<Instant>,
    /// Since when the device has said that it cannot activate now, in this run of the agent.
    refused_since: Option<Instant>,
    /// What the machine was told last.
    told: Option<Trial>,
    /// The command under way is the first that touches anything in this trial.
    is_first: bool,
}

impl Runner {
    /// A runner with nothing running yet.
    #[must_use]
    pub const fn new(settings: TrialSettings, launcher: Launcher) -> Self {
        Self {
            settings,
            launcher,
            running: None,
            pause: None,
            health_until: None,
            refused_since: None,
            told: None,
            is_first: false,
        }
    }

    /// The phase in which a trial begins.
    #[must_use]
    pub const fn first_phase(&self) -> Phase {
        self.settings.first_phase()
    }

    /// To be called once at each start of the agent, before [`news`](Self::news): a start in the middle
    /// of a trial is a reset, and too many resets end the trial.
    ///
    /// # Errors
    /// The boot record could not be written.
    pub fn resume(&mut self, slots: &mut Slots) -> std::io::Result<()> {
        match slots.phase() {
            Some(phase @ (Phase::Switching | Phase::Running)) => {
                let restarts = slots.count_restart()?;
                tracing::info!(restarts, "started while an image is on trial");
                if restarts > RESTARTS_MAX {
                    let remark = if phase == Phase::Switching {
                        format!(
                            "the agent was started {restarts} times while the activate command ran: one that \
                             reboots must end with 0 when its slot runs already"
                        )
                    } else {
                        format!("the agent was started {restarts} times during the trial")
                    };
                    begin_roll_back(slots, RollBackCause::Reset, &remark)?;
                }
            }
            // The last try may have rebooted the machine: no faster than without that.
            Some(Phase::RollingBack(_)) if slots.tries_back() > 0 => {
                self.pause = Some(Instant::now() + self.back_again(slots.tries_back()));
            }
            _ => {}
        }
        self.told = Some(trial_in(slots));
        Ok(())
    }

    /// The distributor orders the image on trial to be rolled back: its command is killed, and
    /// [`news`](Self::news) switches back. An image that has proved healthy stays.
    ///
    /// # Errors
    /// The boot record could not be written.
    pub fn order_back(&mut self, slots: &mut Slots) -> std::io::Result<()> {
        match slots.phase() {
            Some(Phase::Asking | Phase::Switching | Phase::Running) => {
                begin_roll_back(slots, RollBackCause::Ordered, "")?;
                self.running = None;
                self.pause = None;
            }
            // Somebody has looked at it: all tries anew.
            Some(Phase::RollingBack(_)) => {
                slots.forget_tries_back()?;
                self.pause = None;
            }
            Some(Phase::Healthy) | None => {}
        }
        Ok(())
    }

    /// The image on trial can no longer be judged: [`news`](Self::news) switches back, even from one
    /// that has proved healthy.
    ///
    /// # Errors
    /// The boot record could not be written.
    pub fn give_up(&self, slots: &mut Slots) -> std::io::Result<()> {
        match slots.phase() {
            None | Some(Phase::RollingBack(_)) => Ok(()),
            Some(_) => begin_roll_back(slots, RollBackCause::Reset, "its update is no longer on record"),
        }
    }

    /// Continues the trial and returns its next news; waits forever if there is no trial or it has been
    /// judged. Can be dropped and called again without losing anything.
    pub async fn news(&mut self, slots: &mut Slots) -> Trial {
        loop {
            let now = trial_in(slots);
            let before = self.told.replace(now);
            match (before, now) {
                (Some(Trial::Stuck), Trial::Running) => return now,
                // What was put off and then given up has never been on trial.
                (Some(Trial::Deferred), Trial::Running) if slots.phase() == Some(Phase::Switching) => {
                    return now;
                }
                (_, Trial::Deferred | Trial::Stuck) if before != Some(now) => return now,
                _ => {}
            }
            if let Some(until) = self.pause {
                sleep_until(until).await;
                self.pause = None;
            }
            let step = match slots.phase() {
                None | Some(Phase::Healthy) => pending().await,
                Some(Phase::Asking) => self.ask(slots).await,
                Some(Phase::Switching) => self.activate(slots).await,
                Some(Phase::Running) => self.judge(slots).await,
                Some(Phase::RollingBack(Cause(cause))) => self.roll_back(slots, cause).await,
            };
            match step {
                Ok(Some(verdict)) => return verdict,
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "the trial cannot continue: trying again");
                    self.rest(self.settings.health_interval);
                }
            }
        }
    }

    /// May the device activate now?
    async fn ask(&mut self, slots: &mut Slots) -> std::io::Result<Option<Trial>> {
        let slot = slots.image_slot();
        let Ended { end, .. } = self.run(slots, slot, Action::Ready, Instant::now() + READY_WITHIN).await;
        if matches!(end, End::Success) {
            self.refused_since = None;
            slots.set_remark(Remark::NONE)?;
            slots.enter(Phase::Switching)?;
            return Ok(None);
        }
        let stored_s = slots.record().trial.map_or(0, |trial| trial.asked_s);
        let since = *self.refused_since.get_or_insert_with(Instant::now);
        let asked = since.elapsed() + self.settings.ready_interval;
        let asked_s = stored_s.saturating_add(u32::try_from(asked.as_secs()).unwrap_or(u32::MAX));
        let remark = format!("the ready command {end}");
        if Duration::from_secs(asked_s.into()) > self.settings.ready_deadline {
            let limit = self.settings.ready_deadline.as_secs();
            let remark = format!("{remark}, for {limit} s");
            begin_roll_back(slots, RollBackCause::NotReady, &remark)?;
            self.refused_since = None;
            return Ok(None);
        }
        if slots.remark().as_str() != remark {
            tracing::info!(%slot, "not now: {remark}");
            slots.set_remark(Remark::new(&remark))?;
        }
        if asked_s - stored_s > ASKED_STORED_S {
            slots.set_asked_s(asked_s)?;
            self.refused_since = None;
        }
        self.rest(self.settings.ready_interval);
        Ok(None)
    }

    async fn activate(&mut self, slots: &mut Slots) -> std::io::Result<Option<Trial>> {
        self.health_until = None;
        let slot = slots.image_slot();
        let result = self.switch_to(slots, slot, Action::Activate).await;
        match result.and_then(|left| self.something_runs(&left)) {
            Ok(()) => {
                tracing::info!(%slot, "the new image runs on trial");
                slots.enter(Phase::Running)?;
            }
            Err(reason) => {
                tracing::warn!(%slot, reason, "the activation failed");
                begin_roll_back(slots, RollBackCause::ActivationFailed, &reason)?;
            }
        }
        Ok(None)
    }

    /// Without a health command an activation counts as healthy, unless what it started is gone again.
    fn something_runs(&self, left: &[String]) -> Result<(), String> {
        if left.is_empty() {
            return Ok(());
        }
        let killed = left.join(", ");
        tracing::warn!(
            killed,
            "the activate command left processes behind, which were killed with its group"
        );
        match self.settings.health_command {
            Some(_) => Ok(()),
            None => Err(format!(
                "what the activate command started was killed when it ended, so nothing of the image runs: \
                 {killed}"
            )),
        }
    }

    async fn judge(&mut self, slots: &mut Slots) -> std::io::Result<Option<Trial>> {
        let until = *self.health_until.get_or_insert(Instant::now() + self.settings.health_deadline);
        let mut why = String::new();
        if self.settings.health_command.is_some() {
            let slot = slots.image_slot();
            let Ended { end, left } = self.run(slots, slot, Action::Health, until).await;
            if !left.is_empty() {
                tracing::warn!(killed = left.join(", "), "the health command left processes behind");
            }
            if !matches!(end, End::Success) {
                why = format!("the health command {end}");
                tracing::info!(%slot, "{why}");
            }
        }
        if why.is_empty() {
            slots.enter(Phase::Healthy)?;
            tracing::info!(slot = %slots.image_slot(), "the new image is healthy");
            return Ok(Some(Trial::Healthy));
        }
        if Instant::now() + self.settings.health_interval >= until {
            begin_roll_back(slots, RollBackCause::Unhealthy, &why)?;
        } else {
            self.rest(self.settings.health_interval);
        }
        Ok(None)
    }

    async fn roll_back(&mut self, slots: &mut Slots, cause: RollBackCause) -> std::io::Result<Option<Trial>> {
        let slot = slots.record().confirmed;
        let switched = if slots.is_touched() {
            if self.running.is_none() {
                if slots.tries_back() >= TRIES_BACK_MAX {
                    return pending().await;
                }
                slots.count_try_back()?;
            }
            self.switch_to(slots, slot, Action::Rollback).await.map(drop)
        } else {
            Ok(())
        };
        match switched {
            Ok(()) => {
                slots.end_roll_back(cause)?;
                let remark = slots.remark();
                let remark = remark.as_str();
                tracing::warn!(%slot, ?cause, remark, "rolled back: the old image runs");
                Ok(Some(Trial::RolledBack(cause)))
            }
            Err(reason) => {
                self.roll_back_failed(slots, slot, &reason)?;
                Ok(None)
            }
        }
    }

    /// The pause doubles from try to try, and after the last one an order is waited for.
    fn roll_back_failed(&mut self, slots: &mut Slots, slot: Slot, reason: &str) -> std::io::Result<()> {
        let tries = slots.tries_back();
        if tries >= TRIES_BACK_TOLD {
            slots.set_remark(Remark::new(reason))?;
        }
        if tries >= TRIES_BACK_MAX {
            tracing::error!(
                %slot, reason, tries,
                "switching back failed: waiting for an order (`fwcast rollout undo`)"
            );
            return Ok(());
        }
        let again = self.back_again(tries);
        let again_s = again.as_secs();
        tracing::error!(%slot, reason, tries, again_s, "switching back failed: trying again");
        self.rest(again);
        Ok(())
    }

    fn back_again(&self, tries: u8) -> Duration {
        let factor = 1_u32.checked_shl(u32::from(tries.saturating_sub(1))).unwrap_or(u32::MAX);
        self.settings.health_interval.saturating_mul(factor).min(BACK_AGAIN_MAX)
    }

    /// Makes the image in a slot run, and names what its command left behind; an error says why it does not.
    async fn switch_to(
        &mut self,
        slots: &mut Slots,
        slot: Slot,
        action: Action,
    ) -> Result<Vec<String>, String> {
        if self.settings.activate_command.is_none() {
            if !slots.image_path(slot).is_file() {
                return Err(format!("{} is not there", slot.file_name()));
            }
            let touched = slots.touch().and_then(|()| slots.point_to(slot));
            return touched
                .map(|()| Vec::new())
                .map_err(|error| format!("'current' cannot be changed: {error}"));
        }
        let deadline = Instant::now() + self.settings.activate_deadline;
        match self.run(slots, slot, action, deadline).await {
            Ended { end: End::Success, left } => Ok(left),
            Ended { end, .. } => {
                if matches!(end, End::NotStarted(_)) && self.is_first {
                    slots.untouch().map_err(|error| error.to_string())?;
                }
                Err(format!("the activate command {end}"))
            }
        }
    }

    /// Starts the command of an action, unless it is already running, and waits for its end.
    async fn run(&mut self, slots: &mut Slots, slot: Slot, action: Action, deadline: Instant) -> Ended {
        if self.running.is_none() {
            match self.start(slots, slot, action, deadline) {
                Ok(running) => self.running = Some(running),
                Err(why) => return Ended::not_started(why),
            }
        }
        let ended = end_of(&mut self.running).await;
        self.running = None;
        ended
    }

    fn start(
        &mut self,
        slots: &mut Slots,
        slot: Slot,
        action: Action,
        deadline: Instant,
    ) -> Result<Running, String> {
        self.is_first = action == Action::Activate && !slots.is_touched();
        let command = self.settings.command(action).map(Vec::as_slice).unwrap_or_default();
        if let Some(problem) = program::problem(command) {
            return Err(problem);
        }
        let told = |error: std::io::Error| error.to_string();
        if action == Action::Activate {
            slots.touch().map_err(told)?;
        }
        slots.pass_command().map_err(told)?;
        let digest = slots.record().trial.map_or([0; 32], |trial| *trial.digest);
        let image = slots.image_path(slot);
        let call = Call { command, action, slot, image: &image, digest: &digest, deadline };
        self.launcher.start(&call).map_err(told)
    }

    fn rest(&mut self, pause: Duration) {
        self.pause = Some(Instant::now() + pause);
    }
}

/// How the trial in the boot record stands. A rollback is told until it is settled or another update begins.
pub fn trial_in(slots: &Slots) -> Trial {
    let record = slots.record();
    match (slots.phase(), record.rolled_back) {
        (Some(Phase::Healthy), _) => Trial::Healthy,
        (Some(Phase::Asking), _) if !slots.remark().is_empty() => Trial::Deferred,
        (Some(Phase::RollingBack(_)), _) if slots.tries_back() > TRIES_BACK_TOLD => Trial::Stuck,
        (Some(_), _) => Trial::Running,
        (None, Some(rolled_back)) => {
            let Cause(cause) = rolled_back.cause;
            Trial::RolledBack(cause)
        }
        (None, None) => Trial::None,
    }
}

fn begin_roll_back(slots: &mut Slots, cause: RollBackCause, why: &str) -> std::io::Result<()> {
    tracing::warn!(?cause, why, "rolling back to the old image");
    slots.set_remark(Remark::new(why))?;
    slots.enter(Phase::RollingBack(Cause(cause)))
}
