//! The rules of the protocol that an agent keeps, each by its name.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Block, Code, Message, Type, option};
use common::agent::{Agent, Did, agent_address, distributor_address};
use common::fleet::Fleet;
use common::group::{self, Image, Speaker, agent_id, order, question};
use core::net::SocketAddr;
use group_oscore::{Mode, OscoreOption, UnprotectError};
use update_core::census::{Query, State, Window};
use update_core::command::Command;
use update_core::device::Installed;
use update_core::digest::Digest;
use update_core::platform::{Area, Record, RollBackCause, Trial};
use update_core::reception::{Event, Failure, Reason, Via};
use update_core::record::CounterBounds;
use update_core::refusal::Refusal;
use update_core::resource::Resource;
use update_core::target::Target;
use update_core::time::Duration;

const MILLIS: fn(u64) -> Duration = Duration::from_millis;

fn request_piv(datagram: &[u8]) -> u64 {
    let message = Message::parse(datagram).unwrap();
    OscoreOption::of(&message).unwrap().partial_iv.unwrap().value()
}

/// An agent that has all of an image and waits to be told to activate it.
fn ready(speaker: &mut Speaker, image: &Image) -> Agent {
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.everything(image));
    assert_eq!(agent.machine.state(), State::Ready);
    agent
}

#[test]
fn sockets_each_way_has_its_mode() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = Agent::new(0);
    // What was meant for the group cannot be redirected to one agent ...
    let offer = speaker.offer(&image);
    offer.iter().for_each(|datagram| agent.hear(Via::Own, datagram));
    assert_eq!(agent.machine.state(), State::Idle);
    // ... nor what was meant for one to all ...
    let (query, _) = speaker.query(Mode::Pairwise(agent_id(0)), &question(&image));
    agent.hear(Via::Group, &query);
    assert!(agent.sent.is_empty());
    // ... and a Confirmable to a group is none of ours.
    let mut payload = [0; 128];
    let len = question(&image).encode(&mut payload).unwrap();
    let (confirmable, _) = speaker.request(Mode::Group, Type::Confirmable, Code::FETCH, |writer| {
        Resource::Status.write_path(writer).unwrap();
        writer.payload(&payload[..len]).unwrap();
    });
    agent.hear(Via::Group, &confirmable);
    agent.pass(MILLIS(50));
    assert!(agent.sent.is_empty());
    assert_eq!(agent.machine.counters().not_for_us, offer.len() as u32 + 2);
}

#[test]
fn answers_go_only_to_the_provisioned_address() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = Agent::new(0);
    let elsewhere: SocketAddr = "192.0.2.1:5683".parse().unwrap();
    let (query, _) = speaker.query(Mode::Group, &Query { update: None, ..question(&image) });
    agent.hear_from(elsewhere, Via::Group, &query);
    agent.pass(MILLIS(50));
    assert!(agent.sent.is_empty());
    let (query, _) = speaker.query(Mode::Group, &Query { update: None, ..question(&image) });
    agent.hear_from(distributor_address(), Via::Group, &query);
    agent.pass(MILLIS(50));
    assert_eq!(agent.sent.len(), 1);
    assert_eq!(agent.sent[0].0, distributor_address());
}

#[test]
fn requests_are_never_repeated_with_the_same_number() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.offer(&image));
    // Nobody answers: it fetches by itself after a while, and again, each time by a new request.
    agent.pass(Duration::from_secs(60));
    let numbers: Vec<u64> = agent.sent.iter().map(|(_, datagram)| request_piv(datagram)).collect();
    assert!(numbers.len() >= 5, "{numbers:?}");
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
}

#[test]
fn order_nothing_is_stored_before_the_manifest_is_verified() {
    let installed = Installed { sequence_number: 5, digest: Digest([9; 32]) };
    type Damage = fn(&mut Vec<u8>);
    let cases: [(Image, Damage, Refusal); 4] = [
        (Image::new(6, 3, 1024), |envelope| *envelope.last_mut().unwrap() ^= 1, Refusal::DigestMismatch),
        (Image::new(6, 3, 1024), |envelope| envelope[80] ^= 1, Refusal::BadSignature),
        (Image::new(4, 3, 1024), |_| {}, Refusal::Downgrade),
        (Image::new(5, 3, 1024), |_| {}, Refusal::SequenceNumberReused),
    ];
    for (mut image, damage, refusal) in cases {
        let mut speaker = Speaker::distributor(1);
        let mut agent = Agent::with_installed(0, Some(installed));
        damage(&mut image.envelope);
        agent.hear_all(&speaker.everything(&image));
        let refused = Event::Refused { id: image.offer.id, reason: Reason::Refusal(refusal) };
        assert!(agent.events.contains(&refused), "{refusal:?}: {:?}", agent.events);
        let saved_else = agent.did.iter().any(|did| *did != Did::Save(Record::Counters));
        assert!(!saved_else, "{:?}", agent.did);
        assert_eq!(agent.stand(&mut speaker, &image), (State::Refused, refusal.code()));
    }
}

