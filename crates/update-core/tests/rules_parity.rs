//! The rules of parity, each under its name.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Block, NoResponse, Type, option};
use common::agent::Agent;
use common::fleet::{self, Fleet, Passing};
use common::group::{Image, Speaker, question};
use common::wire::seen;
use group_oscore::Mode;
use std::collections::BTreeSet;
use update_core::census::{GenerationWindow, Query, Report, State, Window};
use update_core::distribution::{DistributionConfig, Ending};
use update_core::parity::{ErasureCode, Generations, LACKS_BLOCKS, Parity, Symbol, cauchy, lacks, rs16};
use update_core::platform::Area;
use update_core::random::Random;
use update_core::reception::Via;
use update_core::resource::Resource;

/// Memory for more symbols than are needed.
const PLENTY: usize = 64 * 1028;

fn cauchy_of(generation: u16) -> Parity {
    Parity::new(ErasureCode::Cauchy, generation).unwrap()
}

fn rs16_of(generation: u16) -> Parity {
    Parity::new(ErasureCode::Rs16, generation).unwrap()
}

fn config(parity: Parity) -> DistributionConfig {
    DistributionConfig { parity: Some(parity), ..fleet::config() }
}

/// The bytes of a symbol.
fn made_of(image: &Image, area: Area, parity: Parity, symbol: Symbol) -> Vec<u8> {
    let generations = Generations::new(parity, image.count(area));
    let blocks = generations.blocks_in(symbol.generation);
    let sources = (0..blocks).map(|index| generations.block(symbol.generation, index).unwrap());
    let mut bytes = vec![0; image.block_bytes()];
    match parity.code() {
        ErasureCode::Cauchy => {
            for (index, number) in sources.enumerate() {
                cauchy::add_block(symbol.index as u8, index as u8, image.block(area, number), &mut bytes);
            }
        }
        ErasureCode::Rs16 => {
            let width = rs16::width(generations.blocks_in(0));
            let mut encoder = rs16::Encoder::new(blocks, width, bytes.len()).unwrap();
            sources.for_each(|number| encoder.add_block(image.block(area, number)).unwrap());
            encoder.encode([symbol.index].into_iter(), |made| bytes.copy_from_slice(made)).unwrap();
        }
    }
    bytes
}

/// Loses so many of a hundred datagrams, independently and in both directions.
fn losing(percent: u64) -> impl FnMut(&Passing<'_>) -> usize {
    let mut dice = Random::new(7);
    move |_| usize::from(dice.next_u64() % 100 >= percent)
}

fn all_confirmed(fleet: &Fleet<'_>) -> bool {
    fleet.agents.iter().all(|agent| agent.machine.state() == State::Confirmed)
}

#[test]
fn parity_symbols_repair_what_many_miss_differently() {
    let image = Image::new(5, 640, 256);
    // 1.37 and 1.31 for each block is what a simulation with perfect feedback gives.
    for (parity, at_most) in [(cauchy_of(64), 1.45), (rs16_of(4096), 1.36), (rs16_of(100), 1.45)] {
        let mut fleet = Fleet::with(&image, 8, config(parity), None);
        for index in 0..8 {
            fleet.agents[index] = Agent::with_parity(index, 640 * 260);
        }
        assert_eq!(fleet.run_with(losing(20)), Ending::Done);
        assert!(all_confirmed(&fleet));
        let tallies = fleet.distribution.tallies();
        assert_eq!(tallies.blocks_multicast, 640, "each block once");
        let sent = (tallies.blocks_multicast + tallies.symbols_multicast) as f64 / 640.0;
        assert!(sent < at_most, "{parity:?}: {sent}");
        assert!(tallies.blocks_unicast < 640 / 25, "{tallies:?}");
        let made = fleet.agents.iter().map(|agent| agent.machine.counters().stored_parity).sum::<u32>();
        assert!(made > 8 * 640 / 8, "{made}");
        assert!(fleet.agents.iter().all(|agent| agent.machine.counters().hash_mismatches == 0));
    }
}

#[test]
fn parity_costs_less_than_repetition() {
    let image = Image::new(5, 640, 256);
    let bytes = |parity| {
        let config = DistributionConfig { parity, ..fleet::config() };
        let mut fleet = Fleet::with(&image, 8, config, None);
        assert_eq!(fleet.run_with(losing(5)), Ending::Done);
        assert!(all_confirmed(&fleet));
        fleet.distribution.tallies().bytes_multicast
    };
    let (with, large, without) = (bytes(Some(cauchy_of(64))), bytes(Some(rs16_of(4096))), bytes(None));
    assert!(with * 10 < without * 9, "{with} and {without}");
    assert!(large < with, "{large} and {with}");
}

