//! What a member asks for.

use super::{Counters, Member};
use crate::agent::Identity;
use crate::labels::parameter;
use crate::limits::{ASK_AGAIN, ASK_AGAIN_MAX, UNANSWERED_MAX};
use crate::material::Material;
use crate::message::read_map;
use crate::message::{Header, plain};
use crate::resource::Resource;
use coap_wire::{Code, Token, Type};
use group_oscore::oscore::RenewalAnswer;
use group_oscore::{MemberId, SentRequest};
use update_core::limits::DATAGRAM_BYTES_MAX;
use update_core::time::Instant;

/// A request to the Group Manager, repeated until it is answered.
#[derive(Debug)]
pub(super) struct Ask {
    what: What,
    due: Instant,
    tried_at: Instant,
    tries: u8,
    /// Tries since the Group Manager was last heard.
    unanswered: u8,
    sent: Option<(Token, SentRequest)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// The keys in force, with this member's Sender ID.
    Keys,
    /// A Sender ID that nobody has had under these keys.
    SenderId,
    /// Their generation: the request says that this member uses the last that it got.
    Num,
}

impl Ask {
    pub(super) const fn keys(due: Instant) -> Self {
        Self { what: What::Keys, due, tried_at: Instant::from_micros(0), tries: 0, unanswered: 0, sent: None }
    }

    pub(super) const fn sender_id(due: Instant) -> Self {
        Self { what: What::SenderId, ..Self::keys(due) }
    }

    pub(super) const fn confirming(due: Instant) -> Self {
        Self { what: What::Num, ..Self::keys(due) }
    }

    pub(super) const fn due(&self) -> Instant {
        self.due
    }
}

impl Member {
    /// Whether it already asks for keys, other than now and then.
    pub(super) fn is_asking(&self) -> bool {
        self.ask.as_ref().is_some_and(|ask| ask.what == What::Keys && ask.tries <= UNANSWERED_MAX)
    }

    /// The Group Manager may be there: repeats the request at once, or a while after the last try.
    pub(super) fn ask_again(&mut self, now: Instant) {
        if let Some(ask) = &mut self.ask {
            ask.due = ask.due.min(now.max(ask.tried_at + ASK_AGAIN));
        }
    }

    /// The request to send now.
    pub(super) fn next_ask(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
        let ask = self.ask.as_mut().filter(|ask| ask.due <= now)?;
        if ask.unanswered >= UNANSWERED_MAX && self.association.is_established() {
            // The Group Manager may have restarted.
            self.association.forget();
        }
        ask.unanswered = ask.unanswered.saturating_add(1);
        ask.tries = ask.tries.saturating_add(1);
        let pause = (ASK_AGAIN * (1 << (ask.tries - 1).min(9))).min(ASK_AGAIN_MAX);
        ask.tried_at = now;
        ask.due = now + pause + self.random.up_to(pause / 4);
        let token = Token::new(&self.random.next_u64().to_be_bytes()[..4])?;
        self.message_id = self.message_id.wrapping_add(1);
        let (group, node) = (self.config.group.as_str(), self.config.node.as_str());
        let (code, resource) = match ask.what {
            What::Keys => (Code::GET, Resource::Node(group, node)),
            What::SenderId => (Code::POST, Resource::Node(group, node)),
            What::Num => (Code::GET, Resource::Num(group)),
        };
        let header = Header { ty: Type::NonConfirmable, code, message_id: self.message_id, token };
        let mut bytes = [0; DATAGRAM_BYTES_MAX];
        let message = plain(header, &mut bytes, |writer| resource.write_path(writer))?;
        let nonce = self.random.next_u64().to_be_bytes();
        let (len, binding) = self.association.protect_request(&message, nonce, buffer).ok()?;
        ask.sent = Some((token, binding));
        Some(len)
    }

    /// Takes a datagram that may answer the request; `false` if its Token belongs to another one.
    pub(super) fn on_answered(
        &mut self,
        now: Instant,
        token: Token,
        bytes: &mut [u8],
        identity: &Identity,
    ) -> bool {
        let Some((_, binding)) =
            self.ask.as_ref().and_then(|ask| ask.sent.as_ref()).filter(|(sent, _)| *sent == token)
        else {
            return false;
        };
        let nonce = self.random.next_u64().to_be_bytes();
        match self.association.unprotect_response(bytes, binding, nonce) {
            Ok(RenewalAnswer::Renewed) => {
                if let Some(ask) = &mut self.ask {
                    // It is there.
                    (ask.due, ask.tries, ask.unanswered, ask.sent) = (now, 0, 0, None);
                }
            }
            Ok(RenewalAnswer::Response(response)) => {
                let body = response.body();
                self.on_answer(now, body.code(), body.payload(), identity);
            }
            Err(_) => {}
        }
        true
    }

    fn on_answer(&mut self, now: Instant, code: Code, payload: &[u8], identity: &Identity) {
        let Some(ask) = &mut self.ask else { return };
        match (code, ask.what) {
            (Code::CONTENT, What::Num) => self.ask = None,
            (Code::CONTENT, What::Keys) => {
                let Ok(material) = Material::decode(payload) else { return };
                self.ask = None;
                let is_taken = self.take(payload, &material, identity);
                if !is_taken && self.counters != Counters::Known {
                    // It was given another Sender ID meanwhile, or cannot use these keys.
                    self.ask = Some(Ask::sender_id(now + ASK_AGAIN_MAX));
                }
            }
            (Code::CHANGED, What::SenderId) => {
                let Some(id) = given_id(payload) else { return };
                self.counters = Counters::Given(id);
                self.ask = Some(Ask::keys(now));
            }
            // Not a member any more, or not yet again.
            (Code::FORBIDDEN | Code::NOT_FOUND, _) => {
                ask.sent = None;
                ask.tries = u8::MAX;
                ask.due = now + ASK_AGAIN_MAX + self.random.up_to(ASK_AGAIN_MAX / 4);
                self.expelled = true;
            }
            // It is there, and has its reasons.
            _ => ask.unanswered = 0,
        }
    }
}

/// The Sender ID in an answer.
fn given_id(payload: &[u8]) -> Option<MemberId> {
    let mut id = None;
    let read = read_map(payload, |label, decoder| {
        if label == parameter::GROUP_SENDER_ID {
            id = MemberId::new(decoder.bytes()?);
        }
        Ok(label == parameter::GROUP_SENDER_ID)
    });
    id.filter(|id| read.is_ok() && !id.as_bytes().is_empty())
}
