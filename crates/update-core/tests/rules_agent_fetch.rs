//! [repair]: an answer that does not help costs a pause, longer each time, and the report says why.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Block, Code, Message, Token, Type, Writer, option};
use common::agent::{Agent, MILLIS};
use common::group::{Image, Speaker, agent_id, question};
use group_oscore::{Mode, Received, ResponseMode, ResponsePiv};
use update_core::census::{Query, State};
use update_core::platform::Area;
use update_core::reception::{Event, Obstacle, Via};
use update_core::resource::Resource;

/// What a distributor answers to a GET of this block: type, code, Block2, Echo, payload.
struct Answer {
    ty: Type,
    code: Code,
    block: Option<Block>,
    echo: bool,
    payload: Vec<u8>,
}

impl Answer {
    const fn content(block: Option<Block>, payload: Vec<u8>) -> Self {
        Self { ty: Type::NonConfirmable, code: Code::CONTENT, block, echo: false, payload }
    }

    const fn error(code: Code, echo: bool) -> Self {
        Self { ty: Type::NonConfirmable, code, block: None, echo, payload: Vec::new() }
    }
}

fn protect(
    speaker: &mut Speaker,
    token: Token,
    request: &mut group_oscore::Verified<'_>,
    answer: &Answer,
) -> Vec<u8> {
    let mut plain = [0; 1200];
    let mut writer = Writer::message(&mut plain, answer.ty, answer.code, 9, token).unwrap();
    if let Some(block) = answer.block {
        writer.option(option::BLOCK2, block.encode().as_bytes()).unwrap();
    }
    if answer.echo {
        writer.option(option::ECHO, &[7; 8]).unwrap();
    }
    writer.payload(&answer.payload).unwrap();
    let len = writer.finish();
    let message = Message::parse(&plain[..len]).unwrap();
    let mut out = vec![0; 1300];
    let mut binding = request.take_binding();
    let (mode, piv) = (ResponseMode::Pairwise, ResponsePiv::Own);
    let len = speaker.context.protect_response(&message, &mut binding, mode, piv, &mut out).unwrap();
    out.truncate(len);
    out
}

/// Answers each GET at once for a minute, and tells how many there were.
fn gets_in_a_minute(
    agent: &mut Agent,
    speaker: &mut Speaker,
    answer: &mut dyn FnMut(Resource, Block) -> Answer,
) -> usize {
    let mut gets = 0;
    for _ in 0..60_000 {
        agent.pass(MILLIS(1));
        for (_, datagram) in core::mem::take(&mut agent.sent) {
            let mut bytes = datagram.clone();
            let Ok(Received::Fresh(mut request)) = speaker.context.unprotect_request(&mut bytes) else {
                continue;
            };
            let body = request.body();
            if body.code() != Code::GET {
                continue;
            }
            gets += 1;
            let resource = Resource::of(&body).unwrap();
            let block = Block::parse(body.option(option::BLOCK2).unwrap()).unwrap();
            let token = Message::parse(&datagram).unwrap().token();
            let answered = protect(speaker, token, &mut request, &answer(resource, block));
            agent.hear(Via::Own, &answered);
        }
    }
    gets
}

/// An agent that has the offer, and is told that it may fetch the rest.
fn fetching(speaker: &mut Speaker, image: &Image) -> Agent {
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.offer(image));
    let (query, _) = speaker.query(Mode::Group, &Query { unicast_max: 100, ..question(image) });
    agent.hear(Via::Group, &query);
    agent
}

fn reason(agent: &mut Agent, speaker: &mut Speaker, image: &Image) -> u8 {
    agent.ask(speaker, &Query { unicast_max: 100, ..question(image) }, |report| report.reason)
}

