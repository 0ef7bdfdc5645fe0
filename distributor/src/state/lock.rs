//! One process at a time.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use provisioning::Name;

use super::{StateDir, StateError};
use crate::files::{self, FileError};

/// How long another process may take to change a group.
const EDIT_WAIT_MAX: Duration = Duration::from_secs(10);
const EDIT_WAIT_STEP: Duration = Duration::from_millis(20);

/// The right to do one thing to a group, until it is dropped or the process ends.
///
/// The lock files lie in the state folder; `flock` frees them whatever becomes of the process.
#[derive(Debug)]
pub struct GroupLock {
    name: Name,
    _file: Flock<File>,
}

impl GroupLock {
    /// The right to send for this group: two processes that count with the same Sender Sequence Numbers
    /// would give its keys away.
    pub fn to_send(dir: &StateDir, name: &Name) -> Result<Self, StateError> {
        Self::take(dir, name, "send", "sends for")
    }

    /// The right to change who is enrolled in this group. Sending goes on meanwhile. As this takes a moment
    /// only, it is waited for.
    pub fn to_edit(dir: &StateDir, name: &Name) -> Result<Self, StateError> {
        let deadline = Instant::now() + EDIT_WAIT_MAX;
        loop {
            match Self::take(dir, name, "edit", "changes") {
                Err(StateError::Locked { .. }) if Instant::now() < deadline => {
                    thread::sleep(EDIT_WAIT_STEP);
                }
                other => return other,
            }
        }
    }

    /// Which group it is for.
    pub fn group(&self) -> &Name {
        &self.name
    }

    fn take(dir: &StateDir, name: &Name, purpose: &str, doing: &'static str) -> Result<Self, StateError> {
        match lock_file(&dir.lock(name, purpose))? {
            Some(file) => Ok(Self { name: name.clone(), _file: file }),
            None => Err(StateError::Locked { name: name.clone(), doing }),
        }
    }
}

/// The right to do one thing to the state folder as a whole, until it is dropped or the process ends.
#[derive(Debug)]
pub struct StateLock {
    _file: Flock<File>,
}

impl StateLock {
    /// The right to compare a database's epoch with its witness, and to raise both.
    pub fn to_claim(dir: &StateDir) -> Result<Self, StateError> {
        Self::wait(dir, "claim", "opens the database to send")
    }

    /// The right to put a backup together, or to take one apart.
    pub fn to_back_up(dir: &StateDir) -> Result<Self, StateError> {
        Self::wait(dir, "backup", "makes or restores a backup")
    }

    /// As others need it for a moment only, it is waited for.
    fn wait(dir: &StateDir, purpose: &str, doing: &'static str) -> Result<Self, StateError> {
        let deadline = Instant::now() + EDIT_WAIT_MAX;
        loop {
            match lock_file(&dir.state_lock(purpose))? {
                Some(file) => return Ok(Self { _file: file }),
                None if Instant::now() < deadline => thread::sleep(EDIT_WAIT_STEP),
                None => return Err(StateError::StateLocked { doing }),
            }
        }
    }
}

/// The right to carry one rollout out, until it is dropped or the process ends.
#[derive(Debug)]
pub struct RolloutLock {
    _file: Flock<File>,
}

impl RolloutLock {
    /// The right to run this rollout, which one process at a time has.
    pub fn to_run(dir: &StateDir, rollout: &Name) -> Result<Self, StateError> {
        match lock_file(&dir.state_lock(&format!("rollout.{rollout}")))? {
            Some(file) => Ok(Self { _file: file }),
            None => Err(StateError::RolloutLocked(rollout.clone())),
        }
    }
}

/// Locks a file, which is made where it is missing; `None` while another process has it.
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
    use super::*;

    #[test]
    fn one_process_sends_and_one_edits() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&folder.path().join("s"), &folder.path().join("w")).unwrap();
        let (hall, yard) = (Name::new("hall").unwrap(), Name::new("yard").unwrap());
        let sending = GroupLock::to_send(&dir, &hall).unwrap();
        assert!(matches!(GroupLock::to_send(&dir, &hall), Err(StateError::Locked { .. })));
        let _editing = GroupLock::to_edit(&dir, &hall).unwrap();
        let _other = GroupLock::to_send(&dir, &yard).unwrap();
        drop(sending);
        GroupLock::to_send(&dir, &hall).unwrap();
    }
}
