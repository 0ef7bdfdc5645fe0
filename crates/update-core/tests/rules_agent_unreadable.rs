//! A page or block that stays unreadable counts as missing, and nothing else does. A record that cannot be
//! saved is retried, and abandoned if the device can do without it.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::agent::{Agent, Did, MILLIS, ready};
use common::group::{Image, Speaker, order, question};
use group_oscore::Mode;
use update_core::block::BlockNumber;
use update_core::census::State;
use update_core::command::Command;
use update_core::limits::STORAGE_FAILURES_MAX;
use update_core::platform::{Area, Record, RollBackCause, Trial};
use update_core::reception::{Event, Failure, Via};
use update_core::record::{Outcome, UpdateRecord};
use update_core::resource::Resource;
use update_core::tree::TreeShape;

const BLOCK: u32 = 2;

fn image() -> Image {
    Image::new(5, 9, 64)
}

/// The page with the hash of the block under test.
fn page_of_block(image: &Image) -> u32 {
    TreeShape::new(image.offer.layout).entry_of_leaf(BlockNumber(BLOCK)).unwrap().0
}

fn reads(agent: &Agent, area: Area, offset: u32) -> usize {
    agent.did.iter().filter(|did| **did == Did::Read(area, offset)).count()
}

fn missing(agent: &mut Agent, speaker: &mut Speaker, image: &Image) -> (u32, u32) {
    agent.ask(speaker, &question(image), |report| (report.missing_pages, report.missing_blocks))
}

/// Everything arrives again, and the medium works.
fn ends_well(agent: &mut Agent, speaker: &mut Speaker, image: &Image) {
    agent.refuse = |_| false;
    agent.hear_all(&speaker.everything(image));
    assert_eq!((agent.machine.state(), &agent.store.image), (State::Ready, &image.bytes));
}

#[test]
fn journal_a_block_that_stays_unreadable_is_missing_and_the_others_are_kept() {
    let (mut speaker, image) = (Speaker::distributor(1), image());
    let mut agent = ready(&mut speaker, &image);
    agent.refuse = |did| *did == Did::Read(Area::Image, BLOCK * 64);
    agent.did.clear();
    agent.restart(true);
    agent.pass(MILLIS(2_000));
    assert_eq!(reads(&agent, Area::Image, BLOCK * 64), usize::from(STORAGE_FAILURES_MAX));
    let recovered = Event::Recovered { id: image.offer.id, blocks: 8, of: 9 };
    assert!(agent.events.contains(&recovered), "{:?}", agent.events);
    speaker.context.skip(300);
    assert_eq!(missing(&mut agent, &mut speaker, &image), (0, 1));
    ends_well(&mut agent, &mut speaker, &image);
}

#[test]
fn journal_a_page_that_stays_unreadable_is_missing_with_the_blocks_that_it_proves() {
    let (mut speaker, image) = (Speaker::distributor(1), image());
    let mut agent = ready(&mut speaker, &image);
    // A page of 64 bytes holds the hashes of four blocks. This is the first one below the root.
    assert_eq!(page_of_block(&image), 1);
    agent.refuse = |did| *did == Did::Read(Area::Pages, 64);
    agent.restart(true);
    agent.pass(MILLIS(2_000));
    speaker.context.skip(300);
    assert_eq!(missing(&mut agent, &mut speaker, &image), (1, 4));
    ends_well(&mut agent, &mut speaker, &image);
}

