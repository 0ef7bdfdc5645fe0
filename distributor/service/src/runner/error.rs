//! Why a rollout cannot continue.

use provisioning::Name;

use crate::drive::DriveError;
use crate::session::SessionError;
use fwcast_documents::{DocumentError, NoDigest};
use fwcast_state::StateError;
use fwcast_state::image::OfferError;
use fwcast_state::random::NoRandomness;
use fwcast_state::socket::SocketError;
use fwcast_store::StoreError;
use fwcast_store::images::ImagesError;

/// Why a rollout cannot continue, or was not found.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A group's files or lock.
    #[error(transparent)]
    State(#[from] StateError),
    /// A group cannot be opened to send.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The group's socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Sending.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// A group would not accept the image.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The image in the state folder.
    #[error(transparent)]
    Images(#[from] ImagesError),
    /// The applied documents.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The plan names no image.
    #[error(transparent)]
    NoDigest(#[from] NoDigest),
    /// The system gives no random bytes.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// No rollout with this name has begun.
    #[error("there is no rollout '{0}' that has begun: `fwcast get rollouts` lists them")]
    NotBegun(Name),
    /// This program does not know the form of its stored state.
    #[error(
        "the state of rollout '{name}' cannot be read ({why}): a newer fwcast may have written it, so use \
         the newer one"
    )]
    StateUnreadable {
        /// Which rollout.
        name: Name,
        /// What is wrong in it.
        why: serde_json::Error,
    },
    /// Its state cannot be written as JSON.
    #[error("cannot write the rollout's state as JSON: {0}")]
    StateNotWritten(serde_json::Error),
    /// The image changed while it was sent.
    #[error(
        "the image in the state folder changed or cannot be read: apply its document again, with the image \
         file and its envelope"
    )]
    ImageChanged,
    /// No number is left for another datagram.
    #[error(
        "the Sender Sequence Numbers of group '{0}' are used up: create fresh keys with `fwcast group \
         create {0} --replace`"
    )]
    NumbersExhausted(Name),
    /// A message of this program cannot be protected.
    #[error(
        "a message to group '{group}' could not be protected ({why}): this is a bug in fwcast, please \
         report it"
    )]
    Unprotectable {
        /// The security group.
        group: Name,
        /// What Group OSCORE says.
        why: group_oscore::ProtectError,
    },
}

impl RunError {
    /// The group that another process sends for, if that is the reason.
    pub(super) fn busy_group(&self) -> Option<&Name> {
        match self {
            Self::State(StateError::Locked { name, .. })
            | Self::Store(StoreError::State(StateError::Locked { name, .. })) => Some(name),
            _ => None,
        }
    }
}
