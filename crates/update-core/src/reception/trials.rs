//! Activation on trial, and how it ends (DESIGN \[attempt\], [whole]).

use super::{Event, Failure, Phase, Reception};
use crate::device::Installed;
use crate::platform::{RollBackCause, Trial};
use crate::record::Outcome;

impl Reception<'_> {
    /// The whole image has just been found right in storage: save the attempt, then switch.
    pub(super) fn activate(&mut self, attempt: u32) {
        let Some(update) = &mut self.update else { return };
        (update.attempt, update.outcome) = (attempt, Outcome::Open);
        let id = update.offer.id;
        self.saves.update = true;
        self.phase = Phase::Activating;
        self.event(Event::Activating { id, attempt });
    }

    /// The platform has switched, or could not.
    pub(super) fn switched(&mut self, failed: bool) {
        if failed {
            self.ended(Outcome::RolledBack(RollBackCause::ActivationFailed as u8));
        } else {
            self.phase = Phase::Trial;
        }
    }

    /// The distributor takes an image on trial back: save the attempt, then tell the platform. It stays on
    /// trial until the platform says that the old image runs again.
    pub(super) fn order_back(&mut self, attempt: u32) {
        let Some(update) = &mut self.update else { return };
        update.attempt = attempt;
        self.saves.update = true;
        self.saves.roll_back = true;
    }

    /// Whether an order to take the image on trial back waits to be carried out. Who judges that image
    /// judges no more.
    #[must_use]
    pub const fn is_ordered_back(&self) -> bool {
        self.saves.roll_back
    }

    /// News of the trial from the platform.
    pub(super) fn on_trial(&mut self, trial: Trial) {
        match (trial, &self.phase) {
            (Trial::Healthy, Phase::Trial | Phase::Recovering(_)) => {
                let Some(update) = &self.update else { return };
                let offer = &update.offer;
                self.config.device.installed =
                    Some(Installed { sequence_number: offer.sequence_number, digest: offer.digest });
                self.saves.installed = true;
                self.ended(if self.recovered { Outcome::Recovered } else { Outcome::Confirmed });
            }
            // Whatever became of it before: it runs now.
            (Trial::Recovered, _) if self.update.is_some() => {
                self.phase = Phase::Trial;
                self.recovered = true;
            }
            (Trial::RolledBack(cause), Phase::Trial | Phase::Recovering(_)) => {
                self.ended(Outcome::RolledBack(cause as u8));
            }
            // The outcome was saved, but not yet acknowledged, when the power went.
            (Trial::Healthy | Trial::RolledBack(_), Phase::Ended) => self.saves.settle = true,
            _ => {}
        }
    }

    fn ended(&mut self, outcome: Outcome) {
        let Some(update) = &mut self.update else { return };
        update.outcome = outcome;
        let id = update.offer.id;
        self.phase = Phase::Ended;
        self.saves.update = true;
        self.saves.roll_back = false;
        self.saves.settle = !matches!(outcome, Outcome::Open | Outcome::Failed(_));
        match outcome {
            Outcome::Confirmed | Outcome::Recovered => self.event(Event::Confirmed(id)),
            Outcome::RolledBack(cause) => {
                let cause = RollBackCause::from_code(cause).unwrap_or(RollBackCause::Unhealthy);
                self.event(Event::RolledBack { id, cause });
            }
            Outcome::Open | Outcome::Failed(_) => {}
        }
    }

    /// The update can't be finished here.
    pub(super) fn give_up(&mut self, failure: Failure) {
        let Some(update) = &mut self.update else { return };
        update.outcome = Outcome::Failed(failure as u8);
        let id = update.offer.id;
        self.phase = Phase::Ended;
        self.held = None;
        self.saves.update = true;
        self.saves.prepare = false;
        self.event(Event::Failed { id, failure });
    }
}
