//! One text has one meaning: what is read is what another YAML parser reads too, unless that one refuses it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use provisioning::yaml::{self, Document};
use serde::Deserialize as _;
use serde_yaml::Value;

/// Pieces of documents: those with a meaning in YAML, and some that should have none.
const PIECES: &[&str] = &[
    "a",
    "b",
    "k: ",
    "l: ",
    "a:",
    ": ",
    ":",
    "- ",
    "-",
    "? ",
    "?",
    "\n",
    "\n",
    "\n",
    "\n  ",
    "\n  ",
    "\n ",
    "\n    ",
    " ",
    "  ",
    "\t",
    "# c",
    " # c",
    "#",
    "'",
    "\"",
    "'q'",
    "\"q\"",
    "\"k\": ",
    "'k': ",
    "|\n",
    ">\n",
    "|-\n  ",
    ">+\n  ",
    "|2\n",
    "[",
    "]",
    "{",
    "}",
    ",",
    ", ",
    "---",
    "---\n",
    "\n---\n",
    "\n...\n",
    "...",
    "&x ",
    "*x",
    "!t ",
    "!!str ",
    "<<: ",
    "%YAML 1.2\n",
    "%TAG ! x\n",
    "~",
    "null",
    "true",
    "1",
    "-1",
    "0x1f",
    "0o17",
    "0123",
    "1.50",
    "1e3",
    ".inf",
    "=",
    "@",
    "`",
    "!",
    "&",
    "*",
    "\\",
    "\\\n",
    "\\n",
    "\u{2028}",
    "\u{2029}",
    "\u{85}",
    "\u{feff}",
    "\r",
    "\r\n",
    "\0",
    "\u{b}",
    "\u{7f}",
    "\u{a0}",
    "\u{fffe}",
    "\u{202e}",
    "\u{e9}",
    "\u{1f600}",
    "<",
    ">",
    "|",
    "%",
    "members: { selector: {} }",
];

/// What operators write.
const SAMPLE: &str = "\
# Lamps, in waves.
apiVersion: fwcast/v1
kind: Rollout
metadata: { name: lamps-2, labels: {site: \"0012\", 'hw': 1.10} }
spec:
  image: ./firmware.bin
  groups: [hall, 'cellar' ]
  waves:
    - { name: canary, size: 1, soak: 10m }
    -
      name: others
      size: rest
      agents:
      - lamp-1
      - 12345
  note: |
    two lines
      of text
  folded: >-
    one
    line
---
kind: Image
...
";

/// Words of all kinds, without the characters that are refused.
const WORDS: &str = "[^\\pC\u{2028}\u{2029}]{0,12}|[0-9a-fox+._~-]{1,6}|\
                     [\u{80}-\u{84}\u{86}-\u{9f}\t\n\r \"':#]{1,6}";

fn texts() -> impl Strategy<Value = String> {
    vec(select(PIECES), 0..16).prop_map(|pieces| pieces.concat())
}

/// The documents of a text, as the other parser reads them. After a byte order mark it takes `---` for text.
fn other(text: &str) -> Option<Vec<Value>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_yaml::Deserializer::from_str(text).map(|part| Value::deserialize(part).ok()).collect()
}

fn ours(text: &str) -> Option<Vec<Value>> {
    let documents = Document::all(text).ok()?;
    Some(documents.iter().map(|one| one.read().expect("every value is a value")).collect())
}

/// Whether two trees are the same. For us a key is text, whatever it looks like.
fn same(ours: &Value, other: &Value) -> bool {
    match (ours, other) {
        (Value::Sequence(ours), Value::Sequence(other)) => {
            ours.len() == other.len() && ours.iter().zip(other).all(|(ours, other)| same(ours, other))
        }
        (Value::Mapping(ours), Value::Mapping(other)) => {
            let entry = |((key, value), (other_key, other)): ((&Value, &Value), (&Value, &Value))| {
                let bare = key.as_str().and_then(|text| serde_yaml::from_str::<Value>(text).ok());
                (key == other_key || bare.as_ref() == Some(other_key)) && same(value, other)
            };
            ours.len() == other.len() && ours.iter().zip(other).all(entry)
        }
        _ => ours == other,
    }
}

fn agree(text: &str) -> Result<(), TestCaseError> {
    let (Some(mut ours), Some(other)) = (ours(text), other(text)) else { return Ok(()) };
    if ours.is_empty() {
        ours.push(Value::Null);
    }
    prop_assert_eq!(ours.len(), other.len(), "{:?}: {:?} and {:?}", text, ours, other);
    for (ours, other) in ours.iter().zip(&other) {
        prop_assert!(same(ours, other), "{:?}: {:?} and {:?}", text, ours, other);
    }
    Ok(())
}

#[test]
fn the_sample_is_read_by_both() {
    assert!(ours(SAMPLE).is_some() && other(SAMPLE).is_some());
    assert!(agree(SAMPLE).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn two_readers_see_the_same_or_one_refuses(text in texts()) {
        agree(&text)?;
    }

    #[test]
    fn two_readers_see_the_same_in_a_spoiled_sample(
        spoils in vec((0..SAMPLE.len(), 0..3_usize, select(PIECES)), 1..4),
    ) {
        let mut text = SAMPLE.to_owned();
        for (at, cut, piece) in spoils {
            let (at, end) = (text.ceil_char_boundary(at), text.ceil_char_boundary(at + cut));
            text.replace_range(at..end, piece);
        }
        agree(&text)?;
    }

    #[test]
    fn what_is_written_is_read_as_it_was(word in WORDS) {
        let written = yaml::to_string(&vec![&word]).unwrap();
        prop_assert_eq!(yaml::from_str::<Vec<String>>(&written).ok(), Some(vec![word]), "{}", written);
    }
}
