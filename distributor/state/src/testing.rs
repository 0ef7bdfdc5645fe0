//! A group in temporary folders, for the tests of this module.

use std::path::PathBuf;

use ed25519_dalek::SigningKey;
use group_oscore::AeadAlgorithm;
use provisioning::Name;
use tempfile::TempDir;

use super::{GroupLock, GroupState, MachineId, Profile, SequenceStore, StateDir, StateError};
use crate::key_sets::TrustedKeys;
use crate::new_group::{self, CreateError, Plan};

/// Folders with one group, `hall`, and a machine identity.
pub(super) struct World {
    pub(super) dir: StateDir,
    pub(super) machine: MachineId,
    folder: TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&folder.path().join("s"), &folder.path().join("w")).unwrap();
        let world = Self { dir, machine: machine(folder.path().join("id"), '1'), folder };
        world.create(false).unwrap();
        world
    }

    pub(super) fn create(&self, replace: bool) -> Result<Vec<Name>, CreateError> {
        let plan = Plan {
            name: name(),
            profile: Profile {
                coap_group: "239.192.0.1:5683".parse().unwrap(),
                interface: "lo".into(),
                hops: 1,
                rate_bits_per_second: 1_000_000,
                block_size: 1024,
                parity: rollout_engine::Parity::None,
                distributor: "127.0.0.1:5690".parse().unwrap(),
                manager: Some("127.0.0.1:5689".parse().unwrap()),
            },
            aead: AeadAlgorithm::A128Gcm,
            gid_bytes: 4,
            keys: TrustedKeys::signed_by(
                &SigningKey::from_bytes(&[0xa2; 32]),
                &[SigningKey::from_bytes(&[0xa3; 32]).verifying_key().to_bytes()],
            )
            .unwrap(),
            replace,
        };
        Ok(block_on(new_group::create(&self.dir, plan, &self.machine))?.1)
    }

    pub(super) fn other_machine(&self) -> MachineId {
        machine(self.folder.path().join("id"), '2')
    }

    pub(super) fn group(&self) -> GroupState {
        GroupState::open(&self.dir, &name()).unwrap()
    }

    pub(super) fn open(&self) -> Result<SequenceStore, StateError> {
        self.open_on(&self.machine)
    }

    pub(super) fn open_on(&self, machine: &MachineId) -> Result<SequenceStore, StateError> {
        let lock = GroupLock::to_send(&self.dir, &name())?;
        SequenceStore::open(&self.dir, &self.group(), machine, &lock, 1)
    }

    pub(super) fn main(&self) -> PathBuf {
        self.dir.group(&name()).join("sequence")
    }

    pub(super) fn witness(&self) -> PathBuf {
        self.dir.witness_of(&name(), &self.group().security.gid)
    }

    pub(super) fn floors(&self) -> PathBuf {
        self.dir.group(&name()).join("floors")
    }
}

/// Runs a future that waits for a lock.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(super) fn name() -> Name {
    Name::new("hall").unwrap()
}

fn machine(path: PathBuf, digit: char) -> MachineId {
    std::fs::write(&path, digit.to_string().repeat(32)).unwrap();
    MachineId::from_file(&path).unwrap()
}
