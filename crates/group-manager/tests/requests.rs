//! What a member may ask the Group Manager, and what it gets for anything else.
#![allow(clippy::unwrap_used)]

mod common;

use coap_wire::{Code, Message, Token, Type, Writer, option};
use common::{World, individual};
use group_manager::Material;
use group_manager::manager::{Change, Output};
use group_oscore::MemberId;
use group_oscore::oscore::{Association, RenewalAnswer};
use update_core::time::Duration;

/// A member that says whatever it likes.
struct Member {
    association: Association,
    nonce: u64,
    world: World,
    /// Sender IDs that the host has given.
    given: u8,
    changes: Vec<Change>,
}

impl Member {
    fn new(index: usize) -> Self {
        let association = common::association_of(index);
        Self { association, nonce: 1 << 40, world: World::new(3), given: 200, changes: Vec::new() }
    }

    /// Sends a request until it is carried out; the code and the payload of its answer, if there is one.
    fn ask(&mut self, code: Code, path: &[&str], payload: &[u8]) -> Option<(Code, Vec<u8>)> {
        for _ in 0..3 {
            let mut plain = [0; 600];
            self.nonce += 1;
            let token = Token::new(&self.nonce.to_be_bytes()[4..]).unwrap();
            let mut writer = Writer::message(&mut plain, Type::NonConfirmable, code, 1, token).unwrap();
            for segment in path {
                writer.option(option::URI_PATH, segment.as_bytes()).unwrap();
            }
            if !payload.is_empty() {
                writer.payload(payload).unwrap();
            }
            let length = writer.finish();
            let (message, mut out) = (Message::parse(&plain[..length]).unwrap(), [0; 1500]);
            let nonce = self.nonce.to_be_bytes();
            let (length, sent) = self.association.protect_request(&message, nonce, &mut out).unwrap();
            let mut answer = self.through(&mut out[..length])?;
            self.nonce += 1;
            let nonce = self.nonce.to_be_bytes();
            match self.association.unprotect_response(&mut answer, &sent, nonce).unwrap() {
                RenewalAnswer::Renewed => {}
                RenewalAnswer::Response(response) => {
                    let body = response.body();
                    return Some((body.code(), body.payload().to_vec()));
                }
            }
        }
        panic!("never answered");
    }

    fn through(&mut self, bytes: &mut [u8]) -> Option<Vec<u8>> {
        let from = common::address("10.5.5.5:5");
        self.world.now = self.world.now + Duration::from_millis(100);
        let (now, manager) = (self.world.now, self.world.manager.as_mut().unwrap());
        manager.on_datagram(now, from, bytes);
        let mut buffer = [0; 1500];
        loop {
            match manager.poll(now, &mut buffer) {
                Output::Transmit { to, len } if to == from => return Some(buffer[..len].to_vec()),
                Output::Transmit { .. } => {}
                Output::Change(Change::SenderIdWanted { group, node }) => {
                    self.given += 1;
                    manager.give_sender_id(&group, &node, MemberId::new(&[self.given]).unwrap(), 0);
                }
                Output::Change(change) => self.changes.push(change),
                Output::Wait(_) => return None,
            }
        }
    }

    fn later(&mut self, time: Duration) {
        self.world.now = self.world.now + time;
    }
}

const NODE: [&str; 4] = ["ace-group", "hall", "nodes", "node-0"];

#[test]
fn a_member_gets_keys_with_its_own_sender_id() {
    let mut member = Member::new(0);
    let (code, payload) = member.ask(Code::GET, &NODE, &[]).unwrap();
    assert_eq!(code, Code::CONTENT);
    let material = Material::decode(&payload).unwrap();
    let expected = common::keys(0);
    assert_eq!(material, common::material(&expected, 0));
    assert!(payload.len() < 250, "{} bytes", payload.len());
    let (_, of_group) = member.ask(Code::GET, &NODE[..2], &[]).unwrap();
    assert_eq!(of_group, payload);
    let (_, num) = member.ask(Code::GET, &["ace-group", "hall", "num"], &[]).unwrap();
    assert_eq!(num, [0]);
    let (code, creds) = member.ask(Code::GET, &["ace-group", "hall", "creds"], &[]).unwrap();
    assert!(code == Code::CONTENT && creds.windows(4).any(|it| it == &expected.credential[..4]));
}

