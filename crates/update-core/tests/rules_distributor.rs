//! The rules of the protocol that the distributor keeps, each by its name.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Block, Code, Message, NoResponse, Token, Type, Writer, option};
use common::agent::{agent_address, distributor_address};
use common::fleet::{self, Fleet, coap_group};
use common::group::{self, Image, agent_id};
use group_oscore::{MessageMode, Mode, OscoreOption, Received, ReplayWindow, SequenceNumbers};
use std::collections::{BTreeMap, BTreeSet};
use update_core::census::{Query, Report, State};
use update_core::distribution::{Distribution, Ending, Event, Input, Job, Output, Stage};
use update_core::platform::{Area, RollBackCause, Trial};
use update_core::resource::Resource;
use update_core::time::{Duration, Instant};

/// A multicast request as a plain Group OSCORE peer sees it.
struct Seen {
    ty: Type,
    code: Code,
    path: String,
    block1: Option<Block>,
    no_response: Option<u8>,
    payload: Vec<u8>,
    piv: u64,
    outer_options: Vec<u16>,
}

/// Unprotects everything that was sent to the group.
fn seen(fleet: &Fleet<'_>) -> Vec<Seen> {
    let mut peer = group::agent_context(0, SequenceNumbers::new(0, 0), ReplayWindow::fresh());
    let sent = fleet.sent.iter().filter(|(to, _)| *to == coap_group());
    sent.map(|(_, datagram)| {
        let mut bytes = datagram.clone();
        let Ok(Received::Fresh(request)) = peer.unprotect_request(&mut bytes) else { panic!("it is new") };
        assert_eq!(request.mode(), MessageMode::Group);
        let body = request.body();
        let path = body.uri_path().map(|segment| format!("/{}", String::from_utf8_lossy(segment))).collect();
        let outer = Message::parse(datagram).unwrap();
        Seen {
            ty: request.ty(),
            code: body.code(),
            path,
            block1: body.option(option::BLOCK1).map(|value| Block::parse(value).unwrap()),
            no_response: body.option(option::NO_RESPONSE).map(|value| value[0]),
            payload: body.payload().to_vec(),
            piv: request.partial_iv().unwrap().value(),
            outer_options: outer.options().map(|option| option.number).collect(),
        }
    })
    .collect()
}

/// The request of an agent with this context.
fn request(
    context: &mut update_core::reception::AgentContext,
    token: u8,
    resource: Resource,
    block: Option<Block>,
    echo: &[u8],
) -> (Vec<u8>, group_oscore::RequestBinding) {
    let mut plain = [0; 256];
    let token = Token::new(&[token]).unwrap();
    let code = if resource == Resource::Boot { Code::POST } else { Code::GET };
    let mut writer = Writer::message(&mut plain, Type::NonConfirmable, code, 1, token).unwrap();
    resource.write_path(&mut writer).unwrap();
    if let Some(block) = block {
        writer.option(option::BLOCK2, block.encode().as_bytes()).unwrap();
    }
    if !echo.is_empty() {
        writer.option(option::ECHO, echo).unwrap();
    }
    let len = writer.finish();
    let mut out = vec![0; 512];
    let message = Message::parse(&plain[..len]).unwrap();
    let mode = Mode::Pairwise(group::distributor_id());
    let (len, binding) = context.protect_request(&message, mode, &mut out).unwrap();
    out.truncate(len);
    (out, binding)
}

/// Hands a datagram to the distribution and returns what it sends to agent 0 within a moment.
fn exchange(fleet: &mut Fleet<'_>, datagram: &[u8]) -> Vec<Vec<u8>> {
    let before = fleet.sent.len();
    let mut bytes = datagram.to_vec();
    fleet.distribution.handle(fleet.now, Input::Datagram { from: agent_address(0), bytes: &mut bytes });
    for _ in 0..20 {
        fleet.drive(&mut |_| 0);
        fleet.now = fleet.now + Duration::from_micros(500);
    }
    let to_agent = fleet.sent[before..].iter().filter(|(to, _)| *to == agent_address(0));
    to_agent.map(|(_, bytes)| bytes.clone()).collect()
}

