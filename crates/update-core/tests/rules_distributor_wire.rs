//! The rules of what the distributor sends and counts, each under its name.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Block, Code, NoResponse, Type, option};
use common::agent::{agent_address, distributor_address};
use common::fleet::{self, Fleet, coap_group};
use common::group::{self, Image, agent_id};
use common::wire::{self, ByHand, answer, exchange, piv_of, request, seen};
use group_oscore::{MessageMode, ReplayWindow, SequenceNumbers};
use std::collections::{BTreeMap, BTreeSet};
use update_core::census::{Report, State};
use update_core::distribution::{Activate, Ending, Event, Input, Output, Stage};
use update_core::platform::Area;
use update_core::resource::Resource;
use update_core::time::Duration;

#[test]
fn plain_a_peer_that_knows_nothing_puts_the_image_together_from_block1_numbers() {
    for block_bytes in [64, 256, 1024] {
        let image = Image::new(5, 21, block_bytes);
        let mut fleet = Fleet::new(&image, 2);
        assert_eq!(fleet.run(), Ending::Done);
        let path = format!("/fw/{}/image", String::from_utf8_lossy(&image.offer.id.to_hex()));
        let mut blocks = BTreeMap::new();
        for seen in seen(&fleet) {
            assert_eq!(seen.ty, Type::NonConfirmable);
            assert_eq!(seen.outer_options, [option::OSCORE], "every other option is inside");
            if seen.code == Code::PUT {
                let block = seen.block1.expect("Block1 in every PUT");
                assert_eq!(block.size() as u32, block_bytes, "one block size for the whole transfer");
                assert_eq!(seen.no_response, Some(NoResponse::ALL_SUPPRESSED.value()));
                if seen.path == path {
                    blocks.insert(block.number, (block.more, seen.payload));
                }
            }
        }
        let last = *blocks.keys().last().unwrap();
        assert!(blocks.iter().all(|(number, (more, _))| *more == (*number != last)), "M=0 on the last block");
        let together: Vec<u8> = blocks.into_values().flat_map(|(_, payload)| payload).collect();
        assert_eq!(together, image.bytes);
    }
}

#[test]
fn plain_a_block_of_1024_takes_at_most_1160_bytes() {
    let image = Image::new(5, 3, 1024);
    let mut fleet = Fleet::new(&image, 1);
    fleet.run();
    let largest = fleet.sent.iter().map(|(_, bytes)| bytes.len()).max().unwrap();
    assert!((1024 + 64..=1160).contains(&largest), "{largest}");
}

#[test]
fn sockets_a_peer_is_known_by_its_kid_and_reached_where_it_last_authenticated_from() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 1);
    fleet.off[0] = true;
    let mut context = group::agent_context(0, SequenceNumbers::new(0, 100), ReplayWindow::fresh());
    let moved = "10.9.9.9:777".parse().unwrap();
    let (mut bytes, _) = request(&mut context, 1, Resource::Boot, None, &[]);
    let mut forged = bytes.clone();
    *forged.last_mut().unwrap() ^= 1;
    fleet.distribution.handle(fleet.now, Input::Datagram { from: moved, bytes: &mut forged });
    assert_eq!(fleet.distribution.agents()[0].address, None);
    fleet.distribution.handle(fleet.now, Input::Datagram { from: moved, bytes: &mut bytes });
    assert_eq!(fleet.distribution.agents()[0].address, Some(moved));
    assert_eq!(fleet.distribution.agents()[0].id, agent_id(0));
}

