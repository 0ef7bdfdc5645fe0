//! The one event loop of this process.

use super::exit_codes::Failure;

/// One thread is enough: most of the work is signing, which happens in one place.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::error(format!("cannot start the event loop: {error}")))
}
