//! Shared helpers for tests of signed structures: keys, a draft, and an independent way to write any
//! manifest.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(dead_code, unreachable_pub, reason = "every test binary uses a part of it")]

pub use keys::{keys, public_key, signing_key};

use coset::cbor::Value;
use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use ed25519_dalek::Signer;
use sha2::{Digest as _, Sha256};
use update_core::block::{BlockSize, ImageSize};
use update_core::digest::Digest;
use update_core::suit_build::Draft;

pub const DRAFT: Draft = Draft {
    sequence_number: 300,
    vendor: *b"vendor-vendor-00",
    class: *b"class-class-0000",
    image_size: ImageSize::new(34_768).unwrap(),
    image_digest: Digest([0x11; 32]),
    block_size: BlockSize::new(1024).unwrap(),
    tree_root: Digest([0x22; 32]),
};

pub fn signed(draft: &Draft) -> Vec<u8> {
    draft.attach(signing_key(1).sign(&draft.to_be_signed()).to_bytes())
}

pub fn cbor(value: &Value) -> Vec<u8> {
    value.clone().to_vec().unwrap()
}

pub fn wrapped(value: &Value) -> Value {
    Value::Bytes(cbor(value))
}

pub fn int(value: i64) -> Value {
    Value::from(value)
}

pub fn bytes(value: &[u8]) -> Value {
    Value::Bytes(value.to_vec())
}

pub fn suit_digest(digest: &[u8]) -> Value {
    Value::Array(vec![int(-16), bytes(digest)])
}

/// The manifest of [`DRAFT`] in pieces that a test can change, written with a different CBOR library.
#[derive(Clone)]
pub struct Pieces {
    pub version: Value,
    pub components: Value,
    pub shared: Vec<Value>,
    pub validate: Vec<Value>,
    pub install: Vec<Value>,
    pub extra: Vec<(i64, Value)>,
}

impl Pieces {
    pub fn of_draft() -> Self {
        Self {
            version: int(1),
            components: Value::Array(vec![
                Value::Array(vec![bytes(&[0])]),
                Value::Array(vec![bytes(b"tree"), bytes(&[4, 0])]),
            ]),
            shared: vec![
                int(12),
                int(0),
                int(20),
                parameters(&[
                    (1, bytes(&DRAFT.vendor)),
                    (2, bytes(&DRAFT.class)),
                    (3, wrapped(&suit_digest(&DRAFT.image_digest.0))),
                    (14, int(34_768)),
                ]),
                int(1),
                int(15),
                int(2),
                int(15),
                int(12),
                int(1),
                int(20),
                parameters(&[(3, wrapped(&suit_digest(&DRAFT.tree_root.0))), (14, int(1024))]),
            ],
            validate: vec![int(12), int(0), int(3), int(15)],
            install: vec![
                int(12),
                int(0),
                int(20),
                parameters(&[(21, Value::Text("image".into()))]),
                int(21),
                int(2),
                int(3),
                int(15),
            ],
            extra: Vec::new(),
        }
    }

    pub fn manifest(&self) -> Vec<u8> {
        let common =
            parameters(&[(2, self.components.clone()), (4, wrapped(&Value::Array(self.shared.clone())))]);
        let mut members = vec![
            (1, self.version.clone()),
            (2, int(300)),
            (3, wrapped(&common)),
            (7, wrapped(&Value::Array(self.validate.clone()))),
            (20, wrapped(&Value::Array(self.install.clone()))),
        ];
        members.extend(self.extra.clone());
        members.sort_by_key(|(key, _)| *key);
        cbor(&parameters(&members))
    }

    pub fn sign(&self) -> Vec<u8> {
        sign_manifest(&self.manifest())
    }
}

pub fn parameters(members: &[(i64, Value)]) -> Value {
    Value::Map(members.iter().map(|(key, value)| (int(*key), value.clone())).collect())
}

/// Wraps any manifest bytes and signs them with coset.
pub fn sign_manifest(manifest: &[u8]) -> Vec<u8> {
    let wrapped_manifest = cbor(&bytes(manifest));
    let digest = cbor(&suit_digest(&Sha256::digest(&wrapped_manifest)));
    let sign1 = coset_sign1(&digest);
    let wrapper = Value::Array(vec![bytes(&digest), bytes(&sign1)]);
    let envelope = parameters(&[(2, wrapped(&wrapper)), (3, bytes(manifest))]);
    cbor(&Value::Tag(107, Box::new(envelope)))
}

/// A detached COSE_Sign1 by image key 1 over `payload`, made with coset.
pub fn coset_sign1(payload: &[u8]) -> Vec<u8> {
    let protected = HeaderBuilder::new().algorithm(iana::Algorithm::Ed25519).build();
    CoseSign1Builder::new()
        .protected(protected)
        .create_detached_signature(payload, &[], |signed| signing_key(1).sign(signed).to_bytes().to_vec())
        .build()
        .to_tagged_vec()
        .unwrap()
}

/// Every way to flip one bit of `bytes`.
pub fn bit_flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

pub mod agent;
pub mod fleet;
pub mod group;
mod keys;
pub mod wire;
