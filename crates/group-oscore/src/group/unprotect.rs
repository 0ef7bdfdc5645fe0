//! Unprotecting requests and responses (RFC 10021 sections 7.2, 7.4, 8.4 and 8.6).

use super::GroupContext;
use crate::{
    CommonContext, MemberId, MessageMode, PartialIv, Received, ReceivedRequest, RecipientContext, Recipients,
    ReplayWindow, SenderContext, SentRequest, UnprotectError, Verified, VerifiedResponse,
    cose::{ReceiverStructures, RequestIdentity, SenderStructures},
    incoming::{Head, Incoming},
    key,
    limits::SIGNATURE_BYTES,
    received::Unproven,
    replay::Verdict,
};
use ed25519_dalek::Signature;

/// What is needed, in addition to the datagram, to open it.
struct Opening<'c> {
    common: &'c CommonContext,
    sender: &'c SenderContext,
    recipient: &'c mut RecipientContext,
    /// The request that the message is or answers.
    request: RequestIdentity,
    /// Who generated the Partial IV of the nonce, and that Partial IV.
    nonce_of: (MemberId, PartialIv),
    is_request: bool,
}

impl<R: Recipients> GroupContext<R> {
    /// Unprotects a request in place. The cheap checks come first: a datagram of another group, from an
    /// unknown sender or received before costs no cryptography. The replay window changes only after all
    /// verification, and only for [`Received::Fresh`].
    ///
    /// After [`UnprotectError::UnknownGroup`] the datagram is unchanged, and may be tried with another
    /// context.
    pub fn unprotect_request<'b>(&mut self, datagram: &'b mut [u8]) -> Result<Received<'b>, UnprotectError> {
        let incoming = Incoming::request(datagram)?;
        let (piv, kid) = self.request_of_group(&incoming)?;
        let kid = self.other_member(kid)?;
        let recipient =
            Self::recipient(&mut self.recipients, &self.common, kid).ok_or(UnprotectError::UnknownSender)?;
        let verdict = recipient.window.check(piv);
        if verdict == Verdict::Seen {
            return Err(UnprotectError::Replayed);
        }
        let request = RequestIdentity { kid, piv, gid: self.common.gid };
        let mut opening = Opening {
            common: &self.common,
            sender: &self.sender,
            recipient,
            request,
            nonce_of: (kid, piv),
            is_request: true,
        };
        let (head, plaintext) = opening.open(incoming)?;
        let is_new = verdict == Verdict::New;
        let binding = ReceivedRequest::new(request, head.mode, is_new);
        let message = Incoming::verified(&head, kid, plaintext)?;
        if !is_new {
            return Ok(Received::Unproven(Unproven { message, binding }));
        }
        if !opening.recipient.window.accept(piv) {
            return Err(UnprotectError::Replayed);
        }
        Ok(Received::Fresh(Verified { message, binding }))
    }

    /// Unprotects a response to one of this member's requests in place. A response to a group request may use
    /// either mode. The caller's [`ResponseNumber`](crate::ResponseNumber) tells which of a server's
    /// responses are new.
    pub fn unprotect_response<'b>(
        &mut self,
        datagram: &'b mut [u8],
        to: &SentRequest,
    ) -> Result<VerifiedResponse<'b>, UnprotectError> {
        let incoming = Incoming::response(datagram)?;
        let option = incoming.option;
        // A kid context is present only if it differs from the request's (RFC 10021 section 4.1).
        if option.kid_context.unwrap_or(to.gid().as_bytes()) != self.common.gid.as_bytes() {
            return Err(UnprotectError::UnknownGroup);
        }
        if to.kid() != self.sender.id && to.gid() == self.common.gid {
            return Err(UnprotectError::WrongBinding);
        }
        let kid = match (option.kid, to.peer()) {
            (Some(kid), peer) => {
                let kid = self.other_member(kid)?;
                if peer.is_some_and(|peer| peer != kid) {
                    return Err(UnprotectError::UnexpectedSender);
                }
                kid
            }
            (None, Some(peer)) => peer,
            (None, None) => return Err(UnprotectError::MalformedOption),
        };
        let nonce_of = match option.partial_iv {
            Some(piv) => (kid, piv),
            // RFC 10021 section 5.3.1: under another Security Context a response has its own Partial IV.
            None if to.gid() != self.common.gid => return Err(UnprotectError::MalformedOption),
            None => (to.kid(), to.partial_iv()),
        };
        let recipient =
            Self::recipient(&mut self.recipients, &self.common, kid).ok_or(UnprotectError::UnknownSender)?;
        let mut opening = Opening {
            common: &self.common,
            sender: &self.sender,
            recipient,
            request: to.identity(),
            nonce_of,
            is_request: false,
        };
        let (head, plaintext) = opening.open(incoming)?;
        let message = Incoming::verified(&head, kid, plaintext)?;
        Ok(VerifiedResponse { message, request: to.clone() })
    }

    /// The Partial IV of a group-mode request that this member itself protected, whenever that was. Another
    /// member shows it as evidence. It is unprotected in place; no replay window is consulted or changed.
    /// # Errors
    /// The request is not this member's or not in group mode, or its countersignature or tag is wrong.
    pub fn own_request(&self, datagram: &mut [u8]) -> Result<PartialIv, UnprotectError> {
        let incoming = Incoming::request(datagram)?;
        let (piv, kid) = self.request_of_group(&incoming)?;
        let kid = MemberId::new(kid).filter(|kid| *kid == self.sender.id);
        let kid = kid.ok_or(UnprotectError::UnknownSender)?;
        let (credential, window) = (self.sender.credential.clone(), ReplayWindow::fresh());
        let own = RecipientContext::derive(&self.common, kid, credential, window);
        let mut own = own.map_err(|_| UnprotectError::UnknownSender)?;
        let mut opening = Opening {
            common: &self.common,
            sender: &self.sender,
            recipient: &mut own,
            request: RequestIdentity { kid, piv, gid: self.common.gid },
            nonce_of: (kid, piv),
            is_request: true,
        };
        let (head, _) = opening.open(incoming)?;
        match head.mode {
            MessageMode::Group => Ok(piv),
            MessageMode::Pairwise => Err(UnprotectError::UnexpectedSender),
        }
    }

    /// The Partial IV and the kid of a request of this group.
    fn request_of_group<'b>(&self, incoming: &Incoming<'b>) -> Result<(PartialIv, &'b [u8]), UnprotectError> {
        let option = incoming.option;
        let parts = (option.partial_iv, option.kid_context, option.kid);
        let (Some(piv), Some(kid_context), Some(kid)) = parts else {
            return Err(UnprotectError::MalformedOption);
        };
        if kid_context != self.common.gid.as_bytes() {
            return Err(UnprotectError::UnknownGroup);
        }
        Ok((piv, kid))
    }

    /// The kid of a member that is not this one (RFC 10021 section 7.2: a server does not process its own
    /// kid).
    fn other_member(&self, kid: &[u8]) -> Result<MemberId, UnprotectError> {
        let kid = MemberId::new(kid).ok_or(UnprotectError::UnknownSender)?;
        if kid == self.sender.id { Err(UnprotectError::OwnMessage) } else { Ok(kid) }
    }
}

