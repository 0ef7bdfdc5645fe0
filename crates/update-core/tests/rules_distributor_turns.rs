//! The rules of the distributor's decisions, each under its name.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::Code;
use common::agent::agent_address;
use common::fleet::{self, Fleet};
use common::group::{self, Image, agent_id};
use common::wire::seen;
use update_core::census::{Query, State};
use update_core::distribution::{Distribution, Ending, Event, Input, Job, Stage};
use update_core::platform::{RollBackCause, Trial};
use update_core::time::{Duration, Instant};

#[test]
fn attempt_an_image_that_was_rolled_back_is_tried_again_only_by_a_retry() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 2);
    fleet.verdict =
        |index| if index == 0 { Trial::RolledBack(RollBackCause::Unhealthy) } else { Trial::Healthy };
    assert_eq!(fleet.run(), Ending::Done);
    let states: Vec<_> =
        fleet.distribution.agents().iter().map(update_core::distribution::Agent::state).collect();
    assert_eq!(states, [Some(State::RolledBack), Some(State::Confirmed)]);
    fleet.verdict = |_| Trial::Healthy;
    // Continuing with the same attempt changes nothing ...
    fleet.restart_distribution(fleet::config());
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!(fleet.agents[0].machine.state(), State::RolledBack);
    // ... a higher one does.
    let attempt = fleet.distribution.attempt() + 1;
    fleet.restart_distribution(update_core::distribution::DistributionConfig { attempt, ..fleet::config() });
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!(fleet.agents[0].machine.state(), State::Confirmed);
}

#[test]
fn attempt_that_a_reset_cut_off_is_raised_for_that_agent_alone() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 2);
    fleet.verdict =
        |index| if index == 1 { Trial::RolledBack(RollBackCause::Unhealthy) } else { Trial::Healthy };
    // The power fails at agent 0 between the saved attempt and the switch.
    fleet.agents[0].cut_before = Some(common::agent::Did::Activate(image.offer.digest.0));
    assert_eq!(fleet.run(), Ending::Done);
    assert_eq!(fleet.agents[0].machine.state(), State::Confirmed);
    assert_eq!(fleet.agents[1].machine.state(), State::RolledBack);
    let tries =
        fleet.agents[1].did.iter().filter(|did| matches!(did, common::agent::Did::Activate(_))).count();
    assert_eq!(tries, 1, "the higher attempt was not for the agent that rolled back");
    assert!(fleet.distribution.attempt() > 1);
}

#[test]
fn moment_activation_waits_for_its_delay_and_confirmation_for_both() {
    let image = Image::new(5, 3, 64);
    let config = update_core::distribution::DistributionConfig { delay_ms: 20_000, ..fleet::config() };
    let mut fleet = Fleet::with(&image, 2, config, None);
    let mut activated = None;
    while fleet.ending.is_none() {
        fleet.step(&mut |_| 1);
        if fleet.agents[0].machine.state() == State::Scheduled && activated.is_none() {
            activated = Some(fleet.now);
        }
    }
    let waited = fleet.now.since(activated.unwrap());
    assert!(waited >= Duration::from_secs(20) && waited < Duration::from_secs(24), "{waited:?}");
    assert!(fleet.agents.iter().all(|agent| agent.machine.state() == State::Confirmed));
}

#[test]
fn repair_what_many_miss_goes_by_multicast_and_the_last_few_by_unicast() {
    let image = Image::new(5, 300, 256);
    let mut fleet = Fleet::new(&image, 4);
    // In the first round everyone misses the same hundred blocks. In the second round one agent misses two of
    // them.
    let mut to_each = [0; 4];
    let ending = fleet.run_with(|passing| match passing.to_agent {
        Some(index) if passing.by_group && passing.bytes.len() > 250 => {
            to_each[index] += 1;
            let place = to_each[index];
            usize::from(!((100..200).contains(&place) || index == 2 && (360..362).contains(&place)))
        }
        _ => 1,
    });
    assert_eq!(ending, Ending::Done);
    let unicast: u32 = fleet.agents.iter().map(|agent| agent.machine.counters().stored_unicast).sum();
    assert_eq!(unicast, 2);
    let tallies = fleet.distribution.tallies();
    assert_eq!(tallies.blocks_unicast, 2);
    assert_eq!(tallies.blocks_multicast, 400);
    // Four agents missed 300 blocks each and then 100 of them. Of those, one agent still missed two.
    assert_eq!((tallies.blocks_awaited, tallies.blocks_missed), (4 * 300 + 4 * 100, 4 * 100 + 2));
    assert!(fleet.events.contains(&Event::Stage(Stage::Repair)));
}

