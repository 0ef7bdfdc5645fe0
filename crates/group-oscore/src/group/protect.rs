//! Protecting requests and responses (RFC 10021 sections 7.1, 7.3, 8.3 and 8.5).

use super::{GroupContext, Mode, ResponseMode, ResponsePiv};
use crate::{
    AeadAlgorithm, MemberId, MessageMode, OscoreOption, PartialIv, ProtectError, ReceivedRequest, Recipients,
    SentRequest,
    cose::{self, RequestIdentity, SenderStructures},
    key::{self, Key},
    limits::SIGNATURE_BYTES,
    option::OptionValue,
    outgoing,
};
use coap_wire::Message;

/// An outgoing message.
struct Outgoing<'m> {
    message: &'m Message<'m>,
    option: OptionValue,
    /// The request that it is or answers.
    request: RequestIdentity,
    /// Who generated the Partial IV of the nonce, and that Partial IV.
    nonce_of: (MemberId, PartialIv),
}

impl<R: Recipients> GroupContext<R> {
    /// Protects a request, Confirmable or Non-confirmable, with the next Sender Sequence Number. Returns how
    /// many bytes of `out` the datagram takes, and the binding that unprotects its responses. Type, Message
    /// ID and Token do not change. `out` needs at most
    /// [`OVERHEAD_BYTES_MAX`](crate::limits::OVERHEAD_BYTES_MAX) more bytes than the message.
    ///
    /// The same bytes may be sent again. Protecting a request again makes a different request.
    pub fn protect_request(
        &mut self,
        request: &Message<'_>,
        mode: Mode,
        out: &mut [u8],
    ) -> Result<(usize, SentRequest), ProtectError> {
        outgoing::check(request, true)?;
        let (kid, gid) = (self.sender.id, self.common.gid);
        let piv = self.sender.numbers.take()?;
        // RFC 10021 section 4.1: kid and kid context "MUST be present" in a request of either mode.
        let option = OscoreOption {
            group_flag: mode == Mode::Group,
            partial_iv: Some(piv),
            kid_context: Some(gid.as_bytes()),
            kid: Some(kid.as_bytes()),
        };
        let identity = RequestIdentity { kid, piv, gid };
        let outgoing = Outgoing {
            message: request,
            option: option.encode().ok_or(ProtectError::BufferTooSmall)?,
            request: identity,
            nonce_of: (kid, piv),
        };
        let (length, mode, peer) = match mode {
            Mode::Group => (self.write_group(&outgoing, out)?, MessageMode::Group, None),
            Mode::Pairwise(peer) => {
                (self.write_pairwise(&outgoing, peer, out)?, MessageMode::Pairwise, Some(peer))
            }
        };
        Ok((length, SentRequest::new(identity, mode, peer)))
    }

    /// Protects the response to a request. [`ResponsePiv::OfRequest`] uses up the request's nonce, which may
    /// be used for only one response. Returns how many bytes of `out` the datagram takes.
    pub fn protect_response(
        &mut self,
        response: &Message<'_>,
        to: &mut ReceivedRequest,
        mode: ResponseMode,
        piv: ResponsePiv,
        out: &mut [u8],
    ) -> Result<usize, ProtectError> {
        outgoing::check(response, false)?;
        if to.kid() == self.sender.id && to.gid() == self.common.gid {
            return Err(ProtectError::WrongBinding);
        }
        let gid_changed = to.gid() != self.common.gid;
        let own_piv = match piv {
            ResponsePiv::Own => Some(self.sender.numbers.take()?),
            // RFC 10021 section 5.3.1: under another Security Context than the request's, its own Partial IV
            // is needed.
            ResponsePiv::OfRequest if gid_changed => return Err(ProtectError::NonceAlreadyUsed),
            ResponsePiv::OfRequest => {
                to.take_nonce()?;
                None
            }
        };
        let (kid, gid) = (self.sender.id, self.common.gid);
        let with_kid = mode != ResponseMode::Pairwise || to.mode() == MessageMode::Group;
        let option = OscoreOption {
            group_flag: mode == ResponseMode::Group,
            partial_iv: own_piv,
            // Only after a rekey (RFC 10021 section 4.1).
            kid_context: gid_changed.then_some(gid.as_bytes()),
            kid: with_kid.then_some(kid.as_bytes()),
        };
        let outgoing = Outgoing {
            message: response,
            option: option.encode().ok_or(ProtectError::BufferTooSmall)?,
            request: to.identity(),
            nonce_of: own_piv.map_or((to.kid(), to.partial_iv()), |piv| (kid, piv)),
        };
        match mode {
            ResponseMode::Group => self.write_group(&outgoing, out),
            ResponseMode::Pairwise | ResponseMode::PairwiseWithKid => {
                self.write_pairwise(&outgoing, to.kid(), out)
            }
        }
    }