#[test]
fn order_blocks_before_the_offer_are_nothing() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = Agent::new(0);
    let mut datagrams = speaker.everything(&image);
    datagrams.rotate_left(speaker.offer(&image).len());
    agent.hear_all(&datagrams);
    assert_eq!(agent.writes(), 1, "only the areas were prepared: {:?}", agent.did);
    assert_eq!(agent.machine.progress(), (0, 3));
}

#[test]
fn keys_of_the_signed_set_alone_may_offer() {
    use ed25519_dalek::Signer as _;
    use update_core::key_set::KeySet;
    let root = common::signing_key(50);
    let set = KeySet::new(3, &[common::public_key(1)]).unwrap();
    let signed = set.attach(root.sign(&set.to_be_signed()).to_bytes());
    assert_eq!(KeySet::verify(&signed, &common::public_key(50)), Ok(set));
    assert!(KeySet::verify(&signed, &common::public_key(51)).is_err(), "another root key");
    // An agent that trusts another set refuses what this one's key has signed.
    let image = Image::new(5, 3, 64);
    let other = KeySet::new(3, &[common::public_key(2)]).unwrap();
    assert!(update_core::suit::verify(&image.envelope, &set).is_ok());
    assert!(update_core::suit::verify(&image.envelope, &other).is_err());
}

#[test]
fn tree_no_byte_that_does_not_match_reaches_storage() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.offer(&image));
    let before = agent.writes();
    for number in 0..image.count(Area::Pages) {
        let mut page = image.block(Area::Pages, number).to_vec();
        page[17] ^= 4;
        let datagram = speaker.block_of(&image, Area::Pages, number, &page);
        agent.hear(Via::Group, &datagram);
    }
    assert_eq!(agent.writes(), before);
    for number in 0..image.count(Area::Pages) {
        let datagram = speaker.block(&image, Area::Pages, number);
        agent.hear(Via::Group, &datagram);
    }
    let before = agent.writes();
    for number in 0..image.count(Area::Image) {
        let mut block = image.block(Area::Image, number).to_vec();
        block[0] ^= 1;
        let wrong = speaker.block_of(&image, Area::Image, number, &block);
        agent.hear(Via::Group, &wrong);
        // Another block's bytes at this place.
        let other = image.block(Area::Image, (number + 1) % 8).to_vec();
        let moved = speaker.block_of(&image, Area::Image, number, &other);
        agent.hear(Via::Group, &moved);
    }
    assert_eq!(agent.writes(), before);
    assert_eq!(agent.machine.progress(), (0, 9));
    // One page, nine blocks, and nine at the wrong place; the last is too long for its place.
    assert_eq!(agent.machine.counters().hash_mismatches, 1 + 9 + 8);
}

#[test]
fn tree_the_last_block_is_not_padded() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.everything(&image));
    assert!(agent.did.contains(&Did::Write(Area::Image, 8 * 64, 32)), "{:?}", agent.did);
    assert_eq!(agent.store.image, image.bytes);
    let mut padded = image.block(Area::Image, 8).to_vec();
    padded.resize(64, 0);
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.everything(&image)[..8]);
    let datagram = speaker.block_of(&image, Area::Image, 8, &padded);
    let malformed = agent.machine.counters().malformed;
    agent.hear(Via::Group, &datagram);
    assert_eq!(agent.machine.counters().malformed, malformed + 1);
}

#[test]
fn role_only_the_distributor_may_offer_send_and_activate() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    for as_distributor in [false, true] {
        let mut insider = Speaker::insider(as_distributor);
        insider.context.skip(100);
        let mut agent = ready(&mut speaker, &image);
        let done = agent.did.len();
        agent.hear_all(&insider.everything(&Image::new(6, 3, 64)));
        let activation = insider.activate(&image, 7);
        agent.hear(Via::Group, &activation);
        let cancel = insider.command(Mode::Group, Resource::Cancel, &order(&image, 7));
        agent.hear(Via::Group, &cancel);
        let (query, _) = insider.query(Mode::Pairwise(agent_id(0)), &question(&image));
        agent.hear(Via::Own, &query);
        assert_eq!(agent.machine.state(), State::Ready);
        assert!(agent.sent.is_empty());
        assert!(agent.did[done..].iter().all(|did| *did == Did::Sync), "{:?}", &agent.did[done..]);
        let counters = agent.machine.counters();
        if as_distributor {
            assert!(counters.bad_countersignature > 0 && counters.bad_tag > 0, "{counters:?}");
        } else {
            assert!(counters.not_for_us > 0 && counters.bad_countersignature == 0, "{counters:?}");
        }
        // The window has not moved: the distributor's own next number is accepted.
        assert_eq!(agent.stand(&mut speaker, &image), (State::Ready, 0));
    }
}

