//! What ties a response to its request.

use crate::{Gid, MemberId, PartialIv, ProtectError, cose::RequestIdentity};

/// How a message is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageMode {
    /// Group mode: every member can read it, and a countersignature shows who sent it (RFC 10021 section 7).
    Group,
    /// Pairwise mode, for one member (RFC 10021 section 8), or plain OSCORE.
    Pairwise,
}

/// A request that this endpoint has sent. It is needed to unprotect the responses. It outlives the context
/// that made it: a response may arrive after a rekey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentRequest {
    identity: RequestIdentity,
    mode: MessageMode,
    peer: Option<MemberId>,
}

/// A request that this endpoint has received. It is needed to protect the responses. It outlives the context
/// that made it: a request may be answered after a rekey.
///
/// At most one response may use the nonce of the request. A clone may never use it.
#[derive(Debug, PartialEq, Eq)]
pub struct ReceivedRequest {
    identity: RequestIdentity,
    mode: MessageMode,
    nonce_is_free: bool,
}

macro_rules! shared {
    () => {
        /// Who sent the request.
        pub const fn kid(&self) -> MemberId {
            self.identity.kid
        }

        /// The Partial IV of the request.
        pub const fn partial_iv(&self) -> PartialIv {
            self.identity.piv
        }

        /// The Gid under which the request was protected; empty with plain OSCORE.
        pub const fn gid(&self) -> Gid {
            self.identity.gid
        }

        /// How the request was protected.
        pub const fn mode(&self) -> MessageMode {
            self.mode
        }

        pub(crate) const fn identity(&self) -> RequestIdentity {
            self.identity
        }
    };
}

impl SentRequest {
    shared!();

    /// `peer` is the only member that may answer, or `None` for a request to the group.
    pub(crate) const fn new(identity: RequestIdentity, mode: MessageMode, peer: Option<MemberId>) -> Self {
        Self { identity, mode, peer }
    }

    pub(crate) const fn peer(&self) -> Option<MemberId> {
        self.peer
    }
}

impl ReceivedRequest {
    shared!();

    pub(crate) const fn new(identity: RequestIdentity, mode: MessageMode, nonce_is_free: bool) -> Self {
        Self { identity, mode, nonce_is_free }
    }

    /// Whether a response may still omit its own Partial IV.
    pub const fn nonce_is_free(&self) -> bool {
        self.nonce_is_free
    }

    /// Uses up the nonce of the request.
    pub(crate) const fn take_nonce(&mut self) -> Result<(), ProtectError> {
        if !self.nonce_is_free {
            return Err(ProtectError::NonceAlreadyUsed);
        }
        self.nonce_is_free = false;
        Ok(())
    }

    /// Moves the right to use the nonce into the returned value.
    pub(crate) const fn take(&mut self) -> Self {
        let taken = Self { identity: self.identity, mode: self.mode, nonce_is_free: self.nonce_is_free };
        self.nonce_is_free = false;
        taken
    }
}

impl Clone for ReceivedRequest {
    fn clone(&self) -> Self {
        Self { identity: self.identity, mode: self.mode, nonce_is_free: false }
    }
}
