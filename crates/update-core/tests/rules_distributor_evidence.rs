//! What one member says changes nothing for the group without evidence, each case under its name (protocol.md
//! \[evidence\]).
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::agent::agent_address;
use common::fleet::{self, Fleet};
use common::group::{self, Image, agent_id};
use common::wire::{ByHand, answer, exchange, hand_in, last_question, report, request};
use group_oscore::{ReplayWindow, SequenceNumbers};
use update_core::census::{Report, State};
use update_core::distribution::{Conduct, Ending, Event};
use update_core::limits::CLAIM_AHEAD_MAX;
use update_core::reception::AgentContext;
use update_core::resource::Resource;
use update_core::time::Duration;

/// A fleet in which agent 1 answers by hand.
fn with_a_liar<'i>(image: &'i Image) -> (Fleet<'i>, AgentContext) {
    let mut fleet = Fleet::new(image, 2);
    fleet.off[1] = true;
    (fleet, group::agent_context(1, SequenceNumbers::new(0, 1 << 20), ReplayWindow::fresh()))
}

/// Continues until a question has been sent, and answers it with a claim.
fn claim(fleet: &mut Fleet<'_>, context: &mut AgentContext, image: &Image, ahead: u64) {
    let sent = fleet.sent.len();
    loop {
        fleet.step(&mut |_| 1);
        if fleet.sent.len() == sent {
            continue;
        }
        let mut said = Report::new(State::Blocks);
        said.update = Some(image.offer.id);
        said.distributor_next = fleet.distribution.next_sequence_number() + ahead;
        let Some(question) = last_question(fleet) else { continue };
        if let Some(datagram) = answer(context, &question, &ByHand::new(&report(&said))) {
            return hand_in(fleet, 1, &datagram);
        }
    }
}

fn quarantined(fleet: &Fleet<'_>) -> bool {
    fleet.events.contains(&Event::Quarantined(agent_id(1)))
}

#[test]
fn a_claim_costs_numbers_once_and_then_the_claimant() {
    let image = Image::new(5, 30, 64);
    let (mut fleet, mut context) = with_a_liar(&image);
    let before = fleet.distribution.next_sequence_number();
    claim(&mut fleet, &mut context, &image, 100_000);
    fleet.step(&mut |_| 1);
    assert!(fleet.distribution.next_sequence_number() >= before + 100_000);
    assert!(fleet.reserved_end > fleet.distribution.next_sequence_number(), "reserved before it is used");
    assert_eq!(fleet.distribution.agents()[1].conduct(), Conduct::Claimed);
    assert!(!quarantined(&fleet) && fleet.ending.is_none());
    claim(&mut fleet, &mut context, &image, 1);
    assert_eq!(fleet.run(), Ending::Done);
    assert!(quarantined(&fleet));
    assert_eq!(fleet.agents[0].machine.state(), State::Confirmed);
    let liar = &fleet.distribution.agents()[1];
    assert!(liar.is_quarantined() && liar.lost);
}

#[test]
fn a_claim_that_costs_too_much_is_the_claimants_last() {
    let image = Image::new(5, 30, 64);
    let (mut fleet, mut context) = with_a_liar(&image);
    claim(&mut fleet, &mut context, &image, CLAIM_AHEAD_MAX + 1);
    assert_eq!(fleet.run(), Ending::Done);
    assert!(quarantined(&fleet));
    assert!(fleet.distribution.next_sequence_number() < 10_000, "no number was skipped for it");
    // Its requests get no answer, not even after a restart of a distributor that remembers its conduct.
    let conduct = fleet.distribution.conduct();
    fleet.restart_distribution(fleet::config());
    let remembering = std::mem::replace(&mut fleet.distribution, Fleet::new(&image, 2).distribution);
    fleet.distribution = remembering.remembering(&conduct);
    let (boot, _) = request(&mut context, 1, Resource::Boot, None, &[]);
    hand_in(&mut fleet, 1, &boot);
    let sent = fleet.sent.len();
    fleet.now = fleet.now + Duration::from_secs(1);
    fleet.drive(&mut |_| 0);
    assert!(fleet.sent[sent..].iter().all(|(to, _)| *to != agent_address(1)));
    assert!(fleet.distribution.agents()[1].is_quarantined());
}

#[test]
fn a_counter_that_came_back_from_an_old_copy_is_shown_to_be_behind() {
    let (old, image) = (Image::new(5, 3, 64), Image::new(6, 300, 64));
    let mut fleet = Fleet::new(&old, 2);
    fleet.reserved_end = 5_000;
    fleet.restart_distribution(fleet::config());
    assert_eq!(fleet.run(), Ending::Done);
    // The next update is in progress ...
    let mut fleet = Fleet { image: &image, file: image.bytes.clone(), ..fleet };
    fleet.restart_distribution(fleet::config());
    while fleet.agents[0].machine.progress().0 < 20 {
        fleet.step(&mut |_| 1);
    }
    // ... when the machine is restored from an old copy. Agents take its datagrams for replays, hear nothing,
    // probe for the distributor, and show their evidence.
    fleet.reserved_end = 0;
    let mut ending = Ending::NobodyAnswered;
    // Their quiet time is longer than a push that nobody answers.
    for _ in 0..3 {
        if ending == Ending::NobodyAnswered {
            fleet.restart_distribution(fleet::config());
            ending = fleet.run();
        }
    }
    let Ending::CounterBehind { expects, .. } = ending else { panic!("{ending:?}") };
    assert!(expects > 5_000, "{expects}");
    let sent = fleet.sent.len();
    fleet.drive(&mut |_| 1);
    assert_eq!(fleet.sent.len(), sent, "nothing more is sent");
}

#[test]
fn without_evidence_numbers_are_passed_over_and_the_group_goes_on() {
    let image = Image::new(5, 30, 64);
    let mut fleet = Fleet::new(&image, 2);
    fleet.reserved_end = 5_000;
    fleet.restart_distribution(fleet::config());
    assert_eq!(fleet.run(), Ending::Done);
    fleet.reserved_end = 0;
    fleet.restart_distribution(fleet::config());
    // One agent boots: it no longer has any evidence.
    fleet.agents[0].now = fleet.now;
    fleet.agents[0].restart(true);
    assert_eq!(fleet.run(), Ending::Done);
    assert!(fleet.distribution.next_sequence_number() > 4_700);
    assert!(fleet.distribution.agents().iter().all(|agent| !agent.is_quarantined()));
}

#[test]
fn evidence_that_is_none_is_the_claimants_last() {
    let image = Image::new(5, 30, 64);
    let (mut fleet, mut context) = with_a_liar(&image);
    exchange(&mut fleet, &[]);
    let mut said = Report::new(State::Blocks);
    said.evidence = Some(&[0x58; 100]);
    let question = last_question(&fleet).unwrap();
    let datagram = answer(&mut context, &question, &ByHand::new(&report(&said))).unwrap();
    hand_in(&mut fleet, 1, &datagram);
    assert_eq!(fleet.run(), Ending::Done);
    assert!(quarantined(&fleet));
    assert_eq!(fleet.agents[0].machine.state(), State::Confirmed);
}
