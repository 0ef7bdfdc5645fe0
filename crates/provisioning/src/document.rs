//! The document that an agent is given at enrolment, in its written form.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::bytes::{Hex, Secret};
use crate::name::Name;

/// The version of this document that this crate reads and writes.
pub const VERSION: u32 = 1;

/// What an agent is given at enrolment.
///
/// The names of key material are those of the ACE key map and of the join response (RFC 9594 section 8 and
/// the OSCORE profile of ACE group communication); binary values are hexadecimal text. Nothing in it is
/// trusted before [`Provisioning::check`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provisioning {
    /// [`VERSION`].
    pub version: u32,
    /// The agent's name.
    pub name: Name,
    /// SUIT vendor identifier: UUIDv5 of the vendor's domain.
    pub vendor: Uuid,
    /// SUIT class identifier: UUIDv5 of the model in the vendor's name space.
    pub class: Uuid,
    /// Name of the security group, as in `/ace-group/<name>`.
    pub group: Name,
    /// Address and port of the CoAP group, on which offers and blocks arrive.
    pub coap_group: SocketAddr,
    /// Length of an image block in bytes: 256, 512 or 1024, the same for every update of this group.
    pub block_size: u16,
    /// The security group's key material, and the agent's Sender ID in it.
    pub key: KeyMap,
    /// The generation of the key material (`num` of RFC 9594): 0 when the group was created, one more with
    /// every rekey.
    pub num: u32,
    /// The agent's own Ed25519 private key (RFC 8032 section 5.1.5), 32 bytes.
    pub private_key: Secret,
    /// The agent's own authentication credential, a CCS.
    pub cred: Hex,
    /// The Group Manager's authentication credential, a CCS (`kdc_cred` of RFC 9594).
    pub kdc_cred: Hex,
    /// The distributor, which may offer, send and activate.
    pub distributor: Distributor,
    /// The Ed25519 public key that signs key sets, 32 bytes.
    pub root_key: Hex,
    /// The key set signed by it: the trusted image keys.
    pub key_set: Hex,
    /// How to reach the Group Manager, and the individual OSCORE context with it.
    pub manager: Manager,
}

/// HKDF Algorithm: HMAC 256/256 (RFC 9053 section 3.1), the hash of HKDF SHA-256.
pub const HKDF_SHA_256: i32 = 5;
/// Format of authentication credentials: CCS (`kccs`, RFC 9528 section 3.5.3).
pub const CRED_FMT_CCS: i32 = 14;
/// Signature Algorithm: EdDSA (RFC 9053 section 2.2).
pub const SIGN_EDDSA: i32 = -8;
/// Pairwise Key Agreement Algorithm: ECDH-SS + HKDF-256 (RFC 9053 section 6.3.1).
pub const ECDH_SS_HKDF_256: i32 = -27;
/// COSE capabilities of EdDSA with Ed25519: key type OKP, and OKP with the curve.
pub const ED25519_PARAMETERS: [&[i32]; 2] = [&[1], &[1, 6]];
/// COSE capabilities of ECDH with X25519.
pub const X25519_PARAMETERS: [&[i32]; 2] = [&[1], &[1, 4]];

/// `Group_OSCORE_Input_Material`: the ACE key map of a security group. The integer labels of the map are in
/// parentheses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyMap {
    /// OSCORE Master Secret (2).
    pub ms: Secret,
    /// HKDF Algorithm (3): 5, HMAC with SHA-256.
    pub hkdf: i32,
    /// AEAD Algorithm of the pairwise mode (4): 1, 10 or 24.
    pub alg: i32,
    /// OSCORE Master Salt (5), may be empty.
    pub salt: Secret,
    /// Group identifier, the OSCORE ID Context (6): 2 to 8 bytes.
    #[serde(rename = "contextId")]
    pub context_id: Hex,
    /// The agent's Sender ID (7): 1 to 3 bytes.
    #[serde(rename = "group_SenderId")]
    pub group_sender_id: Hex,
    /// Format of authentication credentials (8): 14, CCS.
    pub cred_fmt: i32,
    /// Group Encryption Algorithm (9): 1, 10 or 24.
    pub gp_enc_alg: i32,
    /// Signature Algorithm (10): -8, EdDSA.
    pub sign_alg: i32,
    /// Its parameters (11): `[[1], [1, 6]]`, OKP and Ed25519.
    pub sign_params: Vec<Vec<i32>>,
    /// Pairwise Key Agreement Algorithm (12): -27, ECDH-SS with HKDF-256.
    pub ecdh_alg: i32,
    /// Its parameters (13): `[[1], [1, 4]]`, OKP and X25519.
    pub ecdh_params: Vec<Vec<i32>>,
}