#[test]
fn repair_pauses_after_every_answer_that_does_not_help_and_says_why() {
    type Bad = fn(Block, &Image) -> Answer;
    let kinds: [(&str, Obstacle, Bad); 9] = [
        ("4.01 with Echo each time", Obstacle::Challenged, |_, _| Answer::error(Code::UNAUTHORIZED, true)),
        ("4.04", Obstacle::Refused, |_, _| Answer::error(Code::NOT_FOUND, false)),
        ("2.04", Obstacle::Refused, |_, _| Answer::error(Code::CHANGED, false)),
        ("2.05 without Block2", Obstacle::Unfitting, |_, image| {
            Answer::content(None, image.block(Area::Pages, 0).to_vec())
        }),
        ("another number", Obstacle::Unfitting, |block, image| {
            let number = block.number + 1;
            Answer::content(Some(Block { number, ..block }), image.block(Area::Pages, number).to_vec())
        }),
        ("smaller blocks", Obstacle::Unfitting, |block, image| {
            let smaller = Block { size_exponent: block.size_exponent - 1, more: true, ..block };
            Answer::content(Some(smaller), image.block(Area::Pages, 0)[..smaller.size()].to_vec())
        }),
        ("nothing in it", Obstacle::Unfitting, |block, _| {
            Answer::content(Some(Block { more: true, ..block }), Vec::new())
        }),
        ("the end where there is more", Obstacle::Unfitting, |block, image| {
            Answer::content(Some(Block { more: false, ..block }), image.block(Area::Pages, 0).to_vec())
        }),
        ("a wrong hash", Obstacle::WrongHash, |block, image| {
            Answer::content(Some(Block { more: true, ..block }), vec![9; image.block_bytes()])
        }),
    ];
    for (what, obstacle, bad) in kinds {
        let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
        let mut agent = fetching(&mut speaker, &image);
        let gets = gets_in_a_minute(&mut agent, &mut speaker, &mut |_, block| bad(block, &image));
        assert!((4..=12).contains(&gets), "{what}: {gets} requests in a minute");
        assert_eq!(reason(&mut agent, &mut speaker, &image), obstacle as u8, "{what}");
        // And with right answers it ends.
        let mut well = |resource: Resource, block: Block| {
            let area = if matches!(resource, Resource::Hashes(_)) { Area::Pages } else { Area::Image };
            let more = block.number + 1 < image.count(area);
            Answer::content(Some(Block { more, ..block }), image.block(area, block.number).to_vec())
        };
        gets_in_a_minute(&mut agent, &mut speaker, &mut well);
        assert_eq!(agent.machine.state(), State::Ready, "{what}");
        assert_eq!(reason(&mut agent, &mut speaker, &image), 0, "{what}");
    }
}

#[test]
fn rewind_who_is_told_that_its_numbers_were_used_before_neither_sends_nor_accepts() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = fetching(&mut speaker, &image);
    let mut refused = |_, _| Answer::error(Code::FORBIDDEN, false);
    assert_eq!(gets_in_a_minute(&mut agent, &mut speaker, &mut refused), 1);
    assert!(agent.events.contains(&Event::Rewound));
    agent.hear_all(&speaker.everything(&image));
    agent.pass(MILLIS(600_000));
    assert!(agent.sent.is_empty());
    assert_eq!(agent.machine.state(), State::Pages);
}

#[test]
fn requests_one_challenge_is_met_at_once() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = fetching(&mut speaker, &image);
    let mut challenged = false;
    let mut asked = Vec::new();
    gets_in_a_minute(&mut agent, &mut speaker, &mut |resource, block| {
        asked.push(block.number);
        if !core::mem::replace(&mut challenged, true) {
            return Answer::error(Code::UNAUTHORIZED, true);
        }
        let area = if matches!(resource, Resource::Hashes(_)) { Area::Pages } else { Area::Image };
        let more = block.number + 1 < image.count(area);
        Answer::content(Some(Block { more, ..block }), image.block(area, block.number).to_vec())
    });
    assert_eq!(agent.machine.state(), State::Ready);
    assert_eq!(asked[..2], [0, 0], "the same again");
}

/// An envelope in blocks of 256 bytes, as a distributor would answer it.
fn piece(envelope: &[u8], block: Block) -> Answer {
    let exponent = block.size_exponent.min(4);
    let size = 16 << exponent;
    let count = envelope.len().div_ceil(size) as u32;
    let part = envelope.chunks(size).nth(block.number as usize).unwrap_or_default().to_vec();
    let more = block.number + 1 < count;
    Answer::content(Some(Block { number: block.number, more, size_exponent: exponent }), part)
}

#[test]
fn order_an_offer_that_is_too_long_is_refused_with_reason_1_and_not_fetched_again_and_again() {
    for by_multicast in [false, true] {
        let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
        let mut agent = Agent::new(0);
        let long = vec![3; 1025];
        if by_multicast {
            let block = |number| Block { number, more: number < 4, size_exponent: 4 };
            for number in 0..5 {
                let part = long.chunks(256).nth(number as usize).unwrap();
                let put = speaker.put(Resource::Manifest(image.offer.id), block(number), part);
                agent.hear(Via::Group, &put);
            }
        } else {
            let (query, _) = speaker.query(Mode::Group, &question(&image));
            agent.hear(Via::Group, &query);
        }
        let gets = gets_in_a_minute(&mut agent, &mut speaker, &mut |_, block| piece(&long, block));
        assert!(gets <= 5, "{gets} requests");
        assert_eq!(agent.stand(&mut speaker, &image), (State::Refused, 1), "by multicast: {by_multicast}");
    }
}

