//! Naming some of the agents in a request (protocol.md \[target\]).

use crate::limits::TARGET_RANGES_MAX;
use crate::target::{Ranges, Target};
use alloc::vec::Vec;

/// Some agents by their member numbers: as ranges if those fit, else as a bitmap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    ranges: Vec<(u32, u32)>,
    first: u32,
    bits: Vec<u8>,
}

/// Bytes that a target of ranges, or one with a bitmap, takes in addition to its content.
const RANGES_OVERHEAD: usize = 3;
const BITMAP_OVERHEAD: usize = 10;

impl Named {
    /// Names these sorted member numbers in a target of at most `bytes_max` bytes. If they do not all fit, it
    /// names the first ones. Also returns how many it names: at least one, if there is one.
    pub(super) fn first_of(numbers: &[u32], bytes_max: usize) -> (Self, usize) {
        let (ranges, in_ranges) = first_ranges(numbers, bytes_max.saturating_sub(RANGES_OVERHEAD));
        let first = numbers.first().copied().unwrap_or(0);
        let bits = u32::try_from(bytes_max.saturating_sub(BITMAP_OVERHEAD) * 8).unwrap_or(u32::MAX);
        let in_bitmap = numbers.partition_point(|number| number - first < bits);
        if in_ranges >= in_bitmap {
            return (Self { ranges, first: 0, bits: Vec::new() }, in_ranges);
        }
        let mut bitmap = Vec::new();
        for number in &numbers[..in_bitmap] {
            let bit = (number - first) as usize;
            bitmap.resize(bit / 8 + 1, 0);
            bitmap[bit / 8] |= 0x80 >> (bit % 8);
        }
        (Self { ranges: Vec::new(), first, bits: bitmap }, in_bitmap)
    }

    pub(super) fn target(&self) -> Target<'_> {
        if self.bits.is_empty() {
            Target::Ranges(Ranges::Given(&self.ranges))
        } else {
            Target::Bitmap { first: self.first, bits: &self.bits }
        }
    }
}

/// The ranges for as many of these numbers as fit, and how many numbers that is.
fn first_ranges(numbers: &[u32], bytes_max: usize) -> (Vec<(u32, u32)>, usize) {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    let mut closed_bytes = 0;
    for (count, number) in numbers.iter().enumerate() {
        let begun = ranges.last().copied();
        let joined = begun.filter(|(_, last)| last.saturating_add(1) >= *number);
        let (first, before) = match (joined, begun) {
            (Some((first, _)), _) => (first, closed_bytes),
            (None, Some((first, last))) => (*number, closed_bytes + cbor_bytes(first) + cbor_bytes(last)),
            (None, None) => (*number, 0),
        };
        let fits = before + cbor_bytes(first) + cbor_bytes(*number) <= bytes_max;
        if !fits || (joined.is_none() && ranges.len() == TARGET_RANGES_MAX) {
            return (ranges, count);
        }
        if joined.is_some() {
            ranges.pop();
        }
        ranges.push((first, *number));
        closed_bytes = before;
    }
    (ranges, numbers.len())
}

/// Bytes that a number takes in CBOR.
const fn cbor_bytes(number: u32) -> usize {
    match number {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::limits::{TARGET_BYTES_MAX, TARGET_QUERY_BYTES_MAX};
    use group_oscore::MemberId;

    fn names(named: &Named, number: u32) -> bool {
        let id = MemberId::new(&number.to_be_bytes()[1..]).unwrap();
        named.target().matches(id, &Digest([0; 32]))
    }

    /// Names all of them in targets of at most this many bytes each, and returns the number of targets.
    fn named_in(numbers: &[u32], bytes_max: usize) -> usize {
        let (mut left, mut targets) = (numbers, 0);
        let mut buffer = [0; 1000];
        while !left.is_empty() {
            let (named, count) = Named::first_of(left, bytes_max);
            let encoded = crate::codec::write_into(&mut buffer, |out| named.target().encode(out)).unwrap();
            assert!(encoded <= bytes_max, "{encoded} bytes");
            let last = left[count - 1];
            for number in left[0].saturating_sub(20)..=last + 20 {
                assert_eq!(names(&named, number), left[..count].contains(&number), "{number}");
            }
            left = &left[count..];
            targets += 1;
        }
        targets
    }

    #[test]
    fn neighbours_become_ranges() {
        let (named, count) = Named::first_of(&[3, 4, 5, 9, 9], TARGET_BYTES_MAX);
        assert_eq!((named.ranges.as_slice(), count), (&[(3, 5), (9, 9)][..], 5));
        assert!((0..20).all(|number| names(&named, number) == [3, 4, 5, 9].contains(&number)));
    }

    #[test]
    fn many_become_a_bitmap() {
        let numbers: Vec<u32> = (100..1100).filter(|number| number % 3 == 0).collect();
        assert_eq!(named_in(&numbers, TARGET_BYTES_MAX), 1);
        assert!(Named::first_of(&numbers, TARGET_BYTES_MAX).0.ranges.is_empty());
    }

    #[test]
    fn what_does_not_fit_one_target_takes_several_that_leave_nobody_out() {
        let odd: Vec<u32> = (0..20_000).filter(|number| number % 2 == 1).collect();
        assert_eq!(named_in(&odd, TARGET_BYTES_MAX), 3);
        assert_eq!(named_in(&odd, TARGET_QUERY_BYTES_MAX), 22);
        let scattered: Vec<u32> = (0..200).map(|number| number * 70_001).collect();
        named_in(&scattered, 32);
    }
}
