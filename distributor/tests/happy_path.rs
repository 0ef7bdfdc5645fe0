//! From `key generate` to a verified image, as an operator does it.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use common::{CREATE_HALL, Desk, ENROLL_LAMP, SIGN};
use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signer, SigningKey};
use provisioning::{AgentFile, cbor, yaml};
use serde_json::Value;

/// 100,000 bytes of which no two blocks are the same.
fn firmware() -> Vec<u8> {
    (0..100_000u32).map(|at| (at / 7 % 251) as u8).collect()
}

fn agent_file(desk: &Desk, name: &str) -> AgentFile {
    yaml::from_str(&String::from_utf8(desk.read(name)).unwrap()).unwrap()
}

#[test]
fn keys_group_agent_and_image() {
    let desk = Desk::with_group();
    let group = desk.json("group show hall");
    assert_eq!(group["gid"].as_str().unwrap().len(), 8);
    assert_eq!(group["rate_bits_per_second"], 1_000_000);

    let enrolled = desk.json(&format!("{ENROLL_LAMP} --label ring=canary --label floor=2"));
    assert_eq!((&enrolled["sender_id"], &enrolled["labels"]["ring"]), (&"01".into(), &"canary".into()));
    let file = agent_file(&desk, "lamp-1.yaml");
    let checked = file.provisioning.check().unwrap();
    assert_eq!(hex::encode(checked.gid.as_bytes()), group["gid"]);
    assert_eq!(checked.distributor.address.to_string(), "127.0.0.1:5690");
    assert_eq!(file.linux.health_deadline_seconds, 60);
    let listed = desk.json("agent list --group hall");
    assert_eq!(listed[0]["name"], "lamp-1");
    desk.ok("agent inspect lamp-1.yaml");

    desk.write("firmware", &firmware());
    let signed = desk.json(SIGN);
    assert_eq!((&signed["blocks"], &signed["sequence_number"]), (&98.into(), &7.into()));
    let inspected = desk.json("image inspect firmware.suit");
    assert_eq!((&inspected["verified"], &inspected["digest"]), (&false.into(), &signed["digest"]));
    let verified = desk.json("image verify firmware.suit firmware --key image.pem.pub");
    assert_eq!((&verified["verified"], &verified["id"]), (&true.into(), &signed["id"]));
    // The agent trusts this image key, and the image is for it.
    let offer = update_core::suit::verify(&desk.read("firmware.suit"), &checked.key_set).unwrap();
    assert_eq!((offer.vendor, offer.class), (checked.vendor, checked.class));
}

#[test]
fn a_key_that_never_touches_this_machine_signs_as_well() {
    let desk = Desk::with_group();
    desk.write("firmware", &firmware());
    let arguments = "image sign firmware --vendor acme.example --class lamp-2 --sequence 7";
    desk.ok(&format!("{arguments} --prepare firmware.tbs"));
    let pem = String::from_utf8(desk.read("image.pem")).unwrap();
    let key = SigningKey::from_pkcs8_pem(&pem).unwrap();
    let signature = key.sign(&desk.read("firmware.tbs")).to_bytes();
    desk.write("raw", &signature);
    desk.write("hex", format!("{}\n", hex::encode(signature)).as_bytes());
    for form in ["raw", "hex"] {
        desk.ok(&format!("{arguments} --attach {form} --key image.pem.pub --out {form}.suit"));
    }
    desk.ok(SIGN);
    assert_eq!(desk.read("raw.suit"), desk.read("firmware.suit"));
    assert_eq!(desk.read("hex.suit"), desk.read("firmware.suit"));
    // Other arguments make other bytes, which this signature is not for.
    desk.fails(
        "image sign firmware --vendor acme.example --class lamp-2 --sequence 8 --attach raw --key \
         image.pem.pub --out other.suit",
        9,
        &["nothing was written", "prepare them again"],
    );
    assert!(!desk.path("other.suit").exists());
}

