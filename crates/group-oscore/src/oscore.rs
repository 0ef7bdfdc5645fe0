//! Plain OSCORE (RFC 8613) between two endpoints, with the same four operations as a group.
//!
//! The [`MessageMode`] of its messages is [`Pairwise`](MessageMode::Pairwise), and their [`MemberId`] is the
//! Recipient ID. The [`OscoreOption`] of a datagram (kid, and kid context if present) tells which of several
//! contexts it is for. An [`Association`] derives its contexts anew whenever one side has lost its own.

mod association;

pub use association::{Association, Opened, Renewal, RenewalAnswer};

use crate::{
    AeadAlgorithm, DeriveError, ForeignReservation, Gid, IdContext, MemberId, MessageMode, OscoreOption,
    PartialIv, ProtectError, Received, ReceivedRequest, ReplayWindow, Reservation, ResponsePiv, SentRequest,
    SequenceNumbers, UnprotectError, Verified, VerifiedResponse,
    cose::{RequestIdentity, SenderStructures},
    incoming::{Head, Incoming},
    key::{Key, Master},
    limits::NONCE_BYTES_MAX,
    nonce::Nonce,
    outgoing,
    received::Unproven,
    replay::Verdict,
};
use coap_wire::Message;
use core::fmt;

/// What both endpoints were given. HKDF is HMAC-SHA-256.
#[derive(Clone, Copy)]
pub struct Parameters<'a> {
    /// The Master Secret.
    pub master_secret: &'a [u8],
    /// The Master Salt; empty if there is none.
    pub master_salt: &'a [u8],
    /// The ID Context. If present, it goes into every request as kid context.
    pub id_context: Option<IdContext>,
    /// This endpoint's Sender ID, which is the peer's Recipient ID.
    pub sender_id: MemberId,
    /// The peer's Sender ID. The pair must be unique for the same Master Secret, Salt and ID Context.
    pub recipient_id: MemberId,
    /// The AEAD Algorithm.
    pub aead: AeadAlgorithm,
}

/// The two ends of a context, and its algorithm.
#[derive(Clone, Copy, Debug)]
struct Ends {
    sender_id: MemberId,
    recipient_id: MemberId,
    aead: AeadAlgorithm,
}

/// The Security Context of one endpoint with one peer (RFC 8613 section 3).
pub struct Context {
    aead: AeadAlgorithm,
    id_context: Option<IdContext>,
    /// What requests carry as kid context: the ID Context, or what RFC 8613 appendix B.2 wants there.
    kid_context: Option<IdContext>,
    common_iv: [u8; NONCE_BYTES_MAX],
    sender_id: MemberId,
    sender_key: Key,
    numbers: SequenceNumbers,
    recipient_id: MemberId,
    recipient_key: Key,
    window: ReplayWindow,
}

impl Context {
    /// Derives Common IV, Sender Key and Recipient Key (RFC 8613 section 3.2).
    ///
    /// # Errors
    /// [`DeriveError::EmptyMasterSecret`], [`DeriveError::MemberIdTooLong`] and [`DeriveError::EqualIds`].
    pub fn derive(
        parameters: &Parameters<'_>,
        numbers: SequenceNumbers,
        window: ReplayWindow,
    ) -> Result<Self, DeriveError> {
        if parameters.master_secret.is_empty() {
            return Err(DeriveError::EmptyMasterSecret);
        }
        let master = Master::extract(parameters.master_secret, parameters.master_salt);
        let Parameters { sender_id, recipient_id, aead, id_context, .. } = *parameters;
        let ends = Ends { sender_id, recipient_id, aead };
        Self::expand(&master, ends, id_context, (numbers, window))
    }

    /// Derives the keys from what HKDF-Extract gave.
    fn expand(
        master: &Master,
        ends: Ends,
        id_context: Option<IdContext>,
        (numbers, window): (SequenceNumbers, ReplayWindow),
    ) -> Result<Self, DeriveError> {
        let Ends { sender_id, recipient_id, aead } = ends;
        let longest = sender_id.as_bytes().len().max(recipient_id.as_bytes().len());
        if longest > aead.nonce_length() - 6 {
            return Err(DeriveError::MemberIdTooLong);
        }
        if sender_id == recipient_id {
            return Err(DeriveError::EqualIds);
        }
        let context = id_context.as_ref().map(IdContext::as_bytes);
        let key = |id: MemberId| {
            master.member_key(id.as_bytes(), context, aead).ok_or(DeriveError::MemberIdTooLong)
        };
        let common_iv = master.common_iv(context, aead, aead.nonce_length());
        Ok(Self {
            aead,
            id_context,
            kid_context: id_context,
            common_iv: common_iv.ok_or(DeriveError::MemberIdTooLong)?,
            sender_id,
            sender_key: key(sender_id)?,
            numbers,
            recipient_id,
            recipient_key: key(recipient_id)?,
            window,
        })
    }

