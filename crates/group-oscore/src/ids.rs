//! The short byte strings that name members, groups and messages.

use crate::limits::{
    GID_BYTES_MAX, ID_CONTEXT_BYTES_MAX, MEMBER_ID_BYTES_MAX, PARTIAL_IV_BYTES_MAX, SEQUENCE_NUMBER_MAX,
};
use core::fmt;

/// A byte string of at most `N` bytes (`N < 256`), compared like a slice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ShortBytes<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> ShortBytes<N> {
    pub(crate) const EMPTY: Self = Self { bytes: [0; N], length: 0 };

    pub(crate) fn new(slice: &[u8]) -> Option<Self> {
        let mut bytes = [0; N];
        bytes.get_mut(..slice.len())?.copy_from_slice(slice);
        Some(Self { bytes, length: slice.len() as u8 })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Appends as much of `slice` as fits, and returns whether all of it did.
    pub(crate) fn push(&mut self, slice: &[u8]) -> bool {
        let start = usize::from(self.length);
        match self.bytes.get_mut(start..start + slice.len()) {
            Some(place) => place.copy_from_slice(slice),
            None => return false,
        }
        self.length += slice.len() as u8;
        true
    }
}

impl<const N: usize> PartialOrd for ShortBytes<N> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<const N: usize> Ord for ShortBytes<N> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $bytes_max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(ShortBytes<{ $bytes_max }>);

        impl $name {
            /// The empty identifier.
            pub const EMPTY: Self = Self(ShortBytes::EMPTY);

            /// An identifier with these bytes; `None` if there are too many.
            pub fn new(bytes: &[u8]) -> Option<Self> {
                ShortBytes::new(bytes).map(Self)
            }

            /// The bytes.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        /// In hexadecimal.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

identifier! {
    /// A Sender or Recipient ID, the `kid` of a message: 0 to 7 bytes (RFC 10021 section 2.2).
    MemberId, MEMBER_ID_BYTES_MAX
}
identifier! {
    /// A Group identifier, the ID Context of a security group: up to 8 bytes (RFC 10021 section 2.1.4).
    Gid, GID_BYTES_MAX
}
identifier! {
    /// The ID Context of plain OSCORE: up to 24 bytes (RFC 8613 section 3.1).
    IdContext, ID_CONTEXT_BYTES_MAX
}

/// A Partial IV: a Sender Sequence Number of 40 bits, on the wire without leading zeros (RFC 8613 section
/// 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartialIv(u64);

impl PartialIv {
    /// The Partial IV with this value; `None` above 2^40 - 1.
    pub const fn new(value: u64) -> Option<Self> {
        if value <= SEQUENCE_NUMBER_MAX { Some(Self(value)) } else { None }
    }

    /// Reads it from the wire: 1 to 5 bytes without leading zeros, zero as one byte.
    pub(crate) fn from_wire(bytes: &[u8]) -> Option<Self> {
        let minimal = matches!(bytes, [_] | [1..=u8::MAX, _, ..]) && bytes.len() <= PARTIAL_IV_BYTES_MAX;
        minimal.then(|| Self(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))))
    }

    /// The Sender Sequence Number.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The five bytes that go into a nonce, with leading zeros.
    pub(crate) fn padded(self) -> [u8; PARTIAL_IV_BYTES_MAX] {
        let [_, _, _, bytes @ ..] = self.0.to_be_bytes();
        bytes
    }

    /// The bytes on the wire.
    pub fn to_wire(self) -> PartialIvBytes {
        let bytes = self.padded();
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(PARTIAL_IV_BYTES_MAX - 1);
        PartialIvBytes { bytes, zeros }
    }
}

/// The bytes of a [`PartialIv`] on the wire.
#[derive(Clone, Copy, Debug)]
pub struct PartialIvBytes {
    bytes: [u8; PARTIAL_IV_BYTES_MAX],
    zeros: usize,
}

impl PartialIvBytes {
    /// One to five bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.zeros..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn identifiers_have_their_limits() {
        assert_eq!(MemberId::new(&[7; 7]).unwrap().as_bytes(), [7; 7]);
        assert_eq!(MemberId::new(&[7; 8]), None);
        assert_eq!(Gid::new(&[7; 9]), None);
        assert_eq!(MemberId::new(&[]), Some(MemberId::EMPTY));
        assert!(MemberId::new(&[0]) != MemberId::new(&[0, 0]));
        assert_eq!(std::format!("{:?}", Gid::new(&[0xdd, 0x11]).unwrap()), "Gid(dd11)");
    }

    #[test]
    fn partial_ivs_are_minimal() {
        for (value, wire) in
            [(0, &[0][..]), (0x14, &[0x14]), (0x0123, &[1, 0x23]), (SEQUENCE_NUMBER_MAX, &[0xff; 5])]
        {
            let piv = PartialIv::new(value).unwrap();
            assert_eq!(piv.to_wire().as_bytes(), wire);
            assert_eq!(PartialIv::from_wire(wire), Some(piv));
        }
        assert_eq!(PartialIv::new(SEQUENCE_NUMBER_MAX + 1), None);
        for wire in [&[][..], &[0, 1], &[0, 0], &[1; 6]] {
            assert_eq!(PartialIv::from_wire(wire), None);
        }
    }
}
