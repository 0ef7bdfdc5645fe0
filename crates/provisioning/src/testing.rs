//! For tests: an enrolled agent with publicly known keys.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

use alloc::vec;
use core::net::SocketAddr;

use ed25519_dalek::{Signer, SigningKey};
use group_oscore::encode_ccs;
use update_core::key_set::KeySet;

use crate::{
    CRED_FMT_CCS, Distributor, ECDH_SS_HKDF_256, ED25519_PARAMETERS, HKDF_SHA_256, Hex, KeyMap, Manager,
    Name, Provisioning, SIGN_EDDSA, Secret, VERSION, X25519_PARAMETERS,
};

/// Seed of the agent's own key.
pub const AGENT_SEED: [u8; 32] = [0xa1; 32];
/// Seed of the root key.
pub const ROOT_SEED: [u8; 32] = [0xa2; 32];
/// Seed of the only image key.
pub const IMAGE_SEED: [u8; 32] = [0xa3; 32];
/// Seed of the Group Manager's key.
pub const MANAGER_SEED: [u8; 32] = [0xa4; 32];
/// Seed of the distributor's key.
pub const DISTRIBUTOR_SEED: [u8; 32] = [0xa5; 32];

/// The CCS of the key with this seed.
#[must_use]
pub fn ccs(seed: [u8; 32]) -> Hex {
    let key = SigningKey::from_bytes(&seed);
    let mut bytes = [0; 64];
    let length = encode_ccs(key.verifying_key().as_bytes(), &mut bytes).unwrap();
    Hex::from(&bytes[..length])
}

/// The provisioning of `lamp-1` in group `hall`, with A128GCM in both modes and these addresses.
#[must_use]
pub fn enrolled(coap_group: SocketAddr, distributor: SocketAddr) -> Provisioning {
    let root = SigningKey::from_bytes(&ROOT_SEED);
    let image = SigningKey::from_bytes(&IMAGE_SEED).verifying_key().to_bytes();
    let parameters = |lists: [&[i32]; 2]| lists.map(<[i32]>::to_vec).to_vec();
    let key_set = KeySet::new(1, &[image]).unwrap();
    Provisioning {
        version: VERSION,
        name: Name::new("lamp-1").unwrap(),
        vendor: uuid::uuid!("fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe"),
        class: uuid::uuid!("1492af14-2569-5e48-bf42-9b2d51f2ab45"),
        group: Name::new("hall").unwrap(),
        coap_group,
        block_size: 1024,
        key: KeyMap {
            ms: Secret::new(vec![0xb1; 16]),
            hkdf: HKDF_SHA_256,
            alg: 1,
            salt: Secret::new(vec![0xb2; 8]),
            context_id: Hex::from([1, 2, 3, 4]),
            group_sender_id: Hex::from([1]),
            cred_fmt: CRED_FMT_CCS,
            gp_enc_alg: 1,
            sign_alg: SIGN_EDDSA,
            sign_params: parameters(ED25519_PARAMETERS),
            ecdh_alg: ECDH_SS_HKDF_256,
            ecdh_params: parameters(X25519_PARAMETERS),
        },
        num: 0,
        private_key: Secret::new(AGENT_SEED.to_vec()),
        cred: ccs(AGENT_SEED),
        kdc_cred: ccs(MANAGER_SEED),
        distributor: Distributor {
            sender_id: Hex::from([0]),
            cred: ccs(DISTRIBUTOR_SEED),
            address: distributor,
            next: 0,
        },
        root_key: Hex::from(root.verifying_key().to_bytes()),
        key_set: Hex(key_set.attach(root.sign(&key_set.to_be_signed()).to_bytes())),
        manager: Manager {
            address: None,
            ms: Secret::new(vec![0xb3; 16]),
            salt: Secret::new(vec![0xb4; 8]),
            alg: 1,
            sender_id: Hex::from([1, 2, 3, 4, 5, 6]),
            recipient_id: Hex::default(),
        },
    }
}