#[test]
fn repair_bytes_come_from_the_file_only_while_they_are_those_that_were_signed() {
    let image = Image::new(5, 9, 64);
    let mut fleet = Fleet::new(&image, 1);
    fleet.file[4 * 64] ^= 1;
    assert_eq!(fleet.run(), Ending::ImageUnreadable);
    let blocks = seen(&fleet).iter().filter(|seen| seen.path.ends_with("/image")).count();
    assert_eq!(blocks, 4, "nothing wrong was sent");
    assert_eq!(fleet.agents[0].machine.counters().hash_mismatches, 0);
}

#[test]
fn census_a_transfer_closes_on_evidence_and_only_the_silent_are_lost() {
    let image = Image::new(5, 20, 64);
    let mut fleet = Fleet::new(&image, 3);
    fleet.off[1] = true;
    assert_eq!(fleet.run(), Ending::Done);
    let lost: Vec<_> = fleet.events.iter().filter(|event| matches!(event, Event::Lost(_))).collect();
    assert!(!lost.is_empty() && lost.iter().all(|event| **event == Event::Lost(agent_id(1))), "{lost:?}");
    assert!(fleet.distribution.agents()[1].lost);
    assert_eq!(fleet.agents[0].machine.state(), State::Confirmed);
    // It was asked more than once before it was given up.
    let queries = seen(&fleet).iter().filter(|seen| seen.path == "/fw/status").count();
    assert!(queries > 10, "{queries}");
}

#[test]
fn census_who_falls_silent_at_the_end_is_polled_by_unicast() {
    let image = Image::new(5, 20, 64);
    let mut undisturbed = Fleet::new(&image, 3);
    undisturbed.run();
    let puts = seen(&undisturbed).iter().filter(|seen| seen.code == Code::PUT).count();
    let mut fleet = Fleet::new(&image, 3);
    // Agent 1 hears nothing by multicast once it has everything, but can be reached by unicast.
    let mut heard = 0;
    let ending = fleet.run_with(|passing| {
        let to_it = passing.to_agent == Some(1) && passing.by_group;
        let silent = to_it && heard == puts;
        heard += usize::from(to_it && passing.bytes.len() > 150);
        usize::from(!silent)
    });
    assert_eq!(ending, Ending::Done);
    let polls = fleet.sent.iter().filter(|(to, _)| *to == agent_address(1)).count();
    assert!(polls > 0);
}

#[test]
fn census_nobody_there_ends_it() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 3);
    fleet.off = vec![true; 3];
    assert_eq!(fleet.run(), Ending::NobodyAnswered);
    assert!(fleet.now < Instant::from_micros(120_000_000));
    // RFC 10020 section 3.6: almost nothing is sent when nobody answers.
    let bytes: usize = fleet.sent.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < 30_000, "{bytes}");
}

#[test]
fn census_alone_tells_what_everyone_is_doing() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::with(&image, 3, fleet::config(), Some(Job::Census { rounds: 1 }));
    fleet.off[2] = true;
    assert_eq!(fleet.run(), Ending::Done);
    let agents = fleet.distribution.agents();
    assert_eq!(agents[0].state(), Some(State::Idle));
    assert!(agents[0].status.unwrap().counters.is_some());
    assert!(agents[2].lost && agents[2].status.is_none());
    assert!(fleet.now < Instant::from_micros(10_000_000), "{:?}", fleet.now);
}

#[test]
fn census_leisure_is_s_times_g_over_r() {
    let image = Image::new(5, 1, 64);
    for (agents, rate, at_least, at_most) in [(2, 10_000_000, 10, 10), (40, 250_000, 150, 250)] {
        let config = update_core::distribution::DistributionConfig { rate, ..fleet::config() };
        let mut fleet = Fleet::with(&image, agents, config, None);
        fleet.run();
        let query = seen(&fleet).into_iter().find(|seen| seen.path == "/fw/status").unwrap();
        let leisure = Query::decode(&query.payload).unwrap().leisure_ms;
        assert!((at_least..=at_most).contains(&leisure), "{agents} agents at {rate}: {leisure} ms");
    }
}

