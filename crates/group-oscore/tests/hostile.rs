//! Hostile datagrams: all are refused, and none changes any state.
#![allow(clippy::unwrap_used)]

mod common;

use common::{changed, message, put, world};
use group_oscore::{
    AeadAlgorithm, Mode, Received, ReplayWindow, ResponseMode, ResponsePiv, SequenceNumbers, UnprotectError,
    oscore::{Context, Parameters},
};
use proptest::prelude::*;

const ALGORITHMS: [AeadAlgorithm; 3] = AeadAlgorithm::ALL;

/// Where a flipped bit does not change the message: type, Message ID and Token are not protected (RFC 8613
/// section 4.2). The outer code only has to be that of a request or of a response.
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
                    assert!(result.is_err(), "{algorithm:?} {mode:?} byte {byte} bit {bit}");
                    assert_eq!(world.windows(), before);
                }
            }
            for length in 0..datagram.len() {
                assert!(world.server.unprotect_request(&mut datagram.clone()[..length]).is_err());
            }
            assert_eq!(world.windows(), before);
            assert!(matches!(world.server.unprotect_request(&mut datagram.clone()), Ok(Received::Fresh(_))));
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
                let Ok(Received::Fresh(mut received)) = world.server.unprotect_request(&mut request) else {
                    panic!("refused")
                };
                let (response, mut out) = (changed(b"ok"), [0; 1500]);
                let mut binding = received.take_binding();
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
                        assert!(result.is_err(), "{algorithm:?} {mode:?} byte {byte} bit {bit}");
                    }
                }
                assert!(world.client.unprotect_response(&mut datagram.to_vec(), &own).is_ok());
                // Bound to its own request and to no other.
                let (_, other) = world.request(Mode::Group);
                assert!(world.client.unprotect_response(&mut datagram.to_vec(), &other).is_err());
            }
        }
    }
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
        Context::derive(&parameters, SequenceNumbers::new(0, 1000), ReplayWindow::fresh()).unwrap()
    };
    (context(&[0], &[1]), context(&[1], &[0]))
}

#[test]
fn every_flipped_bit_of_plain_oscore_is_noticed() {
    let (mut client, mut server) = oscore_pair();
    let (request, mut datagram) = (put(b"x"), [0; 1500]);
    let (length, _) = client.protect_request(&message(&request), &mut datagram).unwrap();
    let datagram = &datagram[..length];
    for byte in (0..length).filter(|byte| !is_unprotected(datagram, *byte)) {
        for bit in 0..8 {
            let mut broken = datagram.to_vec();
            broken[byte] ^= 1 << bit;
            assert!(server.unprotect_request(&mut broken).is_err(), "byte {byte} bit {bit}");
        }
    }
    assert_eq!(server.window(), &ReplayWindow::fresh());
    assert!(server.unprotect_request(&mut datagram.to_vec()).is_ok());
}

/// The genuine datagram, or one with some bytes changed, removed or replaced.
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
    fn mangled_datagrams_never_panic_and_leave_no_trace(
        changes in mangled(),
        cut in any::<prop::sample::Index>(),
    ) {
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
