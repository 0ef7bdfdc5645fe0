//! Contexts that are derived anew after either side has lost its own (RFC 8613 appendix B.2).
#![allow(clippy::unwrap_used)]

mod common;

use common::{changed, message, put};
use group_oscore::oscore::{Association, Opened, Parameters, RenewalAnswer};
use group_oscore::{AeadAlgorithm, MemberId, OscoreOption, SentRequest, UnprotectError};
use std::collections::BTreeSet;

/// An endpoint whose random nonces are a counter.
struct End {
    association: Association,
    nonce: u64,
}

impl End {
    fn new(own: &[u8], peer: &[u8], seed: u64) -> Self {
        let parameters = Parameters {
            master_secret: &[7; 16],
            master_salt: &[1, 2],
            id_context: None,
            sender_id: MemberId::new(own).unwrap(),
            recipient_id: MemberId::new(peer).unwrap(),
            aead: AeadAlgorithm::A128Gcm,
        };
        Self { association: Association::new(&parameters).unwrap(), nonce: seed << 32 }
    }

    fn nonce(&mut self) -> [u8; 8] {
        self.nonce += 1;
        self.nonce.to_be_bytes()
    }

    fn ask(&mut self, payload: &[u8]) -> (Vec<u8>, SentRequest) {
        let (nonce, mut out) = (self.nonce(), [0; 1500]);
        let request = put(payload);
        let (length, sent) = self.association.protect_request(&message(&request), nonce, &mut out).unwrap();
        (out[..length].to_vec(), sent)
    }

    /// Answers a request, or a request for a new context; returns the answer and the payload that was new.
    fn serve(&mut self, mut datagram: Vec<u8>) -> Result<(Vec<u8>, Option<Vec<u8>>), UnprotectError> {
        let (nonce, mut out) = (self.nonce(), [0; 1500]);
        match self.association.unprotect_request(&mut datagram, nonce)? {
            Opened::Request(mut request) => {
                let payload = request.body().payload().to_vec();
                let mut binding = request.take_binding();
                let answer = changed(&payload);
                let length =
                    self.association.protect_response(&message(&answer), &mut binding, &mut out).unwrap();
                Ok((out[..length].to_vec(), Some(payload)))
            }
            Opened::Renewal(mut renewal) => {
                let answer = changed(b"");
                let length = self.association.renew(&mut renewal, &message(&answer), &mut out).unwrap();
                Ok((out[..length].to_vec(), None))
            }
            Opened::Crossed => Err(UnprotectError::WrongBinding),
        }
    }

    /// Takes an answer: its payload, or `None` for a new context.
    fn take(&mut self, mut answer: Vec<u8>, sent: &SentRequest) -> Result<Option<Vec<u8>>, UnprotectError> {
        let nonce = self.nonce();
        match self.association.unprotect_response(&mut answer, sent, nonce)? {
            RenewalAnswer::Response(response) => Ok(Some(response.body().payload().to_vec())),
            RenewalAnswer::Renewed => Ok(None),
        }
    }
}

fn ends() -> (End, End) {
    (End::new(&[0xa1, 2, 3], &[], 1), End::new(&[], &[0xa1, 2, 3], 2))
}

/// Asks until the request was carried out; returns the number of requests.
fn exchange(client: &mut End, server: &mut End, payload: &[u8]) -> usize {
    for tries in 1..4 {
        let (datagram, sent) = client.ask(payload);
        let (answer, _) = server.serve(datagram).unwrap();
        if let Some(back) = client.take(answer, &sent).unwrap() {
            assert_eq!(back, payload);
            return tries;
        }
    }
    panic!("never carried out");
}

#[test]
fn a_context_is_made_by_the_first_request_and_kept_and_serves_both_directions() {
    let (mut agent, mut manager) = ends();
    assert_eq!(exchange(&mut agent, &mut manager, b"keys"), 2);
    assert_eq!(exchange(&mut agent, &mut manager, b"keys"), 1);
    assert_eq!(exchange(&mut manager, &mut agent, b"rekey"), 1);
}

#[test]
fn either_side_may_lose_its_context() {
    let (mut agent, mut manager) = ends();
    exchange(&mut agent, &mut manager, b"keys");
    // The agent has restarted.
    agent.association.forget();
    assert_eq!(exchange(&mut agent, &mut manager, b"keys"), 2);
    // The Group Manager has restarted: it does not know the context, and says nothing.
    let (_, mut manager) = ends();
    manager.nonce = 3 << 32;
    let (datagram, _) = agent.ask(b"keys");
    assert_eq!(manager.serve(datagram).unwrap_err(), UnprotectError::UnknownGroup);
    agent.association.forget();
    assert_eq!(exchange(&mut agent, &mut manager, b"keys"), 2);
    // It asks, having restarted, while the agent still has a context.
    manager.association.forget();
    assert_eq!(exchange(&mut manager, &mut agent, b"rekey"), 2);
    assert_eq!(exchange(&mut agent, &mut manager, b"keys"), 1);
}

