//! Which blocks are still needed: the union of what the agents report as missing.

use alloc::vec;
use alloc::vec::Vec;

/// A set of block numbers below a fixed count.
#[derive(Debug, Clone)]
pub(super) struct Needed {
    words: Vec<u64>,
    count: u32,
    len: u32,
}

impl Needed {
    pub(super) fn none_of(count: u32) -> Self {
        Self { words: vec![0; (count as usize).div_ceil(64)], count, len: 0 }
    }

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn insert(&mut self, number: u32) {
        if number >= self.count {
            return;
        }
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.words[word] & bit == 0 {
            self.words[word] |= bit;
            self.len += 1;
        }
    }

    pub(super) fn insert_all(&mut self) {
        for number in 0..self.count {
            self.insert(number);
        }
    }

    /// Adds what another set of the same size has.
    pub(super) fn insert_all_of(&mut self, other: &Self) {
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
        self.len = self.words.iter().map(|word| word.count_ones()).sum();
    }

    pub(super) fn clear(&mut self) {
        self.words.fill(0);
        self.len = 0;
    }

    /// Adds the blocks of a report's bitmap: most significant bit first, starting with block `first`.
    pub(super) fn insert_bitmap(&mut self, first: u32, bitmap: &[u8]) {
        for (index, byte) in bitmap.iter().enumerate().filter(|(_, byte)| **byte != 0) {
            for bit in (0..8).filter(|bit| byte & (0x80 >> bit) != 0) {
                self.insert(first.saturating_add(index as u32 * 8 + bit));
            }
        }
    }

    /// Removes and returns the lowest number that is at least `from`.
    pub(super) fn take_next(&mut self, from: u32) -> Option<u32> {
        let first_word = from as usize / 64;
        for (index, word) in self.words.iter_mut().enumerate().skip(first_word) {
            let mask = if index == first_word { u64::MAX << (from % 64) } else { u64::MAX };
            let bits = *word & mask;
            if bits != 0 {
                let bit = bits.trailing_zeros();
                *word &= !(1 << bit);
                self.len -= 1;
                return Some(index as u32 * 64 + bit);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_out_in_order_what_bitmaps_put_in() {
        let mut needed = Needed::none_of(200);
        needed.insert_bitmap(60, &[0b1000_0001, 0, 0b0100_0000]);
        needed.insert_bitmap(196, &[0xff]);
        needed.insert(60);
        assert_eq!(needed.len(), 3 + 4);
        let mut out = Vec::new();
        while let Some(number) = needed.take_next(0) {
            out.push(number);
        }
        assert_eq!(out, [60, 67, 77, 196, 197, 198, 199]);
        assert_eq!(needed.len(), 0);
    }
}
