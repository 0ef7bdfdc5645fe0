//! The one place that reads YAML: a pure function over text, for operators' files in every host program.
//!
//! One parser reads it, and one walk over its events produces both the values and their places, so that the
//! two always agree. Text that other YAML readers, or people in an editor, could read differently is refused
//! with its place: aliases, anchors, tags, merge keys and directives, a repeated key, and characters that end
//! a line for some programs but not for others. Size and depth are limited.
//!
//! A plain word where text is expected is that text as written: `0012` keeps its zeros.
//!
//! [`from_str`] reads a file with one document. [`Document::all`] reads a file with several documents, keeps
//! the place of each value, and reports all problems in a document, not only the first.

mod characters;
mod document;
mod value;
mod walk;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use characters::first_refused;
pub use document::{Diagnostic, Document, PROBLEMS_MAX, Step};
pub use walk::Place;

/// Longest text that is read, in bytes. Callers stop reading a file at this length, before parsing.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// How deep lists and maps may be nested.
pub const DEPTH_MAX: usize = 16;
/// Most values in a text, so that a hostile text costs no more than an honest one: a list of 30,000 agents
/// fits.
pub const VALUES_MAX: usize = 32_000;
/// Most documents in a text.
pub const DOCUMENTS_MAX: usize = 1000;

/// Why a YAML text was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// Line, counted from 1; 0 if the problem has no place, as with a text that is too long.
    pub line: usize,
    /// Column in characters, counted from 1; 0 as for `line`.
    pub column: usize,
    /// What is wrong there.
    pub kind: YamlErrorKind,
}

/// What can be wrong with a YAML text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum YamlErrorKind {
    /// Longer than [`TEXT_BYTES_MAX`].
    TooLong,
    /// Lists and maps deeper than [`DEPTH_MAX`].
    TooDeep,
    /// More than [`VALUES_MAX`] values.
    TooMany,
    /// An alias (`*name`).
    Alias,
    /// An anchor (`&name`).
    Anchor,
    /// A tag (`!name` or `!!name`).
    Tag,
    /// A merge key (`<<`).
    MergeKey,
    /// A directive (a line that begins with `%`).
    Directive,
    /// A tab at the beginning of a line.
    Tab,
    /// A character that programs and people read differently.
    Character(char),
    /// A plain word in brackets or braces that begins with `?`, which some parsers take for the key
    /// indicator.
    QuestionMark,
    /// A block of text that is a key or a whole document.
    BlockAlone,
    /// A block of text at the end of a file without a final line break, which some parsers add.
    OpenBlock,
    /// A key that is a list or a map instead of a plain word.
    CompoundKey,
    /// The same key twice in one map.
    DoubledKey(String),
    /// No document, or more than one.
    NotOneDocument,
    /// More than [`DOCUMENTS_MAX`] documents.
    TooManyDocuments,
    /// It is not YAML.
    Syntax(String),
    /// It is YAML, but does not belong in this file: an unknown or missing key, or a value of the wrong kind.
    Content(String),
}

/// Reads one YAML document into `T`, strictly: the module documentation lists what is refused.
///
/// Unknown keys are refused if `T` says `deny_unknown_fields`, as every type of this crate does.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    Document::one(text)?.read_strictly()
}

/// Writes `value` as YAML that [`from_str`] reads back.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    serde_yaml::to_string(value).map_err(|error| YamlError {
        line: 0,
        column: 0,
        kind: YamlErrorKind::Content(error.to_string()),
    })
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        self.kind.fmt(f)
    }
}

