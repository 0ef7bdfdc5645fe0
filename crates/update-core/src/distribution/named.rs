//! Naming some of the agents in a request (DESIGN \[target\]).

use super::Distribution;
use crate::limits::{TARGET_BITMAP_BYTES_MAX, TARGET_RANGES_MAX};
use crate::target::{Ranges, Target, member_number};
use alloc::vec;
use alloc::vec::Vec;

/// Some agents by their member numbers: as ranges where those are few, else as a bitmap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    ranges: Vec<(u32, u32)>,
    first: u32,
    bits: Vec<u8>,
    /// Whether everyone is named who should be; a bitmap has its limits.
    pub(super) names_all: bool,
}

impl Named {
    /// Names these member numbers.
    pub(super) fn new(mut numbers: Vec<u32>) -> Self {
        numbers.sort_unstable();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in &numbers {
            match ranges.last_mut() {
                Some((_, last)) if last.saturating_add(1) >= *number => *last = *number,
                _ => ranges.push((*number, *number)),
            }
        }
        if ranges.len() <= TARGET_RANGES_MAX {
            return Self { ranges, first: 0, bits: Vec::new(), names_all: true };
        }
        let first = numbers.first().copied().unwrap_or(0);
        let mut bits = vec![0; TARGET_BITMAP_BYTES_MAX];
        let mut names_all = true;
        for number in numbers {
            let bit = (number - first) as usize;
            match bits.get_mut(bit / 8) {
                Some(byte) => *byte |= 0x80 >> (bit % 8),
                None => names_all = false,
            }
        }
        let used = bits.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bits.truncate(used);
        Self { ranges: Vec::new(), first, bits, names_all }
    }

    pub(super) fn target(&self) -> Target<'_> {
        if self.bits.is_empty() {
            Target::Ranges(Ranges::Given(&self.ranges))
        } else {
            Target::Bitmap { first: self.first, bits: &self.bits }
        }
    }
}

impl Distribution {
    /// Names the agents with these indices.
    pub(super) fn named(&self, indices: &[usize]) -> Named {
        let agents = indices.iter().filter_map(|index| self.agents.get(*index));
        Named::new(agents.filter_map(|agent| member_number(agent.id)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use group_oscore::MemberId;

    fn names(named: &Named, number: u32) -> bool {
        let id = MemberId::new(&number.to_be_bytes()[2..]).unwrap();
        named.target().matches(id, &Digest([0; 32]))
    }

    #[test]
    fn neighbours_become_ranges() {
        let named = Named::new(vec![9, 3, 4, 5, 9]);
        assert_eq!(named.ranges, [(3, 5), (9, 9)]);
        assert!((0..20).all(|number| names(&named, number) == [3, 4, 5, 9].contains(&number)));
    }

    #[test]
    fn many_become_a_bitmap() {
        let named = Named::new((100..1100).filter(|number| number % 3 == 0).collect());
        assert!(named.ranges.is_empty() && named.names_all);
        assert!(
            (0..1200).all(|number| {
                names(&named, number) == ((100..1100).contains(&number) && number % 3 == 0)
            })
        );
    }

    #[test]
    fn a_bitmap_that_is_too_long_names_the_first_of_them() {
        let named = Named::new((0..60_000).filter(|number| number % 2 == 1).collect());
        assert!(!named.names_all);
        assert!(names(&named, 1) && !names(&named, 2) && !names(&named, 59_999));
    }
}
