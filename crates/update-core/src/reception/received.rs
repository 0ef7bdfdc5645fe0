//! The agent's current update, from its offer to its end.

use super::Failure;
use super::recovery::{Check, Then, Walk};
use crate::census::State;
use crate::digest::UpdateId;
use crate::limits::ENVELOPE_BYTES_MAX;
use crate::platform::Trial;
use crate::record::{Allowance, Outcome, UpdateRecord};
use crate::remark::Remark;
use crate::suit::Offer;
use crate::time::{Duration, Instant};
use crate::tree::TreeShape;

/// The state of an update apart from its blocks.
#[derive(Debug)]
pub(super) struct Received {
    update: Option<Update>,
    envelope: [u8; ENVELOPE_BYTES_MAX],
    envelope_len: usize,
    phase: Phase,
    /// The state of a trial in progress.
    trial: OnTrial,
    /// The device's own words about its state.
    remark: Remark,
    /// The last run that asked about this update; 0 before the first one.
    run: u32,
    /// All blocks were right but the whole image was not: it is read back once more before that is believed.
    digest_doubted: bool,
    /// When the medium failed for good, since the program started.
    failed_at: Option<Instant>,
    /// When anything about this update was last heard by multicast.
    heard_at: Instant,
}

/// A verified update.
#[derive(Debug, Clone)]
pub(super) struct Update {
    offer: Offer,
    shape: TreeShape,
    attempt: u32,
    outcome: Outcome,
}

/// The state of a trial that the platform has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnTrial {
    /// The image runs and is being judged.
    Running,
    /// The device cannot activate now.
    Deferred,
    /// The old image cannot be brought back.
    Stuck,
    /// The update runs because the previous image was damaged.
    Recovered,
}

/// The phase of the update.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    Idle,
    /// Reads back what storage holds.
    Recovering(Walk),
    /// Takes pages and blocks.
    Receiving,
    /// Hashes the whole image from storage.
    Checking(Check),
    Ready,
    /// Activates at the given moment.
    Scheduled {
        due: Instant,
        attempt: u32,
    },
    /// The attempt is being saved; then the platform switches.
    Activating,
    Trial,
    /// See the update's outcome.
    Ended,
}

impl Update {
    pub(super) const fn offer(&self) -> &Offer {
        &self.offer
    }

    pub(super) const fn id(&self) -> UpdateId {
        self.offer.id
    }

    pub(super) const fn shape(&self) -> &TreeShape {
        &self.shape
    }

    /// The last attempt acted upon.
    pub(super) const fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(super) const fn outcome(&self) -> Outcome {
        self.outcome
    }
}

impl Received {
    pub(super) const fn nothing(now: Instant) -> Self {
        Self {
            update: None,
            envelope: [0; ENVELOPE_BYTES_MAX],
            envelope_len: 0,
            phase: Phase::Idle,
            trial: OnTrial::Running,
            remark: Remark::NONE,
            run: 0,
            digest_doubted: false,
            failed_at: None,
            heard_at: now,
        }
    }

    pub(super) const fn update(&self) -> Option<&Update> {
        self.update.as_ref()
    }

    pub(super) fn id(&self) -> Option<UpdateId> {
        self.update.as_ref().map(Update::id)
    }

    pub(super) const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether the update runs because the previous image was damaged.
    pub(super) const fn is_recovered(&self) -> bool {
        matches!(self.trial, OnTrial::Recovered)
    }

    /// Whether the device has deferred the activation.
    pub(super) const fn is_deferred(&self) -> bool {
        matches!((&self.phase, self.trial), (Phase::Trial, OnTrial::Deferred))
    }

    /// The device's own words about its state.
    pub(super) fn remark(&self) -> Remark {
        let outcome = self.update.as_ref().map(Update::outcome);
        match (&self.phase, outcome) {
            (Phase::Trial, _) => self.remark,
            (Phase::Ended, Some(Outcome::RolledBack(_) | Outcome::Failed(_))) => self.remark,
            _ => Remark::NONE,
        }
    }

