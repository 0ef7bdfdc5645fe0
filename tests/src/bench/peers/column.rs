//! A column of the comparison: so many receivers, so much loss, and a rate that this machine can serve.

use std::fmt;
use std::time::Duration;

use anyhow::Result;

use crate::bench::protect;

/// The rate of the links, in bits a second, where the processors are fast enough.
pub(super) const RATE_MAX: f64 = 10_000_000.0;
/// Bytes on an Ethernet link, over IPv4, of a datagram with a block of 1,024 bytes.
pub(super) const FRAME_BYTES: f64 = 1183.0;
/// What unprotecting may take of all processors. The rest is for the kernel, the distributor and storage.
const SHARE: f64 = 0.6;
/// Rates are rounded down to a multiple of this.
const STEP: f64 = 100_000.0;

/// What this machine can unprotect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Processors {
    count: usize,
    block: Duration,
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Column {
    /// How many receivers.
    pub(super) receivers: u8,
    /// Percent of datagrams that each receiver's link loses, in each direction.
    pub(super) loss: u8,
    /// The rate of the sender's link, in bits a second.
    pub(super) rate: f64,
}

impl Processors {
    /// Measures how long a block takes.
    ///
    /// # Errors
    /// A block cannot be protected or unprotected.
    pub(super) fn measure() -> Result<Self> {
        Ok(Self { count: std::thread::available_parallelism()?.get(), block: protect::unprotect_time()? })
    }

    /// The highest rate at which so many receivers leave the processors enough to do the rest.
    fn rate(&self, receivers: u8) -> f64 {
        let blocks = SHARE * self.count as f64 / self.block.as_secs_f64() / f64::from(receivers);
        let fits = blocks * FRAME_BYTES * 8.0;
        ((fits / STEP).floor() * STEP).clamp(STEP, RATE_MAX)
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = 1.0 / self.block.as_secs_f64();
        write!(f, "{} processors, each unprotects {each:.0} blocks a second", self.count)
    }
}

impl Column {
    /// All columns: receivers first.
    pub(super) fn all(receivers: &[u8], losses: &[u8], processors: &Processors) -> Vec<Self> {
        let of = |receivers: u8| {
            let rate = processors.rate(receivers);
            losses.iter().map(move |loss| Self { receivers, loss: *loss, rate })
        };
        receivers.iter().flat_map(|receivers| of(*receivers)).collect()
    }

    /// Why all tools run slower here, if they do.
    pub(super) fn slower(&self) -> Option<String> {
        (self.rate < RATE_MAX).then(|| {
            format!(
                "{self}: unprotecting {} times {:.0} Mbit/s would take more than {:.0} % of the processors, \
                 so all tools run at {:.1} Mbit/s",
                self.receivers,
                RATE_MAX / 1e6,
                SHARE * 100.0,
                self.rate / 1e6
            )
        })
    }

    /// What an ideal erasure code would send for each block, if headers cost nothing.
    pub(super) fn ideal(&self) -> f64 {
        1.0 / (1.0 - f64::from(self.loss) / 100.0)
    }

    /// What repetition sends for each block, until the last receiver has it: the expected maximum of the
    /// attempts that each needs.
    pub(super) fn repetition(&self) -> f64 {
        let loss = f64::from(self.loss) / 100.0;
        // The chance that after so many passes some receiver still lacks the block.
        let lacking = |passes: i32| 1.0 - (1.0 - loss.powi(passes)).powi(i32::from(self.receivers));
        1.0 + (1..200).map(lacking).sum::<f64>()
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "N={}, {} %", self.receivers, self.loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_falls_only_where_the_processors_would_be_full() {
        let two = Processors { count: 2, block: Duration::from_micros(40) };
        assert_eq!(two.rate(8), RATE_MAX);
        // 30,000 blocks a second in all, 937.5 for each of 32, of 1,183 bytes: 8.87 Mbit/s.
        assert!((two.rate(32) - 8_800_000.0).abs() < 1.0);
        let columns = Column::all(&[8, 32], &[0, 5], &two);
        assert_eq!(columns.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "), {
            "N=8, 0 %; N=8, 5 %; N=32, 0 %; N=32, 5 %"
        });
        assert_eq!(columns[0].slower(), None);
        assert!(columns[2].slower().unwrap().contains("8.8 Mbit/s"));
    }

    #[test]
    fn the_limits_are_those_of_theory() {
        let of = |receivers, loss| Column { receivers, loss, rate: RATE_MAX };
        assert!((of(8, 5).repetition() - 1.358).abs() < 0.001);
        assert!((of(32, 20).repetition() - 3.017).abs() < 0.001);
        assert!((of(8, 0).repetition() - 1.0).abs() < 1e-9);
        assert!((of(8, 20).ideal() - 1.25).abs() < 1e-9);
    }
}
