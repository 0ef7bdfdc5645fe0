//! [rewind]: who uses numbers again that it had used before is told from others, and refused.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Code, option};
use common::fleet::{self, Fleet};
use common::group::{self, Image, agent_id};
use common::wire::{ByHand, answer, exchange, hand_in, last_question, report, request};
use group_oscore::{ReplayWindow, SequenceNumbers};
use update_core::census::{Report, State};
use update_core::distribution::{Ending, Event};
use update_core::reception::AgentContext;
use update_core::resource::Resource;

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

fn named(fleet: &Fleet<'_>) -> bool {
    assert_eq!(
        fleet.events.contains(&Event::Rewound(agent_id(0))),
        fleet.distribution.agents()[0].is_rewound()
    );
    fleet.distribution.agents()[0].is_rewound()
}

#[test]
fn a_wiped_agent_proves_by_echo_that_it_is_one() {
    let image = Image::new(5, 30, 64);
    let (mut fleet, heard) = after_one(&image);
    assert!(heard >= 3, "{heard}");
    let mut wiped = agent(0);
    assert_eq!(proves(&mut fleet, &mut wiped), (Code::FORBIDDEN, true));
    assert!(named(&fleet));
    // It is never accepted under such a number, whatever else happens.
    assert_eq!(fleet.distribution.floors()[0].1.filter(|floor| *floor <= heard), None);
    // The real one goes on where it was.
    let mut real = agent(heard + 1);
    let (boot, binding) = request(&mut real, 3, Resource::Boot, None, &[]);
    let mut answered = exchange(&mut fleet, &boot).pop().unwrap();
    let code = real.unprotect_response(&mut answered, &binding).unwrap().body().code();
    assert_ne!(code, Code::FORBIDDEN);
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
        assert_eq!(named(&fleet), is_rewind);
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
    assert!(!named(&fleet));
}
