//! Who is evicted is refused everything.
#![allow(clippy::unwrap_used)]

mod common;

use coap_wire::{Code, Message, Token, Type, Writer, option};
use common::World;
use group_oscore::{MemberId, Mode};
use update_core::reception::{Event, Input, Via};
use update_core::time::Duration;

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn an_evicted_member_gets_no_keys_and_learns_why() {
    let mut world = World::new(4);
    world.run(SECONDS(15));
    world.evict(2);
    world.rekey();
    world.run(SECONDS(10));
    assert_eq!(world.done(), 3);
    assert_eq!(world.nodes[2].num(), 0);
    // It asks, having heard the new Gid or restarted.
    let now = world.now;
    world.nodes[2].restart(now);
    world.run(SECONDS(60));
    assert_eq!(world.nodes[2].num(), 0);
    assert!(world.nodes[2].events.contains(&Event::Expelled));
    assert_eq!(world.manager.as_ref().unwrap().progress(common::GROUP), (3, 3));
}

#[test]
fn an_evicted_member_that_asks_on_and_on_gets_one_small_answer_in_ten_seconds() {
    let mut world = World::new(2);
    world.run(SECONDS(15));
    world.evict(0);
    let from_manager = |world: &World| {
        let manager = world.manager_address();
        world.log.iter().filter(|(from, _, _)| *from == manager).count()
    };
    let before = from_manager(&world);
    for _ in 0..40 {
        let now = world.now;
        world.nodes[0].restart(now);
        world.run(SECONDS(5));
    }
    // Each restart may also renew its context, which proves nothing about membership.
    let refusals = from_manager(&world) - before;
    assert!(refusals <= 40 + 20 + 1, "{refusals}");
    assert!(
        world.log.iter().filter(|(from, _, _)| *from == world.manager_address()).all(|it| it.2.len() < 400)
    );
}

#[test]
fn an_evicted_member_that_comes_back_at_another_port_gets_the_keys_at_once() {
    let mut world = World::new(3);
    world.run(SECONDS(15));
    world.evict(1);
    world.rekey();
    world.run(SECONDS(10));
    let now = world.now;
    world.nodes[1].restart_elsewhere(now);
    world.run(SECONDS(60));
    assert!(world.nodes[1].events.contains(&Event::Expelled));
    world.rejoin(1);
    world.run(SECONDS(5));
    assert_eq!(world.done(), 3);
    world.check_nonces();
}

#[test]
fn what_evicted_members_recorded_or_make_up_changes_nothing() {
    let mut world = World::new(3);
    world.run(SECONDS(15));
    let recorded: Vec<Vec<u8>> = world.log.iter().map(|(_, _, bytes)| bytes.clone()).collect();
    world.evict(1);
    world.rekey();
    world.run(SECONDS(10));
    let (confirmed, heard) = (world.confirmed.clone(), world.heard.clone());
    let stranger = common::address("10.9.9.9:9");
    for bytes in &recorded {
        let manager = world.manager_address();
        world.inject(stranger, manager, bytes.clone());
        for index in 0..3 {
            let to = world.node_address(index);
            world.inject(stranger, to, bytes.clone());
        }
        world.run(Duration::from_millis(20));
    }
    assert_eq!((&world.confirmed, &world.heard), (&confirmed, &heard));
    assert_eq!(world.done(), 2);
    world.rekey();
    world.run(SECONDS(10));
    assert_eq!(world.done(), 2);
    world.check_nonces();
}

