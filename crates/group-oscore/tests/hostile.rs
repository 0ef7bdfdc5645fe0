//! Datagrams that are not what they seem: all are refused, and none leaves a trace.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Group, Member, changed, message, put};
use group_oscore::{
    AeadAlgorithm, GroupContext, Mode, Received, RecipientContext, Recipients as _, ReplayWindow,
    RequestBinding, ResponseMode, ResponsePiv, SequenceNumbers, UnprotectError, limits,
    oscore::{Context, Parameters},
};
use proptest::prelude::*;

const ALGORITHMS: [AeadAlgorithm; 3] = AeadAlgorithm::ALL;

type Server = GroupContext<[RecipientContext; 2]>;

struct World {
    client: GroupContext<[RecipientContext; 1]>,
    server: Server,
}

fn world(algorithm: AeadAlgorithm) -> World {
    let group = Group::new(&[0xdd, 0x11], algorithm, algorithm);
    let (client, server) = (Member::new(&[0xd0], 1), Member::new(&[0xa1], 2));
    let other = Member::new(&[0xa2], 3);
    World {
        client: group.context(&client, 5, [&server]),
        server: group.context(&server, 0, [&client, &other]),
    }
}

impl World {
    fn request(&mut self, mode: Mode) -> (Vec<u8>, RequestBinding) {
        let request = put(b"block");
        let mut datagram = [0; 1500];
        let (length, own) = self
            .client
            .protect_request(&message(&request), mode, &mut datagram)
            .unwrap();
        (datagram[..length].to_vec(), own)
    }

    fn windows(&mut self) -> Vec<ReplayWindow> {
        self.server
            .recipients()
            .iter()
            .map(|recipient| recipient.window().clone())
            .collect()
    }
}

/// Where a change of a bit is no change of the message: type, Message ID and Token are no part of what is protected
/// (RFC 8613 section 4.2). The outer code only has to be a request's or a response's.
fn is_unprotected(datagram: &[u8], byte: usize) -> bool {
    byte < 4 + usize::from(datagram[0] & 0xf)
}

#[test]
fn every_flipped_bit_of_a_request_is_noticed() {
    for algorithm in ALGORITHMS {
        let server_id = world(algorithm).server.sender_id();
        for mode in [Mode::Group, Mode::Pairwise(server_id)] {
            let mut world = world(algorithm);
            let (datagram, _) = world.request(mode);
            let before = world.windows();
            for byte in 0..datagram.len() {
                if is_unprotected(&datagram, byte) {
                    continue;
                }
                for bit in 0..8 {
                    let mut broken = datagram.clone();
                    broken[byte] ^= 1 << bit;
                    let result = world.server.unprotect_request(&mut broken);
                    assert!(
                        result.is_err(),
                        "{algorithm:?} {mode:?} byte {byte} bit {bit}"
                    );
                    assert_eq!(world.windows(), before);
                }
            }
            for length in 0..datagram.len() {
                assert!(
                    world
                        .server
                        .unprotect_request(&mut datagram.clone()[..length])
                        .is_err()
                );
            }
            assert_eq!(world.windows(), before);
            assert!(matches!(
                world.server.unprotect_request(&mut datagram.clone()),
                Ok(Received::Fresh(_))
            ));
            let replayed = world.server.unprotect_request(&mut datagram.clone()).err();
            assert_eq!(replayed, Some(UnprotectError::Replayed));
        }
    }
}

#[test]
fn every_flipped_bit_of_a_response_is_noticed() {
    for algorithm in ALGORITHMS {
        for mode in [ResponseMode::Group, ResponseMode::Pairwise] {
            for piv in [ResponsePiv::OfRequest, ResponsePiv::Own] {
                let mut world = world(algorithm);
                let (mut request, own) = world.request(Mode::Group);
                let Ok(Received::Fresh(received)) = world.server.unprotect_request(&mut request)
                else {
                    panic!("refused")
                };
                let (response, mut out) = (changed(b"ok"), [0; 1500]);
                let mut binding = received.binding();
                let length = world
                    .server
                    .protect_response(&message(&response), &mut binding, mode, piv, &mut out)
                    .unwrap();
                let datagram = &out[..length];
                for byte in (0..length).filter(|byte| !is_unprotected(datagram, *byte)) {
                    for bit in 0..8 {
                        let mut broken = datagram.to_vec();
                        broken[byte] ^= 1 << bit;
                        let result = world.client.unprotect_response(&mut broken, &own);
                        assert!(
                            result.is_err(),
                            "{algorithm:?} {mode:?} byte {byte} bit {bit}"
                        );
                    }
                }
                assert!(
                    world
                        .client
                        .unprotect_response(&mut datagram.to_vec(), &own)
                        .is_ok()
                );
                // Bound to its request and to no other.
                let (_, other) = world.request(Mode::Group);
                assert!(
                    world
                        .client
                        .unprotect_response(&mut datagram.to_vec(), &other)
                        .is_err()
                );
            }
        }
    }
}

