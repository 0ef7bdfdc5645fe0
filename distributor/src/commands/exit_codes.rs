//! The exit codes of `fwcast`, and the one error that ends it.
//!
//! | Code | Meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | error: something is wrong on this machine or in the network |
//! | 2 | usage: an argument is invalid |
//! | 3 | `plan --exit-code`: something would change
//! | 4 | the rollout failed or was aborted |
//! | 5 | finished, but some devices failed, within the limits of the rollout |
//! | 6 | timed out |
//! | 8 | not allowed: a secret file that others can read, or counters in doubt |
//! | 9 | a signature or a hash is wrong |
//! | 130 | interrupted (Ctrl-C) |

use std::fmt;
use std::process::ExitCode;

use fwcast_documents::ChoiceError;
use fwcast_documents::{ApplyError, DocumentError, NoDigest, PlanError};
use fwcast_service::control::SignalError;
use fwcast_service::deliver::DeliverError;
use fwcast_service::drive::DriveError;
use fwcast_service::enroll::RequestError;
use fwcast_service::enrollment::EnrollError;
use fwcast_service::forecast::ForecastError;
use fwcast_service::look::LookError;
use fwcast_service::manager::{BooksError, ManagerError};
use fwcast_service::members::MemberError;
use fwcast_service::push::CheckError;
use fwcast_service::runner::{RolloutEnd, RunError};
use fwcast_service::session::SessionError;
use fwcast_service::{BeginError, DeleteError, OrderError, SendError};
use fwcast_state::StateError;
use fwcast_state::files::FileError;
use fwcast_state::image::{ImageError, OfferError};
use fwcast_state::key_sets::KeySetFileError;
use fwcast_state::keys::KeyError;
use fwcast_state::new_group::CreateError;
use fwcast_state::random::NoRandomness;
use fwcast_state::signing::SignError;
use fwcast_state::socket::SocketError;
use fwcast_store::StoreError;
use fwcast_store::backup::BackupError;
use fwcast_store::images::ImagesError;
use fwcast_store::restore::RestoreError;
use rollout_engine::record::Outcome;

/// How a command ended. See the table at the top of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Something is wrong on this machine or in the network.
    Error = 1,
    /// An argument is invalid.
    Usage = 2,
    /// `plan --exit-code`: something would change.
    ChangesPending = 3,
    /// The rollout failed or was aborted.
    RolloutFailed = 4,
    /// Finished, but some devices failed, within the limits of the rollout.
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
    /// The sentence, without the final full stop.
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

impl<E: HasExit> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.exit(), error.to_string())
    }
}

/// The exit code of a rollout with this outcome.
pub fn exit_of(ended: RolloutEnd) -> Exit {
    match ended {
        RolloutEnd::Interrupted => Exit::Interrupted,
        RolloutEnd::Over(Outcome::Done) => Exit::Done,
        RolloutEnd::Over(Outcome::DoneWithFailures) => Exit::SomeDevicesFailed,
        RolloutEnd::Over(Outcome::Stopped | Outcome::Cancelled | Outcome::Undone) => Exit::RolloutFailed,
    }
}

/// An error with the exit code of the command that it ends.
trait HasExit: fmt::Display {
    fn exit(&self) -> Exit;
}

/// Assigns an exit code to each error: that of the error inside it, or the one that is named.
macro_rules! exits {
    ($($error:ty { $($variant:ident),* $(,)? } $(, $pattern:pat => $exit:expr)*;)*) => {
        $(impl HasExit for $error {
            fn exit(&self) -> Exit {
                match self {
                    $(Self::$variant(inner) => inner.exit(),)*
                    $($pattern => $exit,)*
                    #[allow(unreachable_patterns, reason = "some have only errors of others in them")]
                    _ => Exit::Error,
                }
            }
        })*
    };
}

exits! {
    FileError {}, Self::Exposed { .. } => Exit::NotAllowed;
    StateError { File },
        Self::SequenceInDoubt { .. } | Self::Copied { .. } => Exit::NotAllowed,
        Self::OtherFamily { .. } => Exit::Usage;
    StoreError { File, State };
    KeyError { File };
    ImageError { File }, Self::NotSigned { .. } => Exit::BadSignature;
    OfferError { State }, Self::Refused { .. } | Self::NoOffer(_) => Exit::BadSignature;
    ImagesError { File, Image, Offer, Random }, Self::OtherEnvelope { .. } => Exit::BadSignature;
    BackupError { File, State, Store };
    RestoreError { File, State, Store, Images };
    SocketError {};
    SessionError { State }, Self::RekeyDue(_) => Exit::NotAllowed;
    DriveError { State };
    SignError { File, Image, Key },
        Self::NotHigher { .. } | Self::Jump { .. } => Exit::Usage,
        Self::Refused { .. } => Exit::BadSignature;
    CreateError { State, Key, Socket }, Self::TwoFamilies { .. } => Exit::Usage;
    KeySetFileError { File, Key }, Self::NotAKeySet { .. } | Self::OtherRoot { .. } => Exit::BadSignature;
    EnrollError { State, Key, File };
    RequestError { File, State, Enroll },
        Self::Family { .. } | Self::Unknown { .. } | Self::NoAddress => Exit::Usage;
    MemberError { State },
        Self::NotAName { .. } | Self::NotAKey(_) | Self::InSeveralGroups { .. } => Exit::Usage;
    DocumentError { Store };
    ChoiceError {}, _ => Exit::Usage;
    ApplyError { File, Images, Store };
    PlanError { File, Image, Offer, Images, State, Document };
    ForecastError { Store, State };
    RunError { Send, Offer, Images, Document, NoDigest },
        Self::ImageChanged => Exit::BadSignature,
        Self::NumbersExhausted(_) => Exit::NotAllowed;
    BeginError { Apply, Plan, Document, Store, State, Run };
    OrderError { Store, Run }, Self::NotHeard(_) => Exit::TimedOut;
    DeleteError { Store };
    LookError { Store, Member, Run, State };
    BooksError { State }, Self::Unusable(_) => Exit::NotAllowed;
    ManagerError { State, Books, Random };
    DeliverError { Manager, Send, State };
    SendError { Store, State, Session, Socket, Drive, Random };
    CheckError { State, File, Image },
        Self::Refused { .. } => Exit::BadSignature,
        Self::BlockSize { .. } => Exit::Usage;
}

/// Errors that all have the same exit code.
macro_rules! plain {
    ($($error:ty),*) => {
        $(impl HasExit for $error {
            fn exit(&self) -> Exit {
                Exit::Error
            }
        })*
    };
}

plain!(SignalError, NoRandomness, NoDigest);
