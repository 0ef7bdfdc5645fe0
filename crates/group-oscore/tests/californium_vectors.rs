//! Keys and shared secrets of Californium's own tests (see `vectors/README.md`).
#![allow(clippy::unwrap_used)]

mod common;

use common::{array, hex, written};
use group_oscore::{AeadAlgorithm, inspect};
use std::collections::BTreeMap;

#[test]
fn keys_of_californium_are_derived() {
    let json = include_str!("vectors/californium-key-derivation.json");
    let cases: Vec<BTreeMap<String, serde_json::Value>> = serde_json::from_str(json).unwrap();
    assert_eq!(cases.len(), 13);
    for case in cases {
        let value = |name: &str| hex(case.get(name).and_then(serde_json::Value::as_str).unwrap());
        if case.contains_key("shared_secret") {
            let (seed, public_key) = (array(&value("ed25519_seed")), array(&value("peer_ed25519_pub")));
            let secret = inspect::shared_secret(&seed, &public_key).unwrap();
            assert_eq!(secret[..], value("shared_secret"));
            continue;
        }
        let algorithm = AeadAlgorithm::from_cose(case["alg"].as_i64().unwrap()).unwrap();
        let info = written(|out| {
            inspect::key_info(&value("id"), Some(&value("gid")), algorithm, inspect::Output::Key, out)
        });
        let mut key = vec![0; algorithm.key_length()];
        inspect::derive(&value("master_secret"), &value("master_salt"), &info, &mut key).unwrap();
        assert_eq!(key, value("key"));
    }
}
