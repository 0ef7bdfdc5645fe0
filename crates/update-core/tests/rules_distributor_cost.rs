//! What one member or one stranger may cost, each case under its name (protocol.md \[cost\], [patience]).
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Block, Code, Message, Type};
use common::agent::agent_address;
use common::fleet::{self, Fleet, coap_group};
use common::group::{self, Image, agent_id};
use common::wire::{ByHand, answer, exchange, hand_in, last_question, report, request};
use group_oscore::{ReplayWindow, ResponseMode, ResponsePiv, SequenceNumbers};
use update_core::census::{Query, Report, State, Window};
use update_core::distribution::{DistributionConfig, Ending, Input, Lag};
use update_core::platform::Area;
use update_core::resource::Resource;
use update_core::time::Duration;

fn slow() -> DistributionConfig {
    DistributionConfig { rate: 1_000_000, ..fleet::config() }
}

#[test]
fn one_that_asks_without_end_has_its_share() {
    let image = Image::new(5, 400, 256);
    let time = |asks: bool| {
        let mut fleet = Fleet::with(&image, 2, slow(), None);
        fleet.off[1] = true;
        let mut context = group::agent_context(1, SequenceNumbers::new(0, 1 << 20), ReplayWindow::fresh());
        let mut number = 0;
        let mut asked_at = fleet.now;
        while fleet.agents[0].machine.state() != State::Ready && fleet.ending.is_none() {
            fleet.step(&mut |_| 1);
            // A question for the next block every millisecond.
            while asks && asked_at < fleet.now {
                asked_at = asked_at + Duration::from_millis(1);
                number += 1;
                let block = Block { number: number % 400, more: false, size_exponent: 4 };
                let resource = Resource::Image(image.offer.id);
                let (get, _) = request(&mut context, number as u8, resource, Some(block), &[]);
                hand_in(&mut fleet, 1, &get);
            }
        }
        fleet.now.as_micros()
    };
    let (alone, beside) = (time(false), time(true));
    assert!(beside * 2 < alone * 3, "{beside} compared with {alone} microseconds");
}

#[test]
fn recorded_requests_are_challenged_now_and_then() {
    let image = Image::new(5, 300, 256);
    let mut fleet = Fleet::with(&image, 1, slow(), None);
    let mut context = group::agent_context(0, SequenceNumbers::new(0, 1 << 20), ReplayWindow::fresh());
    // A floor above the recorded request.
    fleet.floors.insert(agent_id(0), Some(1_000));
    fleet.restart_distribution(slow());
    let (recorded, _) = request(&mut context, 1, Resource::Boot, None, &[]);
    let mut at = fleet.now;
    while fleet.ending.is_none() {
        fleet.step(&mut |_| 1);
        while at < fleet.now {
            at = at + Duration::from_millis(1);
            hand_in(&mut fleet, 0, &recorded);
        }
    }
    let to_one = fleet.sent.iter().filter(|(to, _)| *to == agent_address(0)).count() as u64;
    let seconds = fleet.now.as_micros() / 1_000_000;
    assert!(to_one <= seconds + 3, "{to_one} answers to a recorded request in {seconds} s");
    assert_eq!(fleet.ending, Some(Ending::Done));
    assert_eq!(fleet.agents[0].machine.state(), State::Confirmed);
}

#[test]
fn an_honest_agent_gets_through_beside_recorded_requests() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::with(&image, 1, slow(), None);
    fleet.off[0] = true;
    fleet.floors.insert(agent_id(0), Some(1_000));
    fleet.restart_distribution(slow());
    let mut context = group::agent_context(0, SequenceNumbers::new(0, 1 << 20), ReplayWindow::fresh());
    let (recorded, _) = request(&mut context, 1, Resource::Boot, None, &[]);
    exchange(&mut fleet, &recorded);
    // A request above it is challenged at once, and its Echo value stays valid while the old one is replayed.
    let (fresh, binding) = request(&mut context, 2, Resource::Boot, None, &[]);
    let mut challenge = exchange(&mut fleet, &fresh).pop().expect("a challenge at once");
    let response = context.unprotect_response(&mut challenge, &binding).unwrap();
    let echo = response.body().option(coap_wire::option::ECHO).unwrap().to_vec();
    for _ in 0..100 {
        exchange(&mut fleet, &recorded);
    }
    let (proof, binding) = request(&mut context, 3, Resource::Boot, None, &echo);
    let mut answer = exchange(&mut fleet, &proof).pop().expect("it is answered");
    let response = context.unprotect_response(&mut answer, &binding).unwrap();
    assert_ne!(response.body().code(), Code::UNAUTHORIZED);
    // A used value is no longer valid.
    let (again, binding) = request(&mut context, 4, Resource::Boot, None, &echo);
    for mut answer in exchange(&mut fleet, &again) {
        let response = context.unprotect_response(&mut answer, &binding).unwrap();
        assert!(response.body().option(coap_wire::option::ECHO).is_none_or(|new| new != echo));
    }
}

