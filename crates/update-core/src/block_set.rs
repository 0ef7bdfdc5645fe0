//! Which blocks are present: a bitmap over memory that the caller lends.

/// A set of block numbers (or hash page numbers) below a fixed count.
///
/// Number `n` is bit `0x80 >> (n % 8)` of byte `n / 8`: the most significant bit comes first. Bits beyond the
/// count stay zero. A number out of range is never contained and never inserted; nothing panics.
#[derive(Debug, PartialEq, Eq)]
pub struct BlockSet<'m> {
    bits: &'m mut [u8],
    count: u32,
    len: u32,
}

impl<'m> BlockSet<'m> {
    /// The bytes of memory that a set of `count` numbers needs.
    #[must_use]
    pub const fn bytes_for(count: u32) -> usize {
        count.div_ceil(8) as usize
    }

    /// An empty set of numbers below `count`; `None` if `memory` is shorter than [`Self::bytes_for`] says.
    #[must_use]
    pub fn new(memory: &'m mut [u8], count: u32) -> Option<Self> {
        let mut set = Self { bits: memory, count: 0, len: 0 };
        set.reset(count).then_some(set)
    }

    /// Makes it an empty set of numbers below `count`, in the same memory. If the memory is too small, it
    /// returns `false`, and the set has no room for any number.
    #[must_use]
    pub fn reset(&mut self, count: u32) -> bool {
        let fits = self.bits.len() >= Self::bytes_for(count);
        self.count = if fits { count } else { 0 };
        self.len = 0;
        self.bits.fill(0);
        fits
    }

    /// How many numbers are in the set.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether no number is in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many numbers there can be.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether no number is missing.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.len == self.count
    }

    /// How many numbers the memory has room for.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        let bits = self.bits.len().saturating_mul(8);
        if bits > u32::MAX as usize { u32::MAX } else { bits as u32 }
    }

    /// Whether `number` is in the set; false out of range.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        let (index, mask) = position(number);
        self.bits.get(index).is_some_and(|byte| byte & mask != 0)
    }

    /// Inserts `number`; true if it is new, false if it was present or is out of range.
    pub fn insert(&mut self, number: u32) -> bool {
        self.change(number, true)
    }

    /// Removes `number`; true if it was present.
    pub fn remove(&mut self, number: u32) -> bool {
        self.change(number, false)
    }

    /// Removes all numbers.
    pub fn clear(&mut self) {
        self.bits.fill(0);
        self.len = 0;
    }

    /// The lowest missing number at or above `from`.
    #[must_use]
    pub fn next_missing(&self, from: u32) -> Option<u32> {
        if from >= self.count || self.is_full() {
            return None;
        }
        let first = (from / 8) as usize;
        // Numbers below `from` count as present in the first byte.
        let mut skipped = !(0xff_u8 >> (from % 8));
        for (index, byte) in self.bits.iter().enumerate().skip(first) {
            let zeros = !(byte | skipped);
            skipped = 0;
            if zeros != 0 {
                let number = index as u32 * 8 + zeros.leading_zeros();
                return (number < self.count).then_some(number);
            }
        }
        None
    }

    /// All missing numbers, ascending.
    pub fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        let mut from = 0;
        core::iter::from_fn(move || {
            let number = self.next_missing(from)?;
            from = number + 1;
            Some(number)
        })
    }

    /// Writes a bitmap of the numbers missing among `count` numbers from `first` on, in the bit order of the
    /// set: bit `i` is set if `first + i` is missing. Numbers out of range are not missing.
    ///
    /// Returns the number of bytes written: as many as `count` needs, or all of `out` if it is shorter.
    pub fn write_missing_bitmap(&self, first: u32, count: u32, out: &mut [u8]) -> usize {
        let len = Self::bytes_for(count).min(out.len());
        let Some(out) = out.get_mut(..len) else {
            return 0;
        };
        out.fill(0);
        let fits = u32::try_from(len).map_or(u32::MAX, |len| len.saturating_mul(8));
        let end = first.saturating_add(count.min(fits)).min(self.count);
        let mut from = first;
        while let Some(number) = self.next_missing(from).filter(|number| *number < end) {
            let (index, mask) = position(number - first);
            if let Some(byte) = out.get_mut(index) {
                *byte |= mask;
            }
            from = number + 1;
        }
        len
    }

    fn change(&mut self, number: u32, present: bool) -> bool {
        if number >= self.count || self.contains(number) == present {
            return false;
        }
        let (index, mask) = position(number);
        if let Some(byte) = self.bits.get_mut(index) {
            *byte ^= mask;
            self.len = if present { self.len + 1 } else { self.len - 1 };
        }
        true
    }
}