#[test]
fn pages_first_one_that_cannot_be_read_any_more_is_asked_for_again() {
    let (mut speaker, image) = (Speaker::distributor(1), image());
    let mut agent = Agent::new(0);
    let pages = image.count(Area::Pages) as usize;
    let datagrams = speaker.everything(&image);
    let blocks = datagrams.len() - 9;
    agent.hear_all(&datagrams[..blocks]);
    assert_eq!(missing(&mut agent, &mut speaker, &image), (0, 9), "all {pages} pages");
    agent.refuse = |did| *did == Did::Read(Area::Pages, 64);
    agent.did.clear();
    agent.hear(Via::Group, &datagrams[blocks + BLOCK as usize]);
    agent.pass(MILLIS(2_000));
    assert_eq!(reads(&agent, Area::Pages, 64), usize::from(STORAGE_FAILURES_MAX));
    assert_eq!(missing(&mut agent, &mut speaker, &image), (1, 9));
    // Blocks under other pages still arrive.
    agent.hear(Via::Group, &datagrams[blocks + 8]);
    agent.pass(MILLIS(2_000));
    assert_eq!(missing(&mut agent, &mut speaker, &image), (1, 8));
    ends_well(&mut agent, &mut speaker, &image);
}

#[test]
fn whole_a_block_that_cannot_be_read_before_the_activation_is_missing() {
    let (mut speaker, image) = (Speaker::distributor(1), image());
    let mut agent = ready(&mut speaker, &image);
    agent.refuse = |did| *did == Did::Read(Area::Image, BLOCK * 64);
    let activation = speaker.activate(&image, 1);
    agent.hear(Via::Group, &activation);
    agent.pass(MILLIS(5_000));
    assert!(!agent.did.iter().any(|did| matches!(did, Did::Activate(_))));
    assert_eq!(agent.machine.progress(), (8, 9));
    assert_eq!(missing(&mut agent, &mut speaker, &image), (0, 1));
    ends_well(&mut agent, &mut speaker, &image);
}

/// The record of the update after a power cut: the attempt and the outcome.
fn recorded(agent: &Agent) -> (u32, Outcome) {
    let record = agent.durable.records[Record::Update as usize].as_deref().unwrap();
    let record = UpdateRecord::decode(record).unwrap();
    (record.attempt, record.outcome)
}

fn saves(agent: &Agent) -> usize {
    agent.did.iter().filter(|did| **did == Did::Save(Record::Update)).count()
}

/// An order to drop an update arrives, and its record cannot be saved.
fn ordered_without_a_record(speaker: &mut Speaker, image: &Image, from_trial: bool) -> Agent {
    let mut agent = ready(speaker, image);
    if from_trial {
        let activation = speaker.activate(image, 1);
        agent.hear(Via::Group, &activation);
        assert_eq!(agent.machine.state(), State::Trial);
    }
    agent.refuse = |did| *did == Did::Save(Record::Update);
    agent.did.clear();
    let command = Command { from_trial, ..order(image, 2) };
    let datagram = speaker.command(Mode::Group, Resource::Cancel, &command);
    agent.hear(Via::Group, &datagram);
    assert_eq!(saves(&agent), 1);
    agent
}

#[test]
fn attempt_of_an_order_is_saved_also_if_the_medium_fails_once() {
    for (from_trial, outcome) in [(false, Outcome::Failed(Failure::Cancelled as u8)), (true, Outcome::Open)] {
        let (mut speaker, image) = (Speaker::distributor(1), image());
        let mut agent = ordered_without_a_record(&mut speaker, &image, from_trial);
        agent.refuse = |_| false;
        agent.pass(MILLIS(1_000));
        assert_eq!(recorded(&agent), (2, outcome), "from trial: {from_trial}");
    }
}

#[test]
fn attempt_that_can_never_be_saved_keeps_no_order_from_being_carried_out() {
    for (from_trial, trial) in [(false, Trial::None), (true, Trial::RolledBack(RollBackCause::Ordered))] {
        let (mut speaker, image) = (Speaker::distributor(1), image());
        let mut agent = ordered_without_a_record(&mut speaker, &image, from_trial);
        agent.pass(MILLIS(10_000));
        assert_eq!(saves(&agent), usize::from(STORAGE_FAILURES_MAX), "from trial: {from_trial}");
        assert_eq!(agent.trial, trial);
        let stays = if from_trial { State::Trial } else { State::Failed };
        assert_eq!(agent.machine.state(), stays);
    }
}