#[test]
fn nobody_gets_what_is_anothers() {
    let mut member = Member::new(0);
    for (code, path) in [
        (Code::GET, &["ace-group", "hall", "nodes", "node-1"][..]),
        (Code::DELETE, &["ace-group", "hall", "nodes", "node-1"]),
        (Code::POST, &["ace-group", "hall", "nodes", "node-1"]),
        (Code::POST, &["ace-group", "hall", "nodes", "node-1", "cred"]),
        (Code::GET, &["ace-group", "yard", "num"]),
        (Code::GET, &["ace-group", "yard"]),
        (Code::GET, &["ace-group", "yard", "nodes", "node-0"]),
    ] {
        assert_eq!(member.ask(code, path, &[]).unwrap().0, Code::FORBIDDEN, "{path:?}");
    }
    for (code, path, answer) in [
        (Code::GET, &["ace-group"][..], Code::NOT_FOUND),
        (Code::GET, &["fw", "status"], Code::NOT_FOUND),
        (Code::GET, &["ace-group", "hall", "node"], Code::NOT_FOUND),
        (Code::GET, &["ace-group", "hall", "nodes", "node-0", "cred", "x"], Code::NOT_FOUND),
        (Code::PUT, &NODE, Code::METHOD_NOT_ALLOWED),
        (Code::DELETE, &["ace-group", "hall", "num"], Code::METHOD_NOT_ALLOWED),
        (Code::POST, &["ace-group", "hall"], Code::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(member.ask(code, path, &[]).unwrap().0, answer, "{path:?}");
    }
    let members = member.world.manager.as_ref().unwrap().progress("hall");
    assert_eq!(
        (members, member.changes.iter().filter(|it| matches!(it, Change::Left { .. })).count()),
        ((3, 0), 0)
    );
}

#[test]
fn a_member_leaves_and_is_refused_from_then_on() {
    let mut member = Member::new(0);
    assert_eq!(member.ask(Code::DELETE, &NODE, &[]).unwrap().0, Code::DELETED);
    assert!(member.changes.iter().any(|it| matches!(it, Change::Left { node, .. } if node == "node-0")));
    let (code, problem) = member.ask(Code::GET, &NODE, &[]).unwrap();
    assert_eq!((code, &problem[..]), (Code::FORBIDDEN, &[0xa1, 0, 0xa1, 0, 5][..]));
    assert_eq!(member.ask(Code::GET, &NODE, &[]), None, "once in ten seconds");
    member.later(Duration::from_secs(10));
    assert_eq!(member.ask(Code::GET, &NODE, &[]).unwrap().0, Code::FORBIDDEN);
}

#[test]
fn a_new_sender_id_is_one_that_nobody_had_and_not_too_often() {
    let mut member = Member::new(0);
    let (code, payload) = member.ask(Code::POST, &NODE, &[]).unwrap();
    assert_eq!((code, &payload[..]), (Code::CHANGED, &[0xa1, 21, 0x41, 201][..]));
    let (_, payload) = member.ask(Code::GET, &NODE, &[]).unwrap();
    assert_eq!(Material::decode(&payload).unwrap().sender_id.as_bytes(), [201]);
    for _ in 0..20 {
        assert_eq!(member.ask(Code::POST, &NODE, &[]).unwrap().0, Code::SERVICE_UNAVAILABLE);
    }
    assert_eq!(member.given, 201);
    member.later(Duration::from_secs(300));
    assert_eq!(member.ask(Code::POST, &NODE, &[]).unwrap().1, [0xa1, 21, 0x41, 202]);
}

#[test]
fn stale_sender_ids_are_told_as_long_as_they_are_known() {
    let mut member = Member::new(0);
    member.world.evict(2);
    member.world.rekey();
    let path = ["ace-group", "hall", "stale-sids"];
    assert_eq!(member.ask(Code::FETCH, &path, &[0]).unwrap(), (Code::CONTENT, vec![0x81, 0x42, 0, 3]));
    assert_eq!(member.ask(Code::FETCH, &path, &[1]).unwrap().0, Code::BAD_REQUEST, "that is now");
    assert_eq!(member.ask(Code::FETCH, &path, &[0x18, 99]).unwrap().0, Code::BAD_REQUEST, "the future");
    for payload in [&[][..], &[0x61, 0x31], &[0xff], &[0x3b]] {
        assert_eq!(member.ask(Code::FETCH, &path, payload).unwrap().0, Code::BAD_REQUEST);
    }
    for _ in 0..20 {
        member.world.rekey();
    }
    assert_eq!(member.ask(Code::FETCH, &path, &[0]).unwrap(), (Code::CONTENT, vec![]));
}

#[test]
fn members_that_want_ever_new_sender_ids_make_nothing_grow() {
    let mut member = Member::new(0);
    for _ in 0..300 {
        member.given = 100;
        member.later(Duration::from_secs(300));
        assert_eq!(member.ask(Code::POST, &NODE, &[]).unwrap().0, Code::CHANGED);
    }
    member.world.rekey();
    let path = ["ace-group", "hall", "stale-sids"];
    assert_eq!(member.ask(Code::FETCH, &path, &[0]).unwrap(), (Code::CONTENT, vec![]), "all of them");
}

#[test]
fn what_is_not_authenticated_gets_no_answer_and_leaves_no_trace() {
    let mut member = Member::new(0);
    let before = format!("{:?}", member.world.manager.as_ref().unwrap());
    let mut random = update_core::random::Random::new(1);
    for round in 0..100_000_u64 {
        let mut bytes = [0; 64];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&random.next_u64().to_be_bytes());
        }
        // Half of them are nearly a first request of a member.
        if round % 2 == 0 {
            bytes[..6].copy_from_slice(&[0x51, 0x02, 0, 1, 9, 0x9d]);
            bytes[6..10].copy_from_slice(&[18 - 13, 0x19, 0, 9]);
            bytes[10] = 0x48;
            bytes[19..25].copy_from_slice(individual(0).as_bytes());
            bytes[25] = 0xff;
        }
        assert_eq!(member.through(&mut bytes), None);
    }
    let manager = member.world.manager.as_ref().unwrap();
    // The seed moves with each datagram that names a member, and with nothing else.
    let shown = |text: &str| text.split("random").next().unwrap().to_owned();
    assert_eq!(shown(&format!("{manager:?}")), shown(&before));
}

