//! The outer part of a received datagram, before anything is verified.

use crate::{
    MemberId, MessageMode, OscoreOption, PartialIv, UnprotectError, limits::DATAGRAM_BYTES_MAX,
    received::Inner,
};
use coap_wire::{Body, Message, option};

/// A protected datagram, split into its head, which does not change, and the part that is decrypted in place.
pub(crate) struct Incoming<'b> {
    outer: Message<'b>,
    /// The OSCORE option's value.
    pub(crate) option_value: &'b [u8],
    /// Its decoded content.
    pub(crate) option: OscoreOption<'b>,
    /// Ciphertext, tag and, in group mode, the encrypted countersignature.
    pub(crate) payload: &'b mut [u8],
}

impl<'b> Incoming<'b> {
    pub(crate) fn request(datagram: &'b mut [u8]) -> Result<Self, UnprotectError> {
        Self::parse(datagram, true)
    }

    pub(crate) fn response(datagram: &'b mut [u8]) -> Result<Self, UnprotectError> {
        Self::parse(datagram, false)
    }

    fn parse(datagram: &'b mut [u8], is_request: bool) -> Result<Self, UnprotectError> {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(UnprotectError::TooLong);
        }
        let message = Message::parse(datagram).map_err(|_| UnprotectError::Malformed)?;
        let code = message.code();
        let is_expected = if is_request { code.is_request() } else { code.is_response() };
        if !is_expected {
            return Err(UnprotectError::UnexpectedCode);
        }
        OscoreOption::of(&message)?;
        let payload_start = message.payload_range().start;
        if message.payload().is_empty() {
            return Err(UnprotectError::Truncated);
        }
        let (head, payload) =
            datagram.split_at_mut_checked(payload_start).ok_or(UnprotectError::Malformed)?;
        // Without the payload marker, the head is a message of its own. It can be kept while the rest
        // changes.
        let head: &'b [u8] = head;
        let (_marker, head) = head.split_last().ok_or(UnprotectError::Malformed)?;
        let outer = Message::parse(head).map_err(|_| UnprotectError::Malformed)?;
        let option_value = check_options(&outer)?;
        let option = OscoreOption::parse(option_value).ok_or(UnprotectError::MalformedOption)?;
        Ok(Self { outer, option_value, option, payload })
    }

    pub(crate) const fn mode(&self) -> MessageMode {
        if self.option.group_flag { MessageMode::Group } else { MessageMode::Pairwise }
    }

    /// Assembles the verified message. The inner code must be of the same kind as the outer one.
    pub(crate) fn verified(
        head: &Head<'b>,
        kid: MemberId,
        plaintext: &'b [u8],
    ) -> Result<Inner<'b>, UnprotectError> {
        let body = Body::parse_plaintext(plaintext).map_err(|_| UnprotectError::MalformedPlaintext)?;
        let same_kind =
            if head.outer.code().is_request() { body.code().is_request() } else { body.code().is_response() };
        if !same_kind {
            return Err(UnprotectError::MalformedPlaintext);
        }
        Ok(Inner {
            ty: head.outer.ty(),
            message_id: head.outer.message_id(),
            token: head.outer.token(),
            outer: head.outer.body(),
            kid,
            mode: head.mode,
            piv: head.piv,
            body,
        })
    }

    /// Splits off the part that is decrypted.
    pub(crate) fn into_parts(self) -> (Head<'b>, &'b mut [u8]) {
        let head = Head { outer: self.outer, mode: self.mode(), piv: self.option.partial_iv };
        (head, self.payload)
    }
}

/// What remains of the outer part.
pub(crate) struct Head<'b> {
    outer: Message<'b>,
    pub(crate) mode: MessageMode,
    pub(crate) piv: Option<PartialIv>,
}

/// The value of the only OSCORE option. All other outer options are ignored (RFC 8613 section 8.2), but a
/// Block option means that the datagram is a fragment of a protected message (section 4.1.3.4.2).
fn check_options<'b>(outer: &Message<'b>) -> Result<&'b [u8], UnprotectError> {
    let mut value = None;
    for opt in outer.options() {
        match opt.number {
            // RFC 7252 section 5.4.5: a supernumerary option is treated like an unrecognised one, which is
            // critical here.
            option::OSCORE if value.is_some() => return Err(UnprotectError::MalformedOption),
            option::OSCORE => value = Some(opt.value),
            option::BLOCK1 | option::BLOCK2 | option::Q_BLOCK1 | option::Q_BLOCK2 => {
                return Err(UnprotectError::OuterBlock);
            }
            _ => {}
        }
    }
    value.ok_or(UnprotectError::NotProtected)
}