#[test]
fn repair_of_an_offer_backs_off_too() {
    type Bad = fn(Block) -> Answer;
    let kinds: [(&str, Bad); 4] = [
        ("another number", |block| Answer::content(Some(Block { number: 9, ..block }), vec![1; 64])),
        ("a block that is not full", |block| {
            Answer::content(Some(Block { more: true, size_exponent: 4, ..block }), vec![1; 100])
        }),
        ("a reserved size", |block| Answer::content(Some(Block { size_exponent: 0, ..block }), vec![1; 16])),
        ("4.01 with Echo each time", |_| Answer::error(Code::UNAUTHORIZED, true)),
    ];
    for (what, bad) in kinds {
        let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
        let mut agent = Agent::new(0);
        let (query, _) = speaker.query(Mode::Group, &question(&image));
        agent.hear(Via::Group, &query);
        let gets = gets_in_a_minute(&mut agent, &mut speaker, &mut |_, block| bad(block));
        assert!((2..=12).contains(&gets), "{what}: {gets} requests in a minute");
        // What a distributor answers in smaller blocks is taken.
        gets_in_a_minute(&mut agent, &mut speaker, &mut |_, block| piece(&image.envelope, block));
        assert_eq!(agent.machine.digest(), Some(image.offer.digest), "{what}");
    }
}

#[test]
fn message_ids_who_has_sent_very_much_rests_before_they_come_again() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.offer(&image));
    for _ in 0..31_744 {
        let (query, _) = speaker.query(Mode::Pairwise(agent_id(0)), &question(&image));
        agent.hear(Via::Own, &query);
    }
    assert_eq!(core::mem::take(&mut agent.sent).len(), 31_744);
    let mut sends = |agent: &mut Agent, seconds| {
        let (query, _) = speaker.query(Mode::Group, &Query { unicast_max: 100, ..question(&image) });
        agent.hear(Via::Group, &query);
        (0..seconds * 1_000).for_each(|_| agent.pass(MILLIS(1)));
        core::mem::take(&mut agent.sent).len()
    };
    assert_eq!(sends(&mut agent, 5), 1, "only the answer");
    agent.pass(MILLIS(142_000));
    agent.sent.clear();
    assert_eq!(sends(&mut agent, 2), 1);
    assert!(sends(&mut agent, 2) > 2, "and goes on");
}

/// The acknowledgements that it sends within this time.
fn acknowledgements(agent: &mut Agent, millis: u64) -> Vec<u16> {
    agent.pass(MILLIS(millis));
    let sent = core::mem::take(&mut agent.sent);
    let messages = sent.iter().map(|(_, datagram)| Message::parse(datagram).unwrap());
    let empty = messages.filter(|it| it.ty() == Type::Acknowledgement && it.code() == Code::EMPTY);
    empty.map(|it| it.message_id()).collect()
}

#[test]
fn a_confirmable_answer_is_acknowledged_and_once_more_if_it_comes_again() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 12, 64));
    let mut agent = fetching(&mut speaker, &image);
    let datagram = loop {
        agent.pass(MILLIS(1));
        let Some((_, datagram)) = agent.sent.pop() else { continue };
        let mut bytes = datagram.clone();
        let Ok(Received::Fresh(mut request)) = speaker.context.unprotect_request(&mut bytes) else {
            continue;
        };
        if request.body().code() == Code::GET {
            let answer = Answer { ty: Type::Confirmable, ..Answer::error(Code::NOT_FOUND, false) };
            break protect(&mut speaker, Message::parse(&datagram).unwrap().token(), &mut request, &answer);
        }
    };
    let mut forged = datagram.clone();
    *forged.last_mut().unwrap() ^= 1;
    agent.sent.clear();
    agent.hear(Via::Own, &forged);
    assert_eq!(acknowledgements(&mut agent, 0), []);
    for _ in 0..2 {
        agent.hear(Via::Own, &datagram);
        assert_eq!(acknowledgements(&mut agent, 0), [9]);
    }
    assert_eq!(acknowledgements(&mut agent, 50), []);
}

#[test]
fn repair_blocks_by_multicast_do_not_shorten_the_pauses_of_a_fetch_in_vain() {
    let gets = |with_multicast: bool| {
        let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 90, 64));
        let mut agent = fetching(&mut speaker, &image);
        for number in 0..image.count(Area::Pages) {
            agent.hear(Via::Group, &speaker.block(&image, Area::Pages, number));
        }
        let mut gets = 0;
        for second in 0..60 {
            if with_multicast {
                agent.hear(Via::Group, &speaker.block(&image, Area::Image, second));
                assert_eq!(agent.machine.progress().0, second + 1);
            }
            agent.pass(MILLIS(1_000));
            for (_, datagram) in core::mem::take(&mut agent.sent) {
                let mut bytes = datagram.clone();
                let opened = speaker.context.unprotect_request(&mut bytes);
                let Ok(Received::Fresh(mut request)) = opened else { continue };
                gets += usize::from(request.body().code() == Code::GET);
                let refused = Answer::error(Code::NOT_FOUND, false);
                let token = Message::parse(&datagram).unwrap().token();
                let answered = protect(&mut speaker, token, &mut request, &refused);
                agent.hear(Via::Own, &answered);
            }
        }
        gets
    };
    let (alone, beside) = (gets(false), gets(true));
    assert!((4..=20).contains(&alone) && beside <= alone + 2, "{alone} alone, {beside} beside multicast");
}
