//! What ties a response to its request.

use crate::{Gid, MemberId, PartialIv, ProtectError, cose::RequestIdentity};

/// How a message is or was protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageMode {
    /// Group mode: every member can read it, and a countersignature tells who sent it (RFC 10021 section 7).
    Group,
    /// Pairwise mode, for one member (RFC 10021 section 8), or plain OSCORE.
    Pairwise,
}

/// The request that a response answers: kid, Partial IV, Gid and mode, and whether its nonce may still serve
/// for an answer. It outlives the context it came from: a request may be answered after a rekey.
///
/// At most one answer may use the request's nonce. So a clone may not, whatever the original may.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestBinding {
    kid: MemberId,
    piv: PartialIv,
    gid: Gid,
    mode: MessageMode,
    peer: Option<MemberId>,
    nonce_is_free: bool,
}

impl RequestBinding {
    /// Of an own request, to `peer` if it is known.
    pub(crate) const fn of_own(
        identity: &RequestIdentity,
        mode: MessageMode,
        peer: Option<MemberId>,
    ) -> Self {
        let RequestIdentity { kid, piv, gid } = *identity;
        Self { kid, piv, gid, mode, peer, nonce_is_free: false }
    }

    /// Of a received request.
    pub(crate) const fn of_received(
        identity: &RequestIdentity,
        mode: MessageMode,
        nonce_is_free: bool,
    ) -> Self {
        let RequestIdentity { kid, piv, gid } = *identity;
        Self { kid, piv, gid, mode, peer: None, nonce_is_free }
    }

    /// Who sent the request.
    pub const fn kid(&self) -> MemberId {
        self.kid
    }

    /// The request's Partial IV.
    pub const fn partial_iv(&self) -> PartialIv {
        self.piv
    }

    /// The Gid under which the request was protected; empty with plain OSCORE.
    pub const fn gid(&self) -> Gid {
        self.gid
    }

    /// How the request was protected.
    pub const fn mode(&self) -> MessageMode {
        self.mode
    }

    pub(crate) const fn peer(&self) -> Option<MemberId> {
        self.peer
    }

    /// Whether an answer may still leave its own Partial IV out.
    pub const fn nonce_is_free(&self) -> bool {
        self.nonce_is_free
    }

    pub(crate) const fn identity(&self) -> RequestIdentity {
        RequestIdentity { kid: self.kid, piv: self.piv, gid: self.gid }
    }

    /// Uses the request's nonce up.
    pub(crate) const fn take_nonce(&mut self) -> Result<(), ProtectError> {
        if !self.nonce_is_free {
            return Err(ProtectError::NonceAlreadyUsed);
        }
        self.nonce_is_free = false;
        Ok(())
    }

    /// This binding with the right to use the request's nonce, or without.
    pub(crate) const fn with_nonce(mut self, nonce_is_free: bool) -> Self {
        self.nonce_is_free = nonce_is_free;
        self
    }
}

impl Clone for RequestBinding {
    fn clone(&self) -> Self {
        Self {
            kid: self.kid,
            piv: self.piv,
            gid: self.gid,
            mode: self.mode,
            peer: self.peer,
            nonce_is_free: false,
        }
    }
}
