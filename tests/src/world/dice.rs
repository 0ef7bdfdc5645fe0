//! All random events, from one seed.

use update_core::random::Random;
use update_core::time::Duration;

/// A seeded source of randomness. Each part of the world has its own, so that a change in one part disturbs
/// the others as little as possible.
#[derive(Debug, Clone)]
pub struct Dice(Random);

impl Dice {
    /// The dice of this seed for one part of the world.
    #[must_use]
    pub fn new(seed: u64, part: u64) -> Self {
        Self(Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part.wrapping_mul(0xd1b5_4a32_d192_ed03)))
    }

    /// The next 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Whether an event with this probability happens. Impossible events use no number.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && ((self.number() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// A number from 0 up to `end`, which is not included.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.number() % end }
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A random duration between two.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + self.0.up_to(most.saturating_sub(least))
    }

    /// This many random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same_and_another_part_does_not() {
        let (mut a, mut b, mut c) = (Dice::new(7, 1), Dice::new(7, 1), Dice::new(7, 2));
        assert_eq!(a.bytes(13), b.bytes(13));
        assert_ne!(a.number(), c.number());
    }

    #[test]
    fn chance_is_about_what_it_says() {
        let mut dice = Dice::new(1, 1);
        let hits = (0..10_000).filter(|_| dice.chance(0.3)).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        assert!(!dice.chance(0.0));
        assert!((0..100).all(|_| dice.chance(1.0)));
    }
}