    /// Protects a request; see [`GroupContext::protect_request`](crate::GroupContext::protect_request).
    pub fn protect_request(
        &mut self,
        request: &Message<'_>,
        out: &mut [u8],
    ) -> Result<(usize, SentRequest), ProtectError> {
        outgoing::check(request, true)?;
        let (kid, piv) = (self.sender_id, self.numbers.take()?);
        // RFC 8613 section 6.1: kid and Partial IV "MUST be present" in requests.
        let option = OscoreOption {
            group_flag: false,
            partial_iv: Some(piv),
            kid_context: self.kid_context.as_ref().map(IdContext::as_bytes),
            kid: Some(kid.as_bytes()),
        };
        let identity = RequestIdentity { kid, piv, gid: Gid::EMPTY };
        let length = self.write(request, &option, &identity, (kid, piv), out)?;
        Ok((length, SentRequest::new(identity, MessageMode::Pairwise, Some(self.recipient_id))))
    }

    /// Protects the response to a request; see
    /// [`GroupContext::protect_response`](crate::GroupContext::protect_response).
    pub fn protect_response(
        &mut self,
        response: &Message<'_>,
        to: &mut ReceivedRequest,
        piv: ResponsePiv,
        out: &mut [u8],
    ) -> Result<usize, ProtectError> {
        self.protect_response_naming(None, response, to, piv, out)
    }

    /// The same, with a kid context in the response.
    fn protect_response_naming(
        &mut self,
        kid_context: Option<&[u8]>,
        response: &Message<'_>,
        to: &mut ReceivedRequest,
        piv: ResponsePiv,
        out: &mut [u8],
    ) -> Result<usize, ProtectError> {
        outgoing::check(response, false)?;
        if to.kid() != self.recipient_id || to.gid() != Gid::EMPTY {
            return Err(ProtectError::WrongBinding);
        }
        let own_piv = match piv {
            ResponsePiv::Own => Some(self.numbers.take()?),
            ResponsePiv::OfRequest => {
                to.take_nonce()?;
                None
            }
        };
        let option = OscoreOption { group_flag: false, partial_iv: own_piv, kid_context, kid: None };
        let nonce_of = own_piv.map_or((to.kid(), to.partial_iv()), |piv| (self.sender_id, piv));
        self.write(response, &option, &to.identity(), nonce_of, out)
    }

    fn write(
        &self,
        message: &Message<'_>,
        option: &OscoreOption<'_>,
        request: &RequestIdentity,
        (generator, piv): (MemberId, PartialIv),
        out: &mut [u8],
    ) -> Result<usize, ProtectError> {
        let option = option.encode().ok_or(ProtectError::BufferTooSmall)?;
        outgoing::write(message, &option, out, |space, length| {
            let mut structures =
                SenderStructures::plain(self.aead, request).ok_or(ProtectError::BufferTooSmall)?;
            let nonce = Nonce::new(self.aead, &self.common_iv, generator, piv);
            let associated_data = structures.enc_structure().ok_or(ProtectError::BufferTooSmall)?;
            let sealed = self.aead.seal(&self.sender_key, &nonce, associated_data, space, length);
            sealed.ok_or(ProtectError::BufferTooSmall)
        })
    }

