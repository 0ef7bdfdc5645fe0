//! Code, options and payload: what follows the header of a message, and the plaintext of OSCORE.

use crate::{Code, MessageError, option};
use coap_message_implementations::{
    inmemory::{self, SliceBuffer},
    option_iteration::{OptItem, OptPayloadReader},
};
use core::fmt;

/// Code, options and payload, checked once (RFC 7252 section 3, after the Token).
///
/// As a plaintext of OSCORE (RFC 8613 section 5.3) it is the code's byte followed by options and payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Body<'a> {
    code: Code,
    /// Only the options, without the payload marker.
    options: &'a [u8],
    payload: &'a [u8],
}

/// One option.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Opt<'a> {
    /// The option number.
    pub number: u16,
    /// The value's bytes.
    pub value: &'a [u8],
}

impl<'a> Body<'a> {
    /// Checks the options and payload of a message with this code.
    ///
    /// # Errors
    /// [`MessageError::Option`] and [`MessageError::PayloadMarker`].
    pub fn parse(code: Code, options_and_payload: &'a [u8]) -> Result<Self, MessageError> {
        for item in OptPayloadReader::new(options_and_payload) {
            match item {
                OptItem::Option { .. } => {}
                OptItem::Error(_) => return Err(MessageError::Option),
                // RFC 7252 section 3: "The presence of a marker followed by a zero-length payload MUST be
                // processed as a message format error."
                OptItem::Payload([]) => return Err(MessageError::PayloadMarker),
                OptItem::Payload(payload) => {
                    let options_end = options_and_payload.len() - payload.len() - 1;
                    let options = options_and_payload.get(..options_end).unwrap_or_default();
                    return Ok(Self { code, options, payload });
                }
            }
        }
        Ok(Self { code, options: options_and_payload, payload: &[] })
    }

    /// Checks the plaintext of OSCORE: the code's byte, options and payload.
    ///
    /// # Errors
    /// [`MessageError::TooShort`] if there is no code; those of [`Body::parse`].
    pub fn parse_plaintext(plaintext: &'a [u8]) -> Result<Self, MessageError> {
        let (&code, rest) = plaintext.split_first().ok_or(MessageError::TooShort)?;
        Self::parse(Code::from_byte(code), rest)
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The options in ascending order.
    pub fn options(&self) -> Options<'a> {
        Options(OptPayloadReader::new(self.options))
    }

    /// The value of the first option with this number.
    pub fn option(&self, number: u16) -> Option<&'a [u8]> {
        self.options().find(|opt| opt.number == number).map(|opt| opt.value)
    }

    /// The payload; empty if there is none.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The options as they are on the wire, without the payload marker.
    pub const fn encoded_options(&self) -> &'a [u8] {
        self.options
    }

    /// The segments of the Uri-Path (RFC 7252 section 5.10.1), undecoded.
    pub fn uri_path(&self) -> UriPath<'a> {
        UriPath(self.options())
    }

    /// Whether the Uri-Path has exactly these segments.
    pub fn uri_path_is(&self, segments: &[&[u8]]) -> bool {
        self.uri_path().eq(segments.iter().copied())
    }

    /// The first critical option that is not in `known`. RFC 7252 section 5.4.1: a request with one must be
    /// answered with 4.02, and a response with one must be rejected.
    pub fn unknown_critical(&self, known: &[u16]) -> Option<u16> {
        self.options()
            .map(|opt| opt.number)
            .find(|number| option::is_critical(*number) && !known.contains(number))
    }

    /// The same options as a message of `coap-message-implementations`, for handlers written for
    /// `coap-message`. The payload is left out.
    pub fn to_inmemory(&self) -> inmemory::Message<SliceBuffer<'a>> {
        inmemory::Message::new_from_slice(self.code.byte(), self.options)
    }
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("code", &self.code)
            .field("options", &self.options())
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}

impl fmt::Debug for Opt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:02x?}", self.number, self.value)
    }
}

/// The options of a [`Body`] in order.
pub struct Options<'a>(OptPayloadReader<'a>);

impl<'a> Iterator for Options<'a> {
    type Item = Opt<'a>;

    fn next(&mut self) -> Option<Opt<'a>> {
        match self.0.next()? {
            OptItem::Option { number, data } => Some(Opt { number, value: data }),
            // The check of the body rules out both.
            OptItem::Payload(_) | OptItem::Error(_) => None,
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Options(..)")
    }
}

/// The segments of a Uri-Path.
#[derive(Debug)]
pub struct UriPath<'a>(Options<'a>);

impl<'a> Iterator for UriPath<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.find(|opt| opt.number == option::URI_PATH).map(|opt| opt.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // GET /fw/status with an Accept of 60 and the payload "x".
    const PLAINTEXT: &[u8] = b"\x01\xb2fw\x06status\x61\x3c\xffx";

    #[test]
    fn options_come_in_order() {
        let body = Body::parse_plaintext(PLAINTEXT).unwrap();
        assert_eq!(body.code(), Code::GET);
        assert!(body.options().map(|opt| opt.number).eq([11, 11, 17]));
        assert_eq!(body.option(option::ACCEPT), Some(&[60][..]));
        assert_eq!(body.option(option::URI_PATH), Some(&b"fw"[..]));
        assert_eq!(body.option(option::ETAG), None);
        assert_eq!(body.payload(), b"x");
        assert!(body.uri_path_is(&[b"fw", b"status"]));
        assert!(!body.uri_path_is(&[b"fw"]));
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(Body::parse_plaintext(b""), Err(MessageError::TooShort));
        assert_eq!(Body::parse_plaintext(b"\x01\xb2f"), Err(MessageError::Option));
        assert_eq!(Body::parse_plaintext(b"\x01\xf0"), Err(MessageError::Option));
        assert_eq!(Body::parse_plaintext(b"\x01\xe0\xff\xff"), Err(MessageError::Option));
        assert_eq!(Body::parse_plaintext(b"\x01\xb1a\xff"), Err(MessageError::PayloadMarker));
    }

    #[test]
    fn unknown_critical_options_are_found() {
        let body = Body::parse_plaintext(PLAINTEXT).unwrap();
        assert_eq!(body.unknown_critical(&[option::URI_PATH]), Some(option::ACCEPT));
        assert_eq!(body.unknown_critical(&[option::URI_PATH, option::ACCEPT]), None);
        // Max-Age (14) is elective.
        assert_eq!(Body::parse_plaintext(b"\x45\xd1\x01\x3c").unwrap().unknown_critical(&[]), None);
    }

    #[test]
    fn handlers_of_coap_message_see_the_same_options() {
        use coap_message::{MessageOption as _, ReadableMessage as _};
        let body = Body::parse_plaintext(PLAINTEXT).unwrap();
        let message = body.to_inmemory();
        assert!(message.options().map(|opt| opt.number()).eq([11, 11, 17]));
    }
}