fn piv_of(datagram: &[u8]) -> Option<u64> {
    OscoreOption::of(&Message::parse(datagram).unwrap())
        .unwrap()
        .partial_iv
        .map(group_oscore::PartialIv::value)
}

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
            assert_eq!(seen.outer_options, [option::OSCORE], "everything is inside");
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
    // A replay of it gets no block, and does not make the value void.
    let replayed = exchange(&mut fleet, &first);
    assert!(replayed.iter().all(|answer| piv_of(answer).is_some()));
    // With the value the next request is answered, under an own number once more.
    let (second, binding) = request(&mut context, 2, resource, block, &echo);
    let mut answers = exchange(&mut fleet, &second);
    assert!(piv_of(&answers[0]).is_some());
    let answer = context.unprotect_response(&mut answers[0], &binding).unwrap();
    assert_eq!((answer.body().code(), answer.body().payload()), (Code::CONTENT, image.block(Area::Image, 1)));
    // From now on the window is valid.
    let (third, binding) = request(&mut context, 3, resource, block, &[]);
    let mut answers = exchange(&mut fleet, &third);
    assert_eq!(piv_of(&answers[0]), None, "the request's number serves once");
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
fn reserve_an_agent_that_has_seen_a_higher_number_stops_it() {
    let image = Image::new(5, 30, 64);
    let mut fleet = Fleet::new(&image, 2);
    fleet.reserved_end = 5_000;
    fleet.restart_distribution(fleet::config());
    assert_eq!(fleet.run(), Ending::Done);
    let last = seen(&fleet).iter().map(|seen| seen.piv).max().unwrap();
    // The machine comes back from an old copy: its counter is behind.
    fleet.reserved_end = 0;
    fleet.sent.clear();
    // The agents accept nothing that old; one of them boots and says so.
    fleet.restart_distribution(fleet::config());
    fleet.agents[0].now = fleet.now;
    fleet.agents[0].restart(true);
    let ending = fleet.run();
    let Ending::CounterBehind { agent, expects } = ending else { panic!("{ending:?}") };
    assert_eq!(agent, agent_id(0));
    assert!(expects > fleet.distribution.next_sequence_number() && expects <= last + 1, "{expects} {last}");
    let sent = fleet.sent.len();
    fleet.drive(&mut |_| 1);
    assert_eq!(fleet.sent.len(), sent, "nothing more is sent");
}

#[test]
fn bound_numbers_are_skipped_for_an_agent_that_has_booted() {
    let image = Image::new(5, 3, 64);
    let config = update_core::distribution::DistributionConfig { activate: false, ..fleet::config() };
    let mut fleet = Fleet::with(&image, 2, config, None);
    fleet.off[1] = true;
    let before = fleet.distribution.next_sequence_number();
    let mut context = group::agent_context(0, SequenceNumbers::new(0, 100), ReplayWindow::fresh());
    // Once at the start, then once for each second in which somebody boots.
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
    // Until they are stored it waits.
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
    // Every third datagram or so is lost.
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
fn attempt_an_image_that_was_rolled_back_is_tried_again_only_by_a_retry() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 2);
    fleet.verdict =
        |index| if index == 0 { Trial::RolledBack(RollBackCause::Unhealthy) } else { Trial::Healthy };
    assert_eq!(fleet.run(), Ending::Done);
    let states: Vec<_> =
        fleet.distribution.agents().iter().map(update_core::distribution::Agent::state).collect();
    assert_eq!(states, [Some(State::RolledBack), Some(State::Confirmed)]);
    fleet.verdict = |_| Trial::Healthy;
    // Going on with the same attempt changes nothing ...
    fleet.restart_distribution(fleet::config());
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!(fleet.agents[0].machine.state(), State::RolledBack);
    // ... a higher one does.
    let attempt = fleet.distribution.attempt() + 1;
    fleet.restart_distribution(update_core::distribution::DistributionConfig { attempt, ..fleet::config() });
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!(fleet.agents[0].machine.state(), State::Confirmed);
}

