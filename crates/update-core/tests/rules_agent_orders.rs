//! The rules for questions and orders to an agent, each under its name.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::agent::{Agent, Did, MILLIS, ready};
use common::fleet::Fleet;
use common::group::{self, Image, Speaker, order, question};
use group_oscore::Mode;
use update_core::census::{Query, State, Window};
use update_core::command::Command;
use update_core::device::Installed;
use update_core::platform::{Area, Record, RollBackCause, Trial};
use update_core::reception::{Event, Failure, RECOVERED, Via};
use update_core::resource::Resource;
use update_core::target::Target;
use update_core::time::Duration;

#[test]
fn target_decides_who_answers_and_who_acts() {
    let image = Image::new(5, 3, 64);
    let prefix = group::name(0).0;
    let ranges = [(1, 1), (7, 9)];
    let elsewhere = [(2, 3)];
    let bits = [0b0100_0000];
    let other = [0b1000_0000];
    let mut wrong = prefix;
    wrong[1] ^= 1;
    let cases = [
        (Target::All, true),
        (Target::NamePrefix { bits: 20, prefix: &prefix }, true),
        (Target::NamePrefix { bits: 16, prefix: &wrong }, false),
        (Target::Ranges(update_core::target::Ranges::Given(&ranges)), true),
        (Target::Ranges(update_core::target::Ranges::Given(&elsewhere)), false),
        (Target::Bitmap { first: 0, bits: &bits }, true),
        (Target::Bitmap { first: 0, bits: &other }, false),
    ];
    for (target, meant) in cases {
        let mut speaker = Speaker::distributor(1);
        let mut agent = ready(&mut speaker, &image);
        let (query, _) = speaker.query(Mode::Group, &Query { target, ..question(&image) });
        agent.hear(Via::Group, &query);
        agent.pass(MILLIS(1));
        assert_eq!(agent.sent.len(), usize::from(meant), "{target:?}");
        let command = Command { target, ..order(&image, 1) };
        let activation = speaker.command(Mode::Group, Resource::Activate, &command);
        agent.hear(Via::Group, &activation);
        let activated = agent.did.contains(&Did::Activate(image.offer.digest.0));
        assert_eq!(activated, meant, "{target:?}");
    }
}

#[test]
fn attempt_that_is_not_higher_is_ignored() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = ready(&mut speaker, &image);
    let activation = speaker.activate(&image, 3);
    agent.hear(Via::Group, &activation);
    agent.judge(Trial::RolledBack(RollBackCause::Unhealthy));
    assert_eq!(agent.stand(&mut speaker, &image), (State::RolledBack, RollBackCause::Unhealthy as u8));
    let count = |agent: &Agent| agent.did.iter().filter(|did| matches!(did, Did::Activate(_))).count();
    for attempt in [0, 1, 2, 3] {
        let activation = speaker.activate(&image, attempt);
        agent.hear(Via::Group, &activation);
        agent.hear(Via::Group, &activation);
        assert_eq!((agent.machine.state(), count(&agent)), (State::RolledBack, 1));
    }
    // Also after a restart.
    agent.restart(true);
    speaker.context.skip(300);
    let activation = speaker.activate(&image, 3);
    agent.hear(Via::Group, &activation);
    assert_eq!(agent.machine.state(), State::RolledBack);
    // A higher attempt makes the agent check the slot again; the next one that it hears activates.
    agent.hear(Via::Group, &speaker.dates());
    let activation = speaker.activate(&image, 4);
    agent.hear(Via::Group, &activation);
    assert_eq!((agent.machine.state(), count(&agent)), (State::Ready, 1));
    let activation = speaker.activate(&image, 4);
    agent.hear(Via::Group, &activation);
    assert_eq!((agent.machine.state(), count(&agent)), (State::Trial, 2));
}

/// A device whose confirmed image was damaged, and that runs an image it had rolled back before.
fn recovered(speaker: &mut Speaker, image: &Image) -> Agent {
    let mut agent = ready(speaker, image);
    let activation = speaker.activate(image, 3);
    agent.hear(Via::Group, &activation);
    agent.judge(Trial::RolledBack(RollBackCause::Unhealthy));
    agent.restart(true);
    speaker.context.skip(300);
    agent.judge(Trial::Recovered);
    assert_eq!(agent.stand(speaker, image), (State::Trial, RECOVERED));
    agent
}