    /// Encrypts, then countersigns the ciphertext, then encrypts the countersignature.
    fn write_group(&self, outgoing: &Outgoing<'_>, out: &mut [u8]) -> Result<usize, ProtectError> {
        let algorithm = self.common.group_encryption;
        outgoing::write(outgoing.message, &outgoing.option, out, |space, length| {
            let mut structures = self.structures(outgoing)?;
            let length = self.seal(outgoing, algorithm, &self.sender.key, &mut structures, space, length)?;
            let (ciphertext, rest) =
                space.split_at_mut_checked(length).ok_or(ProtectError::BufferTooSmall)?;
            let place = rest.get_mut(..SIGNATURE_BYTES).ok_or(ProtectError::BufferTooSmall)?;
            let signature = self.countersign(outgoing, &mut structures, ciphertext);
            place.copy_from_slice(&signature.ok_or(ProtectError::BufferTooSmall)?);
            Ok(length + SIGNATURE_BYTES)
        })
    }

    fn write_pairwise(
        &mut self,
        outgoing: &Outgoing<'_>,
        peer: MemberId,
        out: &mut [u8],
    ) -> Result<usize, ProtectError> {
        let recipient = Self::recipient(&mut self.recipients, &self.common, peer)
            .ok_or(ProtectError::UnknownRecipient)?;
        let keys = recipient.pairwise_keys(&self.common, &self.sender).ok_or(ProtectError::KeyAgreement)?;
        let key = keys.sender.clone();
        outgoing::write(outgoing.message, &outgoing.option, out, |space, length| {
            let mut structures = self.structures(outgoing)?;
            self.seal(outgoing, self.common.aead, &key, &mut structures, space, length)
        })
    }

    fn structures(&self, outgoing: &Outgoing<'_>) -> Result<SenderStructures, ProtectError> {
        let structures = SenderStructures::group(
            &self.common.aad_head,
            &outgoing.request,
            outgoing.option.as_bytes(),
            self.sender.credential.as_bytes(),
            self.common.gm_credential.as_bytes(),
        );
        structures.ok_or(ProtectError::BufferTooSmall)
    }

    fn seal(
        &self,
        outgoing: &Outgoing<'_>,
        algorithm: AeadAlgorithm,
        key: &Key,
        structures: &mut SenderStructures,
        space: &mut [u8],
        length: usize,
    ) -> Result<usize, ProtectError> {
        let (generator, piv) = outgoing.nonce_of;
        let nonce = self.common.nonce(algorithm, generator, piv);
        let associated_data = structures.enc_structure().ok_or(ProtectError::BufferTooSmall)?;
        algorithm.seal(key, &nonce, associated_data, space, length).ok_or(ProtectError::BufferTooSmall)
    }

    /// The encrypted countersignature (RFC 10021 sections 3.1 and 4.2). `None` only if a limit is too small.
    fn countersign(
        &self,
        outgoing: &Outgoing<'_>,
        structures: &mut SenderStructures,
        ciphertext: &[u8],
    ) -> Option<[u8; SIGNATURE_BYTES]> {
        let head = cose::bstr_head(ciphertext.len())?;
        let parts = [structures.countersign_start()?, head.as_bytes(), ciphertext];
        let mut signature = self.sender.sign(parts)?;
        let (generator, piv) = outgoing.nonce_of;
        let keystream = key::signature_keystream(
            &self.common.signature_encryption_key,
            generator.as_bytes(),
            piv,
            self.common.gid.as_bytes(),
            outgoing.message.code().is_request(),
        )?;
        signature.iter_mut().zip(keystream.iter()).for_each(|(byte, mask)| *byte ^= mask);
        Some(signature)
    }
}