#[test]
fn attempt_that_a_reset_cut_off_is_raised_for_that_agent_alone() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 2);
    fleet.verdict =
        |index| if index == 1 { Trial::RolledBack(RollBackCause::Unhealthy) } else { Trial::Healthy };
    // The power fails at agent 0 between the saved attempt and the switch.
    fleet.agents[0].cut_before = Some(common::agent::Did::Activate(image.offer.digest.0));
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!(fleet.agents[0].machine.state(), State::Confirmed);
    assert_eq!(fleet.agents[1].machine.state(), State::RolledBack);
    let tries =
        fleet.agents[1].did.iter().filter(|did| matches!(did, common::agent::Did::Activate(_))).count();
    assert_eq!(tries, 1, "the higher attempt was not for the one that had rolled back");
    assert!(fleet.distribution.attempt() > 1);
}

#[test]
fn moment_activation_waits_for_its_delay_and_confirmation_for_both() {
    let image = Image::new(5, 3, 64);
    let config = update_core::distribution::DistributionConfig { delay_ms: 20_000, ..fleet::config() };
    let mut fleet = Fleet::with(&image, 2, config, None);
    let mut activated = None;
    while fleet.ending.is_none() {
        fleet.step(&mut |_| 1);
        if fleet.agents[0].machine.state() == State::Scheduled && activated.is_none() {
            activated = Some(fleet.now);
        }
    }
    let waited = fleet.now.since(activated.unwrap());
    assert!(waited >= Duration::from_secs(20) && waited < Duration::from_secs(24), "{waited:?}");
    assert!(fleet.agents.iter().all(|agent| agent.machine.state() == State::Confirmed));
}

#[test]
fn repair_what_many_miss_goes_by_multicast_and_the_last_few_by_unicast() {
    let image = Image::new(5, 300, 256);
    let mut fleet = Fleet::new(&image, 4);
    // In the first round everyone misses the same hundred blocks, and in the second one agent misses two of them.
    let mut to_each = [0; 4];
    let ending = fleet.run_with(|passing| match passing.to_agent {
        Some(index) if passing.by_group && passing.bytes.len() > 250 => {
            to_each[index] += 1;
            let place = to_each[index];
            usize::from(!((100..200).contains(&place) || index == 2 && (360..362).contains(&place)))
        }
        _ => 1,
    });
    assert_eq!(ending, Ending::Done);
    let unicast: u32 = fleet.agents.iter().map(|agent| agent.machine.counters().stored_unicast).sum();
    assert_eq!(unicast, 2);
    let tallies = fleet.distribution.tallies();
    assert_eq!(tallies.blocks_unicast, 2);
    assert_eq!(tallies.blocks_multicast, 400);
    assert!(fleet.events.contains(&Event::Stage(Stage::Repair)));
}

#[test]
fn repair_bytes_come_from_the_file_only_while_they_are_those_that_were_signed() {
    let image = Image::new(5, 9, 64);
    let mut fleet = Fleet::new(&image, 1);
    fleet.file[4 * 64] ^= 1;
    assert_eq!(fleet.run(), Ending::ImageUnreadable);
    let blocks = seen(&fleet).iter().filter(|seen| seen.path.ends_with("/image")).count();
    assert_eq!(blocks, 4, "nothing that is wrong was sent");
    assert_eq!(fleet.agents[0].machine.counters().hash_mismatches, 0);
}

#[test]
fn census_a_transfer_closes_on_evidence_and_only_the_silent_are_lost() {
    let image = Image::new(5, 20, 64);
    let mut fleet = Fleet::new(&image, 3);
    fleet.off[1] = true;
    assert_eq!(fleet.run(), Ending::Done);
    let lost: Vec<_> = fleet.events.iter().filter(|event| matches!(event, Event::Lost(_))).collect();
    assert!(!lost.is_empty() && lost.iter().all(|event| **event == Event::Lost(agent_id(1))), "{lost:?}");
    assert!(fleet.distribution.agents()[1].lost);
    assert_eq!(fleet.agents[0].machine.state(), State::Confirmed);
    // It was asked for more than once before it was given up.
    let queries = seen(&fleet).iter().filter(|seen| seen.path == "/fw/status").count();
    assert!(queries > 10, "{queries}");
}

