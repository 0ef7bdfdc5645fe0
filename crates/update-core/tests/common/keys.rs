//! Keys derived from a number.

use ed25519_dalek::SigningKey;
use update_core::key_set::KeySet;

pub fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub fn public_key(seed: u8) -> [u8; 32] {
    signing_key(seed).verifying_key().to_bytes()
}

pub fn keys() -> KeySet {
    KeySet::new(1, &[public_key(1)]).unwrap()
}
