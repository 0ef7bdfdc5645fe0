//! Trying a new image: switch to it, ask the health command, and keep it or roll back, without help from
//! outside.
//!
//! Nothing is lost when the future is dropped for a datagram and created again: [`Runner`] keeps what runs
//! and what to wait for; the boot record keeps the decisions.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use update_core::platform::{RollBackCause, Trial};

use crate::boot_record::{Cause, Phase, Slot};
use crate::command::{Action, Call, End, Launcher, Running, end_of};
use crate::slots::{RESTARTS_MAX, Slots, Switch};

/// How images are tried on this device.
#[derive(Debug, Clone)]
pub struct TrialSettings {
    /// The command that makes an image run; `None` for the built-in switch.
    pub activate_command: Option<Vec<String>>,
    /// How long it may take.
    pub activate_deadline: Duration,
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
}

impl Runner {
    /// A runner with nothing running yet.
    #[must_use]
    pub const fn new(settings: TrialSettings, launcher: Launcher) -> Self {
        Self { settings, launcher, running: None, pause: None, health_until: None }
    }

    /// To be called once at each start of the agent, before [`verdict`](Self::verdict): a start in the middle
    /// of a trial is a reset, and too many resets end the trial.
    ///
    /// # Errors
    /// The boot record could not be written.
    pub fn resume(&self, slots: &mut Slots) -> std::io::Result<()> {
        if let Some(Phase::Switching | Phase::Running) = slots.phase() {
            let restarts = slots.count_restart()?;
            tracing::info!(restarts, "started while an image is on trial");
            if restarts > RESTARTS_MAX {
                begin_roll_back(slots, RollBackCause::Reset)?;
            }
        }
        Ok(())
    }

    /// The distributor orders the image on trial to be rolled back: its command is killed, and
    /// [`verdict`](Self::verdict) switches back. An image that has proved healthy stays.
    ///
    /// # Errors
    /// The boot record could not be written.
    pub fn order_back(&mut self, slots: &mut Slots) -> std::io::Result<()> {
        if let Some(Phase::Switching | Phase::Running) = slots.phase() {
            begin_roll_back(slots, RollBackCause::Ordered)?;
            self.running = None;
            self.pause = None;
        }
        Ok(())
    }

    /// The image on trial can no longer be judged: [`verdict`](Self::verdict) switches back, even from one
    /// that has proved healthy.
    ///
    /// # Errors
    /// The boot record could not be written.
    pub fn give_up(&self, slots: &mut Slots) -> std::io::Result<()> {
        match slots.phase() {
            None | Some(Phase::RollingBack(_)) => Ok(()),
            Some(Phase::Switching | Phase::Running | Phase::Healthy) => {
                begin_roll_back(slots, RollBackCause::Reset)
            }
        }
    }

    /// Continues the trial and returns its verdict; waits forever if there is no trial or it has been judged.
    /// Can be dropped and called again without losing anything.
    pub async fn verdict(&mut self, slots: &mut Slots) -> Trial {
        loop {
            if let Some(until) = self.pause {
                sleep_until(until).await;
                self.pause = None;
            }
            let step = match slots.phase() {
                None | Some(Phase::Healthy) => pending().await,
                Some(Phase::Switching) => self.activate(slots).await,
                Some(Phase::Running) => self.judge(slots).await,
                Some(Phase::RollingBack(Cause(cause))) => self.roll_back(slots, cause).await,
            };
            match step {
                Ok(Some(verdict)) => return verdict,
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "the trial cannot continue: trying again");
                    self.rest();
                }
            }
        }
    }

    async fn activate(&mut self, slots: &mut Slots) -> std::io::Result<Option<Trial>> {
        self.health_until = None;
        let slot = slots.image_slot();
        match self.switch_to(slots, slot, Action::Activate).await {
            Ok(()) => {
                tracing::info!(%slot, "the new image runs on trial");
                slots.enter(Phase::Running)?;
            }
            Err(reason) => {
                tracing::warn!(%slot, reason, "the activation failed");
                begin_roll_back(slots, RollBackCause::ActivationFailed)?;
            }
        }
        Ok(None)
    }

    async fn judge(&mut self, slots: &mut Slots) -> std::io::Result<Option<Trial>> {
        let until = *self.health_until.get_or_insert(Instant::now() + self.settings.health_deadline);
        let healthy = match &self.settings.health_command {
            None => true,
            Some(_) => {
                let slot = slots.image_slot();
                let end = self.run(slots, slot, Action::Health, until).await;
                if !matches!(end, End::Success) {
                    tracing::info!(%slot, "the health command {end}");
                }
                matches!(end, End::Success)
            }
        };
        if healthy {
            slots.enter(Phase::Healthy)?;
            tracing::info!(slot = %slots.image_slot(), "the new image is healthy");
            return Ok(Some(Trial::Healthy));
        }
        if Instant::now() + self.settings.health_interval >= until {
            begin_roll_back(slots, RollBackCause::Unhealthy)?;
        } else {
            self.rest();
        }
        Ok(None)
    }

    async fn roll_back(&mut self, slots: &mut Slots, cause: RollBackCause) -> std::io::Result<Option<Trial>> {
        let slot = slots.record().confirmed;
        match self.switch_to(slots, slot, Action::Rollback).await {
            Ok(()) => {
                slots.end_roll_back(cause)?;
                tracing::warn!(%slot, ?cause, "rolled back: the old image runs again");
                Ok(Some(Trial::RolledBack(cause)))
            }
            Err(reason) => {
                tracing::error!(%slot, reason, "switching back failed: trying again");
                self.rest();
                Ok(None)
            }
        }
    }

    /// Makes the image in a slot run; an error says why it does not.
    async fn switch_to(&mut self, slots: &Slots, slot: Slot, action: Action) -> Result<(), String> {
        if self.settings.activate_command.is_none() {
            return slots.point_to(slot).map_err(|error| error.to_string());
        }
        let deadline = Instant::now() + self.settings.activate_deadline;
        match self.run(slots, slot, action, deadline).await {
            End::Success => Ok(()),
            end => Err(format!("the activate command {end}")),
        }
    }

    /// Starts the command of an action, unless it is already running, and waits for its end.
    async fn run(&mut self, slots: &Slots, slot: Slot, action: Action, deadline: Instant) -> End {
        if self.running.is_none() {
            match self.start(slots, slot, action, deadline) {
                Ok(running) => self.running = Some(running),
                Err(error) => return End::NotRun(error),
            }
        }
        let end = end_of(&mut self.running).await;
        self.running = None;
        end
    }

    fn start(
        &self,
        slots: &Slots,
        slot: Slot,
        action: Action,
        deadline: Instant,
    ) -> std::io::Result<Running> {
        slots.pass_command()?;
        let command = match action {
            Action::Health => &self.settings.health_command,
            Action::Activate | Action::Rollback => &self.settings.activate_command,
        };
        let digest = slots.record().trial.map_or([0; 32], |trial| *trial.digest);
        let command = command.as_deref().unwrap_or_default();
        let image = slots.image_path(slot);
        self.launcher.start(&Call { command, action, slot, image: &image, digest: &digest, deadline })
    }

    fn rest(&mut self) {
        self.pause = Some(Instant::now() + self.settings.health_interval);
    }
}

fn begin_roll_back(slots: &mut Slots, cause: RollBackCause) -> std::io::Result<()> {
    tracing::warn!(?cause, "rolling back to the old image");
    slots.enter(Phase::RollingBack(Cause(cause)))
}
