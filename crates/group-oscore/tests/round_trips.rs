//! Every algorithm, every identifier length, every way to answer.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Group, Member, changed, message, plaintext, put};
use group_oscore::{
    AeadAlgorithm, CommonContext, DeriveError, GroupContext, GroupParameters, MemberId, MessageMode, Mode,
    ProtectError, Received, ReceivedRequest, RecipientContext, Recipients as _, ReplayWindow, ResponseMode,
    ResponseNumber, ResponsePiv, SenderContext, SentRequest, SequenceNumbers, UnprotectError, limits,
};

type Pair = GroupContext<[RecipientContext; 1]>;

/// Sends a request and returns both bindings.
fn request(from: &mut Pair, to: &mut Pair, mode: Mode) -> (SentRequest, ReceivedRequest) {
    let request = put(b"block");
    let mut datagram = [0; 1500];
    let (length, own) = from.protect_request(&message(&request), mode, &mut datagram).unwrap();
    assert!(length <= request.len() + limits::OVERHEAD_BYTES_MAX);
    let received = to.unprotect_request(&mut datagram[..length]).unwrap();
    let Received::Fresh(mut verified) = received else { panic!("unproven") };
    assert_eq!(plaintext(&verified.body()), plaintext(&message(&request).body()));
    assert_eq!((verified.kid(), verified.token()), (from.sender_id(), message(&request).token()));
    let binding = verified.take_binding();
    assert!(binding.nonce_is_free() && !verified.take_binding().nonce_is_free());
    (own, binding)
}

/// Answers in every way and returns the lengths of the answers.
fn answers(client: &mut Pair, server: &mut Pair, mode: Mode) -> Vec<usize> {
    let mut lengths = Vec::new();
    for response_mode in [ResponseMode::Group, ResponseMode::Pairwise, ResponseMode::PairwiseWithKid] {
        for piv in [ResponsePiv::OfRequest, ResponsePiv::Own] {
            let (own, mut received) = request(client, server, mode);
            let response = changed(b"ok");
            let mut datagram = [0; 1500];
            let length = server
                .protect_response(&message(&response), &mut received, response_mode, piv, &mut datagram)
                .unwrap();
            lengths.push(length);
            let verified = client.unprotect_response(&mut datagram[..length], &own).unwrap();
            assert_eq!(plaintext(&verified.body()), plaintext(&message(&response).body()));
            assert_eq!(verified.kid(), server.sender_id());
            assert_eq!(verified.partial_iv().is_some(), piv == ResponsePiv::Own);
            let expected =
                if response_mode == ResponseMode::Group { MessageMode::Group } else { MessageMode::Pairwise };
            assert_eq!(verified.mode(), expected);
        }
    }
    lengths
}

fn pair(group: &Group, client_id: &[u8], server_id: &[u8]) -> (Pair, Pair) {
    let (client, server) = (Member::new(client_id, 1), Member::new(server_id, 2));
    (group.context(&client, 0, [&server]), group.context(&server, 0, [&client]))
}

#[test]
fn every_pair_of_algorithms() {
    for aead in AeadAlgorithm::ALL {
        for group_encryption in AeadAlgorithm::ALL {
            let group = Group::new(&[0xdd, 0x11], aead, group_encryption);
            let (mut client, mut server) = pair(&group, &[0xd0], &[0xa1]);
            let server_id = server.sender_id();
            answers(&mut client, &mut server, Mode::Group);
            let lengths = answers(&mut client, &mut server, Mode::Pairwise(server_id));
            // With and without kid, which also costs the flags byte if there is no Partial IV.
            assert_eq!((lengths[2] + 2, lengths[3] + 1), (lengths[4], lengths[5]));
        }
    }
}

#[test]
fn every_length_of_identifiers() {
    for aead in AeadAlgorithm::ALL {
        let longest = aead.nonce_length() - 6;
        for id_length in 0..=longest {
            for gid_length in 0..=limits::GID_BYTES_MAX {
                let group = Group::new(&vec![0x67; gid_length], aead, aead);
                let server_id = vec![0xa1; (id_length + 1) % (longest + 1)];
                let (mut client, mut server) = pair(&group, &vec![0xd0; id_length], &server_id);
                let (own, received) = request(&mut client, &mut server, Mode::Group);
                assert_eq!(own.gid(), received.gid());
                let server_id = server.sender_id();
                request(&mut client, &mut server, Mode::Pairwise(server_id));
            }
        }
    }
}

#[test]
fn identifiers_fit_the_shorter_nonce() {
    let group = Group::new(&[1], AeadAlgorithm::A128Gcm, AeadAlgorithm::AesCcm16_64_128);
    let member = Member::new(&[7; 7], 1);
    let derived =
        RecipientContext::derive(&group.common(), member.id, member.credential, ReplayWindow::fresh());
    assert_eq!(derived.err(), Some(DeriveError::MemberIdTooLong));
    assert_eq!(group.common().member_id_bytes_max(), 6);
}

