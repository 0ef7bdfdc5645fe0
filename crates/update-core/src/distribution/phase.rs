//! Phases: what the distributor is doing now. Each phase owns its state and its step.

use super::activation::Activating;
use super::asks::Ask;
use super::image_block::ImageBlock;
use super::offer::Offering;
use super::outbox::{Sent, Slot};
use super::parts::Parts;
use super::polling::Polling;
use super::sending::Round;
use super::withdrawal::Withdrawing;
use crate::time::Instant;
use group_oscore::ProtectError;

/// What the distributor is doing now.
#[derive(Debug)]
pub(super) enum Phase {
    /// Sends the offer a few times, then asks.
    Offering(Offering),
    /// Asks, and waits for the answers.
    Asking(Ask),
    /// Asks silent agents one by one.
    Polling(Polling),
    /// Sends pages or blocks that some agent misses, then asks.
    Sending(Round),
    /// Sends the order to activate a few times, then asks.
    Activating(Activating),
    /// Sends the order to drop the update, or to go back to the old image, a few times, then asks.
    Withdrawing(Withdrawing),
    /// The distribution has ended.
    Finished,
}

/// The result of a step.
#[derive(Debug)]
pub(super) enum Step {
    /// A datagram is in the buffer.
    Sent(Sent),
    /// This phase is over; the next one follows.
    Next(Phase),
    /// There is nothing to do now.
    Idle,
}

impl Phase {
    /// One step: at most one datagram.
    ///
    /// # Errors
    /// A message could not be protected.
    pub(super) fn step(&mut self, slot: Slot<'_>, parts: &mut Parts) -> Result<Step, ProtectError> {
        match self {
            Self::Offering(offering) => offering.step(slot, parts),
            Self::Asking(ask) => ask.step(slot, parts),
            Self::Polling(polling) => polling.step(slot, parts),
            Self::Sending(round) => round.step(slot, parts),
            Self::Activating(activating) => activating.step(slot, parts),
            Self::Withdrawing(withdrawing) => withdrawing.step(slot, parts),
            Self::Finished => Ok(Step::Idle),
        }
    }

    pub(super) const fn is_finished(&self) -> bool {
        matches!(self, Self::Finished)
    }

    /// Whether both are phases of the same kind, such as two asks.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        core::mem::discriminant(self) == core::mem::discriminant(other)
    }

    /// When it wants to take its next step; `None` for never.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Asking(ask) => Some(ask.wakes_at()),
            Self::Finished => None,
            _ => Some(now),
        }
    }

    /// The image block that its next step needs. While the pace lets nothing out, there is time for blocks
    /// that later steps need.
    pub(super) fn image_block(&self, is_free: bool) -> Option<u32> {
        match self {
            Self::Sending(round) => round.image_block(is_free),
            _ => None,
        }
    }

    /// Takes the block that was read last, if it is one that parity symbols need.
    pub(super) fn take_block(&mut self, block: &ImageBlock) {
        if let Self::Sending(round) = self {
            round.take_block(block);
        }
    }

    /// A late answer to an earlier ask may name blocks that have been sent since, so only the current ask
    /// adds to what is sent next. Returns the number of its first ask, if one is in progress.
    pub(super) const fn first_ask(&self) -> Option<u32> {
        match self {
            Self::Asking(ask) => Some(ask.first_number()),
            _ => None,
        }
    }
}