#[test]
fn an_image_in_the_place_of_a_damaged_one_is_told_from_others() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = recovered(&mut speaker, &image);
    agent.judge(Trial::Healthy);
    assert_eq!(agent.stand(&mut speaker, &image), (State::Confirmed, RECOVERED));
    let saved = [Did::Save(Record::Installed), Did::Save(Record::Update), Did::Settle];
    assert!(agent.did.ends_with(&saved), "{:?}", agent.did);
    agent.restart(true);
    speaker.context.skip(300);
    assert_eq!(agent.stand(&mut speaker, &image), (State::Confirmed, RECOVERED));
}

/// There is nothing to go back to: the previous image is the damaged one.
#[test]
fn an_image_in_the_place_of_a_damaged_one_is_not_taken_back_by_order() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = recovered(&mut speaker, &image);
    let count = agent.did.len();
    let command = Command { from_trial: true, ..order(&image, 9) };
    let datagram = speaker.command(Mode::Group, Resource::Cancel, &command);
    agent.hear(Via::Group, &datagram);
    assert_eq!(agent.did.len(), count, "{:?}", agent.did);
    assert_eq!(agent.stand(&mut speaker, &image), (State::Trial, RECOVERED));
    agent.judge(Trial::Healthy);
    assert_eq!(agent.stand(&mut speaker, &image), (State::Confirmed, RECOVERED));
}

#[test]
fn an_image_in_the_place_of_a_damaged_one_makes_way_for_a_newer_one() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = recovered(&mut speaker, &image);
    let newer = Image::new(6, 3, 64);
    agent.hear_all(&speaker.everything(&newer));
    assert_eq!(agent.stand(&mut speaker, &newer), (State::Ready, 0));
}

#[test]
fn attempt_counts_for_cancellations_too_and_outlives_them() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = ready(&mut speaker, &image);
    let cancel = |speaker: &mut Speaker, attempt| {
        speaker.command(Mode::Group, Resource::Cancel, &order(&image, attempt))
    };
    let datagram = cancel(&mut speaker, 0);
    agent.hear(Via::Group, &datagram);
    assert_eq!(agent.machine.state(), State::Ready);
    let datagram = cancel(&mut speaker, 2);
    agent.hear(Via::Group, &datagram);
    assert_eq!(agent.stand(&mut speaker, &image), (State::Failed, Failure::Cancelled as u8));
    assert!(agent.events.contains(&Event::Cancelled(image.offer.id)));
    // It may be offered again; attempts acted upon still count.
    agent.hear_all(&speaker.everything(&image));
    assert_eq!(agent.machine.state(), State::Ready);
    let activation = speaker.activate(&image, 2);
    agent.hear(Via::Group, &activation);
    assert_eq!(agent.machine.state(), State::Ready);
    let activation = speaker.activate(&image, 3);
    agent.hear(Via::Group, &activation);
    assert_eq!(agent.machine.state(), State::Trial);
    // On trial nothing is dropped.
    let datagram = cancel(&mut speaker, 9);
    agent.hear(Via::Group, &datagram);
    assert_eq!(agent.machine.state(), State::Trial);
}

#[test]
fn undo_takes_back_what_is_on_trial_and_nothing_that_is_confirmed() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let back = |speaker: &mut Speaker, attempt| {
        let command = Command { from_trial: true, ..order(&image, attempt) };
        speaker.command(Mode::Group, Resource::Cancel, &command)
    };
    let mut agent = ready(&mut speaker, &image);
    let activation = speaker.activate(&image, 2);
    agent.hear(Via::Group, &activation);
    // [attempt]: not higher than that of the activation.
    let datagram = back(&mut speaker, 2);
    agent.hear(Via::Group, &datagram);
    assert!(!agent.did.contains(&Did::RollBack));
    // The attempt is saved first. After a power cut that follows, only a higher attempt takes back the trial.
    agent.cut_before = Some(Did::RollBack);
    let datagram = back(&mut speaker, 3);
    agent.hear(Via::Group, &datagram);
    speaker.context.skip(300);
    assert_eq!((agent.machine.state(), agent.trial), (State::Trial, Trial::Running));
    assert_eq!(agent.ask(&mut speaker, &question(&image), |report| report.attempt), 3);
    let datagram = back(&mut speaker, 4);
    agent.hear(Via::Group, &datagram);
    assert!(agent.did.contains(&Did::RollBack));
    assert_eq!(agent.machine.state(), State::Trial, "until the old image runs");
    agent.judge(agent.trial);
    assert_eq!(agent.stand(&mut speaker, &image), (State::RolledBack, RollBackCause::Ordered as u8));
    // [attempt]: only a higher attempt tries again, and an image confirmed after that stays.
    for attempt in [4, 5, 5] {
        let activation = speaker.activate(&image, attempt);
        agent.hear(Via::Group, &activation);
    }
    assert_eq!(agent.machine.state(), State::Trial);
    agent.judge(Trial::Healthy);
    let count = agent.did.len();
    let datagram = back(&mut speaker, 9);
    agent.hear(Via::Group, &datagram);
    assert_eq!((agent.machine.state(), agent.did.len()), (State::Confirmed, count));
}

