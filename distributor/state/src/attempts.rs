//! Attempt numbers (protocol.md \[attempt\]).

use std::collections::BTreeMap;
use std::path::PathBuf;

use provisioning::{Hex, Name};
use update_core::digest::Digest;

use super::sealed::{self, SealedError};
use super::{StateDir, StateError};

/// The last attempt number used for each update of a group. An agent acts only on a number higher than the
/// last one it acted on.
#[derive(Debug)]
pub struct Attempts {
    path: PathBuf,
    last: BTreeMap<Hex, u32>,
}

impl Attempts {
    /// Reads the numbers of a group; a missing file means there are none yet.
    pub fn load(dir: &StateDir, group: &Name) -> Result<Self, StateError> {
        let path = dir.group(group).join("attempts");
        match sealed::read(&path) {
            Ok(last) => Ok(Self { path, last }),
            Err(SealedError::Missing) => Ok(Self { path, last: BTreeMap::new() }),
            Err(SealedError::Torn(why)) => Err(StateError::AttemptsDamaged { path, why: why.to_owned() }),
            Err(SealedError::File(error)) => Err(error.into()),
        }
    }

    /// The last attempt number used for the update with this digest.
    pub fn last(&self, digest: &Digest) -> Option<u32> {
        self.last.get(&Hex::from(digest.0)).copied()
    }

    /// The next attempt number for this update. It is higher than the last one and than `seen`, the highest
    /// that agents report (0 if none). Durable before it is returned.
    pub fn next(&mut self, digest: &Digest, seen: u32) -> Result<u32, StateError> {
        let number = self.last(digest).unwrap_or(0).max(seen).saturating_add(1);
        self.last.insert(Hex::from(digest.0), number);
        sealed::write(&self.path, &self.last)?;
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_survive() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&folder.path().join("s"), &folder.path().join("w")).unwrap();
        let group = Name::new("hall").unwrap();
        crate::files::make_folder(&dir.group(&group)).unwrap();
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        let mut attempts = Attempts::load(&dir, &group).unwrap();
        assert_eq!(attempts.last(&one), None);
        assert_eq!(attempts.next(&one, 0).unwrap(), 1);
        assert_eq!(attempts.next(&one, 0).unwrap(), 2);
        let mut attempts = Attempts::load(&dir, &group).unwrap();
        assert_eq!(attempts.last(&one), Some(2));
        assert_eq!(attempts.next(&one, 7).unwrap(), 8);
        assert_eq!(attempts.next(&other, 0).unwrap(), 1);
        std::fs::write(&attempts.path, "{").unwrap();
        assert!(matches!(Attempts::load(&dir, &group), Err(StateError::AttemptsDamaged { .. })));
    }
}
