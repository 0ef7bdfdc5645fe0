//! A datagram that is not for us costs nothing. A machine that has received a million of them then does, byte
//! for byte, what its twin does that has received none. In the meantime it writes nothing, sends nothing,
//! uses no number and takes no memory.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::agent::{Agent, Did, agent_address};
use common::fleet::{Fleet, coap_group};
use common::group::{self, Image, Speaker, order, question};
use group_oscore::{Mode, ReplayWindow, SequenceNumbers};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use update_core::census::{Report, State};
use update_core::distribution::{Ending, Input};
use update_core::random::Random;
use update_core::reception::Via;
use update_core::resource::Resource;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Datagrams in total, spread over the moments at which they arrive.
const RANDOM: usize = 1_000_000;
const NEARLY_VALID: usize = 100_000;
/// How many moments.
const MOMENTS: usize = 5;

/// Bytes of the heap that are in use.
fn heap() -> usize {
    let stats = HEAP.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated)
}

/// Random bytes: half of them begin with the header of a CoAP message.
fn random<'b>(dice: &mut Random, buffer: &'b mut [u8; 1300]) -> &'b mut [u8] {
    let len = dice.next_u64() as usize % buffer.len();
    for chunk in buffer[..len].chunks_mut(8) {
        let bytes = dice.next_u64().to_be_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
    if len > 5 && dice.next_u64().is_multiple_of(2) {
        buffer[0] = 0x50 | ((buffer[0] & 0x0f) % 9);
        buffer[1] = [2, 5, 68, 69][dice.next_u64() as usize % 4];
        buffer[4 + usize::from(buffer[0] & 0x0f).min(len - 5)] = 0x90 | (buffer[3] & 0x0f);
    }
    &mut buffer[..len]
}

/// One of these datagrams with a bit changed after its Token, or truncated, or unchanged, which was seen
/// before.
fn nearly_valid<'b>(
    dice: &mut Random,
    seen: &[Vec<u8>],
    unseen: &[Vec<u8>],
    buffer: &'b mut [u8; 1300],
) -> &'b mut [u8] {
    let all = seen.len() + unseen.len();
    let place = dice.next_u64() as usize % all;
    let datagram = seen.get(place).unwrap_or_else(|| &unseen[place - seen.len()]);
    let mut len = datagram.len();
    buffer[..len].copy_from_slice(datagram);
    // Token and Message ID are not protected (RFC 8613 section 4.3).
    let start = 4 + usize::from(datagram[0] & 0x0f);
    match dice.next_u64() % 4 {
        0 if place < seen.len() => {}
        1 => len = dice.next_u64() as usize % len,
        _ => {
            let bit = dice.next_u64() as usize % ((len - start) * 8);
            buffer[start + bit / 8] ^= 1 << (bit % 8);
        }
    }
    &mut buffer[..len]
}

/// Tasks, datagrams, state, progress and records.
type Stand = (usize, usize, State, (u32, u32), [Option<Vec<u8>>; 3]);

/// What an agent has done and sent, and the heap that it uses.
fn stand(agent: &Agent) -> Stand {
    (
        agent.did.len(),
        agent.sent.len(),
        agent.machine.state(),
        agent.machine.progress(),
        agent.store.records.clone(),
    )
}

/// Hands in the datagrams of one moment. None of them may take heap for good.
fn flood(
    dice: &mut Random,
    seen: &[Vec<u8>],
    unseen: &[Vec<u8>],
    mut take: impl FnMut(&mut Random, &mut [u8]),
) {
    let mut buffer = [0; 1300];
    // The first run creates what is created only once.
    for (others, nearly) in [(10, 10), (RANDOM / MOMENTS, NEARLY_VALID / MOMENTS)] {
        let in_use = heap();
        for turn in 0..others + nearly {
            let bytes = match turn < others {
                true => random(dice, &mut buffer),
                false => nearly_valid(dice, seen, unseen, &mut buffer),
            };
            take(dice, bytes);
        }
        assert!(others < RANDOM / MOMENTS || heap() == in_use, "{in_use} bytes before, {} after", heap());
    }
}

/// All in one test: both parts measure the same heap.
#[test]
fn what_is_not_for_us_costs_nothing() {
    agent_that_has_had_a_million_datagrams_of_others_does_what_its_twin_does();
    distributor_that_has_had_a_million_datagrams_of_others_does_what_its_twin_does();
}