#[test]
fn one_update_gives_way_to_a_higher_number_once_in_ten_minutes() {
    let mut speaker = Speaker::distributor(1);
    let [first, second, third] = [5, 6, 7].map(|number| Image::new(number, 3, 64));
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.offer(&second));
    agent.hear_all(&speaker.offer(&first));
    assert_eq!(agent.stand(&mut speaker, &first), (State::Refused, Refusal::Downgrade.code()));
    agent.hear_all(&speaker.offer(&third));
    assert_eq!(agent.machine.digest(), Some(third.offer.digest));
    // The loser is reported.
    assert_eq!(agent.stand(&mut speaker, &second), (State::Failed, Failure::Superseded as u8));
    let fourth = Image::new(8, 3, 64);
    agent.hear_all(&speaker.offer(&fourth));
    assert_eq!(agent.stand(&mut speaker, &fourth), (State::Refused, Reason::Busy.code()));
    agent.pass(Duration::from_secs(601));
    agent.hear_all(&speaker.offer(&fourth));
    assert_eq!(agent.machine.digest(), Some(fourth.offer.digest));
}

#[test]
fn one_update_on_trial_gives_way_to_nothing() {
    let mut speaker = Speaker::distributor(1);
    let (image, newer) = (Image::new(5, 3, 64), Image::new(6, 3, 64));
    let mut agent = ready(&mut speaker, &image);
    let activation = speaker.activate(&image, 1);
    agent.hear(Via::Group, &activation);
    assert_eq!(agent.machine.state(), State::Trial);
    agent.hear_all(&speaker.offer(&newer));
    assert_eq!(agent.machine.digest(), Some(image.offer.digest));
    assert_eq!(agent.stand(&mut speaker, &newer), (State::Refused, Reason::Busy.code()));
    agent.judge(Trial::Healthy);
    // Busy is nobody for ever.
    agent.hear_all(&speaker.offer(&newer));
    assert_eq!(agent.machine.digest(), Some(newer.offer.digest));
}

#[test]
fn one_update_two_that_are_interleaved_never_mix() {
    let mut speaker = Speaker::distributor(1);
    let images = [Image::new(5, 4, 512), Image::new(6, 4, 512)];
    let streams: Vec<Vec<Vec<u8>>> = images.iter().map(|image| speaker.everything(image)).collect();
    let lens = [streams[0].len(), streams[1].len()];
    let total = lens[0] + lens[1];
    // Each way to interleave them, as the set of places that the first one takes.
    let ways: Vec<u32> = (0..1 << total).filter(|way: &u32| way.count_ones() as usize == lens[0]).collect();
    assert_eq!(ways.len(), 924);
    for way in ways {
        let mut agent = Agent::new(0);
        let mut next = [0, 0];
        for place in 0..total {
            let which = usize::from(way & (1 << place) == 0);
            let datagram = &streams[which][next[which]];
            next[which] += 1;
            agent.hear(Via::Group, datagram);
        }
        for (area, bytes) in [(Area::Image, &agent.store.image), (Area::Pages, &agent.store.pages)] {
            let image =
                images.iter().find(|image| Some(image.offer.digest) == agent.machine.digest()).unwrap();
            for (number, block) in bytes.chunks(512).enumerate() {
                let right = block == image.block(area, number as u32);
                assert!(right || block.iter().all(|byte| *byte == 0xa5), "way {way:b}, block {number}");
            }
        }
    }
}

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
    // One block is torn, one byte of another has rotted.
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
    assert_eq!(agent.machine.progress(), (8, 9), "the walk has found where");
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
    // It stays so over a restart.
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
fn reserve_nothing_is_sent_before_its_number_is_stored() {
    let image = Image::new(5, 3, 64);
    let mut speaker = Speaker::distributor(1);
    let mut agent = Agent::new(0);
    let mut used = std::collections::BTreeSet::new();
    // Reboots after each answer: every number is below what was stored before, and never used again.
    for _ in 0..20 {
        speaker.context.skip(300);
        for _ in 0..3 {
            let (query, _) = speaker.query(Mode::Pairwise(agent_id(0)), &question(&image));
            agent.sent.clear();
            agent.hear(Via::Own, &query);
            let bounds = agent.durable.records[Record::Counters as usize].as_deref();
            let bounds = CounterBounds::decode(bounds.unwrap()).unwrap();
            let number = request_piv(&agent.sent[0].1);
            assert!(number < bounds.reserved_end);
            assert!(used.insert(number), "{number} twice");
        }
        agent.restart(true);
    }
}

