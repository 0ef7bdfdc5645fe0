//! Garbage from authenticated members: a distributor that misbehaves, and agents that lie.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Block, Code, Message, Token, Type, Writer, option};
use common::agent::{Agent, Did, agent_address};
use common::fleet::{self, Fleet, coap_group};
use common::group::{self, Image, Speaker, agent_id};
use common::wire::{self, ByHand};
use group_oscore::{Mode, ReplayWindow, SequenceNumbers};
use update_core::census::{Counters, GenerationWindow, Query, Report, State, Window};
use update_core::command::Command;
use update_core::digest::UpdateId;
use update_core::distribution::{Ending, Input};
use update_core::parity::{ErasureCode, Parity};
use update_core::platform::Area;
use update_core::random::Random;
use update_core::reception::Via;
use update_core::resource::Resource;
use update_core::target::Target;
use update_core::time::Duration;

/// A number that is often extreme.
fn number(dice: &mut Random) -> u32 {
    let any = dice.next_u64() as u32;
    match dice.next_u64() % 6 {
        0 => 0,
        1 => u32::MAX,
        2 => any % 16,
        3 => any % 5_000,
        4 => u32::MAX - any % 5_000,
        _ => any,
    }
}

fn bytes(dice: &mut Random, most: u64) -> Vec<u8> {
    (0..dice.next_u64() % (most + 1)).map(|_| dice.next_u64() as u8).collect()
}

/// Sometimes flips bits.
fn spoil(dice: &mut Random, payload: &mut [u8]) {
    if dice.next_u64().is_multiple_of(3) && !payload.is_empty() {
        let place = dice.next_u64() as usize % payload.len();
        payload[place] ^= 1 << (dice.next_u64() % 8);
    }
}

fn window(dice: &mut Random) -> Window {
    let area = if dice.next_u64().is_multiple_of(2) { Area::Image } else { Area::Pages };
    Window { area, first: number(dice), count: 1 + number(dice) % 4096 }
}

fn payload(dice: &mut Random, image: &Image) -> Vec<u8> {
    let mut buffer = [0; 1100];
    let len = match dice.next_u64() % 3 {
        0 => {
            let query = Query {
                target: Target::All,
                update: [None, Some(image.offer.id), Some(UpdateId([1; 4]))][dice.next_u64() as usize % 3],
                leisure_ms: number(dice) % 10,
                window: Some(window(dice)),
                only_missing: dice.next_u64().is_multiple_of(2),
                unicast_max: number(dice),
                detail: dice.next_u64().is_multiple_of(2),
                run: number(dice) % 4,
                generations: Parity::new(ErasureCode::Cauchy, 8 + number(dice) as u16 % 121)
                    .map(|parity| GenerationWindow {
                        parity,
                        area: if number(dice).is_multiple_of(2) { Area::Image } else { Area::Pages },
                        first: number(dice),
                        count: 1 + number(dice) % 512,
                    })
                    .filter(|window| window.first.checked_add(window.count).is_some()),
            };
            query.encode(&mut buffer).unwrap()
        }
        1 => {
            let (attempt, delay_ms) = (number(dice), number(dice));
            let digest = image.offer.digest;
            let from_trial = dice.next_u64().is_multiple_of(2);
            Command { digest, attempt, target: Target::All, delay_ms, from_trial, dated: None }
                .encode(&mut buffer)
                .unwrap()
        }
        _ => {
            let any = bytes(dice, 1024);
            buffer[..any.len()].copy_from_slice(&any);
            any.len()
        }
    };
    spoil(dice, &mut buffer[..len]);
    buffer[..len].to_vec()
}

