//! The parity of a group: how the distributor repairs what many agents miss (protocol.md \[parity\]).

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use update_core::limits::{CAUCHY_SOURCES_MAX, GENERATION_BLOCKS_MIN, RS16_SOURCES_MAX};
use update_core::parity::ErasureCode;

/// The generation that the Cauchy code has where none is given; the code rs16 has the largest.
const CAUCHY_GENERATION: u16 = 64;

/// The parity of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Parity {
    /// None: lost blocks are sent again.
    None,
    /// By the best code for the agents that are enrolled.
    #[default]
    Auto,
    /// By this code, in generations of this many blocks at most.
    Coded(update_core::parity::Parity),
}

impl Parity {
    /// The Cauchy code; `None` for a generation that it cannot have.
    #[must_use]
    pub fn cauchy(generation: Option<u16>) -> Option<Self> {
        Self::of(ErasureCode::Cauchy, generation.unwrap_or(CAUCHY_GENERATION))
    }

    /// The code rs16; `None` for a generation that it cannot have.
    #[must_use]
    pub fn rs16(generation: Option<u16>) -> Option<Self> {
        Self::of(ErasureCode::Rs16, generation.unwrap_or(RS16_SOURCES_MAX as u16))
    }

    fn of(code: ErasureCode, generation: u16) -> Option<Self> {
        update_core::parity::Parity::new(code, generation).map(Self::Coded)
    }

    /// What it comes to for the agents of a group: all of them run Linux, or perhaps not. A microcontroller
    /// has no memory for the code rs16.
    #[must_use]
    pub fn for_agents(self, are_linux: bool) -> Self {
        match self {
            Self::Auto if are_linux => Self::rs16(None).unwrap_or(Self::None),
            Self::Auto => Self::cauchy(None).unwrap_or(Self::None),
            other => other,
        }
    }

    /// What a distribution is told, once it is settled for its agents.
    #[must_use]
    pub const fn coded(self) -> Option<update_core::parity::Parity> {
        match self {
            Self::None | Self::Auto => None,
            Self::Coded(parity) => Some(parity),
        }
    }

    /// How it is written, for people.
    #[must_use]
    pub fn form() -> String {
        format!(
            "parity is none, auto, cauchy or cauchy:N with generations of {GENERATION_BLOCKS_MIN} to \
             {CAUCHY_SOURCES_MAX} blocks, or rs16 or rs16:N with generations of up to {RS16_SOURCES_MAX}"
        )
    }
}

impl fmt::Display for Parity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Auto => f.write_str("auto"),
            Self::Coded(parity) => {
                let code = match parity.code() {
                    ErasureCode::Cauchy => "cauchy",
                    ErasureCode::Rs16 => "rs16",
                };
                write!(f, "{code}:{}", parity.generation())
            }
        }
    }
}

impl FromStr for Parity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parity = match text.split_once(':') {
            None if text == "none" => Some(Self::None),
            None if text == "auto" => Some(Self::Auto),
            None if text == "cauchy" => Self::cauchy(None),
            None if text == "rs16" => Self::rs16(None),
            Some(("cauchy", generation)) => generation.parse().ok().and_then(|n| Self::cauchy(Some(n))),
            Some(("rs16", generation)) => generation.parse().ok().and_then(|n| Self::rs16(Some(n))),
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
            ("auto", "auto"),
            ("cauchy", "cauchy:64"),
            ("cauchy:8", "cauchy:8"),
            ("cauchy:128", "cauchy:128"),
            ("rs16", "rs16:4096"),
            ("rs16:8", "rs16:8"),
        ] {
            assert_eq!(text.parse::<Parity>().unwrap().to_string(), shown);
        }
        let others =
            ["", "auto:64", "cauchy:", "cauchy:7", "cauchy:129", "rs16:7", "rs16:4097", "none:64", "Cauchy"];
        for text in others {
            assert!(text.parse::<Parity>().unwrap_err().contains("8 to 128"), "{text}");
        }
    }

    #[test]
    fn the_best_code_is_the_one_that_all_agents_have_memory_for() {
        let shown = |text: &str, are_linux| text.parse::<Parity>().unwrap().for_agents(are_linux).to_string();
        assert_eq!(shown("auto", true), "rs16:4096");
        assert_eq!(shown("auto", false), "cauchy:64");
        assert_eq!((shown("rs16:256", false), shown("none", true)), ("rs16:256".into(), "none".into()));
    }
}
