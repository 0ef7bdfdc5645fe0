//! Correctly signed SUIT manifests that are no offer: everything outside the subset has its error.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::*;
use coset::cbor::Value;
use update_core::limits::IMAGE_BYTES_MAX;
use update_core::refusal::Refusal;
use update_core::suit::{Part, SuitError, verify};

#[test]
fn unchanged_pieces_are_an_offer() {
    assert!(verify(&Pieces::of_draft().sign(), &keys()).is_ok());
}

#[test]
fn another_version_is_refused() {
    let error = refuse(|pieces| pieces.version = int(2));
    assert_eq!(error, SuitError::UnsupportedVersion { version: 2 });
    assert_eq!(Refusal::from(error), Refusal::UnsupportedManifest);
}

#[test]
fn members_outside_the_subset_are_refused() {
    // reference-uri, load, payload-fetch, text and a private one
    for key in [4, 8, 16, 23, 99] {
        let error = refuse(|pieces| pieces.extra.push((key, bytes(b"x"))));
        assert_eq!(error, SuitError::UnsupportedMember { part: Part::Manifest, key });
    }
    // Booting is left to the boot stage.
    let invoke = wrapped(&Value::Array(vec![int(12), int(0), int(23), int(2)]));
    let error = refuse(|pieces| pieces.extra.push((9, invoke.clone())));
    assert_eq!(error, SuitError::UnsupportedCommand { command: 23 });
}

#[test]
fn commands_outside_the_subset_are_refused_in_every_sequence() {
    // try-each, copy, swap, run-sequence, abort, a private one
    for command in [15, 22, 31, 32, 14, -1] {
        let expected = SuitError::UnsupportedCommand { command };
        assert_eq!(refuse(|pieces| pieces.shared.extend([int(command), int(0)])), expected);
        assert_eq!(refuse(|pieces| pieces.validate.extend([int(command), int(0)])), expected);
        assert_eq!(refuse(|pieces| pieces.install.extend([int(command), int(0)])), expected);
    }
}

#[test]
fn commands_of_the_subset_have_their_place() {
    for command in [3, 21, 23] {
        let error = refuse(|pieces| pieces.shared.extend([int(command), int(2)]));
        assert_eq!(error, SuitError::UnsupportedCommand { command });
    }
    for command in [1, 2, 21, 23] {
        let error = refuse(|pieces| pieces.validate.extend([int(command), int(2)]));
        assert_eq!(error, SuitError::UnsupportedCommand { command });
    }
    // Match before fetch, fetch before the URI is set.
    let error = refuse(|pieces| pieces.install.swap(4, 6));
    assert_eq!(error, SuitError::UnsupportedCommand { command: 3 });
    let error = refuse(|pieces| drop(pieces.install.drain(2..4)));
    assert_eq!(error, SuitError::UnsupportedCommand { command: 21 });
}

#[test]
fn parameters_outside_the_subset_are_refused() {
    for parameter in [5, 12, 18, 19, 22, 24, -3] {
        let more = parameters(&[(parameter, int(1))]);
        let error = refuse(|pieces| pieces.shared.extend([int(20), more.clone()]));
        assert_eq!(error, SuitError::UnsupportedParameter { parameter });
    }
}

#[test]
fn no_parameter_is_set_twice_or_changed_later() {
    let digest = parameters(&[(3, wrapped(&suit_digest(&[9; 32])))]);
    let expected = SuitError::UnsupportedParameter { parameter: 3 };
    assert_eq!(refuse(|pieces| pieces.shared.extend([int(20), digest.clone()])), expected);
    assert_eq!(refuse(|pieces| pieces.install.extend([int(20), digest.clone()])), expected);
    let size = parameters(&[(14, int(1))]);
    let expected = SuitError::UnsupportedParameter { parameter: 14 };
    assert_eq!(refuse(|pieces| pieces.install.extend([int(20), size.clone()])), expected);
    // Vendor and class belong to the image.
    let vendor = parameters(&[(1, bytes(&[9; 16]))]);
    let error = refuse(|pieces| pieces.shared.extend([int(20), vendor.clone()]));
    assert_eq!(error, SuitError::UnsupportedParameter { parameter: 1 });
}

#[test]
fn another_uri_is_refused() {
    for uri in ["http://example.com/file.bin", "", "hashes", "../image"] {
        let error = refuse(|pieces| pieces.install[3] = parameters(&[(21, Value::Text(uri.into()))]));
        assert_eq!(error, SuitError::UnsupportedUri);
    }
}

#[test]
fn a_component_must_be_selected_first() {
    let cut = SuitError::NoComponentSelected;
    assert_eq!(refuse(|pieces| drop(pieces.shared.drain(..2))), cut);
    assert_eq!(refuse(|pieces| drop(pieces.validate.drain(..2))), cut);
    assert_eq!(refuse(|pieces| drop(pieces.install.drain(..2))), cut);
    assert_eq!(refuse(|pieces| pieces.install[1] = int(2)), SuitError::NotAnOffer);
}

#[test]
fn parameters_that_an_offer_needs_may_not_be_missing() {
    let all = [
        (1, bytes(&DRAFT.vendor)),
        (2, bytes(&DRAFT.class)),
        (3, wrapped(&suit_digest(&[1; 32]))),
        (14, int(100)),
    ];
    for missing in 0..4 {
        let mut rest = all.to_vec();
        let (parameter, _) = rest.remove(missing);
        let error = refuse(|pieces| pieces.shared[3] = parameters(&rest));
        assert_eq!(error, SuitError::ParameterMissing { parameter });
        assert_eq!(Refusal::from(error), Refusal::NotAnOffer);
    }
    for (parameter, rest) in [(14, &all[2..3]), (3, &[(14, int(1024))])] {
        let error = refuse(|pieces| pieces.shared[11] = parameters(rest));
        assert_eq!(error, SuitError::ParameterMissing { parameter });
    }
}

