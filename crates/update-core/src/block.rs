//! How an image is cut into blocks.

use crate::limits::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, IMAGE_BYTES_MAX};

/// The size of all blocks of a transfer: 64, 128, 256, 512 or 1024 bytes, as the SZX of RFC 7959 section 2.2.
///
/// CoAP also defines 16 and 32 bytes. A hash page that small has too few entries, so fwcast refuses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockSize {
    exponent: u8,
}

impl BlockSize {
    /// `None` unless `bytes` is 64, 128, 256, 512 or 1024.
    #[must_use]
    pub const fn new(bytes: u32) -> Option<Self> {
        if !bytes.is_power_of_two() || bytes < BLOCK_BYTES_MIN || bytes > BLOCK_BYTES_MAX {
            return None;
        }
        Some(Self { exponent: bytes.trailing_zeros() as u8 - 4 })
    }

    /// From the SZX of a Block option; `None` for a size that fwcast refuses.
    #[must_use]
    pub const fn from_exponent(szx: u8) -> Option<Self> {
        // SZX 7 is reserved; checking first keeps the shift in range.
        if szx > 6 { None } else { Self::new(16 << szx) }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        16 << self.exponent
    }

    /// The SZX of a Block option: the size is 2^(SZX + 4) bytes.
    #[must_use]
    pub const fn exponent(self) -> u8 {
        self.exponent
    }
}

/// The size of an image in bytes: 1 to [`IMAGE_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageSize(u32);

impl ImageSize {
    /// `None` if `bytes` is zero or above [`IMAGE_BYTES_MAX`].
    #[must_use]
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes == 0 || bytes > IMAGE_BYTES_MAX { None } else { Some(Self(bytes)) }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

/// The number of a block of the image, from 0: the NUM of its Block1 option.
///
/// A type of its own, because hash pages are numbered from 0 as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockNumber(pub u32);

/// How an image is cut: all blocks have the same size, the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    /// The size of the whole image.
    pub image_size: ImageSize,
    /// The size of every block but the last.
    pub block_size: BlockSize,
}

impl Layout {
    /// The smallest there is, where a layout is needed and no image.
    #[cfg(feature = "alloc")]
    pub(crate) const SMALLEST: Self =
        Self { image_size: ImageSize(1), block_size: BlockSize { exponent: 2 } };

    /// How many blocks the image has: at least one.
    #[must_use]
    pub const fn block_count(self) -> u32 {
        // By shifts: a compiler that cannot tell that a size is never zero would add a check for division by
        // zero.
        ((self.image_size.0 - 1) >> (self.block_size.exponent + 4)) + 1
    }

    /// Offset in the image and length of block `number`; `None` beyond the last block.
    #[must_use]
    pub const fn block_range(self, number: BlockNumber) -> Option<(u32, usize)> {
        if number.0 >= self.block_count() {
            return None;
        }
        let offset = number.0 * self.block_size.bytes();
        let rest = self.image_size.0 - offset;
        let len = if rest < self.block_size.bytes() { rest } else { self.block_size.bytes() };
        Some((offset, len as usize))
    }

    /// Whether block `number` is the last one, whose request carries `M=0`.
    #[must_use]
    pub const fn is_last(self, number: BlockNumber) -> bool {
        number.0 == self.block_count() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_five_sizes_are_block_sizes() {
        let accepted: [u32; 5] = [64, 128, 256, 512, 1024];
        for bytes in 0..=4096 {
            let size = BlockSize::new(bytes);
            assert_eq!(size.map(BlockSize::bytes), accepted.contains(&bytes).then_some(bytes));
        }
        assert_eq!(BlockSize::new(u32::MAX), None);
        assert_eq!(BlockSize::new(1 << 31), None);
    }

    #[test]
    fn exponent_is_the_szx_of_the_block_option() {
        for szx in 0..=u8::MAX {
            let expected = (2..=6).contains(&szx).then(|| 1 << (szx + 4));
            assert_eq!(BlockSize::from_exponent(szx).map(BlockSize::bytes), expected);
            if let Some(size) = BlockSize::from_exponent(szx) {
                assert_eq!(size.exponent(), szx);
            }
        }
    }

    #[test]
    fn image_size_has_both_bounds() {
        assert_eq!(ImageSize::new(0), None);
        assert_eq!(ImageSize::new(1).map(ImageSize::bytes), Some(1));
        assert_eq!(ImageSize::new(IMAGE_BYTES_MAX).map(ImageSize::bytes), Some(IMAGE_BYTES_MAX));
        assert_eq!(ImageSize::new(IMAGE_BYTES_MAX + 1), None);
    }

    #[test]
    fn blocks_cover_the_image_without_gap_or_overlap() {
        for image in [1, 63, 64, 65, 127, 128, 129, 1000, 1024, 1025, 4096, 70_001] {
            for szx in 2..=6 {
                let layout = Layout {
                    image_size: ImageSize::new(image).unwrap(),
                    block_size: BlockSize::from_exponent(szx).unwrap(),
                };
                let mut next = 0;
                for number in 0..layout.block_count() {
                    let (offset, len) = layout.block_range(BlockNumber(number)).unwrap();
                    assert_eq!(offset, next);
                    assert!(len > 0);
                    let full = len == layout.block_size.bytes() as usize;
                    assert!(full || layout.is_last(BlockNumber(number)));
                    next += len as u32;
                }
                assert_eq!(next, image);
                assert_eq!(layout.block_range(BlockNumber(layout.block_count())), None);
                assert_eq!(layout.block_range(BlockNumber(u32::MAX)), None);
            }
        }
    }
}
