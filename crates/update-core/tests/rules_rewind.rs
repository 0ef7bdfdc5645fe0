//! [rewind]: who uses numbers again that it had used before is told from others, and refused.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Code, option};
use common::agent::agent_address;
use common::fleet::{self, Fleet};
use common::group::{self, Image, agent_id};
use common::wire::{ByHand, answer, exchange, hand_in, last_question, report, request};
use group_oscore::{MessageMode, Received, ReplayWindow, SequenceNumbers};
use update_core::census::{Report, State};
use update_core::distribution::{Ending, Event};
use update_core::reception::{self, AgentContext};
use update_core::resource::Resource;
use update_core::time::Duration;

/// A fleet after a first distribution, in which agent 0 has used a few numbers; it is switched off.
fn after_one(image: &Image) -> (Fleet<'_>, u64) {
    let mut fleet = Fleet::new(image, 2);
    assert_eq!(fleet.run(), Ending::Done);
    let heard = fleet.heard.iter().find(|(id, _)| *id == agent_id(0)).unwrap().1;
    fleet.off[0] = true;
    fleet.sent.clear();
    fleet.restart_distribution(fleet::config());
    (fleet, heard)
}

/// Agent 0, which goes on at this number.
fn agent(next: u64) -> AgentContext {
    group::agent_context(0, SequenceNumbers::new(next, next + 100), ReplayWindow::fresh())
}

/// What the distributor answers to a request that returns the Echo value of a first one: the code, and
/// whether the answer has its own Partial IV.
fn proves(fleet: &mut Fleet<'_>, context: &mut AgentContext) -> (Code, bool) {
    let (first, binding) = request(context, 1, Resource::Boot, None, &[]);
    let mut challenge = exchange(fleet, &first).pop().unwrap();
    let response = context.unprotect_response(&mut challenge, &binding).unwrap();
    assert_eq!(response.body().code(), Code::UNAUTHORIZED);
    let echo = response.body().option(option::ECHO).unwrap().to_vec();
    let (proof, binding) = request(context, 2, Resource::Boot, None, &echo);
    let mut answer = exchange(fleet, &proof).pop().unwrap();
    let response = context.unprotect_response(&mut answer, &binding).unwrap();
    (response.body().code(), response.partial_iv().is_some())
}

fn named(fleet: &mut Fleet<'_>) -> bool {
    fleet.drive(&mut |_| 1);
    assert_eq!(
        fleet.events.contains(&Event::Rewound(agent_id(0))),
        fleet.distribution.agents()[0].rewind().is_some()
    );
    fleet.distribution.agents()[0].rewind().is_some()
}

#[test]
fn a_wiped_agent_proves_by_echo_that_it_is_one() {
    let image = Image::new(5, 30, 64);
    let (mut fleet, heard) = after_one(&image);
    assert!(heard >= 3, "{heard}");
    let mut wiped = agent(0);
    assert_eq!(proves(&mut fleet, &mut wiped), (Code::FORBIDDEN, true));
    assert!(named(&mut fleet));
    // It is never accepted under such a number, whatever else happens.
    assert_eq!(fleet.distribution.floors()[0].1.filter(|floor| *floor <= heard), None);
    // Whoever else has its keys is told as well: nobody knows which of them is the real one.
    assert_eq!(proves(&mut fleet, &mut agent(heard + 1)), (Code::FORBIDDEN, true));
    // In the next distribution one that never used a number twice goes on where it was.
    fleet.restart_distribution(fleet::config());
    assert_eq!(proves(&mut fleet, &mut agent(heard + 10)).0, Code::BAD_REQUEST, "no report, but accepted");
}

/// Runs until the group is asked a question, and answers it as agent 0 with this context and report.
fn answers(fleet: &mut Fleet<'_>, context: &mut AgentContext, said: &Report<'_>) -> Vec<u8> {
    fleet.sent.clear();
    loop {
        fleet.step(&mut |_| 1);
        let Some(question) = last_question(fleet) else { continue };
        if let Some(datagram) = answer(context, &question, &ByHand::new(&report(said))) {
            return datagram;
        }
    }
}

fn missing(image: &Image, blocks: u32) -> Report<'static> {
    let mut said = Report::new(State::Blocks);
    (said.update, said.missing_blocks) = (Some(image.offer.id), blocks);
    said
}

