//! The parity of a group: how the distributor repairs what many agents miss (protocol.md \[parity\]).

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use update_core::limits::{CAUCHY_SOURCES_MAX, GENERATION_BLOCKS_MIN};
use update_core::parity::ErasureCode;

/// The generation that a code has where none is given.
const GENERATION: u16 = 64;

/// The parity of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Parity {
    /// None: lost blocks are sent again.
    #[default]
    None,
    /// By this code, in generations of this many blocks at most.
    Coded(update_core::parity::Parity),
}

impl Parity {
    /// The Cauchy code; `None` for a generation that it cannot have.
    #[must_use]
    pub fn cauchy(generation: Option<u16>) -> Option<Self> {
        let generation = generation.unwrap_or(GENERATION);
        update_core::parity::Parity::new(ErasureCode::Cauchy, generation).map(Self::Coded)
    }

    /// What a distribution is told.
    #[must_use]
    pub const fn coded(self) -> Option<update_core::parity::Parity> {
        match self {
            Self::None => None,
            Self::Coded(parity) => Some(parity),
        }
    }

    /// How it is written, for people.
    #[must_use]
    pub fn form() -> String {
        format!(
            "parity is none, or cauchy, or cauchy:N with generations of {GENERATION_BLOCKS_MIN} to \
             {CAUCHY_SOURCES_MAX} blocks"
        )
    }
}

impl fmt::Display for Parity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Coded(parity) => write!(f, "cauchy:{}", parity.generation()),
        }
    }
}

impl FromStr for Parity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parity = match text.split_once(':') {
            None if text == "none" => Some(Self::None),
            None if text == "cauchy" => Self::cauchy(None),
            Some(("cauchy", generation)) => generation.parse().ok().and_then(|n| Self::cauchy(Some(n))),
            _ => None,
        };
        parity.ok_or_else(Self::form)
    }
}

impl TryFrom<String> for Parity {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Parity> for String {
    fn from(parity: Parity) -> Self {
        format!("{parity}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn parity_is_read_as_it_is_shown() {
        for (text, shown) in [
            ("none", "none"),
            ("cauchy", "cauchy:64"),
            ("cauchy:8", "cauchy:8"),
            ("cauchy:128", "cauchy:128"),
        ] {
            assert_eq!(text.parse::<Parity>().unwrap().to_string(), shown);
        }
        for text in ["", "auto", "cauchy:", "cauchy:7", "cauchy:129", "rs16:64", "none:64", "Cauchy"] {
            assert!(text.parse::<Parity>().unwrap_err().contains("8 to 128"), "{text}");
        }
    }
}
