//! [rekey]: nothing verified is thrown away when the keys change in the middle of a transfer, and no nonce is
//! used twice.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use coap_wire::Message;
use common::agent::distributor_address;
use common::fleet::{Fleet, Passing, config};
use common::group::{self, Image};
use group_oscore::{OscoreOption, ReplayWindow, SequenceNumbers};
use update_core::distribution::{DistributionConfig, Ending};
use update_core::platform::Area;
use update_core::reception::NewKeys;

const BLOCKS: u32 = 64;

/// Everybody has new keys: the distributor's program begins again with them, from number 0.
fn rekey(fleet: &mut Fleet<'_>, generation: u8, config: DistributionConfig) {
    group::set_generation(generation);
    for index in 0..fleet.agents.len() {
        let numbers = SequenceNumbers::new(0, 0);
        let context = group::agent_context(index, numbers, ReplayWindow::from_floor(0));
        let (distributor, address) = (group::distributor_id(), distributor_address());
        fleet.agents[index].machine.rekey(NewKeys { context, distributor, address, floor: 0 });
        fleet.agents[index].run();
    }
    fleet.reserved_end = 0;
    fleet.floors.values_mut().for_each(|floor| *floor = Some(0));
    fleet.heard.clear();
    fleet.restart_distribution(config);
}

#[test]
fn new_keys_before_each_block_cost_no_block_and_no_nonce() {
    let image = Image::new(7, BLOCKS, 256);
    let config = DistributionConfig { rate: 200_000, ..config() };
    let mut fleet = Fleet::with(&image, 2, config.clone(), None);
    // Who has sent what under which number of which keys.
    let mut used = BTreeMap::<(u8, Option<usize>, u64), Vec<u8>>::new();
    let (mut generation, mut had) = (0, 0);
    let duplicates = |fleet: &Fleet<'_>| {
        fleet.agents.iter().map(|agent| agent.machine.counters().duplicates).collect::<Vec<_>>()
    };
    let mut before = Vec::new();
    let mut note = |generation: u8, passing: &Passing<'_>| {
        let message = Message::parse(passing.bytes).unwrap();
        let Some(piv) = OscoreOption::of(&message).unwrap().partial_iv else { return 1 };
        let before = used.insert((generation, passing.from_agent, piv.value()), passing.bytes.to_vec());
        assert!(before.is_none_or(|before| before == passing.bytes), "a nonce is used twice");
        1
    };
    for _ in 0..100_000 {
        let now = generation;
        fleet.step(&mut |passing| note(now, passing));
        if let Some(ending) = fleet.ending {
            assert_eq!(ending, Ending::Done);
            break;
        }
        let has = fleet.agents[0].machine.progress().0;
        if has > had && has < BLOCKS {
            had = has;
            if generation == 0 {
                // The root page comes more than once.
                before = duplicates(&fleet);
            }
            generation += 1;
            rekey(&mut fleet, generation, config.clone());
        }
    }
    assert!(fleet.ending.is_some(), "it does not end, with {had} of {BLOCKS} blocks");
    assert_eq!(u32::from(generation), BLOCKS - 1, "new keys before each block but the first");
    for agent in &fleet.agents {
        let counters = agent.machine.counters();
        let stored = counters.stored_multicast + counters.stored_unicast;
        assert_eq!(stored, BLOCKS + image.count(Area::Pages), "each block and page is stored once");
    }
    assert_eq!(duplicates(&fleet), before, "nothing verified is sent again");
}