#[test]
fn a_member_cannot_speak_for_another() {
    // The other member holds every Sender Key, but no one else's private key.
    let group = Group::new(
        &[0xdd, 0x11],
        AeadAlgorithm::A128Gcm,
        AeadAlgorithm::A128Gcm,
    );
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
        let (length, _) = forging
            .protect_request(&message(&request), mode, &mut datagram)
            .unwrap();
        assert_eq!(
            receiving.unprotect_request(&mut datagram[..length]).err(),
            Some(error)
        );
    }
}

#[test]
fn cheap_refusals_have_their_reasons() {
    let mut world = world(AeadAlgorithm::A128Gcm);
    let (datagram, _) = world.request(Mode::Group);
    let mut refusal = |datagram: &[u8]| {
        world
            .server
            .unprotect_request(&mut datagram.to_vec())
            .err()
            .unwrap()
    };
    let oscore = |option: &[u8], rest: &[u8]| {
        let length = option.len() as u8;
        let head = if length < 13 {
            vec![0x90 | length]
        } else {
            vec![0x9d, length - 13]
        };
        [&[0x50, 0x02, 0, 1][..], &head, option, rest].concat()
    };
    let payload = [&[0xff][..], &[7; 100]].concat();
    assert_eq!(refusal(&put(b"x")), UnprotectError::NotProtected);
    assert_eq!(refusal(b"\x50"), UnprotectError::Malformed);
    assert_eq!(
        refusal(&vec![0x50; limits::DATAGRAM_BYTES_MAX + 1]),
        UnprotectError::TooLong
    );
    assert_eq!(refusal(&changed(b"x")), UnprotectError::UnexpectedCode);
    assert_eq!(
        refusal(&oscore(b"\x39\x05\x02\xdd\x11\xd0", b"")),
        UnprotectError::Truncated
    );
    for (option, error) in [
        (
            &b"\x39\x05\x02\xdd\x12\xd0"[..],
            UnprotectError::UnknownGroup,
        ),
        (b"\x39\x05\x02\xdd\x11\xd1", UnprotectError::UnknownSender),
        (
            b"\x39\x05\x02\xdd\x1112345678",
            UnprotectError::UnknownSender,
        ),
        (b"\x39\x05\x02\xdd\x11\xa1", UnprotectError::OwnMessage),
        (b"\x38\x02\xdd\x11\xd0", UnprotectError::MalformedOption),
        (b"\x29\x05\xd0", UnprotectError::MalformedOption),
        (b"\x31\x05\x02\xdd\x11", UnprotectError::MalformedOption),
        (b"\x00", UnprotectError::MalformedOption),
        (
            b"\x39\x05\x02\xdd\x11\xd0",
            UnprotectError::BadCountersignature,
        ),
        (b"\x19\x05\x02\xdd\x11\xd0", UnprotectError::BadTag),
    ] {
        assert_eq!(refusal(&oscore(option, &payload)), error, "{option:02x?}");
    }
    // Block1 (27) behind the OSCORE option (9), and a second OSCORE option.
    let block = [&[0xd1, 18 - 13, 0x0a][..], &payload].concat();
    assert_eq!(
        refusal(&oscore(b"\x39\x05\x02\xdd\x11\xd0", &block)),
        UnprotectError::OuterBlock
    );
    let second = [&[0x00][..], &payload].concat();
    assert_eq!(
        refusal(&oscore(b"\x39\x05\x02\xdd\x11\xd0", &second)),
        UnprotectError::MalformedOption
    );
    let short = [&[0xff][..], &[7; 64 + 16]].concat();
    assert_eq!(
        refusal(&oscore(b"\x39\x05\x02\xdd\x11\xd0", &short)),
        UnprotectError::Truncated
    );
    // Nothing of this spoilt the genuine one.
    assert!(
        world
            .server
            .unprotect_request(&mut datagram.clone())
            .is_ok()
    );
}

#[test]
fn responses_of_others_are_refused() {
    let mut world = world(AeadAlgorithm::A128Gcm);
    let server_id = world.server.sender_id();
    let (mut request, own) = world.request(Mode::Pairwise(server_id));
    let received = match world.server.unprotect_request(&mut request) {
        Ok(Received::Fresh(verified)) => verified.binding(),
        other => panic!("{other:?}"),
    };
    let (response, mut out) = (changed(b"ok"), [0; 1500]);
    let mut binding = received;
    let mode = ResponseMode::PairwiseWithKid;
    let length = world
        .server
        .protect_response(
            &message(&response),
            &mut binding,
            mode,
            ResponsePiv::Own,
            &mut out,
        )
        .unwrap();
    // The kid is the last byte of the option's value, behind flags and Partial IV.
    let kid_at = out[..length]
        .windows(3)
        .position(|bytes| bytes == [0x09, 0, 0xa1])
        .unwrap()
        + 2;
    let mut other = out[..length].to_vec();
    other[kid_at] = 0xa2;
    let refused = world.client.unprotect_response(&mut other, &own).err();
    assert_eq!(refused, Some(UnprotectError::UnexpectedSender));
    let wrong = world
        .server
        .unprotect_response(&mut out.clone()[..length], &own)
        .err();
    assert_eq!(wrong, Some(UnprotectError::WrongBinding));
    assert!(
        world
            .client
            .unprotect_response(&mut out[..length], &own)
            .is_ok()
    );
}

