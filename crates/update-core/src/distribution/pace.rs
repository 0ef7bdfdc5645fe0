//! The pace of one group (RFC 10020 section 3.6; protocol.md \[pace\]).

use crate::limits::{ADAPT_BLOCKS_MIN, PACE_BURST};
use crate::time::{Duration, Instant};

/// When the next datagram may leave. Counts the full cost of a datagram on the link, including its headers.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    bits_per_second_max: u64,
    bits_per_second: u64,
    overhead_bytes: u32,
    free_at: Instant,
    /// There was nothing to send for a time since the last datagram.
    paused: bool,
    /// The loss, in thousandths, at which the rate last fell.
    fell_at: Option<u64>,
    /// The loss that does not depend on the rate, in thousandths.
    of_the_link: u64,
}

impl Pace {
    pub(super) fn new(bits_per_second: u64, overhead_bytes: u32, now: Instant) -> Self {
        let rate = bits_per_second.max(1);
        Self {
            bits_per_second_max: rate,
            bits_per_second: rate,
            overhead_bytes,
            free_at: now,
            paused: false,
            fell_at: None,
            of_the_link: 0,
        }
    }

    /// The moment from which the next datagram may leave.
    pub(super) const fn free_at(&self) -> Instant {
        self.free_at
    }

    /// A datagram with this many bytes of UDP payload leaves now.
    pub(super) fn sent(&mut self, now: Instant, payload_bytes: usize) {
        let bits = (payload_bytes as u64 + u64::from(self.overhead_bytes)) * 8;
        let micros = bits.saturating_mul(1_000_000).div_ceil(self.bits_per_second);
        // A late wake-up may be made up for, but only a little: routers on the way have small queues.
        let burst = if core::mem::take(&mut self.paused) { Duration::ZERO } else { PACE_BURST };
        let earliest = Instant::from_micros(now.as_micros().saturating_sub(burst.as_micros() as u64));
        self.free_at = self.free_at.max(earliest) + Duration::from_micros(micros);
    }

    /// Nothing may leave before this moment.
    pub(super) fn hold_until(&mut self, moment: Instant) {
        self.free_at = self.free_at.max(moment);
    }

    /// There is nothing to send now, so nothing counts as late afterwards.
    pub(super) const fn pause(&mut self) {
        self.paused = true;
    }

    /// The current rate.
    pub(super) const fn bits_per_second(&self) -> u64 {
        self.bits_per_second
    }

    /// Adapts the rate to the result of a round: of the blocks sent to it, the best agent still misses this
    /// many. What even the best agent misses was lost because of the pace, not on one agent's link, so the
    /// rate falls. If no loss is common to all agents, it rises again, up to the configured rate.
    ///
    /// If a lower rate does not lower the loss by a tenth, the loss is the link's own: the fall is taken
    /// back, and only loss beyond that counts from then on.
    pub(super) fn adapt(&mut self, sent: u32, missed_by_the_best: u32) {
        if sent < ADAPT_BLOCKS_MIN {
            return;
        }
        let loss = u64::from(missed_by_the_best) * 1000 / u64::from(sent);
        if let Some(before) = self.fell_at.take()
            && loss * 10 >= before * 9
        {
            self.of_the_link = loss.min(before);
            self.bits_per_second = self.bits_per_second_max.min(self.bits_per_second * 10 / 7 + 1);
        }
        let more = loss.saturating_sub(self.of_the_link);
        if more > 250 {
            self.fell_at = Some(loss);
            self.bits_per_second = (self.bits_per_second * 7 / 10).max(self.bits_per_second_max / 8);
        } else if more < 100 {
            self.bits_per_second = (self.bits_per_second * 12 / 10).min(self.bits_per_second_max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_at_one_megabit_takes_a_second() {
        let start = Instant::from_micros(0);
        let mut pace = Pace::new(1_000_000, 42, start);
        let mut now = start;
        for _ in 0..100 {
            now = now.max(pace.free_at());
            pace.sent(now, 1208);
        }
        assert_eq!(pace.free_at().as_micros(), 1_000_000);
    }

    #[test]
    fn a_pause_is_not_made_up_for_beyond_the_burst() {
        let mut pace = Pace::new(1_000_000, 0, Instant::from_micros(0));
        let now = Instant::from_micros(10_000_000);
        let mut sent = 0;
        while pace.free_at() <= now {
            pace.sent(now, 1250);
            sent += 1;
        }
        assert_eq!(sent, 1 + PACE_BURST.as_millis() as usize / 10);
    }

    #[test]
    fn a_time_with_nothing_to_send_is_not_made_up_for_at_all() {
        let mut pace = Pace::new(1_000_000, 0, Instant::from_micros(0));
        let now = Instant::from_micros(10_000_000);
        pace.pause();
        pace.sent(now, 1250);
        assert_eq!(pace.free_at(), now + Duration::from_millis(10));
    }

    #[test]
    fn pace_falls_when_everyone_loses_and_rises_again() {
        let mut pace = Pace::new(1_000_000, 0, Instant::from_micros(0));
        pace.adapt(1000, 300);
        assert_eq!(pace.bits_per_second(), 700_000);
        pace.adapt(1000, 150);
        assert_eq!(pace.bits_per_second(), 700_000);
        for _ in 0..3 {
            pace.adapt(1000, 10);
        }
        assert_eq!(pace.bits_per_second(), 1_000_000);
    }

    #[test]
    fn pace_falls_as_long_as_that_helps_down_to_an_eighth() {
        let mut pace = Pace::new(1_000_000, 0, Instant::from_micros(0));
        for missed in (300..=1000).rev().step_by(120) {
            pace.adapt(1000, missed);
        }
        assert_eq!(pace.bits_per_second(), 125_000);
    }

    #[test]
    fn pace_does_not_fall_because_of_loss_that_does_not_depend_on_it() {
        let mut pace = Pace::new(1_000_000, 0, Instant::from_micros(0));
        for missed in [500, 490, 510, 500, 480, 505] {
            pace.adapt(1000, missed);
        }
        assert_eq!(pace.bits_per_second(), 1_000_000);
        // What comes on top of that is the pace's.
        pace.adapt(1000, 800);
        assert_eq!(pace.bits_per_second(), 700_000);
    }
}
