//! [repair]: which block of an offer an agent asks for.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Block, Code, Message, Type, Writer, option};
use common::agent::{Agent, MILLIS};
use common::group::{Image, Speaker, question};
use group_oscore::{Mode, Received, ReceivedRequest, ResponseMode, ResponsePiv};
use update_core::census::State;
use update_core::limits::{BLOCK_BYTES_MAX, RECONSIDER_AFTER};
use update_core::reception::{Event, Via};
use update_core::resource::Resource;

/// A GET of one block, and what is needed to answer it.
struct Asked {
    block: Block,
    binding: ReceivedRequest,
    request: Vec<u8>,
}

/// The only request that the agent has sent: a GET of the offer.
fn asked(agent: &mut Agent, speaker: &mut Speaker, image: &Image) -> Asked {
    agent.pass(MILLIS(150));
    assert_eq!(agent.sent.len(), 1, "one request");
    let (_, request) = agent.sent.remove(0);
    let mut bytes = request.clone();
    let Ok(Received::Fresh(mut opened)) = speaker.context.unprotect_request(&mut bytes) else {
        panic!("it is new")
    };
    let body = opened.body();
    assert_eq!(body.code(), Code::GET);
    assert_eq!(Resource::of(&body), Some(Resource::Manifest(image.offer.id)));
    let block = Block::parse(body.option(option::BLOCK2).unwrap()).unwrap();
    Asked { block, binding: opened.take_binding(), request }
}

/// The answer of a distributor whose blocks have 64 bytes.
fn answer(speaker: &mut Speaker, image: &Image, mut asked: Asked) -> Vec<u8> {
    let request = Message::parse(&asked.request).unwrap();
    let count = image.envelope.len().div_ceil(64) as u32;
    let number = asked.block.number;
    let block = Block { number, more: number + 1 < count, size_exponent: 2 };
    let mut plain = [0; 256];
    let ty = Type::NonConfirmable;
    let mut writer = Writer::message(&mut plain, ty, Code::CONTENT, 9, request.token()).unwrap();
    writer.option(option::BLOCK2, block.encode().as_bytes()).unwrap();
    writer.payload(image.envelope.chunks(64).nth(number as usize).unwrap()).unwrap();
    let len = writer.finish();
    let mut out = vec![0; 512];
    let message = Message::parse(&plain[..len]).unwrap();
    let (mode, piv) = (ResponseMode::Pairwise, ResponsePiv::OfRequest);
    let len = speaker.context.protect_response(&message, &mut asked.binding, mode, piv, &mut out).unwrap();
    out.truncate(len);
    out
}

/// A census tells the agent about an update.
fn hears_of(agent: &mut Agent, speaker: &mut Speaker, image: &Image) {
    let (query, _) = speaker.query(Mode::Group, &question(image));
    agent.hear(Via::Group, &query);
    agent.pass(MILLIS(1));
    assert_eq!(agent.sent.len(), 1, "the answer");
    agent.sent.clear();
}

#[test]
fn repair_fetches_the_lowest_missing_block_of_an_offer_each_time() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let offer = speaker.offer(&image);
    let count = offer.len() as u32;
    assert!(count > 4);
    let mut agent = Agent::new(0);
    for heard in [0, 1, 3] {
        agent.hear(Via::Group, &offer[heard]);
    }
    hears_of(&mut agent, &mut speaker, &image);
    let missing = (0..count).filter(|number| ![0, 1, 3].contains(number));
    for number in missing {
        assert_eq!(agent.machine.state(), State::Idle, "not whole before block {number}");
        let asked = asked(&mut agent, &mut speaker, &image);
        assert_eq!((asked.block.number, asked.block.size()), (number, 64));
        let answer = answer(&mut speaker, &image, asked);
        agent.hear(Via::Own, &answer);
    }
    assert_eq!(agent.machine.digest(), Some(image.offer.digest));
}

#[test]
fn repair_of_an_offer_of_which_nothing_has_come_begins_with_the_first_block_and_the_largest_size() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = Agent::new(0);
    // Blocks of another offer are useless.
    let other = Image::new(6, 9, 64);
    let offer = speaker.offer(&other);
    agent.hear_all(&offer[..3]);
    hears_of(&mut agent, &mut speaker, &image);
    let asked = asked(&mut agent, &mut speaker, &image);
    assert_eq!((asked.block.number, asked.block.size()), (0, BLOCK_BYTES_MAX as usize));
}

#[test]
fn an_offer_in_blocks_of_another_size_starts_over() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = Agent::new(0);
    let mut put = |agent: &mut Agent, size_exponent: u8, number: u32| {
        let size = 16usize << size_exponent;
        let count = image.envelope.len().div_ceil(size) as u32;
        let block = Block { number, more: number + 1 < count, size_exponent };
        let payload = image.envelope.chunks(size).nth(number as usize).unwrap();
        agent.hear(Via::Group, &speaker.put(Resource::Manifest(image.offer.id), block, payload));
        count
    };
    put(&mut agent, 2, 1);
    let count = put(&mut agent, 3, 0);
    (2..count).for_each(|number| _ = put(&mut agent, 3, number));
    assert_eq!(
        agent.machine.state(),
        State::Idle,
        "the block 1 of the other size does not stand for this one"
    );
    put(&mut agent, 3, 1);
    assert_eq!(agent.machine.digest(), Some(image.offer.digest));
}

#[test]
fn a_refused_offer_is_looked_at_again_after_a_while_and_not_before() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut spoiled = image.envelope.clone();
    *spoiled.last_mut().unwrap() ^= 1;
    let count = spoiled.len().div_ceil(64);
    let mut agent = Agent::new(0);
    let mut offered = |agent: &mut Agent| {
        for (number, payload) in spoiled.chunks(64).enumerate() {
            let block = Block { number: number as u32, more: number + 1 < count, size_exponent: 2 };
            agent.hear(Via::Group, &speaker.put(Resource::Manifest(image.offer.id), block, payload));
        }
        agent.events.iter().filter(|event| matches!(event, Event::Refused { .. })).count()
    };
    assert_eq!((offered(&mut agent), offered(&mut agent)), (1, 1));
    agent.pass(RECONSIDER_AFTER - MILLIS(1));
    assert_eq!(offered(&mut agent), 1);
    agent.pass(MILLIS(2));
    assert_eq!((offered(&mut agent), offered(&mut agent)), (2, 2));
}