#[test]
fn an_evicted_member_may_ask_for_anything_as_often_as_it_likes() {
    let mut member = Member::new(0);
    member.world.run(Duration::from_secs(15));
    member.world.evict(0);
    member.world.rekey();
    member.world.run(Duration::from_secs(10));
    let progress = |member: &Member| member.world.manager.as_ref().unwrap().progress(common::GROUP);
    let (before, heard, mut answers) = (progress(&member), member.world.heard.clone(), 0);
    let codes = [Code::GET, Code::POST, Code::PUT, Code::DELETE, Code::FETCH];
    let others = ["ace-group", "hall", "nodes", "node-1"];
    let paths: [&[&str]; 5] =
        [&NODE, &others, &["ace-group", "hall"], &["ace-group", "hall", "creds"], &["ace-group", "lobby"]];
    for round in 0..25_000 {
        let (code, path) = (codes[round % codes.len()], paths[round / codes.len() % paths.len()]);
        if let Some((answer, _)) = member.ask(code, path, &[0]) {
            assert_eq!(answer, Code::FORBIDDEN, "{round}");
            answers += 1;
        }
    }
    assert!(member.changes.is_empty(), "{:?}", member.changes);
    assert_eq!((progress(&member), &member.world.heard), (before, &heard));
    // Each takes 100 ms or more, and there is one answer in ten seconds.
    assert!((1..=25_000 * 4 / 100).contains(&answers), "{answers}");
}

/// What it did not ask for might be used without the Group Manager's knowledge, and then its Sender ID must
/// not be given once more.
#[test]
fn a_member_that_has_lost_count_is_brought_nothing_before_it_asks() {
    let mut member = Member::new(0);
    member.ask(Code::GET, &NODE, &[]).unwrap();
    let given = member.ask(Code::POST, &NODE, &[]).unwrap();
    member.world.rekey();
    let brought = |member: &mut Member, ticks: u32| {
        let (mut buffer, mut longest) = ([0; 1500], 0);
        for _ in 0..ticks {
            member.later(Duration::from_millis(100));
            let (now, manager) = (member.world.now, member.world.manager.as_mut().unwrap());
            while let Output::Transmit { to, len } = manager.poll(now, &mut buffer) {
                if to == common::address("10.5.5.5:5") {
                    longest = longest.max(len);
                }
            }
        }
        longest
    };
    assert_eq!(brought(&mut member, 200), 0);
    assert_eq!(member.ask(Code::POST, &NODE, &[]).unwrap(), given, "the same again: it was not used");
    let (_, payload) = member.ask(Code::GET, &NODE, &[]).unwrap();
    assert_eq!(Material::decode(&payload).unwrap().num, 1);
    assert!(brought(&mut member, 6) > 150, "now it may have been used");
    assert_eq!(member.ask(Code::POST, &NODE, &[]).unwrap().0, Code::SERVICE_UNAVAILABLE);
}
