//! Writes a message, or a body alone, into a caller's buffer.

use crate::{Code, HEADER_BYTES, Message, Opt, Token, Type};
use coap_message::{MinimalWritableMessage as _, MutableWritableMessage as _};
use coap_message_implementations::inmemory::{MessageMut, SliceBufferMut};

/// Why something could not be written. The writer is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The buffer has no room for it.
    BufferTooSmall,
    /// An option with a lower number than the last one, or anything after the payload.
    OptionOutOfOrder,
}

impl core::fmt::Display for WriteError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::BufferTooSmall => "the message does not fit: pass a larger buffer",
            Self::OptionOutOfOrder => {
                "options must be added in ascending order and before the payload: \
                 change the order of the calls"
            }
        })
    }
}

impl core::error::Error for WriteError {}

/// Writes a header, then options in ascending order, then a payload.
pub struct Writer<'b> {
    message: MessageMut<SliceBufferMut<'b>>,
    /// Bytes before the options.
    head: usize,
    /// Bytes that may hold options and payload.
    room: usize,
    /// Bytes of options and payload so far, including the payload marker.
    used: usize,
    last_option: u16,
    has_payload: bool,
}

impl<'b> Writer<'b> {
    /// Begins a datagram with this header.
    ///
    /// # Errors
    /// [`WriteError::BufferTooSmall`] if header and Token do not fit.
    pub fn message(
        buffer: &'b mut [u8],
        ty: Type,
        code: Code,
        message_id: u16,
        token: Token,
    ) -> Result<Self, WriteError> {
        let token = token.as_bytes();
        let head = HEADER_BYTES + token.len();
        let (header, tail) = buffer.split_at_mut_checked(head).ok_or(WriteError::BufferTooSmall)?;
        let ([first, code_byte, id_high, id_low], token_space) =
            header.split_first_chunk_mut::<HEADER_BYTES>().ok_or(WriteError::BufferTooSmall)?;
        *first = 1 << 6 | ty.bits() << 4 | token.len() as u8;
        [*id_high, *id_low] = message_id.to_be_bytes();
        token_space.copy_from_slice(token);
        Ok(Self::new(code_byte, code, tail, head))
    }

    /// Begins a body in the layout of OSCORE's plaintext (RFC 8613 section 5.3): first the code, then
    /// options.
    ///
    /// # Errors
    /// [`WriteError::BufferTooSmall`] if the buffer is empty.
    pub fn body(buffer: &'b mut [u8], code: Code) -> Result<Self, WriteError> {
        let (code_byte, tail) = buffer.split_first_mut().ok_or(WriteError::BufferTooSmall)?;
        Ok(Self::new(code_byte, code, tail, 1))
    }

    /// Begins a datagram with the header and all options of another one, without its payload.
    ///
    /// # Errors
    /// [`WriteError::BufferTooSmall`].
    pub fn copy_of(buffer: &'b mut [u8], message: &Message<'_>) -> Result<Self, WriteError> {
        let mut writer =
            Self::message(buffer, message.ty(), message.code(), message.message_id(), message.token())?;
        writer.options(message.options())?;
        Ok(writer)
    }

    fn new(code_byte: &'b mut u8, code: Code, tail: &'b mut [u8], head: usize) -> Self {
        *code_byte = code.byte();
        let room = tail.len();
        let message = MessageMut::new_in_slice(code_byte, tail);
        Self { message, head, room, used: 0, last_option: 0, has_payload: false }
    }

    /// Adds an option. Options with the same number keep the order in which they are added.
    pub fn option(&mut self, number: u16, value: &[u8]) -> Result<&mut Self, WriteError> {
        if self.has_payload || number < self.last_option {
            return Err(WriteError::OptionOutOfOrder);
        }
        let length = u16::try_from(value.len()).map_err(|_| WriteError::BufferTooSmall)?;
        let needed =
            1 + extension_bytes(number - self.last_option) + extension_bytes(length) + usize::from(length);
        if needed > self.room - self.used {
            return Err(WriteError::BufferTooSmall);
        }
        self.message.add_option(number, value).map_err(|_| WriteError::BufferTooSmall)?;
        self.last_option = number;
        self.used += needed;
        Ok(self)
    }

    /// Adds an option whose value is an unsigned integer, in as few bytes as possible (RFC 7252 section 3.2).
    pub fn option_uint(&mut self, number: u16, value: u32) -> Result<&mut Self, WriteError> {
        let bytes = value.to_be_bytes();
        self.option(number, bytes.get(value.leading_zeros() as usize / 8..).unwrap_or_default())
    }

