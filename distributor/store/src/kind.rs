//! The kinds of documents that operators apply.

use std::fmt;

use serde::Serialize;

/// The kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// Which agents are reached, and how.
    RolloutGroup,
    /// What is delivered.
    Image,
    /// How it is delivered.
    Rollout,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::RolloutGroup, Self::Image, Self::Rollout];

    /// Its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RolloutGroup => "RolloutGroup",
            Self::Image => "Image",
            Self::Rollout => "Rollout",
        }
    }

    /// Its name in a sentence.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::RolloutGroup => "rollout group",
            Self::Image => "image",
            Self::Rollout => "rollout",
        }
    }

    /// Its plural, as `fwcast get` takes it.
    pub const fn nouns(self) -> &'static str {
        match self {
            Self::RolloutGroup => "groups",
            Self::Image => "images",
            Self::Rollout => "rollouts",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
