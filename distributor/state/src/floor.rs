//! What is remembered of each agent from one run to the next: its replay window (protocol.md \[bound\], RFC
//! 10021 section 2.6), and its conduct (protocol.md \[evidence\]).

use std::collections::BTreeMap;
use std::path::PathBuf;

use group_oscore::MemberId;
use provisioning::Hex;
use serde::{Deserialize, Serialize};
use update_core::distribution::Conduct;

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

/// The conduct of the agents of a group, by Sender ID, where there is anything to remember.
pub type Conducts = BTreeMap<MemberId, Conduct>;

/// What is remembered of the agents of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    /// One floor for each enrolled agent.
    pub floors: Floors,
    /// Who has claimed what it could not show.
    pub conduct: Conducts,
    /// The highest Partial IV accepted from each agent that was heard (protocol.md \[rewind\]).
    pub heard: BTreeMap<MemberId, u64>,
}

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
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    conduct: BTreeMap<Hex, Noted>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    heard: BTreeMap<Hex, u64>,
}

/// A conduct as it is written down: nothing is written of a good one.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Noted {
    Claimed,
    Quarantined,
}

impl Noted {
    const fn of(conduct: Conduct) -> Option<Self> {
        match conduct {
            Conduct::Good => None,
            Conduct::Claimed => Some(Self::Claimed),
            Conduct::Quarantined => Some(Self::Quarantined),
        }
    }

    const fn conduct(self) -> Conduct {
        match self {
            Self::Claimed => Conduct::Claimed,
            Self::Quarantined => Conduct::Quarantined,
        }
    }
}

impl FloorStore {
    /// The store of a group.
    pub fn new(dir: &StateDir, group: &GroupState) -> Self {
        Self { path: dir.group(&group.name).join("floors"), gid: group.security.gid.clone() }
    }

    /// What is remembered of each enrolled agent.
    ///
    /// An agent that the file does not name was never heard from: floor 0. If the file is missing, damaged or
    /// belongs to other keys, this holds only while the group has sent nothing (`has_sent`, from
    /// [`SequenceStore::has_sent`](super::SequenceStore::has_sent)); afterwards every window is invalid.
    pub fn load(&self, group: &GroupState, has_sent: bool) -> Result<Remembered, StateError> {
        let known = match sealed::read::<FloorsFile>(&self.path) {
            Ok(record) if record.gid == self.gid => Some(record),
            Ok(_) | Err(SealedError::Missing | SealedError::Torn(_)) => None,
            Err(SealedError::File(error)) => return Err(error.into()),
        };
        let unheard = match known {
            None if has_sent => Floor::Invalid,
            _ => Floor::At(0),
        };
        let known = known.map(|record| (record.floors, record.conduct, record.heard));
        let (floors, conduct, heard) = known.unwrap_or_default();
        let floor_of = |sender_id: &Hex| floors.get(sender_id).copied().unwrap_or(unheard);
        let agents = group.agents.iter();
        let noted = agents
            .clone()
            .filter_map(|agent| Some((agent.member_id(), conduct.get(&agent.sender_id)?.conduct())));
        Ok(Remembered {
            floors: agents.map(|agent| (agent.member_id(), floor_of(&agent.sender_id))).collect(),
            conduct: noted.collect(),
            heard: group
                .agents
                .iter()
                .filter_map(|agent| Some((agent.member_id(), *heard.get(&agent.sender_id)?)))
                .collect(),
        })
    }

    /// Stores all floors, also those that are [`Floor::Invalid`]; durable when it returns. The caller
    /// stores a floor before it accepts a number at or above it, so that no number is accepted twice
    /// whenever the power fails.
    pub fn save(&self, remembered: &Remembered) -> Result<(), StateError> {
        let Remembered { floors, conduct, heard } = remembered;
        let noted = conduct.iter().filter_map(|(id, conduct)| Some((id, Noted::of(*conduct)?)));
        let record = FloorsFile {
            gid: self.gid.clone(),
            floors: floors.iter().map(|(id, floor)| (Hex::from(id.as_bytes()), *floor)).collect(),
            conduct: noted.map(|(id, noted)| (Hex::from(id.as_bytes()), noted)).collect(),
            heard: heard.iter().map(|(id, heard)| (Hex::from(id.as_bytes()), *heard)).collect(),
        };
        Ok(sealed::write(&self.path, &record)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;
    use crate::Enrolled;

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
                words: Default::default(),
                labels: BTreeMap::new(),
                settings: None,
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
        let mut remembered = store.load(&group, false).unwrap();
        assert_eq!(remembered.floors, Floors::from([(id(1), Floor::At(0)), (id(2), Floor::At(0))]));
        remembered.floors.insert(id(1), Floor::At(512));
        remembered.conduct.insert(id(2), Conduct::Quarantined);
        store.save(&remembered).unwrap();
        let group = group_of(&world, &[1, 2, 3]);
        let remembered = store.load(&group, true).unwrap();
        assert_eq!(remembered.floors[&id(1)], Floor::At(512));
        assert_eq!(remembered.floors[&id(3)], Floor::At(0));
        assert_eq!(remembered.conduct, Conducts::from([(id(2), Conduct::Quarantined)]));
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
                    FloorStore::new(&world.dir, &other).save(&Remembered::default()).unwrap();
                }
            }
            let mut remembered = store.load(&group, true).unwrap();
            assert!(remembered.floors.values().all(|floor| *floor == Floor::Invalid), "{spoil}");
            // One agent is heard again: the other's window stays invalid over the next restart.
            remembered.floors.insert(id(1), Floor::At(7));
            store.save(&remembered).unwrap();
            let floors = store.load(&group, true).unwrap().floors;
            assert_eq!((floors[&id(1)], floors[&id(2)]), (Floor::At(7), Floor::Invalid), "{spoil}");
        }
    }
}
