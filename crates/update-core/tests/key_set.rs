//! Key sets: what a device that holds the root public key accepts.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::*;
use coset::cbor::Value;
use ed25519_dalek::{Signature, Signer, Verifier, VerifyingKey};
use proptest::prelude::*;
use update_core::key_set::{KeySet, KeySetError};
use update_core::limits::KEY_SET_BYTES_MAX;

/// The root key of these tests is key 9.
fn sign(set: &KeySet) -> Vec<u8> {
    set.attach(signing_key(9).sign(&set.to_be_signed()).to_bytes())
}

fn full_set() -> KeySet {
    KeySet::new(u64::MAX, &[public_key(1), public_key(2), public_key(3), public_key(4)]).unwrap()
}

#[test]
fn what_is_signed_is_what_is_read() {
    for set in [keys(), full_set()] {
        let bytes = sign(&set);
        assert!(bytes.len() <= KEY_SET_BYTES_MAX, "{}", bytes.len());
        assert_eq!(KeySet::verify(&bytes, &public_key(9)), Ok(set));
    }
    assert_eq!(full_set().keys().len(), 4);
    assert_eq!(full_set().keys()[3], public_key(4));
}

#[test]
fn another_cose_library_signs_the_same() {
    let set = full_set();
    let keys = set.keys().iter().map(|key| bytes(key)).collect();
    let payload = cbor(&parameters(&[(1, Value::from(u64::MAX)), (2, Value::Array(keys))]));
    assert_eq!(sign_payload(&payload), sign(&set));
}

#[test]
fn every_flipped_bit_is_refused() {
    for flipped in bit_flips(&sign(&full_set())) {
        assert!(KeySet::verify(&flipped, &public_key(9)).is_err());
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let signed = sign(&full_set());
    for len in 0..signed.len() {
        assert!(KeySet::verify(&signed[..len], &public_key(9)).is_err());
    }
    let longer = [&signed[..], &[0]].concat();
    assert_eq!(KeySet::verify(&longer, &public_key(9)), Err(KeySetError::Malformed));
    let too_long = [&signed[..], &[0; 100]].concat();
    assert_eq!(KeySet::verify(&too_long, &public_key(9)), Err(KeySetError::TooLong));
}

#[test]
fn only_the_root_key_signs() {
    assert_eq!(KeySet::verify(&sign(&keys()), &public_key(1)), Err(KeySetError::BadSignature));
    assert_eq!(KeySet::verify(&keys().attach([0; 64]), &public_key(9)), Err(KeySetError::BadSignature));
}

#[test]
fn payloads_that_are_no_key_set_are_refused() {
    let list = |count: u8| Value::Array((1..=count).map(|seed| bytes(&public_key(seed))).collect());
    let refused = |payload: &Value| KeySet::verify(&sign_payload(&cbor(payload)), &public_key(9));
    assert_eq!(refused(&parameters(&[(1, int(1)), (2, list(0))])), Err(KeySetError::NoKeys));
    assert_eq!(refused(&parameters(&[(1, int(1))])), Err(KeySetError::Malformed));
    assert_eq!(refused(&parameters(&[(1, int(-1)), (2, list(1))])), Err(KeySetError::Malformed));
    assert_eq!(refused(&parameters(&[(1, int(1)), (3, list(1))])), Err(KeySetError::Malformed));
    assert_eq!(refused(&parameters(&[(2, list(1)), (1, int(1))])), Err(KeySetError::Malformed));
    let more = parameters(&[(1, int(1)), (2, list(1)), (3, int(0))]);
    assert_eq!(refused(&more), Err(KeySetError::Malformed));
    let short = Value::Array(vec![bytes(&[1; 31])]);
    assert_eq!(refused(&parameters(&[(1, int(1)), (2, short)])), Err(KeySetError::Malformed));
    let weak = Value::Array(vec![bytes(&identity())]);
    assert_eq!(refused(&parameters(&[(1, int(1)), (2, weak)])), Err(KeySetError::BadKey));
    // A version in more bytes than needed.
    let mut payload = cbor(&parameters(&[(1, int(1)), (2, list(1))]));
    payload.splice(2..3, [0x18, 0x01]);
    let refused = KeySet::verify(&sign_payload(&payload), &public_key(9));
    assert_eq!(refused, Err(KeySetError::NotDeterministic));
    // Five keys only as a count: five complete ones would already be too long.
    let mut payload = cbor(&parameters(&[(1, int(1)), (2, list(4))]));
    payload[4] = 0x85;
    let refused = KeySet::verify(&sign_payload(&payload), &public_key(9));
    assert_eq!(refused, Err(KeySetError::TooManyKeys));
}

#[test]
fn another_algorithm_is_refused() {
    let mut signed = sign(&keys());
    // d2 84 43 a1 01 <algorithm>
    assert_eq!(signed[5], 0x32);
    signed[5] = 0x26;
    assert_eq!(KeySet::verify(&signed, &public_key(9)), Err(KeySetError::UnknownAlgorithm));
}

#[test]
fn keys_that_anyone_can_sign_for_are_refused() {
    let small_order = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ];
    for hex in small_order {
        let key: [u8; 32] = hex::decode(hex).unwrap().try_into().unwrap();
        assert_eq!(KeySet::new(1, &[public_key(1), key]), Err(KeySetError::BadKey), "{hex}");
    }
    let no_point = [0x02; 32];
    assert!(VerifyingKey::from_bytes(&no_point).is_err());
    assert_eq!(KeySet::new(1, &[no_point]), Err(KeySetError::BadKey));
}