#[test]
fn a_distributor_gone_mad_can_neither_break_an_agent_nor_make_it_store_what_was_not_signed() {
    let image = Image::new(5, 9, 64);
    let mut dice = Random::new(1);
    let mut speaker = Speaker::distributor(1);
    for round in 0..40 {
        let mut agent = Agent::new(0);
        speaker.context.skip(2_000);
        for _ in 0..250 {
            if dice.next_u64().is_multiple_of(8) {
                // Something valid, so that the agent gets further.
                let all = speaker.everything(&image);
                let one = &all[dice.next_u64() as usize % all.len()];
                agent.hear(Via::Group, one);
                continue;
            }
            let id = [image.offer.id, UpdateId([9; 4])][dice.next_u64() as usize % 2];
            let resource = [
                Resource::Manifest(id),
                Resource::Hashes(id),
                Resource::Image(id),
                Resource::Parity(id),
                Resource::Status,
                Resource::Activate,
                Resource::Cancel,
                Resource::Keys,
                Resource::Boot,
            ][dice.next_u64() as usize % 9];
            let code = [Code::PUT, Code::POST, Code::FETCH, Code::GET][dice.next_u64() as usize % 4];
            let (via, mode) = if dice.next_u64().is_multiple_of(2) {
                (Via::Group, Mode::Group)
            } else {
                (Via::Own, Mode::Pairwise(agent_id(0)))
            };
            let block = Block {
                number: number(&mut dice) % (1 << 20),
                more: dice.next_u64().is_multiple_of(2),
                size_exponent: (dice.next_u64() % 7) as u8,
            };
            let content = payload(&mut dice, &image);
            let extra = dice.next_u64().is_multiple_of(10);
            let ty = if dice.next_u64().is_multiple_of(4) { Type::Confirmable } else { Type::NonConfirmable };
            let (datagram, _) = speaker.request(mode, ty, code, |writer| {
                resource.write_path(writer).unwrap();
                writer.option(option::BLOCK1, block.encode().as_bytes()).unwrap();
                if extra {
                    writer.option(65_001, b"critical").unwrap();
                }
                writer.payload(&content).unwrap();
            });
            agent.hear(via, &datagram);
            agent.pass(Duration::from_millis(dice.next_u64() % 300));
            if dice.next_u64().is_multiple_of(100) {
                agent.restart(dice.next_u64().is_multiple_of(2));
                speaker.context.skip(300);
            }
        }
        // Everything that it has stored is right.
        let prepared = agent.store.image.len() == image.bytes.len();
        for did in &agent.did {
            if let Did::Write(area, offset, len) = did {
                let offset = *offset as usize;
                assert!(prepared, "round {round}");
                let stored = &agent.store.area(*area)[offset..offset + len];
                let right = &image.area(*area)[offset..offset + len];
                assert!(stored == right || stored.iter().all(|byte| *byte == 0xa5), "round {round}: {did:?}");
            }
        }
        if agent.did.contains(&Did::Activate(image.offer.digest.0)) {
            assert_eq!(agent.store.image, image.bytes);
        }
    }
}

/// A report with random content.
fn report(dice: &mut Random, image: &Image) -> Vec<u8> {
    let bitmap = bytes(dice, 512);
    let mut window = window(dice);
    if !bitmap.is_empty() {
        window.count = bitmap.len() as u32 * 8;
    }
    let report = Report {
        update: Some(image.offer.id).filter(|_| !dice.next_u64().is_multiple_of(8)),
        digest: Some(image.offer.digest).filter(|_| dice.next_u64().is_multiple_of(2)),
        state: State::from_code((dice.next_u64() % 13) as u8).unwrap(),
        reason: dice.next_u64() as u8,
        missing_pages: number(dice),
        missing_blocks: number(dice),
        window: (!bitmap.is_empty()).then_some((window, &bitmap[..])),
        distributor_next: 0,
        installed: dice.next_u64(),
        attempt: number(dice),
        counters: dice.next_u64().is_multiple_of(2).then(Counters::default),
        busy_seconds: number(dice),
        evidence: None,
        remark: update_core::remark::Remark::new("no room"),
        lacks: dice
            .next_u64()
            .is_multiple_of(2)
            .then(|| (Area::Image, number(dice), &bitmap[..bitmap.len().min(32)])),
        lacking: dice.next_u64().is_multiple_of(2).then(|| number(dice)),
        room: dice.next_u64().is_multiple_of(2).then(|| number(dice)),
    };
    let mut buffer = [0; 1600];
    let len = report.encode(&mut buffer).unwrap();
    spoil(dice, &mut buffer[..len]);
    buffer[..len].to_vec()
}

/// Agent 1's answer to a query, or `None` if the datagram is not a query.
fn lie(
    dice: &mut Random,
    image: &Image,
    context: &mut update_core::reception::AgentContext,
    query: &[u8],
) -> Option<Vec<u8>> {
    wire::answer(context, query, &ByHand::new(&report(dice, image)))
}

