//! A device's own words about what it reports, for the operator: for example which command failed, and how.

use core::fmt;

use minicbor::decode;
use minicbor::encode::{self, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

/// Longest remark, in bytes of UTF-8.
pub const REMARK_BYTES_MAX: usize = 160;

/// At most [`REMARK_BYTES_MAX`] bytes of text; a longer text is truncated. No decision depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Remark {
    len: u8,
    bytes: [u8; REMARK_BYTES_MAX],
}

impl Remark {
    /// An empty remark.
    pub const NONE: Self = Self { len: 0, bytes: [0; REMARK_BYTES_MAX] };

    /// As much of the beginning of a text as fits.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut remark = Self::NONE;
        let _ = fmt::Write::write_str(&mut remark, text);
        remark
    }

    /// As much of a formatted text as fits.
    #[must_use]
    pub fn of(arguments: fmt::Arguments<'_>) -> Self {
        let mut remark = Self::NONE;
        let _ = fmt::write(&mut remark, arguments);
        remark
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only whole characters are ever added.
        self.bytes.get(..self.len.into()).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for Remark {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Write for Remark {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let (start, room) = (usize::from(self.len), REMARK_BYTES_MAX - usize::from(self.len));
        let len = (0..=room.min(text.len())).rev().find(|len| text.is_char_boundary(*len)).unwrap_or(0);
        let (Some(target), Some(source)) =
            (self.bytes.get_mut(start..start + len), text.as_bytes().get(..len))
        else {
            return Err(fmt::Error);
        };
        target.copy_from_slice(source);
        self.len += len as u8;
        // Nothing may follow a truncated text.
        if len < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl fmt::Debug for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<C> Encode<C> for Remark {
    fn encode<W: Write>(&self, out: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        out.str(self.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Remark {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        decoder.str().map(Self::new)
    }
}

const _: () = assert!(REMARK_BYTES_MAX <= u8::MAX as usize);

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::String;

    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        for character in ['x', 'é', '字', '🙂'] {
            for count in 0..200 {
                let text: String = core::iter::repeat_n(character, count).collect();
                let remark = Remark::new(&text);
                assert!(text.starts_with(remark.as_str()));
                let whole = text.len() <= REMARK_BYTES_MAX;
                assert_eq!(remark.as_str().len() == text.len(), whole);
                assert!(whole || remark.as_str().len() + character.len_utf8() > REMARK_BYTES_MAX);
            }
        }
        let long = "y".repeat(REMARK_BYTES_MAX - 1);
        let cut = Remark::of(format_args!("{long}éz"));
        assert_eq!(cut.as_str(), long, "nothing follows a truncated text");
    }
}