fn oscore_pair() -> (Context, Context) {
    let context = |own: &[u8], peer: &[u8]| {
        let parameters = Parameters {
            master_secret: &[1; 16],
            master_salt: &[],
            id_context: None,
            sender_id: group_oscore::MemberId::new(own).unwrap(),
            recipient_id: group_oscore::MemberId::new(peer).unwrap(),
            aead: AeadAlgorithm::A128Gcm,
        };
        Context::derive(
            &parameters,
            SequenceNumbers::new(0, 1000),
            ReplayWindow::fresh(),
        )
        .unwrap()
    };
    (context(&[0], &[1]), context(&[1], &[0]))
}

#[test]
fn every_flipped_bit_of_plain_oscore_is_noticed() {
    let (mut client, mut server) = oscore_pair();
    let (request, mut datagram) = (put(b"x"), [0; 1500]);
    let (length, _) = client
        .protect_request(&message(&request), &mut datagram)
        .unwrap();
    let datagram = &datagram[..length];
    for byte in (0..length).filter(|byte| !is_unprotected(datagram, *byte)) {
        for bit in 0..8 {
            let mut broken = datagram.to_vec();
            broken[byte] ^= 1 << bit;
            assert!(
                server.unprotect_request(&mut broken).is_err(),
                "byte {byte} bit {bit}"
            );
        }
    }
    assert_eq!(server.window(), &ReplayWindow::fresh());
    assert!(server.unprotect_request(&mut datagram.to_vec()).is_ok());
}

/// The genuine datagram or one with some bytes changed, cut or replaced by others.
fn mangled() -> impl Strategy<Value = Vec<(u16, u8)>> {
    prop::collection::vec((any::<u16>(), any::<u8>()), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut world = world(AeadAlgorithm::AesCcm16_64_128);
        let (_, own) = world.request(Mode::Group);
        let (_, mut plain) = oscore_pair();
        prop_assert!(world.server.unprotect_request(&mut bytes.clone()).is_err());
        prop_assert!(world.client.unprotect_response(&mut bytes.clone(), &own).is_err());
        prop_assert!(plain.unprotect_request(&mut bytes.clone()).is_err());
        prop_assert!(plain.unprotect_response(&mut bytes.clone(), &own).is_err());
    }

    #[test]
    fn arbitrary_options_and_payloads_never_panic(
        option in prop::collection::vec(any::<u8>(), 0..12),
        payload in prop::collection::vec(any::<u8>(), 1..120),
    ) {
        let mut world = world(AeadAlgorithm::ChaCha20Poly1305);
        let (_, own) = world.request(Mode::Group);
        let (_, mut plain) = oscore_pair();
        for code in [0x02, 0x44] {
            let head = [0x50, code, 0, 1, 0x90 | option.len() as u8];
            let bytes = [&head[..], &option, &[0xff], &payload].concat();
            prop_assert!(world.server.unprotect_request(&mut bytes.clone()).is_err());
            prop_assert!(world.client.unprotect_response(&mut bytes.clone(), &own).is_err());
            prop_assert!(plain.unprotect_request(&mut bytes.clone()).is_err());
            prop_assert!(plain.unprotect_response(&mut bytes.clone(), &own).is_err());
        }
    }

    #[test]
    fn mangled_datagrams_never_panic_and_leave_no_trace(changes in mangled(), cut in any::<prop::sample::Index>()) {
        let mut world = world(AeadAlgorithm::A128Gcm);
        let (genuine, _) = world.request(Mode::Group);
        let before = world.windows();
        let mut datagram = genuine.clone();
        for (at, byte) in changes {
            let at = usize::from(at) % datagram.len();
            datagram[at] = byte;
        }
        if cut.index(4) == 0 {
            datagram.truncate(cut.index(datagram.len()));
        }
        let is_accepted = world.server.unprotect_request(&mut datagram.clone()).is_ok();
        let head = 4 + 4;
        prop_assert!(!is_accepted || datagram.get(head..) == genuine.get(head..));
        if !is_accepted {
            prop_assert_eq!(world.windows(), before);
        }
    }
}

#[test]
fn an_old_number_is_refused_before_its_signature_is_looked_at() {
    let mut world = world(AeadAlgorithm::A128Gcm);
    let (mut datagram, _) = world.request(Mode::Group);
    let mut with_bad_signature = datagram.clone();
    *with_bad_signature.last_mut().unwrap() ^= 1;
    let refusal = world
        .server
        .unprotect_request(&mut with_bad_signature.clone())
        .err();
    assert_eq!(refusal, Some(UnprotectError::BadCountersignature));
    assert!(world.server.unprotect_request(&mut datagram).is_ok());
    let refusal = world
        .server
        .unprotect_request(&mut with_bad_signature)
        .err();
    assert_eq!(refusal, Some(UnprotectError::Replayed));
    let client_id = world.client.sender_id();
    assert_eq!(
        world
            .server
            .recipients_mut()
            .get_mut(client_id)
            .unwrap()
            .window()
            .highest(),
        Some(5)
    );
}
