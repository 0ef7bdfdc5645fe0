//! The exit codes of `fwcast-agent`, and the one error that ends it. The codes are those of `fwcast`.
//!
//! | Code | Meaning |
//! |---|---|
//! | 0 | stopped on request, installed, or checked without errors |
//! | 1 | error: something is wrong on this machine |
//! | 2 | usage: an argument or the configuration is invalid |
//! | 8 | not allowed: secrets that others can read, or a state folder in doubt |

use std::fmt;
use std::process::ExitCode;

/// How the agent ends. See the table at the top of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something is wrong on this machine.
    Error = 1,
    /// An argument or the configuration is invalid.
    Usage = 2,
    /// Secrets that others can read, or a state folder in doubt.
    NotAllowed = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the agent does not run: one sentence (what, where, why, what to do) and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The sentence, without the final full stop.
    pub sentence: String,
}

impl Failure {
    /// A failure with [`Exit::Error`].
    pub fn error(sentence: impl Into<String>) -> Self {
        Self { exit: Exit::Error, sentence: sentence.into() }
    }

    /// A failure with [`Exit::Usage`].
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, sentence: sentence.into() }
    }

    /// A failure with [`Exit::NotAllowed`].
    pub fn not_allowed(sentence: impl Into<String>) -> Self {
        Self { exit: Exit::NotAllowed, sentence: sentence.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}
