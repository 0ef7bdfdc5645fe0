//! RFC 8613 appendix C, byte for byte.
#![allow(clippy::unwrap_used)]

mod common;

use common::{hex, message, plaintext, written};
use group_oscore::{
    AeadAlgorithm, Gid, IdContext, MemberId, PartialIv, Received, ReplayWindow, ResponseNumber, ResponsePiv,
    SequenceNumbers, UnprotectError,
    inspect::{self, Output},
    oscore::{Context, Parameters},
};

const CCM: AeadAlgorithm = AeadAlgorithm::AesCcm16_64_128;
const SECRET: &str = "0102030405060708090a0b0c0d0e0f10";

/// Appendices C.1 to C.3: what both sides derive.
struct Derivation {
    salt: &'static str,
    id_context: Option<&'static str>,
    client: Side,
    server: Side,
    info_iv: &'static str,
    common_iv: &'static str,
}

struct Side {
    id: &'static str,
    info: &'static str,
    key: &'static str,
    /// For Partial IV 0.
    nonce: &'static str,
}

const C1: Derivation = Derivation {
    salt: "9e7ca92223786340",
    id_context: None,
    client: Side {
        id: "",
        info: "8540f60a634b657910",
        key: "f0910ed7295e6ad4b54fc793154302ff",
        nonce: "4622d4dd6d944168eefb54987c",
    },
    server: Side {
        id: "01",
        info: "854101f60a634b657910",
        key: "ffb14e093c94c9cac9471648b4f98710",
        nonce: "4722d4dd6d944169eefb54987c",
    },
    info_iv: "8540f60a6249560d",
    common_iv: "4622d4dd6d944168eefb54987c",
};

const C2: Derivation = Derivation {
    salt: "",
    id_context: None,
    client: Side {
        id: "00",
        info: "854100f60a634b657910",
        key: "321b26943253c7ffb6003b0b64d74041",
        nonce: "bf35ae297d2dace910c52e99f9",
    },
    server: Side {
        id: "01",
        info: "854101f60a634b657910",
        key: "e57b5635815177cd679ab4bcec9d7dda",
        nonce: "bf35ae297d2dace810c52e99f9",
    },
    info_iv: "8540f60a6249560d",
    common_iv: "be35ae297d2dace910c52e99f9",
};

const C3: Derivation = Derivation {
    salt: "9e7ca92223786340",
    id_context: Some("37cbf3210017a2d3"),
    client: Side {
        id: "",
        info: "85404837cbf3210017a2d30a634b657910",
        key: "af2a1300a5e95788b356336eeecd2b92",
        nonce: "2ca58fb85ff1b81c0b7181b85e",
    },
    server: Side {
        id: "01",
        info: "8541014837cbf3210017a2d30a634b657910",
        key: "e39a0c7c77b43f03b4b39ab9a268699f",
        nonce: "2da58fb85ff1b81d0b7181b85e",
    },
    info_iv: "85404837cbf3210017a2d30a6249560d",
    common_iv: "2ca58fb85ff1b81c0b7181b85e",
};

fn id(hexadecimal: &str) -> MemberId {
    MemberId::new(&hex(hexadecimal)).unwrap()
}

fn piv(number: u64) -> PartialIv {
    PartialIv::new(number).unwrap()
}

impl Derivation {
    fn check(&self) {
        let context = self.id_context.map(hex);
        let derive = |info: &[u8], length| {
            let mut out = vec![0; length];
            inspect::derive(&hex(SECRET), &hex(self.salt), info, &mut out).unwrap();
            out
        };
        let info =
            |id: &[u8], output| written(|out| inspect::key_info(id, context.as_deref(), CCM, output, out));
        assert_eq!(info(&[], Output::Iv(13)), hex(self.info_iv));
        assert_eq!(derive(&hex(self.info_iv), 13), hex(self.common_iv));
        for side in [&self.client, &self.server] {
            assert_eq!(info(&hex(side.id), Output::Key), hex(side.info));
            assert_eq!(derive(&hex(side.info), 16), hex(side.key));
            let nonce = written(|out| inspect::nonce(CCM, &hex(self.common_iv), id(side.id), piv(0), out));
            assert_eq!(nonce, hex(side.nonce));
        }
    }

    fn context(&self, own: &Side, peer: &Side, next: u64) -> Context {
        let parameters = Parameters {
            master_secret: &hex(SECRET),
            master_salt: &hex(self.salt),
            id_context: self.id_context.map(|context| IdContext::new(&hex(context)).unwrap()),
            sender_id: id(own.id),
            recipient_id: id(peer.id),
            aead: CCM,
        };
        Context::derive(&parameters, SequenceNumbers::new(next, 1000), ReplayWindow::fresh()).unwrap()
    }

    fn client(&self, next: u64) -> Context {
        self.context(&self.client, &self.server, next)
    }

    fn server(&self, next: u64) -> Context {
        self.context(&self.server, &self.client, next)
    }
}

