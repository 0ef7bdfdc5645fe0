//! Contexts that are derived anew whenever either endpoint has lost its own (RFC 8613 appendix B.2).
//!
//! Nothing of a context has to be stored: not the Sender Sequence Number, not the replay window. After a
//! restart an endpoint has no context, and the first request of either side makes one, with fresh nonces from
//! both. So a copied, restored or wiped endpoint never uses a nonce twice, if its nonces are random.

use super::{Context, Ends, Parameters};
use crate::{
    DeriveError, IdContext, OscoreOption, ProtectError, Received, ReceivedRequest, ReplayWindow, ResponsePiv,
    SentRequest, SequenceNumbers, UnprotectError, Verified, VerifiedResponse,
    key::Master,
    limits::{RENEWAL_NONCE_BYTES, SEQUENCE_NUMBER_MAX},
};
use coap_wire::Message;
use core::fmt;

/// R1, R2 or R3 of RFC 8613 appendix B.2: random, and never the same again.
type Nonce = [u8; RENEWAL_NONCE_BYTES];

/// A security association with one peer. Either endpoint may send requests.
pub struct Association {
    master: Master,
    ends: Ends,
    state: State,
    /// The nonce that the peer gets when it asks. It stays the same until a context was made from it, so that
    /// repeating the peer's old requests disturbs nobody.
    offered: Option<Nonce>,
}

/// Which context there is.
enum State {
    Nothing,
    /// This endpoint has asked for a new context with this nonce.
    Asked(Nonce, Context),
    Established(Context),
}

/// What a datagram from the peer contained.
#[derive(Debug)]
pub enum Opened<'b> {
    /// A request that is new.
    Request(Verified<'b>),
    /// The peer has no context, or one that this endpoint does not have. The request may be old: do nothing
    /// but answer it with 4.01 by [`renew`](Association::renew).
    Renewal(Renewal),
    /// The peer asks for a new context, as this endpoint does, whose request has precedence: repeat that one.
    /// The peer's may be old.
    Crossed,
}

/// A peer's request for a new context.
#[derive(Debug)]
pub struct Renewal {
    theirs: Nonce,
    binding: ReceivedRequest,
    token: coap_wire::Token,
    message_id: u16,
}

/// What an answer contained.
#[derive(Debug)]
pub enum RenewalAnswer<'b> {
    /// The answer to the request.
    Response(VerifiedResponse<'b>),
    /// A new context is in use. The request was not carried out: protect it again.
    Renewed,
}

impl Renewal {
    /// The Token of the request, for the answer.
    pub const fn token(&self) -> coap_wire::Token {
        self.token
    }

    /// The Message ID of the request.
    pub const fn message_id(&self) -> u16 {
        self.message_id
    }
}

impl Association {
    /// An association without a context. The ID Context of `parameters` is ignored: appendix B.2 uses its
    /// own.
    ///
    /// # Errors
    /// As [`Context::derive`].
    pub fn new(parameters: &Parameters<'_>) -> Result<Self, DeriveError> {
        if parameters.master_secret.is_empty() {
            return Err(DeriveError::EmptyMasterSecret);
        }
        let Parameters { sender_id, recipient_id, aead, .. } = *parameters;
        let master = Master::extract(parameters.master_secret, parameters.master_salt);
        let association = Self {
            master,
            ends: Ends { sender_id, recipient_id, aead },
            state: State::Nothing,
            offered: None,
        };
        // Fails here or never.
        association.derive(&[&[0; RENEWAL_NONCE_BYTES]])?;
        Ok(association)
    }

    /// Whether a context is in use.
    pub const fn is_established(&self) -> bool {
        matches!(self.state, State::Established(_))
    }

    /// Forgets the context after several requests without an answer: the peer may have lost it. The next
    /// request asks for a new one. Whoever gives a request up must call this too.
    pub fn forget(&mut self) {
        self.state = State::Nothing;
    }