#[test]
fn each_agent_has_its_own_keys_and_the_whole_command_line_reaches_its_file() {
    let desk = Desk::with_group();
    desk.ok(ENROLL_LAMP);
    desk.ok("agent enroll lamp-2 --group hall --vendor fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe --class \
         1492af14-2569-5e48-bf42-9b2d51f2ab45 --out lamp-2.yaml --interface eth0 --listen-port \
         61616 --agent-state /data --activate-command systemctl restart \
         --activate-command=--no-block --activate-deadline 400s --ready-command /usr/bin/idle \
         --ready-deadline 1h --health-command /bin/true --health-deadline 5min --health-interval 10s");
    let (one, two) = (agent_file(&desk, "lamp-1.yaml"), agent_file(&desk, "lamp-2.yaml"));
    assert_ne!(one.provisioning.key.group_sender_id, two.provisioning.key.group_sender_id);
    assert_ne!(one.provisioning.private_key, two.provisioning.private_key);
    assert_ne!(one.provisioning.manager.ms, two.provisioning.manager.ms);
    assert_ne!(one.provisioning.manager.sender_id, two.provisioning.manager.sender_id);
    assert_eq!(two.provisioning.class.to_string(), "1492af14-2569-5e48-bf42-9b2d51f2ab45");
    let linux = two.linux;
    assert_eq!((linux.interface.as_str(), linux.listen_port), ("eth0", Some(61616)));
    let activate = linux.activate_command.unwrap();
    assert_eq!(activate, ["systemctl", "restart", "--no-block"]);
    assert_eq!((linux.health_deadline_seconds, linux.health_interval_seconds), (300, 10));
    assert_eq!((linux.activate_deadline_seconds, linux.ready_deadline_seconds), (400, 3600));
    assert_eq!(linux.ready_command.unwrap(), ["/usr/bin/idle"]);
    let enroll = format!("{ENROLL_LAMP}-3 --health-command");
    let enroll = enroll.replace("lamp-1 --group", "lamp-3 --group");
    let enroll: Vec<&str> = enroll.split_whitespace().collect();
    let refused = desk.run_args(&[&enroll[..], &["/bin/check && true"]].concat());
    assert!(refused.code == 2 && refused.err.contains("no shell runs"), "{}", refused.err);
    let run = desk.run_args(&[&enroll[..], &["/bin/check --fast"]].concat());
    assert_eq!(run.code, 0, "{}", run.err);
    let three = agent_file(&desk, "lamp-1.yaml-3").linux;
    assert_eq!(three.health_command.unwrap(), ["/bin/check", "--fast"]);
    assert_eq!(linux.state_directory, "/data");
}

#[test]
fn a_microcontroller_is_told_when_an_image_on_trial_is_healthy() {
    let desk = Desk::with_group();
    let rules = [
        ("", 60, true),
        ("--health-deadline 1h", 3600, true),
        ("--health-rule self-test", 60, false),
        ("--health-rule self-test --health-deadline 7days", 604_800, false),
    ];
    for (number, (options, within_seconds, hears_distributor)) in rules.into_iter().enumerate() {
        desk.ok(&format!(
            "agent enroll node-{number} --group hall --vendor acme.example --class node --format cbor \
             --address 127.0.0.7/8 --out {number}.cbor {options}"
        ));
        let area = desk.read(&format!("{number}.cbor"));
        let health = cbor::Provisioning::read(&area).unwrap().health;
        assert_eq!(health, cbor::Health { within_seconds, hears_distributor }, "{options}");
    }
}

#[test]
fn a_microcontroller_is_told_what_runs_instead_of_a_damaged_image() {
    let desk = Desk::with_group();
    for (number, (options, recovery)) in [
        ("", cbor::Recovery::Previous),
        ("--recovery previous", cbor::Recovery::Previous),
        ("--recovery none", cbor::Recovery::None),
    ]
    .into_iter()
    .enumerate()
    {
        desk.ok(&format!(
            "agent enroll node-{number} --group hall --vendor acme.example --class node --format cbor \
             --address 127.0.0.7/8 --out {number}.cbor {options}"
        ));
        let area = desk.read(&format!("{number}.cbor"));
        assert_eq!(cbor::Provisioning::read_boot(&area).unwrap().recovery, recovery, "{options}");
    }
}

#[test]
fn groups_of_every_algorithm_and_both_families() {
    let desk = Desk::with_group();
    for (name, aead, gid_bytes, cose) in [
        ("ccm", "aes-ccm-16-64-128", 2, 10),
        ("chacha", "chacha20-poly1305", 8, 24),
        ("gcm", "a128gcm", 3, 1),
    ] {
        desk.ok(&format!(
            "group create {name} --coap-group [ff15::f00d]:61616 --interface lo --distributor \
             [2001:db8::1]:61617 --manager [2001:db8::2]:61618 --root-key root.pem --image-key \
             image.pem.pub --block-size 256 --rate 250kbit/s --hops 3 --aead {aead} --gid-bytes \
             {gid_bytes}"
        ));
        desk.ok(&format!("agent enroll a --group {name} --vendor acme.example --class m --out {name}.yaml"));
        let checked = agent_file(&desk, &format!("{name}.yaml")).provisioning.check().unwrap();
        assert_eq!((checked.aead.cose(), checked.gid.as_bytes().len()), (cose, gid_bytes));
        assert_eq!(checked.manager.address.unwrap().to_string(), "[2001:db8::2]:61618");
    }
    let listed = desk.json("group list");
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|group| &group["name"]).collect();
    assert_eq!(names, ["ccm", "chacha", "gcm", "hall"]);
}

