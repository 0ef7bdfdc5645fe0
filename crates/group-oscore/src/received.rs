//! Unprotected messages. Only this crate makes them: each of them was decrypted and verified.

use crate::{MemberId, MessageMode, PartialIv, ReceivedRequest, SentRequest};
use coap_wire::{Body, Token, Type, option};

/// A verified request.
#[derive(Debug)]
pub enum Received<'b> {
    /// It is new: the replay window has accepted it.
    Fresh(Verified<'b>),
    /// It is genuine, but the replay window cannot tell whether it is new. Do not act upon it: drop it, or
    /// answer with an Echo (RFC 10021 section 9).
    Unproven(Unproven<'b>),
}

/// A request that has been decrypted, verified and found new.
#[derive(Debug)]
pub struct Verified<'b> {
    pub(crate) message: Inner<'b>,
    pub(crate) binding: ReceivedRequest,
}

/// A request that may be a replay. It only offers what a challenge needs.
#[derive(Debug)]
pub struct Unproven<'b> {
    pub(crate) message: Inner<'b>,
    pub(crate) binding: ReceivedRequest,
}

/// A response that has been decrypted and verified. A [`ResponseNumber`](crate::ResponseNumber) tells whether
/// it is new.
#[derive(Debug)]
pub struct VerifiedResponse<'b> {
    pub(crate) message: Inner<'b>,
    pub(crate) request: SentRequest,
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
}

macro_rules! envelope {
    () => {
        /// Who sent it.
        pub const fn kid(&self) -> MemberId {
            self.message.kid
        }

        /// How it was protected.
        pub const fn mode(&self) -> MessageMode {
            self.message.mode
        }

        /// The message type.
        pub const fn ty(&self) -> Type {
            self.message.ty
        }

        /// The Message ID.
        pub const fn message_id(&self) -> u16 {
            self.message.message_id
        }

        /// The Token.
        pub const fn token(&self) -> Token {
            self.message.token
        }
    };
}

macro_rules! content {
    () => {
        /// The Partial IV in this message. Every request has one. A response without one uses the nonce of
        /// the request.
        pub const fn partial_iv(&self) -> Option<PartialIv> {
            self.message.piv
        }

        /// Code, options and payload as they were before protection. Options that travel unprotected are in
        /// [`outer`](Self::outer). The application must check that it knows the critical ones.
        pub const fn body(&self) -> Body<'b> {
            self.message.body
        }

        /// The outer options, which are not verified. Use only Uri-Host, Uri-Port, Proxy-Scheme and similar
        /// ones, and ignore all others (RFC 8613 section 8.2).
        pub const fn outer(&self) -> Body<'b> {
            self.message.outer
        }
    };
}

macro_rules! binding {
    () => {
        /// Takes the binding that a response to this request needs. Only the first call moves the right to
        /// use the nonce of the request; later calls return a binding without it.
        pub const fn take_binding(&mut self) -> ReceivedRequest {
            self.binding.take()
        }
    };
}

impl<'b> Verified<'b> {
    envelope!();
    content!();
    binding!();
}

impl<'b> Unproven<'b> {
    envelope!();
    binding!();

    /// Its Partial IV.
    pub const fn partial_iv(&self) -> PartialIv {
        self.binding.partial_iv()
    }

    /// The value of its Echo option, to compare with the one sent to this member.
    pub fn echo(&self) -> Option<&'b [u8]> {
        self.message.body.option(option::ECHO)
    }
}

impl<'b> VerifiedResponse<'b> {
    envelope!();
    content!();

    /// The request that it answers.
    pub const fn request(&self) -> &SentRequest {
        &self.request
    }
}
