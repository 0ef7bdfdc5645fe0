//! The suites of Group OSCORE vectors that come with the repository.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::{fs, path::PathBuf};
use tests::vectors;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name)
}

fn suite() -> PathBuf {
    file("group-oscore-suite-ccm.json")
}

#[test]
fn the_ccm_suite_is_reproduced() {
    let report = vectors::run(&suite()).unwrap();
    assert_eq!((report.suites, report.messages, report.refused), (1, 13, 8));
    assert!(report.values > 300, "{report:?}");
}

#[test]
fn suites_of_other_algorithms_and_lengths_are_reproduced() {
    let report = vectors::run(&file("group-oscore-suites-aiocoap.json")).unwrap();
    assert_eq!((report.suites, report.messages, report.refused), (10, 90, 50));
}

/// Changes one value of the suite and runs it.
fn run_changed(change: impl FnOnce(&mut Value), name: &str) -> Result<vectors::Report, String> {
    let mut root: Value = serde_json::from_str(&fs::read_to_string(suite()).unwrap()).unwrap();
    change(&mut root["suites"][0]);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, root.to_string()).unwrap();
    vectors::run(&path)
}

/// Another hexadecimal value of the same length.
fn flip(value: &mut Value) {
    let text = value.as_str().unwrap();
    let (rest, last) = text.split_at(text.len() - 1);
    *value = format!("{rest}{}", if last == "0" { "1" } else { "0" }).into();
}

#[test]
fn every_changed_value_is_noticed() {
    let root: Value = serde_json::from_str(&fs::read_to_string(suite()).unwrap()).unwrap();
    // Texts for people, and values that are not independent.
    let passed_over = ["label", "note", "mode", "sender", "in_reply_to"];
    for message in [0, 1, 4] {
        for (name, value) in root["suites"][0]["messages"][message].as_object().unwrap() {
            if value.is_string() && !passed_over.contains(&name.as_str()) {
                let changed = |suite: &mut Value| flip(&mut suite["messages"][message][name]);
                assert!(run_changed(changed, "changed-value.json").is_err(), "{message} {name}");
            }
        }
    }
    for name in ["common_iv", "signature_encryption_key", "common_iv_info", "signature_encryption_key_info"] {
        assert!(run_changed(|suite| flip(&mut suite["keys"][name]), "changed-key.json").is_err(), "{name}");
    }
    for name in ["shared_secret", "salt_sender_key", "ikm", "info", "pairwise_key"] {
        let changed = |suite: &mut Value| flip(&mut suite["keys"]["pairwise"][3][name]);
        assert!(run_changed(changed, "changed-pair.json").is_err(), "{name}");
    }
}

#[test]
fn a_message_refused_for_another_reason_is_noticed() {
    for (negative, expect) in [(0, "decryption"), (2, "signature"), (7, "signature")] {
        let changed = |suite: &mut Value| suite["negative"][negative]["expect"] = expect.into();
        let error = run_changed(changed, "changed-reason.json").unwrap_err();
        assert!(error.contains("negative"), "{error}");
    }
    // A genuine message is not refused at all.
    let genuine = |suite: &mut Value| {
        suite["negative"][0]["protected_coap"] = suite["messages"][0]["protected_coap"].clone();
    };
    assert!(run_changed(genuine, "genuine.json").unwrap_err().contains("accepted"));
}
