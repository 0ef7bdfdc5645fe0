//! The rules by which an agent decides what to trust, each under its name.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Code, Type};
use common::agent::{Agent, Did, MILLIS, distributor_address, ready};
use common::group::{Image, Speaker, agent_id, order, question};
use core::net::SocketAddr;
use group_oscore::Mode;
use update_core::census::{Query, State};
use update_core::device::Installed;
use update_core::digest::Digest;
use update_core::platform::{Area, Record, Trial};
use update_core::reception::{Event, Failure, Reason, Via};
use update_core::refusal::Refusal;
use update_core::resource::Resource;
use update_core::time::Duration;

#[test]
fn sockets_each_way_has_its_mode() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = Agent::new(0);
    // A message for the group cannot be redirected to one agent ...
    let offer = speaker.offer(&image);
    offer.iter().for_each(|datagram| agent.hear(Via::Own, datagram));
    assert_eq!(agent.machine.state(), State::Idle);
    // ... nor a message for one agent to all ...
    let (query, _) = speaker.query(Mode::Pairwise(agent_id(0)), &question(&image));
    agent.hear(Via::Group, &query);
    assert!(agent.sent.is_empty());
    // ... and a Confirmable message to a group is ignored.
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
    // An agent that trusts another set refuses what a key of this one has signed.
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
        // The bytes of another block in this place.
        let other = image.block(Area::Image, (number + 1) % 8).to_vec();
        let moved = speaker.block_of(&image, Area::Image, number, &other);
        agent.hear(Via::Group, &moved);
    }
    assert_eq!(agent.writes(), before);
    assert_eq!(agent.machine.progress(), (0, 9));
    // One page, nine blocks, and nine in the wrong place, of which the last is too long for its place.
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
        // The window has not moved: the distributor's next number is accepted.
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
    // The replaced update is reported.
    assert_eq!(agent.stand(&mut speaker, &second), (State::Failed, Failure::Superseded as u8));
    let fourth = Image::new(8, 3, 64);
    agent.hear_all(&speaker.offer(&fourth));
    assert_eq!(agent.stand(&mut speaker, &fourth), (State::Refused, Reason::BUSY));
    // It says for how long, and because of which update.
    agent.pass(Duration::from_secs(100));
    let about = agent.ask(&mut speaker, &question(&fourth), |report| (report.busy_seconds, report.remark));
    let holder = format!("it holds update {} (manifest sequence number 7)", third.offer.id);
    assert_eq!((about.0, about.1.as_str()), (500, &*holder));
    agent.pass(Duration::from_secs(501));
    agent.hear_all(&speaker.offer(&fourth));
    assert_eq!(agent.machine.digest(), Some(fourth.offer.digest));
}

/// The test agent's memory holds 4,096 blocks and 512 pages: here there are too many pages.
#[test]
fn one_update_gives_way_to_none_that_memory_has_no_room_for() {
    let mut speaker = Speaker::distributor(1);
    let [first, large, next] = [(5, 9), (6, 1600), (7, 9)].map(|(number, n)| Image::new(number, n, 64));
    let mut agent = Agent::new(0);
    let datagrams = speaker.everything(&first);
    agent.hear_all(&datagrams[..datagrams.len() - 2]);
    agent.hear_all(&speaker.offer(&large));
    assert_eq!(agent.stand(&mut speaker, &large), (State::Refused, Refusal::ImageTooLarge.code()));
    assert_eq!(agent.machine.digest(), Some(first.offer.digest));
    assert_eq!(agent.machine.progress(), (7, 9), "nothing of the current update is lost");
    // It does not count as a replacement either: one that fits is accepted at once.
    let mut other = Agent::new(0);
    other.hear_all(&datagrams);
    other.hear_all(&speaker.offer(&large));
    other.hear_all(&speaker.offer(&next));
    assert_eq!(other.machine.digest(), Some(next.offer.digest));
    agent.hear_all(&datagrams[datagrams.len() - 2..]);
    agent.hear_all(&speaker.everything(&first));
    assert_eq!((agent.machine.state(), &agent.store.image), (State::Ready, &first.bytes));
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
    assert_eq!(agent.stand(&mut speaker, &newer), (State::Refused, Reason::BUSY));
    agent.judge(Trial::Healthy);
    // No agent is busy for ever.
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