impl fmt::Display for YamlErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the text is longer than {TEXT_BYTES_MAX} bytes"),
            Self::TooDeep => write!(f, "lists and maps are nested more than {DEPTH_MAX} deep"),
            Self::TooMany => write!(f, "there are more than {VALUES_MAX} values in the text"),
            Self::Alias => f.write_str("aliases (*name) are not allowed; write out the value"),
            Self::Anchor => f.write_str("anchors (&name) are not allowed; write out the value"),
            Self::Tag => f.write_str("tags (!name) are not allowed; leave it out"),
            Self::MergeKey => f.write_str("merge keys (<<) are not allowed; write out the keys"),
            Self::QuestionMark => f.write_str("a word that begins with ? goes in quotes"),
            Self::OpenBlock => {
                f.write_str("the last line of this block of text does not end; add a line break")
            }
            Self::BlockAlone => {
                f.write_str("a block of text is only allowed as the value of a key or in a list")
            }
            Self::Directive => {
                f.write_str("directives (a line with % in front) are not allowed; leave it out")
            }
            Self::Tab => f.write_str("a line is not indented by tabs; write spaces"),
            Self::Character(c) => write!(f, "{}", characters::refused(*c)),
            Self::CompoundKey => f.write_str("a key must be a plain word"),
            Self::DoubledKey(key) => write!(f, "the key '{key}' is there twice; keep one"),
            Self::NotOneDocument => f.write_str("exactly one document is expected"),
            Self::TooManyDocuments => write!(f, "there are more than {DOCUMENTS_MAX} documents in the text"),
            Self::Syntax(text) => write!(f, "this is not YAML: {text}"),
            Self::Content(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for YamlError {}

/// A quoted piece of a file may contain control characters that would control the reader's terminal, or be
/// pages long (docs/architecture.md, \[operators' YAML\]).
fn printable(text: &str) -> String {
    const CHARACTERS_MAX: usize = 300;
    let mut shown: String = text
        .chars()
        .take(CHARACTERS_MAX)
        .flat_map(|c| {
            let bidirectional = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}');
            let plain = !c.is_control() && !bidirectional;
            let escaped: Vec<char> = if plain { [c].into() } else { c.escape_unicode().collect() };
            escaped
        })
        .collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::vec;
    use serde::Deserialize;

    type Map = BTreeMap<String, String>;

    fn refused(text: &str) -> (usize, usize, YamlErrorKind) {
        let error = from_str::<serde_yaml::Value>(text).expect_err(text);
        (error.line, error.column, error.kind)
    }

    #[test]
    fn plain_yaml_is_read() {
        let map: Map = from_str("# a comment\na: b\n'c': \"d\"\n").unwrap();
        assert_eq!(map["a"], "b");
        assert_eq!(map["c"], "d");
    }

    #[test]
    fn what_serde_yaml_would_resolve_in_silence_is_refused_with_its_place() {
        assert_eq!(refused("a: 1\nb:\n  a: 2\na: 3\n"), (4, 1, YamlErrorKind::DoubledKey("a".into())));
        assert_eq!(refused("a: 1\n\"a\": 3\n"), (2, 1, YamlErrorKind::DoubledKey("a".into())));
        assert_eq!(refused("- {x: 1, x: 2}\n"), (1, 10, YamlErrorKind::DoubledKey("x".into())));
        assert_eq!(refused("a: &one 1\nb: *one\n").2, YamlErrorKind::Anchor);
        assert_eq!(refused("a:\n  <<: {b: 1}\n").2, YamlErrorKind::MergeKey);
        assert_eq!(refused("a: !!binary aGk=\n").2, YamlErrorKind::Tag);
        assert_eq!(refused("? [a, b]\n: 1\n").2, YamlErrorKind::CompoundKey);
    }

    #[test]
    fn what_an_editor_and_a_parser_take_differently_is_refused_with_its_place() {
        use YamlErrorKind::{BlockAlone, Character, Directive, OpenBlock, QuestionMark, Tab};
        for (text, line, column, kind) in [
            ("# Only the canary:\u{2028}  members: 1\n", 1, 19, Character('\u{2028}')),
            ("a: 1 # \u{2029}b: 2\n", 1, 8, Character('\u{2029}')),
            ("a: 1\n# x\u{85}b: &x 2\n", 2, 4, Character('\u{85}')),
            ("a: 1\rb: 2\n", 1, 5, Character('\r')),
            ("a: 1\n\0b: 2\n", 2, 1, Character('\0')),
            ("a: \u{feff}1\n", 1, 4, Character('\u{feff}')),
            ("\u{feff}\u{feff}a: 1\n", 1, 1, Character('\u{feff}')),
            ("a: 'x\u{202e}y'\n", 1, 6, Character('\u{202e}')),
            ("a: \u{ffff}\n", 1, 4, Character('\u{ffff}')),
            ("a: 1\n...\n%YAML 1.1\n---\nb: 2\n", 3, 1, Directive),
            ("a:\n \tb: 1\n", 2, 2, Tab),
            ("a: [?b]\n", 1, 5, QuestionMark),
            ("a: |\n  b", 2, 3, OpenBlock),
            ("? |\n  b\n: 1\n", 2, 3, BlockAlone),
        ] {
            assert_eq!(refused(text), (line, column, kind), "{text:?}");
            assert!(Document::all(text).is_err(), "{text:?}");
        }
        let shown = from_str::<Map>("a: \u{2028}\n").unwrap_err().to_string();
        assert!(shown.contains("U+2028") && !shown.contains('\u{2028}'), "{shown}");
    }

    #[test]
    fn one_byte_order_mark_in_front_and_lines_of_windows_are_passed_over() {
        let map: Map = from_str("\u{feff}a: b\r\nc: 'd'\r\n").unwrap();
        assert_eq!((map["a"].as_str(), map["c"].as_str()), ("b", "d"));
        assert_eq!(refused("\u{feff}a: 1\r\na: 2\r\n"), (2, 1, YamlErrorKind::DoubledKey("a".into())));
    }

    #[test]
    fn text_is_what_is_written() {
        let map: Map = from_str("a: 0012\nb: 1.10\nc: 0x1F\nd: true\ne: 1e3\n").unwrap();
        assert_eq!(map.into_values().collect::<Vec<_>>(), ["0012", "1.10", "0x1F", "true", "1e3"]);
        assert!(from_str::<Map>("a:\n").is_err() && from_str::<Map>("a: ~\n").is_err());
    }

    #[test]
    fn one_document_is_wanted() {
        assert_eq!(refused("").2, YamlErrorKind::NotOneDocument);
        assert_eq!(refused("a: 1\n---\nb: 2\n").2, YamlErrorKind::NotOneDocument);
    }

    #[test]
    fn depth_and_length_have_a_limit() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(from_str::<serde_yaml::Value>(&deep(DEPTH_MAX)).is_ok());
        assert_eq!(refused(&deep(DEPTH_MAX + 1)).2, YamlErrorKind::TooDeep);
        // Here the event parser's own limit applies first.
        assert!(matches!(refused(&deep(100_000)).2, YamlErrorKind::Syntax(_)));
        let blocks: String = (0..20).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        assert_eq!(refused(&blocks), (17, 17, YamlErrorKind::TooDeep));
        assert_eq!(refused(&" ".repeat(TEXT_BYTES_MAX + 1)).2, YamlErrorKind::TooLong);
    }

    #[test]
    fn an_unknown_key_and_a_wrong_kind_are_shown_with_line_and_column() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code, reason = "only its fields' names and kinds matter")]
        struct Small {
            port: u16,
        }
        let error = from_str::<Small>("port: 1\nprot: 2\n").unwrap_err();
        assert_eq!((error.line, error.column), (2, 1));
        assert!(error.to_string().contains("unknown field `prot`"), "{error}");
        assert!(!error.to_string().contains("at line"), "{error}");
        let error = from_str::<Small>("port: http\n").unwrap_err();
        assert_eq!(error.line, 1);
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_its_place() {
        for text in ["a: [1, 2\n", "a: \"b\n", "a: b: c\n", "\t- x\n", "a: 1\n b: 2\n"] {
            let error = from_str::<serde_yaml::Value>(text).expect_err(text);
            assert!(error.line >= 1 && error.column >= 1, "{text}: {error:?}");
        }
    }

    #[test]
    fn an_error_cannot_drive_the_terminal() {
        let text = "\"\\e[2J\\u202e\": 1\n\"\\e[2J\\u202e\": 2\n";
        let shown = from_str::<serde_yaml::Value>(text).unwrap_err().to_string();
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
        assert!(shown.contains("\\u{1b}"), "{shown}");
    }

    #[test]
    fn digits_only_text_survives_a_round_trip() {
        for word in ["0123", "12e34567", "0x10", "1_000", "null", "true", "~", "-", "1.5", "0o17", "yes"] {
            let written = to_string(&vec![word]).unwrap();
            assert_eq!(from_str::<Vec<String>>(&written).unwrap(), [word], "{written}");
        }
    }
}
