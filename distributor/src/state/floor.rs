//! The part of the agents' replay windows that survives a restart (protocol.md \[bound\], RFC 10021 section
//! 2.6).

use std::collections::BTreeMap;
use std::path::PathBuf;

use group_oscore::MemberId;
use provisioning::Hex;
use serde::{Deserialize, Serialize};

use super::sealed::{self, SealedError};
use super::{GroupState, StateDir, StateError};

/// The lowest Partial IV that is accepted from one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Floor {
    /// Nothing below this number is accepted. It was stored before any number at or above it was accepted.
    At(u64),
    /// Nothing is known: the window is invalid, and the agent's first request is answered with Echo (RFC
    /// 10021 section 9).
    Invalid,
}

/// The floors of all agents in a group, by Sender ID.
pub type Floors = BTreeMap<MemberId, Floor>;

/// The file with a group's floors.
#[derive(Debug)]
pub struct FloorStore {
    path: PathBuf,
    gid: Hex,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FloorsFile {
    gid: Hex,
    floors: BTreeMap<Hex, Floor>,
}

impl FloorStore {
    /// The store of a group.
    pub fn new(dir: &StateDir, group: &GroupState) -> Self {
        Self { path: dir.group(&group.name).join("floors"), gid: group.security.gid.clone() }
    }

    /// One floor for each enrolled agent.
    ///
    /// An agent that the file does not name was never heard from: floor 0. If the file is missing, damaged or
    /// belongs to other keys, this holds only while the group has sent nothing (`has_sent`, from
    /// [`SequenceStore::has_sent`](super::SequenceStore::has_sent)); afterwards every window is invalid.
    pub fn load(&self, group: &GroupState, has_sent: bool) -> Result<Floors, StateError> {
        let known = match sealed::read::<FloorsFile>(&self.path) {
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
        Ok(group.agents.iter().map(|agent| (agent.member_id(), floor_of(&agent.sender_id))).collect())
    }

    /// Stores all floors, including [`Floor::Invalid`] ones; durable when it returns. The caller stores a
    /// floor before it accepts a number at or above it. So a power failure never lets a number be accepted
    /// twice.
    pub fn save(&self, floors: &Floors) -> Result<(), StateError> {
        let record = FloorsFile {
            gid: self.gid.clone(),
            floors: floors.iter().map(|(id, floor)| (Hex::from(id.as_bytes()), *floor)).collect(),
        };
        Ok(sealed::write(&self.path, &record)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;
    use crate::state::Enrolled;

    /// The world's group with agents under these Sender IDs.
    fn group_of(world: &World, ids: &[u8]) -> GroupState {
        let mut group = world.group();
        group.agents = ids
            .iter()
            .map(|id| Enrolled {
                name: format!("lamp-{id}").parse().unwrap(),
                sender_id: Hex::from([*id]),
                credential: group.gm_cred.clone(),
                vendor: Default::default(),
                class: Default::default(),
                labels: BTreeMap::new(),
                enrolled_at: None,
            })
            .collect();
        group
    }

    fn id(byte: u8) -> MemberId {
        MemberId::new(&[byte]).unwrap()
    }

    #[test]
    fn floors_survive_and_a_new_agent_begins_with_0() {
        let world = World::new();
        let group = group_of(&world, &[1, 2]);
        let store = FloorStore::new(&world.dir, &group);
        let mut floors = store.load(&group, false).unwrap();
        assert_eq!(floors, Floors::from([(id(1), Floor::At(0)), (id(2), Floor::At(0))]));
        floors.insert(id(1), Floor::At(512));
        store.save(&floors).unwrap();
        let group = group_of(&world, &[1, 2, 3]);
        let floors = store.load(&group, true).unwrap();
        assert_eq!(floors[&id(1)], Floor::At(512));
        assert_eq!(floors[&id(3)], Floor::At(0));
    }

    #[test]
    fn lost_floors_leave_every_window_invalid_until_each_agent_has_answered_echo() {
        let world = World::new();
        let group = group_of(&world, &[1, 2]);
        let store = FloorStore::new(&world.dir, &group);
        store.save(&store.load(&group, false).unwrap()).unwrap();
        for spoil in ["missing", "torn", "other keys"] {
            match spoil {
                "missing" => std::fs::remove_file(world.floors()).unwrap(),
                "torn" => std::fs::write(world.floors(), "{\"gid\":\"00").unwrap(),
                _ => {
                    let mut other = group.clone();
                    other.security.gid = Hex::from([9; 4]);
                    FloorStore::new(&world.dir, &other).save(&Floors::new()).unwrap();
                }
            }
            let mut floors = store.load(&group, true).unwrap();
            assert!(floors.values().all(|floor| *floor == Floor::Invalid), "{spoil}");
            // One agent is heard from again: the other's window stays invalid across the next restart.
            floors.insert(id(1), Floor::At(7));
            store.save(&floors).unwrap();
            let floors = store.load(&group, true).unwrap();
            assert_eq!((floors[&id(1)], floors[&id(2)]), (Floor::At(7), Floor::Invalid), "{spoil}");
        }
    }
}
