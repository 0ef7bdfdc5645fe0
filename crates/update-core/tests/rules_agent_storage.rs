//! The rules of storage, each under its name.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Block, option};
use common::agent::{Agent, Did, MILLIS, ready};
use common::group::{Image, Speaker, question};
use core::sync::atomic::{AtomicU32, Ordering};
use update_core::census::{Query, State, Window};
use update_core::digest::Digest;
use update_core::platform::{Area, Record};
use update_core::reception::{Event, Failure, Via};
use update_core::resource::Resource;

#[test]
fn pages_first_a_block_without_its_page_waits_and_the_page_is_fetched_at_once() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.offer(&image));
    let prepared = agent.writes();
    let block = speaker.block(&image, Area::Image, 3);
    agent.hear(Via::Group, &block);
    assert_eq!(agent.writes(), prepared);
    assert_eq!(agent.machine.counters().without_page, 1);
    agent.pass(MILLIS(150));
    assert_eq!(agent.sent.len(), 1, "one request for a page");
    let mut bytes = agent.sent[0].1.clone();
    let update_core_request = speaker.context.unprotect_request(&mut bytes).unwrap();
    let group_oscore::Received::Fresh(request) = update_core_request else { panic!("it is new") };
    assert_eq!(Resource::of(&request.body()), Some(Resource::Hashes(image.offer.id)));
    let block2 = Block::parse(request.body().option(option::BLOCK2).unwrap()).unwrap();
    assert_eq!((block2.number, block2.size()), (0, 64));
}

#[test]
fn journal_after_a_power_cut_what_is_right_is_kept_and_the_rest_asked_for() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let datagrams = speaker.everything(&image);
    let mut agent = Agent::new(0);
    agent.hear_all(&datagrams[..datagrams.len() - 2]);
    agent.pass(MILLIS(200));
    assert_eq!(agent.machine.progress(), (7, 9));
    // One block is torn, one byte of another has decayed.
    agent.durable.image[2 * 64 + 40..3 * 64].fill(0xff);
    agent.durable.image[5 * 64] ^= 1;
    agent.restart(true);
    let recovered = Event::Recovered { id: image.offer.id, blocks: 5, of: 9 };
    assert!(agent.events.contains(&recovered), "{:?}", agent.events);
    let window = Window { area: Area::Image, first: 0, count: 9 };
    speaker.context.skip(300);
    let query = Query { window: Some(window), ..question(&image) };
    let missing = agent.ask(&mut speaker, &query, |report| report.window.unwrap().1.to_vec());
    assert_eq!(missing, [0b0010_0101, 0b1000_0000]);
    agent.hear_all(&speaker.everything(&image));
    assert_eq!(agent.machine.state(), State::Ready);
    assert_eq!(agent.store.image, image.bytes);
}

#[test]
fn journal_a_record_that_is_not_ours_starts_from_nothing() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = ready(&mut speaker, &image);
    let record = agent.durable.records[Record::Update as usize].as_mut().unwrap();
    *record.last_mut().unwrap() ^= 0xff;
    record[60] ^= 1;
    agent.restart(true);
    assert_eq!(agent.machine.state(), State::Idle);
}

#[test]
fn words_blocks_are_written_whole_once_and_in_their_place() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = Agent::new(0);
    let datagrams = speaker.everything(&image);
    agent.hear_all(&datagrams);
    agent.hear_all(&speaker.everything(&image));
    let mut written = std::collections::BTreeSet::new();
    for did in &agent.did {
        if let Did::Write(area, offset, len) = did {
            assert_eq!(offset % 64, 0);
            assert_eq!(*len, image.block(*area, offset / 64).len());
            assert!(written.insert((*area as u8, *offset)), "{did:?} twice");
        }
    }
    assert_eq!(written.len() as u32, image.count(Area::Image) + image.count(Area::Pages));
}

#[test]
fn synced_a_block_is_reported_only_when_it_is_durable() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let datagrams = speaker.everything(&image);
    let mut agent = Agent::new(0);
    agent.hear_all(&datagrams[..datagrams.len() - 2]);
    assert!(!agent.did.contains(&Did::Sync));
    assert_ne!(agent.durable.image, agent.store.image);
    let missing = agent.ask(&mut speaker, &question(&image), |report| report.missing_blocks);
    assert_eq!(missing, 2);
    assert_eq!(agent.durable.image, agent.store.image, "synced before it answered");
}

