//! Eight messages of Group OSCORE with every intermediate value (see `vectors/README.md`).
#![allow(clippy::unwrap_used)]

mod common;

use common::{Group, Member, around, array, hex, message, plaintext, protected_payload, written};
use group_oscore::{
    AeadAlgorithm, Credential, Gid, GroupContext, MemberId, MessageMode, Mode, OscoreOption, PartialIv,
    Received, ReceivedRequest, RecipientContext, ResponseMode, ResponsePiv, SentRequest, inspect,
};
use std::collections::BTreeMap;

const CCM: AeadAlgorithm = AeadAlgorithm::AesCcm16_64_128;

struct Vectors(BTreeMap<String, String>);

impl Vectors {
    fn read() -> Self {
        let json = include_str!("vectors/group-oscore-rfc10021-eddsa-ccm.json");
        Self(serde_json::from_str(json).expect("a flat object"))
    }

    fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.0.get(name).map(|value| hex(value))
    }

    fn value(&self, name: &str) -> Vec<u8> {
        self.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn member(&self, name: &str) -> Member {
        Member {
            id: MemberId::new(&self.value(&format!("{name}.kid"))).unwrap(),
            seed: array(&self.value(&format!("{name}.ed25519_seed"))),
            credential: Credential::from_ccs(&self.value(&format!("{name}.cred_ccs"))).unwrap(),
        }
    }

    fn group(&self) -> Group {
        Group {
            gid: Gid::new(&hex("dd11")).unwrap(),
            secret: hex("0102030405060708090a0b0c0d0e0f10"),
            salt: hex("9e7ca92223786340"),
            aead: CCM,
            group_encryption: CCM,
            gm_credential: Credential::from_ccs(&self.value("gm_cred")).unwrap(),
        }
    }
}

/// One message: its name, who sends it to whom, and the name of the request that it is or answers.
struct Case {
    name: &'static str,
    sender: &'static str,
    receiver: &'static str,
    request: &'static str,
}

const T1: &str = "T1_group_request";
const T6: &str = "T6_pairwise_request_C_to_S1";

const fn case(
    name: &'static str,
    sender: &'static str,
    receiver: &'static str,
    request: &'static str,
) -> Case {
    Case { name, sender, receiver, request }
}

const CASES: [Case; 12] = [
    case(T1, "C", "S1", T1),
    case("T2_group_response_S1_no_piv", "S1", "C", T1),
    case("T3_pairwise_response_S1_no_piv", "S1", "C", T1),
    case("T4_group_response_S1_with_piv", "S1", "C", T1),
    case("T5_pairwise_response_S1_with_piv", "S1", "C", T1),
    case("T2_group_response_S2_no_piv", "S2", "C", T1),
    case("T3_pairwise_response_S2_no_piv", "S2", "C", T1),
    case("T4_group_response_S2_with_piv", "S2", "C", T1),
    case("T5_pairwise_response_S2_with_piv", "S2", "C", T1),
    case(T6, "C", "S1", T6),
    case("T7_pairwise_response_to_pairwise_request_no_kid", "S1", "C", T6),
    case(
        "T8_group_PUT_block1_num5_more_szx2_noresponse26",
        "C",
        "S1",
        "T8_group_PUT_block1_num5_more_szx2_noresponse26",
    ),
];

impl Case {
    fn is_request(&self) -> bool {
        self.name == self.request
    }

    fn value(&self, vectors: &Vectors, what: &str) -> Vec<u8> {
        vectors.value(&format!("{}.{what}", self.name))
    }

    fn optional(&self, vectors: &Vectors, what: &str) -> Option<Vec<u8>> {
        vectors.get(&format!("{}.{what}", self.name))
    }

    fn is_group_mode(&self) -> bool {
        self.name.contains("group")
    }
}

fn request_piv(vectors: &Vectors, request: &str) -> PartialIv {
    let value = vectors.value(&format!("{request}.oscore_option"));
    OscoreOption::parse(&value).unwrap().partial_iv.unwrap()
}

