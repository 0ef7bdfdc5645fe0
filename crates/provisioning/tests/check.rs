//! The check of a provisioning document: a valid one, and each value that can be wrong.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

use proptest::prelude::*;
use provisioning::address::AddressError;
use provisioning::testing::{AGENT_SEED, enrolled};
use provisioning::{AgentFile, Hex, LinuxSettings, Provisioning, ProvisioningError, Secret, yaml};
use update_core::key_set::KeySetError;

fn good() -> Provisioning {
    enrolled("239.192.0.1:5683".parse().unwrap(), "192.0.2.1:5683".parse().unwrap())
}

fn file() -> AgentFile {
    AgentFile {
        provisioning: good(),
        linux: LinuxSettings {
            activate_command: Some(vec!["systemctl".into(), "restart".into(), "lamp".into()]),
            ..LinuxSettings::new("eth0".into(), "/var/lib/fwcast-agent".into())
        },
    }
}

#[test]
fn a_good_document_gives_what_the_protocol_needs() {
    let checked = good().check().unwrap();
    let parameters = checked.group_parameters();
    assert_eq!(parameters.gid.as_bytes(), [1, 2, 3, 4]);
    assert_eq!(parameters.master_secret, [0xb1; 16]);
    assert_eq!(checked.sender_id.as_bytes(), [1]);
    assert_eq!(checked.seed(), &AGENT_SEED);
    assert_eq!(checked.key_set.version(), 1);
    assert_eq!(checked.signed_key_set, good().key_set.0);
    assert_eq!(checked.block_size.bytes(), 1024);
}

#[test]
fn each_wrong_value_is_named() {
    type Spoil = fn(&mut Provisioning);
    let cases: [(Spoil, ProvisioningError); 39] = [
        (|p| p.version = 2, ProvisioningError::Version),
        (
            |p| p.coap_group = "192.0.2.9:5683".parse().unwrap(),
            ProvisioningError::CoapGroup(AddressError::NotMulticast),
        ),
        (|p| p.coap_group.set_port(5684), ProvisioningError::CoapGroup(AddressError::PortOfDtls)),
        (|p| p.distributor.next = 1 << 40, ProvisioningError::DistributorNext),
        (|p| p.block_size = 0, ProvisioningError::BlockSize),
        (|p| p.block_size = 128, ProvisioningError::BlockSize),
        (|p| p.block_size = 1000, ProvisioningError::BlockSize),
        (|p| p.block_size = 2048, ProvisioningError::BlockSize),
        (|p| p.key.ms = Secret::new(vec![1; 15]), ProvisioningError::MasterSecret),
        (|p| p.key.hkdf = 6, ProvisioningError::Hkdf),
        (|p| p.key.alg = 2, ProvisioningError::Aead),
        (|p| p.key.context_id = Hex::from([1]), ProvisioningError::Gid),
        (|p| p.key.context_id = Hex::from([1; 9]), ProvisioningError::Gid),
        (|p| p.key.group_sender_id = Hex::default(), ProvisioningError::SenderId),
        (|p| p.key.group_sender_id = Hex::from([1; 4]), ProvisioningError::SenderId),
        (|p| p.key.cred_fmt = 33, ProvisioningError::CredentialFormat),
        (|p| p.key.gp_enc_alg = -65534, ProvisioningError::GroupEncryption),
        (|p| p.key.sign_alg = -7, ProvisioningError::Signature),
        (|p| p.key.sign_params = vec![vec![1], vec![1, 7]], ProvisioningError::Signature),
        (|p| p.key.ecdh_alg = -28, ProvisioningError::KeyAgreement),
        (|p| p.key.ecdh_params = vec![], ProvisioningError::KeyAgreement),
        (|p| p.private_key = Secret::new(vec![0xa1; 31]), ProvisioningError::PrivateKey),
        (|p| p.private_key = Secret::new(vec![0xa9; 32]), ProvisioningError::PrivateKeyMismatch),
        (|p| p.cred = Hex::from([0xa0]), ProvisioningError::Credential),
        (|p| p.cred.0.push(0), ProvisioningError::Credential),
        // The point of order 1 makes every signature valid.
        (
            |p| {
                let length = p.cred.0.len();
                p.cred.0[length - 32..].copy_from_slice(&{
                    let mut identity = [0; 32];
                    identity[0] = 1;
                    identity
                });
            },
            ProvisioningError::Credential,
        ),
        (|p| p.kdc_cred = Hex::default(), ProvisioningError::ManagerCredential),
        (|p| p.distributor.sender_id = Hex::from([1]), ProvisioningError::DistributorSenderId),
        (|p| p.distributor.cred = p.cred.clone(), ProvisioningError::DistributorCredential),
        (
            |p| p.distributor.address = "239.192.0.1:5683".parse().unwrap(),
            ProvisioningError::DistributorAddress(AddressError::NotUnicast),
        ),
        (
            |p| p.distributor.address = "[2001:db8::1]:5683".parse().unwrap(),
            ProvisioningError::AddressFamilies,
        ),
        (|p| p.root_key = Hex::from([1; 31]), ProvisioningError::RootKey),
        (|p| p.root_key = p.cred.0[14..].into(), ProvisioningError::KeySet(KeySetError::BadSignature)),
        (|p| p.key_set.0.truncate(20), ProvisioningError::KeySet(KeySetError::Malformed)),
        (
            |p| p.manager.address = Some("192.0.2.1:5684".parse().unwrap()),
            ProvisioningError::ManagerAddress(AddressError::PortOfDtls),
        ),
        (|p| p.manager.ms = Secret::new(vec![]), ProvisioningError::ManagerMasterSecret),
        (|p| p.manager.alg = 0, ProvisioningError::ManagerAead),
        (|p| p.manager.sender_id = Hex::default(), ProvisioningError::ManagerIds),
        (|p| p.manager.sender_id = Hex::from([1; 7]), ProvisioningError::ManagerIds),
    ];
    for (number, (spoil, expected)) in cases.into_iter().enumerate() {
        let mut provisioning = good();
        spoil(&mut provisioning);
        assert_eq!(provisioning.check().map(drop), Err(expected), "case {number}");
    }
}