#[test]
fn c1_to_c3_derive_keys_and_nonces() {
    [C1, C2, C3].iter().for_each(Derivation::check);
}

/// Appendices C.4 to C.6: a request with Sender Sequence Number 20.
struct Request {
    derivation: Derivation,
    unprotected: &'static str,
    aad_array: &'static str,
    aad: &'static str,
    nonce: &'static str,
    option: &'static str,
    protected: &'static str,
}

const C4: Request = Request {
    derivation: C1,
    unprotected: "44015d1f00003974396c6f63616c686f737483747631",
    aad_array: "8501810a40411440",
    aad: "8368456e63727970743040488501810a40411440",
    nonce: "4622d4dd6d944168eefb549868",
    option: "0914",
    protected: "44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e",
};

const C5: Request = Request {
    derivation: C2,
    unprotected: "440171c30000b932396c6f63616c686f737483747631",
    aad_array: "8501810a4100411440",
    aad: "8368456e63727970743040498501810a4100411440",
    nonce: "bf35ae297d2dace910c52e99ed",
    option: "091400",
    protected: "440271c30000b932396c6f63616c686f737463091400ff4ed339a5a379b0b8bc731fffb0",
};

const C6: Request = Request {
    derivation: C3,
    unprotected: "44012f8eef9bbf7a396c6f63616c686f737483747631",
    aad_array: "8501810a40411440",
    aad: "8368456e63727970743040488501810a40411440",
    nonce: "2ca58fb85ff1b81c0b7181b84a",
    option: "19140837cbf3210017a2d3",
    protected: "44022f8eef9bbf7a396c6f63616c686f73746b19140837cbf3210017a2d3ff\
                72cd7273fd331ac45cffbe55c3",
};

#[test]
fn c4_to_c6_protect_requests() {
    for vector in [C4, C5, C6] {
        let derivation = &vector.derivation;
        let aad = inspect::Aad {
            aead: CCM,
            request_kid: id(derivation.client.id),
            request_piv: piv(20),
            group: None,
        };
        assert_eq!(written(|out| aad.external_aad(out)), hex(vector.aad_array));
        assert_eq!(written(|out| aad.enc_structure(out)), hex(vector.aad));
        let nonce = written(|out| {
            inspect::nonce(CCM, &hex(derivation.common_iv), id(derivation.client.id), piv(20), out)
        });
        assert_eq!(nonce, hex(vector.nonce));

        let request = hex(vector.unprotected);
        let mut datagram = [0; 128];
        let (length, _) = derivation.client(20).protect_request(&message(&request), &mut datagram).unwrap();
        let option = message(&datagram[..length]).option(coap_wire::option::OSCORE).unwrap();
        assert_eq!(option, hex(vector.option));
        assert_eq!(datagram[..length], hex(vector.protected));

        let mut server = derivation.server(0);
        let Ok(Received::Fresh(verified)) = server.unprotect_request(&mut datagram[..length]) else {
            panic!("refused")
        };
        assert_eq!(plaintext(&verified.body()), hex("01b3747631"));
        assert_eq!(verified.outer().option(coap_wire::option::URI_HOST), Some(&b"localhost"[..]));
        assert_eq!(verified.partial_iv(), Some(piv(20)));
        let replayed = server.unprotect_request(&mut hex(vector.protected)).err();
        assert_eq!(replayed, Some(UnprotectError::Replayed));
    }
}

const RESPONSE: &str = "64455d1f00003974ff48656c6c6f20576f726c6421";
const C7: &str = "64445d1f0000397490ffdbaad1e9a7e7b2a813d3c31524378303cdafae119106";
const C8: &str = "64445d1f00003974920100ff4d4c13669384b67354b2b6175ff4b8658c666a6cf88e";

#[test]
fn c7_and_c8_protect_responses() {
    let (mut client, mut server) = (C1.client(20), C1.server(0));
    let request = hex(C4.unprotected);
    let mut datagram = [0; 128];
    let (length, own) = client.protect_request(&message(&request), &mut datagram).unwrap();
    let Ok(Received::Fresh(mut received)) = server.unprotect_request(&mut datagram[..length]) else {
        panic!("refused")
    };
    let mut binding = received.take_binding();
    let mut number = ResponseNumber::new();
    for (which, protected) in [(ResponsePiv::OfRequest, C7), (ResponsePiv::Own, C8)] {
        let response = hex(RESPONSE);
        let mut datagram = [0; 128];
        let length =
            server.protect_response(&message(&response), &mut binding, which, &mut datagram).unwrap();
        assert_eq!(datagram[..length], hex(protected));
        let verified = client.unprotect_response(&mut datagram[..length], &own).unwrap();
        assert_eq!(plaintext(&verified.body()), hex("45ff48656c6c6f20576f726c6421"));
        assert!(number.accept(&verified));
        assert!(!number.accept(&verified));
        assert_eq!(verified.kid(), id("01"));
        assert_eq!(verified.request().gid(), Gid::EMPTY);
    }
}