    /// Whether blocks and pages are taken.
    pub(super) const fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Receiving)
    }

    /// Whether storage is being read back or hashed.
    pub(super) const fn is_examining(&self) -> bool {
        matches!(self.phase, Phase::Recovering(_) | Phase::Checking(_))
    }

    /// The state to report.
    pub(super) const fn state(&self, has_pages: bool) -> State {
        let Some(update) = &self.update else { return State::Idle };
        match &self.phase {
            Phase::Idle => State::Idle,
            Phase::Recovering(_) => State::Recovering,
            Phase::Receiving if !has_pages => State::Pages,
            Phase::Receiving => State::Blocks,
            Phase::Checking(_) => State::Checking,
            Phase::Ready => State::Ready,
            Phase::Scheduled { .. } | Phase::Activating => State::Scheduled,
            Phase::Trial => match self.trial {
                OnTrial::Running | OnTrial::Recovered => State::Trial,
                OnTrial::Deferred => State::Deferred,
                OnTrial::Stuck => State::Failed,
            },
            Phase::Ended => match update.outcome {
                Outcome::Confirmed | Outcome::Recovered => State::Confirmed,
                Outcome::RolledBack(_) => State::RolledBack,
                Outcome::Failed(_) => State::Failed,
                Outcome::Open => State::Idle,
            },
        }
    }

    /// Writes the record to store.
    pub(super) fn encode(&self, left: Allowance, out: &mut [u8]) -> Option<usize> {
        let update = self.update.as_ref()?;
        let envelope = self.envelope.get(..self.envelope_len).unwrap_or_default();
        UpdateRecord { envelope, attempt: update.attempt, outcome: update.outcome, left }.encode(out)
    }

    /// When the agent starts to fetch on its own if it hears nothing until then.
    pub(super) fn quiet_at(&self, quiet: Duration) -> Instant {
        self.heard_at + quiet
    }

    pub(super) fn is_quiet(&self, now: Instant, quiet: Duration) -> bool {
        now.since(self.heard_at) >= quiet
    }

    /// The distributor was heard, so it is there, whatever it is doing.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = self.heard_at.max(now);
    }

    /// The distributor has asked something and waits for answers until then, so its silence means nothing.
    pub(super) fn heard_until(&mut self, end: Instant) {
        self.heard_at = self.heard_at.max(end);
    }

    /// Whether the update with this identifier is known, so that its offer brings nothing new. A cancelled
    /// update may be offered again. So may one that failed because of the medium, after a while.
    pub(super) fn knows(&self, now: Instant, id: UpdateId) -> bool {
        const CANCELLED: Outcome = Outcome::Failed(Failure::Cancelled as u8);
        const STORAGE: Outcome = Outcome::Failed(Failure::Storage as u8);
        self.update.as_ref().is_some_and(|update| {
            update.offer.id == id
                && match update.outcome {
                    CANCELLED => false,
                    STORAGE => self.failed_at.is_some_and(|at| now.since(at) < crate::limits::REPLACE_AFTER),
                    _ => true,
                }
        })
    }
}

/// The lifecycle. Only these methods write the phase.
impl Received {
    /// Makes a verified offer the agent's update. If it does not fit, there is no update.
    pub(super) fn adopt(&mut self, offer: Offer, shape: TreeShape, envelope: &[u8], fits: bool) -> bool {
        // [attempt]: what was acted upon for this digest stays so, even after a cancellation.
        let same = self.update.as_ref().filter(|update| update.offer.digest == offer.digest);
        let attempt = same.map_or(0, |update| update.attempt);
        let Some(target) = self.envelope.get_mut(..envelope.len()).filter(|_| fits) else {
            self.update = None;
            self.phase = Phase::Idle;
            return false;
        };
        target.copy_from_slice(envelope);
        self.envelope_len = envelope.len();
        self.update = Some(Update { offer, shape, attempt, outcome: Outcome::Open });
        self.run = 0;
        self.moves_on();
        true
    }

    /// What is known about the last try no longer counts.
    const fn moves_on(&mut self) {
        self.trial = OnTrial::Running;
        self.remark = Remark::NONE;
        self.digest_doubted = false;
    }

    /// A run asks about this update. `true` in each new run for an update that has failed because of the
    /// medium: it must start over.
    pub(super) fn asked_in(&mut self, run: u32) -> bool {
        const STORAGE: Outcome = Outcome::Failed(Failure::Storage as u8);
        let is_new = run > 0 && core::mem::replace(&mut self.run, run) != run;
        is_new && self.update.as_ref().is_some_and(|update| update.outcome == STORAGE)
    }

