//! Every refusal has its own error.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Group, Member, changed, message, put, world};
use group_oscore::{
    AeadAlgorithm, Mode, Received, Recipients as _, ResponseMode, ResponsePiv, UnprotectError, limits,
};

/// A request with this OSCORE option and these bytes after it.
fn oscore(option: &[u8], rest: &[u8]) -> Vec<u8> {
    let length = option.len() as u8;
    let head = if length < 13 { vec![0x90 | length] } else { vec![0x9d, length - 13] };
    [&[0x50, 0x02, 0, 1][..], &head, option, rest].concat()
}

/// The option of a genuine request in group mode.
const GENUINE: &[u8] = b"\x39\x05\x02\xdd\x11\xd0";

#[test]
fn cheap_refusals_have_their_reasons() {
    let mut world = world(AeadAlgorithm::A128Gcm);
    let (datagram, _) = world.request(Mode::Group);
    let mut refusal = |datagram: &[u8]| world.server.unprotect_request(&mut datagram.to_vec()).err().unwrap();
    let payload = [&[0xff][..], &[7; 100]].concat();
    assert_eq!(refusal(&put(b"x")), UnprotectError::NotProtected);
    assert_eq!(refusal(b"\x50"), UnprotectError::Malformed);
    assert_eq!(refusal(&vec![0x50; limits::DATAGRAM_BYTES_MAX + 1]), UnprotectError::TooLong);
    assert_eq!(refusal(&changed(b"x")), UnprotectError::UnexpectedCode);
    assert_eq!(refusal(&oscore(GENUINE, b"")), UnprotectError::Truncated);
    // Block1 (27) after the OSCORE option (9), and a second OSCORE option.
    let block = [&[0xd1, 18 - 13, 0x0a][..], &payload].concat();
    assert_eq!(refusal(&oscore(GENUINE, &block)), UnprotectError::OuterBlock);
    let second = [&[0x00][..], &payload].concat();
    assert_eq!(refusal(&oscore(GENUINE, &second)), UnprotectError::MalformedOption);
    let short = [&[0xff][..], &[7; 64 + 16]].concat();
    assert_eq!(refusal(&oscore(GENUINE, &short)), UnprotectError::Truncated);
    // None of this affected the genuine one.
    assert!(world.server.unprotect_request(&mut datagram.clone()).is_ok());
}

#[test]
fn options_are_refused_for_what_they_lack() {
    let mut world = world(AeadAlgorithm::A128Gcm);
    let payload = [&[0xff][..], &[7; 100]].concat();
    for (option, error) in [
        (&b"\x39\x05\x02\xdd\x12\xd0"[..], UnprotectError::UnknownGroup),
        (b"\x39\x05\x02\xdd\x11\xd1", UnprotectError::UnknownSender),
        (b"\x39\x05\x02\xdd\x1112345678", UnprotectError::UnknownSender),
        (b"\x39\x05\x02\xdd\x11\xa1", UnprotectError::OwnMessage),
        (b"\x38\x02\xdd\x11\xd0", UnprotectError::MalformedOption),
        (b"\x29\x05\xd0", UnprotectError::MalformedOption),
        (b"\x31\x05\x02\xdd\x11", UnprotectError::MalformedOption),
        (b"\x00", UnprotectError::MalformedOption),
        (GENUINE, UnprotectError::BadCountersignature),
        (b"\x19\x05\x02\xdd\x11\xd0", UnprotectError::BadTag),
    ] {
        let refusal = world.server.unprotect_request(&mut oscore(option, &payload)).err();
        assert_eq!(refusal, Some(error), "{option:02x?}");
    }
}

