//! Which agents an offer, an activation or a census is for (protocol.md \[target\]).
//!
//! CBOR: `null` is everyone; `[0, bits, prefix]` the agents whose SHA-256 of the name begins with these bits;
//! `[1, first, last, ...]` ranges of member numbers, both ends included; `[2, first, bitmap]` a bitmap of
//! member numbers, most significant bit first. A member number is the Sender ID read as a big-endian integer.

use crate::codec::{EncodeError, Malformed, Writer, write_into};
use crate::digest::Digest;
use crate::limits::{TARGET_QUERY_BYTES_MAX, TARGET_RANGES_MAX};
use group_oscore::MemberId;
use minicbor::Decoder;

/// The prefix of a target's Uri-Query.
const QUERY_PREFIX: &[u8] = b"t=";

/// The number of a member: its Sender ID as a big-endian integer. `None` for IDs of more than 4 bytes, which
/// fwcast never assigns.
#[must_use]
pub fn member_number(id: MemberId) -> Option<u32> {
    let bytes = id.as_bytes();
    (bytes.len() <= 4).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// A target. It borrows what does not fit a word.
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
        /// The number of the first bit.
        first: u32,
        /// The bits, starting with the most significant bit of the first byte.
        bits: &'a [u8],
    },
}

/// Ranges of member numbers: given as a slice, or still in the CBOR that they came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranges<'a> {
    /// From the caller.
    Given(&'a [(u32, u32)]),
    /// From the wire: this many unsigned integers in CBOR, already checked.
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

    /// Writes the target as the value of a Uri-Query option for an offer, whose payload is the envelope: `t=`
    /// and the CBOR in hexadecimal. `None` when it does not fit.
    #[must_use]
    pub fn to_query(&self, out: &mut [u8]) -> Option<usize> {
        let mut cbor = [0; TARGET_QUERY_BYTES_MAX];
        let len = write_into(&mut cbor, |writer| self.encode(writer))?;
        out.get_mut(..2)?.copy_from_slice(QUERY_PREFIX);
        hex::encode_to_slice(&cbor[..len], out.get_mut(2..2 + 2 * len)?).ok()?;
        Some(2 + 2 * len)
    }

    /// Reads what [`Self::to_query`] wrote. `cbor` takes the bytes that the target borrows.
    ///
    /// # Errors
    /// [`Malformed`], including any other query.
    pub fn from_query(value: &[u8], cbor: &'a mut [u8; TARGET_QUERY_BYTES_MAX]) -> Result<Self, Malformed> {
        let digits = value.strip_prefix(QUERY_PREFIX).ok_or(Malformed)?;
        let target = cbor.get_mut(..digits.len() / 2).ok_or(Malformed)?;
        hex::decode_to_slice(digits, target).map_err(|_| Malformed)?;
        Self::decode(&mut Decoder::new(target))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(bytes: &[u8]) -> MemberId {
        MemberId::new(bytes).unwrap()
    }

    /// Encodes and decodes a target, and returns whether it matches an agent.
    fn meant(target: Target<'_>, sender_id: &[u8], name: &str) -> bool {
        let mut buffer = [0; 600];
        let len = write_into(&mut buffer, |out| target.encode(out)).unwrap();
        let decoded = Target::decode(&mut Decoder::new(&buffer[..len])).unwrap();
        let name = Digest::of(name.as_bytes());
        let sent = target.matches(id(sender_id), &name);
        assert_eq!(sent, decoded.matches(id(sender_id), &name));
        sent
    }

    #[test]
    fn as_many_ranges_as_there_may_be_are_read_and_not_one_more() {
        let ranges: [(u32, u32); TARGET_RANGES_MAX + 1] =
            core::array::from_fn(|index| (index as u32, index as u32));
        let read = |ranges| {
            let mut buffer = [0; 600];
            let ranges = Target::Ranges(Ranges::Given(ranges));
            let len = write_into(&mut buffer, |out| ranges.encode(out)).unwrap();
            Target::decode(&mut Decoder::new(&buffer[..len])).is_ok()
        };
        assert!(read(&ranges[1..]) && !read(&ranges));
    }

    #[test]
    fn target_reaches_whom_it_names_and_nobody_else() {
        assert!(meant(Target::All, &[7], "lamp"));
        let ranges = [(1, 3), (300, 400)];
        let ranges = Target::Ranges(Ranges::Given(&ranges));
        assert!(meant(ranges, &[3], "lamp") && meant(ranges, &[1, 44], "lamp"));
        assert!(!meant(ranges, &[4], "lamp") && !meant(ranges, &[1, 145], "lamp"));
        let bitmap = Target::Bitmap { first: 10, bits: &[0b1010_0000, 1] };
        assert!(meant(bitmap, &[10], "lamp") && meant(bitmap, &[12], "lamp") && meant(bitmap, &[25], "lamp"));
        assert!(
            !meant(bitmap, &[9], "lamp") && !meant(bitmap, &[11], "lamp") && !meant(bitmap, &[26], "lamp")
        );
    }

    #[test]
    fn target_by_name_prefix_splits_a_fleet_in_two() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        for name in names {
            let halves = [0x00, 0x80]
                .map(|prefix| meant(Target::NamePrefix { bits: 1, prefix: &[prefix] }, &[1], name));
            assert!(halves[0] != halves[1], "{name} is in exactly one half");
        }
    }

    #[test]
    fn target_of_an_offer_travels_as_a_query() {
        let ranges = [(5, 9)];
        let target = Target::Ranges(Ranges::Given(&ranges));
        let (mut query, mut cbor) = ([0; 255], [0; TARGET_QUERY_BYTES_MAX]);
        let len = target.to_query(&mut query).unwrap();
        let decoded = Target::from_query(&query[..len], &mut cbor).unwrap();
        assert!(
            decoded.matches(id(&[5]), &Digest::of(b"x")) && !decoded.matches(id(&[4]), &Digest::of(b"x"))
        );
        for other in [&b""[..], b"t", b"x=00", b"t=zz", b"t=0", &[b't'; 255]] {
            assert_eq!(Target::from_query(other, &mut [0; TARGET_QUERY_BYTES_MAX]), Err(Malformed));
        }
    }
}