#[test]
fn census_who_falls_silent_at_the_end_is_polled_by_unicast() {
    let image = Image::new(5, 20, 64);
    let mut undisturbed = Fleet::new(&image, 3);
    undisturbed.run();
    let puts = seen(&undisturbed).iter().filter(|seen| seen.code == Code::PUT).count();
    let mut fleet = Fleet::new(&image, 3);
    // Agent 1 hears nothing by multicast any more once it has everything, but can be reached.
    let mut heard = 0;
    let ending = fleet.run_with(|passing| {
        let to_it = passing.to_agent == Some(1) && passing.by_group;
        let silent = to_it && heard == puts;
        heard += usize::from(to_it && passing.bytes.len() > 150);
        usize::from(!silent)
    });
    assert_eq!(ending, Ending::Done);
    let polls = fleet.sent.iter().filter(|(to, _)| *to == agent_address(1)).count();
    assert!(polls > 0);
}

#[test]
fn census_nobody_there_ends_it() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 3);
    fleet.off = vec![true; 3];
    assert_eq!(fleet.run(), Ending::NobodyAnswered);
    assert!(fleet.now < Instant::from_micros(120_000_000));
    // RFC 10020 section 3.6: next to nothing is sent to nobody.
    let bytes: usize = fleet.sent.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < 30_000, "{bytes}");
}

#[test]
fn census_alone_tells_what_everyone_is_doing() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::with(&image, 3, fleet::config(), Some(Job::Census));
    fleet.off[2] = true;
    assert_eq!(fleet.run(), Ending::Done);
    let agents = fleet.distribution.agents();
    assert_eq!(agents[0].state(), Some(State::Idle));
    assert!(agents[0].status.unwrap().counters.is_some());
    assert!(agents[2].lost && agents[2].status.is_none());
    assert!(fleet.now < Instant::from_micros(10_000_000), "{:?}", fleet.now);
}

#[test]
fn census_leisure_is_s_times_g_over_r() {
    let image = Image::new(5, 1, 64);
    for (agents, rate, at_least, at_most) in [(2, 10_000_000, 10, 10), (40, 250_000, 150, 250)] {
        let config = update_core::distribution::DistributionConfig { rate, ..fleet::config() };
        let mut fleet = Fleet::with(&image, agents, config, None);
        fleet.run();
        let query = seen(&fleet).into_iter().find(|seen| seen.path == "/fw/status").unwrap();
        let leisure = Query::decode(&query.payload).unwrap().leisure_ms;
        assert!((at_least..=at_most).contains(&leisure), "{agents} agents at {rate}: {leisure} ms");
    }
}

#[test]
fn target_the_ended_are_not_asked_again() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 4);
    // Agent 3 takes long to prove healthy.
    fleet.verdict = |index| if index == 3 { Trial::Running } else { Trial::Healthy };
    while fleet.now < Instant::from_micros(5_000_000) {
        fleet.step(&mut |_| 1);
    }
    let last = seen(&fleet).into_iter().rfind(|seen| seen.path == "/fw/status").unwrap();
    let query = Query::decode(&last.payload).unwrap();
    for index in 0..4 {
        assert_eq!(query.target.matches(agent_id(index), &group::name(index)), index == 3, "{index}");
    }
}

#[test]
fn pace_no_more_than_the_rate_leaves() {
    let image = Image::new(5, 200, 1024);
    let config = update_core::distribution::DistributionConfig { rate: 1_000_000, ..fleet::config() };
    let mut fleet = Fleet::with(&image, 2, config, None);
    let mut at = Vec::new();
    fleet.run_with(|passing| {
        if passing.to_agent == Some(0) {
            at.push((passing.now.as_micros(), (passing.bytes.len() as u64 + 42) * 8));
        }
        1
    });
    let seconds = at.last().unwrap().0 as f64 / 1e6;
    let bits: u64 = at.iter().map(|(_, bits)| bits).sum();
    assert!(bits as f64 / seconds <= 1_000_000.0, "{bits} bits in {seconds} s");
    // Nor in any tenth of a second, but for the burst that makes up for a late wake-up.
    for (index, (start, _)) in at.iter().enumerate() {
        let within = at[index..].iter().take_while(|(moment, _)| moment - start < 100_000);
        let bits: u64 = within.map(|(_, bits)| bits).sum();
        assert!(bits <= 100_000 + 10_000 + 10_000, "{bits} bits after {start}");
    }
}