#[test]
fn undo_that_the_medium_does_not_take_is_tried_again() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = ready(&mut speaker, &image);
    let activation = speaker.activate(&image, 1);
    agent.hear(Via::Group, &activation);
    agent.refuse = |did| *did == Did::RollBack;
    let command = Command { from_trial: true, ..order(&image, 2) };
    let datagram = speaker.command(Mode::Group, Resource::Cancel, &command);
    agent.hear(Via::Group, &datagram);
    agent.pass(Duration::from_secs(2));
    assert_eq!((agent.machine.state(), agent.trial), (State::Trial, Trial::Running));
    agent.refuse = |_| false;
    agent.pass(Duration::from_secs(15));
    assert_eq!(agent.trial, Trial::RolledBack(RollBackCause::Ordered));
}

#[test]
fn moment_is_a_delay_and_a_reboot_cancels_it() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = ready(&mut speaker, &image);
    let command = Command { delay_ms: 5_000, ..order(&image, 1) };
    let activation = speaker.command(Mode::Group, Resource::Activate, &command);
    agent.hear(Via::Group, &activation);
    agent.pass(MILLIS(4_900));
    assert_eq!(agent.stand(&mut speaker, &image).0, State::Scheduled);
    agent.restart(true);
    agent.pass(Duration::from_secs(60));
    speaker.context.skip(300);
    let activated = |agent: &Agent| agent.did.iter().any(|did| matches!(did, Did::Activate(_)));
    assert!(!activated(&agent));
    assert_eq!(agent.stand(&mut speaker, &image).0, State::Ready, "the cancellation shows");
    let activation = speaker.command(Mode::Group, Resource::Activate, &command);
    agent.hear(Via::Group, &activation);
    agent.pass(MILLIS(4_999));
    assert!(!activated(&agent));
    agent.pass(MILLIS(2));
    assert!(activated(&agent));
}

#[test]
fn repair_by_itself_only_after_hearing_nothing_for_a_while() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.everything(&image)[..7]);
    agent.pass(MILLIS(29_500));
    assert!(agent.sent.is_empty());
    let block = speaker.block(&image, Area::Image, 0);
    agent.hear(Via::Group, &block);
    agent.pass(MILLIS(29_500));
    assert!(agent.sent.is_empty(), "it has heard something since");
    agent.pass(MILLIS(700));
    assert_eq!(agent.sent.len(), 1);
}

#[test]
fn repair_one_request_at_a_time_when_a_census_allows_it() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let datagrams = speaker.everything(&image);
    let mut agent = Agent::new(0);
    agent.hear_all(&datagrams[..datagrams.len() - 3]);
    let allow = |unicast_max| Query { unicast_max, ..question(&image) };
    agent.stand(&mut speaker, &image);
    agent.ask(&mut speaker, &allow(2), |_| ());
    agent.pass(MILLIS(200));
    assert!(agent.sent.is_empty(), "it misses more than is allowed");
    agent.ask(&mut speaker, &allow(3), |_| ());
    agent.pass(MILLIS(150));
    assert_eq!(agent.sent.len(), 1, "one request is pending");
    agent.pass(Duration::from_secs(20));
    // The distributor was heard a short time ago: what is lost then, is lost on the way.
    assert!((20..45).contains(&agent.sent.len()), "it waits for half a second: {}", agent.sent.len());
}

