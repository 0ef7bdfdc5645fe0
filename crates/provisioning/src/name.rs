//! Names of groups and agents.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::cmp::Ordering;
use core::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a group or an agent: 1 to [`Name::LENGTH_MAX`] letters, digits, `-`, `_`, `.` and `:`,
/// beginning with a letter, a digit or `_`.
///
/// It is used as a file name and on command lines, so nothing else is accepted. Names are in natural order:
/// `lamp-2` comes before `lamp-10`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

/// Why a text is not a valid [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// It is empty.
    Empty,
    /// It is longer than [`Name::LENGTH_MAX`].
    TooLong,
    /// It has another character than letters, digits, '-', '_', '.' and ':', or begins with '.' or ':'.
    Character,
    /// It begins with '-', which command lines treat as an option.
    Dash,
}

impl Name {
    /// Longest name, in characters.
    pub const LENGTH_MAX: usize = 64;

    /// Checks a text.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::LENGTH_MAX {
            return Err(NameError::TooLong);
        }
        if text.starts_with('-') {
            return Err(NameError::Dash);
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        if !text.bytes().all(allowed) || text.starts_with(['.', ':']) {
            return Err(NameError::Character);
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether it has only `a` to `z`, `0` to `9`, `-` and `_`, as what operators name themselves: groups,
    /// documents, labels. Devices bring their names along: serial numbers, domain names, MAC addresses.
    pub fn is_plain(&self) -> bool {
        self.0.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        natural(self.0.as_bytes(), other.0.as_bytes()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares texts with their numbers taken as numbers, however many leading zeros they have.
fn natural(mut one: &[u8], mut other: &[u8]) -> Ordering {
    loop {
        let ([a, ..], [b, ..]) = (one, other) else { return one.len().cmp(&other.len()) };
        if a.is_ascii_digit() && b.is_ascii_digit() {
            let (number, rest) = split_number(one);
            let (number_b, rest_b) = split_number(other);
            let order = number.len().cmp(&number_b.len()).then_with(|| number.cmp(number_b));
            if order.is_ne() {
                return order;
            }
            (one, other) = (rest, rest_b);
        } else if a != b {
            return a.cmp(b);
        } else {
            (one, other) = (&one[1..], &other[1..]);
        }
    }
}

/// The digits at the beginning without leading zeros, and what follows them.
fn split_number(text: &[u8]) -> (&[u8], &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    let zeros = number.iter().take_while(|byte| **byte == b'0').count();
    (&number[zeros..], rest)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl core::str::FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

/// A separate visitor, so that a wrong name is reported at its own place in the file.
struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Name, E> {
        Name::new(text).map_err(E::custom)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name must not be empty"),
            Self::TooLong => write!(f, "a name has at most {} characters", Name::LENGTH_MAX),
            Self::Character => f.write_str(
                "a name has only the characters a-z, 0-9, A-Z, '-', '_', '.' and ':', and does not begin \
                 with \
                 '.' or ':'",
            ),
            Self::Dash => f.write_str("a name does not begin with '-'"),
        }
    }
}

impl core::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_natural_order() {
        let texts =
            ["lamp", "lamp-1", "lamp-01", "lamp-2", "lamp-10", "lamp-10a", "lamp-10b", "lamp-256", "lamp-a"];
        let mut names: alloc::vec::Vec<Name> =
            texts.iter().rev().map(|text| Name::new(text).unwrap()).collect();
        names.sort();
        let sorted: alloc::vec::Vec<&str> = names.iter().map(Name::as_str).collect();
        assert_eq!(
            sorted,
            ["lamp", "lamp-01", "lamp-1", "lamp-2", "lamp-10", "lamp-10a", "lamp-10b", "lamp-256", "lamp-a"]
        );
        for (one, other) in
            [("1", "1"), ("007", "7"), ("x9y1", "x9y01"), ("99999999999999999999", "100000000000000000000")]
        {
            let (one, other) = (Name::new(one).unwrap(), Name::new(other).unwrap());
            assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
            assert_eq!(one == other, one.cmp(&other).is_eq());
        }
    }

    #[test]
    fn only_harmless_names_are_taken() {
        for good in [
            "a",
            "hall-3",
            "lamp_0001",
            "_",
            "SN0012",
            "lamp.example.com",
            "00:1A:2b:ff:00:01",
            &"a".repeat(64),
        ] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        let bad = [
            "..",
            ".",
            ".a",
            ":a",
            "a/b",
            "/etc",
            "a b",
            "a\\b",
            "a\0",
            "a\u{202e}",
            "\u{1b}[2J",
            "é",
            "a\n",
        ];
        for text in bad {
            assert_eq!(Name::new(text), Err(NameError::Character), "{text:?}");
        }
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new("-o"), Err(NameError::Dash));
        assert_eq!(Name::new(&"a".repeat(65)), Err(NameError::TooLong));
    }
}
