//! The events that an application hears from its agent.

use core::fmt::{Display, Formatter, Result};

use embedded_storage::nor_flash::NorFlashErrorKind;
use update_core::census::State;
use update_core::digest::UpdateId;
use update_core::platform::RollBackCause;
use update_core::reception::{Event as UpdateEvent, Failure, Reason};

use crate::store::StoreError;

/// An event of the agent. Its `Display` is one line for a console, and contains no secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The update has advanced, or was refused.
    Update(UpdateEvent),
    /// The status, because [`Application::asked`](crate::drive::Application::asked) returned.
    Status {
        /// What the agent is doing.
        state: State,
        /// Blocks of the update that are in flash.
        blocks: u32,
        /// Blocks of the update.
        of: u32,
    },
    /// The image on trial did not prove healthy in time. The previous one comes back.
    NotHealthyInTime,
    /// The self-test reports that the image on trial is not healthy. The previous one comes back.
    SelfTestFailed,
    /// The network did not accept a datagram. The distributor will ask again.
    NotSent,
    /// The flash did not do what was asked.
    StorageFailed(StoreError<NorFlashErrorKind>),
    /// The confirmation could not be stored. It will be retried.
    NotConfirmed(StoreError<NorFlashErrorKind>),
    /// The cause of a roll back could not be stored. The image is rolled back all the same.
    CauseNotStored(StoreError<NorFlashErrorKind>),
    /// The application has not allowed a restart for as long as it may, and is no longer asked.
    VetoOverruled,
    /// The board restarts now.
    Restarting,
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Update(event) => update_line(event, f),
            Self::Status { state, blocks, of } => {
                write!(f, "state={} blocks={blocks} of={of}", state.name())
            }
            Self::NotHealthyInTime => f.write_str("not healthy in time: rolling back"),
            Self::SelfTestFailed => f.write_str("the self test failed: rolling back"),
            Self::NotSent => f.write_str("a datagram could not be sent"),
            Self::StorageFailed(error) => write!(f, "storage failed: {error:?}"),
            Self::NotConfirmed(error) => write!(f, "confirming failed: {error:?}"),
            Self::CauseNotStored(error) => write!(f, "the cause could not be stored: {error:?}"),
            Self::VetoOverruled => f.write_str("no restart allowed for too long: restarting all the same"),
            Self::Restarting => f.write_str("restarting"),
        }
    }
}

fn update_line(event: &UpdateEvent, f: &mut Formatter<'_>) -> Result {
    match *event {
        UpdateEvent::Accepted { id, sequence_number, image_bytes } => {
            write!(f, "accepted {} sequence={sequence_number} bytes={image_bytes}", Id(id))
        }
        UpdateEvent::Refused { id, reason } => write!(f, "refused {}: {}", Id(id), reason_text(reason)),
        UpdateEvent::Recovered { id, blocks, of } => {
            write!(f, "recovered {} blocks={blocks} of={of}", Id(id))
        }
        UpdateEvent::Verified(id) => write!(f, "verified {}", Id(id)),
        UpdateEvent::Activating { id, attempt } => write!(f, "activating {} attempt={attempt}", Id(id)),
        UpdateEvent::Confirmed(id) => write!(f, "confirmed {}", Id(id)),
        UpdateEvent::RolledBack { id, cause } => write!(f, "rolled back {}: {}", Id(id), cause_text(cause)),
        UpdateEvent::Failed { id, failure } => write!(f, "failed {}: {}", Id(id), failure_text(failure)),
        UpdateEvent::OrderNotFresh => f.write_str("order not acted upon: nothing shows that it is recent"),
        UpdateEvent::Cancelled(id) => write!(f, "cancelled {}", Id(id)),
        UpdateEvent::Rewound => f.write_str(
            "its numbers were used before (records wiped, put back, or on two devices): it needs another \
             Sender ID",
        ),
        UpdateEvent::CountersLost => f.write_str(
            "the numbers that it has used are not known: asks the Group Manager for another Sender ID",
        ),
        UpdateEvent::Rekeyed { num } => write!(f, "new keys are in force: generation {num}"),
        UpdateEvent::Expelled => f.write_str("not a member of its group any more"),
        UpdateEvent::NotSent(_) => f.write_str("a datagram could not be protected"),
        UpdateEvent::Discarded(_) => f.write_str("a datagram was discarded"),
    }
}

struct Id(UpdateId);

impl Display for Id {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn reason_text(reason: Reason) -> &'static str {
    match reason {
        Reason::Refusal(refusal) => refusal.text(),
        Reason::Busy { .. } => "busy with another update, or too many offers recently",
    }
}

const fn cause_text(cause: RollBackCause) -> &'static str {
    match cause {
        RollBackCause::Unhealthy => "the new image was not healthy",
        RollBackCause::ActivationFailed => "the activation failed",
        RollBackCause::Reset => "reset before it was confirmed",
        RollBackCause::Ordered => "by order",
        RollBackCause::NotReady => "not ready to activate in time",
    }
}

const fn failure_text(failure: Failure) -> &'static str {
    match failure {
        Failure::ImageDigest => "the whole image's SHA-256 is not the signed one",
        Failure::Storage => "storage failed",
        Failure::Cancelled => "cancelled",
        Failure::Superseded => "superseded by a newer update",
        Failure::Stuck => "the old image cannot be brought back",
    }
}
