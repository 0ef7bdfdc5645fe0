//! A member's context of a security group.

mod protect;
mod unprotect;

use crate::{
    CommonContext, ForeignReservation, MemberId, MixedGroups, RecipientContext, Recipients, Reservation,
    SenderContext, UnprotectError, Verified, received::Unproven,
};
use core::fmt;

/// How to protect a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Group mode, for requests to the whole group.
    Group,
    /// Pairwise mode, for a unicast request to this member.
    Pairwise(MemberId),
}

/// How to protect a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseMode {
    /// Group mode.
    Group,
    /// Pairwise mode. It only has a kid if the request was in group mode (RFC 10021 section 4.1).
    Pairwise,
    /// Pairwise mode, with a kid even if it may be omitted, as in aiocoap.
    PairwiseWithKid,
}

/// Whose Partial IV the nonce of a response uses (RFC 10021 section 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponsePiv {
    /// This member's own, which goes into the message.
    Own,
    /// That of the request, at most once.
    OfRequest,
}

/// One member's context in one group. `R` holds the other members.
pub struct GroupContext<R> {
    common: CommonContext,
    sender: SenderContext,
    recipients: R,
}

impl<R> GroupContext<R> {
    /// The Common Context.
    pub const fn common(&self) -> &CommonContext {
        &self.common
    }

    /// This member's Sender ID.
    pub const fn sender_id(&self) -> MemberId {
        self.sender.id
    }

    /// The Sender Context.
    pub const fn sender(&self) -> &SenderContext {
        &self.sender
    }

    /// The other members.
    pub const fn recipients(&self) -> &R {
        &self.recipients
    }

    /// The other members, to add or remove some. A Recipient Context derived for another group counts as
    /// unknown.
    pub const fn recipients_mut(&mut self) -> &mut R {
        &mut self.recipients
    }

    /// What to store before continuing: due when at most `low_water` reserved numbers are left. It extends
    /// the current reservation by `step` (RFC 8613 appendix B.1.1).
    pub fn reservation_due(&self, low_water: u64, step: u64) -> Option<Reservation> {
        self.sender.numbers.reservation_due(low_water, step, || self.sender.key.mark())
    }

    /// Makes the numbers of a stored reservation available.
    ///
    /// # Errors
    /// [`ForeignReservation`]: nothing has changed.
    pub fn reserve(&mut self, reservation: Reservation) -> Result<(), ForeignReservation> {
        let owner = self.sender.key.mark();
        self.sender.numbers.reserve(reservation, owner)
    }

    /// Skips `count` numbers. Beyond the reservation nothing is protected until there is a new one.
    pub fn skip(&mut self, count: u64) {
        self.sender.numbers.skip(count);
    }

    /// The Sender Sequence Number of the next message.
    pub const fn next_sequence_number(&self) -> u64 {
        self.sender.numbers.next()
    }

    /// How many reserved numbers are left.
    pub const fn remaining(&self) -> u64 {
        self.sender.numbers.remaining()
    }
}

impl<R: Recipients> GroupContext<R> {
    /// Combines the three parts.
    ///
    /// # Errors
    /// [`MixedGroups`]: a part was derived from another Common Context.
    pub fn new(common: CommonContext, sender: SenderContext, recipients: R) -> Result<Self, MixedGroups> {
        if sender.mark != common.mark {
            return Err(MixedGroups::Sender);
        }
        let stranger = recipients.iter().find(|recipient| recipient.mark != common.mark);
        match stranger.map(|stranger| stranger.id) {
            Some(id) => Err(MixedGroups::Recipient(id)),
            None => Ok(Self { common, sender, recipients }),
        }
    }

    /// The Recipient Context of a member of this group.
    fn recipient<'r>(
        recipients: &'r mut R,
        common: &CommonContext,
        id: MemberId,
    ) -> Option<&'r mut RecipientContext> {
        recipients.get_mut(id).filter(|recipient| recipient.mark == common.mark)
    }

    /// Accepts a request as new, once the caller has found that its Echo value is the one sent to this member
    /// not long ago (RFC 10021 section 9). Comparing and forgetting the value is up to the caller. If the
    /// replay window was not valid, it is valid from now on, with this Partial IV as its lower limit. An
    /// answer must use its own Partial IV.
    ///
    /// # Errors
    /// [`UnprotectError::Replayed`] if the request has been accepted in the meantime, and
    /// [`UnprotectError::UnknownSender`] if the Recipient Context is gone.
    pub fn accept_echo<'b>(&mut self, request: Unproven<'b>) -> Result<Verified<'b>, UnprotectError> {
        let recipient = Self::recipient(&mut self.recipients, &self.common, request.kid())
            .ok_or(UnprotectError::UnknownSender)?;
        let piv = request.message.piv.ok_or(UnprotectError::MalformedOption)?;
        if !recipient.window.accept_proven(piv) {
            return Err(UnprotectError::Replayed);
        }
        Ok(Verified { message: request.message, binding: request.binding })
    }
}

impl<R> fmt::Debug for GroupContext<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupContext")
            .field("gid", &self.common.gid)
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}