#[test]
fn recorded_answers_change_nothing() {
    let image = Image::new(5, 30, 64);
    let mut fleet = Fleet::new(&image, 1);
    fleet.off[0] = true;
    exchange(&mut fleet, &[]);
    let mut context = group::agent_context(0, SequenceNumbers::new(0, 1 << 20), ReplayWindow::fresh());
    let question = last_question(&fleet).unwrap();
    let mut said = Report::new(State::Pages);
    (said.update, said.missing_pages) = (Some(image.offer.id), 3);
    let earlier = answer(&mut context, &question, &ByHand::new(&report(&said))).unwrap();
    hand_in(&mut fleet, 0, &earlier);
    let mut context = group::agent_context(0, SequenceNumbers::new(100, 1 << 20), ReplayWindow::fresh());
    (said.state, said.missing_pages, said.digest) = (State::Ready, 0, Some(image.offer.digest));
    let later = answer(&mut context, &question, &ByHand::new(&report(&said))).unwrap();
    hand_in(&mut fleet, 0, &later);
    let answered = fleet.distribution.agents()[0].answered();
    // Somebody else replays both.
    for datagram in [&earlier, &later] {
        let mut bytes = datagram.clone();
        let from = agent_address(7);
        fleet.distribution.handle(fleet.now, Input::Datagram { from, bytes: &mut bytes });
    }
    let agent = &fleet.distribution.agents()[0];
    assert_eq!(agent.state(), Some(State::Ready));
    assert_eq!(agent.address, Some(agent_address(0)));
    assert_eq!(agent.answered(), answered);
}

#[test]
fn only_an_answer_that_is_one_counts() {
    let image = Image::new(5, 30, 64);
    let mut said = Report::new(State::Ready);
    said.digest = Some(image.offer.digest);
    let payload = report(&said);
    let right = ByHand::new(&payload);
    let cases = [
        (ByHand { code: Code::NOT_FOUND, ..ByHand::new(&payload) }, None, 1),
        (ByHand::new(&[0xa0]), None, 1),
        (ByHand { piv: ResponsePiv::OfRequest, ..ByHand::new(&payload) }, None, 0),
        (ByHand { mode: ResponseMode::Group, ..ByHand::new(&payload) }, None, 0),
        (right, Some(State::Ready), 0),
    ];
    for (number, (by_hand, state, unreadable)) in cases.into_iter().enumerate() {
        let mut fleet = Fleet::new(&image, 1);
        fleet.off[0] = true;
        exchange(&mut fleet, &[]);
        let mut context = group::agent_context(0, SequenceNumbers::new(0, 100), ReplayWindow::fresh());
        let datagram = answer(&mut context, &last_question(&fleet).unwrap(), &by_hand).unwrap();
        hand_in(&mut fleet, 0, &datagram);
        let agent = &fleet.distribution.agents()[0];
        assert_eq!((agent.state(), agent.unreadable()), (state, unreadable), "case {number}");
    }
}

#[test]
fn a_confirmable_answer_is_acknowledged() {
    let image = Image::new(5, 30, 64);
    let mut fleet = Fleet::new(&image, 1);
    fleet.off[0] = true;
    exchange(&mut fleet, &[]);
    let mut context = group::agent_context(0, SequenceNumbers::new(0, 100), ReplayWindow::fresh());
    let payload = report(&Report::new(State::Idle));
    let by_hand = ByHand { ty: Type::Confirmable, ..ByHand::new(&payload) };
    let datagram = answer(&mut context, &last_question(&fleet).unwrap(), &by_hand).unwrap();
    // The second time because the acknowledgement may have been lost.
    for _ in 0..2 {
        let sent = exchange(&mut fleet, &datagram);
        let acknowledged = sent.iter().map(|bytes| Message::parse(bytes).unwrap());
        let acknowledged: Vec<_> = acknowledged.map(|it| (it.ty(), it.code(), it.message_id())).collect();
        assert!(acknowledged.contains(&(Type::Acknowledgement, Code::EMPTY, 7)), "{acknowledged:?}");
    }
    let mut forged = datagram.clone();
    *forged.last_mut().unwrap() ^= 1;
    let is_empty = |bytes: &Vec<u8>| Message::parse(bytes).unwrap().code() == Code::EMPTY;
    assert!(!exchange(&mut fleet, &forged).iter().any(is_empty));
}

#[test]
fn who_gets_no_large_datagram_holds_up_nobody() {
    let image = Image::new(5, 60, 1024);
    let run = |deaf: bool| {
        let mut fleet = Fleet::with(&image, 3, slow(), None);
        let ending = fleet.run_with(|passing| {
            usize::from(!(deaf && passing.to_agent == Some(2) && passing.bytes.len() > 700))
        });
        assert_eq!(ending, Ending::Done);
        assert!(fleet.agents[..2].iter().all(|agent| agent.machine.state() == State::Confirmed));
        let lag = fleet.distribution.agents()[2].laggard();
        let multicast = fleet.sent.iter().filter(|(to, _)| *to == coap_group());
        (lag, multicast.map(|(_, bytes)| bytes.len()).sum::<usize>())
    };
    let ((none, alone), (lag, beside)) = (run(false), run(true));
    assert_eq!((none, lag), (None, Some(Lag::Pages)));
    assert!(beside * 2 < alone * 3, "{beside} compared with {alone} bytes to the group");
}

