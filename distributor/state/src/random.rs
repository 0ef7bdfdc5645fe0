//! Random numbers that are not secret.

/// The system gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system returned no random bytes ({0}): try again")]
pub struct NoRandomness(getrandom::Error);

/// A fresh seed for jitter and Echo values.
///
/// # Errors
/// The system returns none.
pub fn seed() -> Result<u64, NoRandomness> {
    getrandom::u64().map_err(NoRandomness)
}