#[test]
fn an_agent_that_is_wiped_while_it_is_served_is_named_and_told() {
    let image = Image::new(5, 30, 64);
    let mut fleet = Fleet::new(&image, 2);
    fleet.off[0] = true;
    let mut before = agent(60);
    let first = answers(&mut fleet, &mut before, &missing(&image, 30));
    hand_in(&mut fleet, 0, &first);
    hand_in(&mut fleet, 0, &first);
    assert!(!named(&mut fleet), "the network may deliver an answer twice");
    assert_eq!(fleet.distribution.agents()[0].also_from(), None);
    // Who repeats it can make nobody fail, but is named.
    hand_in(&mut fleet, 7, &first);
    assert!(!named(&mut fleet));
    assert_eq!(fleet.distribution.agents()[0].also_from(), Some(agent_address(7)));
    assert_eq!(fleet.distribution.agents()[0].address, Some(agent_address(0)));
    let mut wiped = agent(0);
    let second = answers(&mut fleet, &mut wiped, &missing(&image, 30));
    fleet.sent.clear();
    hand_in(&mut fleet, 0, &second);
    assert!(named(&mut fleet));
    assert_eq!(fleet.distribution.agents()[0].rewind().unwrap().from, agent_address(0));
    assert_eq!(told(&mut fleet, &mut wiped), 1, "it is told, although it has asked for nothing");
    assert_eq!(proves(&mut fleet, &mut wiped), (Code::FORBIDDEN, true));
}

/// How often the distributor has told agent 0 of its rewind.
fn told(fleet: &mut Fleet<'_>, context: &mut AgentContext) -> usize {
    for _ in 0..20 {
        fleet.drive(&mut |_| 0);
        fleet.now = fleet.now + Duration::from_micros(500);
    }
    let to_it = fleet.sent.iter().filter(|(to, _)| *to == agent_address(0));
    to_it
        .filter(|(_, bytes)| {
            let mut bytes = bytes.clone();
            let Ok(Received::Fresh(request)) = context.unprotect_request(&mut bytes) else { return false };
            request.mode() == MessageMode::Pairwise && Resource::of(&request.body()) == Some(Resource::Rewind)
        })
        .count()
}

/// The whole way: an agent whose records were wiped, and that gets everything without asking, goes silent.
#[test]
fn an_agent_that_is_wiped_and_asks_for_nothing_is_told() {
    let image = Image::new(5, 30, 64);
    let mut fleet = Fleet::new(&image, 2);
    assert_eq!(fleet.run(), Ending::Done);
    fleet.agents[0].store.records = Default::default();
    fleet.agents[0].restart(false);
    fleet.restart_distribution(fleet::config());
    let _ = fleet.run();
    let events = &fleet.agents[0].events;
    assert!(events.iter().any(|event| matches!(event, reception::Event::Rewound)), "{events:?}");
}

#[test]
fn two_devices_with_one_state_are_named_whichever_is_ahead() {
    let image = Image::new(5, 30, 64);
    for second_at in [57, 60, 61, 64] {
        let mut fleet = Fleet::new(&image, 2);
        fleet.off[0] = true;
        let (mut one, mut other) = (agent(60), agent(second_at));
        for _ in 0..3 {
            let datagram = answers(&mut fleet, &mut one, &missing(&image, 20));
            hand_in(&mut fleet, 0, &datagram);
            let question = last_question(&fleet).unwrap();
            let said = report(&missing(&image, 10));
            let datagram = answer(&mut other, &question, &ByHand::new(&said)).unwrap();
            hand_in(&mut fleet, 7, &datagram);
        }
        assert!(named(&mut fleet), "{second_at}");
        let agent = &fleet.distribution.agents()[0];
        assert!(agent.lost, "{second_at}");
        assert_ne!(agent.address.unwrap(), agent.rewind().unwrap().from, "{second_at}");
    }
}

#[test]
fn an_answer_under_an_old_number_to_a_new_question_shows_it_too() {
    let image = Image::new(5, 30, 64);
    for (ahead, is_rewind) in [(0, true), (1, false)] {
        let (mut fleet, heard) = after_one(&image);
        let mut context = agent(heard + ahead);
        let mut said = Report::new(State::Blocks);
        said.update = Some(image.offer.id);
        let datagram = loop {
            fleet.step(&mut |_| 1);
            let Some(question) = last_question(&fleet) else { continue };
            if let Some(datagram) = answer(&mut context, &question, &ByHand::new(&report(&said))) {
                break datagram;
            }
        };
        hand_in(&mut fleet, 0, &datagram);
        fleet.drive(&mut |_| 1);
        assert_eq!(named(&mut fleet), is_rewind);
        assert_eq!(fleet.distribution.agents()[0].status.is_none(), is_rewind);
    }
}

#[test]
fn who_is_below_the_floor_but_above_what_was_heard_recovers() {
    let image = Image::new(5, 30, 64);
    let (mut fleet, heard) = after_one(&image);
    // As after a distributor that was killed: the stored floor is ahead.
    fleet.floors.values_mut().for_each(|floor| *floor = Some(heard + 200));
    fleet.restart_distribution(fleet::config());
    assert_eq!(proves(&mut fleet, &mut agent(heard + 1)).0, Code::BAD_REQUEST, "no report, but accepted");
    assert!(!named(&mut fleet));
}