/// The distributor of a group as its agents know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distributor {
    /// Its Sender ID in the security group.
    pub sender_id: Hex,
    /// Its authentication credential, a CCS.
    pub cred: Hex,
    /// Its unicast address, the only one from which multicast requests are answered without Echo
    /// (protocol.md, \[answers\]).
    pub address: SocketAddr,
    /// Its next Sender Sequence Number when the agent was enrolled: nothing from before that is accepted.
    #[serde(default)]
    pub next: u64,
}

/// The individual OSCORE context (RFC 8613) of one agent with the Group Manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manager {
    /// The Group Manager's unicast address, if it can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// OSCORE Master Secret.
    pub ms: Secret,
    /// OSCORE Master Salt, may be empty.
    pub salt: Secret,
    /// AEAD Algorithm: 1, 10 or 24.
    pub alg: i32,
    /// The agent's Sender ID in this context.
    pub sender_id: Hex,
    /// The Group Manager's Sender ID in this context; may be empty.
    pub recipient_id: Hex,
}

/// The whole configuration file of `fwcast-agent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentFile {
    /// What every agent is given.
    pub provisioning: Provisioning,
    /// What only a Linux agent needs.
    pub linux: LinuxSettings,
}

/// What a Linux agent needs in addition to its provisioning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinuxSettings {
    /// Name of the network interface on which the CoAP group is joined.
    pub interface: String,
    /// UDP port of the agent's own socket; if absent, the system chooses one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<u16>,
    /// Folder for slots, pages and records; for this agent only.
    pub state_directory: String,
    /// Program and arguments that make the new image run on trial; if absent, the built-in switch of the slot
    /// link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activate_command: Option<Vec<String>>,
    /// An activate command that runs longer than this many seconds is killed, and the activation fails.
    #[serde(default = "LinuxSettings::activate_deadline_seconds_default")]
    pub activate_deadline_seconds: u32,
    /// Program and arguments that exit with 0 when the device may activate now; if absent, it always may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_command: Option<Vec<String>>,
    /// An activation that the ready command has delayed for this many seconds is given up.
    #[serde(default = "LinuxSettings::ready_deadline_seconds_default")]
    pub ready_deadline_seconds: u32,
    /// Seconds between two runs of the ready command while it says no.
    #[serde(default = "LinuxSettings::ready_interval_seconds_default")]
    pub ready_interval_seconds: u32,
    /// Program and arguments that exit with 0 when the new image is healthy; if absent, an activated image
    /// counts as healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_command: Option<Vec<String>>,
    /// An image on trial that has not proved healthy after this many seconds is rolled back.
    #[serde(default = "LinuxSettings::health_deadline_seconds_default")]
    pub health_deadline_seconds: u32,
    /// Seconds between two runs of the health command while it says no.
    #[serde(default = "LinuxSettings::health_interval_seconds_default")]
    pub health_interval_seconds: u32,
}

impl LinuxSettings {
    /// Settings with this interface and state folder, and defaults for everything else.
    pub const fn new(interface: String, state_directory: String) -> Self {
        Self {
            interface,
            listen_port: None,
            state_directory,
            activate_command: None,
            activate_deadline_seconds: Self::activate_deadline_seconds_default(),
            ready_command: None,
            ready_deadline_seconds: Self::ready_deadline_seconds_default(),
            ready_interval_seconds: Self::ready_interval_seconds_default(),
            health_command: None,
            health_deadline_seconds: Self::health_deadline_seconds_default(),
            health_interval_seconds: Self::health_interval_seconds_default(),
        }
    }

    /// The default activate deadline: enough to copy 64 MiB to a slow medium.
    pub const fn activate_deadline_seconds_default() -> u32 {
        300
    }

    /// The default ready deadline: a day.
    pub const fn ready_deadline_seconds_default() -> u32 {
        24 * 60 * 60
    }

    /// The default ready interval.
    pub const fn ready_interval_seconds_default() -> u32 {
        30
    }

    /// The default health deadline.
    pub const fn health_deadline_seconds_default() -> u32 {
        60
    }

    /// The default health interval.
    pub const fn health_interval_seconds_default() -> u32 {
        2
    }
}
