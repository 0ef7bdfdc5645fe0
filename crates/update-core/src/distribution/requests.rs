//! Requests from agents: repair by Block2, and the announcement of a boot (protocol.md \[repair\], [bound],
//! [requests]).

use super::challenge::Proof;
use super::claims::Consequence;
use super::job::Subject;
use super::outbox::Requester;
use super::parts::Parts;
use super::replies::Content;
use super::used_numbers::Rewind;
use super::{Ending, Event};
use crate::census::Report;
use crate::resource::Resource;
use crate::time::Instant;
use coap_wire::{Block, Code, Message, Type, option};
use core::net::SocketAddr;
use group_oscore::{MessageMode, Received, ResponsePiv, Verified};

/// The critical options that requests to the distributor may carry.
const KNOWN_OPTIONS: [u16; 2] = [option::URI_PATH, option::BLOCK2];

impl Parts {
    /// Takes in a datagram; see [`Self::take_report`] for `first_ask` and the return value.
    pub(super) fn on_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &mut [u8],
        first_ask: Option<u32>,
    ) -> Option<Ending> {
        let message = Message::parse(bytes).ok()?;
        if message.code().is_response() {
            let token = message.token();
            return self.on_response(now, from, token, bytes, first_ask);
        }
        let (mut request, piv) = self.open_request(now, from, bytes)?;
        if !matches!(request.mode(), MessageMode::Pairwise) {
            return None;
        }
        let index = self.outbox.members().index(request.kid())?;
        let acknowledge = (request.ty() == Type::Confirmable).then(|| request.message_id());
        let (token, own_piv) = (request.token(), request.partial_iv()?.value());
        let newest = self.questions.sent();
        let agent = self.fleet.get_mut(index).filter(|agent| !agent.is_quarantined())?;
        if agent.rewind().is_some() {
            let (binding, piv) = (request.take_binding(), ResponsePiv::Own);
            let requester = Requester { from, token, binding, acknowledge, piv, is_unproven: true };
            self.replies.push(index, requester, Content::Code(Code::FORBIDDEN));
            return None;
        }
        agent.heard_from(from);
        agent.shows_itself(now);
        // Up to the highest number that was accepted before, another device may have had an answer under this
        // nonce.
        let piv = if agent.numbers.was_used_before(own_piv) { ResponsePiv::Own } else { piv };
        agent.numbers.has_used(own_piv, newest);
        let binding = request.take_binding();
        let requester = Requester { from, token, binding, acknowledge, piv, is_unproven: false };
        let body = request.body();
        if body.unknown_critical(&KNOWN_OPTIONS).is_some() {
            self.replies.push(index, requester, Content::Code(Code::BAD_OPTION));
            return None;
        }
        match (body.code(), Resource::of(&body)) {
            (Code::POST, Some(Resource::Boot)) => {
                return self.on_boot(now, index, requester, own_piv, body.payload());
            }
            (Code::GET, Some(resource)) => {
                let block = body.option(option::BLOCK2).and_then(|value| Block::parse(value).ok());
                let content = self.content_of(resource, block);
                self.replies.push(index, requester, content);
            }
            _ => self.replies.push(index, requester, Content::Code(Code::NOT_FOUND)),
        }
        None
    }

    /// Opens a request that is no replay, and returns which Partial IV its answer must carry.
    fn open_request<'d>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &'d mut [u8],
    ) -> Option<(Verified<'d>, ResponsePiv)> {
        let mut unproven = match self.outbox.unprotect_request(bytes).ok()? {
            Received::Fresh(request) => return Some((request, ResponsePiv::OfRequest)),
            Received::Unproven(unproven) => unproven,
        };
        let index = self.outbox.members().index(unproven.kid())?;
        let agent = self.fleet.get_mut(index).filter(|agent| !agent.is_quarantined())?;
        let own_piv = unproven.partial_iv().value();
        let acknowledge = (unproven.ty() == Type::Confirmable).then(|| unproven.message_id());
        let proof = unproven.echo().and_then(|echo| agent.returns_echo(now, echo, own_piv));
        if proof == Some(Proof::Fresh) {
            // The window is valid again. This one answer still carries its own Partial IV.
            return Some((self.outbox.accept_echo(unproven).ok()?, ResponsePiv::Own));
        }
        let (token, binding) = (unproven.token(), unproven.take_binding());
        let (piv, is_unproven) = (ResponsePiv::Own, true);
        let requester = Requester { from, token, binding, acknowledge, piv, is_unproven };
        if proof == Some(Proof::Rewound) {
            self.note_rewind(index, from);
            self.replies.push(index, requester, Content::Code(Code::FORBIDDEN));
            return None;
        }
        let agent = self.fleet.get_mut(index)?;
        // [requests]: if the window cannot detect a replay, the distributor asks for proof, under its own
        // Partial IV. The Echo value stays the same for a while: otherwise replayed requests would make every
        // answer to it late.
        let echo = agent.challenge(now, own_piv, || self.random.next_u64().to_be_bytes())?;
        self.replies.push(index, requester, Content::Echo(echo));
        None
    }

    /// [rewind]: an agent uses numbers again. Its next request must be proved fresh, however low its number
    /// is, so that it is told.
    pub(super) fn note_rewind(&mut self, index: usize, from: SocketAddr) {
        let Some(agent) = self.fleet.get_mut(index) else { return };
        if agent.note_rewind(Rewind { from }) {
            self.events.push_back(Event::Rewound(agent.id));
            self.replies.forget(index);
            self.outbox.doubt(agent.id);
        }
    }

    /// [bound]: the agent accepts nothing at or below its stored bound.
    fn on_boot(
        &mut self,
        now: Instant,
        index: usize,
        requester: Requester,
        own_piv: u64,
        payload: &[u8],
    ) -> Option<Ending> {
        self.outbox.skip_soon();
        let Ok(report) = Report::decode(payload) else {
            self.replies.push(index, requester, Content::Code(Code::BAD_REQUEST));
            return None;
        };
        let code = match self.on_claim(index, &report) {
            Consequence::Stop(ending) => return Some(ending),
            Consequence::Ignored => return None,
            Consequence::Taken { asked: true } => Code::CONFLICT,
            Consequence::Taken { asked: false } => Code::CHANGED,
        };
        self.take_announcement(now, index, own_piv, &report);
        self.replies.push(index, requester, Content::Code(code));
        None
    }

    /// The reply to a GET of this block.
    fn content_of(&self, resource: Resource, block: Option<Block>) -> Content {
        let serves = |subject: &&Subject| subject.is_at_hand() && !self.is_cancelling();
        let Some(subject) = self.job.as_ref().filter(serves) else {
            return Content::Code(Code::NOT_FOUND);
        };
        let offer = &subject.update.offer;
        let count = match resource {
            Resource::Image(id) if id == offer.id => subject.needed_blocks.count(),
            Resource::Hashes(id) if id == offer.id => subject.needed_pages.count(),
            Resource::Manifest(id) if id == offer.id => {
                subject.update.envelope.len().div_ceil(offer.layout.block_size.bytes() as usize) as u32
            }
            _ => return Content::Code(Code::NOT_FOUND),
        };
        // The distributor answers in the transfer's block size. The agent must have asked for that size, or
        // for a larger one and accept this one (RFC 7959 section 2.4).
        let size_exponent = offer.layout.block_size.exponent();
        let number = block.map_or(0, |block| block.number);
        let right_size = block.is_none_or(|block| {
            block.size_exponent == size_exponent || (block.number == 0 && block.size_exponent > size_exponent)
        });
        if number >= count || !right_size {
            return Content::Code(Code::BAD_REQUEST);
        }
        Content::Block(resource, Block { number, more: number + 1 < count, size_exponent })
    }
}
