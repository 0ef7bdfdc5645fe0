//! Whole distributions under faults, one kind of fault at a time. `tests/src/world` mixes them.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::agent::{Agent, Did};
use common::fleet::{Fleet, coap_group};
use common::group::{Image, Speaker};
use update_core::census::State;
use update_core::digest::Digest;
use update_core::distribution::{Ending, Event as Fact};
use update_core::platform::{Area, Record};
use update_core::random::Random;
use update_core::reception::{Event, Failure, Via};
use update_core::time::{Duration, Instant};

/// Every agent runs exactly what was signed.
fn all_confirmed(fleet: &Fleet<'_>) {
    for agent in &fleet.agents {
        assert_eq!(agent.machine.state(), State::Confirmed, "agent {}", agent.index);
        assert_eq!(agent.durable.image, fleet.image.bytes);
        assert!(agent.did.contains(&Did::Activate(fleet.image.offer.digest.0)));
    }
}

#[test]
fn a_restart_at_each_step_of_an_update_of_64_blocks() {
    let image = Image::new(5, 64, 64);
    let mut whole = Fleet::new(&image, 1);
    assert_eq!(whole.run(), Ending::Done);
    let steps = whole.agents[0].steps;
    assert!(steps > 300, "{steps}");
    for step in 2..=steps {
        let mut fleet = Fleet::new(&image, 1);
        fleet.agents[0].cut_at = Some(step);
        let ending = fleet.run();
        assert_eq!(
            (ending, fleet.agents[0].machine.state()),
            (Ending::Done, State::Confirmed),
            "step {step}"
        );
        all_confirmed(&fleet);
        // What was durable is not fetched again: at most one batch is lost.
        let agent = &fleet.agents[0];
        let blocks = agent.did.iter().filter(|did| matches!(did, Did::Write(Area::Image, ..))).count();
        assert!(blocks <= 2 * 64, "step {step}: {blocks} blocks written");
    }
}

#[test]
fn a_replay_of_the_whole_capture_after_a_restart_delivers_nothing() {
    let image = Image::new(5, 20, 64);
    let mut fleet = Fleet::new(&image, 2);
    assert_eq!(fleet.run(), Ending::Done);
    let capture = std::mem::take(&mut fleet.sent);
    for agent in &mut fleet.agents {
        agent.restart(true);
        agent.pass(Duration::from_secs(100));
        agent.events.clear();
        agent.sent.clear();
        let did = agent.did.len();
        for (to, datagram) in &capture {
            agent.hear(if *to == coap_group() { Via::Group } else { Via::Own }, datagram);
        }
        agent.pass(Duration::from_secs(10));
        assert!(agent.events.iter().all(|event| matches!(event, Event::Discarded(_))), "{:?}", agent.events);
        assert_eq!((agent.did.len(), agent.sent.len()), (did, 0));
        assert_eq!(agent.machine.state(), State::Confirmed);
    }
}

#[test]
fn a_late_joiner_gets_all_of_it() {
    let image = Image::new(5, 400, 256);
    let mut fleet = Fleet::new(&image, 3);
    fleet.off[2] = true;
    let mut begun = false;
    while fleet.ending.is_none() {
        fleet.step(&mut |_| 1);
        if !begun && fleet.agents[0].machine.progress().0 > 200 {
            begun = true;
            fleet.off[2] = false;
            fleet.agents[2].now = fleet.now;
            fleet.agents[2].run();
        }
    }
    assert_eq!(fleet.ending, Some(Ending::Done));
    all_confirmed(&fleet);
    // The others have everything from the first round. The rest is sent once more, and the offer is fetched.
    assert!(fleet.distribution.tallies().blocks_multicast <= 800, "{:?}", fleet.distribution.tallies());
}