#[test]
fn synced_in_batches_of_at_most_a_hundred_milliseconds() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 40, 64));
    let datagrams = speaker.everything(&image);
    let mut agent = Agent::new(0);
    for datagram in &datagrams[..datagrams.len() - 2] {
        agent.hear(Via::Group, datagram);
        agent.pass(MILLIS(10));
    }
    agent.pass(MILLIS(100));
    assert_eq!(agent.durable.image, agent.store.image);
    let syncs = agent.did.iter().filter(|did| **did == Did::Sync).count();
    let expected = (datagrams.len() as u64 * 10).div_ceil(100) as usize;
    assert!((expected / 2..=expected + 2).contains(&syncs), "{syncs} for {expected}");
}

#[test]
fn synced_what_is_found_after_a_kill_is_made_durable_before_it_is_reported() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let datagrams = speaker.everything(&image);
    let mut agent = Agent::new(0);
    agent.hear_all(&datagrams[..datagrams.len() - 2]);
    agent.restart(false);
    agent.sent.clear();
    // The announcement is a report.
    agent.pass(MILLIS(600));
    assert_eq!(agent.sent.len(), 1);
    assert_eq!(agent.durable.image, agent.store.image);
}

#[test]
fn whole_the_image_is_hashed_again_from_storage_before_it_is_activated() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = ready(&mut speaker, &image);
    agent.store.image[100] ^= 1;
    let activation = speaker.activate(&image, 1);
    agent.hear(Via::Group, &activation);
    assert!(!agent.did.iter().any(|did| matches!(did, Did::Activate(_))));
    assert_eq!(agent.machine.progress(), (8, 9), "the walk has found the damage");
    agent.hear_all(&speaker.everything(&image));
    assert_eq!(agent.machine.state(), State::Ready);
    let activation = speaker.activate(&image, 1);
    agent.hear(Via::Group, &activation);
    assert!(agent.did.contains(&Did::Activate(image.offer.digest.0)));
}

#[test]
fn whole_a_digest_that_does_not_fit_the_tree_ends_the_update() {
    let mut speaker = Speaker::distributor(1);
    let image = Image::with_digest(5, 9, 64, |digest| Digest::of(&digest.0));
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.everything(&image));
    let failed = Event::Failed { id: image.offer.id, failure: Failure::ImageDigest };
    assert!(agent.events.contains(&failed), "{:?}", agent.events);
    assert_eq!(agent.stand(&mut speaker, &image), (State::Failed, Failure::ImageDigest as u8));
    let activation = speaker.activate(&image, 1);
    agent.hear(Via::Group, &activation);
    assert!(!agent.did.iter().any(|did| matches!(did, Did::Activate(_))));
    // This holds across a restart.
    agent.restart(true);
    assert_eq!(agent.machine.state(), State::Failed);
}

#[test]
fn whole_a_write_that_was_lost_is_repaired_and_not_blamed_on_the_signer() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let datagrams = speaker.everything(&image);
    let mut agent = Agent::new(0);
    agent.hear_all(&datagrams[..datagrams.len() - 1]);
    agent.store.image[64..128].fill(0);
    agent.hear_all(&datagrams[datagrams.len() - 1..]);
    assert_eq!(agent.machine.progress(), (8, 9));
    let block = speaker.block(&image, Area::Image, 1);
    agent.hear(Via::Group, &block);
    assert_eq!(agent.machine.state(), State::Ready);
}

#[test]
fn the_record_of_a_failed_update_is_tried_again_if_the_medium_fails_once() {
    /// Saves of the record of the update so far. The second one says that the update has failed.
    static SAVES: AtomicU32 = AtomicU32::new(0);
    fn refuse(did: &Did) -> bool {
        match did {
            Did::Save(Record::Update) => SAVES.fetch_add(1, Ordering::Relaxed) == 1,
            did => matches!(did, Did::Sync),
        }
    }
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = Agent::new(0);
    agent.refuse = refuse;
    for _ in 0..20 {
        agent.hear_all(&speaker.everything(&image));
        agent.pass(MILLIS(1_000));
    }
    assert_eq!((agent.machine.state(), SAVES.load(Ordering::Relaxed)), (State::Failed, 3));
    agent.refuse = |_| false;
    agent.restart(true);
    assert_eq!(agent.machine.state(), State::Failed);
}
