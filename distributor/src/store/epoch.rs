//! A database that was put back is noticed before anything is sent (protocol.md \[reserve\]).
//!
//! Every process that opens the store to send raises a number, first in the database, then in the witness
//! folder. A database that is ahead of its witness is a crash between the two. One that is behind was
//! copied back: what was sent since is unknown, and where one part of the state was put back others may
//! have been, so all groups need fresh keys.
//!
//! A new database is not an old one: it has an identity of its own, and no witness yet.

use tokio::sync::OnceCell;

use super::{Store, StoreError};
use crate::state::{EpochWitness, GroupLock, GroupState, StateDir, StateLock};

/// Proof that this process has claimed the right to send for the groups of a state folder. Only [`Claims`]
/// makes it.
#[derive(Debug)]
pub struct Claimed {
    dir: StateDir,
}

impl Claimed {
    /// The state folder.
    pub fn dir(&self) -> &StateDir {
        &self.dir
    }
}

/// The claim of this process: made when something is to be sent for the first time, and once only.
#[derive(Debug, Default)]
pub struct Claims(OnceCell<Claimed>);

impl Claims {
    /// Claims the right to send for the groups of a state folder, unless this process has it already. The
    /// groups' counters are then looked at one by one.
    ///
    /// # Errors
    /// The store's own; another process sends for a group that would have to be stopped.
    pub async fn get<S: Store>(&self, dir: &StateDir, store: &S) -> Result<&Claimed, StoreError> {
        self.0.get_or_try_init(|| claim(dir, store)).await
    }
}

async fn claim<S: Store>(dir: &StateDir, store: &S) -> Result<Claimed, StoreError> {
    let _lock = StateLock::to_claim(dir).await?;
    let epoch = store.epoch().await?;
    let witness = EpochWitness::of(dir, epoch.database);
    let seen = witness.read()?;
    if epoch.number < seen {
        condemn_all(dir)?;
    }
    let next = epoch.number.max(seen) + 1;
    store.set_epoch(next).await?;
    witness.write(next)?;
    Ok(Claimed { dir: dir.clone() })
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
