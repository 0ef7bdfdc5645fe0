//! One process at a time.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
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
        let path = dir.lock(name, purpose);
        if let Some(folder) = path.parent() {
            files::make_folder(folder)?;
        }
        let system = |verb, source| FileError::System { verb, path: path.clone(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| system("open", source))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self { name: name.clone(), _file: file }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(StateError::Locked { name: name.clone(), doing }),
            Err((_, error)) => Err(system("lock", error.into()).into()),
        }
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
