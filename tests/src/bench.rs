//! The benchmarks: each figure is a ratio to something measured in the same run, beside its limit.

pub mod memory;
pub mod protect;
pub mod store;
pub mod transfer;

use std::time::{Duration, Instant};

/// Measurements of each of the two sides. Many short ones, because another program that takes the processor
/// then spoils a few of them and not the result.
const ROUNDS: usize = 61;

/// How fast `work` is, as a part of how fast `bare` is: the median of many rounds in which both have their
/// turn.
fn speed_beside(mut bare: impl FnMut() -> Duration, mut work: impl FnMut() -> Duration) -> f64 {
    let mut ratios: Vec<f64> = (0..ROUNDS).map(|_| bare().as_secs_f64() / work().as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ROUNDS / 2]
}

/// How long something takes.
fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_that_takes_twice_as_long_is_half_as_fast() {
        let mut turn = 0;
        let ratio = speed_beside(
            || Duration::from_micros(100),
            || {
                turn += 1;
                // Now and then something else runs.
                Duration::from_micros(if turn % 3 == 0 { 5000 } else { 200 })
            },
        );
        assert!((ratio - 0.5).abs() < 1e-9);
    }
}
