//! Where a state folder belongs, recorded in the folder itself: a copy of it is noticed, before anything is
//! taken from the counters or Sender IDs that both share.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::sealed::{self, SealedError};
use super::{StateDir, StateError};

/// A folder, by its path and by what the file system calls it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Home {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Records that the state belongs to this folder, if it was moved here or is new.
///
/// # Errors
/// [`StateError::Copied`]: the folder that it was recorded for is still there. One of the two is a copy.
pub(super) fn settle(dir: &StateDir) -> Result<(), StateError> {
    let file = dir.state().join("home");
    let Some(here) = Home::of(dir.state().into()) else { return Ok(()) };
    let recorded: Option<Home> = match sealed::read(&file) {
        Ok(home) => Some(home),
        Err(SealedError::Missing | SealedError::Torn(_)) => None,
        Err(SealedError::File(error)) => return Err(error.into()),
    };
    match recorded {
        Some(home) if home == here => return Ok(()),
        // Through a link or another mount, the folder is the same.
        Some(home) if home.is_same_folder(&here) => {}
        Some(home) if Home::of(home.path.clone()).is_some_and(|now| now.is_same_folder(&home)) => {
            return Err(StateError::Copied { copy: here.path, original: home.path });
        }
        _ => {}
    }
    Ok(sealed::write(&file, &here)?)
}

impl Home {
    /// `None` if there is no such folder.
    fn of(path: PathBuf) -> Option<Self> {
        let about = fs::metadata(&path).ok()?;
        Some(Self { path, device: about.dev(), inode: about.ino() })
    }

    fn is_same_folder(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}