#[test]
fn keys_are_derived() {
    let vectors = Vectors::read();
    let group = vectors.group();
    let derived = |info: &[u8], length| {
        let mut out = vec![0; length];
        inspect::derive(&group.secret, &group.salt, info, &mut out).unwrap();
        out
    };
    let info = |id: &[u8], output| {
        written(|out| inspect::key_info(id, Some(group.gid.as_bytes()), CCM, output, out))
    };
    for (name, output, key, length) in [
        ("info_iv", inspect::Output::Iv(13), "common_iv", 13),
        ("info_sekey", inspect::Output::SignatureEncryptionKey, "sekey", 16),
    ] {
        assert_eq!(info(&[], output), vectors.value(name));
        assert_eq!(derived(&vectors.value(name), length), vectors.value(key));
    }
    for name in ["C", "S1", "S2"] {
        let member = vectors.member(name);
        assert_eq!(member.credential.public_key()[..], vectors.value(&format!("{name}.ed25519_pub")));
        let expected = vectors.value(&format!("{name}.info_key"));
        assert_eq!(info(member.id.as_bytes(), inspect::Output::Key), expected);
        assert_eq!(derived(&expected, 16), vectors.value(&format!("{name}.sender_key")));
        let u = inspect::x25519_public_key(member.credential.public_key()).unwrap();
        assert_eq!(u[..], vectors.value(&format!("{name}.x25519_u")));
    }
}

#[test]
fn values_on_the_way_are_reproduced() {
    let vectors = Vectors::read();
    let group = vectors.group();
    for case in CASES {
        let (sender, receiver) = (vectors.member(case.sender), vectors.member(case.receiver));
        let option = case.value(&vectors, "oscore_option");
        let own_piv = OscoreOption::parse(&option).unwrap().partial_iv;
        let request_piv = request_piv(&vectors, case.request);
        let client = vectors.member("C");
        let (generator, piv) = own_piv.map_or((client.id, request_piv), |piv| (sender.id, piv));
        let nonce = written(|out| inspect::nonce(CCM, &vectors.value("common_iv"), generator, piv, out));
        assert_eq!(nonce, case.value(&vectors, "nonce"), "{}", case.name);

        let aad = inspect::Aad {
            aead: CCM,
            request_kid: client.id,
            request_piv,
            group: Some(inspect::GroupAad {
                group_encryption: CCM,
                request_gid: group.gid,
                option: &option,
                sender_credential: sender.credential.as_bytes(),
                gm_credential: group.gm_credential.as_bytes(),
            }),
        };
        assert_eq!(
            written(|out| aad.external_aad(out)),
            case.value(&vectors, "external_aad"),
            "{}",
            case.name
        );
        if let Some(expected) = case.optional(&vectors, "enc_structure") {
            assert_eq!(written(|out| aad.enc_structure(out)), expected, "{}", case.name);
        }
        if case.is_group_mode() && !case.name.contains("pairwise") {
            check_countersignature(&vectors, &case, &aad, (generator, piv));
        } else {
            check_pairwise_key(&vectors, &case, &sender, &receiver);
        }
    }
}

fn check_countersignature(
    vectors: &Vectors,
    case: &Case,
    aad: &inspect::Aad<'_>,
    (generator, piv): (MemberId, PartialIv),
) {
    let gid = vectors.group().gid;
    let to_be_signed = written(|out| aad.to_be_signed(&case.value(vectors, "ciphertext"), out));
    assert_eq!(to_be_signed, case.value(vectors, "countersign_tbs"), "{}", case.name);
    let info = written(|out| inspect::keystream_info(generator, gid, case.is_request(), out));
    assert_eq!(info, case.value(vectors, "keystream_info"), "{}", case.name);
    let keystream =
        inspect::keystream(&vectors.value("sekey"), generator, piv, gid, case.is_request()).unwrap();
    assert_eq!(keystream[..], case.value(vectors, "keystream"), "{}", case.name);
    let encrypted: Vec<u8> =
        case.value(vectors, "signature").iter().zip(keystream).map(|(byte, mask)| byte ^ mask).collect();
    assert_eq!(encrypted, case.value(vectors, "enc_signature"), "{}", case.name);
    let key = vectors.value(&format!("{}.sender_key", case.sender));
    assert_eq!(key, case.value(vectors, "key"));
}