#[test]
fn the_file_survives_a_round_trip_under_the_names_of_the_key_map() {
    let text = yaml::to_string(&file()).unwrap();
    assert_eq!(yaml::from_str::<AgentFile>(&text).unwrap(), file());
    for name in ["ms:", "hkdf: 5", "salt:", "contextId:", "group_SenderId:", "gp_enc_alg: 1", "ecdh_alg: -27"]
    {
        assert!(text.contains(name), "{name} in\n{text}");
    }
}

#[test]
fn what_is_left_out_has_its_default_and_what_is_unknown_is_refused() {
    let text = yaml::to_string(&file()).unwrap();
    let without: String =
        text.lines().filter(|line| !line.contains("health_")).map(|line| format!("{line}\n")).collect();
    assert_eq!(yaml::from_str::<AgentFile>(&without).unwrap(), file());
    for (place, unknown) in [("linux:", "  helth_command: [x]"), ("  key:", "    sm: \"00\"")] {
        let spoiled = text.replacen(place, &format!("{place}\n{unknown}"), 1);
        let error = yaml::from_str::<AgentFile>(&spoiled).unwrap_err();
        assert!(error.to_string().contains("unknown field"), "{error}");
    }
}

#[test]
fn no_secret_is_shown_by_debug_or_by_errors() {
    let secrets = ["a1a1a1", "b1b1b1", "b2b2b2", "b3b3b3", "b4b4b4", "161, 161", "177, 177"];
    let shown = format!("{:?} {:?}", file(), good().check().unwrap());
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    let text = yaml::to_string(&file()).unwrap();
    let secret = "b1".repeat(16);
    // Only digits, and written without quotes: still text.
    let digits = text.replace(&secret, "12345678901234567890123456789012");
    let read: AgentFile = yaml::from_str(&digits).unwrap();
    assert_eq!(read.provisioning.key.ms.expose()[..2], [0x12, 0x34]);
    for spoiled in [
        text.replace(&secret, &format!("{secret}b")),
        text.replace(&secret, &format!("{secret}zz")),
        text.replace(&secret, "12345678901.5"),
        text.replace(&secret, "[b1b1b1b1]"),
        text.replace(&secret, "{b1b1b1b1: 1}"),
    ] {
        assert_ne!(spoiled, text);
        let error = yaml::from_str::<AgentFile>(&spoiled).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("b1b1b1") && !shown.contains("123456"), "{shown}");
        assert!(error.line > 0, "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any text gives a result, with a place inside the text if a place is named.
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z0-9:&*!?<>{}\\[\\],'\"|%@`#~ \\n\\t-]{0,200}") {
        if let Err(error) = yaml::from_str::<AgentFile>(&text) {
            prop_assert!(error.line <= text.lines().count() + 1);
        }
    }

    /// A valid file with one wrong character: it is read or refused, and what is read is checked or refused.
    #[test]
    fn any_spoiled_file_is_read_or_refused(at in 0usize..4000, with in any::<char>()) {
        let text = yaml::to_string(&file()).unwrap();
        let at = at % text.len();
        let spoiled: String =
            text.char_indices().map(|(place, c)| if place == at { with } else { c }).collect();
        if let Ok(read) = yaml::from_str::<AgentFile>(&spoiled) {
            let _ = read.provisioning.check();
        }
    }
}