#[test]
fn parity_is_told_in_offers_and_its_symbols_have_block_numbers() {
    let image = Image::new(5, 100, 256);
    let mut fleet = Fleet::with(&image, 3, config(cauchy_of(16)), None);
    fleet.run_with(losing(10));
    let seen = seen(&fleet);
    let id = image.offer.id.to_hex();
    let path = |name: &str| format!("/fw/{}/{name}", std::str::from_utf8(&id).unwrap());
    let offers: Vec<_> = seen.iter().filter(|seen| seen.path == path("manifest")).collect();
    assert!(!offers.is_empty() && offers.iter().all(|offer| offer.query == b"p=820110"));
    let generations = Generations::new(cauchy_of(16), 100);
    let mut numbers = BTreeSet::new();
    for symbol in seen.iter().filter(|seen| seen.path == path("parity")) {
        let block = symbol.block1.unwrap();
        assert!(block.more && block.size() == 256 && symbol.no_response == Some(26));
        assert!(numbers.insert(block.number), "no symbol is sent twice");
        let number = generations.symbol(block.number).unwrap();
        assert_eq!(symbol.payload, made_of(&image, Area::Image, cauchy_of(16), number));
    }
    assert!(!numbers.is_empty());
}

#[test]
fn parity_is_not_needed_to_get_the_image() {
    let image = Image::new(5, 300, 256);
    let mut fleet = Fleet::with(&image, 6, config(cauchy_of(32)), None);
    for index in [1, 4] {
        fleet.agents[index] = Agent::with_parity(index, 0);
    }
    assert_eq!(fleet.run_with(losing(10)), Ending::Done);
    assert!(all_confirmed(&fleet));
    let made = |index: usize| fleet.agents[index].machine.counters().stored_parity;
    assert!(made(1) == 0 && made(4) == 0 && made(0) > 0);
}

#[test]
fn parity_with_little_memory_ends_as_well() {
    let image = Image::new(5, 300, 256);
    let rows = [
        (1, cauchy_of(64)),
        (5, cauchy_of(64)),
        (12, cauchy_of(64)),
        (15, cauchy_of(32)),
        (15, rs16_of(32)),
        (15, rs16_of(4096)),
    ];
    for (symbols, parity) in rows {
        let mut fleet = Fleet::with(&image, 4, config(parity), None);
        for index in 0..4 {
            fleet.agents[index] = Agent::with_parity(index, symbols * 260 + 100);
        }
        assert_eq!(fleet.run_with(losing(20)), Ending::Done);
        assert!(all_confirmed(&fleet), "{symbols}");
        let tallies = fleet.distribution.tallies();
        let sent = (tallies.blocks_multicast + tallies.symbols_multicast) as f64 / 300.0;
        // Repetition takes 1.9.
        let is_enough = symbols >= 12 && parity.generation() <= 64;
        assert!(!is_enough || sent < 1.65, "{symbols} {parity:?}: {sent}");
        assert!(!is_enough || tallies.blocks_unicast < 300 / 20, "{symbols}: {tallies:?}");
    }
}

#[test]
fn parity_with_the_memory_of_a_microcontroller_stays_near_what_it_can_reach() {
    let image = Image::new(5, 1024, 256);
    // In a simulation with perfect feedback: 1.11 and 1.46 for each block.
    for (loss, at_most) in [(5, 1.18), (20, 1.60)] {
        let mut fleet = Fleet::with(&image, 8, config(cauchy_of(64)), None);
        for index in 0..8 {
            fleet.agents[index] = Agent::with_parity(index, 15 * 260 + 16 * 4);
        }
        assert_eq!(fleet.run_with(losing(loss)), Ending::Done);
        assert!(all_confirmed(&fleet));
        let tallies = fleet.distribution.tallies();
        let sent = (tallies.blocks_multicast + tallies.symbols_multicast) as f64 / 1024.0;
        assert!(sent < at_most, "{loss} %: {sent}, {tallies:?}");
        assert!(tallies.blocks_unicast < 1024 / 50, "{loss} %: {tallies:?}");
    }
}

