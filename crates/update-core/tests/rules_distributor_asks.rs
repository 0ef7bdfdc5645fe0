//! Whom the distributor asks, each rule under its name (protocol.md \[census\], [fresh], [pace]).
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::agent::agent_address;
use common::fleet::{self, Fleet, Passing};
use common::group::{self, Image, agent_id};
use common::wire::seen_in;
use update_core::census::{Query, State};
use update_core::distribution::{DistributionConfig, Ending, Event, Stage};
use update_core::platform::Area;
use update_core::random::Random;
use update_core::time::{Duration, Instant};

/// The questions to the group from this datagram on.
fn questions(fleet: &Fleet<'_>, from: usize) -> Vec<Vec<u8>> {
    let sent = fleet.sent.get(from..).unwrap();
    let to_group = sent.iter().filter(|(to, _)| *to == fleet::coap_group()).map(|(_, bytes)| bytes);
    let questions = seen_in(to_group).into_iter().filter(|seen| seen.path == "/fw/status");
    questions.map(|seen| seen.payload).collect()
}

fn is_for(question: &[u8], index: usize) -> bool {
    Query::decode(question).unwrap().target.matches(agent_id(index), &group::name(index))
}

#[test]
fn census_who_has_the_image_is_asked_now_and_then_and_hears_the_order() {
    let image = Image::new(5, 2_000, 256);
    let mut fleet = Fleet::new(&image, 6);
    let mut dice = Random::new(3);
    // Agent 5 loses much, and gets its blocks by many rounds.
    let mut loss =
        |passing: &Passing<'_>| usize::from(passing.to_agent != Some(5) || dice.next_u64() % 10 >= 6);
    while fleet.distribution.agents()[..5].iter().any(|agent| agent.state() != Some(State::Ready)) {
        fleet.step(&mut loss);
    }
    let ready_from = fleet.sent.len();
    while !fleet.events.contains(&Event::Stage(Stage::Activation)) {
        fleet.step(&mut loss);
    }
    let asked = questions(&fleet, ready_from);
    let for_zero = asked.iter().filter(|question| is_for(question, 0)).count();
    assert!(asked.len() >= 4, "{}", asked.len());
    assert!(for_zero * 2 <= asked.len(), "{for_zero} of {}", asked.len());
    assert_eq!(fleet.run_with(loss), Ending::Done);
    let alone = |index| fleet.sent.iter().any(|(to, _)| *to == agent_address(index));
    assert!((0..5).all(|index| !alone(index)), "an order to the group is enough for whoever hears it");
}

#[test]
fn census_what_is_missing_of_the_pages_is_asked_of_those_who_miss_some() {
    let image = Image::new(5, 100, 64);
    let mut fleet = Fleet::new(&image, 4);
    let last = image.count(Area::Pages) - 1;
    let path = format!("/fw/{}/hashes", std::str::from_utf8(&image.offer.id.to_hex()).unwrap());
    let mut lost = 0;
    // Agent 3 does not get the last page at first.
    let mut loss = |passing: &Passing<'_>| {
        let is_it = |bytes: &[u8]| {
            let bytes = bytes.to_vec();
            let seen = seen_in([&bytes].into_iter());
            seen.iter().any(|seen| seen.path == path && seen.block1.is_some_and(|it| it.number == last))
        };
        let is_lost = passing.to_agent == Some(3) && passing.by_group && lost < 3 && is_it(passing.bytes);
        lost += u32::from(is_lost);
        usize::from(!is_lost)
    };
    while fleet.distribution.agents()[..3].iter().any(|agent| agent.state() != Some(State::Blocks)) {
        fleet.step(&mut loss);
    }
    let from = fleet.sent.len();
    while !fleet.events.iter().any(|event| matches!(event, Event::Stage(Stage::Blocks { .. }))) {
        fleet.step(&mut loss);
    }
    let asked = questions(&fleet, from);
    assert!(
        !asked.is_empty() && asked.iter().all(|it| is_for(it, 3) && (0..3).all(|index| !is_for(it, index)))
    );
}

#[test]
fn census_in_a_long_round_those_answer_that_have_just_joined() {
    let image = Image::new(5, 4_000, 256);
    let mut fleet = Fleet::with(&image, 3, DistributionConfig { rate: 1_000_000, ..fleet::config() }, None);
    fleet.off[2] = true;
    let (mut answers, mut round) = (Vec::new(), None);
    while fleet.now < Instant::from_micros(9_000_000) {
        let now = fleet.now;
        fleet.step(&mut |passing| {
            answers.extend(passing.from_agent.map(|index| (index, passing.now)));
            1
        });
        let blocks = |event: &Event| matches!(event, Event::Stage(Stage::Blocks { .. }));
        if round.is_none() && fleet.events.iter().any(blocks) {
            round = Some(now);
        }
        fleet.off[2] = now < Instant::from_micros(5_000_000);
    }
    let round = round.unwrap() + Duration::from_millis(100);
    let of = |index| answers.iter().filter(|(from, at)| *from == index && *at > round).count();
    assert!((1..=2).contains(&of(0)), "{} answers in {} s", of(0), 9);
    assert!(of(2) > 0);
    let state = fleet.distribution.agents()[2].state();
    assert!(matches!(state, Some(State::Pages | State::Blocks)), "{state:?}");
}
