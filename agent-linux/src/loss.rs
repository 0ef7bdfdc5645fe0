//! Deliberate loss for experiments: drops whole datagrams at the socket, in both directions.

/// Drops datagrams at a given rate, reproducibly: a seed gives one sequence of decisions per direction.
#[derive(Debug, Clone)]
pub struct Loss {
    /// A datagram is dropped if its random number is below this one; 2^32 drops all.
    threshold: u64,
    inward: Direction,
    outward: Direction,
}

#[derive(Debug, Clone)]
struct Direction {
    state: u64,
    dropped: u64,
}

impl Loss {
    /// No loss.
    #[must_use]
    pub const fn none() -> Self {
        let idle = Direction { state: 0, dropped: 0 };
        Self { threshold: 0, inward: idle, outward: Direction { state: 0, dropped: 0 } }
    }

    /// Drops `percent` (0 to 100) of the datagrams; `None` for anything else.
    #[must_use]
    pub fn new(percent: f64, seed: u64) -> Option<Self> {
        if !(0.0..=100.0).contains(&percent) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2^32")]
        let threshold = (percent / 100.0 * 4_294_967_296.0) as u64;
        let inward = Direction { state: seed, dropped: 0 };
        // A different start value gives a different sequence.
        let outward = Direction { state: !seed, dropped: 0 };
        Some(Self { threshold, inward, outward })
    }

    /// Whether to drop the next incoming datagram; counts it.
    pub const fn drops_received(&mut self) -> bool {
        self.inward.drops(self.threshold)
    }

    /// Whether to drop the next outgoing datagram; counts it.
    pub const fn drops_sent(&mut self) -> bool {
        self.outward.drops(self.threshold)
    }

    /// How many incoming datagrams were dropped.
    #[must_use]
    pub const fn received_dropped(&self) -> u64 {
        self.inward.dropped
    }

    /// How many outgoing datagrams were dropped.
    #[must_use]
    pub const fn sent_dropped(&self) -> u64 {
        self.outward.dropped
    }
}

impl Direction {
    const fn drops(&mut self, threshold: u64) -> bool {
        let dropped = threshold > 0 && self.next() >> 32 < threshold;
        self.dropped += dropped as u64;
        dropped
    }

    /// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): a counter and a mix of its bits. Not for secrets.
    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decisions(percent: f64, seed: u64) -> Vec<bool> {
        let mut loss = Loss::new(percent, seed).unwrap();
        (0..10_000).map(|_| loss.drops_received()).collect()
    }

    #[test]
    fn the_generator_is_splitmix64() {
        let mut direction = Direction { state: 1_234_567, dropped: 0 };
        let first: Vec<u64> = (0..3).map(|_| direction.next()).collect();
        let published = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(first, published);
    }

    #[test]
    fn so_many_percent_are_dropped() {
        for (percent, low, high) in [(0.0, 0, 0), (10.0, 900, 1100), (100.0, 10_000, 10_000)] {
            let dropped = decisions(percent, 7).into_iter().filter(|dropped| *dropped).count();
            assert!((low..=high).contains(&dropped), "{percent} %: {dropped}");
        }
    }

    #[test]
    fn a_seed_repeats_and_each_direction_has_its_own_sequence() {
        assert_eq!(decisions(30.0, 1), decisions(30.0, 1));
        assert_ne!(decisions(30.0, 1), decisions(30.0, 2));
        let mut loss = Loss::new(30.0, 1).unwrap();
        let inward: Vec<bool> = (0..100).map(|_| loss.drops_received()).collect();
        let outward: Vec<bool> = (0..100).map(|_| loss.drops_sent()).collect();
        assert_ne!(inward, outward);
        let count = |list: &[bool]| list.iter().filter(|dropped| **dropped).count() as u64;
        assert_eq!(loss.received_dropped(), count(&inward));
        assert_eq!(loss.sent_dropped(), count(&outward));
    }

    #[test]
    fn what_is_no_percentage_is_refused() {
        for percent in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert!(Loss::new(percent, 1).is_none());
        }
    }
}