fn agent_that_has_had_a_million_datagrams_of_others_does_what_its_twin_does() {
    let image = Image::new(5, 40, 64);
    let mut speaker = Speaker::distributor(1);
    let mut insider = Speaker::insider(true);
    // Each step of a whole update, as the agents hear it.
    let mut script = speaker.everything(&image);
    script.push(speaker.query(Mode::Group, &question(&image)).0);
    script.push(speaker.command(Mode::Group, Resource::Activate, &order(&image, 1)));
    script.push(speaker.query(Mode::Group, &question(&image)).0);
    let forged: Vec<_> = insider.everything(&image).into_iter().take(5).collect();
    let moments: [_; MOMENTS] = [0, 3, script.len() / 2, script.len() - 3, script.len() - 1];
    let (mut attacked, mut twin) = (Agent::new(0), Agent::new(0));
    let mut dice = Random::new(1);
    for (number, datagram) in script.iter().enumerate() {
        if moments.contains(&number) {
            let before = stand(&attacked);
            // Later parts of the script must not be heard before their time.
            flood(&mut dice, &script[..number], &forged, |dice, bytes| {
                let via = if dice.next_u64().is_multiple_of(2) { Via::Group } else { Via::Own };
                let from = common::agent::distributor_address();
                let input = update_core::reception::Input::Datagram { from, via, bytes };
                attacked.machine.handle(attacked.now, input);
                attacked.settle();
            });
            attacked.events.clear();
            assert_eq!(stand(&attacked), before, "step {number}");
        }
        for agent in [&mut attacked, &mut twin] {
            agent.hear(Via::Group, datagram);
            agent.pass(common::agent::MILLIS(20));
        }
    }
    assert_eq!(twin.machine.state(), State::Trial);
    assert_eq!(attacked.machine.state(), State::Trial);
    assert!(attacked.did == twin.did && attacked.sent == twin.sent, "they differ");
    assert!(twin.sent.len() == 2 && twin.did.contains(&Did::Activate(image.offer.digest.0)));
}

fn distributor_that_has_had_a_million_datagrams_of_others_does_what_its_twin_does() {
    let image = Image::new(5, 40, 64);
    let (mut attacked, mut twin) = (Fleet::new(&image, 3), Fleet::new(&image, 3));
    let mut dice = Random::new(2);
    let mut heard: Vec<Vec<u8>> = Vec::new();
    let moments: [_; MOMENTS] = [0, 2, 10, 30, 60];
    for step in 0..10_000 {
        if moments.contains(&step) {
            let numbers = attacked.distribution.next_sequence_number();
            let known = attacked.distribution.agents().iter().map(|agent| (agent.status, agent.address));
            let known: Vec<_> = known.collect();
            let unseen = stranger(&attacked);
            flood(&mut dice, &heard, &unseen, |dice, bytes| {
                let from = agent_address(dice.next_u64() as usize % 9);
                attacked.distribution.handle(attacked.now, Input::Datagram { from, bytes });
            });
            assert_eq!(attacked.distribution.next_sequence_number(), numbers, "step {step}");
            let now_known = attacked.distribution.agents().iter().map(|agent| (agent.status, agent.address));
            assert!(now_known.eq(known), "step {step}");
        }
        attacked.step(&mut |passing| {
            if passing.to_agent.is_none() {
                heard.push(passing.bytes.to_vec());
            }
            1
        });
        twin.step(&mut |_| 1);
        if attacked.ending.is_some() {
            assert!(step > 60, "it ended at step {step}");
            break;
        }
    }
    assert_eq!((attacked.ending, twin.ending), (Some(Ending::Done), Some(Ending::Done)));
    assert!(attacked.sent == twin.sent && attacked.floors_saved == twin.floors_saved, "they differ");
    assert!(twin.sent.iter().any(|(to, _)| *to == coap_group()));
}

/// An answer to the last question that no member has protected: another key under agent 0's kid.
fn stranger(fleet: &Fleet<'_>) -> Vec<Vec<u8>> {
    let mut context = group::agent_context(5, SequenceNumbers::new(0, 100), ReplayWindow::fresh());
    let payload = common::wire::report(&Report::new(State::Ready));
    let question = common::wire::last_question(fleet);
    let answer = question.and_then(|question| {
        common::wire::answer(&mut context, &question, &common::wire::ByHand::new(&payload))
    });
    let (request, _) = common::wire::request(&mut context, 1, Resource::Boot, None, &[]);
    answer.into_iter().chain([request]).collect()
}