#[test]
fn wrong_parameters_are_refused() {
    let group = Group::new(&[1], AeadAlgorithm::A128Gcm, AeadAlgorithm::A128Gcm);
    let member = Member::new(&[1], 1);
    let numbers = SequenceNumbers::new(0, 10);
    let derived =
        SenderContext::derive(&group.common(), member.id, member.credential.clone(), &[9; 32], numbers);
    assert_eq!(derived.err(), Some(DeriveError::PrivateKeyMismatch));
    let parameters = GroupParameters {
        gid: group.gid,
        master_secret: &[],
        master_salt: &[],
        aead: group.aead,
        group_encryption: group.group_encryption,
        gm_credential: member.credential,
    };
    assert_eq!(CommonContext::derive(&parameters).err(), Some(DeriveError::EmptyMasterSecret));
}

fn gcm() -> Group {
    Group::new(&[0xdd, 0x11], AeadAlgorithm::A128Gcm, AeadAlgorithm::A128Gcm)
}

#[test]
fn a_request_nonce_serves_once() {
    let (mut client, mut server) = pair(&gcm(), &[0xd0], &[0xa1]);
    let (_, mut received) = request(&mut client, &mut server, Mode::Group);
    let mut copy = received.clone();
    let response = changed(b"ok");
    let response = message(&response);
    let mut out = [0; 1500];
    let mut answer = |binding: &mut ReceivedRequest, piv| {
        server.protect_response(&response, binding, ResponseMode::Group, piv, &mut out)
    };
    assert_eq!(answer(&mut copy, ResponsePiv::OfRequest), Err(ProtectError::NonceAlreadyUsed));
    assert!(answer(&mut received, ResponsePiv::OfRequest).is_ok());
    assert_eq!(answer(&mut received, ResponsePiv::OfRequest), Err(ProtectError::NonceAlreadyUsed));
    assert!(answer(&mut received, ResponsePiv::Own).is_ok());
}

#[test]
fn the_nonce_is_used_up_even_if_the_answer_does_not_fit() {
    let (mut client, mut server) = pair(&gcm(), &[0xd0], &[0xa1]);
    let (_, mut received) = request(&mut client, &mut server, Mode::Group);
    let response = changed(b"ok");
    let response = message(&response);
    let mut answer = |out: &mut [u8]| {
        server.protect_response(&response, &mut received, ResponseMode::Group, ResponsePiv::OfRequest, out)
    };
    assert_eq!(answer(&mut [0; 80]), Err(ProtectError::BufferTooSmall));
    assert_eq!(answer(&mut [0; 1500]), Err(ProtectError::NonceAlreadyUsed));
}

#[test]
fn an_unproven_request_is_accepted_by_echo_only() {
    let group = gcm();
    let (mut client, mut server) = pair(&group, &[0xd0], &[0xa1]);
    let client_id = client.sender_id();
    *server.recipients_mut().get_mut(client_id).unwrap().window_mut() = ReplayWindow::invalid();
    let server_id = server.sender_id();
    let mut token = put(b"x");
    // The Echo option, 252: after Uri-Path "fw", delta 241.
    token.splice(token.len() - 2.., [0xd4, 241 - 13, 1, 2, 3, 4]);
    let mut datagram = [0; 1500];
    let (length, own) =
        client.protect_request(&message(&token), Mode::Pairwise(server_id), &mut datagram).unwrap();
    let mut copy = datagram;
    let Ok(Received::Unproven(mut unproven)) = server.unprotect_request(&mut datagram[..length]) else {
        panic!("the window cannot know")
    };
    assert_eq!(unproven.echo(), Some(&[1, 2, 3, 4][..]));
    let (mut binding, response, mut out) = (unproven.take_binding(), changed(b""), [0; 1500]);
    let mut challenge = |piv| {
        server.protect_response(&message(&response), &mut binding, ResponseMode::Pairwise, piv, &mut out)
    };
    assert_eq!(challenge(ResponsePiv::OfRequest), Err(ProtectError::NonceAlreadyUsed));
    let challenge_length = challenge(ResponsePiv::Own).unwrap();
    client.unprotect_response(&mut out[..challenge_length], &own).unwrap();

    let Ok(Received::Unproven(again)) = server.unprotect_request(&mut copy[..length]) else {
        panic!("nothing was accepted yet")
    };
    let mut verified = server.accept_echo(unproven).unwrap();
    assert!(!verified.take_binding().nonce_is_free());
    assert_eq!(server.accept_echo(again).err(), Some(UnprotectError::Replayed));
    request(&mut client, &mut server, Mode::Group);
}

