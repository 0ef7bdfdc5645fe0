//! A census on a slow link lasts longer than the agents' quiet time: they do not take that for silence, fetch
//! nothing by themselves, and the image still goes to all of them at once.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::agent::Agent;
use common::fleet::{self, Fleet};
use common::group::Image;
use update_core::distribution::{DistributionConfig, Ending};
use update_core::limits::QUIET;
use update_core::random::Random;
use update_core::time::Duration;

#[test]
fn cost_of_many_agents_on_a_slow_link_is_that_of_the_image_and_their_answers() {
    let (agents, blocks) = (120, 150);
    let image = Image::new(5, blocks, 256);
    // The answers to one census take 7 s and more, longer than the quiet time of 5 s.
    let config =
        DistributionConfig { rate: 20_000, transfer_within: Duration::from_secs(7_200), ..fleet::config() };
    let mut fleet = Fleet::with(&image, agents, config, None);
    fleet.agents = (0..agents).map(|index| Agent::with(index, None, QUIET)).collect();
    let mut dice = Random::new(7);
    let ending = fleet.run_with(|_| usize::from(!dice.next_u64().is_multiple_of(20)));
    assert_eq!(ending, Ending::Done);
    let tallies = fleet.distribution.tallies();
    let confirmed = fleet.agents.iter().filter(|agent| agent.installed_now().is_some()).count();
    assert_eq!(confirmed, agents, "{tallies:?}");
    // With 5 % loss, 120 agents miss every block once among them, and little of it a third time.
    let multicast = tallies.blocks_multicast as f64 / f64::from(blocks);
    let unicast = tallies.blocks_unicast as f64 / (f64::from(blocks) * agents as f64);
    let seconds = fleet.now.as_micros() / 1_000_000;
    println!("{multicast:.2} x the image by multicast, {unicast:.4} by unicast, {seconds} s");
    assert!((1.0..5.0).contains(&multicast), "{multicast}");
    assert!(unicast < 0.02, "{unicast}");
    assert!(seconds < 1_800, "{seconds} s");
}