#[test]
fn duplicates_and_disorder_change_nothing() {
    let image = Image::new(5, 40, 256);
    let mut speaker = Speaker::distributor(1);
    let mut datagrams = speaker.everything(&image);
    let mut dice = Random::new(9);
    for _ in 0..20 {
        // Everything three times, in random order.
        let mut stream: Vec<&Vec<u8>> = datagrams.iter().chain(&datagrams).chain(&datagrams).collect();
        for index in (1..stream.len()).rev() {
            stream.swap(index, (dice.next_u64() % (index as u64 + 1)) as usize);
        }
        let mut agent = Agent::new(0);
        stream.iter().for_each(|datagram| agent.hear(Via::Group, datagram));
        // A repeated datagram is a replay, so blocks that came too early arrive again in new requests.
        while agent.machine.state() != State::Ready {
            datagrams = speaker.everything(&image);
            datagrams.reverse();
            agent.hear_all(&datagrams);
        }
        assert_eq!(agent.store.image, image.bytes);
        assert_eq!(agent.store.pages, image.pages);
        let writes = agent.did.iter().filter(|did| matches!(did, Did::Write(..))).count() as u32;
        assert_eq!(writes, image.count(Area::Image) + image.count(Area::Pages), "each of them once");
        datagrams = speaker.everything(&image);
    }
}

#[test]
fn an_offer_of_several_blocks_arrives_in_any_order_and_by_unicast() {
    for block_bytes in [64, 128, 256] {
        let image = Image::new(5, 9, block_bytes);
        let blocks = image.envelope.len().div_ceil(block_bytes as usize);
        assert!(blocks > 1);
        let mut speaker = Speaker::distributor(1);
        let mut offer = speaker.offer(&image);
        offer.reverse();
        let mut agent = Agent::new(0);
        agent.hear_all(&offer[..blocks - 1]);
        assert_eq!(agent.machine.state(), State::Idle);
        agent.hear_all(&offer[blocks - 1..]);
        assert_eq!(agent.machine.digest(), Some(image.offer.digest));
        // By unicast, because no offer arrives by multicast.
        let mut fleet = Fleet::new(&image, 2);
        let ending = fleet.run_with(|passing| {
            let early = passing.now < Instant::from_micros(1_000_000);
            let is_offer = passing.to_agent == Some(1) && passing.by_group && passing.bytes.len() > 130;
            usize::from(!(is_offer && early))
        });
        assert_eq!(ending, Ending::Done);
        all_confirmed(&fleet);
    }
}

#[test]
fn loss_of_any_kind_only_costs_time() {
    let image = Image::new(5, 100, 256);
    for loss in [10, 30, 50, 70] {
        let mut dice = Random::new(loss);
        let mut fleet = Fleet::new(&image, 4);
        let ending = fleet.run_with(|_| usize::from(dice.next_u64() % 100 >= loss));
        assert_eq!(ending, Ending::Done, "{loss} %");
        let ended =
            fleet.distribution.agents().iter().filter(|agent| agent.state() == Some(State::Confirmed));
        // At 70 % loss half of all exchanges fail ten times over; lost agents are named.
        let lost = fleet.distribution.agents().iter().filter(|agent| agent.lost).count();
        assert_eq!(ended.count() + lost, 4, "{loss} %");
        assert!(loss > 50 || lost == 0, "{loss} %: {lost} lost");
    }
}

#[test]
fn all_answers_lost_is_nobody_answered() {
    let image = Image::new(5, 10, 256);
    let mut fleet = Fleet::new(&image, 3);
    let ending = fleet.run_with(|passing| usize::from(passing.to_agent.is_some()));
    assert_eq!(ending, Ending::NobodyAnswered);
    assert!(fleet.agents.iter().all(|agent| agent.machine.state() != State::Trial));
    assert!(!fleet.events.iter().any(|event| matches!(event, Fact::Report(_))));
}

#[test]
fn a_wrongly_signed_digest_fails_everywhere_and_activates_nowhere() {
    let image = Image::with_digest(5, 20, 256, |digest| Digest::of(&digest.0));
    let mut fleet = Fleet::new(&image, 3);
    assert_eq!(fleet.run(), Ending::Done);
    for (agent, known) in fleet.agents.iter().zip(fleet.distribution.agents()) {
        assert_eq!(agent.machine.state(), State::Failed);
        assert_eq!(known.status.unwrap().reason, Failure::ImageDigest as u8);
        assert!(!agent.did.iter().any(|did| matches!(did, Did::Activate(_))));
    }
}

