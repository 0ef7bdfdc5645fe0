//! When Message IDs were used: none may come again within NON_LIFETIME (RFC 7252 sections 4.4 and 4.8.2).

use core::num::NonZeroU64;

use crate::limits::MESSAGE_ID_AGAIN_AFTER;
use crate::time::Instant;

/// A cycle is remembered in so many parts, by when each was last used.
const PARTS: usize = 8;

/// Numbers that are used upwards and stand for the same Message IDs again after a while.
#[derive(Debug, Clone)]
pub(crate) struct Cycle {
    /// How many numbers a part has.
    part: NonZeroU64,
    /// The part in use, counted from 0 for ever.
    current: u64,
    /// From when it may be used: an answer that could not wait may have begun it too early.
    current_free_at: Option<Instant>,
    used: [Option<Instant>; PARTS],
}

impl Cycle {
    /// The same Message IDs come again after `ids` numbers, or a few fewer if eight parts do not make that.
    pub(crate) const fn new(ids: u32) -> Self {
        // A division by what cannot be zero cannot panic.
        let part = match NonZeroU64::new((ids / PARTS as u32) as u64) {
            Some(part) => part,
            None => NonZeroU64::MIN,
        };
        Self { part, current: u64::MAX, current_free_at: None, used: [None; PARTS] }
    }

    /// From when a number may be used. Numbers may be left out.
    pub(crate) fn free_at(&self, number: u64) -> Option<Instant> {
        let part = number / self.part;
        if part == self.current {
            return self.current_free_at;
        }
        let last = self.used.get((part % PARTS as u64) as usize).copied().flatten();
        last.map(|last| last + MESSAGE_ID_AGAIN_AFTER)
    }

    /// The same for a number and as many after it as a part has.
    #[cfg(feature = "alloc")]
    pub(crate) fn room_at(&self, number: u64) -> Option<Instant> {
        self.free_at(number).max(self.free_at(number + self.part.get()))
    }

    /// A number is used now.
    pub(crate) fn used(&mut self, number: u64, now: Instant) {
        (self.current_free_at, self.current) = (self.free_at(number), number / self.part);
        if let Some(last) = self.used.get_mut((self.current % PARTS as u64) as usize) {
            *last = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn a_part_that_comes_again_is_free_when_its_last_use_is_long_ago() {
        let mut cycle = Cycle::new(80);
        let at = |seconds| Instant::from_micros(seconds * 1_000_000);
        for number in 0..80 {
            assert_eq!(cycle.free_at(number), None);
            cycle.used(number, at(number));
        }
        // Numbers 0 to 9 are one part.
        assert_eq!(cycle.free_at(80), Some(at(9) + MESSAGE_ID_AGAIN_AFTER));
        assert_eq!(cycle.free_at(95), Some(at(19) + MESSAGE_ID_AGAIN_AFTER));
        assert_eq!(cycle.room_at(85), cycle.free_at(95));
        assert_eq!(cycle.free_at(79), None, "the part in use goes on");
        cycle.used(80, at(100));
        assert_eq!(cycle.free_at(81), Some(at(9) + MESSAGE_ID_AGAIN_AFTER), "it was begun too early");
        cycle.used(81, at(300));
        assert_eq!(cycle.free_at(160), Some(at(300) + MESSAGE_ID_AGAIN_AFTER));
    }

    #[test]
    fn whatever_the_speed_no_number_of_a_cycle_comes_again_in_time() {
        let mut cycle = Cycle::new(64);
        let mut last = [None; 64];
        let (mut now, mut number) = (Instant::from_micros(0), 0_u64);
        for step in 0..2_000_u64 {
            now = now + Duration::from_millis([1, 40, 9_000][(step / 100 % 3) as usize]);
            now = cycle.free_at(number).map_or(now, |free| now.max(free));
            cycle.used(number, now);
            let before = last[(number % 64) as usize].replace(now);
            assert!(before.is_none_or(|before: Instant| now.since(before) >= MESSAGE_ID_AGAIN_AFTER));
            // Some are left out, as when numbers are reserved anew.
            number += if step % 50 == 49 { 13 } else { 1 };
        }
    }
}
