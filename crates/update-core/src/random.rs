//! Jitter, tokens and Echo values from one seed.

use crate::time::Duration;
use rand_core::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg32;

/// A seeded source of random numbers. It never generates anything secret: keys come with the configuration,
/// and nonces are counters.
#[derive(Debug, Clone)]
pub struct Random(Pcg32);

impl Random {
    /// A source with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Pcg32::seed_from_u64(seed))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A duration from zero up to `longest`, evenly spread in whole microseconds (RFC 7252 section 8.2).
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.next_u64() % micros.saturating_add(1).max(1))
    }
}
