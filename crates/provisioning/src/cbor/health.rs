//! When an image on trial is healthy.

/// The longest time for a trial: a week.
pub const HEALTH_SECONDS_MAX: u32 = 7 * 24 * 60 * 60;

/// What an image on trial must do to be confirmed, in addition to passing the firmware's own self-test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "alloc", derive(serde::Serialize, serde::Deserialize))]
pub struct Health {
    /// The time that it has for that, in seconds. After that it is rolled back. At least 1, at most
    /// [`HEALTH_SECONDS_MAX`].
    pub within_seconds: u32,
    /// Whether it must hear the distributor. If not, an image that can no longer be updated may be confirmed.
    pub hears_distributor: bool,
}

impl Health {
    /// What a device does if the provisioning does not say.
    pub const DEFAULT: Self = Self { within_seconds: 60, hears_distributor: true };

    /// Whether the time is in its valid range.
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
