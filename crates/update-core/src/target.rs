//! Whom an offer, an activation or a census is for (DESIGN \[target\]).
//!
//! CBOR: `null` is everyone; `[0, bits, prefix]` the agents whose SHA-256 of the name begins with these bits;
//! `[1, first, last, ...]` ranges of member numbers, both ends included; `[2, first, bitmap]` a bitmap of
//! member numbers, most significant bit first. A member number is the Sender ID read as a big-endian integer.

use crate::codec::{EncodeError, Malformed, Writer};
use crate::digest::Digest;
use crate::limits::TARGET_RANGES_MAX;
use group_oscore::MemberId;
use minicbor::Decoder;

/// The number of a member: its Sender ID as a big-endian integer. `None` for IDs of more than 4 bytes, which
/// fwcast never gives out.
#[must_use]
pub fn member_number(id: MemberId) -> Option<u32> {
    let bytes = id.as_bytes();
    (bytes.len() <= 4).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// A target, borrowing what does not fit a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Every agent of the group.
    All,
    /// The agents whose SHA-256 of the name begins with the first `bits` bits of `prefix`.
    NamePrefix {
        /// How many bits count, 1 to 64.
        bits: u8,
        /// At least that many bits.
        prefix: &'a [u8],
    },
    /// Ranges of member numbers, as (first, last), at most [`TARGET_RANGES_MAX`].
    Ranges(Ranges<'a>),
    /// The member numbers `first + i` for which bit `i` is set.
    Bitmap {
        /// Number that the first bit stands for.
        first: u32,
        /// Most significant bit of the first byte first.
        bits: &'a [u8],
    },
}

/// Ranges of member numbers: given as a slice, or still in the CBOR that they came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranges<'a> {
    /// From the caller.
    Given(&'a [(u32, u32)]),
    /// From the wire: this many unsigned integers in CBOR, checked when they were parsed.
    Encoded(u64, &'a [u8]),
}

impl Ranges<'_> {
    fn contains(&self, number: u32) -> bool {
        match *self {
            Self::Given(ranges) => ranges.iter().any(|(first, last)| (*first..=*last).contains(&number)),
            Self::Encoded(count, bytes) => {
                let mut decoder = Decoder::new(bytes);
                (0..count / 2).any(|_| {
                    matches!((decoder.u32(), decoder.u32()), (Ok(first), Ok(last))
                        if (first..=last).contains(&number))
                })
            }
        }
    }
}

impl<'a> Target<'a> {
    /// Whether an agent with this Sender ID and this SHA-256 of its name is meant.
    #[must_use]
    pub fn matches(&self, id: MemberId, name: &Digest) -> bool {
        let number = member_number(id);
        match self {
            Self::All => true,
            Self::NamePrefix { bits, prefix } => (0..usize::from(*bits)).all(|bit| {
                let mask = 0x80 >> (bit % 8);
                match (prefix.get(bit / 8), name.0.get(bit / 8)) {
                    (Some(wanted), Some(have)) => wanted & mask == have & mask,
                    _ => false,
                }
            }),
            Self::Ranges(ranges) => number.is_some_and(|number| ranges.contains(number)),
            Self::Bitmap { first, bits } => {
                number.and_then(|number| number.checked_sub(*first)).is_some_and(|bit| {
                    bits.get(bit as usize / 8).is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0)
                })
            }
        }
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Self::All => out.null()?,
            Self::NamePrefix { bits, prefix } => out.array(3)?.u8(0)?.u8(*bits)?.bytes(prefix)?,
            Self::Ranges(Ranges::Given(ranges)) => {
                out.array(1 + 2 * ranges.len() as u64)?.u8(1)?;
                for (first, last) in *ranges {
                    out.u32(*first)?.u32(*last)?;
                }
                out
            }
            Self::Ranges(Ranges::Encoded(count, bytes)) => {
                out.array(1 + count)?.u8(1)?;
                let mut decoder = Decoder::new(bytes);
                for _ in 0..*count {
                    out.u32(decoder.u32().unwrap_or(0))?;
                }
                out
            }
            Self::Bitmap { first, bits } => out.array(3)?.u8(2)?.u32(*first)?.bytes(bits)?,
        };
        Ok(())
    }

    pub(crate) fn decode(decoder: &mut Decoder<'a>) -> Result<Self, Malformed> {
        if decoder.datatype()? == minicbor::data::Type::Null {
            decoder.null()?;
            return Ok(Self::All);
        }
        let length = decoder.array()?.ok_or(Malformed)?;
        match (decoder.u8()?, length) {
            (0, 3) => {
                let bits = decoder.u8()?;
                let prefix = decoder.bytes()?;
                let enough = (1..=64).contains(&bits) && prefix.len() * 8 >= usize::from(bits);
                enough.then_some(Self::NamePrefix { bits, prefix }).ok_or(Malformed)
            }
            (1, 3..) => {
                let count = length - 1;
                if !count.is_multiple_of(2) || count > 2 * TARGET_RANGES_MAX as u64 {
                    return Err(Malformed);
                }
                let start = decoder.position();
                for _ in 0..count {
                    decoder.u32()?;
                }
                let bytes = decoder.input().get(start..decoder.position()).ok_or(Malformed)?;
                Ok(Self::Ranges(Ranges::Encoded(count, bytes)))
            }
            (2, 3) => Ok(Self::Bitmap { first: decoder.u32()?, bits: decoder.bytes()? }),
            _ => Err(Malformed),
        }
    }
}
