//! SUIT envelopes: what is accepted, and what is refused and why.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::*;
use coset::cbor::Value;
use ed25519_dalek::Signer;
use proptest::prelude::*;
use update_core::digest::{Digest, UpdateId};
use update_core::key_set::KeySet;
use update_core::refusal::Refusal;
use update_core::suit::{Offer, Part, SuitError, verify};
use update_core::suit_inspect::inspect_unverified;

#[test]
fn what_is_signed_is_what_is_offered() {
    let envelope = signed(&DRAFT);
    let digest = DRAFT.digest();
    let expected = Offer {
        digest,
        id: UpdateId::of(&digest),
        sequence_number: 300,
        vendor: DRAFT.vendor,
        class: DRAFT.class,
        layout: update_core::block::Layout { image_size: DRAFT.image_size, block_size: DRAFT.block_size },
        image_digest: DRAFT.image_digest,
        tree_root: DRAFT.tree_root,
    };
    assert_eq!(verify(&envelope, &keys()), Ok(expected));
    // Well below the 1 KiB buffer of a microcontroller.
    assert!(envelope.len() < 400, "{}", envelope.len());
}

#[test]
fn another_cose_and_cbor_library_writes_the_same_envelope() {
    assert_eq!(Pieces::of_draft().sign(), signed(&DRAFT));
    let digest = cbor(&suit_digest(&DRAFT.digest().0));
    let protected = coset::HeaderBuilder::new().algorithm(coset::iana::Algorithm::Ed25519).build();
    let sign1 = coset::CoseSign1Builder::new().protected(protected).build();
    assert_eq!(sign1.tbs_detached_data(&digest, &[]), DRAFT.to_be_signed());
}

#[test]
fn every_flipped_bit_is_refused() {
    let envelope = signed(&DRAFT);
    let mut refused = 0;
    for flipped in bit_flips(&envelope) {
        assert!(verify(&flipped, &keys()).is_err());
        refused += 1;
    }
    assert_eq!(refused, envelope.len() * 8);
    assert!(verify(&envelope, &keys()).is_ok());
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let envelope = signed(&DRAFT);
    for len in 0..envelope.len() {
        assert!(verify(&envelope[..len], &keys()).is_err());
    }
    let longer = [&envelope[..], &[0]].concat();
    assert_eq!(verify(&longer, &keys()), Err(SuitError::Malformed { part: Part::Envelope }));
    let too_long = [&envelope[..], &[0; 1024]].concat();
    assert_eq!(verify(&too_long, &keys()), Err(SuitError::TooLong));
}

#[test]
fn any_image_key_may_sign_and_no_other() {
    let set = KeySet::new(1, &[public_key(4), public_key(3), public_key(2), public_key(1)]).unwrap();
    assert!(verify(&signed(&DRAFT), &set).is_ok());
    let others = KeySet::new(1, &[public_key(4), public_key(3)]).unwrap();
    assert_eq!(verify(&signed(&DRAFT), &others), Err(SuitError::BadSignature));
}

#[test]
fn eddsa_is_the_same_algorithm_and_others_are_not() {
    for (algorithm, accepted) in [(-8, true), (-19, true), (-7, false), (-9, false), (-53, false)] {
        let result = verify(&sign_with_header(&[(1, int(algorithm))], &[]), &keys());
        if accepted {
            assert!(result.is_ok());
        } else {
            assert_eq!(result, Err(SuitError::UnknownAlgorithm { algorithm }));
        }
    }
}

#[test]
fn headers_hold_the_algorithm_and_nothing_else() {
    let refused = Err(SuitError::Malformed { part: Part::Authentication });
    assert_eq!(verify(&sign_with_header(&[(1, int(-19))], &[(4, bytes(b"kid"))]), &keys()), refused);
    assert_eq!(verify(&sign_with_header(&[(1, int(-19)), (4, bytes(b"kid"))], &[]), &keys()), refused);
    assert_eq!(verify(&sign_with_header(&[(3, int(-19))], &[]), &keys()), refused);
}

#[test]
fn an_s_that_is_not_canonical_is_refused() {
    // The order of the group, little-endian. S + L is an equally valid signature for a verifier that does not
    // check.
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut signature = signing_key(1).sign(&DRAFT.to_be_signed()).to_bytes();
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert_eq!(verify(&DRAFT.attach(signature), &keys()), Err(SuitError::BadSignature));
}

#[test]
fn digest_and_signature_are_told_apart() {
    let other = update_core::suit_build::Draft { sequence_number: 301, ..DRAFT };
    let signature = signing_key(1).sign(&DRAFT.to_be_signed()).to_bytes();
    assert_eq!(verify(&other.attach(signature), &keys()), Err(SuitError::BadSignature));

    let mut envelope = signed(&DRAFT);
    *envelope.last_mut().unwrap() ^= 1;
    assert_eq!(verify(&envelope, &keys()), Err(SuitError::DigestMismatch));
}

#[test]
fn nothing_in_the_manifest_is_read_before_the_signature() {
    // Not even CBOR, but correctly signed by a key that is not trusted, and by one that is.
    let envelope = sign_manifest(&[0xff; 10]);
    let other = KeySet::new(1, &[public_key(2)]).unwrap();
    assert_eq!(verify(&envelope, &other), Err(SuitError::BadSignature));
    assert_eq!(verify(&envelope, &keys()), Err(SuitError::Malformed { part: Part::Manifest }));
}