    /// Unprotects a request in place; see
    /// [`GroupContext::unprotect_request`](crate::GroupContext::unprotect_request).
    pub fn unprotect_request<'b>(&mut self, datagram: &'b mut [u8]) -> Result<Received<'b>, UnprotectError> {
        let incoming = Incoming::request(datagram)?;
        let option = incoming.option;
        let (Some(piv), Some(kid)) = (option.partial_iv, option.kid) else {
            return Err(UnprotectError::MalformedOption);
        };
        self.check_sender(&option, Some(kid))?;
        let verdict = self.window.check(piv);
        if verdict == Verdict::Seen {
            return Err(UnprotectError::Replayed);
        }
        let request = RequestIdentity { kid: self.recipient_id, piv, gid: Gid::EMPTY };
        let (head, plaintext) = self.open(incoming, &request, (self.recipient_id, piv))?;
        let is_new = verdict == Verdict::New;
        let binding = ReceivedRequest::new(request, MessageMode::Pairwise, is_new);
        let message = Incoming::verified(&head, self.recipient_id, plaintext)?;
        if !is_new {
            return Ok(Received::Unproven(Unproven { message, binding }));
        }
        if !self.window.accept(piv) {
            return Err(UnprotectError::Replayed);
        }
        Ok(Received::Fresh(Verified { message, binding }))
    }

    /// Unprotects a response to one of this endpoint's requests in place; see
    /// [`GroupContext::unprotect_response`](crate::GroupContext::unprotect_response).
    pub fn unprotect_response<'b>(
        &mut self,
        datagram: &'b mut [u8],
        to: &SentRequest,
    ) -> Result<VerifiedResponse<'b>, UnprotectError> {
        let incoming = Incoming::response(datagram)?;
        let option = incoming.option;
        if to.kid() != self.sender_id || to.gid() != Gid::EMPTY {
            return Err(UnprotectError::WrongBinding);
        }
        self.check_sender(&option, option.kid)?;
        let nonce_of = option.partial_iv.map_or((to.kid(), to.partial_iv()), |piv| (self.recipient_id, piv));
        let (head, plaintext) = self.open(incoming, &to.identity(), nonce_of)?;
        let message = Incoming::verified(&head, self.recipient_id, plaintext)?;
        Ok(VerifiedResponse { message, request: to.clone() })
    }

    /// Accepts a request as new, after its Echo value has been compared (RFC 8613 appendix B.1.2, RFC 9175);
    /// see [`GroupContext::accept_echo`](crate::GroupContext::accept_echo).
    pub fn accept_echo<'b>(&mut self, request: Unproven<'b>) -> Result<Verified<'b>, UnprotectError> {
        let piv = request.message.piv.ok_or(UnprotectError::MalformedOption)?;
        if !self.window.accept_proven(piv) {
            return Err(UnprotectError::Replayed);
        }
        Ok(Verified { message: request.message, binding: request.binding })
    }

    /// Whether the message names this context. A kid context may be omitted, but must not be a different one.
    fn check_sender(&self, option: &OscoreOption<'_>, kid: Option<&[u8]>) -> Result<(), UnprotectError> {
        let own_context = self.kid_context.as_ref().map(IdContext::as_bytes);
        if option.group_flag || (option.kid_context.is_some() && option.kid_context != own_context) {
            return Err(UnprotectError::UnknownGroup);
        }
        match kid {
            Some(kid) if kid != self.recipient_id.as_bytes() => Err(UnprotectError::UnknownSender),
            _ => Ok(()),
        }
    }

    fn open<'b>(
        &self,
        incoming: Incoming<'b>,
        request: &RequestIdentity,
        (generator, piv): (MemberId, PartialIv),
    ) -> Result<(Head<'b>, &'b [u8]), UnprotectError> {
        let (head, payload) = incoming.into_parts();
        if payload.len() <= self.aead.tag_length() {
            return Err(UnprotectError::Truncated);
        }
        let structures = SenderStructures::plain(self.aead, request);
        let mut structures = structures.ok_or(UnprotectError::MalformedOption)?;
        let nonce = Nonce::new(self.aead, &self.common_iv, generator, piv);
        let associated_data = structures.enc_structure().ok_or(UnprotectError::MalformedOption)?;
        let plaintext = self.aead.open(&self.recipient_key, &nonce, associated_data, payload);
        Ok((head, plaintext.map_err(|_| UnprotectError::BadTag)?))
    }

    /// This endpoint's Sender ID.
    pub const fn sender_id(&self) -> MemberId {
        self.sender_id
    }

    /// The peer's Sender ID.
    pub const fn recipient_id(&self) -> MemberId {
        self.recipient_id
    }

    /// The ID Context.
    pub const fn id_context(&self) -> Option<IdContext> {
        self.id_context
    }

    /// The replay window.
    pub const fn window(&self) -> &ReplayWindow {
        &self.window
    }

    /// The replay window, to replace it.
    pub const fn window_mut(&mut self) -> &mut ReplayWindow {
        &mut self.window
    }

    /// What to store before continuing; see
    /// [`GroupContext::reservation_due`](crate::GroupContext::reservation_due).
    pub fn reservation_due(&self, low_water: u64, step: u64) -> Option<Reservation> {
        self.numbers.reservation_due(low_water, step, || self.sender_key.mark())
    }

    /// Makes the numbers of a stored reservation available.
    ///
    /// # Errors
    /// [`ForeignReservation`]: nothing has changed.
    pub fn reserve(&mut self, reservation: Reservation) -> Result<(), ForeignReservation> {
        self.numbers.reserve(reservation, self.sender_key.mark())
    }

    /// Skips `count` numbers.
    pub fn skip(&mut self, count: u64) {
        self.numbers.skip(count);
    }

    /// The Sender Sequence Number of the next message.
    pub const fn next_sequence_number(&self) -> u64 {
        self.numbers.next()
    }

    /// How many reserved numbers are left.
    pub const fn remaining(&self) -> u64 {
        self.numbers.remaining()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("sender_id", &self.sender_id)
            .field("recipient_id", &self.recipient_id)
            .field("id_context", &self.id_context)
            .field("numbers", &self.numbers)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameters")
            .field("sender_id", &self.sender_id)
            .field("recipient_id", &self.recipient_id)
            .field("id_context", &self.id_context)
            .finish_non_exhaustive()
    }
}
