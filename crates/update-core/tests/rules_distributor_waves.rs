//! The rules of waves, parts of a group, and withdrawals, each under its name.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::fleet::{self, Fleet, Passing, coap_group};
use common::group::{self, Image, agent_id};
use common::wire::{Seen, seen, seen_in};
use group_oscore::{MemberId, SequenceNumbers};
use std::collections::BTreeSet;
use update_core::census::{Query, State};
use update_core::command::Command;
use update_core::digest::Digest;
use update_core::distribution::{
    Activate, Distribution, DistributionConfig, Ending, Event, Fate, Input, Job, Output,
};
use update_core::limits::TARGET_QUERY_BYTES_MAX;
use update_core::platform::{RollBackCause, Trial};
use update_core::random::Random;
use update_core::target::Target;
use update_core::time::{Duration, Instant};

fn only(wave: &[usize]) -> DistributionConfig {
    let wave = wave.iter().map(|index| agent_id(*index)).collect();
    DistributionConfig { activate: Activate::Only(wave), ..fleet::config() }
}

fn nobody() -> DistributionConfig {
    DistributionConfig { activate: Activate::Nobody, ..fleet::config() }
}

fn states(fleet: &Fleet<'_>) -> Vec<State> {
    fleet.agents.iter().map(|agent| agent.machine.state()).collect()
}

fn fates(fleet: &Fleet<'_>) -> Vec<Fate> {
    fleet.distribution.agents().iter().map(update_core::distribution::Agent::fate).collect()
}

/// Whether a request is for this agent. A request that names no agent is for everyone.
fn is_for(seen: &Seen, id: MemberId) -> bool {
    let name = Digest([0; 32]);
    match seen.path.as_str() {
        "/fw/status" => Query::decode(&seen.payload).unwrap().target.matches(id, &name),
        "/fw/activate" | "/fw/cancel" => Command::decode(&seen.payload).unwrap().target.matches(id, &name),
        _ if seen.query.is_empty() => true,
        _ => {
            let mut cbor = [0; TARGET_QUERY_BYTES_MAX];
            Target::from_query(&seen.query, &mut cbor).unwrap().matches(id, &name)
        }
    }
}

#[test]
fn target_who_is_outside_of_a_part_neither_takes_it_up_nor_answers() {
    for block_bytes in [64, 1024] {
        let image = Image::new(5, 9, block_bytes);
        let config = DistributionConfig { everyone: false, ..fleet::config() };
        let mut fleet = Fleet::with_part(&image, 4, 2, config, None);
        let mut dice = Random::new(3);
        let ending = fleet.run_with(|passing| {
            assert!(
                passing.from_agent.is_none_or(|index| index < 2),
                "agent {:?} answers",
                passing.from_agent
            );
            usize::from(!dice.next_u64().is_multiple_of(4))
        });
        assert_eq!(ending, Ending::Done);
        assert_eq!(states(&fleet), [State::Confirmed, State::Confirmed, State::Idle, State::Idle]);
        let requests = seen(&fleet);
        let offers = requests.iter().filter(|seen| seen.path.ends_with("/manifest"));
        assert!(offers.count() > 0);
        for seen in requests.iter().filter(|seen| !seen.path.ends_with("/image")) {
            assert!(seen.path.ends_with("/hashes") || !is_for(seen, agent_id(3)), "{}", seen.path);
        }
    }
}

#[test]
fn target_a_census_of_a_part_asks_nobody_else() {
    let image = Image::new(5, 9, 64);
    let config = DistributionConfig { everyone: false, ..fleet::config() };
    let mut fleet = Fleet::with_part(&image, 3, 2, config, Some(Job::Census { rounds: 1 }));
    let ending = fleet.run_with(|passing| {
        assert!(passing.from_agent.is_none_or(|index| index < 2));
        1
    });
    assert_eq!(ending, Ending::Done);
    assert!(fleet.distribution.agents().iter().all(|agent| agent.state() == Some(State::Idle)));
}

