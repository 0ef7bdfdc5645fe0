//! When an image on trial is healthy.

/// Longest time that an image on trial can be given: a week.
pub const HEALTH_SECONDS_MAX: u32 = 7 * 24 * 60 * 60;

/// What an image on trial has to do to be confirmed, besides passing the firmware's own self test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Seconds that it has for that. After them it is rolled back. At least 1, at most
    /// [`HEALTH_SECONDS_MAX`].
    pub within_seconds: u32,
    /// It has to hear the distributor. Without that, an image that cannot be updated any more may be
    /// confirmed.
    pub hears_distributor: bool,
}

impl Health {
    /// What a device does that was told nothing.
    pub const DEFAULT: Self = Self { within_seconds: 60, hears_distributor: true };

    /// Whether the time is one that can be given.
    #[must_use]
    pub(super) const fn is_valid(self) -> bool {
        self.within_seconds >= 1 && self.within_seconds <= HEALTH_SECONDS_MAX
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::DEFAULT
    }
}
