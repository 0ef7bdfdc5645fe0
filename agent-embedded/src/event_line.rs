//! An event as one line of the console.

use core::fmt::{Display, Formatter, Result};

use update_core::digest::UpdateId;
use update_core::platform::RollBackCause;
use update_core::reception::{Event, Failure, Reason};

/// An event, to be shown on one line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventLine(pub(crate) Event);

impl Display for EventLine {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            Event::Accepted { id, sequence_number, image_bytes } => {
                write!(f, "accepted {} sequence={sequence_number} bytes={image_bytes}", Id(id))
            }
            Event::Refused { id, reason } => write!(f, "refused {}: {}", Id(id), reason_text(reason)),
            Event::Recovered { id, blocks, of } => write!(f, "recovered {} blocks={blocks} of={of}", Id(id)),
            Event::Verified(id) => write!(f, "verified {}", Id(id)),
            Event::Activating { id, attempt } => write!(f, "activating {} attempt={attempt}", Id(id)),
            Event::Confirmed(id) => write!(f, "confirmed {}", Id(id)),
            Event::RolledBack { id, cause } => write!(f, "rolled back {}: {}", Id(id), cause_text(cause)),
            Event::Failed { id, failure } => write!(f, "failed {}: {}", Id(id), failure_text(failure)),
            Event::Cancelled(id) => write!(f, "cancelled {}", Id(id)),
            Event::NotSent(_) => f.write_str("a datagram could not be protected"),
            Event::Discarded(_) => f.write_str("a datagram was discarded"),
        }
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
        Reason::Busy => "busy with another update",
    }
}

const fn cause_text(cause: RollBackCause) -> &'static str {
    match cause {
        RollBackCause::Unhealthy => "the new image was not healthy",
        RollBackCause::ActivationFailed => "the activation failed",
        RollBackCause::Reset => "reset before it was confirmed",
        RollBackCause::Ordered => "by order",
    }
}

const fn failure_text(failure: Failure) -> &'static str {
    match failure {
        Failure::ImageDigest => "the whole image's SHA-256 is not the signed one",
        Failure::Storage => "storage failed",
        Failure::Cancelled => "cancelled",
        Failure::Superseded => "superseded by a newer update",
    }
}