/// A request with any method, to any resource.
fn anything(round: u32) -> Vec<u8> {
    let codes = [Code::GET, Code::POST, Code::PUT, Code::DELETE, Code::FETCH];
    let paths: [&[&str]; 6] = [
        &["fw", "status"],
        &["fw", "activate"],
        &["fw", "cancel"],
        &["fw", "boot"],
        &["fw", "0011223344556677", "image"],
        &["ace-group", common::GROUP, "node"],
    ];
    let mut plain = vec![0; 400];
    let token = Token::new(&round.to_be_bytes()).unwrap();
    let code = codes[round as usize % codes.len()];
    let ty = if round.is_multiple_of(3) { Type::Confirmable } else { Type::NonConfirmable };
    let mut writer = Writer::message(&mut plain, ty, code, round as u16, token).unwrap();
    for segment in paths[round as usize / codes.len() % paths.len()] {
        writer.option(option::URI_PATH, segment.as_bytes()).unwrap();
    }
    let payload = [[0xa0; 1].as_slice(), &[0xa1, 1, 0xf5], &[0xff; 200]][round as usize % 3];
    writer.payload(payload).unwrap();
    let len = writer.finish();
    plain.truncate(len);
    plain
}

/// What an evicted member may not change.
fn state(world: &World) -> String {
    let manager = world.manager.as_ref().unwrap();
    let nodes = [0, 2].map(|index| {
        let node = &world.nodes[index];
        let happened = |event: &&Event| !matches!(event, Event::Discarded(_));
        let events: Vec<Event> = node.events.iter().filter(happened).cloned().collect();
        (events, node.records.clone(), node.agent.reception().has_heard_distributor())
    });
    format!("{nodes:?} {:?} {:?} {:?}", manager.progress(common::GROUP), world.confirmed, world.heard)
}

/// With the keys that it had, in group mode and in pairwise mode, to agents and distributor. (What it says to
/// the Group Manager is in `requests`.)
#[test]
fn a_hundred_thousand_messages_of_an_evicted_member_are_worth_nothing() {
    let mut world = World::new(3);
    world.run(SECONDS(15));
    world.evict(1);
    world.rekey();
    world.run(SECONDS(10));
    let mut old = common::context_of(1);
    let all = old.reservation_due(u64::MAX, 1 << 20).unwrap();
    old.reserve(all).unwrap();
    let distributor = MemberId::new(&[0]).unwrap();
    let (before, from, now) = (state(&world), world.node_address(1), world.now);
    let mut bytes = [0; 700];
    for round in 0..100_000 {
        let plain = anything(round);
        // A signature takes long: one in eight.
        let mode = if round % 8 == 0 { Mode::Group } else { Mode::Pairwise(distributor) };
        let (len, _) = old.protect_request(&Message::parse(&plain).unwrap(), mode, &mut bytes).unwrap();
        let said = &bytes[..len];
        assert!(world.distributor.unprotect_request(&mut said.to_vec()).is_err(), "{round}");
        for index in [0, 2] {
            let via = if round % 2 == 0 { Via::Group } else { Via::Own };
            let mut bytes = said.to_vec();
            world.nodes[index].agent.handle(now, Input::Datagram { from, via, bytes: &mut bytes });
        }
    }
    world.run(SECONDS(30));
    assert_eq!(state(&world), before);
    world.check_nonces();
}

#[test]
fn an_evicted_member_reads_none_of_a_hundred_captured_datagrams() {
    let mut world = World::new(30);
    world.run(SECONDS(15));
    world.evict(1);
    let before = world.log.len();
    world.rekey();
    let mut captured: Vec<Vec<u8>> = (0..60).map(|_| world.announce()).collect();
    world.run(SECONDS(20));
    captured.extend(world.log[before..].iter().take(60).map(|(_, _, bytes)| bytes.clone()));
    assert!(captured.len() >= 100, "{}", captured.len());
    let mut old = common::context_of(1);
    let mut own = common::association_of(1);
    for datagram in &captured {
        assert!(old.unprotect_request(&mut datagram.clone()).is_err());
        assert!(own.unprotect_request(&mut datagram.clone(), [0; 8]).is_err());
    }
    // The same keys read what was said before.
    assert!(common::context_of(1).unprotect_request(&mut World::new(1).announce()).is_ok());
}