#[test]
fn target_a_part_that_one_does_not_name_is_named_in_several() {
    let image = Image::new(5, 9, 1024);
    let ids: Vec<MemberId> =
        (0..6_000_u32).map(|index| MemberId::new(&(500 + index * 7).to_be_bytes()[1..]).unwrap()).collect();
    let config = DistributionConfig { everyone: false, ..fleet::config() };
    let numbers = SequenceNumbers::new(0, 1 << 30);
    let context = group::distributor_context_of(numbers, &ids);
    let mut now = Instant::from_micros(0);
    let mut distribution = Distribution::new(config, context, Job::Update(image.update()), 1, now);
    let mut buffer = [0; 1232];
    let mut sent = Vec::new();
    loop {
        match distribution.poll(now, &mut buffer) {
            Output::Transmit { to, len, .. } if to == coap_group() => sent.push(buffer[..len].to_vec()),
            Output::Reserve(reservation) => distribution.handle(now, Input::Reserved(reservation)),
            // Nobody answers, so it ends.
            Output::Wait(None) => break,
            Output::Wait(Some(until)) => now = until.max(now + Duration::from_micros(1)),
            _ => {}
        }
    }
    for path in ["/manifest", "/status"] {
        let requests = seen_in(sent.iter());
        let requests: Vec<&Seen> = requests.iter().filter(|seen| seen.path.ends_with(path)).collect();
        assert!(requests.len() > 4, "{path}: {}", requests.len());
        for id in &ids {
            assert!(requests.iter().any(|seen| is_for(seen, *id)), "{path} leaves {id:?} out");
        }
        let outside = MemberId::new(&[0, 1, 0xf5]).unwrap();
        assert!(requests.iter().all(|seen| !is_for(seen, outside)));
    }
}

#[test]
fn waves_only_who_is_named_activates_and_the_others_stay_ready() {
    let image = Image::new(5, 9, 64);
    let mut fleet = Fleet::with(&image, 5, only(&[1, 3]), None);
    assert_eq!(fleet.run(), Ending::Done);
    let wanted = [State::Ready, State::Confirmed, State::Ready, State::Confirmed, State::Ready];
    assert_eq!(states(&fleet), wanted);
    for seen in seen(&fleet).iter().filter(|seen| seen.path == "/fw/activate") {
        assert!(!is_for(seen, agent_id(0)) && is_for(seen, agent_id(1)));
    }
    // Once the wave is on trial, no other agent is asked.
    let requests = seen(&fleet);
    let activated = requests.iter().rposition(|seen| seen.path == "/fw/activate").unwrap();
    let asks = requests[activated..].iter().filter(|seen| seen.path == "/fw/status");
    assert!(asks.clone().count() > 0 && asks.clone().all(|seen| !is_for(seen, agent_id(0))));
}

#[test]
fn waves_one_after_another_with_loss_activate_each_agent_once_and_use_no_number_twice() {
    let image = Image::new(5, 40, 64);
    let mut dice = Random::new(7);
    let mut loss = move |_: &Passing<'_>| usize::from(!dice.next_u64().is_multiple_of(5));
    let mut fleet = Fleet::with(&image, 7, nobody(), None);
    assert_eq!(fleet.run_with(&mut loss), Ending::Done);
    assert_eq!(states(&fleet), [State::Ready; 7]);
    let mut done = 0;
    for wave in [&[0][..], &[1, 2], &[3, 4, 5, 6]] {
        fleet.restart_distribution(only(wave));
        assert_eq!(fleet.run_with(&mut loss), Ending::Done);
        done += wave.len();
        let confirmed = states(&fleet).iter().filter(|state| **state == State::Confirmed).count();
        assert_eq!(confirmed, done);
        // While a wave soaks, the others catch up and everyone is asked. Nothing else happens.
        fleet.restart_distribution(nobody());
        assert_eq!(fleet.run_with(&mut loss), Ending::Done);
        let known = fleet.distribution.agents().iter();
        assert_eq!(known.filter(|agent| agent.state() == Some(State::Confirmed)).count(), done);
    }
    for agent in &fleet.agents {
        let activations =
            agent.did.iter().filter(|did| matches!(did, common::agent::Did::Activate(_))).count();
        assert_eq!(activations, 1);
    }
    let numbers: Vec<u64> = seen(&fleet).iter().map(|seen| seen.piv).collect();
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len());
}

#[test]
fn waves_wait_for_nobody_outside_and_lose_only_their_own() {
    let image = Image::new(5, 9, 64);
    let mut fleet = Fleet::with(&image, 4, nobody(), None);
    fleet.off = vec![false, false, true, true];
    assert_eq!(fleet.run(), Ending::Done);
    // Agent 2, in the wave, and agent 3, outside it, are absent.
    fleet.events.clear();
    let began = fleet.now;
    let transfer_within = Duration::from_secs(90);
    fleet.restart_distribution(DistributionConfig { transfer_within, ..only(&[0, 2]) });
    while states(&fleet)[0] != State::Confirmed {
        fleet.step(&mut |_| 1);
        assert!(fleet.now.since(began) < Duration::from_secs(10), "{:?}", fleet.now.since(began));
    }
    assert_eq!(fleet.run(), Ending::Done);
    assert!(fleet.now.since(began) < Duration::from_secs(61), "{:?}", fleet.now.since(began));
    assert_eq!(states(&fleet)[..2], [State::Confirmed, State::Ready]);
    let lost: BTreeSet<MemberId> = fleet
        .events
        .iter()
        .filter_map(|event| if let Event::Lost(id) = event { Some(*id) } else { None })
        .collect();
    assert_eq!(lost, BTreeSet::from([agent_id(2)]));
}

