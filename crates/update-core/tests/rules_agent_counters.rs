//! The rules of the two counters on an agent, each under its name.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::agent::{Agent, MILLIS, request_piv};
use common::group::{Image, Speaker, agent_id, question};
use group_oscore::{Mode, UnprotectError};
use update_core::census::State;
use update_core::platform::{Area, Record};
use update_core::reception::{Event, Via};
use update_core::record::CounterBounds;
use update_core::time::Duration;

#[test]
fn requests_are_never_repeated_with_the_same_number() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.offer(&image));
    // Nobody answers: after a while it fetches on its own, repeatedly, each time with a new request.
    agent.pass(Duration::from_secs(600));
    let numbers: Vec<u64> = agent.sent.iter().map(|(_, datagram)| request_piv(datagram)).collect();
    assert!(numbers.len() >= 5, "{numbers:?}");
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
}

#[test]
fn reserve_nothing_is_sent_before_its_number_is_stored() {
    let image = Image::new(5, 3, 64);
    let mut speaker = Speaker::distributor(1);
    let mut agent = Agent::new(0);
    let mut used = std::collections::BTreeSet::new();
    // It reboots after each answer: every number is below the bound stored before, and is never reused.
    for _ in 0..20 {
        speaker.context.skip(300);
        for _ in 0..3 {
            let (query, _) = speaker.query(Mode::Pairwise(agent_id(0)), &question(&image));
            agent.sent.clear();
            agent.hear(Via::Own, &query);
            let bounds = agent.durable.records[Record::Counters as usize].as_deref();
            let bounds = CounterBounds::decode(bounds.unwrap()).unwrap();
            let number = request_piv(&agent.sent[0].1);
            assert!(number < bounds.reserved_end);
            assert!(used.insert(number), "{number} twice");
        }
        agent.restart(true);
    }
}

#[test]
fn reserve_a_planned_end_stores_the_exact_numbers_and_sends_nothing_more() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.offer(&image));
    agent.stand(&mut speaker, &image);
    let block = speaker.block(&image, Area::Pages, 0);
    agent.hear(Via::Group, &block);
    agent.machine.close();
    agent.run();
    agent.sent.clear();
    agent.pass(Duration::from_secs(100));
    let (query, _) = speaker.query(Mode::Pairwise(agent_id(0)), &question(&image));
    agent.hear(Via::Own, &query);
    assert!(agent.sent.is_empty());
    assert_eq!(agent.durable.pages, agent.store.pages, "what was written is durable");
    let bounds = agent.durable.records[Record::Counters as usize].as_deref();
    let bounds = CounterBounds::decode(bounds.unwrap()).unwrap();
    assert_eq!(bounds.reserved_end, 1, "one answer was sent");
    assert_eq!(bounds.floor, speaker.context.next_sequence_number() - 1, "the last query was not accepted");
    agent.restart(true);
    assert_eq!(agent.stand(&mut speaker, &image).0, State::Blocks, "no number is skipped");
}

#[test]
fn bound_after_a_reboot_nothing_accepted_before_is_accepted_again() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut capture = speaker.everything(&image);
    let (query, _) = speaker.query(Mode::Group, &question(&image));
    capture.push(query);
    let mut agent = Agent::new(0);
    agent.hear_all(&capture);
    capture.push(speaker.activate(&image, 1));
    for power_cut in [true, false] {
        agent.restart(power_cut);
        agent.pass(MILLIS(50));
        agent.events.clear();
        let before = (agent.machine.state(), agent.did.len());
        agent.sent.clear();
        // Everything, including the activation, which was sent and not heard: it is below the bound as well.
        for datagram in &capture {
            agent.hear(Via::Group, datagram);
            agent.hear(Via::Own, datagram);
        }
        let discarded = Event::Discarded(UnprotectError::Replayed);
        assert!(agent.events.iter().all(|event| *event == discarded), "{:?}", agent.events);
        assert_eq!(agent.machine.counters().replayed as usize, 2 * capture.len());
        assert_eq!((agent.machine.state(), agent.did.len()), before);
        assert!(agent.sent.is_empty());
    }
}

#[test]
fn bound_is_stored_before_what_it_covers_is_acted_upon() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = Agent::new(0);
    for jump in [0, 10, 255, 256, 257, 1000, 100_000] {
        speaker.context.skip(jump);
        let next = speaker.context.next_sequence_number();
        agent.stand(&mut speaker, &image);
        let bounds = agent.durable.records[Record::Counters as usize].as_deref();
        let floor = CounterBounds::decode(bounds.unwrap()).unwrap().floor;
        assert!(floor > next && floor <= next + 257, "{floor} for {next}");
    }
}

#[test]
fn bound_each_boot_but_the_first_is_announced_until_it_is_answered() {
    let mut agent = Agent::new(0);
    agent.pass(Duration::from_secs(10));
    assert!(agent.sent.is_empty(), "the first start is not a reboot");
    agent.restart(true);
    agent.pass(MILLIS(501));
    assert_eq!(agent.sent.len(), 1);
    agent.pass(Duration::from_secs(200));
    let tries = usize::from(update_core::limits::ANNOUNCE_TRIES_MAX);
    assert_eq!(agent.sent.len(), tries, "nobody answers");
    let numbers: Vec<u64> = agent.sent.iter().map(|(_, datagram)| request_piv(datagram)).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
}