fn check_pairwise_key(vectors: &Vectors, case: &Case, sender: &Member, receiver: &Member) {
    let secret = inspect::shared_secret(&sender.seed, receiver.credential.public_key()).unwrap();
    assert_eq!(secret[..], case.value(vectors, "shared_secret"), "{}", case.name);
    let sender_key = vectors.value(&format!("{}.sender_key", case.sender));
    let credentials = [sender.credential.as_bytes(), receiver.credential.as_bytes()];
    let gid = vectors.group().gid;
    let key =
        written(|out| inspect::pairwise_key(CCM, gid, sender.id, &sender_key, credentials, &secret, out));
    assert_eq!(key, case.value(vectors, "pairwise_key"), "{}", case.name);
}

type Context = GroupContext<[RecipientContext; 2]>;

/// The contexts of a case's sender and receiver; the sender's next number is `next`.
fn contexts(vectors: &Vectors, case: &Case, next: u64) -> (Context, Context) {
    let group = vectors.group();
    let context = |own: &str, next| {
        let others = match own {
            "C" => ["S1", "S2"],
            "S1" => ["C", "S2"],
            _ => ["C", "S1"],
        };
        let [a, b] = others.map(|name| vectors.member(name));
        group.context(&vectors.member(own), next, [&a, &b])
    };
    (context(case.sender, next), context(case.receiver, 0))
}

/// The binding of a case's request at both ends: client and server.
fn bindings(
    vectors: &Vectors,
    case: &Case,
    client: &mut Context,
    server: &mut Context,
) -> (SentRequest, ReceivedRequest) {
    let request = around(&vectors.value(&format!("{}.plaintext", case.request)), 1);
    let mode = if case.request == T6 { Mode::Pairwise(vectors.member("S1").id) } else { Mode::Group };
    let mut datagram = [0; 1500];
    client.skip(request_piv(vectors, case.request).value());
    let (length, own) = client.protect_request(&message(&request), mode, &mut datagram).unwrap();
    assert_eq!(
        protected_payload(&datagram[..length]),
        vectors.value(&format!("{}.payload", case.request)),
        "{}",
        case.request
    );
    let Ok(Received::Fresh(mut received)) = server.unprotect_request(&mut datagram[..length]) else {
        panic!("{} was not accepted", case.request)
    };
    assert_eq!(plaintext(&received.body()), vectors.value(&format!("{}.plaintext", case.request)));
    assert_eq!(received.kid(), vectors.member("C").id);
    let expected_mode = if case.request == T6 { MessageMode::Pairwise } else { MessageMode::Group };
    assert_eq!(received.mode(), expected_mode);
    (own, received.take_binding())
}

#[test]
fn requests_are_reproduced_and_accepted() {
    let vectors = Vectors::read();
    for case in CASES.iter().filter(|case| case.is_request()) {
        let (mut client, mut server) = contexts(&vectors, case, 0);
        bindings(&vectors, case, &mut client, &mut server);
    }
}

#[test]
fn responses_are_reproduced_and_accepted() {
    let vectors = Vectors::read();
    for case in CASES.iter().filter(|case| !case.is_request()) {
        let (mut server, mut client) = contexts(&vectors, case, 0);
        let (own, mut received) = bindings(&vectors, case, &mut client, &mut server);
        let response = around(&case.value(&vectors, "plaintext"), 2);
        let mode = if case.name.contains("_group_") { ResponseMode::Group } else { ResponseMode::Pairwise };
        let mode = if case.name.contains("pairwise") { ResponseMode::Pairwise } else { mode };
        let piv = if case.name.contains("with_piv") { ResponsePiv::Own } else { ResponsePiv::OfRequest };
        let mut datagram = [0; 1500];
        let length = server
            .protect_response(&message(&response), &mut received, mode, piv, &mut datagram)
            .unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
        let option = message(&datagram[..length]).option(coap_wire::option::OSCORE).unwrap().to_vec();
        assert_eq!(option, case.value(&vectors, "oscore_option"), "{}", case.name);
        assert_eq!(protected_payload(&datagram[..length]), case.value(&vectors, "payload"), "{}", case.name);
        let verified = client.unprotect_response(&mut datagram[..length], &own).unwrap();
        assert_eq!(plaintext(&verified.body()), case.value(&vectors, "plaintext"));
        assert_eq!(verified.kid(), vectors.member(case.sender).id);
    }
}