#[test]
fn what_was_recorded_is_worth_nothing() {
    let (mut agent, mut manager) = ends();
    let (first, sent) = agent.ask(b"leave");
    let (answer, new) = manager.serve(first.clone()).unwrap();
    assert_eq!((agent.take(answer, &sent).unwrap(), new), (None, None));
    let (second, _) = agent.ask(b"leave");
    assert_eq!(manager.serve(second.clone()).unwrap().1.unwrap(), b"leave");
    // The second request, again: the window has seen it.
    assert_eq!(manager.serve(second.clone()).unwrap_err(), UnprotectError::Replayed);
    // The first, again: it carries nothing out, and the context stays.
    assert_eq!(manager.serve(first.clone()).unwrap().1, None);
    assert_eq!(exchange(&mut agent, &mut manager, b"num"), 1);
    // After a restart of the Group Manager neither does anything.
    let (_, mut restarted) = ends();
    restarted.nonce = 9 << 32;
    assert_eq!(restarted.serve(first).unwrap().1, None);
    assert_eq!(restarted.serve(second).unwrap_err(), UnprotectError::UnknownGroup);
}

#[test]
fn old_first_requests_do_not_stop_a_new_one() {
    let (mut agent, mut manager) = ends();
    let (old, _) = agent.ask(b"num");
    agent.association.forget();
    let (datagram, sent) = agent.ask(b"num");
    let (answer, _) = manager.serve(datagram).unwrap();
    for _ in 0..100 {
        manager.serve(old.clone()).unwrap();
    }
    assert_eq!(agent.take(answer, &sent).unwrap(), None);
    let (datagram, sent) = agent.ask(b"num");
    let (answer, new) = manager.serve(datagram).unwrap();
    assert_eq!(new.unwrap(), b"num");
    assert_eq!(agent.take(answer, &sent).unwrap().unwrap(), b"num");
}

#[test]
fn when_both_ask_at_once_one_is_carried_on_with() {
    let (mut agent, mut manager) = ends();
    let (from_manager, _) = manager.ask(b"rekey");
    let (from_agent, sent) = agent.ask(b"keys");
    // The agent's Sender ID is the higher one.
    let nonce = agent.nonce();
    let mut crossing = from_manager.clone();
    let opened = agent.association.unprotect_request(&mut crossing, nonce);
    assert!(matches!(opened, Ok(Opened::Crossed)), "{opened:?}");
    let (answer, _) = manager.serve(from_agent).unwrap();
    assert_eq!(agent.take(answer, &sent).unwrap(), None);
    assert_eq!(exchange(&mut agent, &mut manager, b"keys"), 1);
    // What was sent before arrives late: it is answered, and changes nothing.
    agent.serve(from_manager).unwrap();
    assert_eq!(exchange(&mut manager, &mut agent, b"rekey"), 1);
    assert_eq!(exchange(&mut agent, &mut manager, b"keys"), 1);
}

#[test]
fn no_nonce_of_a_key_is_used_twice_however_often_both_lose_their_contexts() {
    let (mut agent, mut manager) = ends();
    let mut seen = BTreeSet::new();
    for turn in 0..40 {
        for _ in 0..3 {
            let (datagram, sent) = agent.ask(b"num");
            let option = OscoreOption::of(&message(&datagram)).unwrap();
            let piv = option.partial_iv.unwrap().value();
            assert!(seen.insert((option.kid_context.unwrap().to_vec(), piv)));
            if let Ok((answer, _)) = manager.serve(datagram) {
                let _ = agent.take(answer, &sent);
            }
        }
        if turn % 2 == 0 {
            agent.association.forget();
        } else {
            manager.association.forget();
        }
        if turn % 3 == 0 {
            agent.association.forget();
        }
    }
}

#[test]
fn another_secret_opens_nothing() {
    let (mut agent, _) = ends();
    let mut other = End::new(&[], &[0xa1, 2, 3], 2);
    other.association = Association::new(&Parameters {
        master_secret: &[8; 16],
        master_salt: &[1, 2],
        id_context: None,
        sender_id: MemberId::EMPTY,
        recipient_id: MemberId::new(&[0xa1, 2, 3]).unwrap(),
        aead: AeadAlgorithm::A128Gcm,
    })
    .unwrap();
    let (datagram, _) = agent.ask(b"num");
    assert_eq!(other.serve(datagram).unwrap_err(), UnprotectError::BadTag);
}

#[test]
fn the_kid_context_is_a_byte_string_around_the_nonces() {
    let (mut agent, mut manager) = ends();
    let (datagram, sent) = agent.ask(b"num");
    let id = OscoreOption::of(&message(&datagram)).unwrap().kid_context.unwrap().to_vec();
    let (r1, r2) = ((1u64 << 32) + 1, (2u64 << 32) + 1);
    assert_eq!(id, [&[0x48][..], &r1.to_be_bytes()].concat());
    let (answer, _) = manager.serve(datagram).unwrap();
    let id = OscoreOption::of(&message(&answer)).unwrap().kid_context.unwrap().to_vec();
    assert_eq!(id, [&[0x48][..], &r2.to_be_bytes()].concat());
    agent.take(answer, &sent).unwrap();
    let (datagram, _) = agent.ask(b"num");
    let id = OscoreOption::of(&message(&datagram)).unwrap().kid_context.unwrap().to_vec();
    let r3 = (1u64 << 32) + 2;
    assert_eq!(id, [&[0x50][..], &r2.to_be_bytes(), &r3.to_be_bytes()].concat());
}
