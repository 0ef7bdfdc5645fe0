//! One process at a time.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use provisioning::Name;
use tokio::time::{Instant, sleep};

use super::{StateDir, StateError, home};
use crate::files::{self, FileError};

/// How long to wait for another process that changes a group.
const EDIT_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long to wait for an order to a rollout that no process runs.
const ORDER_WAIT_MAX: Duration = Duration::from_secs(3);
const WAIT_STEP: Duration = Duration::from_millis(20);

/// The right to do one thing to a group, until it is dropped or the process ends.
///
/// The lock files are in the state folder. `flock` releases them however the process ends.
#[derive(Debug)]
pub struct GroupLock {
    name: Name,
    _file: Flock<File>,
}

impl GroupLock {
    /// The right to send for this group. Two processes that used the same Sender Sequence Numbers would
    /// reveal its keys.
    pub fn to_send(dir: &StateDir, name: &Name) -> Result<Self, StateError> {
        home::settle(dir)?;
        Self::of(name, "sends for", lock_file(&dir.lock(name, "send"))?)
    }

    /// The right to change who is enrolled in this group. Sending continues meanwhile. A change is short, so
    /// this waits for it.
    pub async fn to_edit(dir: &StateDir, name: &Name) -> Result<Self, StateError> {
        home::settle(dir)?;
        Self::of(name, "changes", lock_within(EDIT_WAIT_MAX, &dir.lock(name, "edit")).await?)
    }

    /// The group that this lock is for.
    pub fn group(&self) -> &Name {
        &self.name
    }

    fn of(name: &Name, doing: &'static str, file: Option<Flock<File>>) -> Result<Self, StateError> {
        let file = file.ok_or_else(|| StateError::Locked { name: name.clone(), doing })?;
        Ok(Self { name: name.clone(), _file: file })
    }
}

/// The right to do one thing to the state folder as a whole, until it is dropped or the process ends.
#[derive(Debug)]
pub struct StateLock {
    _file: Flock<File>,
}

impl StateLock {
    /// The right to compare a database's epoch with its witness, and to raise both.
    pub async fn to_claim(dir: &StateDir) -> Result<Self, StateError> {
        home::settle(dir)?;
        Self::wait(dir, "claim", "opens the database to send").await
    }

    /// The right to make or restore a backup.
    pub async fn to_back_up(dir: &StateDir) -> Result<Self, StateError> {
        Self::wait(dir, "backup", "makes or restores a backup").await
    }

    /// The right to be the Group Manager at this address.
    ///
    /// # Errors
    /// [`StateError::StateLocked`]: another process is.
    pub fn to_manage(dir: &StateDir, address: SocketAddr) -> Result<Self, StateError> {
        let path = dir.state_lock(&format!("manager-{}", address.to_string().replace([':', '[', ']'], "_")));
        let doing = "is the Group Manager";
        lock_file(&path)?.map(|file| Self { _file: file }).ok_or(StateError::StateLocked { doing })
    }

    /// Others hold it only briefly, so this waits for it.
    async fn wait(dir: &StateDir, purpose: &str, doing: &'static str) -> Result<Self, StateError> {
        let file = lock_within(EDIT_WAIT_MAX, &dir.state_lock(purpose)).await?;
        file.map(|file| Self { _file: file }).ok_or(StateError::StateLocked { doing })
    }
}

/// The right to run one rollout, until it is dropped or the process ends.
#[derive(Debug)]
pub struct RolloutLock {
    _file: Flock<File>,
}

impl RolloutLock {
    /// The right to run this rollout; one process at a time has it. A command that carries out its own order
    /// holds it briefly, so this waits for it.
    pub async fn to_run(dir: &StateDir, rollout: &Name) -> Result<Self, StateError> {
        let file = lock_within(ORDER_WAIT_MAX, &dir.lock(rollout, "run")).await?;
        file.map(|file| Self { _file: file }).ok_or_else(|| StateError::RolloutLocked(rollout.clone()))
    }

    /// Whether some process runs this rollout. Creates nothing, and keeps nobody from running it.
    pub fn is_held(dir: &StateDir, rollout: &Name) -> Result<bool, StateError> {
        let path = dir.lock(rollout, "run");
        let system = |verb, source| FileError::System { verb, path: path.clone(), source };
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(|source| system("open", source))?,
        };
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => Ok(false),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(true),
            Err((_, error)) => Err(system("lock", error.into()).into()),
        }
    }

    /// The same right, or an error at once if another process has it.
    pub fn if_free(dir: &StateDir, rollout: &Name) -> Result<Option<Self>, StateError> {
        let file = lock_file(&dir.lock(rollout, "run"))?;
        Ok(file.map(|file| Self { _file: file }))
    }
}

/// Locks a file as soon as no other process holds it; `None` if it is still held when the time is up.
async fn lock_within(wait: Duration, path: &Path) -> Result<Option<Flock<File>>, StateError> {
    let deadline = Instant::now() + wait;
    loop {
        match lock_file(path)? {
            None if Instant::now() < deadline => sleep(WAIT_STEP).await,
            done => return Ok(done),
        }
    }
}

/// Locks a file, creating it if it is missing; `None` while another process holds it.
fn lock_file(path: &Path) -> Result<Option<Flock<File>>, StateError> {
    if let Some(folder) = path.parent() {
        files::make_folder(folder)?;
    }
    let system = |verb, source| FileError::System { verb, path: path.to_owned(), source };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| system("open", source))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => Ok(Some(file)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(system("lock", error.into()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::block_on;
    use super::*;

    #[test]
    fn one_process_sends_and_one_edits() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&folder.path().join("s"), &folder.path().join("w")).unwrap();
        let (hall, yard) = (Name::new("hall").unwrap(), Name::new("yard").unwrap());
        let sending = GroupLock::to_send(&dir, &hall).unwrap();
        assert!(matches!(GroupLock::to_send(&dir, &hall), Err(StateError::Locked { .. })));
        let _editing = block_on(GroupLock::to_edit(&dir, &hall)).unwrap();
        let _other = GroupLock::to_send(&dir, &yard).unwrap();
        drop(sending);
        GroupLock::to_send(&dir, &hall).unwrap();
    }

    #[test]
    fn a_rollout_and_a_group_never_share_a_lock() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&folder.path().join("s"), &folder.path().join("w")).unwrap();
        let (send, rollout) = (Name::new("send").unwrap(), Name::new("rollout").unwrap());
        let _running = block_on(RolloutLock::to_run(&dir, &send)).unwrap();
        let _sending = GroupLock::to_send(&dir, &rollout).unwrap();
        let _of_group = GroupLock::to_send(&dir, &send).unwrap();
    }

    #[test]
    fn who_runs_a_rollout_waits_for_an_order_and_for_no_other_run() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&folder.path().join("s"), &folder.path().join("w")).unwrap();
        let spring = Name::new("spring").unwrap();
        let ordering = RolloutLock::if_free(&dir, &spring).unwrap().unwrap();
        let running = block_on(async {
            let ordered = async {
                sleep(Duration::from_millis(100)).await;
                drop(ordering);
            };
            tokio::join!(RolloutLock::to_run(&dir, &spring), ordered).0.unwrap()
        });
        assert!(RolloutLock::if_free(&dir, &spring).unwrap().is_none());
        assert!(matches!(block_on(RolloutLock::to_run(&dir, &spring)), Err(StateError::RolloutLocked(_))));
        drop(running);
        block_on(RolloutLock::to_run(&dir, &spring)).unwrap();
    }
}