impl Opening<'_> {
    fn open<'b>(&mut self, incoming: Incoming<'b>) -> Result<(Head<'b>, &'b [u8]), UnprotectError> {
        let option_value = incoming.option_value;
        let (head, payload) = incoming.into_parts();
        let plaintext = match head.mode {
            MessageMode::Group => self.open_group(option_value, payload)?,
            MessageMode::Pairwise => self.open_pairwise(option_value, payload)?,
        };
        Ok((head, plaintext))
    }

    /// Verifies the countersignature, then decrypts.
    fn open_group<'b>(&self, option_value: &[u8], payload: &'b mut [u8]) -> Result<&'b [u8], UnprotectError> {
        let algorithm = self.common.group_encryption;
        let (sealed, signature) =
            payload.split_last_chunk_mut::<SIGNATURE_BYTES>().ok_or(UnprotectError::Truncated)?;
        if sealed.len() <= algorithm.tag_length() {
            return Err(UnprotectError::Truncated);
        }
        let structures = ReceiverStructures::group(
            &self.common.aad_head,
            &self.request,
            option_value,
            self.recipient.credential.as_bytes(),
            self.common.gm_credential.as_bytes(),
        );
        let mut structures = structures.ok_or(UnprotectError::MalformedOption)?;
        self.verify(&mut structures, sealed, signature).ok_or(UnprotectError::BadCountersignature)?;
        let (generator, piv) = self.nonce_of;
        let nonce = self.common.nonce(algorithm, generator, piv);
        let associated_data = structures.enc_structure().ok_or(UnprotectError::MalformedOption)?;
        let plaintext = algorithm.open(&self.recipient.key, &nonce, associated_data, sealed);
        plaintext.map_err(|_| UnprotectError::BadTag)
    }

    /// Decrypts and verifies the countersignature. Under a wrong keystream its scalar is usually not
    /// canonical, which `verify_strict` detects before any curve operation.
    fn verify(
        &self,
        structures: &mut ReceiverStructures,
        ciphertext: &[u8],
        encrypted: &[u8; SIGNATURE_BYTES],
    ) -> Option<()> {
        let (generator, piv) = self.nonce_of;
        let keystream = key::signature_keystream(
            &self.common.signature_encryption_key,
            generator.as_bytes(),
            piv,
            self.common.gid.as_bytes(),
            self.is_request,
        )?;
        let mut signature = *encrypted;
        signature.iter_mut().zip(keystream.iter()).for_each(|(byte, mask)| *byte ^= mask);
        let to_be_signed = structures.countersign_structure(ciphertext)?;
        self.recipient.verifying_key.verify_strict(to_be_signed, &Signature::from_bytes(&signature)).ok()
    }

    fn open_pairwise<'b>(
        &mut self,
        option_value: &[u8],
        payload: &'b mut [u8],
    ) -> Result<&'b [u8], UnprotectError> {
        let algorithm = self.common.aead;
        if payload.len() <= algorithm.tag_length() {
            return Err(UnprotectError::Truncated);
        }
        let structures = SenderStructures::group(
            &self.common.aad_head,
            &self.request,
            option_value,
            self.recipient.credential.as_bytes(),
            self.common.gm_credential.as_bytes(),
        );
        let mut structures = structures.ok_or(UnprotectError::MalformedOption)?;
        let keys =
            self.recipient.pairwise_keys(self.common, self.sender).ok_or(UnprotectError::KeyAgreement)?;
        let (generator, piv) = self.nonce_of;
        let nonce = self.common.nonce(algorithm, generator, piv);
        let associated_data = structures.enc_structure().ok_or(UnprotectError::MalformedOption)?;
        let plaintext = algorithm.open(&keys.recipient, &nonce, associated_data, payload);
        plaintext.map_err(|_| UnprotectError::BadTag)
    }
}
