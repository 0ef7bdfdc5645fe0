//! The exit codes of `fwcast`, and the one error that ends it.
//!
//! | Code | Meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | error: something on this machine or in the network is not as it should be |
//! | 2 | usage: an argument is wrong by itself |
//! | 3 | `plan --exit-code`: something would change
//! | 4 | the rollout failed or was aborted |
//! | 5 | finished, but some devices failed within what the rollout tolerates |
//! | 6 | timed out |
//! | 8 | not allowed: a secret file that others can read, or counters in doubt |
//! | 9 | a signature or a hash is wrong |
//! | 130 | interrupted (Ctrl-C) |

use std::fmt;
use std::process::ExitCode;

/// How a command ended. See the table at the head of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Something on this machine or in the network is not as it should be.
    Error = 1,
    /// An argument is wrong by itself.
    Usage = 2,
    /// `plan --exit-code`: something would change.
    ChangesPending = 3,
    /// The rollout failed or was aborted.
    RolloutFailed = 4,
    /// Finished, but some devices failed within what the rollout tolerates.
    SomeDevicesFailed = 5,
    /// Timed out.
    TimedOut = 6,
    /// A secret file that others can read, or counters in doubt.
    NotAllowed = 8,
    /// A signature or a hash is wrong.
    BadSignature = 9,
    /// Interrupted by the operator.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: one sentence for the operator (what, where, why, what to do) and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The sentence, without a full stop at its end.
    pub sentence: String,
}

impl Failure {
    /// A failure with this code and sentence.
    pub fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: sentence.into() }
    }

    /// A failure with [`Exit::Error`].
    pub fn error(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Error, sentence)
    }

    /// A failure with [`Exit::Usage`].
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Usage, sentence)
    }

    /// A failure with [`Exit::NotAllowed`].
    pub fn not_allowed(sentence: impl Into<String>) -> Self {
        Self::new(Exit::NotAllowed, sentence)
    }

    /// A failure with [`Exit::BadSignature`].
    pub fn bad_signature(sentence: impl Into<String>) -> Self {
        Self::new(Exit::BadSignature, sentence)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}
