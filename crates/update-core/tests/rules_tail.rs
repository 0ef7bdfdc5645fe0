//! The end of a transfer with agents that hear little: nobody is lost, the others activate meanwhile, and it
//! ends soon (protocol.md \[repair\], \[patience\]).
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::agent::Agent;
use common::fleet::{self, Fleet};
use common::group::Image;
use update_core::distribution::{DistributionConfig, Ending};
use update_core::limits::QUIET;
use update_core::parity::{ErasureCode, Parity};
use update_core::random::Random;
use update_core::time::Duration;

const BLOCK_BYTES: u32 = 1024;
/// Memory of an agent for parity symbols: enough for all that it may miss.
const PARITY_BYTES: usize = 1 << 20;

/// A transfer.
struct Transfer {
    rate: u64,
    blocks: u32,
    /// Percent of datagrams that each agent loses, each way.
    losses: Vec<u64>,
    parity: Option<Parity>,
    /// This agent is switched on after that time.
    late: Option<(usize, Duration)>,
}

/// How a transfer ended.
#[derive(Debug)]
struct Ended {
    /// When each agent was confirmed, in seconds; infinite for never.
    confirmed: Vec<f64>,
    /// Bytes of the distributor for each byte of the image.
    sent: f64,
}

impl Transfer {
    fn of(blocks: u32, losses: &[u64]) -> Self {
        Self { rate: 10_000_000, blocks, losses: losses.to_vec(), parity: None, late: None }
    }

    fn run(&self, seed: u64) -> Ended {
        let image = Image::new(5, self.blocks, BLOCK_BYTES);
        let config = DistributionConfig { rate: self.rate, parity: self.parity, ..fleet::config() };
        let mut fleet = Fleet::with(&image, self.losses.len(), config, None);
        fleet.agents = (0..self.losses.len())
            .map(|index| Agent::with(index, None, QUIET).of_parity(PARITY_BYTES))
            .collect();
        if let Some((late, _)) = self.late {
            fleet.off[late] = true;
        }
        let mut dice = Random::new(seed);
        let mut confirmed = vec![f64::INFINITY; self.losses.len()];
        while fleet.ending.is_none() {
            let now = fleet.now.as_micros();
            if let Some((late, _)) = self.late.filter(|(_, after)| now >= after.as_micros() as u64) {
                fleet.off[late] = false;
            }
            fleet.step(&mut |passing| {
                let agent = passing.to_agent.or(passing.from_agent).unwrap();
                usize::from((dice.next_u64() >> 33) % 100 >= self.losses[agent])
            });
            for (agent, at) in fleet.agents.iter().zip(&mut confirmed) {
                if at.is_infinite() && agent.installed_now().is_some() {
                    *at = fleet.now.as_micros() as f64 / 1e6;
                }
            }
        }
        assert_eq!(fleet.ending, Some(Ending::Done));
        let bytes: usize = fleet.sent.iter().map(|(_, bytes)| bytes.len() + 42).sum();
        Ended { confirmed, sent: bytes as f64 / f64::from(self.blocks * BLOCK_BYTES) }
    }
}

impl Ended {
    fn last(&self) -> f64 {
        self.confirmed.iter().copied().fold(0.0, f64::max)
    }

    /// The last one but the last agent.
    fn others(&self) -> f64 {
        self.confirmed[..self.confirmed.len() - 1].iter().copied().fold(0.0, f64::max)
    }
}

fn cauchy() -> Option<Parity> {
    Parity::new(ErasureCode::Cauchy, 64)
}

#[test]
fn repair_of_one_that_loses_half_ends_soon_and_the_others_do_not_wait_for_it() {
    for parity in [None, cauchy()] {
        let transfer = Transfer { parity, ..Transfer::of(512, &[0, 0, 0, 0, 0, 0, 0, 50]) };
        for seed in 1..=3 {
            let ended = transfer.run(seed);
            // The image takes half a second.
            assert!(ended.last() < 6.0 && ended.others() < 2.0, "seed {seed}: {ended:?}");
        }
    }
}

#[test]
fn repair_of_all_who_lose_half_takes_what_the_loss_takes() {
    let ended = Transfer { parity: cauchy(), ..Transfer::of(512, &[50; 8]) }.run(1);
    assert!(ended.last() < 12.0 && ended.sent < 6.0, "{ended:?}");
    let ended = Transfer::of(256, &[50; 8]).run(1);
    assert!(ended.last() < 12.0 && ended.sent < 7.0, "{ended:?}");
}

#[test]
fn patience_with_one_that_loses_nine_of_ten_lasts_until_it_has_the_image() {
    let ended = Transfer::of(64, &[0, 0, 0, 90]).run(1);
    assert!(ended.last().is_finite() && ended.others() < 2.0, "{ended:?}");
}

#[test]
fn silence_of_one_that_is_switched_off_delays_the_others_by_three_tenths_at_most() {
    let alone = Transfer::of(256, &[0; 7]).run(1);
    let never = Duration::from_secs(100_000);
    let with_one_off = Transfer { late: Some((7, never)), ..Transfer::of(256, &[0; 8]) }.run(1);
    assert!(with_one_off.others() - alone.last() < 0.3, "{alone:?} {with_one_off:?}");
}

#[test]
fn repair_of_one_that_joins_late_is_of_what_it_misses() {
    // It misses the first third, and hears of the update a second after the first offer.
    let late = Some((2, Duration::from_millis(300)));
    let ended = Transfer { late, rate: 3_000_000, ..Transfer::of(1024, &[0; 3]) }.run(1);
    assert!(ended.last().is_finite() && ended.sent < 1.75, "{ended:?}");
}