    /// Adds each of these options.
    pub fn options<'a>(
        &mut self,
        options: impl IntoIterator<Item = Opt<'a>>,
    ) -> Result<&mut Self, WriteError> {
        for opt in options {
            self.option(opt.number, opt.value)?;
        }
        Ok(self)
    }

    /// Sets the payload; an empty one writes nothing. No option may follow.
    pub fn payload(&mut self, payload: &[u8]) -> Result<&mut Self, WriteError> {
        if payload.is_empty() {
            return Ok(self);
        }
        let space = self.payload_space()?;
        match space.get_mut(..payload.len()) {
            Some(place) => place.copy_from_slice(payload),
            None => {
                self.payload_written(0);
                self.has_payload = false;
                return Err(WriteError::BufferTooSmall);
            }
        }
        self.payload_written(payload.len());
        Ok(self)
    }

    /// Begins the payload and lends all remaining room, at least one byte, to be written in place.
    /// [`Writer::payload_written`] then sets its length; until that call all of the room counts as payload.
    pub fn payload_space(&mut self) -> Result<&mut [u8], WriteError> {
        if self.has_payload {
            return Err(WriteError::OptionOutOfOrder);
        }
        let length = (self.room - self.used).checked_sub(1).filter(|length| *length > 0);
        let length = length.ok_or(WriteError::BufferTooSmall)?;
        let space = self.message.payload_mut_with_len(length).map_err(|_| WriteError::BufferTooSmall)?;
        self.has_payload = true;
        Ok(space)
    }

    /// Sets how much of [`Writer::payload_space`] is the payload. With zero bytes the payload marker is
    /// removed as well. More than was lent counts as all of it.
    pub fn payload_written(&mut self, length: usize) {
        // Fails only for a length beyond the space, which then does not change.
        let _ = self.message.truncate(length);
    }

    /// Ends the message and returns how many bytes of the buffer it takes.
    pub fn finish(self) -> usize {
        self.head + self.message.finish().0
    }
}

impl core::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Writer").field("used", &self.used).field("room", &self.room).finish_non_exhaustive()
    }
}

/// Extended bytes that a delta or a length needs (RFC 7252 section 3.1).
const fn extension_bytes(value: u16) -> usize {
    match value {
        0..13 => 0,
        13..269 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, option};

    fn token() -> Token {
        Token::new(&[0xca, 0xfe]).unwrap()
    }

    #[test]
    fn a_message_has_the_expected_bytes() {
        let mut buffer = [0; 64];
        let mut writer =
            Writer::message(&mut buffer, Type::NonConfirmable, Code::GET, 0x1001, token()).unwrap();
        writer.option(option::URI_PATH, b"status").unwrap().payload(b"hi").unwrap();
        let length = writer.finish();
        assert_eq!(&buffer[..length], b"\x52\x01\x10\x01\xca\xfe\xb6status\xffhi");
    }

    #[test]
    fn every_size_that_fits_is_written_and_no_other() {
        let whole = b"\x52\x01\x10\x01\xca\xfe\xb6status\xd1\x0c\x3c\xffhi";
        for room in 0..whole.len() + 2 {
            let mut buffer = [0; 64];
            let write = || {
                let buffer = &mut buffer[..room];
                let mut writer = Writer::message(buffer, Type::NonConfirmable, Code::GET, 0x1001, token())?;
                writer.option(option::URI_PATH, b"status")?;
                writer.option_uint(36, 60)?;
                writer.payload(b"hi")?;
                Ok(writer.finish())
            };
            let expected = if room < whole.len() { Err(WriteError::BufferTooSmall) } else { Ok(whole.len()) };
            assert_eq!({ write }(), expected, "{room}");
            if expected.is_ok() {
                assert_eq!(&buffer[..whole.len()], whole);
            }
        }
    }

    #[test]
    fn order_is_enforced_and_a_refusal_changes_nothing() {
        let mut buffer = [0; 12];
        let mut writer = Writer::body(&mut buffer, Code::PUT).unwrap();
        writer.option(option::BLOCK1, &[]).unwrap();
        assert_eq!(writer.option(option::URI_PATH, b"fw").err(), Some(WriteError::OptionOutOfOrder));
        assert_eq!(writer.option(option::BLOCK1, &[0; 9]).err(), Some(WriteError::BufferTooSmall));
        assert_eq!(writer.payload(&[0; 30]).err(), Some(WriteError::BufferTooSmall));
        writer.option(option::SIZE1, &[1]).unwrap();
        writer.payload(b"x").unwrap();
        assert_eq!(writer.option(option::NO_RESPONSE, &[]).err(), Some(WriteError::OptionOutOfOrder));
        assert_eq!(writer.payload(b"y").err(), Some(WriteError::OptionOutOfOrder));
        let length = writer.finish();
        assert_eq!(&buffer[..length], b"\x03\xd0\x0e\xd1\x14\x01\xffx");
    }

    #[test]
    fn payloads_are_written_in_place() {
        let mut buffer = [0; 16];
        let mut writer = Writer::body(&mut buffer, Code::CONTENT).unwrap();
        let space = writer.payload_space().unwrap();
        assert_eq!(space.len(), 14);
        space[..3].copy_from_slice(b"abc");
        writer.payload_written(3);
        let length = writer.finish();
        assert_eq!(Body::parse_plaintext(&buffer[..length]).unwrap().payload(), b"abc");

        let mut writer = Writer::body(&mut buffer, Code::CONTENT).unwrap();
        writer.payload_space().unwrap();
        writer.payload_written(0);
        assert_eq!(writer.finish(), 1);

        for room in [1, 2] {
            let mut writer = Writer::body(&mut buffer[..room], Code::CONTENT).unwrap();
            assert_eq!(writer.payload_space().err(), Some(WriteError::BufferTooSmall));
        }
    }

    #[test]
    fn integers_have_no_leading_zeros() {
        let mut buffer = [0; 32];
        let mut writer = Writer::body(&mut buffer, Code::PUT).unwrap();
        for value in [0, 1, 256, 65536, u32::MAX] {
            writer.option_uint(option::SIZE1, value).unwrap();
        }
        let length = writer.finish();
        let body = Body::parse_plaintext(&buffer[..length]).unwrap();
        assert!(body.options().map(|opt| opt.value.len()).eq([0, 1, 2, 3, 4]));
    }
}