#[test]
fn requests_a_window_that_cannot_tell_asks_for_proof_under_its_own_number() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 1);
    fleet.off[0] = true;
    fleet.floors.insert(agent_id(0), None);
    fleet.restart_distribution(fleet::config());
    let mut context = group::agent_context(0, SequenceNumbers::new(10, 100), ReplayWindow::fresh());
    let block =
        Some(Block { number: 1, more: false, size_exponent: image.offer.layout.block_size.exponent() });
    let resource = Resource::Image(image.offer.id);
    let (first, binding) = request(&mut context, 1, resource, block, &[]);
    let mut answers = exchange(&mut fleet, &first);
    assert_eq!(answers.len(), 1);
    assert!(piv_of(&answers[0]).is_some(), "its own Partial IV");
    let answer = context.unprotect_response(&mut answers[0], &binding).unwrap();
    assert_eq!((answer.mode(), answer.body().code()), (MessageMode::Pairwise, Code::UNAUTHORIZED));
    let echo = answer.body().option(option::ECHO).unwrap().to_vec();
    // A replay of it gets no block, and does not invalidate the value.
    let replayed = exchange(&mut fleet, &first);
    assert!(replayed.iter().all(|answer| piv_of(answer).is_some()));
    // A request with the value is answered, once more under the distributor's own number.
    let (second, binding) = request(&mut context, 2, resource, block, &echo);
    let mut answers = exchange(&mut fleet, &second);
    assert!(piv_of(&answers[0]).is_some());
    let answer = context.unprotect_response(&mut answers[0], &binding).unwrap();
    assert_eq!((answer.body().code(), answer.body().payload()), (Code::CONTENT, image.block(Area::Image, 1)));
    // From now on the window is valid.
    let (third, binding) = request(&mut context, 3, resource, block, &[]);
    let mut answers = exchange(&mut fleet, &third);
    assert_eq!(piv_of(&answers[0]), None, "the request's number is used once");
    assert!(context.unprotect_response(&mut answers[0], &binding).is_ok());
    for replay in [&first, &second, &third] {
        assert!(exchange(&mut fleet, replay).is_empty(), "a replay is not answered");
    }
}

#[test]
fn reserve_nothing_is_sent_before_the_reservation_is_stored() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 1);
    fleet.withhold = true;
    fleet.drive(&mut |_| 1);
    assert!(fleet.sent.is_empty());
    fleet.withhold = false;
    fleet.wake = Some(fleet.now);
    assert_eq!(fleet.run(), Ending::Done);
    assert!(seen(&fleet).iter().all(|seen| seen.piv < fleet.reserved_end));
}

#[test]
fn reserve_after_a_crash_numbers_go_on_where_the_reservation_ended() {
    let image = Image::new(5, 30, 64);
    let mut fleet = Fleet::new(&image, 1);
    while fleet.agents[0].machine.progress().0 < 15 {
        fleet.step(&mut |_| 1);
    }
    let reserved = fleet.reserved_end;
    let before: BTreeSet<u64> = seen(&fleet).iter().map(|seen| seen.piv).collect();
    assert!(!before.is_empty() && before.iter().all(|piv| *piv < reserved));
    fleet.sent.clear();
    fleet.restart_distribution(fleet::config());
    assert_eq!(fleet.run(), Ending::Done);
    let after: BTreeSet<u64> = seen(&fleet).iter().map(|seen| seen.piv).collect();
    assert!(after.iter().all(|piv| *piv >= reserved));
    assert_eq!(fleet.agents[0].machine.state(), State::Confirmed);
}

#[test]
fn bound_numbers_are_skipped_for_an_agent_that_has_booted() {
    let image = Image::new(5, 3, 64);
    let config =
        update_core::distribution::DistributionConfig { activate: Activate::Nobody, ..fleet::config() };
    let mut fleet = Fleet::with(&image, 2, config, None);
    fleet.off[1] = true;
    let before = fleet.distribution.next_sequence_number();
    let mut context = group::agent_context(0, SequenceNumbers::new(0, 100), ReplayWindow::fresh());
    // Once at the start, then once for each second in which an agent boots.
    exchange(&mut fleet, &[]);
    let started = fleet.distribution.next_sequence_number();
    assert!(started >= before + 256);
    let mut last = started;
    for boot in 0..8 {
        fleet.now = fleet.now + Duration::from_millis(400);
        let (boot, _) = request(&mut context, boot, Resource::Boot, None, &[]);
        assert_eq!(exchange(&mut fleet, &boot).len(), 1, "it is answered");
        let next = fleet.distribution.next_sequence_number();
        assert!(next < last + 300);
        last = next;
    }
    // A little more than three seconds have passed.
    let skipped = (last - started) / 256;
    assert!((2..=3).contains(&skipped), "{skipped}");
}

#[test]
fn bound_floors_are_stored_before_a_request_above_them_is_answered() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 1);
    fleet.off[0] = true;
    exchange(&mut fleet, &[]);
    let mut context = group::agent_context(0, SequenceNumbers::new(5_000, 6_000), ReplayWindow::fresh());
    let (boot, _) = request(&mut context, 1, Resource::Boot, None, &[]);
    let mut bytes = boot.clone();
    fleet.distribution.handle(fleet.now, Input::Datagram { from: agent_address(0), bytes: &mut bytes });
    let mut buffer = [0; 1232];
    let output = fleet.distribution.poll(fleet.now, &mut buffer);
    assert!(matches!(output, Output::SaveFloors), "{output:?}");
    assert_eq!(fleet.distribution.floors(), [(agent_id(0), Some(5_001 + 256))]);
    // It waits until they are stored.
    let later = fleet.now + Duration::from_secs(1);
    assert!(matches!(fleet.distribution.poll(later, &mut buffer), Output::Wait(None)));
    fleet.distribution.handle(later, Input::FloorsSaved);
    assert!(matches!(
        fleet.distribution.poll(later, &mut buffer),
        Output::Transmit { .. } | Output::Event(_)
    ));
}