#[test]
fn responses_of_others_are_refused() {
    let mut world = world(AeadAlgorithm::A128Gcm);
    let server_id = world.server.sender_id();
    let (mut request, own) = world.request(Mode::Pairwise(server_id));
    let received = match world.server.unprotect_request(&mut request) {
        Ok(Received::Fresh(mut verified)) => verified.take_binding(),
        other => panic!("{other:?}"),
    };
    let (response, mut out) = (changed(b"ok"), [0; 1500]);
    let mut binding = received;
    let mode = ResponseMode::PairwiseWithKid;
    let length = world
        .server
        .protect_response(&message(&response), &mut binding, mode, ResponsePiv::Own, &mut out)
        .unwrap();
    // The kid is the last byte of the option's value, after flags and Partial IV.
    let kid_at = out[..length].windows(3).position(|bytes| bytes == [0x09, 0, 0xa1]).unwrap() + 2;
    let mut other = out[..length].to_vec();
    other[kid_at] = 0xa2;
    let refused = world.client.unprotect_response(&mut other, &own).err();
    assert_eq!(refused, Some(UnprotectError::UnexpectedSender));
    let wrong = world.server.unprotect_response(&mut { out }[..length], &own).err();
    assert_eq!(wrong, Some(UnprotectError::WrongBinding));
    assert!(world.client.unprotect_response(&mut out[..length], &own).is_ok());
}

/// RFC 10021 section 5.3.1: its nonce would be that of a request under other keys.
#[test]
fn a_response_under_another_gid_without_a_partial_iv_is_refused() {
    let mut world = world(AeadAlgorithm::A128Gcm);
    let (_, own) = world.request(Mode::Group);
    let rekeyed = Group::new(&[0xdd, 0x12], AeadAlgorithm::A128Gcm, AeadAlgorithm::A128Gcm);
    let (client, server) = (Member::new(&[0xd0], 1), Member::new(&[0xa1], 2));
    let mut rekeyed = rekeyed.context(&client, 0, [&server]);
    for (option, error) in [
        // Group mode and pairwise mode, without a Partial IV and with one, which passes this check.
        (&b"\x38\x02\xdd\x12\xa1"[..], UnprotectError::MalformedOption),
        (b"\x18\x02\xdd\x12\xa1", UnprotectError::MalformedOption),
        (b"\x39\x05\x02\xdd\x12\xa1", UnprotectError::BadCountersignature),
        (b"\x19\x05\x02\xdd\x12\xa1", UnprotectError::BadTag),
    ] {
        let mut response = oscore(option, &[&[0xff][..], &[7; 100]].concat());
        response[1] = 0x44;
        let refusal = rekeyed.unprotect_response(&mut response, &own).err();
        assert_eq!(refusal, Some(error), "{option:02x?}");
    }
}

#[test]
fn a_member_cannot_speak_for_another() {
    // The other member has every Sender Key, but only its own private key.
    let group = Group::new(&[0xdd, 0x11], AeadAlgorithm::A128Gcm, AeadAlgorithm::A128Gcm);
    let (client, server) = (Member::new(&[0xd0], 1), Member::new(&[0xa1], 2));
    let mut forger = Member::new(&[0xd0], 3);
    forger.id = client.id;
    let mut forging = group.context(&forger, 0, [&server]);
    let mut receiving = group.context(&server, 0, [&client]);
    let request = put(b"forged");
    for (mode, error) in [
        (Mode::Group, UnprotectError::BadCountersignature),
        (Mode::Pairwise(server.id), UnprotectError::BadTag),
    ] {
        let mut datagram = [0; 1500];
        let (length, _) = forging.protect_request(&message(&request), mode, &mut datagram).unwrap();
        assert_eq!(receiving.unprotect_request(&mut datagram[..length]).err(), Some(error));
    }
}

#[test]
fn an_old_number_is_refused_before_its_signature_is_looked_at() {
    let mut world = world(AeadAlgorithm::A128Gcm);
    let (mut datagram, _) = world.request(Mode::Group);
    let mut with_bad_signature = datagram.clone();
    *with_bad_signature.last_mut().unwrap() ^= 1;
    let refusal = world.server.unprotect_request(&mut with_bad_signature.clone()).err();
    assert_eq!(refusal, Some(UnprotectError::BadCountersignature));
    assert!(world.server.unprotect_request(&mut datagram).is_ok());
    let refusal = world.server.unprotect_request(&mut with_bad_signature).err();
    assert_eq!(refusal, Some(UnprotectError::Replayed));
    let client_id = world.client.sender_id();
    assert_eq!(world.server.recipients_mut().get_mut(client_id).unwrap().window().highest(), Some(5));
}
