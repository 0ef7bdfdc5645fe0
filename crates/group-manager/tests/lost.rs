//! Members that have lost their counters: they neither send nor accept anything before they have another
//! Sender ID.
#![allow(clippy::unwrap_used)]

mod common;

use coap_wire::Message;
use common::World;
use group_oscore::{MemberId, OscoreOption};
use update_core::platform::Record;
use update_core::reception::Event;
use update_core::time::Duration;

/// Datagrams that this node has sent to its group, by their kid.
fn kids(world: &World, index: usize) -> Vec<MemberId> {
    let own = world.node_address(index).ip();
    let sent = world.log.iter().filter(|(from, to, _)| from.ip() == own && *to != world.manager_address());
    let kid = |bytes: &Vec<u8>| {
        let message = Message::parse(bytes).ok()?;
        MemberId::new(OscoreOption::of(&message).ok()?.kid?)
    };
    sent.filter_map(|(_, _, bytes)| kid(bytes)).collect()
}

#[test]
fn a_member_without_counters_is_silent_until_it_has_another_sender_id() {
    for rekeys in [0, 2] {
        let mut world = World::new(2);
        world.run(Duration::from_secs(30));
        let now = world.now;
        world.nodes[0].restart(now);
        (0..rekeys).for_each(|_| world.rekey());
        world.run(Duration::from_secs(30));
        let (gid, before) = (world.keys.gid, kids(&world, 0));
        assert!(!before.is_empty());
        world.nodes[0].lose(Record::Counters);
        let now = world.now;
        world.stop_manager();
        world.nodes[0].restart(now);
        world.announce();
        world.run(Duration::from_secs(60));
        assert_eq!(kids(&world, 0).len(), before.len(), "it says nothing to the group");
        assert!(!world.nodes[0].agent.reception().has_heard_distributor(), "nor does it listen");
        assert!(world.nodes[0].events.contains(&Event::CountersLost));
        world.start_manager();
        world.run(Duration::from_secs(60));
        let (id, next) = world.nodes[0].stored_keys().unwrap();
        assert_eq!((id.as_bytes(), next), (&[0xc0, 1][..], 1 << 20));
        assert_eq!(world.nodes[0].in_force().1, gid, "the group keeps its keys");
        world.run(Duration::from_secs(60));
        let after = kids(&world, 0).split_off(before.len());
        assert!(
            !after.is_empty() && after.iter().all(|kid| *kid == id),
            "it speaks again, under the new one"
        );
        // From what is stored now, nothing is lost any more.
        let now = world.now;
        world.nodes[0].restart(now);
        world.run(Duration::from_secs(60));
        assert_eq!(world.last_given, 0xc001);
        world.check_nonces();
    }
}

#[test]
fn recorded_messages_are_not_accepted_by_a_member_that_has_lost_count() {
    let mut world = World::new(1);
    // The recorded message takes the first number.
    world.next = 1;
    world.run(Duration::from_secs(30));
    let recorded = world.announce();
    let now = world.now;
    world.nodes[0].lose(Record::Counters);
    world.nodes[0].restart(now);
    world.run(Duration::from_secs(60));
    assert!(world.nodes[0].stored_keys().is_some());
    let from = world.keys.place.distributor;
    world.inject_to_group(from, &recorded);
    assert!(!world.nodes[0].agent.reception().has_heard_distributor(), "from before");
    world.announce();
    assert!(world.nodes[0].agent.reception().has_heard_distributor(), "from now");
}

#[test]
fn an_answer_that_is_lost_costs_neither_a_sender_id_nor_five_minutes() {
    let mut world = World::new(40);
    world.loss_percent = 15;
    world.run(Duration::from_secs(60));
    let now = world.now;
    for node in &mut world.nodes {
        node.lose(Record::Counters);
        node.restart(now);
    }
    world.run(Duration::from_secs(250));
    let left = world.nodes.iter().filter(|node| node.stored_keys().is_none()).count();
    assert_eq!(left, 0);
    assert_eq!(usize::from(world.last_given - 0xc000), 40, "one each");
    world.check_nonces();
}

#[test]
fn a_member_that_crashes_at_any_time_while_it_recovers_uses_no_number_twice() {
    for after in (0..14_000).step_by(100) {
        let mut world = World::new(1);
        world.run(Duration::from_secs(30));
        world.nodes[0].lose(Record::Counters);
        let now = world.now;
        world.nodes[0].restart(now);
        world.run(Duration::from_millis(after));
        let now = world.now;
        world.nodes[0].restart(now);
        world.run(Duration::from_secs(400));
        assert!(world.nodes[0].stored_keys().is_some(), "{after} ms");
        assert!(world.last_given <= 0xc002, "{after} ms");
        world.check_nonces();
    }
}

#[test]
fn a_rekey_does_not_speak_for_a_member_that_has_lost_count() {
    let mut world = World::new(1);
    world.run(Duration::from_secs(30));
    world.nodes[0].lose(Record::Counters);
    let now = world.now;
    world.nodes[0].restart(now);
    // New keys come before it has asked. It may have had them already.
    world.rekey();
    world.run(Duration::from_secs(120));
    let (id, _) = world.nodes[0].stored_keys().unwrap();
    assert_eq!(id.as_bytes(), [0xc0, 1]);
    assert_eq!(world.done(), 1);
    world.check_nonces();
}

/// The power of the whole building fails; then everybody asks, and those without counters ask for more.
#[test]
fn a_thousand_members_come_back_from_a_power_failure_within_the_rate_of_their_group() {
    for (rate, without_counters, within) in [(1_000_000, 0, 90), (1_000_000, 1000, 120), (500_000, 0, 120)] {
        let mut world = World::new(1000);
        (world.loss_percent, world.rate) = (5, rate);
        world.start_manager();
        world.run(Duration::from_secs(120));
        world.by_second.clear();
        let (start, now) = (world.now, world.now);
        // The Group Manager was in that building too.
        world.start_manager();
        for node in &mut world.nodes {
            if node.index < without_counters {
                node.lose(Record::Counters);
            }
            node.restart(now);
        }
        let answered = |world: &World| {
            let is_there =
                |node: &common::Node| node.index >= without_counters || node.stored_keys().is_some();
            world.nodes.iter().filter(|node| is_there(node) && node.agent.has_answer()).count()
        };
        while answered(&world) < 1000 {
            world.run(Duration::from_millis(500));
            let count = answered(&world);
            assert!(world.now.since(start) < Duration::from_secs(within), "{count} of 1,000");
        }
        let busiest = world.by_second.values().max().unwrap() * 8;
        let took = world.now.since(start).as_secs_f64();
        eprintln!("{rate} bit/s, {without_counters} without counters: {took:.1} s, at most {busiest} bit/s");
        assert!(busiest as u64 <= rate, "{busiest} bit in one second");
        world.check_nonces();
    }
}
