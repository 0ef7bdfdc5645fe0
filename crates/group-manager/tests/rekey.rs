//! New keys reach the members.
#![allow(clippy::unwrap_used)]

mod common;

use common::World;
use update_core::reception::Event;
use update_core::time::Duration;

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn members_that_have_asked_once_get_new_keys_without_asking() {
    let mut world = World::new(5);
    world.run(SECONDS(15));
    assert_eq!(world.heard.len(), 5, "each asks at its first start");
    world.rekey();
    world.run(SECONDS(5));
    assert_eq!(world.done(), 5);
    assert_eq!(world.confirmed.values().filter(|num| **num == 1).count(), 5);
    for node in &world.nodes {
        assert!(node.events.contains(&Event::Rekeyed { num: 1 }));
    }
    world.check_nonces();
}

#[test]
fn who_missed_any_number_of_rekeys_asks_when_it_hears_an_unknown_gid() {
    let mut world = World::new(4);
    world.run(SECONDS(15));
    for node in &mut world.nodes {
        node.is_on = false;
    }
    for _ in 0..7 {
        world.rekey();
        world.run(SECONDS(20));
    }
    // The Group Manager forgets what it knew of their addresses.
    world.heard.clear();
    world.start_manager();
    for node in &mut world.nodes {
        node.is_on = true;
    }
    world.announce();
    world.run(SECONDS(20));
    assert_eq!(world.done(), 4);
    world.check_nonces();
}

#[test]
fn who_was_switched_off_asks_when_it_starts() {
    let mut world = World::new(3);
    world.run(SECONDS(15));
    world.nodes[1].is_on = false;
    world.rekey();
    world.run(SECONDS(200));
    assert_eq!(world.done(), 2);
    world.nodes[1].is_on = true;
    let now = world.now;
    world.nodes[1].restart(now);
    world.run(SECONDS(15));
    assert_eq!(world.done(), 3);
    world.check_nonces();
}

#[test]
fn who_comes_back_at_another_port_in_the_middle_of_a_rekey_gets_the_keys() {
    let mut world = World::new(2);
    world.run(SECONDS(15));
    world.nodes[0].is_on = false;
    world.rekey();
    world.run(SECONDS(4));
    world.nodes[0].is_on = true;
    let now = world.now;
    world.nodes[0].restart_elsewhere(now);
    world.run(SECONDS(15));
    assert_eq!(world.done(), 2);
    assert_eq!(world.manager.as_ref().unwrap().progress(common::GROUP), (2, 2));
    world.check_nonces();
}

#[test]
fn a_restart_at_any_moment_of_a_rekey_loses_nothing_and_repeats_no_number() {
    for cut in 0..60 {
        let mut world = World::new(1);
        world.run(SECONDS(15));
        world.rekey();
        world.run(Duration::from_millis(cut));
        let now = world.now;
        world.nodes[0].restart(now);
        world.run(SECONDS(40));
        assert_eq!(world.done(), 1, "after {cut} ms");
        world.check_nonces();
    }
}

#[test]
fn the_group_manager_restarts_at_any_moment() {
    for cut in 0..60 {
        let mut world = World::new(2);
        world.run(SECONDS(15));
        world.rekey();
        world.run(Duration::from_millis(cut));
        world.stop_manager();
        world.run(SECONDS(1));
        world.start_manager();
        world.run(SECONDS(40));
        assert_eq!(world.done(), 2, "after {cut} ms");
        assert_eq!(world.manager.as_ref().unwrap().progress(common::GROUP), (2, 2), "after {cut} ms");
        world.check_nonces();
    }
}

#[test]
fn without_a_group_manager_members_keep_their_keys_and_ask_less_and_less_often() {
    let mut world = World::new(1);
    world.stop_manager();
    world.run(SECONDS(3600));
    assert_eq!(world.done(), 1);
    // 2 s doubled up to 1,024 s.
    assert!((8..=16).contains(&world.datagrams), "{} datagrams", world.datagrams);
    world.start_manager();
    world.rekey();
    world.run(SECONDS(1300));
    assert_eq!(world.done(), 1);
}

#[test]
fn a_thousand_members_get_new_keys_in_twice_the_time_that_the_bytes_take() {
    let mut world = World::new(1000);
    world.loss_percent = 5;
    world.run(SECONDS(60));
    // Three of ten are switched off.
    for index in 0..300 {
        world.nodes[index].is_on = false;
    }
    let (before, start) = (world.bytes, world.now);
    world.rekey();
    while world.done() < 700 {
        world.run(Duration::from_millis(100));
        assert!(world.now.since(start) < SECONDS(60), "{} of 700", world.done());
    }
    let took = world.now.since(start).as_secs_f64();
    let of_bytes = ((world.bytes - before) * 8) as f64 / world.rate as f64;
    eprintln!(
        "700 of 1,000: {took:.1} s, {of_bytes:.1} s of bytes, {} bytes each",
        (world.bytes - before) / 700
    );
    assert!(took <= 2.0 * of_bytes, "{took} s, and the bytes take {of_bytes} s");
    let now = world.now;
    for index in 0..300 {
        world.nodes[index].is_on = true;
        world.nodes[index].restart(now);
    }
    world.run(SECONDS(60));
    assert_eq!(world.done(), 1000);
    world.check_nonces();
}

#[test]
fn an_unknown_gid_makes_a_member_ask_at_most_once_in_five_minutes() {
    let mut world = World::new(1);
    world.run(SECONDS(15));
    let before = world.datagrams;
    // Anybody can make it: a Gid that this group never had.
    world.keys = common::keys(1);
    let mut forged = World::new(1);
    forged.rekey();
    for _ in 0..600 {
        let mut bytes = forged.announce();
        let (from, via) = (common::address("10.9.9.9:1"), update_core::reception::Via::Group);
        let now = world.now;
        let input = update_core::reception::Input::Datagram { from, via, bytes: &mut bytes };
        world.nodes[0].agent.handle(now, input);
        world.run(Duration::from_millis(500));
    }
    let asked = world.datagrams - before;
    assert!(asked <= 4, "{asked} datagrams in five minutes");
}