#[test]
fn an_identity_root_key_verifies_nothing() {
    // R is the identity as well, and S is zero: valid for every message, unless the check is strict.
    let mut forged = [0; 64];
    forged[0] = 1;
    let set = keys();
    let key = VerifyingKey::from_bytes(&identity()).unwrap();
    assert!(key.verify(&set.to_be_signed(), &Signature::from_bytes(&forged)).is_ok());
    assert_eq!(KeySet::verify(&set.attach(forged), &identity()), Err(KeySetError::BadSignature));
}

#[test]
fn bounds_of_new() {
    assert_eq!(KeySet::new(1, &[]), Err(KeySetError::NoKeys));
    let five: Vec<_> = (1..=5).map(public_key).collect();
    assert_eq!(KeySet::new(1, &five), Err(KeySetError::TooManyKeys));
}

#[test]
fn only_a_higher_version_supersedes() {
    let old = KeySet::new(1, &[public_key(1)]).unwrap();
    let same = KeySet::new(1, &[public_key(2)]).unwrap();
    let new = KeySet::new(2, &[public_key(2)]).unwrap();
    assert!(new.supersedes(&old));
    assert!(!old.supersedes(&new));
    assert!(!same.supersedes(&old));
    assert!(!old.supersedes(&old));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(KeySet::verify(&bytes, &public_key(9)).is_err());
    }

    #[test]
    fn arbitrary_payloads_do_not_panic(payload in prop::collection::vec(any::<u8>(), 0..160)) {
        prop_assert!(KeySet::verify(&sign_payload(&payload), &public_key(9)).is_err());
    }
}

fn identity() -> [u8; 32] {
    let mut point = [0; 32];
    point[0] = 1;
    point
}

/// Any payload, signed by the root key through coset.
fn sign_payload(payload: &[u8]) -> Vec<u8> {
    use coset::TaggedCborSerializable;
    let protected = coset::HeaderBuilder::new().algorithm(coset::iana::Algorithm::Ed25519).build();
    coset::CoseSign1Builder::new()
        .protected(protected)
        .payload(payload.to_vec())
        .create_signature(&[], |signed| signing_key(9).sign(signed).to_bytes().to_vec())
        .build()
        .to_tagged_vec()
        .unwrap()
}
