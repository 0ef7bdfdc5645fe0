//! Random numbers that are no secret.

/// The system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub struct NoRandomness(getrandom::Error);

/// A fresh seed for jitter and Echo values.
pub(crate) fn seed() -> Result<u64, NoRandomness> {
    getrandom::u64().map_err(NoRandomness)
}