#[test]
fn target_the_ended_are_not_asked_again() {
    let image = Image::new(5, 3, 64);
    let mut fleet = Fleet::new(&image, 4);
    // Agent 3 takes a long time to prove healthy.
    fleet.verdict = |index| if index == 3 { Trial::Running } else { Trial::Healthy };
    while fleet.now < Instant::from_micros(5_000_000) {
        fleet.step(&mut |_| 1);
    }
    let last = seen(&fleet).into_iter().rfind(|seen| seen.path == "/fw/status").unwrap();
    let query = Query::decode(&last.payload).unwrap();
    for index in 0..4 {
        assert_eq!(query.target.matches(agent_id(index), &group::name(index)), index == 3, "{index}");
    }
}

#[test]
fn pace_no_more_than_the_rate_leaves() {
    let image = Image::new(5, 200, 1024);
    let config = update_core::distribution::DistributionConfig { rate: 1_000_000, ..fleet::config() };
    let mut fleet = Fleet::with(&image, 2, config, None);
    let mut at = Vec::new();
    fleet.run_with(|passing| {
        if passing.to_agent == Some(0) {
            at.push((passing.now.as_micros(), (passing.bytes.len() as u64 + 42) * 8));
        }
        1
    });
    let seconds = at.last().unwrap().0 as f64 / 1e6;
    let bits: u64 = at.iter().map(|(_, bits)| bits).sum();
    assert!(bits as f64 / seconds <= 1_000_000.0, "{bits} bits in {seconds} s");
    // Nor in any tenth of a second, except for the burst that makes up for a late wake-up.
    for (index, (start, _)) in at.iter().enumerate() {
        let within = at[index..].iter().take_while(|(moment, _)| moment - start < 100_000);
        let bits: u64 = within.map(|(_, bits)| bits).sum();
        assert!(bits <= 100_000 + 10_000 + 10_000, "{bits} bits after {start}");
    }
}

#[test]
fn pace_is_lowered_when_even_the_best_agent_loses_and_kept_when_one_does() {
    for (everyone, lowered) in [(true, true), (false, false)] {
        let image = Image::new(5, 600, 64);
        let mut fleet = Fleet::new(&image, 3);
        let mut lowest = fleet.distribution.rate();
        let mut dice = update_core::random::Random::new(1);
        let mut fate = |passing: &fleet::Passing<'_>| {
            let lost = dice.next_u64().is_multiple_of(3);
            let victim = everyone || passing.to_agent == Some(0);
            let is_block = passing.by_group && passing.bytes.len() > 150;
            usize::from(!(victim && is_block && lost))
        };
        while fleet.ending.is_none() {
            fleet.step(&mut fate);
            lowest = lowest.min(fleet.distribution.rate());
        }
        assert_eq!(lowest < 10_000_000, lowered, "{lowest}");
        assert!(fleet.agents.iter().all(|agent| agent.machine.state() == State::Confirmed));
    }
}

#[test]
fn stopped_and_started_again_it_goes_on_where_it_was() {
    let image = Image::new(5, 100, 64);
    let mut fleet = Fleet::new(&image, 2);
    while fleet.agents[0].machine.progress().0 < 60 {
        fleet.step(&mut |_| 1);
    }
    fleet.distribution.stop();
    fleet.drive(&mut |_| 1);
    fleet.reserved_end = fleet.distribution.next_sequence_number();
    fleet.floors = fleet.distribution.floors().into_iter().collect();
    fleet.restart_distribution(fleet::config());
    assert_eq!(fleet.run(), Ending::Done);
    assert!(fleet.distribution.tallies().blocks_multicast <= 41, "{:?}", fleet.distribution.tallies());
    let distribution: &Distribution = &fleet.distribution;
    assert!(distribution.agents().iter().all(|agent| agent.state() == Some(State::Confirmed)));
}

#[test]
fn cancelled_everyone_drops_it() {
    let image = Image::new(5, 100, 64);
    let mut fleet = Fleet::new(&image, 2);
    while fleet.agents[0].machine.progress().0 < 60 {
        fleet.step(&mut |_| 1);
    }
    fleet.distribution.handle(fleet.now, Input::Cancel);
    assert_eq!(fleet.run(), Ending::Cancelled);
    assert!(fleet.agents.iter().all(|agent| agent.machine.state() == State::Failed));
}