#[test]
fn a_request_is_answered_after_a_rekey() {
    let (client, server) = (Member::new(&[0xd0], 1), Member::new(&[0xa1], 2));
    let (old, mut new) = (gcm(), gcm());
    new.gid = group_oscore::Gid::new(&[0xdd, 0x12]).unwrap();
    new.secret = vec![7; 16];
    let (mut old_client, mut old_server) =
        (old.context(&client, 0, [&server]), old.context(&server, 0, [&client]));
    let (own, mut received) = request(&mut old_client, &mut old_server, Mode::Group);
    let (mut new_client, mut new_server) =
        (new.context(&client, 0, [&server]), new.context(&server, 0, [&client]));
    let response = changed(b"late");
    let response = message(&response);
    let mut out = [0; 1500];
    let mut answer = |piv, mode| new_server.protect_response(&response, &mut received, mode, piv, &mut out);
    let refused = answer(ResponsePiv::OfRequest, ResponseMode::Group);
    assert_eq!(refused, Err(ProtectError::NonceAlreadyUsed));
    for mode in [ResponseMode::Group, ResponseMode::Pairwise] {
        let mut answer = |piv| new_server.protect_response(&response, &mut received, mode, piv, &mut out);
        let length = answer(ResponsePiv::Own).unwrap();
        let mut copy = out;
        let refused = old_client.unprotect_response(&mut copy[..length], &own).err();
        assert_eq!(refused, Some(UnprotectError::UnknownGroup));
        let verified = new_client.unprotect_response(&mut out[..length], &own).unwrap();
        assert_eq!(verified.body().payload(), b"late");
    }
}

#[test]
fn responses_are_new_once() {
    let (mut client, mut server) = pair(&gcm(), &[0xd0], &[0xa1]);
    let (own, mut received) = request(&mut client, &mut server, Mode::Group);
    let response = changed(b"ok");
    let mut number = ResponseNumber::new();
    let mut datagrams = Vec::new();
    for piv in [ResponsePiv::OfRequest, ResponsePiv::Own, ResponsePiv::Own] {
        let mut out = [0; 1500];
        let mode = ResponseMode::Group;
        let length =
            server.protect_response(&message(&response), &mut received, mode, piv, &mut out).unwrap();
        datagrams.push(out[..length].to_vec());
    }
    let mut arrives = |index: usize| {
        let mut datagram = datagrams[index].clone();
        number.accept(&client.unprotect_response(&mut datagram, &own).unwrap())
    };
    assert_eq!([0, 0, 2, 2, 1].map(&mut arrives), [true, false, true, false, false]);
}

#[test]
fn what_cannot_be_protected_is_refused() {
    let (mut client, _) = pair(&gcm(), &[0xd0], &[0xa1]);
    let mut out = [0; 1500];
    let mut protect =
        |datagram: &[u8], mode| client.protect_request(&message(datagram), mode, &mut out).err();
    assert_eq!(protect(&changed(b"x"), Mode::Group), Some(ProtectError::NotARequest));
    for (option, error) in [
        (&b"\x60"[..], ProtectError::UnsupportedOption),
        (b"\x90", ProtectError::AlreadyProtected),
        (b"\xd0\x16", ProtectError::UnsupportedOption),
    ] {
        let datagram = [&b"\x50\x01\x00\x00"[..], option].concat();
        assert_eq!(protect(&datagram, Mode::Group), Some(error));
    }
    let stranger = Mode::Pairwise(MemberId::new(&[9]).unwrap());
    assert_eq!(protect(&put(b"x"), stranger), Some(ProtectError::UnknownRecipient));
    assert_eq!(protect(&put(&[0; 1450]), Mode::Group), Some(ProtectError::BufferTooSmall));
    let next = client.next_sequence_number();
    client.skip(limits::SEQUENCE_NUMBER_MAX - next);
    let request = put(b"x");
    let refused = client.protect_request(&message(&request), Mode::Group, &mut out).err();
    assert_eq!(refused, Some(ProtectError::ReservationExhausted));
}

#[test]
fn outer_options_stay_outside_and_all_others_go_inside() {
    let (mut client, mut server) = pair(&gcm(), &[0xd0], &[0xa1]);
    // Uri-Host "h", Uri-Path "p", Uri-Query "q", Proxy-Scheme "coap", and an unknown 65001.
    let request = b"\x50\x01\x00\x01\x31h\x81p\x41q\xd4\x0bcoap\xe1\xfc\xb5z".to_vec();
    let mut datagram = [0; 1500];
    let (length, _) = client.protect_request(&message(&request), Mode::Group, &mut datagram).unwrap();
    let outer: Vec<u16> = message(&datagram[..length]).options().map(|opt| opt.number).collect();
    assert_eq!(outer, [3, 9, 39]);
    assert_eq!(message(&datagram[..length]).code(), coap_wire::Code::POST);
    let Ok(Received::Fresh(verified)) = server.unprotect_request(&mut datagram[..length]) else {
        panic!("refused")
    };
    let inner: Vec<u16> = verified.body().options().map(|opt| opt.number).collect();
    assert_eq!(inner, [11, 15, 65001]);
    assert_eq!(verified.outer().option(coap_wire::option::PROXY_SCHEME), Some(&b"coap"[..]));
}