#[test]
fn pages_first_blocks_begin_when_the_census_covers_the_pages() {
    let image = Image::new(5, 40, 64);
    let mut fleet = Fleet::new(&image, 3);
    let pages = image.count(Area::Pages);
    assert!(pages > 10);
    // About every third datagram is lost.
    let mut dice = update_core::random::Random::new(1);
    let ending = fleet.run_with(|_| usize::from(!dice.next_u64().is_multiple_of(3)));
    assert_eq!(ending, Ending::Done);
    let stages: Vec<Stage> = fleet
        .events
        .iter()
        .filter_map(|event| if let Event::Stage(stage) = event { Some(*stage) } else { None })
        .collect();
    let first_blocks = stages.iter().position(|stage| matches!(stage, Stage::Blocks { .. })).unwrap();
    let page_rounds = stages[..first_blocks].iter().filter(|stage| matches!(stage, Stage::Pages(_))).count();
    assert!(page_rounds >= 2, "pages were repaired first: {stages:?}");
    for agent in &fleet.agents {
        assert_eq!(agent.machine.counters().without_page, 0);
    }
}

#[test]
fn pages_first_upper_pages_are_sent_with_redundancy() {
    let image = Image::new(5, 40, 64);
    let mut fleet = Fleet::new(&image, 1);
    fleet.run();
    let mut copies: BTreeMap<u32, u32> = BTreeMap::new();
    for seen in seen(&fleet).iter().filter(|seen| seen.path.ends_with("/hashes")) {
        *copies.entry(seen.block1.unwrap().number).or_default() += 1;
    }
    let bottom = update_core::tree::TreeShape::new(image.offer.layout).bottom_level_first();
    for (page, count) in copies {
        let expected = if page < bottom { u32::from(update_core::limits::ROOT_PAGES_COPIES) } else { 1 };
        assert_eq!(count, expected, "page {page}");
    }
}

#[test]
fn role_an_agent_cannot_speak_for_another() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 2);
    fleet.off = vec![true; 2];
    exchange(&mut fleet, &[]);
    // Agent 1 answers a query that agent 0 was asked too: its report counts only for itself.
    let (_, query) =
        fleet.sent.iter().rfind(|(to, bytes)| *to == coap_group() && bytes.len() < 150).unwrap().clone();
    let mut context = group::agent_context(1, SequenceNumbers::new(0, 10), ReplayWindow::fresh());
    let mut report = Report::new(State::Confirmed);
    report.digest = Some(image.offer.digest);
    let mut out = answer(&mut context, &query, &ByHand::new(&wire::report(&report))).unwrap();
    // Even when sent from agent 0's address.
    let input = Input::Datagram { from: agent_address(0), bytes: &mut out };
    fleet.distribution.handle(fleet.now, input);
    assert_eq!(fleet.distribution.agents()[0].state(), None);
    assert_eq!(fleet.distribution.agents()[1].state(), Some(State::Confirmed));
    let _ = distributor_address();
}

#[test]
fn census_what_decides_counts_only_under_the_whole_digest() {
    let image = Image::new(5, 3, 64);
    let mut alike = image.offer.digest;
    alike.0[31] ^= 1;
    let digests =
        [(None, State::Unknown), (Some(alike), State::Unknown), (Some(image.offer.digest), State::Ready)];
    for (digest, counts_as) in digests {
        let mut fleet = Fleet::new(&image, 2);
        fleet.off = vec![true; 2];
        exchange(&mut fleet, &[]);
        let query = wire::last_question(&fleet).unwrap();
        let mut context = group::agent_context(0, SequenceNumbers::new(0, 10), ReplayWindow::fresh());
        let report = Report { update: Some(image.offer.id), digest, ..Report::new(State::Ready) };
        let out = answer(&mut context, &query, &ByHand::new(&wire::report(&report))).unwrap();
        wire::hand_in(&mut fleet, 0, &out);
        assert_eq!(fleet.distribution.agents()[0].state(), Some(counts_as), "{digest:?}");
    }
}
