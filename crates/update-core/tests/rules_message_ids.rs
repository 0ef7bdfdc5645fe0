//! [message ids]: no Message ID comes again to the same peer within NON_LIFETIME (RFC 7252 section 4.4).
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Message, Type};
use common::agent::agent_address;
use common::fleet::{self, Fleet, Passing, coap_group};
use common::group::Image;
use std::collections::BTreeSet;
use update_core::distribution::{Activate, DistributionConfig, Ending};

/// The ports and Message IDs of everything that one peer has sent to another one.
#[derive(Default)]
struct Used {
    ids: BTreeSet<(usize, u8, u16)>,
    count: usize,
}

impl Used {
    /// Notes a datagram for, or from, an agent.
    fn note(&mut self, agent: usize, source: u8, bytes: &[u8]) {
        let message = Message::parse(bytes).unwrap();
        if message.ty() == Type::NonConfirmable {
            self.count += 1;
            let is_new = self.ids.insert((agent, source, message.message_id()));
            assert!(is_new, "agent {agent}, port {source}: {:#06x} again", message.message_id());
        }
    }
}

/// Half of what goes to the group is lost, so that agents fetch a lot.
fn lossy(turn: &mut u32, from_agents: &mut Used, passing: &Passing<'_>) -> usize {
    *turn = turn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    if let Some(agent) = passing.from_agent {
        from_agents.note(agent, 0, passing.bytes);
    }
    usize::from(!passing.by_group || *turn >> 31 == 0)
}

#[test]
fn distributions_that_follow_one_another_repeat_none() {
    let image = Image::new(5, 400, 64);
    let config = || DistributionConfig { activate: Activate::Nobody, ..fleet::config() };
    let mut fleet = Fleet::with(&image, 3, config(), None);
    let (mut turn, mut from_agents) = (1, Used::default());
    for end in [false, false, false, true] {
        if !end {
            // The program is restarted in the middle.
            for _ in 0..400 {
                fleet.step(&mut |passing| lossy(&mut turn, &mut from_agents, passing));
            }
            fleet.restart_distribution(config());
        } else {
            let ending = fleet.run_with(|passing| lossy(&mut turn, &mut from_agents, passing));
            assert_eq!(ending, Ending::Done);
        }
    }
    let mut to_agents = Used::default();
    for ((to, bytes), source) in fleet.sent.iter().zip(&fleet.sources) {
        for agent in 0..3 {
            if *to == coap_group() || *to == agent_address(agent) {
                to_agents.note(agent, *source, bytes);
            }
        }
    }
    assert!(fleet.sources.iter().all(|source| *source == 0), "one port is enough at this pace");
    assert!(to_agents.count > 1_000 && from_agents.count > 50, "{} {}", to_agents.count, from_agents.count);
}
