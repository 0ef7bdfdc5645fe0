//! Header and body of a datagram.

use crate::{Body, Code, Options, UriPath};
use core::{fmt, ops::Range};

/// The length of the header before the Token.
pub const HEADER_BYTES: usize = 4;
/// The longest Token (RFC 7252 section 3).
pub const TOKEN_BYTES_MAX: usize = 8;

const VERSION: u8 = 1;

/// The message type (RFC 7252 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Requires an acknowledgement.
    Confirmable,
    /// Requires none.
    NonConfirmable,
    /// Acknowledges a Confirmable message and may carry the response.
    Acknowledgement,
    /// Reports that a message could not be processed.
    Reset,
}

impl Type {
    pub(crate) const fn bits(self) -> u8 {
        match self {
            Self::Confirmable => 0,
            Self::NonConfirmable => 1,
            Self::Acknowledgement => 2,
            Self::Reset => 3,
        }
    }

    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Confirmable,
            1 => Self::NonConfirmable,
            2 => Self::Acknowledgement,
            _ => Self::Reset,
        }
    }
}

/// A Token of 0 to 8 bytes (RFC 7252 section 5.3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Token {
    length: u8,
    bytes: [u8; TOKEN_BYTES_MAX],
}

impl Token {
    /// The Token of zero bytes.
    pub const EMPTY: Self = Self { length: 0, bytes: [0; TOKEN_BYTES_MAX] };

    /// A Token of these bytes; `None` if there are more than eight.
    pub fn new(token: &[u8]) -> Option<Self> {
        let mut bytes = [0; TOKEN_BYTES_MAX];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        Some(Self { length: token.len() as u8, bytes })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(")?;
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Why a datagram is not a valid message. Such a datagram is silently dropped, except that RFC 7252 section
/// 4.2 allows a Reset in reply to a malformed unicast Confirmable message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// Fewer bytes than a header, or a plaintext without a code.
    TooShort,
    /// The version is not 1 (RFC 7252 section 3: "MUST be silently ignored").
    Version,
    /// The Token length is 9 to 15, which is reserved.
    TokenLength,
    /// The datagram ends within its Token.
    TokenTruncated,
    /// An Empty message (0.00) has something after its Message ID (RFC 7252 section 4.1).
    EmptyWithContent,
    /// The type does not match the code: a Reset that is not Empty, an Empty Non-confirmable message, an
    /// Acknowledgement with a request (RFC 7252 section 4.3, table 1).
    TypeForCode,
    /// A delta or length is reserved, an option number exceeds 65535, or an option ends beyond the datagram.
    Option,
    /// A payload marker has no payload after it.
    PayloadMarker,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "the datagram ends before the message is complete: drop it",
            Self::Version => "the datagram has another CoAP version than 1: ignore it",
            Self::TokenLength => "the Token length is reserved: the sender's implementation is at fault",
            Self::TokenTruncated => "the datagram ends within its Token: it was cut short",
            Self::EmptyWithContent => "an Empty message has content: the sender's implementation is at fault",
            Self::TypeForCode => {
                "the message type does not go with the code: the sender's implementation is at fault"
            }
            Self::Option => "an option is malformed: the sender's implementation is at fault",
            Self::PayloadMarker => {
                "there is a payload marker without a payload: the sender's implementation is at fault"
            }
        })
    }
}

impl core::error::Error for MessageError {}

/// A checked datagram: header, options and payload are as in RFC 7252 section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    ty: Type,
    message_id: u16,
    token: Token,
    body: Body<'a>,
}

