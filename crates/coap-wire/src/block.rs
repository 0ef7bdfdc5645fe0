//! The value of the Block1 and Block2 options (RFC 7959 section 2.2).

/// Number, more flag and size of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The number of the block (NUM), at most [`Block::NUMBER_MAX`].
    pub number: u32,
    /// Whether more blocks follow (M).
    pub more: bool,
    /// The exponent of the size (SZX), 0 to 6: blocks have `2^(4 + size_exponent)` bytes.
    pub size_exponent: u8,
}

/// Why a value is not a valid block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// The value has more than three bytes.
    TooLong,
    /// The size exponent is 7, which is reserved (RFC 7959 section 2.2).
    ReservedSize,
}

impl core::fmt::Display for BlockError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooLong => {
                "the Block option has more than three bytes: the sender's implementation is at fault"
            }
            Self::ReservedSize => {
                "the Block option has the reserved size exponent 7: the sender's implementation is at fault"
            }
        })
    }
}

impl core::error::Error for BlockError {}

impl Block {
    /// The largest number that 20 bits hold.
    pub const NUMBER_MAX: u32 = (1 << 20) - 1;
    /// The largest size exponent, for blocks of 1024 bytes.
    pub const SIZE_EXPONENT_MAX: u8 = 6;

    /// Parses an option's value.
    pub fn parse(value: &[u8]) -> Result<Self, BlockError> {
        let number = match *value {
            [] => 0,
            [a] => u32::from(a),
            [a, b] => u32::from_be_bytes([0, 0, a, b]),
            [a, b, c] => u32::from_be_bytes([0, a, b, c]),
            _ => return Err(BlockError::TooLong),
        };
        let size_exponent = (number & 7) as u8;
        if size_exponent > Self::SIZE_EXPONENT_MAX {
            return Err(BlockError::ReservedSize);
        }
        Ok(Self { number: number >> 4, more: number & 8 != 0, size_exponent })
    }

    /// The exponent for blocks of `size` bytes: a power of two from 16 to 1024, otherwise `None`.
    pub const fn exponent_of(size: usize) -> Option<u8> {
        match size {
            16 => Some(0),
            32 => Some(1),
            64 => Some(2),
            128 => Some(3),
            256 => Some(4),
            512 => Some(5),
            1024 => Some(6),
            _ => None,
        }
    }

    /// Bytes in each block but the last.
    pub const fn size(&self) -> usize {
        16 << (self.size_exponent & 7)
    }

    /// The option's value, in as few bytes as possible. Numbers and exponents that do not fit lose their
    /// upper bits.
    pub fn encode(&self) -> BlockBytes {
        let value = (self.number & Self::NUMBER_MAX) << 4
            | u32::from(self.more) << 3
            | u32::from(self.size_exponent & 7);
        let [_, bytes @ ..] = value.to_be_bytes();
        BlockBytes { bytes, leading_zeros: (value.leading_zeros() / 8 - 1) as usize }
    }
}

/// The bytes of a [`Block`]'s value.
#[derive(Clone, Copy, Debug)]
pub struct BlockBytes {
    bytes: [u8; 3],
    leading_zeros: usize,
}

impl BlockBytes {
    /// Zero to three bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.leading_zeros..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u32, more: bool, size_exponent: u8) -> Block {
        Block { number, more, size_exponent }
    }

    #[test]
    fn values_are_as_short_as_possible() {
        for (value, bytes) in [
            (block(0, false, 0), &[][..]),
            (block(0, true, 2), &[0x0a]),
            (block(15, false, 6), &[0xf6]),
            (block(16, false, 6), &[0x01, 0x06]),
            (block(4096, true, 6), &[0x01, 0x00, 0x0e]),
            (block(Block::NUMBER_MAX, true, 6), &[0xff, 0xff, 0xfe]),
        ] {
            assert_eq!(value.encode().as_bytes(), bytes);
            assert_eq!(Block::parse(bytes), Ok(value));
        }
    }

    #[test]
    fn each_number_comes_back() {
        for number in (0..=Block::NUMBER_MAX).step_by(77) {
            let value = block(number, number % 2 == 0, (number % 7) as u8);
            assert_eq!(Block::parse(value.encode().as_bytes()), Ok(value));
        }
    }

    #[test]
    fn reserved_and_long_values_are_refused() {
        assert_eq!(Block::parse(&[0x07]), Err(BlockError::ReservedSize));
        assert_eq!(Block::parse(&[0, 0, 0, 0x06]), Err(BlockError::TooLong));
    }

    #[test]
    fn sizes_are_powers_of_two() {
        for exponent in 0..=Block::SIZE_EXPONENT_MAX {
            assert_eq!(Block::exponent_of(block(0, false, exponent).size()), Some(exponent));
        }
        assert_eq!(block(0, false, 6).size(), 1024);
        assert_eq!(Block::exponent_of(2048), None);
    }
}