#[test]
fn parity_of_an_earlier_distribution_is_forgotten_with_another_one() {
    let image = Image::new(5, 300, 256);
    let mut fleet = Fleet::with(&image, 4, config(cauchy_of(64)), None);
    let mut loss = losing(30);
    while fleet.distribution.tallies().symbols_multicast < 40 {
        fleet.step(&mut loss);
    }
    for parity in [cauchy_of(16), rs16_of(16)] {
        fleet.restart_distribution(config(parity));
        while fleet.distribution.tallies().symbols_multicast < 20 {
            fleet.step(&mut loss);
        }
    }
    fleet.restart_distribution(fleet::config());
    assert_eq!(fleet.run_with(loss), Ending::Done);
    assert!(all_confirmed(&fleet));
    assert_eq!(fleet.distribution.tallies().symbols_multicast, 0);
    assert!(fleet.agents.iter().all(|agent| agent.machine.counters().hash_mismatches == 0));
}

/// An agent that was offered the update with parity, has this much memory for it, and got all but these
/// blocks.
fn without(speaker: &mut Speaker, image: &Image, parity: Parity, missing: &[u32], memory: usize) -> Agent {
    let mut agent = Agent::with_parity(0, memory);
    let query = Query { generations: Some(window(parity, image)), ..question(image) };
    for datagram in speaker.offer(image) {
        agent.hear(Via::Group, &datagram);
    }
    let (query, _) = speaker.query(Mode::Group, &query);
    agent.hear(Via::Group, &query);
    for area in [Area::Pages, Area::Image] {
        for number in (0..image.count(area)).filter(|n| area == Area::Pages || !missing.contains(n)) {
            let datagram = speaker.block(image, area, number);
            agent.hear(Via::Group, &datagram);
        }
    }
    agent
}

fn window(parity: Parity, image: &Image) -> GenerationWindow {
    let generations = Generations::new(parity, image.count(Area::Image));
    GenerationWindow { parity, area: Area::Image, first: 0, count: generations.count() }
}

/// The request with a symbol; `spoil` changes its bytes.
fn symbol(speaker: &mut Speaker, image: &Image, parity: Parity, symbol: Symbol, spoil: u8) -> Vec<u8> {
    let generations = Generations::new(parity, image.count(Area::Image));
    let mut bytes = made_of(image, Area::Image, parity, symbol);
    bytes[3] ^= spoil;
    let number = generations.number_of(symbol).unwrap();
    let size_exponent = image.offer.layout.block_size.exponent();
    let block = Block { number, more: !generations.is_last(number), size_exponent };
    let resource = Resource::Parity(image.offer.id);
    speaker
        .request(Mode::Group, Type::NonConfirmable, coap_wire::Code::PUT, |writer| {
            resource.write_path(writer).unwrap();
            writer.option(option::BLOCK1, block.encode().as_bytes()).unwrap();
            writer.option(option::NO_RESPONSE, &[NoResponse::ALL_SUPPRESSED.value()]).unwrap();
            writer.payload(&bytes).unwrap();
        })
        .0
}

