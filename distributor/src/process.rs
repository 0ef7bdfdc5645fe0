//! What commands need of the process that they run in.

use crate::commands::exit_codes::Failure;

/// One thread is enough: the work is signing, and that is done in one place.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::error(format!("cannot start the event loop: {error}")))
}

/// A fresh seed for jitter and Echo values.
pub(crate) fn seed() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| Failure::error(format!("the system gives no random numbers: {error}")))
}
