//! A database that was put back is noticed before anything is sent (DESIGN \[reserve\]).
//!
//! Every process that opens the store to send raises a number, first in the database, then in the witness
//! folder. A database that is ahead of its witness is a crash between the two. One that is behind was
//! copied back: what was sent since is unknown, and where one part of the state was put back others may
//! have been, so all groups need fresh keys.
//!
//! A new database is not an old one: it has an identity of its own, and no witness yet.

use super::{SqliteStore, Store, StoreError};
use crate::commands::exit_codes::Failure;
use crate::state::{EpochWitness, GroupLock, GroupState, StateDir, StateLock};

/// Claims the right to send for the groups of a state folder, whose counters are then looked at one by one.
///
/// # Errors
/// The store's own; another process sends for a group that would have to be stopped.
pub async fn claim<S: Store>(dir: &StateDir, store: &S) -> Result<(), StoreError> {
    let _lock = StateLock::to_claim(dir)?;
    let epoch = store.epoch().await?;
    let witness = EpochWitness::of(dir, epoch.database);
    let seen = witness.read()?;
    if epoch.number < seen {
        condemn_all(dir)?;
    }
    let next = epoch.number.max(seen) + 1;
    store.set_epoch(next).await?;
    Ok(witness.write(next)?)
}

/// As [`claim`], for a caller that has no event loop and no store, or does not know whether it has.
///
/// # Errors
/// As [`claim`].
pub fn claim_blocking(dir: &StateDir) -> Result<(), Failure> {
    let claimed = std::thread::scope(|scope| {
        // In a thread of its own, because an event loop must not be started within another.
        let thread = scope.spawn(|| {
            crate::process::runtime()?.block_on(async {
                let store = SqliteStore::open(dir).await?;
                claim(dir, &store).await?;
                store.close().await;
                Ok(())
            })
        });
        thread.join()
    });
    claimed.unwrap_or_else(|_| Err(Failure::error("opening the database to send failed: try again")))
}

/// After this, nothing is sent with the keys that the groups have now.
fn condemn_all(dir: &StateDir) -> Result<(), StoreError> {
    for name in dir.groups()? {
        let group = GroupState::open(dir, &name)?;
        let _lock = GroupLock::to_send(dir, &name)?;
        group.condemn_restored(dir)?;
    }
    Ok(())
}
