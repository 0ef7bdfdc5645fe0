//! Creates a security group: its key material, the distributor's and the Group Manager's keys, the first key
//! set. And changes what its agents need not know.

use std::net::SocketAddr;

use ed25519_dalek::SigningKey;
use group_oscore::{AeadAlgorithm, encode_ccs};
use provisioning::{Hex, Name, Secret};
use rollout_engine::Parity;

use crate::key_sets::TrustedKeys;
use crate::keys::{self, KeyError};
use crate::socket::{SocketError, interface_index};
use crate::{
    Agents, DISTRIBUTOR_SENDER_ID, GroupLock, GroupState, Identity, MachineId, ManagerState, Profile,
    Security, StateDir, StateError,
};

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
    pub keys: TrustedKeys,
    /// Whether to archive an existing group with the same name.
    pub replace: bool,
}

/// Why a group cannot be created or changed.
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
    let distributor = keys::random_key()?;
    let manager = keys::random_key()?;
    let group = GroupState {
        name: plan.name,
        profile: plan.profile,
        security: Security {
            gid: Hex(random_gid(plan.gid_bytes)?),
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
        root_key: Hex::from(plan.keys.root),
        key_set: Hex(plan.keys.signed),
        agents: Vec::new(),
    };
    let manager = ManagerState::new(Secret::new(manager.to_bytes().to_vec()));
    let agents = group.create(dir, &manager, machine, plan.replace).await?;
    Ok((group, names_waiting(&agents)))
}

/// What may change about a group without its agents being told; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The interface that sends multicast.
    pub interface: Option<String>,
    /// The IPv4 time to live or IPv6 hop limit of multicast.
    pub hops: Option<u8>,
    /// How fast multicast is sent.
    pub rate_bits_per_second: Option<u64>,
    /// How blocks that agents lost are repaired.
    pub parity: Option<Parity>,
}

/// Changes how this machine sends to a group.
///
/// # Errors
/// There is no such group or interface, or the state folder cannot be written.
pub async fn change(dir: &StateDir, name: &Name, changes: Changes) -> Result<GroupState, CreateError> {
    if let Some(interface) = &changes.interface {
        interface_index(interface)?;
    }
    // Opened first, so that a missing group is reported as missing.
    GroupState::open(dir, name)?;
    let lock = GroupLock::to_edit(dir, name).await?;
    let mut group = GroupState::open(dir, name)?;
    let profile = &mut group.profile;
    profile.interface = changes.interface.unwrap_or_else(|| profile.interface.clone());
    profile.hops = changes.hops.unwrap_or(profile.hops);
    profile.rate_bits_per_second = changes.rate_bits_per_second.unwrap_or(profile.rate_bits_per_second);
    profile.parity = changes.parity.unwrap_or(profile.parity);
    group.save(dir, &lock)?;
    Ok(group)
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

/// A fresh Gid of this length.
pub(crate) fn random_gid(bytes: usize) -> Result<Vec<u8>, StateError> {
    random(bytes)
}

fn names_waiting(agents: &Agents) -> Vec<Name> {
    agents.waiting.iter().map(|agent| agent.name.clone()).collect()
}

fn random(length: usize) -> Result<Vec<u8>, StateError> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).map_err(StateError::Random)?;
    Ok(bytes)
}