    /// Starts the ended update over, with nothing of it present.
    pub(super) fn begin_anew(&mut self) {
        self.moves_on();
        self.set_outcome(Outcome::Open);
        self.phase = Phase::Receiving;
    }

    /// Restores the saved state of the update that was just adopted.
    pub(super) fn restore(&mut self, attempt: u32, outcome: Outcome, trial: Trial) {
        let Some(update) = &mut self.update else { return };
        (update.attempt, update.outcome) = (attempt, outcome);
        self.phase = match outcome {
            Outcome::Open if matches!(trial, Trial::Running | Trial::Deferred | Trial::Stuck) => Phase::Trial,
            Outcome::Open => Phase::Recovering(Walk::new()),
            _ => Phase::Ended,
        };
        self.trial_stands(trial);
    }

    /// Takes news of a trial that continues.
    pub(super) const fn trial_stands(&mut self, trial: Trial) {
        match (&self.phase, trial) {
            (Phase::Trial, Trial::Running) => self.trial = OnTrial::Running,
            (Phase::Trial, Trial::Deferred) => self.trial = OnTrial::Deferred,
            (Phase::Trial, Trial::Stuck) => self.trial = OnTrial::Stuck,
            _ => {}
        }
    }

    pub(super) const fn set_remark(&mut self, remark: Remark) {
        self.remark = remark;
    }

    pub(super) fn receive(&mut self) {
        self.phase = Phase::Receiving;
    }

    pub(super) fn begin_walk(&mut self) {
        self.phase = Phase::Recovering(Walk::new());
    }

    /// The walk in progress.
    pub(super) const fn walk(&mut self) -> Option<(&mut Walk, &Update)> {
        match (&mut self.phase, &self.update) {
            (Phase::Recovering(walk), Some(update)) => Some((walk, update)),
            _ => None,
        }
    }

    /// The walk has ended, with the whole image or a part of it.
    pub(super) fn walk_ended(&mut self, whole: bool) {
        self.digest_doubted &= whole;
        self.phase = Phase::Receiving;
    }

    pub(super) fn begin_check(&mut self, then: Then) {
        self.phase = Phase::Checking(Check::new(then));
    }

    /// The check in progress.
    pub(super) const fn check(&mut self) -> Option<(&mut Check, &Update)> {
        match (&mut self.phase, &self.update) {
            (Phase::Checking(check), Some(update)) => Some((check, update)),
            _ => None,
        }
    }

    /// The whole image is not what was signed. `true` if that already happened before, with every block
    /// right.
    pub(super) const fn doubt_digest(&mut self) -> bool {
        core::mem::replace(&mut self.digest_doubted, true)
    }

    pub(super) fn ready(&mut self) {
        self.phase = Phase::Ready;
    }

    pub(super) fn schedule(&mut self, due: Instant, attempt: u32) {
        self.phase = Phase::Scheduled { due, attempt };
    }

    /// Acts upon an order with this attempt.
    pub(super) const fn act_upon(&mut self, attempt: u32) {
        if let Some(update) = &mut self.update {
            update.attempt = attempt;
        }
    }

    pub(super) fn activate(&mut self, attempt: u32) {
        self.act_upon(attempt);
        self.moves_on();
        self.set_outcome(Outcome::Open);
        self.phase = Phase::Activating;
    }

    pub(super) fn begin_trial(&mut self) {
        self.phase = Phase::Trial;
    }

    /// The update runs because the previous image was damaged.
    pub(super) fn begin_recovered_trial(&mut self) {
        self.phase = Phase::Trial;
        self.trial = OnTrial::Recovered;
    }

    pub(super) fn end(&mut self, outcome: Outcome) {
        self.set_outcome(outcome);
        self.phase = Phase::Ended;
    }

    /// The medium has failed for good.
    pub(super) const fn storage_failed(&mut self, now: Instant) {
        self.failed_at = Some(now);
    }

    const fn set_outcome(&mut self, outcome: Outcome) {
        if let Some(update) = &mut self.update {
            update.outcome = outcome;
        }
    }
}