#[test]
fn deadlines_hold_whatever_is_under_way() {
    let image = Image::new(5, 2_000, 256);
    let config = DistributionConfig { transfer_within: Duration::from_secs(3), ..slow() };
    let mut fleet = Fleet::with(&image, 2, config, None);
    assert_eq!(fleet.run(), Ending::Done);
    // The round alone would take over four seconds.
    assert!(fleet.now.as_micros() <= 3_010_000, "{:?}", fleet.now);
    assert!(fleet.distribution.agents().iter().all(|agent| agent.lost));
}

#[test]
fn numbers_that_jump_do_not_make_floors_be_stored_with_each_message() {
    let image = Image::new(5, 300, 256);
    let mut fleet = Fleet::with(&image, 1, slow(), None);
    fleet.off[0] = true;
    exchange(&mut fleet, &[]);
    let before = fleet.floors_saved;
    let mut number = 0;
    for turn in 0..200_u64 {
        // Twice as far each time, and then by as much as the numbers allow.
        number += (300_u64 << turn.min(40)).min((1 << 40) / 250);
        let numbers = SequenceNumbers::new(number, number + 1);
        let mut context = group::agent_context(0, numbers, ReplayWindow::fresh());
        let (boot, _) = request(&mut context, turn as u8, Resource::Boot, None, &[]);
        exchange(&mut fleet, &boot);
    }
    let saved = fleet.floors_saved - before;
    assert!(saved <= 40, "{saved} times for 200 requests");
}

#[test]
fn floors_of_many_agents_are_stored_together() {
    let image = Image::new(5, 300, 256);
    let mut fleet = Fleet::with(&image, 50, slow(), None);
    fleet.off = vec![true; 50];
    for index in 0..50 {
        let numbers = SequenceNumbers::new(0, 100);
        let mut context = group::agent_context(index, numbers, ReplayWindow::fresh());
        let (boot, _) = request(&mut context, 1, Resource::Boot, None, &[]);
        hand_in(&mut fleet, index, &boot);
        fleet.drive(&mut |_| 0);
    }
    assert!(fleet.floors_saved <= 2, "{} times", fleet.floors_saved);
}

/// Answers each question to the group as one that misses everything of the window that is asked about.
fn misses_everything(
    context: &mut update_core::reception::AgentContext,
    image: &Image,
    asked: &[u8],
) -> Option<Vec<u8>> {
    let seen = common::wire::seen_in(core::iter::once(&asked.to_vec())).pop()?;
    let query = Query::decode(&seen.payload).ok().filter(|_| seen.code == Code::FETCH)?;
    let bitmap = vec![0xff; query.window.map_or(0, |window| (window.count as usize).div_ceil(8))];
    let (missing_pages, missing_blocks) = match query.window {
        Some(Window { area: Area::Pages, .. }) => (image.count(Area::Pages), image.count(Area::Image)),
        _ => (0, image.count(Area::Image)),
    };
    let said = Report {
        update: Some(image.offer.id),
        missing_pages,
        missing_blocks,
        window: query.window.map(|window| (window, bitmap.as_slice())),
        ..Report::new(if missing_pages > 0 { State::Pages } else { State::Blocks })
    };
    answer(context, asked, &ByHand::new(&report(&said)))
}

#[test]
fn one_that_gets_nowhere_where_all_others_got_on_is_sent_nothing_a_second_time() {
    let image = Image::new(5, 200, 256);
    let agents = 40;
    let mut fleet = Fleet::new(&image, agents);
    let liar = agents - 1;
    fleet.off[liar] = true;
    let numbers = SequenceNumbers::new(0, 1 << 20);
    let mut context = group::agent_context(liar, numbers, ReplayWindow::fresh());
    let mut heard = 0;
    let others =
        |fleet: &Fleet<'_>| fleet.agents[..liar].iter().all(|agent| agent.machine.state() >= State::Ready);
    while fleet.ending.is_none() && !others(&fleet) {
        fleet.step(&mut |_| 1);
        let sent: Vec<_> =
            fleet.sent[heard..].iter().filter(|(to, _)| *to == coap_group()).cloned().collect();
        heard = fleet.sent.len();
        for (_, datagram) in sent {
            if let Some(lie) = misses_everything(&mut context, &image, &datagram) {
                hand_in(&mut fleet, liar, &lie);
                fleet.wake = Some(fleet.now);
            }
        }
    }
    while fleet.ending.is_none() && fleet.agents[0].machine.state() == State::Ready {
        fleet.step(&mut |_| 1);
    }
    let rounds = fleet.distribution.tallies().blocks_multicast / u64::from(image.count(Area::Image));
    assert_eq!(rounds, 1);
    assert!(fleet.distribution.agents()[liar].laggard().is_some());
}
