//! Why a rollout cannot continue.

use provisioning::Name;

use crate::send::SendError;
use fwcast_documents::{DocumentError, NoDigest};
use fwcast_state::StateError;
use fwcast_state::image::OfferError;
use fwcast_store::StoreError;
use fwcast_store::images::ImagesError;

/// Why a rollout cannot continue, or was not found.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store, or a group that something is sent to.
    #[error(transparent)]
    Send(SendError),
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
        "the Sender Sequence Numbers of group '{0}' are used up: give it fresh keys with `fwcast group \
         rekey {0}`"
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

impl<E: Into<SendError>> From<E> for RunError {
    fn from(error: E) -> Self {
        Self::Send(error.into())
    }
}

impl RunError {
    /// The group that another process sends for, if that is the reason.
    pub(super) fn busy_group(&self) -> Option<&Name> {
        match self {
            Self::Send(
                SendError::State(StateError::Locked { name, .. })
                | SendError::Store(StoreError::State(StateError::Locked { name, .. })),
            ) => Some(name),
            _ => None,
        }
    }
}
