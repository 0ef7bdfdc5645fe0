//! The maps in payloads (docs/protocol.md section 3): which keys are ignored, and what is malformed. Both
//! sides follow the same rules.
#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

use minicbor::Encoder;
use update_core::census::{GenerationWindow, Query, Report, State};
use update_core::command::{Command, Dated};
use update_core::digest::Digest;
use update_core::parity::{ErasureCode, Parity};
use update_core::platform::Area;
use update_core::remark::Remark;
use update_core::target::Target;

/// A payload of each kind, and whether bytes decode to the same value.
struct Kind {
    name: &'static str,
    payload: Vec<u8>,
    reads_the_same: fn(&[u8], &[u8]) -> bool,
    reads: fn(&[u8]) -> bool,
}

fn kinds() -> [Kind; 3] {
    let written = |encode: &dyn Fn(&mut [u8]) -> Option<usize>| {
        let mut buffer = [0; 1024];
        let length = encode(&mut buffer).unwrap();
        buffer[..length].to_vec()
    };
    let query = Query {
        target: Target::All,
        update: None,
        leisure_ms: 500,
        window: None,
        only_missing: true,
        unicast_max: 7,
        detail: true,
        run: 9,
        generations: Parity::new(ErasureCode::Cauchy, 64).map(|parity| GenerationWindow {
            parity,
            area: Area::Image,
            first: 3,
            count: 4,
        }),
    };
    let mut report = Report::new(State::Blocks);
    (report.missing_blocks, report.distributor_next, report.attempt) = (300, 1 << 33, 2);
    (report.lacks, report.lacking) = (Some((Area::Pages, 3, &[1, 0, 255, 7][..])), Some(263));
    report.remark = Remark::new("no space left");
    let command = Command {
        digest: Digest([7; 32]),
        attempt: 3,
        target: Target::All,
        delay_ms: 4_000,
        from_trial: true,
        dated: Some(Dated { question: 1 << 33, since_ms: 70_000, holds_ms: 30_000 }),
    };
    [
        Kind {
            name: "query",
            payload: written(&|buffer| query.encode(buffer)),
            reads_the_same: |one, other| Query::decode(one) == Query::decode(other),
            reads: |bytes| Query::decode(bytes).is_ok(),
        },
        Kind {
            name: "report",
            payload: written(&|buffer| report.encode(buffer)),
            reads_the_same: |one, other| Report::decode(one) == Report::decode(other),
            reads: |bytes| Report::decode(bytes).is_ok(),
        },
        Kind {
            name: "command",
            payload: written(&|buffer| command.encode(buffer)),
            reads_the_same: |one, other| Command::decode(one) == Command::decode(other),
            reads: |bytes| Command::decode(bytes).is_ok(),
        },
    ]
}

/// The payload with this many additional pairs, which follow.
fn with(payload: &[u8], pairs: u8, more: &[u8]) -> Vec<u8> {
    assert!(payload[0] & 0xf0 == 0xa0 && payload[0] + pairs <= 0xb7, "a short map");
    [&[payload[0] + pairs], &payload[1..], more].concat()
}

fn pair(key: u64, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes).u64(key).unwrap();
    bytes.extend(value);
    bytes
}

/// Values of every type: integers, strings, nested arrays and maps, a tag, a simple value, a float.
const VALUES: [&[u8]; 8] = [
    b"\x18\xff",
    b"\x3a\xff\xff\xff\xff",
    b"\x43abc",
    b"\x82\x01\xa1\x02\x81\x81\x80",
    b"\xa2\x61a\x01\x61b\xa0",
    b"\xc1\x1a\x00\x00\x00\x00",
    b"\xf6",
    b"\xfb\x00\x00\x00\x00\x00\x00\x00\x00",
];

#[test]
fn keys_of_later_versions_are_passed_over() {
    for Kind { name, payload, reads_the_same, reads } in kinds() {
        assert!(reads(&payload), "{name}");
        for key in [0, 40, 63, 64, 255, 256, 4000, u64::MAX] {
            for value in VALUES {
                let later = with(&payload, 1, &pair(key, value));
                assert!(reads(&later) && reads_the_same(&payload, &later), "{name}, key {key}, {value:02x?}");
            }
        }
        let many: Vec<u8> = (100..103).flat_map(|key| pair(key, VALUES[3])).collect();
        assert!(reads_the_same(&payload, &with(&payload, 3, &many)), "{name}");
    }
}

#[test]
fn a_value_that_is_passed_over_may_be_deep_but_not_longer_than_the_payload() {
    for Kind { name, payload, reads_the_same, reads } in kinds() {
        let deep = [vec![0x81; 900], vec![0]].concat();
        assert!(reads_the_same(&payload, &with(&payload, 1, &pair(100, &deep))), "{name}");
        for endless in [
            &b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"[..],
            b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x5a\xff\xff\xff\xff",
        ] {
            assert!(!reads(&with(&payload, 1, &pair(100, endless))), "{name}, {endless:02x?}");
        }
    }
}

#[test]
fn a_known_key_that_comes_twice_is_malformed() {
    for Kind { name, payload, reads, .. } in kinds() {
        // Key and value of the first pair again, whatever they are.
        for length in 2..payload.len() {
            let again = with(&payload, 1, &payload[1..=length]);
            assert!(!reads(&again), "{name}, {length} bytes again");
        }
    }
}

#[test]
fn bytes_behind_the_map_and_indefinite_lengths_are_malformed() {
    for Kind { name, payload, reads, .. } in kinds() {
        assert!(!reads(&[&payload[..], &[0]].concat()), "{name}: a trailing byte");
        for length in 0..payload.len() {
            assert!(!reads(&payload[..length]), "{name}: cut to {length} bytes");
        }
        let indefinite = [&[0xbf], &payload[1..], &[0xff]].concat();
        assert!(!reads(&indefinite), "{name}: a map of indefinite length");
        for value in [&b"\x9f\xff"[..], b"\xbf\xff", b"\x5f\x41a\xff", b"\x7f\x61a\xff", b"\x81\x9f\xff"] {
            assert!(!reads(&with(&payload, 1, &pair(100, value))), "{name}: {value:02x?}");
        }
        assert!(!reads(&with(&payload, 1, b"\x61a\x01")), "{name}: a key that is a text");
        assert!(!reads(&with(&payload, 1, b"\x20\x01")), "{name}: a negative key");
    }
}