#[test]
fn a_replaced_group_has_fresh_keys_and_its_agents_are_enrolled_again() {
    let desk = Desk::with_group();
    desk.ok(&format!("{ENROLL_LAMP} --label ring=canary"));
    let before = agent_file(&desk, "lamp-1.yaml").provisioning;
    let run = desk.ok(&format!("{CREATE_HALL} --replace --yes"));
    assert!(run.err.contains("enrolled again") && run.err.contains("lamp-1"), "{}", run.err);
    assert_eq!(desk.json("agent list --group hall")[0]["sender_id"], Value::Null);
    desk.fails(
        "agent enroll lamp-1 --group hall --vendor acme.example --class lamp-2 --out new.yaml",
        1,
        &["'lamp-1'", "--again"],
    );
    let again = desk.json("agent enroll lamp-1 --group hall --again --out new.yaml");
    assert_eq!(again["labels"]["ring"], "canary");
    let after = agent_file(&desk, "new.yaml").provisioning;
    assert_eq!((before.vendor, before.class), (after.vendor, after.class));
    assert_ne!(before.key.ms, after.key.ms);
    assert_ne!(before.key.context_id, after.key.context_id);
    assert_ne!(before.distributor.cred, after.distributor.cred);
    let archive = format!("state/archive/hall-{}/group.json", before.key.context_id);
    assert!(desk.path(&archive).exists());
    // Under the same keys a Sender ID is never given again.
    let third = desk.json("agent enroll lamp-1 --group hall --again --out third.yaml");
    assert_eq!((&again["sender_id"], &third["sender_id"]), (&"01".into(), &"02".into()));
}

#[test]
fn es256_envelopes_of_other_tools_are_verified() {
    // draft-ietf-suit-manifest-37 appendix B: the public key, and example 1.
    let desk = Desk::new();
    let envelope = hex::decode(concat!(
        "d86ba2025873825824822f58201f2e7acca0dc2786f2fe4eb947f50873a6a3cfaa98866c5b02e621f42074da",
        "f2584ad28443a10126a0f6584027a3d7986eddcc1bee04e1436746408c308ed3c15ac590a1ca0cf96f85671c",
        "cac216cb9a1497fc59e21c15f33c95cf75203e25c287b31a57d6cd2ef950b27a7a035894a50101020103585f",
        "a202818141000458568614a40150fa6b4a53d5ad5fdfbe9de663e4d41ffe02501492af1425695e48bf429b2d",
        "51f2ab45035824822f582000112233445566778899aabbccddeeff0123456789abcdeffedcba98765432100e",
        "1987d0010f020f074382030f1458258614a115781b687474703a2f2f6578616d706c652e636f6d2f66696c65",
        "2e62696e1502030f",
    ));
    desk.write("example.suit", &envelope.unwrap());
    desk.write(
        "es256.pub",
        b"-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhJaBGq4LqqvSYVcYnuzaJr6qi/Eb
bz/m4rVlnIXbwK07HypLbAmBMcCjbazR14vTgdzfsJwFLbM5kdtzOLSolg==
-----END PUBLIC KEY-----
",
    );
    assert_eq!(desk.json("key show es256.pub")["algorithm"], "ES256");
    let verified = desk.json("image verify example.suit --key es256.pub");
    assert_eq!((&verified["verified"], &verified["algorithm"]), (&true.into(), &(-7).into()));
    assert_eq!(verified["components"][0]["uri"], "http://example.com/file.bin");
    assert_eq!(verified["offer"], Value::Null);
    desk.write("firmware", b"x");
    desk.fails("image verify example.suit firmware --key es256.pub", 1, &["does not describe an image"]);
    let mut spoiled = desk.read("example.suit");
    let last = spoiled.len() - 1;
    spoiled[last] ^= 1;
    desk.write("spoiled.suit", &spoiled);
    desk.fails("image verify spoiled.suit --key es256.pub", 9, &["changed after it was signed"]);
    // Devices do not take it, and an Ed25519 key did not make it.
    desk.ok("key generate --kind image --out image.pem");
    desk.fails("image verify example.suit --key image.pem.pub", 9, &["algorithm"]);
    desk.ok("key generate --kind root --out root.pem");
    desk.fails(&CREATE_HALL.replace("image.pem.pub", "es256.pub"), 1, &["'es256.pub'", "Ed25519"]);
}
