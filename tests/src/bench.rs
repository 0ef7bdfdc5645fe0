//! The benchmarks. Each figure is a ratio to something measured in the same run, and is shown with its limit.

pub mod memory;
pub mod peers;
pub mod protect;
pub mod store;
pub mod transfer;

use std::time::{Duration, Instant};

/// Measurements of each side. There are many short ones, so that another program that takes the processor
/// spoils a few of them and not the result.
const ROUNDS: usize = 61;

/// The speed of `work` as a fraction of the speed of `bare`: the median of many rounds in which both take
/// turns.
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
                // Sometimes something else runs.
                Duration::from_micros(if turn % 3 == 0 { 5000 } else { 200 })
            },
        );
        assert!((ratio - 0.5).abs() < 1e-9);
    }
}