fn lacks_of(speaker: &mut Speaker, agent: &mut Agent, image: &Image, parity: Parity) -> Vec<u16> {
    let query = Query { generations: Some(window(parity, image)), ..question(image) };
    agent.ask(speaker, &query, |report: &Report<'_>| lacks::read(parity, report.lacks.unwrap().2).collect())
}

#[test]
fn parity_a_wrong_symbol_costs_only_its_generation() {
    for parity in [cauchy_of(20), rs16_of(20)] {
        a_wrong_symbol_costs_only_its_generation(parity);
    }
}

fn a_wrong_symbol_costs_only_its_generation(parity: Parity) {
    let (image, mut speaker) = (Image::new(5, 40, 256), Speaker::distributor(1));
    // Two generations: even and odd blocks.
    let mut agent = without(&mut speaker, &image, parity, &[2, 8, 3, 39], PLENTY);
    assert_eq!(lacks_of(&mut speaker, &mut agent, &image, parity), [2, 2]);
    let hear = |agent: &mut Agent, speaker: &mut Speaker, generation, index, spoil| {
        let datagram = symbol(speaker, &image, parity, Symbol { generation, index }, spoil);
        agent.hear(Via::Group, &datagram);
    };
    hear(&mut agent, &mut speaker, 0, 9, 0);
    hear(&mut agent, &mut speaker, 0, 9, 0);
    assert_eq!(lacks_of(&mut speaker, &mut agent, &image, parity), [1, 2], "the same one counts once");
    hear(&mut agent, &mut speaker, 0, 4, 1);
    assert_eq!(lacks_of(&mut speaker, &mut agent, &image, parity), [LACKS_BLOCKS, 2]);
    assert!(agent.machine.counters().hash_mismatches > 0);
    hear(&mut agent, &mut speaker, 1, 0, 0);
    hear(&mut agent, &mut speaker, 1, 127, 0);
    assert_eq!(lacks_of(&mut speaker, &mut agent, &image, parity), [LACKS_BLOCKS, 0]);
    assert_eq!(agent.machine.counters().stored_parity, 2);
    for number in [2, 8] {
        let datagram = speaker.block(&image, Area::Image, number);
        agent.hear(Via::Group, &datagram);
    }
    assert_eq!(agent.machine.state(), State::Ready);
    assert_eq!(agent.store.image, image.bytes);
}

#[test]
fn parity_symbols_and_late_blocks_go_together() {
    let image = Image::new(5, 40, 256);
    let (parity, mut speaker) = (cauchy_of(20), Speaker::distributor(1));
    let mut agent = without(&mut speaker, &image, parity, &[0, 2, 4], PLENTY);
    for index in [1, 2] {
        let datagram = symbol(&mut speaker, &image, parity, Symbol { generation: 0, index }, 0);
        agent.hear(Via::Group, &datagram);
    }
    assert_eq!(lacks_of(&mut speaker, &mut agent, &image, parity), [1, 0]);
    let datagram = speaker.block(&image, Area::Image, 2);
    agent.hear(Via::Group, &datagram);
    assert_eq!(agent.machine.state(), State::Ready);
    assert_eq!(agent.store.image, image.bytes);
}

#[test]
fn parity_where_there_is_little_room_names_the_blocks_for_which_there_is_none() {
    let image = Image::new(5, 40, 256);
    let (parity, mut speaker) = (cauchy_of(20), Speaker::distributor(1));
    // Of the even blocks, one generation, five are missing, and there is room for three symbols.
    let mut agent = without(&mut speaker, &image, parity, &[0, 2, 8, 10, 38, 3], 3 * 260 + 8);
    let query = Query { generations: Some(window(parity, &image)), ..question(&image) };
    agent.ask(&mut speaker, &query, |report: &Report<'_>| {
        assert_eq!((report.lacks.unwrap().2, report.room, report.lacking), (&[5, 1][..], Some(3), Some(6)));
    });
    let all = Window { area: Area::Image, first: 0, count: 40 };
    let query = Query { window: Some(all), ..query };
    agent.ask(&mut speaker, &query, |report: &Report<'_>| {
        assert_eq!(report.lacks, None);
        // Two are too many, and some will be lost again.
        assert_eq!(report.window, Some((all, &[0b1010_0000, 0b1010_0000, 0, 0, 0][..])));
    });
    for number in [0, 2] {
        let datagram = speaker.block(&image, Area::Image, number);
        agent.hear(Via::Group, &datagram);
    }
    agent.ask(&mut speaker, &query, |report: &Report<'_>| {
        assert_eq!(report.window, Some((all, &[0; 5][..])), "symbols are enough now");
    });
}

#[test]
fn parity_symbols_that_were_too_few_make_way_for_the_next_generation() {
    let image = Image::new(5, 40, 256);
    let (parity, mut speaker) = (cauchy_of(20), Speaker::distributor(1));
    let mut agent = without(&mut speaker, &image, parity, &[0, 2, 4, 1, 3], 3 * 260 + 8);
    for (generation, index) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let datagram = symbol(&mut speaker, &image, parity, Symbol { generation, index }, 0);
        agent.hear(Via::Group, &datagram);
    }
    assert_eq!(lacks_of(&mut speaker, &mut agent, &image, parity), [3, 0]);
    for index in [2, 3, 4] {
        let datagram = symbol(&mut speaker, &image, parity, Symbol { generation: 0, index }, 0);
        agent.hear(Via::Group, &datagram);
    }
    assert_eq!(agent.machine.state(), State::Ready);
    assert_eq!(agent.store.image, image.bytes);
}

#[test]
fn parity_symbols_of_the_wrong_shape_are_counted_and_dropped() {
    let image = Image::new(5, 40, 256);
    let (parity, mut speaker) = (cauchy_of(20), Speaker::distributor(1));
    let mut agent = without(&mut speaker, &image, parity, &[0, 2], PLENTY);
    let malformed = agent.machine.counters().malformed;
    let resource = Resource::Parity(image.offer.id);
    let generations = Generations::new(parity, 40);
    let beyond = generations.count() * generations.symbols();
    for (number, size_exponent, len) in [(0, 4, 255), (0, 5, 512), (beyond, 4, 256), (1 << 19, 4, 256)] {
        let datagram = speaker.put(resource, Block { number, more: true, size_exponent }, &vec![1; len]);
        agent.hear(Via::Group, &datagram);
    }
    assert_eq!(agent.machine.counters().malformed, malformed + 4);
    assert_eq!(lacks_of(&mut speaker, &mut agent, &image, parity), [2, 0]);
}