#[test]
fn pace_is_lowered_when_even_the_best_agent_loses_and_kept_when_one_does() {
    for (everyone, lowered) in [(true, true), (false, false)] {
        let image = Image::new(5, 600, 64);
        let mut fleet = Fleet::new(&image, 3);
        let mut lowest = fleet.distribution.rate();
        let mut dice = update_core::random::Random::new(1);
        let mut fate = |passing: &fleet::Passing<'_>| {
            let lost = dice.next_u64().is_multiple_of(4);
            let victim = everyone || passing.to_agent == Some(0);
            let is_block = passing.by_group && passing.bytes.len() > 150;
            usize::from(!(victim && is_block && lost))
        };
        while fleet.ending.is_none() {
            fleet.step(&mut fate);
            lowest = lowest.min(fleet.distribution.rate());
        }
        assert_eq!(lowest < 10_000_000, lowered, "{lowest}");
        assert!(fleet.agents.iter().all(|agent| agent.machine.state() == State::Confirmed));
    }
}

#[test]
fn role_an_agent_cannot_speak_for_another() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 2);
    fleet.off = vec![true; 2];
    exchange(&mut fleet, &[]);
    // Agent 1 answers a query that agent 0 was asked too: its report counts for itself alone.
    let (_, query) =
        fleet.sent.iter().rfind(|(to, bytes)| *to == coap_group() && bytes.len() < 150).unwrap().clone();
    let mut context = group::agent_context(1, SequenceNumbers::new(0, 10), ReplayWindow::fresh());
    let mut bytes = query.clone();
    let Ok(Received::Fresh(request)) = context.unprotect_request(&mut bytes) else { panic!("it is new") };
    let (token, mut binding) = (request.token(), request.binding());
    let mut report = Report::new(State::Confirmed);
    report.update = Some(image.offer.id);
    let mut payload = [0; 128];
    let len = report.encode(&mut payload).unwrap();
    let mut plain = [0; 256];
    let mut writer = Writer::message(&mut plain, Type::NonConfirmable, Code::CONTENT, 9, token).unwrap();
    writer.payload(&payload[..len]).unwrap();
    let len = writer.finish();
    let message = Message::parse(&plain[..len]).unwrap();
    let mut out = [0; 512];
    let (mode, piv) = (group_oscore::ResponseMode::Pairwise, group_oscore::ResponsePiv::Own);
    let len = context.protect_response(&message, &mut binding, mode, piv, &mut out).unwrap();
    // Sent from agent 0's address, even.
    let input = Input::Datagram { from: agent_address(0), bytes: &mut out[..len] };
    fleet.distribution.handle(fleet.now, input);
    assert_eq!(fleet.distribution.agents()[0].state(), None);
    assert_eq!(fleet.distribution.agents()[1].state(), Some(State::Confirmed));
    let _ = distributor_address();
}

#[test]
fn stopped_and_started_again_it_goes_on_where_it_was() {
    let image = Image::new(5, 100, 64);
    let mut fleet = Fleet::new(&image, 2);
    while fleet.agents[0].machine.progress().0 < 60 {
        fleet.step(&mut |_| 1);
    }
    fleet.distribution.stop();
    fleet.drive(&mut |_| 1);
    fleet.reserved_end = fleet.distribution.next_sequence_number();
    fleet.floors = fleet.distribution.floors().into_iter().collect();
    fleet.restart_distribution(fleet::config());
    assert_eq!(fleet.run(), Ending::Done);
    assert!(fleet.distribution.tallies().blocks_multicast <= 41, "{:?}", fleet.distribution.tallies());
    let distribution: &Distribution = &fleet.distribution;
    assert!(distribution.agents().iter().all(|agent| agent.state() == Some(State::Confirmed)));
}

#[test]
fn cancelled_everyone_drops_it() {
    let image = Image::new(5, 100, 64);
    let mut fleet = Fleet::new(&image, 2);
    while fleet.agents[0].machine.progress().0 < 60 {
        fleet.step(&mut |_| 1);
    }
    fleet.distribution.handle(fleet.now, Input::Cancel);
    assert_eq!(fleet.run(), Ending::Cancelled);
    assert!(fleet.agents.iter().all(|agent| agent.machine.state() == State::Failed));
}