#[test]
fn waves_a_late_joiner_outside_is_served_while_the_wave_is_on_trial() {
    let image = Image::new(5, 60, 64);
    let mut fleet = Fleet::with(&image, 3, nobody(), None);
    fleet.off[2] = true;
    assert_eq!(fleet.run(), Ending::Done);
    fleet.off[2] = false;
    fleet.restart_distribution(only(&[0]));
    fleet.verdict = |_| Trial::Running;
    while fleet.agents[0].machine.state() != State::Trial {
        fleet.step(&mut |_| 1);
    }
    assert!(fleet.agents[2].machine.progress().0 < 60, "the wave did not wait for it");
    let ordered = fleet.now;
    while fleet.agents[2].machine.state() != State::Ready {
        fleet.step(&mut |_| 1);
        assert!(fleet.now.since(ordered) < Duration::from_secs(10), "{:?}", states(&fleet));
    }
    assert_eq!(fleet.ending, None);
    fleet.verdict = |_| Trial::Healthy;
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!(states(&fleet), [State::Confirmed, State::Ready, State::Ready]);
}

#[test]
fn waves_end_with_their_trials_also_in_the_middle_of_a_round_for_others() {
    let image = Image::new(5, 2_000, 256);
    let mut fleet = Fleet::with(&image, 2, nobody(), None);
    fleet.off[1] = true;
    assert_eq!(fleet.run(), Ending::Done);
    fleet.off[1] = false;
    // A round for agent 1 alone takes minutes.
    fleet.restart_distribution(DistributionConfig { rate: 40_000, ..only(&[0]) });
    let began = fleet.now;
    assert_eq!(fleet.run(), Ending::Done);
    assert!(fleet.now.since(began) < Duration::from_secs(40), "{:?}", fleet.now.since(began));
    assert_eq!(states(&fleet)[0], State::Confirmed);
    assert!(fleet.agents[1].machine.progress().0 < 2_000);
}

/// A group of five in the middle of a rollout: on trial, confirmed, ready, without the last blocks, and
/// absent.
fn in_the_middle(image: &Image) -> Fleet<'_> {
    let mut fleet = Fleet::with(image, 5, nobody(), None);
    fleet.off[4] = true;
    let last = |passing: &Passing<'_>| {
        passing.to_agent == Some(3) && passing.by_group && passing.bytes.len() > 1_000
    };
    let mut blocks = 0;
    let ended = |fleet: &Fleet<'_>| fleet.ending.is_some() || fleet.now > Instant::from_micros(20_000_000);
    while !ended(&fleet) {
        fleet.step(&mut |passing| {
            blocks += usize::from(last(passing));
            usize::from(passing.to_agent != Some(3) || passing.by_group && !(last(passing) && blocks > 5))
        });
    }
    fleet.distribution.stop();
    fleet.drive(&mut |_| 1);
    fleet.reserved_end = fleet.distribution.next_sequence_number();
    fleet.floors = fleet.distribution.floors().into_iter().collect();
    fleet.restart_distribution(only(&[0, 1]));
    fleet.verdict = |index| if index == 0 { Trial::Running } else { Trial::Healthy };
    while states(&fleet)[..2] != [State::Trial, State::Confirmed] {
        fleet.step(&mut |passing| usize::from(!last(passing)));
    }
    assert_eq!(states(&fleet)[2..4], [State::Ready, State::Blocks]);
    fleet
}

#[test]
fn cancelled_it_says_what_became_of_each_agent_and_nobody_takes_it_up_again() {
    let image = Image::new(5, 9, 1024);
    let mut fleet = in_the_middle(&image);
    fleet.distribution.handle(fleet.now, Input::Cancel);
    let mut dice = Random::new(5);
    let ending = fleet.run_with(|_| usize::from(!dice.next_u64().is_multiple_of(4)));
    assert_eq!(ending, Ending::Cancelled);
    let wanted = [Fate::OnTrial, Fate::Confirmed, Fate::Dropped, Fate::Dropped, Fate::Silent];
    assert_eq!(fates(&fleet), wanted);
    for agent in &mut fleet.agents[..4] {
        agent.sent.clear();
        agent.pass(Duration::from_secs(120));
        assert!(agent.sent.is_empty());
    }
    let wanted = [State::Trial, State::Confirmed, State::Failed, State::Failed, State::Idle];
    assert_eq!(states(&fleet), wanted);
}