#[test]
fn unsigned_is_refused_but_can_be_inspected() {
    let digest = cbor(&suit_digest(&DRAFT.digest().0));
    let wrapper = Value::Array(vec![bytes(&digest)]);
    let members = parameters(&[(2, wrapped(&wrapper)), (3, bytes(&Pieces::of_draft().manifest()))]);
    let envelope = cbor(&Value::Tag(107, Box::new(members)));
    assert_eq!(verify(&envelope, &keys()), Err(SuitError::NoSignature));
    let inspection = inspect_unverified(&envelope).unwrap();
    assert_eq!((inspection.algorithm, inspection.sequence_number), (None, 300));
    assert_eq!(inspection.offer.unwrap().image_digest, DRAFT.image_digest);
}

#[test]
fn severed_members_and_another_order_are_refused() {
    let wrapper = bytes(b"whatever");
    let manifest = bytes(&Pieces::of_draft().manifest());
    let build = |members: &[(i64, Value)]| cbor(&Value::Tag(107, Box::new(parameters(members))));
    let severed = build(&[(2, wrapper.clone()), (3, manifest.clone()), (23, bytes(b"text"))]);
    let expected = SuitError::UnsupportedMember { part: Part::Envelope, key: 23 };
    assert_eq!(verify(&severed, &keys()), Err(expected));
    let swapped = build(&[(3, manifest), (2, wrapper)]);
    assert_eq!(verify(&swapped, &keys()), Err(SuitError::Malformed { part: Part::Envelope }));
}

/// The faults are corrected one by one, and the reason changes each time.
#[test]
fn the_envelope_is_checked_in_this_order() {
    let other_keys = KeySet::new(1, &[public_key(2)]).unwrap();
    let mut pieces = Pieces::of_draft();
    pieces.version = int(2);
    let well_signed = pieces.sign();
    let mut changed = well_signed.clone();
    *changed.last_mut().unwrap() ^= 1;
    let mut other_algorithm = changed.clone();
    let place = well_signed.windows(3).position(|bytes| bytes == [0xa1, 0x01, 0x32]).unwrap();
    other_algorithm[place + 2] = 0x26;

    assert_eq!(verify(&other_algorithm, &other_keys), Err(SuitError::DigestMismatch));
    *other_algorithm.last_mut().unwrap() ^= 1;
    let unknown = SuitError::UnknownAlgorithm { algorithm: -7 };
    assert_eq!(verify(&other_algorithm, &other_keys), Err(unknown));
    assert_eq!(verify(&well_signed, &other_keys), Err(SuitError::BadSignature));
    let unsupported = SuitError::UnsupportedVersion { version: 2 };
    assert_eq!(verify(&well_signed, &keys()), Err(unsupported));
}

#[test]
fn refusals_of_the_envelope_have_their_codes() {
    let refused = |bytes: &[u8]| Refusal::from(verify(bytes, &keys()).unwrap_err());
    assert_eq!(Refusal::from(SuitError::NoSignature), Refusal::NoSignature);
    let mut changed = signed(&DRAFT);
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&changed), Refusal::DigestMismatch);
    assert_eq!(refused(&[0; 1025]), Refusal::EnvelopeTooLong);
    assert_eq!(refused(&[]), Refusal::Malformed);
    assert_eq!(refused(&sign_with_header(&[(1, int(-7))], &[])), Refusal::UnknownAlgorithm);
    assert_eq!(refused(&DRAFT.attach([0; 64])), Refusal::BadSignature);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..1100)) {
        prop_assert!(verify(&bytes, &keys()).is_err());
        prop_assert!(inspect_unverified(&bytes).is_err());
    }

    /// Signed garbage reaches the parser of the manifest.
    #[test]
    fn arbitrary_manifests_do_not_panic(manifest in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(verify(&sign_manifest(&manifest), &keys()).is_err());
    }

    /// Valid manifests with some bytes changed, then signed: whatever the result, the digest covers it.
    #[test]
    fn changed_manifests_do_not_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut manifest = Pieces::of_draft().manifest();
        for (place, byte) in changes {
            let place = place.index(manifest.len());
            manifest[place] = byte;
        }
        let envelope = sign_manifest(&manifest);
        if let Ok(offer) = verify(&envelope, &keys()) {
            prop_assert_eq!(offer.digest, Digest::of(&cbor(&bytes(&manifest))));
        }
        let _ = inspect_unverified(&envelope);
    }
}

/// The envelope of the draft with any headers, signed by image key 1.
fn sign_with_header(protected: &[(i64, Value)], unprotected: &[(i64, Value)]) -> Vec<u8> {
    let digest = cbor(&suit_digest(&DRAFT.digest().0));
    let protected = wrapped(&parameters(protected));
    let text = Value::Text("Signature1".into());
    let signed = Value::Array(vec![text, protected.clone(), bytes(&[]), bytes(&digest)]);
    let signature = signing_key(1).sign(&cbor(&signed)).to_bytes();
    let sign1 = Value::Array(vec![protected, parameters(unprotected), Value::Null, bytes(&signature)]);
    let sign1 = Value::Tag(18, Box::new(sign1));
    let wrapper = Value::Array(vec![bytes(&digest), wrapped(&sign1)]);
    let members = parameters(&[(2, wrapped(&wrapper)), (3, bytes(&Pieces::of_draft().manifest()))]);
    cbor(&Value::Tag(107, Box::new(members)))
}