#[test]
fn reserve_a_planned_end_stores_the_exact_numbers_and_sends_nothing_more() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.offer(&image));
    agent.stand(&mut speaker, &image);
    let block = speaker.block(&image, Area::Pages, 0);
    agent.hear(Via::Group, &block);
    agent.machine.close();
    agent.run();
    agent.sent.clear();
    agent.pass(Duration::from_secs(100));
    let (query, _) = speaker.query(Mode::Pairwise(agent_id(0)), &question(&image));
    agent.hear(Via::Own, &query);
    assert!(agent.sent.is_empty());
    assert_eq!(agent.durable.pages, agent.store.pages, "what was written is durable");
    let bounds = agent.durable.records[Record::Counters as usize].as_deref();
    let bounds = CounterBounds::decode(bounds.unwrap()).unwrap();
    assert_eq!(bounds.reserved_end, 1, "one answer was sent");
    assert_eq!(bounds.floor, speaker.context.next_sequence_number() - 1, "the last query was not accepted");
    agent.restart(true);
    assert_eq!(agent.stand(&mut speaker, &image).0, State::Blocks, "no number is skipped");
}

#[test]
fn bound_after_a_reboot_nothing_accepted_before_is_accepted_again() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut capture = speaker.everything(&image);
    let (query, _) = speaker.query(Mode::Group, &question(&image));
    capture.push(query);
    let mut agent = Agent::new(0);
    agent.hear_all(&capture);
    capture.push(speaker.activate(&image, 1));
    for power_cut in [true, false] {
        agent.restart(power_cut);
        agent.pass(MILLIS(50));
        agent.events.clear();
        let before = (agent.machine.state(), agent.did.len());
        agent.sent.clear();
        // All of it, the activation too, which was sent and not heard: it is below the bound as well.
        for datagram in &capture {
            agent.hear(Via::Group, datagram);
            agent.hear(Via::Own, datagram);
        }
        let discarded = Event::Discarded(UnprotectError::Replayed);
        assert!(agent.events.iter().all(|event| *event == discarded), "{:?}", agent.events);
        assert_eq!(agent.machine.counters().replayed as usize, 2 * capture.len());
        assert_eq!((agent.machine.state(), agent.did.len()), before);
        assert!(agent.sent.is_empty());
    }
}

#[test]
fn bound_is_stored_before_what_it_covers_is_acted_upon() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 9, 64));
    let mut agent = Agent::new(0);
    for jump in [0, 10, 255, 256, 257, 1000, 100_000] {
        speaker.context.skip(jump);
        let next = speaker.context.next_sequence_number();
        agent.stand(&mut speaker, &image);
        let bounds = agent.durable.records[Record::Counters as usize].as_deref();
        let floor = CounterBounds::decode(bounds.unwrap()).unwrap().floor;
        assert!(floor > next && floor <= next + 257, "{floor} for {next}");
    }
}

#[test]
fn bound_each_boot_but_the_first_is_announced_until_it_is_answered() {
    let mut agent = Agent::new(0);
    agent.pass(Duration::from_secs(10));
    assert!(agent.sent.is_empty(), "the first start is no reboot");
    agent.restart(true);
    agent.pass(MILLIS(501));
    assert_eq!(agent.sent.len(), 1);
    agent.pass(Duration::from_secs(200));
    let tries = usize::from(update_core::limits::ANNOUNCE_TRIES_MAX);
    assert_eq!(agent.sent.len(), tries, "nobody answers");
    let numbers: Vec<u64> = agent.sent.iter().map(|(_, datagram)| request_piv(datagram)).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
}

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
    // Over a restart, too.
    agent.restart(true);
    speaker.context.skip(300);
    let activation = speaker.activate(&image, 3);
    agent.hear(Via::Group, &activation);
    assert_eq!(agent.machine.state(), State::RolledBack);
    // A higher one looks at the slot again, and the next one that is heard activates.
    let activation = speaker.activate(&image, 4);
    agent.hear(Via::Group, &activation);
    assert_eq!((agent.machine.state(), count(&agent)), (State::Ready, 1));
    let activation = speaker.activate(&image, 4);
    agent.hear(Via::Group, &activation);
    assert_eq!((agent.machine.state(), count(&agent)), (State::Trial, 2));
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
    // It may be offered again; what was acted upon stays acted upon.
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
    assert_eq!(agent.sent.len(), 1, "one request is under way");
    agent.pass(Duration::from_secs(20));
    assert!((3..10).contains(&agent.sent.len()), "it waits longer each time: {}", agent.sent.len());
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
        // Jitter comes from a seed that differs with every start.
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
    let _ = agent_address(0);
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