#[test]
fn cancelled_right_after_a_start_it_reaches_whoever_acted_upon_higher_attempts() {
    let image = Image::new(5, 9, 64);
    let mut fleet = Fleet::with(&image, 2, DistributionConfig { attempt: 7, ..only(&[0]) }, None);
    fleet.verdict = |_| Trial::RolledBack(RollBackCause::Unhealthy);
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!(states(&fleet), [State::RolledBack, State::Ready]);
    fleet.restart_distribution(fleet::config());
    fleet.distribution.handle(fleet.now, Input::Cancel);
    assert_eq!(fleet.run(), Ending::Cancelled);
    assert_eq!(fates(&fleet), [Fate::RolledBack, Fate::Dropped]);
}

/// The distributor's program is restarted and has lost the image.
fn with_the_name_alone(fleet: &mut Fleet<'_>, job: fn(Digest) -> Job) {
    fleet.restart_distribution_with(fleet::config(), job(fleet.image.offer.digest));
    fleet.file.clear();
    fleet.sent.clear();
}

#[test]
fn cancelled_by_its_name_alone_nobody_is_offered_anything() {
    let image = Image::new(5, 9, 1024);
    let mut fleet = in_the_middle(&image);
    with_the_name_alone(&mut fleet, Job::Cancel);
    let mut dice = Random::new(5);
    let ending = fleet.run_with(|_| usize::from(!dice.next_u64().is_multiple_of(4)));
    assert_eq!(ending, Ending::Cancelled);
    let wanted = [Fate::OnTrial, Fate::Confirmed, Fate::Dropped, Fate::Dropped, Fate::Silent];
    assert_eq!(fates(&fleet), wanted);
    let paths: BTreeSet<String> = seen(&fleet).into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["/fw/cancel", "/fw/status"]);
}

#[test]
fn undone_by_its_name_alone_agents_that_fetch_get_nothing_and_hold_up_nothing() {
    let image = Image::new(5, 9, 1024);
    let mut fleet = in_the_middle(&image);
    with_the_name_alone(&mut fleet, Job::Undo);
    let mut dice = Random::new(6);
    let ending = fleet.run_with(|_| usize::from(!dice.next_u64().is_multiple_of(4)));
    assert_eq!(ending, Ending::Undone);
    assert_eq!(fates(&fleet)[..3], [Fate::RolledBack, Fate::Confirmed, Fate::Held]);
}

#[test]
fn cancelled_for_a_part_it_stays_with_the_others() {
    let image = Image::new(5, 9, 64);
    let mut fleet = Fleet::with(&image, 3, nobody(), None);
    assert_eq!(fleet.run(), Ending::Done);
    let config = DistributionConfig { everyone: false, ..nobody() };
    fleet.floors.remove(&agent_id(2));
    fleet.restart_distribution(config);
    fleet.distribution.handle(fleet.now, Input::Cancel);
    assert_eq!(fleet.run(), Ending::Cancelled);
    assert_eq!(states(&fleet), [State::Failed, State::Failed, State::Ready]);
    assert_eq!(fates(&fleet), [Fate::Dropped; 2]);
}

#[test]
fn undone_only_who_is_on_trial_goes_back() {
    let image = Image::new(5, 9, 1024);
    let mut fleet = in_the_middle(&image);
    fleet.distribution.handle(fleet.now, Input::Undo);
    let mut dice = Random::new(6);
    let ending = fleet.run_with(|_| usize::from(!dice.next_u64().is_multiple_of(4)));
    assert_eq!(ending, Ending::Undone);
    assert_eq!(fates(&fleet), [Fate::RolledBack, Fate::Confirmed, Fate::Held, Fate::Held, Fate::Silent]);
    let status = fleet.distribution.agents()[0].status.unwrap();
    assert_eq!(status.reason, RollBackCause::Ordered as u8);
    for seen in seen(&fleet).iter().filter(|seen| seen.path == "/fw/cancel") {
        assert!(Command::decode(&seen.payload).unwrap().from_trial);
        assert!((0..5).all(|index| is_for(seen, agent_id(index)) == (index == 0)));
    }
    // Continuing with the attempt that this used tries nothing again.
    let attempt = fleet.distribution.attempt();
    fleet.verdict = |_| Trial::Healthy;
    fleet.restart_distribution(DistributionConfig { attempt, ..only(&[0, 2]) });
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!(states(&fleet)[..3], [State::RolledBack, State::Confirmed, State::Confirmed]);
}

#[test]
fn undone_after_a_restart_of_the_distributor_too() {
    let image = Image::new(5, 9, 64);
    let mut fleet = Fleet::with(&image, 2, only(&[0]), None);
    fleet.verdict = |_| Trial::Running;
    while fleet.agents[0].machine.state() != State::Trial {
        fleet.step(&mut |_| 1);
    }
    // It was killed. The numbers that it had reserved are lost.
    fleet.restart_distribution(nobody());
    fleet.distribution.handle(fleet.now, Input::Undo);
    assert_eq!(fleet.run(), Ending::Undone);
    assert_eq!(fates(&fleet), [Fate::RolledBack, Fate::Held]);
}
