//! The replay windows of the agents, as far as they survive a restart (DESIGN [bound], RFC 10021 section 2.6).

use std::collections::BTreeMap;
use std::path::PathBuf;

use provisioning::Hex;
use serde::{Deserialize, Serialize};

use super::sealed::{self, SealedError};
use super::{GroupState, StateDir, StateError};

/// From where on the Partial IVs of one agent are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Floor {
    /// Nothing below this number is accepted. It was stored before any number at or above it could be needed again.
    At(u64),
    /// Nothing is known: the window is invalid, and the agent's first request is met with Echo (RFC 10021 section 9).
    Invalid,
}

/// The floors of all agents of a group, by Sender ID.
pub type Floors = BTreeMap<Hex, Floor>;

/// Where the floors are kept.
#[derive(Debug)]
pub struct FloorStore {
    path: PathBuf,
    gid: Hex,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    gid: Hex,
    floors: Floors,
}

impl FloorStore {
    /// The store of a group.
    pub fn new(dir: &StateDir, group: &GroupState) -> Self {
        Self {
            path: dir.group(&group.name).join("floors"),
            gid: group.security.gid.clone(),
        }
    }

    /// One floor for each enrolled agent.
    ///
    /// An agent that the file does not name has never been heard: floor 0. Where the file is missing, damaged or of other
    /// keys, that is so only as long as the group has sent nothing (`has_sent`, from
    /// [`SequenceStore::has_sent`](super::SequenceStore::has_sent)); afterwards every window is invalid.
    pub fn load(&self, group: &GroupState, has_sent: bool) -> Result<Floors, StateError> {
        let known = match sealed::read::<Record>(&self.path) {
            Ok(record) if record.gid == self.gid => Some(record.floors),
            Ok(_) | Err(SealedError::Missing | SealedError::Torn(_)) => None,
            Err(SealedError::File(error)) => return Err(error.into()),
        };
        let unheard = match known {
            None if has_sent => Floor::Invalid,
            _ => Floor::At(0),
        };
        let known = known.unwrap_or_default();
        let floor_of = |sender_id: &Hex| known.get(sender_id).copied().unwrap_or(unheard);
        Ok(group
            .agents
            .iter()
            .map(|agent| (agent.sender_id.clone(), floor_of(&agent.sender_id)))
            .collect())
    }

    /// Stores all floors, also those that are [`Floor::Invalid`]; durable when it returns. The caller stores a floor before
    /// it accepts a number at or above it, so that no number is accepted twice whenever the power fails.
    pub fn save(&self, floors: &Floors) -> Result<(), StateError> {
        let record = Record {
            gid: self.gid.clone(),
            floors: floors.clone(),
        };
        Ok(sealed::write(&self.path, &record)?)
    }
}