#[test]
fn a_medium_that_fails_now_and_then_is_tried_again() {
    let image = Image::new(5, 30, 256);
    let kinds: [fn(&Did) -> bool; 6] = [
        |did| matches!(did, Did::Save(Record::Update)),
        |did| matches!(did, Did::Prepare(..)),
        |did| matches!(did, Did::Write(Area::Image, 0x400, _)),
        |did| matches!(did, Did::Sync),
        |did| matches!(did, Did::Read(Area::Image, 0x400)),
        |did| matches!(did, Did::Settle | Did::Save(Record::Installed)),
    ];
    for (index, refuse) in kinds.into_iter().enumerate() {
        let mut fleet = Fleet::new(&image, 2);
        fleet.agents[0].refuse = refuse;
        let mut failures = 0;
        while fleet.ending.is_none() {
            fleet.step(&mut |_| 1);
            failures = fleet.agents[0].machine.counters().storage_failures;
            if failures == 2 {
                fleet.agents[0].refuse = |_| false;
            }
        }
        assert_eq!(failures, 2, "kind {index}");
        all_confirmed(&fleet);
    }
}

#[test]
fn a_medium_that_keeps_failing_ends_the_update_and_says_so() {
    let image = Image::new(5, 30, 256);
    let kinds: [fn(&Did) -> bool; 4] = [
        |did| matches!(did, Did::Save(Record::Update)),
        |did| matches!(did, Did::Prepare(..)),
        |did| matches!(did, Did::Write(Area::Image, 0x400, _)),
        |did| matches!(did, Did::Sync),
    ];
    for (index, refuse) in kinds.into_iter().enumerate() {
        let mut fleet = Fleet::new(&image, 2);
        fleet.agents[0].refuse = refuse;
        assert_eq!(fleet.run(), Ending::Done, "kind {index}");
        assert_eq!(fleet.agents[0].machine.state(), State::Failed, "kind {index}");
        let status = fleet.distribution.agents()[0].status.unwrap();
        assert_eq!((status.state, status.reason), (State::Failed, Failure::Storage as u8), "kind {index}");
        assert_eq!(fleet.agents[1].machine.state(), State::Confirmed);
        // The next run starts it over, and fails again.
        fleet.agents[0].did.clear();
        fleet.restart_distribution(common::fleet::config());
        assert_eq!(fleet.run(), Ending::Done, "kind {index}");
        assert_eq!(fleet.agents[0].machine.state(), State::Failed, "kind {index}");
        let tries = fleet.agents[0].did.iter().filter(|did| refuse(did)).count();
        assert!((1..=9).contains(&tries), "kind {index}: {tries} tries in one run");
        // Once the medium works again, the same image can be pushed, with and without a restart.
        fleet.agents[0].refuse = |_| false;
        if index % 2 == 0 {
            fleet.agents[0].now = fleet.now;
            fleet.agents[0].restart(true);
        }
        fleet.restart_distribution(common::fleet::config());
        assert_eq!(fleet.run(), Ending::Done, "kind {index}");
        all_confirmed(&fleet);
    }
}

#[test]
fn a_rotten_page_is_found_and_fetched_anew() {
    let image = Image::new(5, 40, 64);
    let slow = update_core::distribution::DistributionConfig { rate: 250_000, ..common::fleet::config() };
    let mut fleet = Fleet::with(&image, 2, slow, None);
    let mut rotten = false;
    while fleet.ending.is_none() {
        fleet.step(&mut |_| 1);
        if !rotten && (1..20).contains(&fleet.agents[0].machine.progress().0) {
            rotten = true;
            // The hash of block 30.
            let bottom = update_core::tree::TreeShape::new(image.offer.layout)
                .entry_of_leaf(update_core::block::BlockNumber(30));
            let (page, entry) = bottom.unwrap();
            fleet.agents[0].store.pages[page as usize * 64 + entry * 16] ^= 1;
        }
    }
    assert!(rotten);
    all_confirmed(&fleet);
}