#[test]
fn census_answers_are_spread_over_the_leisure_and_say_only_what_was_asked() {
    let (mut speaker, image) = (Speaker::distributor(20), Image::new(5, 9, 64));
    let offer = speaker.offer(&image);
    let leisure = Query { leisure_ms: 1_000, ..question(&image) };
    let (query, binding) = speaker.query(Mode::Group, &leisure);
    let mut when = Vec::new();
    for index in 0..20 {
        let mut agent = Agent::new(index);
        agent.hear_all(&offer);
        // Jitter comes from a seed that differs at every start.
        for _ in 0..index {
            agent.restart(true);
        }
        agent.sent.clear();
        let mut fresh = Agent::new(index);
        fresh.hear_all(&offer);
        fresh.hear(Via::Group, &query);
        while fresh.sent.is_empty() {
            fresh.pass(MILLIS(1));
        }
        when.push(fresh.now.as_micros() / 1000);
        let answer = fresh.sent[0].1.clone();
        speaker.answer(&answer, &binding, |report| {
            assert_eq!((report.window, report.counters), (None, None));
            assert_eq!((report.missing_pages, report.missing_blocks), (4, 9));
        });
        assert!(answer.len() < 80, "{} bytes", answer.len());
    }
    assert!(when.iter().all(|at| *at <= 1_001));
}

#[test]
fn census_only_who_misses_something_answers_where_that_is_asked() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut datagrams = speaker.everything(&image);
    let last = datagrams.len() - 1;
    datagrams.remove(last - 2);
    let mut agent = Agent::new(0);
    agent.hear_all(&datagrams);
    // Block 6 is missing.
    for (first, count, answers) in [(0, 6, 0), (0, 7, 1), (6, 1, 1), (7, 2, 0)] {
        let window = Some(Window { area: Area::Image, first, count });
        let (query, _) =
            speaker.query(Mode::Group, &Query { window, only_missing: true, ..question(&image) });
        agent.sent.clear();
        agent.hear(Via::Group, &query);
        agent.pass(MILLIS(1));
        assert_eq!(agent.sent.len(), answers, "{first} {count}");
    }
}

#[test]
fn census_reports_the_highest_number_seen_from_the_distributor() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = Agent::new(0);
    speaker.context.skip(5_000);
    let next = agent.ask(&mut speaker, &question(&image), |report| report.distributor_next);
    assert_eq!(next, 5_001);
    agent.restart(true);
    speaker.context.skip(1_000);
    let mut late = Agent::new(0);
    assert_eq!(late.ask(&mut speaker, &question(&image), |report| report.distributor_next), 6_002);
}

#[test]
fn census_an_update_that_was_missed_is_fetched() {
    let image = Image::new(5, 9, 64);
    let mut fleet = Fleet::new(&image, 1);
    // No offer arrives by multicast.
    let ending = fleet.run_with(|passing| {
        let is_offer = passing.by_group && passing.bytes.len() > 60 && passing.now.as_micros() < 3_000_000;
        usize::from(!is_offer || is_query(passing.bytes))
    });
    assert_eq!(ending, update_core::distribution::Ending::Done);
    assert_eq!(fleet.agents[0].machine.state(), State::Confirmed);
}

/// A query is short.
fn is_query(bytes: &[u8]) -> bool {
    bytes.len() < 150
}

#[test]
fn census_names_the_update_by_its_whole_digest_once_it_has_all_of_it() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = Agent::new(0);
    let digest = |agent: &mut Agent, speaker: &mut Speaker| {
        agent.ask(speaker, &question(&image), |report| (report.update, report.digest))
    };
    let everything = speaker.everything(&image);
    agent.hear_all(&everything[..everything.len() - 1]);
    assert_eq!(digest(&mut agent, &mut speaker), (Some(image.offer.id), None));
    agent.hear_all(&everything);
    assert_eq!(digest(&mut agent, &mut speaker), (Some(image.offer.id), Some(image.offer.digest)));
    // Also of one that another has replaced, and of one that it runs already.
    let newer = Image::new(6, 9, 64);
    agent.hear_all(&speaker.offer(&newer));
    assert_eq!(digest(&mut agent, &mut speaker), (Some(image.offer.id), Some(image.offer.digest)));
    let installed = Installed { sequence_number: 5, digest: image.offer.digest };
    let mut agent = Agent::with_installed(0, Some(installed));
    agent.hear_all(&speaker.offer(&image));
    assert_eq!(digest(&mut agent, &mut speaker), (Some(image.offer.id), Some(image.offer.digest)));
}