/// Byte index and bit mask of `number`.
const fn position(number: u32) -> (usize, u8) {
    ((number / 8) as usize, 0x80 >> (number % 8))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_must_suffice() {
        let mut memory = [0xff; 2];
        assert!(BlockSet::new(&mut memory, 17).is_none());
        let set = BlockSet::new(&mut memory, 16).unwrap();
        assert!(set.is_empty());
        assert_eq!(set.missing().count(), 16);
    }

    #[test]
    fn an_empty_range_is_full() {
        let mut set = BlockSet::new(&mut [], 0).unwrap();
        assert!(set.is_full());
        assert!(!set.insert(0));
        assert_eq!(set.next_missing(0), None);
    }

    #[test]
    fn out_of_range_is_refused_even_inside_the_last_byte() {
        let mut memory = [0; 2];
        let mut set = BlockSet::new(&mut memory, 10).unwrap();
        for number in [10, 11, 15, 16, u32::MAX] {
            assert!(!set.insert(number));
            assert!(!set.contains(number));
            assert!(!set.remove(number));
            assert_eq!(set.next_missing(number), None);
        }
        assert_eq!(set.len(), 0);
    }

    #[test]
    fn bitmap_of_missing_starts_at_first() {
        let mut memory = [0; 4];
        let mut set = BlockSet::new(&mut memory, 30).unwrap();
        for number in [3, 4, 9, 29] {
            set.insert(number);
        }
        let mut out = [0xaa; 4];
        assert_eq!(set.write_missing_bitmap(2, 9, &mut out), 2);
        // 2..=10: missing are 2, 5, 6, 7, 8, 10
        assert_eq!(out, [0b1001_1110, 0b1000_0000, 0xaa, 0xaa]);
        assert_eq!(set.write_missing_bitmap(28, 16, &mut out), 2);
        assert_eq!(out[..2], [0b1000_0000, 0]);
        assert_eq!(set.write_missing_bitmap(0, u32::MAX, &mut out[..1]), 1);
        assert_eq!(out[0], 0b1110_0111);
        assert_eq!(set.write_missing_bitmap(u32::MAX, u32::MAX, &mut out), 4);
        assert_eq!(out, [0; 4]);
        assert_eq!(set.write_missing_bitmap(0, 8, &mut []), 0);
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(
            count in 0_u32..100,
            steps in prop::collection::vec((0_u32..110, any::<bool>()), 0..200),
        ) {
            let mut memory = [0xff; 13];
            let mut set = BlockSet::new(&mut memory, count).unwrap();
            let mut model = BTreeSet::new();
            for (number, insert) in steps {
                if insert {
                    prop_assert_eq!(set.insert(number), number < count && model.insert(number));
                } else {
                    prop_assert_eq!(set.remove(number), model.remove(&number));
                }
                prop_assert_eq!(set.len() as usize, model.len());
            }
            let missing: Vec<u32> = (0..count).filter(|n| !model.contains(n)).collect();
            prop_assert_eq!(set.missing().collect::<Vec<_>>(), missing.clone());
            for from in 0..count {
                prop_assert_eq!(set.next_missing(from), missing.iter().copied().find(|n| *n >= from));
            }
            prop_assert_eq!(set.is_full(), missing.is_empty());
            set.clear();
            prop_assert_eq!(set.missing().count(), count as usize);
        }
    }
}