impl<'a> Message<'a> {
    /// Checks a datagram.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, MessageError> {
        let (&[first, code, id_high, id_low], rest) =
            datagram.split_first_chunk::<HEADER_BYTES>().ok_or(MessageError::TooShort)?;
        if first >> 6 != VERSION {
            return Err(MessageError::Version);
        }
        let token_length = usize::from(first & 0xf);
        if token_length > TOKEN_BYTES_MAX {
            return Err(MessageError::TokenLength);
        }
        let (ty, code) = (Type::from_bits(first >> 4), Code::from_byte(code));
        // RFC 7252 section 4.1: "An Empty message has the Code field set to 0.00. The Token Length field MUST
        // be set to 0 and bytes of data MUST NOT be present after the Message ID field."
        if code == Code::EMPTY && (token_length != 0 || !rest.is_empty()) {
            return Err(MessageError::EmptyWithContent);
        }
        let fits = match ty {
            Type::Confirmable => true,
            Type::NonConfirmable => code != Code::EMPTY,
            Type::Acknowledgement => !code.is_request(),
            Type::Reset => code == Code::EMPTY,
        };
        if !fits {
            return Err(MessageError::TypeForCode);
        }
        let (token, rest) = rest.split_at_checked(token_length).ok_or(MessageError::TokenTruncated)?;
        let token = Token::new(token).ok_or(MessageError::TokenLength)?;
        let body = Body::parse(code, rest)?;
        Ok(Self { ty, message_id: u16::from_be_bytes([id_high, id_low]), token, body })
    }

    /// The message type.
    pub const fn ty(&self) -> Type {
        self.ty
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.body.code()
    }

    /// The Message ID.
    pub const fn message_id(&self) -> u16 {
        self.message_id
    }

    /// The Token.
    pub const fn token(&self) -> Token {
        self.token
    }

    /// Code, options and payload.
    pub const fn body(&self) -> Body<'a> {
        self.body
    }

    /// The options in ascending order.
    pub fn options(&self) -> Options<'a> {
        self.body.options()
    }

    /// The value of the first option with this number.
    pub fn option(&self, number: u16) -> Option<&'a [u8]> {
        self.body.option(number)
    }

    /// The payload; empty if there is none.
    pub const fn payload(&self) -> &'a [u8] {
        self.body.payload()
    }

    /// The segments of the Uri-Path.
    pub fn uri_path(&self) -> UriPath<'a> {
        self.body.uri_path()
    }

    /// Where the payload lies in the datagram; an empty range at its end if there is none.
    pub fn payload_range(&self) -> Range<usize> {
        let payload = self.payload().len();
        let marker = usize::from(payload > 0);
        let start = HEADER_BYTES + self.token.as_bytes().len() + self.body.encoded_options().len() + marker;
        start..start + payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_are_read() {
        let message = Message::parse(b"\x52\x01\x10\x01\xca\xfe\xb6status\xffhi").unwrap();
        assert_eq!(message.ty(), Type::NonConfirmable);
        assert_eq!(message.code(), Code::GET);
        assert_eq!(message.message_id(), 0x1001);
        assert_eq!(message.token().as_bytes(), [0xca, 0xfe]);
        assert!(message.uri_path().eq([b"status"]));
        assert_eq!(message.payload(), b"hi");
        assert_eq!(message.payload_range(), 14..16);
    }

    #[test]
    fn every_fault_has_its_own_error() {
        for (datagram, error) in [
            (&b"\x40\x01\x00"[..], MessageError::TooShort),
            (b"\x80\x01\x00\x00", MessageError::Version),
            (b"\x00\x01\x00\x00", MessageError::Version),
            (b"\x49\x01\x00\x00123456789", MessageError::TokenLength),
            (b"\x44\x01\x00\x00123", MessageError::TokenTruncated),
            (b"\x60\x00\x00\x00x", MessageError::EmptyWithContent),
            (b"\x61\x00\x00\x00x", MessageError::EmptyWithContent),
            (b"\x70\x45\x00\x00", MessageError::TypeForCode),
            (b"\x50\x00\x00\x00", MessageError::TypeForCode),
            (b"\x60\x01\x00\x00", MessageError::TypeForCode),
            (b"\x40\x01\x00\x00\xb9x", MessageError::Option),
            (b"\x40\x01\x00\x00\xff", MessageError::PayloadMarker),
        ] {
            assert_eq!(Message::parse(datagram), Err(error), "{datagram:02x?}");
        }
    }

    #[test]
    fn pings_resets_and_acknowledgements_are_messages() {
        for first in [0x40, 0x60, 0x70] {
            assert!(Message::parse(&[first, 0, 0x12, 0x34]).is_ok());
        }
    }
}
