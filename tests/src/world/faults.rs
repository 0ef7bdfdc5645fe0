//! What fails in the world, and how often.

use super::Dice;
use update_core::time::Duration;

/// A part of the world that breaks a guarantee, to verify that the checker notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// An agent's record of its counters is never replaced.
    CountersForgotten,
    /// The distributor's reservations never reach its file.
    ReservationsForgotten,
    /// A sync makes nothing durable.
    SyncLies,
    /// One bit of a block changes between its check and its storage.
    BlockChanged,
    /// One bit changes between the last check of an image and its activation.
    ImageChanged,
    /// Nobody ever judges an image on trial.
    NoVerdict,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::CountersForgotten,
        Self::ReservationsForgotten,
        Self::SyncLies,
        Self::BlockChanged,
        Self::ImageChanged,
        Self::NoVerdict,
    ];
}

/// Probabilities and rates of faults until [`Faults::until`]; after that there are none.
#[derive(Debug, Clone)]
pub struct Faults {
    /// A datagram is lost, independently for each receiver and in both directions.
    pub loss: f64,
    /// A datagram arrives twice.
    pub duplication: f64,
    /// A datagram is delayed by up to [`Faults::delay_max`] more than the others, so that it may be
    /// overtaken.
    pub reordering: f64,
    /// Shortest and longest transit time.
    pub delay: (Duration, Duration),
    /// How long a reordered datagram may take.
    pub delay_max: Duration,
    /// A copy of a datagram with some bits flipped arrives instead of it.
    pub bit_flips: f64,
    /// An agent's power fails at one of its steps: what it wrote without a sync is kept, lost or torn.
    pub power_cuts: f64,
    /// An agent's process is killed at one of its steps: what it wrote is present, but still not synced.
    pub kills: f64,
    /// The distributor is killed at one of its steps.
    pub distributor_kills: f64,
    /// An agent's storage refuses a task.
    pub storage_failures: f64,
    /// The new image does not prove healthy.
    pub unhealthy: f64,
    /// How often an attacker sends something; `None` for no attacker.
    pub attack_every: Option<Duration>,
    /// When all of this ends.
    pub until: Duration,
}

impl Faults {
    /// A perfect world.
    #[must_use]
    pub fn none() -> Self {
        Self {
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            delay: (Duration::from_micros(200), Duration::from_micros(400)),
            delay_max: Duration::from_millis(1),
            bit_flips: 0.0,
            power_cuts: 0.0,
            kills: 0.0,
            distributor_kills: 0.0,
            storage_failures: 0.0,
            unhealthy: 0.0,
            attack_every: None,
            until: Duration::from_secs(3600),
        }
    }

    /// Only loss.
    #[must_use]
    pub fn loss(loss: f64) -> Self {
        Self { loss, ..Self::none() }
    }

    /// The faults of one seed: none, few or many of each kind.
    pub fn of(dice: &mut Dice) -> Self {
        let loss = dice.pick(&[0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4]);
        let slow = dice.pick(&[1, 20, 200]);
        Self {
            loss,
            duplication: dice.pick(&[0.0, 0.0, 0.05, 0.3]),
            reordering: dice.pick(&[0.0, 0.0, 0.1, 0.5]),
            delay: (Duration::from_micros(200), Duration::from_millis(slow)),
            delay_max: Duration::from_millis(dice.pick(&[5, 50, 2_000])),
            bit_flips: dice.pick(&[0.0, 0.0, 0.02]),
            power_cuts: dice.pick(&[0.0, 0.0, 0.001, 0.01]),
            kills: dice.pick(&[0.0, 0.0, 0.001]),
            distributor_kills: dice.pick(&[0.0, 0.0, 0.000_5, 0.002]),
            storage_failures: dice.pick(&[0.0, 0.0, 0.0, 0.002]),
            unhealthy: dice.pick(&[0.0, 0.0, 0.0, 0.3]),
            attack_every: dice.pick(&[
                None,
                Some(Duration::from_millis(10)),
                Some(Duration::from_millis(200)),
            ]),
            until: Duration::from_secs(dice.pick(&[15, 60])),
        }
    }

    /// Whether there are no faults at all.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let chances = [
            self.loss,
            self.duplication,
            self.reordering,
            self.bit_flips,
            self.power_cuts,
            self.kills,
            self.distributor_kills,
            self.storage_failures,
            self.unhealthy,
        ];
        self.attack_every.is_none() && chances.iter().all(|chance| *chance == 0.0)
    }
}
