//! Messages that have been unprotected. Only this crate makes them, so whoever holds one knows that it was
//! verified.

use crate::{MemberId, MessageMode, PartialIv, RequestBinding};
use coap_wire::{Body, Token, Type, option};
use core::cell::Cell;

/// A request that has been verified.
#[derive(Debug)]
pub enum Received<'b> {
    /// It is new: the replay window has accepted it.
    Fresh(Verified<'b>),
    /// It is genuine, but the replay window cannot tell whether it is new. It must not be acted upon: drop
    /// it, or answer with an Echo (RFC 10021 section 9).
    Unproven(Unproven<'b>),
}

/// A message that has been decrypted, verified and, as a request, found new.
#[derive(Debug)]
pub struct Verified<'b> {
    pub(crate) inner: Inner<'b>,
}

/// A request that may be a replay: what is needed to ask for a proof, and nothing else.
#[derive(Debug)]
pub struct Unproven<'b> {
    pub(crate) inner: Inner<'b>,
}

#[derive(Debug)]
pub(crate) struct Inner<'b> {
    pub(crate) ty: Type,
    pub(crate) message_id: u16,
    pub(crate) token: Token,
    pub(crate) outer: Body<'b>,
    pub(crate) kid: MemberId,
    pub(crate) mode: MessageMode,
    pub(crate) piv: Option<PartialIv>,
    pub(crate) body: Body<'b>,
    pub(crate) binding: RequestBinding,
    /// The right to use the request's nonce, which is handed out once.
    pub(crate) nonce_is_free: Cell<bool>,
}

impl Inner<'_> {
    fn binding(&self) -> RequestBinding {
        self.binding.clone().with_nonce(self.nonce_is_free.take())
    }
}

macro_rules! shared {
    () => {
        /// Who sent it.
        pub const fn kid(&self) -> MemberId {
            self.inner.kid
        }

        /// How it was protected.
        pub const fn mode(&self) -> MessageMode {
            self.inner.mode
        }

        /// The message type.
        pub const fn ty(&self) -> Type {
            self.inner.ty
        }

        /// The Message ID.
        pub const fn message_id(&self) -> u16 {
            self.inner.message_id
        }

        /// The Token.
        pub const fn token(&self) -> Token {
            self.inner.token
        }

        /// What an answer to this request needs; of a response, the request that it answers. Only the first
        /// call hands out the right to use the request's nonce.
        pub fn binding(&self) -> RequestBinding {
            self.inner.binding()
        }
    };
}

impl<'b> Verified<'b> {
    shared!();

    /// The Partial IV in this message: always in a request. Of a response without one, the nonce is the
    /// request's.
    pub const fn partial_iv(&self) -> Option<PartialIv> {
        self.inner.piv
    }

    /// Code, options and payload as they were before they were protected. Options that travel unprotected are
    /// in [`outer`](Self::outer). That critical ones are known is the application's to check.
    pub const fn body(&self) -> Body<'b> {
        self.inner.body
    }

    /// The options outside, which nobody has verified: only Uri-Host, Uri-Port, Proxy-Scheme and the like may
    /// be looked at, and all others are to be ignored (RFC 8613 section 8.2).
    pub const fn outer(&self) -> Body<'b> {
        self.inner.outer
    }
}

impl<'b> Unproven<'b> {
    shared!();

    /// The value of the Echo option in it, to be compared with the one that was sent to this member.
    pub fn echo(&self) -> Option<&'b [u8]> {
        self.inner.body.option(option::ECHO)
    }
}
