//! The value of the OSCORE option (RFC 8613 section 6.1, RFC 10021 section 4.1).

use crate::{
    PartialIv, UnprotectError,
    ids::ShortBytes,
    limits::{OPTION_BYTES_MAX, PARTIAL_IV_BYTES_MAX},
};
use coap_wire::{Message, option};

const GROUP_FLAG: u8 = 0x20;
const KID_CONTEXT_FLAG: u8 = 0x10;
const KID_FLAG: u8 = 0x08;
const PARTIAL_IV_LENGTH: u8 = 0x07;
const RESERVED: u8 = 0xc0;

/// The content of an OSCORE option, to select a context. None of it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OscoreOption<'a> {
    /// The Group Flag: group mode if set, pairwise mode or plain OSCORE if not.
    pub group_flag: bool,
    /// The Partial IV.
    pub partial_iv: Option<PartialIv>,
    /// The kid context: a Gid or an ID Context.
    pub kid_context: Option<&'a [u8]>,
    /// The kid: the Sender ID of the member that protected the message.
    pub kid: Option<&'a [u8]>,
}

/// An encoded option value.
pub(crate) type OptionValue = ShortBytes<OPTION_BYTES_MAX>;

impl<'a> OscoreOption<'a> {
    /// The OSCORE option of a message.
    ///
    /// # Errors
    /// [`UnprotectError::NotProtected`] and [`UnprotectError::MalformedOption`].
    pub fn of(message: &Message<'a>) -> Result<Self, UnprotectError> {
        let value = message.option(option::OSCORE).ok_or(UnprotectError::NotProtected)?;
        Self::parse(value).ok_or(UnprotectError::MalformedOption)
    }

    /// Decodes a value. Only the shortest encoding is accepted, so the value can be rewritten byte for byte.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let Some((&flags, rest)) = value.split_first() else {
            return Some(Self { group_flag: false, partial_iv: None, kid_context: None, kid: None });
        };
        // RFC 8613 section 6.1: "If the OSCORE flag bits are all zero (0x00), the option value SHALL be
        // empty"; a reserved bit or length makes the message malformed.
        let piv_length = usize::from(flags & PARTIAL_IV_LENGTH);
        if flags == 0 || flags & RESERVED != 0 || piv_length > PARTIAL_IV_BYTES_MAX {
            return None;
        }
        let (piv, rest) = rest.split_at_checked(piv_length)?;
        let partial_iv = if piv.is_empty() { None } else { Some(PartialIv::from_wire(piv)?) };
        let (kid_context, rest) = if flags & KID_CONTEXT_FLAG != 0 {
            let (&length, rest) = rest.split_first()?;
            let (context, rest) = rest.split_at_checked(length.into())?;
            (Some(context), rest)
        } else {
            (None, rest)
        };
        let kid = (flags & KID_FLAG != 0).then_some(rest);
        if kid.is_none() && !rest.is_empty() {
            return None;
        }
        Some(Self { group_flag: flags & GROUP_FLAG != 0, partial_iv, kid_context, kid })
    }

    /// Encodes the value. `None` if a part is too long.
    pub(crate) fn encode(&self) -> Option<OptionValue> {
        let piv = self.partial_iv.map(PartialIv::to_wire);
        let piv = piv.as_ref().map_or(&[][..], |piv| piv.as_bytes());
        let flags = if self.group_flag { GROUP_FLAG } else { 0 }
            | if self.kid_context.is_some() { KID_CONTEXT_FLAG } else { 0 }
            | if self.kid.is_some() { KID_FLAG } else { 0 }
            | piv.len() as u8;
        let mut value = OptionValue::EMPTY;
        if flags == 0 {
            return Some(value);
        }
        let mut whole = value.push(&[flags]) && value.push(piv);
        if let Some(context) = self.kid_context {
            whole = whole && value.push(&[u8::try_from(context.len()).ok()?]) && value.push(context);
        }
        whole = whole && value.push(self.kid.unwrap_or_default());
        whole.then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::{OscoreOption, PartialIv};

    fn piv(value: u64) -> Option<PartialIv> {
        PartialIv::new(value)
    }

    fn option<'a>(
        group_flag: bool,
        partial_iv: Option<PartialIv>,
        kid_context: Option<&'a [u8]>,
        kid: Option<&'a [u8]>,
    ) -> OscoreOption<'a> {
        OscoreOption { group_flag, partial_iv, kid_context, kid }
    }

    // RFC 10021 section 4.3 and RFC 8613 section 6.3.
    #[test]
    fn examples_of_the_standards() {
        let cases: [(&[u8], OscoreOption<'_>); 6] = [
            (b"\x39\x05\x03\x44\x61\x6c\x25", option(true, piv(5), Some(b"\x44\x61\x6c"), Some(b"\x25"))),
            (b"\x28\x52", option(true, None, None, Some(b"\x52"))),
            (b"\x09\x05\x25", option(false, piv(5), None, Some(b"\x25"))),
            (b"\x09\x00", option(false, piv(0), None, Some(b""))),
            (b"", option(false, None, None, None)),
            (b"\x01\x07", option(false, piv(7), None, None)),
        ];
        for (value, parsed) in cases {
            assert_eq!(OscoreOption::parse(value), Some(parsed), "{value:02x?}");
            assert_eq!(parsed.encode().unwrap().as_bytes(), value);
        }
    }

    #[test]
    fn malformed_values_are_refused() {
        for value in [
            &b"\x00"[..],
            b"\x80",
            b"\x40",
            b"\x06123456",
            b"\x07\x01",
            b"\x01",
            b"\x02\x00\x01",
            b"\x10",
            b"\x10\x02a",
            b"\x01\x05\x25",
        ] {
            assert_eq!(OscoreOption::parse(value), None, "{value:02x?}");
        }
    }

    #[test]
    fn all_short_values_are_refused_or_come_back() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                for third in [0, 1, 2, 0xff] {
                    for length in 0..=3 {
                        let value = &[first, second, third][..length];
                        if let Some(parsed) = OscoreOption::parse(value) {
                            assert_eq!(parsed.encode().unwrap().as_bytes(), value);
                        }
                    }
                }
            }
        }
    }
}