/// A request of agent 1 with random content.
fn demand(dice: &mut Random, image: &Image, context: &mut update_core::reception::AgentContext) -> Vec<u8> {
    let id = image.offer.id;
    let resource = [Resource::Image(id), Resource::Hashes(id), Resource::Manifest(id), Resource::Boot]
        [dice.next_u64() as usize % 4];
    let code = [Code::GET, Code::POST, Code::PUT][dice.next_u64() as usize % 3];
    let number = number(dice) % (1 << 20);
    let block = Block { number, more: false, size_exponent: (dice.next_u64() % 7) as u8 };
    let content = report(dice, image);
    let mut plain = [0; 1000];
    let token = Token::new(&dice.next_u64().to_be_bytes()).unwrap();
    let mut writer = Writer::message(&mut plain, Type::NonConfirmable, code, 7, token).unwrap();
    resource.write_path(&mut writer).unwrap();
    writer.option(option::BLOCK2, block.encode().as_bytes()).unwrap();
    writer.payload(&content).unwrap();
    let len = writer.finish();
    let message = Message::parse(&plain[..len]).unwrap();
    let mut out = vec![0; 1232];
    let mode = Mode::Pairwise(group::distributor_id());
    let (len, _) = context.protect_request(&message, mode, &mut out).unwrap();
    out.truncate(len);
    out
}

#[test]
fn an_agent_that_lies_harms_no_other() {
    let image = Image::new(5, 9, 64);
    let mut dice = Random::new(2);
    for round in 0..30 {
        let config = update_core::distribution::DistributionConfig {
            transfer_within: Duration::from_secs(20),
            ..fleet::config()
        };
        let mut fleet = Fleet::with(&image, 3, config, None);
        fleet.off[1] = true;
        let mut context = group::agent_context(1, SequenceNumbers::new(0, u64::MAX), ReplayWindow::fresh());
        let mut heard = 0;
        while fleet.ending.is_none() {
            fleet.step(&mut |_| 1);
            let sent: Vec<Vec<u8>> = fleet.sent[heard..]
                .iter()
                .filter(|(to, _)| *to == coap_group() || *to == agent_address(1))
                .map(|(_, datagram)| datagram.clone())
                .collect();
            heard = fleet.sent.len();
            for datagram in sent {
                let answer = lie(&mut dice, &image, &mut context, &datagram);
                let demand =
                    dice.next_u64().is_multiple_of(8).then(|| demand(&mut dice, &image, &mut context));
                for mut bytes in answer.into_iter().chain(demand) {
                    let input = Input::Datagram { from: agent_address(1), bytes: &mut bytes };
                    fleet.distribution.handle(fleet.now, input);
                    fleet.wake = Some(fleet.now);
                }
            }
        }
        assert_eq!(fleet.ending, Some(Ending::Done), "round {round}");
        for index in [0, 2] {
            assert_eq!(fleet.agents[index].machine.state(), State::Confirmed, "round {round}");
            let activated = fleet.agents[index].did.iter().filter(|did| matches!(did, Did::Activate(_)));
            assert_eq!(activated.count(), 1);
        }
        // The attempts that it claims to have acted upon do not use up the others' attempts.
        assert!(fleet.distribution.attempt() < 1_000, "round {round}: {}", fleet.distribution.attempt());
    }
}

#[test]
fn bytes_without_any_right_change_nothing() {
    let image = Image::new(5, 9, 64);
    let mut dice = Random::new(3);
    let mut speaker = Speaker::distributor(1);
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.everything(&image)[..12]);
    agent.pass(Duration::from_secs(1));
    let genuine = speaker.everything(&image);
    let before = (agent.did.len(), agent.sent.len(), agent.machine.progress());
    for turn in 0..20_000 {
        let mut datagram = match turn % 3 {
            0 => bytes(&mut dice, 1300),
            1 => genuine[dice.next_u64() as usize % genuine.len()].clone(),
            _ => {
                let mut datagram = genuine[dice.next_u64() as usize % genuine.len()].clone();
                datagram.truncate(dice.next_u64() as usize % datagram.len());
                datagram
            }
        };
        if turn % 3 == 1 {
            // After the token, where everything is verified.
            let start = 4 + usize::from(datagram[0] & 0x0f);
            let place = start + dice.next_u64() as usize % (datagram.len() - start);
            datagram[place] ^= 1 << (dice.next_u64() % 8);
        }
        let via = if dice.next_u64().is_multiple_of(2) { Via::Group } else { Via::Own };
        agent.hear(via, &datagram);
    }
    assert_eq!((agent.did.len(), agent.sent.len(), agent.machine.progress()), before);
    // What the garbage imitated is still accepted.
    agent.hear_all(&genuine);
    assert_eq!(agent.machine.state(), State::Ready);
}
