//! Activation on trial, and how it ends (protocol.md \[attempt\], [whole]).

use super::vault::Change;
use super::{Event, Failure, Phase, Reception};
use crate::device::Installed;
use crate::platform::{RollBackCause, Trial};
use crate::record::Outcome;

impl Reception<'_> {
    /// The whole image has just been found right in storage: saves the attempt, then switches.
    pub(super) fn activate(&mut self, attempt: u32) {
        let Some(id) = self.received.id() else { return };
        self.received.activate(attempt);
        self.vault.order(Change::Update);
        self.event(Event::Activating { id, attempt });
    }

    /// The platform has switched, or failed to.
    pub(super) fn switched(&mut self, failed: bool) {
        if failed {
            self.ended(Outcome::RolledBack(RollBackCause::ActivationFailed as u8));
        } else {
            self.received.begin_trial();
        }
    }

    /// The distributor orders an image on trial back: saves the attempt, then tells the platform. The update
    /// stays on trial until the platform reports that the old image runs again.
    pub(super) fn order_back(&mut self, attempt: u32) {
        self.received.act_upon(attempt);
        self.vault.order(Change::Update);
        self.vault.order(Change::RollBack);
    }

    /// Whether an order to take back the image on trial is still to be carried out. The health check must
    /// then no longer judge that image.
    #[must_use]
    pub const fn is_ordered_back(&self) -> bool {
        self.vault.is_ordered(Change::RollBack)
    }

    /// Takes news of the trial from the platform.
    pub(super) fn on_trial(&mut self, trial: Trial) {
        match (trial, self.received.phase()) {
            (Trial::Healthy, Phase::Trial | Phase::Recovering(_)) => {
                let Some(update) = self.received.update() else { return };
                let offer = update.offer();
                let installed = Installed { sequence_number: offer.sequence_number, digest: offer.digest };
                self.config.device.now_runs(installed);
                self.vault.order(Change::Installed);
                let recovered = self.received.is_recovered();
                self.ended(if recovered { Outcome::Recovered } else { Outcome::Confirmed });
            }
            // It runs now, whatever happened before.
            (Trial::Recovered, _) if self.received.update().is_some() => {
                self.received.begin_recovered_trial();
            }
            (Trial::RolledBack(cause), Phase::Trial | Phase::Recovering(_)) => {
                self.ended(Outcome::RolledBack(cause as u8));
            }
            (Trial::Running | Trial::Deferred | Trial::Stuck, _) => self.received.trial_stands(trial),
            // The power failed after the outcome was saved and before it was acknowledged.
            (Trial::Healthy | Trial::RolledBack(_), Phase::Ended) => self.vault.order(Change::Settle),
            _ => {}
        }
    }

    fn ended(&mut self, outcome: Outcome) {
        let Some(id) = self.received.id() else { return };
        self.received.end(outcome);
        self.vault.order(Change::Update);
        self.vault.withdraw(Change::RollBack);
        match outcome {
            Outcome::Open | Outcome::Failed(_) => self.vault.withdraw(Change::Settle),
            _ => self.vault.order(Change::Settle),
        }
        match outcome {
            Outcome::Confirmed | Outcome::Recovered => self.event(Event::Confirmed(id)),
            Outcome::RolledBack(cause) => {
                let cause = RollBackCause::from_code(cause).unwrap_or(RollBackCause::Unhealthy);
                self.event(Event::RolledBack { id, cause });
            }
            Outcome::Open | Outcome::Failed(_) => {}
        }
    }

    /// Gives the update up: it cannot be finished here.
    pub(super) fn give_up(&mut self, failure: Failure) {
        let Some(id) = self.received.id() else { return };
        self.received.end(Outcome::Failed(failure as u8));
        self.vault.drop_held();
        self.vault.order(Change::Update);
        self.vault.withdraw(Change::Prepare);
        self.event(Event::Failed { id, failure });
    }
}