    /// Protects a request. `nonce` is fresh and random; it is used only if there is no context.
    ///
    /// # Errors
    /// As [`Context::protect_request`].
    pub fn protect_request(
        &mut self,
        request: &Message<'_>,
        nonce: Nonce,
        out: &mut [u8],
    ) -> Result<(usize, SentRequest), ProtectError> {
        if let State::Nothing = self.state {
            let context = self.derive(&[&nonce]).map_err(|_| ProtectError::BufferTooSmall)?;
            self.state = State::Asked(nonce, context);
        }
        match &mut self.state {
            State::Asked(_, context) | State::Established(context) => context.protect_request(request, out),
            // It was replaced above.
            State::Nothing => Err(ProtectError::ReservationExhausted),
        }
    }

    /// Unprotects the answer to a request in place. `nonce` is fresh and random; it is used only if the
    /// answer brings a new context.
    ///
    /// # Errors
    /// As [`Context::unprotect_response`].
    pub fn unprotect_response<'b>(
        &mut self,
        datagram: &'b mut [u8],
        to: &SentRequest,
        nonce: Nonce,
    ) -> Result<RenewalAnswer<'b>, UnprotectError> {
        let option = OscoreOption::of(&Message::parse(datagram).map_err(|_| UnprotectError::Malformed)?)?;
        let theirs = option.kid_context.map(nonce_of);
        match (theirs, &mut self.state) {
            (None, State::Established(current)) => {
                current.unprotect_response(datagram, to).map(RenewalAnswer::Response)
            }
            (Some(Some(theirs)), State::Asked(own, _)) => {
                let own = *own;
                let mut answered = self.derive(&[&theirs, &own]).map_err(|_| UnprotectError::UnknownGroup)?;
                answered.kid_context = IdContext::new(&wrapped(&theirs));
                answered.unprotect_response(datagram, to)?;
                let next = self.derive(&[&theirs, &nonce]).map_err(|_| UnprotectError::UnknownGroup)?;
                self.state = State::Established(next);
                Ok(RenewalAnswer::Renewed)
            }
            _ => Err(UnprotectError::UnknownGroup),
        }
    }

    /// Unprotects a request of the peer in place. `nonce` is fresh and random.
    ///
    /// # Errors
    /// As [`Context::unprotect_request`]. Nothing has changed.
    pub fn unprotect_request<'b>(
        &mut self,
        datagram: &'b mut [u8],
        nonce: Nonce,
    ) -> Result<Opened<'b>, UnprotectError> {
        let message = Message::parse(datagram).map_err(|_| UnprotectError::Malformed)?;
        let (token, message_id) = (message.token(), message.message_id());
        let id = OscoreOption::of(&message)?.kid_context.ok_or(UnprotectError::UnknownGroup)?;
        if let State::Established(current) = &mut self.state
            && current.kid_context.is_some_and(|own| own.as_bytes() == id)
        {
            return fresh(current.unprotect_request(datagram)?).map(Opened::Request);
        }
        if let Some(theirs) = nonce_of(id) {
            let mut asking = self.derive(&[&theirs]).map_err(|_| UnprotectError::UnknownGroup)?;
            let binding = fresh(asking.unprotect_request(datagram)?)?.take_binding();
            // Both ask: it goes on with the request of the one that has the higher Sender ID.
            if matches!(self.state, State::Asked(..)) && self.ends.sender_id > self.ends.recipient_id {
                return Ok(Opened::Crossed);
            }
            self.offered.get_or_insert(nonce);
            return Ok(Opened::Renewal(Renewal { theirs, binding, token, message_id }));
        }
        let (own, theirs) = nonces_of(id).ok_or(UnprotectError::UnknownGroup)?;
        if self.offered != Some(own) {
            return Err(UnprotectError::UnknownGroup);
        }
        let mut next = self.derive(&[&own, &theirs]).map_err(|_| UnprotectError::UnknownGroup)?;
        let request = fresh(next.unprotect_request(datagram)?)?;
        self.offered = None;
        self.state = State::Established(next);
        Ok(Opened::Request(request))
    }

    /// Answers a request for a new context. `answer` is 4.01 without a payload: the same for the same
    /// request, since it may be repeated under the same nonce.
    ///
    /// # Errors
    /// As [`Context::protect_response`].
    pub fn renew(
        &self,
        renewal: &mut Renewal,
        answer: &Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, ProtectError> {
        let own = self.offered.ok_or(ProtectError::WrongBinding)?;
        let derived = self.derive(&[&own, &renewal.theirs]);
        let mut context = derived.map_err(|_| ProtectError::BufferTooSmall)?;
        let named = Some(&wrapped(&own)[..]);
        context.protect_response_naming(named, answer, &mut renewal.binding, ResponsePiv::OfRequest, out)
    }

    /// Protects the answer to a request.
    ///
    /// # Errors
    /// As [`Context::protect_response`]; [`ProtectError::WrongBinding`] without a context.
    pub fn protect_response(
        &mut self,
        response: &Message<'_>,
        to: &mut ReceivedRequest,
        out: &mut [u8],
    ) -> Result<usize, ProtectError> {
        let State::Established(current) = &mut self.state else { return Err(ProtectError::WrongBinding) };
        current.protect_response(response, to, ResponsePiv::Own, out)
    }

    /// The context whose ID Context is these nonces one after the other. It may use all numbers: it lives no
    /// longer than this association.
    fn derive(&self, nonces: &[&Nonce]) -> Result<Context, DeriveError> {
        let mut id = [0; 2 * RENEWAL_NONCE_BYTES];
        id.chunks_exact_mut(RENEWAL_NONCE_BYTES)
            .zip(nonces)
            .for_each(|(place, nonce)| place.copy_from_slice(*nonce));
        let id = id.get(..nonces.len() * RENEWAL_NONCE_BYTES).and_then(IdContext::new);
        let numbers = SequenceNumbers::new(0, SEQUENCE_NUMBER_MAX + 1);
        let mut context = Context::expand(&self.master, self.ends, id, (numbers, ReplayWindow::fresh()))?;
        context.kid_context = id.and_then(|id| in_byte_string(id.as_bytes()));
        Ok(context)
    }
}

