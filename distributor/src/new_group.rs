//! Creates a security group: its key material, the distributor's and the Group Manager's keys, the first key
//! set.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, SigningKey};
use group_oscore::{AeadAlgorithm, encode_ccs};
use provisioning::{Hex, Name, Secret};
use update_core::key_set::{KeySet, KeySetError};
use update_core::limits::IMAGE_KEYS_MAX;

use crate::files::shown;
use crate::keys::{self, KeyError, KeyKind, PrivateKey, PublicKey};
use crate::socket::{SocketError, interface_index};
use crate::state::{
    Agents, DISTRIBUTOR_SENDER_ID, GroupState, Identity, MachineId, ManagerState, Profile, Security,
    StateDir, StateError,
};

/// The version of a group's first key set.
const KEY_SET_VERSION_FIRST: u64 = 1;
/// The length of a fresh OSCORE Master Secret in bytes. RFC 10021 section 2.1.5 requires at least 128 bits of
/// entropy.
const MASTER_SECRET_BYTES: usize = 16;
/// The length of a fresh OSCORE Master Salt in bytes.
const MASTER_SALT_BYTES: usize = 8;

/// An operator's settings for a new group.
pub struct Plan {
    /// Its name.
    pub name: Name,
    /// How to reach its members.
    pub profile: Profile,
    /// The Group Encryption Algorithm and AEAD Algorithm.
    pub aead: AeadAlgorithm,
    /// The length of its Gid, 2 to 8 bytes.
    pub gid_bytes: usize,
    /// The keys that its agents trust.
    pub keys: Keys,
    /// Whether to archive an existing group with the same name.
    pub replace: bool,
}

/// The keys that a group's agents trust.
pub struct Keys {
    /// The private key that signs the key set; not kept.
    pub root: SigningKey,
    /// The Ed25519 image keys that its agents will trust.
    pub image_keys: Vec<[u8; 32]>,
}

/// Why a group cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// A given or fresh key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The interface.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The CoAP group and the distributor mix IPv4 and IPv6.
    #[error(
        "the CoAP group {coap_group} and the distributor {distributor} mix IPv4 and IPv6: give two IPv4 or \
         two IPv6 addresses"
    )]
    TwoFamilies {
        /// The address that agents listen on.
        coap_group: SocketAddr,
        /// The address that they answer to.
        distributor: SocketAddr,
    },
    /// The image key's holder could then also decide which image keys are trusted.
    #[error(
        "{} is the root key: create a separate image key with `fwcast key generate --kind image`",
        shown(.0)
    )]
    RootKey(PathBuf),
    /// The image keys.
    #[error("the key set of group '{group}' cannot be created, because {why}: give others with --image-key")]
    KeySet {
        /// Which group.
        group: Name,
        /// What is wrong with them.
        why: String,
    },
}

impl Plan {
    fn check_network(&self) -> Result<(), CreateError> {
        let Profile { coap_group, distributor, interface, .. } = &self.profile;
        let (coap_group, distributor) = (*coap_group, *distributor);
        if !provisioning::address::same_family(coap_group, distributor) {
            return Err(CreateError::TwoFamilies { coap_group, distributor });
        }
        interface_index(interface)?;
        Ok(())
    }
}

impl Keys {
    /// Reads the private root key and the public image keys.
    ///
    /// # Errors
    /// A file does not contain the right key, or an image key is the root key.
    pub fn read(root: &Path, image_keys: &[PathBuf]) -> Result<Self, CreateError> {
        let root = PrivateKey::read(root, KeyKind::Root)?.key;
        let read = |path: &PathBuf| {
            let key = PublicKey::read_ed25519(path, KeyKind::Image)?;
            if key == root.verifying_key() {
                return Err(CreateError::RootKey(path.clone()));
            }
            Ok(key.to_bytes())
        };
        let image_keys = image_keys.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { root, image_keys })
    }
}

/// Creates the group. Returns it with the names of the agents that must be enrolled again. Everything is
/// checked before anything is written.
///
/// # Errors
/// The addresses, the interface or a key cannot be used, or the state folder cannot be written.
pub async fn create(
    dir: &StateDir,
    plan: Plan,
    machine: &MachineId,
) -> Result<(GroupState, Vec<Name>), CreateError> {
    plan.check_network()?;
    let key_set = sign_key_set(&plan)?;
    let distributor = keys::random_key()?;
    let manager = keys::random_key()?;
    let group = GroupState {
        name: plan.name,
        profile: plan.profile,
        security: Security {
            gid: Hex(random(plan.gid_bytes)?),
            master_secret: random_master_secret()?,
            master_salt: random_master_salt()?,
            aead: cose(plan.aead),
            num: 0,
        },
        distributor: Identity {
            sender_id: Hex::from(DISTRIBUTOR_SENDER_ID),
            private_key: Secret::new(distributor.to_bytes().to_vec()),
            cred: credential(&distributor),
        },
        gm_cred: credential(&manager),
        root_key: Hex::from(plan.keys.root.verifying_key().to_bytes()),
        key_set: Hex(key_set),
        agents: Vec::new(),
    };
    let manager =
        ManagerState { private_key: Secret::new(manager.to_bytes().to_vec()), contexts: Default::default() };
    let agents = group.create(dir, &manager, machine, plan.replace).await?;
    Ok((group, names_waiting(&agents)))
}

/// The agents of a group that must be enrolled again.
pub fn waiting(dir: &StateDir, group: &Name) -> Result<Vec<Name>, StateError> {
    // Opened first, so that a missing group is reported as missing.
    GroupState::open(dir, group)?;
    Ok(names_waiting(&Agents::load(dir, group)?))
}

/// The CCS of a key pair, as known to all members.
pub fn credential(key: &SigningKey) -> Hex {
    let mut bytes = [0; 64];
    let length = encode_ccs(key.verifying_key().as_bytes(), &mut bytes).unwrap_or_default();
    Hex::from(&bytes[..length])
}

/// A fresh OSCORE Master Secret.
pub fn random_master_secret() -> Result<Secret, StateError> {
    Ok(Secret::new(random(MASTER_SECRET_BYTES)?))
}

/// A fresh OSCORE Master Salt.
pub fn random_master_salt() -> Result<Secret, StateError> {
    Ok(Secret::new(random(MASTER_SALT_BYTES)?))
}

/// The COSE number of an algorithm, as stored.
pub fn cose(algorithm: AeadAlgorithm) -> i32 {
    // 1, 10 or 24.
    algorithm.cose() as i32
}

fn names_waiting(agents: &Agents) -> Vec<Name> {
    agents.waiting.iter().map(|agent| agent.name.clone()).collect()
}

fn random(length: usize) -> Result<Vec<u8>, StateError> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).map_err(StateError::Random)?;
    Ok(bytes)
}

fn sign_key_set(plan: &Plan) -> Result<Vec<u8>, CreateError> {
    let refused = |error| {
        let why = match error {
            KeySetError::TooManyKeys => {
                format!("a key set holds at most {IMAGE_KEYS_MAX} image keys")
            }
            other => format!("an image key cannot be used ({other})"),
        };
        CreateError::KeySet { group: plan.name.clone(), why }
    };
    let Keys { root, image_keys } = &plan.keys;
    let key_set = KeySet::new(KEY_SET_VERSION_FIRST, image_keys).map_err(refused)?;
    let signed = key_set.attach(root.sign(&key_set.to_be_signed()).to_bytes());
    // Check with the code that devices run.
    KeySet::verify(&signed, root.verifying_key().as_bytes()).map_err(refused)?;
    Ok(signed)
}
