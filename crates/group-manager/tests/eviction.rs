//! Who is evicted is refused everything.
#![allow(clippy::unwrap_used)]

mod common;

use common::World;
use update_core::reception::Event;
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