/// Only a request that the window knows to be new; a context that was just derived knows no other.
fn fresh(received: Received<'_>) -> Result<Verified<'_>, UnprotectError> {
    match received {
        Received::Fresh(request) => Ok(request),
        Received::Unproven(_) => Err(UnprotectError::Replayed),
    }
}

/// The initial byte of a CBOR byte string shorter than 24 bytes.
const BYTE_STRING: u8 = 0x40;

/// A nonce as a CBOR byte string, as a kid context has it.
fn wrapped(nonce: &Nonce) -> [u8; 1 + RENEWAL_NONCE_BYTES] {
    let mut bytes = [BYTE_STRING | RENEWAL_NONCE_BYTES as u8; 1 + RENEWAL_NONCE_BYTES];
    bytes[1..].copy_from_slice(nonce);
    bytes
}

/// An ID Context as a CBOR byte string.
fn in_byte_string(id: &[u8]) -> Option<IdContext> {
    let mut bytes = [0; 1 + 2 * RENEWAL_NONCE_BYTES];
    let (head, rest) = bytes.split_first_mut()?;
    *head = BYTE_STRING | id.len() as u8;
    rest.get_mut(..id.len())?.copy_from_slice(id);
    IdContext::new(bytes.get(..=id.len())?)
}

/// The one nonce in a kid context.
fn nonce_of(kid_context: &[u8]) -> Option<Nonce> {
    let (head, nonce) = kid_context.split_first()?;
    let nonce = nonce.try_into().ok()?;
    (*head == BYTE_STRING | RENEWAL_NONCE_BYTES as u8).then_some(nonce)
}

/// The two nonces in a kid context.
fn nonces_of(kid_context: &[u8]) -> Option<(Nonce, Nonce)> {
    let (head, nonces) = kid_context.split_first()?;
    let (first, second) = nonces.split_at_checked(RENEWAL_NONCE_BYTES)?;
    let (first, second) = (first.try_into().ok()?, second.try_into().ok()?);
    (usize::from(head ^ BYTE_STRING) == nonces.len()).then_some((first, second))
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Association");
        let established = match &self.state {
            State::Established(current) => Some(current),
            State::Nothing | State::Asked(..) => None,
        };
        out.field("ends", &self.ends).field("established", &established).finish_non_exhaustive()
    }
}
