//! Counts consecutive resets that have changed nothing, and decides how long a board waits before the next
//! one.
//!
//! The count is in memory that no program initialises, so that it survives a reset. After power-on that
//! memory holds anything: a count that does not match its complement is ignored.

use core::sync::atomic::{AtomicU32, Ordering};

/// The longest wait before a reset, in seconds: about four minutes.
pub const WAIT_SECONDS_MAX: u32 = 1 << DOUBLED_MAX;

/// How often the wait is doubled.
const DOUBLED_MAX: u32 = 8;

/// A count of consecutive resets, and its complement.
#[derive(Debug)]
pub struct Resets([AtomicU32; 2]);

impl Resets {
    /// No resets yet. Memory that survives a reset is not initialised with this.
    #[must_use]
    pub const fn new() -> Self {
        Self([AtomicU32::new(0), AtomicU32::new(!0)])
    }

    /// How many resets there were.
    #[must_use]
    pub fn count(&self) -> u32 {
        let [count, complement] = &self.0;
        let count = count.load(Ordering::Relaxed);
        if count == !complement.load(Ordering::Relaxed) { count } else { 0 }
    }

    /// Counts one more, and returns the seconds to wait before it: one, doubled with each consecutive reset,
    /// up to [`WAIT_SECONDS_MAX`].
    pub fn one_more(&self) -> u32 {
        let count = self.count().min(DOUBLED_MAX);
        self.set(count + 1);
        1 << count
    }

    /// The resets have had their effect: the next one waits a second again.
    pub fn clear(&self) {
        self.set(0);
    }

    fn set(&self, count: u32) {
        let [first, complement] = &self.0;
        first.store(count, Ordering::Relaxed);
        complement.store(!count, Ordering::Relaxed);
    }
}

impl Default for Resets {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_its_bound_and_begins_anew_after_a_success() {
        let resets = Resets::new();
        let waits = [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256];
        assert_eq!(waits.map(|_| resets.one_more()), waits);
        assert_eq!(waits[9], WAIT_SECONDS_MAX);
        resets.clear();
        assert_eq!((resets.count(), resets.one_more(), resets.count()), (0, 1, 1));
    }

    #[test]
    fn memory_after_power_on_counts_as_no_reset() {
        for [count, complement] in [[0, 0], [7, 7], [u32::MAX, u32::MAX], [0xdead_beef, 0x1234_5678]] {
            let resets = Resets([AtomicU32::new(count), AtomicU32::new(complement)]);
            assert_eq!((resets.count(), resets.one_more(), resets.one_more()), (0, 1, 2));
        }
        // Even if it happens to match, the wait is limited.
        let resets = Resets([AtomicU32::new(u32::MAX), AtomicU32::new(0)]);
        assert_eq!((resets.one_more(), resets.one_more()), (WAIT_SECONDS_MAX, WAIT_SECONDS_MAX));
    }
}
