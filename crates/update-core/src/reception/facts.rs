//! The events of an update, and the reasons why it fails or is not taken.

use crate::census::State;
use crate::digest::UpdateId;
use crate::platform::RollBackCause;
use crate::refusal::Refusal;
use crate::time::Instant;
use group_oscore::{ProtectError, UnprotectError};

/// Events of an update, for the agent's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A new update was accepted.
    Accepted {
        /// Its identifier.
        id: UpdateId,
        /// Its manifest sequence number.
        sequence_number: u64,
        /// Its image's length in bytes.
        image_bytes: u32,
    },
    /// An offer was refused.
    Refused {
        /// Its identifier, as the path named it.
        id: UpdateId,
        /// Why.
        reason: Reason,
    },
    /// After a restart, this many blocks of the update were found intact in storage.
    Recovered {
        /// Which update.
        id: UpdateId,
        /// Blocks found.
        blocks: u32,
        /// Blocks of the image.
        of: u32,
    },
    /// The whole image is stored and its SHA-256 is right.
    Verified(UpdateId),
    /// The image is being activated.
    Activating {
        /// Which update.
        id: UpdateId,
        /// The attempt.
        attempt: u32,
    },
    /// The image on trial is confirmed.
    Confirmed(UpdateId),
    /// The image on trial was rolled back.
    RolledBack {
        /// Which update.
        id: UpdateId,
        /// Why.
        cause: RollBackCause,
    },
    /// The update was given up.
    Failed {
        /// Which update.
        id: UpdateId,
        /// Why.
        failure: Failure,
    },
    /// An order was not acted upon: nothing shows that it is recent (protocol.md \[fresh\]).
    OrderNotFresh,
    /// An update was dropped by order of the distributor.
    Cancelled(UpdateId),
    /// The distributor says that the numbers of this device were used before: its state was wiped, put back
    /// or copied. Nothing more is sent or accepted under this Sender ID.
    Rewound,
    /// Which numbers this device has used is not known any more. It neither sends nor accepts anything before
    /// its Group Manager has given it another Sender ID.
    CountersLost,
    /// New keys are in force.
    Rekeyed {
        /// Their generation.
        num: u32,
    },
    /// The Group Manager says that this device is not a member of its group.
    Expelled,
    /// A datagram could not be protected, and was not sent.
    NotSent(ProtectError),
    /// A datagram was refused before it had any effect.
    Discarded(UnprotectError),
}

/// Why an accepted update was given up. The numbers travel in reports, above those of [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Failure {
    /// Every block is right, but the SHA-256 of the whole image is not the signed one: the manifest was
    /// signed with a wrong digest.
    ImageDigest = 64,
    /// Storage failed repeatedly.
    Storage = 65,
    /// The distributor cancelled it.
    Cancelled = 66,
    /// An update with a higher manifest sequence number replaced it (protocol.md \[one update\]).
    Superseded = 67,
    /// The image should be rolled back, but the old one cannot be brought back.
    Stuck = 68,
}

/// Why an agent that fetches makes no progress. The numbers travel in reports of an incomplete update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Obstacle {
    /// The answers are not the blocks asked for: another size, another number, or no block at all.
    Unfitting = 82,
    /// The answers do not have the signed hash.
    WrongHash = 83,
    /// The distributor refuses the requests.
    Refused = 84,
    /// The distributor keeps asking for proof that the requests are fresh.
    Challenged = 85,
}

/// Why an offer was not accepted. The codes travel in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The offer itself was refused.
    Refusal(Refusal),
    /// Another update replaced this one less than ten minutes ago, or is on trial; or the slot was erased too
    /// often recently (code 80).
    Busy {
        /// When it would be accepted, if known.
        until: Option<Instant>,
    },
}

impl Reason {
    /// The number of [`Self::Busy`].
    pub const BUSY: u8 = 80;

    /// The code in reports.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Refusal(refusal) => refusal.code(),
            Self::Busy { .. } => Self::BUSY,
        }
    }
}

/// The reason reported with the states trial and confirmed if the previous image was damaged.
pub const RECOVERED: u8 = 81;
/// The reason reported with the state deferred.
pub const NOT_NOW: u8 = 86;

/// What a reason code of a report means, in plain words, given the state that it came with.
#[must_use]
pub fn reason_text(state: State, code: u8) -> &'static str {
    match (state, code) {
        (_, 0) => "",
        (State::RolledBack, 1) => "the health check did not pass in time",
        (State::RolledBack, 2) => "the activation failed",
        (State::RolledBack, 3) => "the device was reset before the image was confirmed",
        (State::RolledBack, 4) => "rolled back by order",
        (State::RolledBack, 5) => "the device was not ready to activate in time",
        (_, 64) => "the whole image's SHA-256 is not the signed one",
        (_, 65) => "storage failed",
        (_, 66) => "cancelled",
        (_, 68) => "the old image cannot be brought back",
        (_, 67) => "superseded by a newer update",
        (_, RECOVERED) => "it took the place of an image that was damaged",
        (_, 82) => "fetches get answers that are not the blocks asked for",
        (_, 83) => "fetched blocks do not have the signed hash",
        (_, 84) => "fetches are refused",
        (_, 85) => "fetches are challenged again and again",
        (_, NOT_NOW) => "the device says not now",
        (State::Ready, Reason::BUSY) => "it activated too often recently",
        (State::Trial, Reason::BUSY) => "it rolled back too often recently",
        (_, Reason::BUSY) => "busy with another update, or too many offers recently",
        (_, code) => Refusal::from_code(code).map_or("unknown reason", Refusal::text),
    }
}
