//! A restored database is noticed before anything is sent (protocol.md \[reserve\]).
//!
//! Every process that opens the store to send raises a number, first in the database, then in the witness
//! folder. A database ahead of its witness means a crash between the two. A database behind its witness was
//! restored: it is unknown what was sent since. Each group's counters say in which epoch they were last
//! written, so only the groups that were used since need fresh keys.
//!
//! A new database is not mistaken for a restored one: it has its own identity, and no witness yet.

use tokio::sync::OnceCell;

use super::{Store, StoreError};
use fwcast_state::{EpochWitness, GroupLock, GroupState, StateDir, StateLock};

/// Proof that this process has claimed the right to send for the groups of a state folder. Only [`Claims`]
/// makes it.
#[derive(Debug)]
pub struct Claimed {
    dir: StateDir,
    epoch: u64,
}

impl Claimed {
    /// The state folder.
    pub fn dir(&self) -> &StateDir {
        &self.dir
    }

    /// The number that this process has claimed.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// The claim of this process. It is made only once, before the process first sends.
#[derive(Debug, Default)]
pub struct Claims(OnceCell<Claimed>);

impl Claims {
    /// Claims the right to send for the groups of a state folder, unless this process has it already. The
    /// groups' counters are checked separately.
    ///
    /// # Errors
    /// The store's errors, or another process sends for a group that must be stopped.
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
        condemn_used(dir, epoch.number)?;
    }
    let next = epoch.number.max(seen) + 1;
    store.set_epoch(next).await?;
    witness.write(next)?;
    Ok(Claimed { dir: dir.clone(), epoch: next })
}

/// After this, the current keys of the groups that were used after this epoch never send again.
fn condemn_used(dir: &StateDir, epoch: u64) -> Result<(), StoreError> {
    for name in dir.groups()? {
        let group = GroupState::open(dir, &name)?;
        if !group.used_after(dir, epoch)? {
            continue;
        }
        let _lock = GroupLock::to_send(dir, &name)?;
        group.condemn_restored(dir)?;
    }
    Ok(())
}