#[test]
fn steps_that_an_offer_needs_may_not_be_missing() {
    for (start, command) in [(4, 1), (6, 2)] {
        let error = refuse(|pieces| drop(pieces.shared.drain(start..start + 2)));
        assert_eq!(error, SuitError::StepMissing { command });
    }
    let error = refuse(|pieces| drop(pieces.validate.drain(2..)));
    assert_eq!(error, SuitError::StepMissing { command: 3 });
    let error = refuse(|pieces| drop(pieces.install.drain(6..)));
    assert_eq!(error, SuitError::StepMissing { command: 3 });
    let error = refuse(|pieces| drop(pieces.install.drain(4..)));
    assert_eq!(error, SuitError::StepMissing { command: 21 });
}

#[test]
fn other_components_are_no_offer() {
    let image = Value::Array(vec![bytes(&[0])]);
    let tree = Value::Array(vec![bytes(b"tree"), bytes(&[4, 0])]);
    let short = Value::Array(vec![bytes(b"tree"), bytes(&[4])]);
    let other = Value::Array(vec![bytes(b"leaf"), bytes(&[4, 0])]);
    let lists = [
        vec![],
        vec![image.clone()],
        vec![tree.clone(), image.clone()],
        vec![image.clone(), image.clone()],
        vec![image.clone(), short],
        vec![image.clone(), other],
        vec![image.clone(), tree.clone(), tree],
    ];
    for list in lists {
        let error = refuse(|pieces| pieces.components = Value::Array(list.clone()));
        assert_eq!(error, SuitError::NotAnOffer);
        assert_eq!(Refusal::from(error), Refusal::NotAnOffer);
    }
}

#[test]
fn sizes_have_their_bounds() {
    for bytes in [0, u64::from(IMAGE_BYTES_MAX) + 1, u64::MAX] {
        let error = refuse(|pieces| set_size(&mut pieces.shared[3], bytes));
        assert_eq!(error, SuitError::ImageSize { bytes });
        assert_eq!(Refusal::from(error), Refusal::UnsupportedSize);
    }
    // Not the size in the identifier, or a size that is always refused.
    for bytes in [512, 0, u64::MAX] {
        let error = refuse(|pieces| set_size(&mut pieces.shared[11], bytes));
        assert_eq!(error, SuitError::BlockSize { bytes });
    }
    for size in [0_u16, 16, 32, 100, 2048] {
        let error = refuse(|pieces| {
            let tree = Value::Array(vec![bytes(b"tree"), bytes(&size.to_be_bytes())]);
            pieces.components = Value::Array(vec![Value::Array(vec![bytes(&[0])]), tree]);
            set_size(&mut pieces.shared[11], size.into());
        });
        assert_eq!(error, SuitError::BlockSize { bytes: size.into() });
    }
}

#[test]
fn another_digest_algorithm_is_refused() {
    let sha_512 = Value::Array(vec![int(-44), bytes(&[1; 64])]);
    let error = refuse(|pieces| pieces.shared[11] = parameters(&[(3, wrapped(&sha_512)), (14, int(1024))]));
    assert_eq!(error, SuitError::UnknownAlgorithm { algorithm: -44 });
}

#[test]
fn sequences_have_their_structure() {
    let error = refuse(|pieces| drop(pieces.validate.pop()));
    assert_eq!(error, SuitError::Malformed { part: Part::Validate });
    // A reporting policy has four bits.
    let error = refuse(|pieces| pieces.validate[3] = int(16));
    assert_eq!(error, SuitError::Malformed { part: Part::Validate });
    let error = refuse(|pieces| pieces.shared[3] = parameters(&[(1, bytes(&[1; 15]))]));
    assert_eq!(error, SuitError::Malformed { part: Part::SharedSequence });
    let error = refuse(|pieces| pieces.shared[11] = parameters(&[(3, bytes(&[])), (14, int(1024))]));
    assert_eq!(error, SuitError::Malformed { part: Part::SharedSequence });
}

#[test]
fn map_keys_must_ascend() {
    let backwards = parameters(&[(14, int(1024)), (3, wrapped(&suit_digest(&[1; 32])))]);
    let error = refuse(|pieces| pieces.shared[11] = backwards.clone());
    assert_eq!(error, SuitError::NotDeterministic { part: Part::SharedSequence });
    assert_eq!(Refusal::from(error), Refusal::Malformed);
    let twice = parameters(&[(14, int(1024)), (14, int(1024))]);
    let error = refuse(|pieces| pieces.shared[11] = twice.clone());
    assert_eq!(error, SuitError::NotDeterministic { part: Part::SharedSequence });
}

/// The error for the draft's manifest with a change, correctly signed.
fn refuse(change: impl FnOnce(&mut Pieces)) -> SuitError {
    let mut pieces = Pieces::of_draft();
    change(&mut pieces);
    verify(&pieces.sign(), &keys()).expect_err("refused")
}

fn set_size(set: &mut Value, bytes: u64) {
    let Value::Map(members) = set else { panic!("a map") };
    for (key, value) in members {
        if *key == int(14) {
            *value = Value::from(bytes);
        }
    }
}
