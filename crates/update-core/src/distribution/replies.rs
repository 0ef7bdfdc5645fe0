//! What agents ask of the distributor: repair by Block2, and the announcement of a boot (protocol.md
//! \[repair\], [bound], [requests]).

use super::job::Subject;
use super::outbox::{Requester, Sent, Slot};
use super::{Distribution, LoadedBlock, Phase};
use crate::census::Report;
use crate::limits::REPLIES_MAX;
use crate::resource::Resource;
use crate::time::Instant;
use coap_wire::{Block, Code, Message, Type, option};
use core::net::SocketAddr;
use group_oscore::{MessageMode, ProtectError, Received, ResponsePiv};

/// The critical options that requests to the distributor may carry.
const KNOWN_OPTIONS: [u16; 2] = [option::URI_PATH, option::BLOCK2];

/// An answer that waits for its turn at the pace.
#[derive(Debug)]
pub(super) struct Reply {
    requester: Requester,
    content: Content,
}

#[derive(Debug, Clone, Copy)]
enum Content {
    /// This block of this resource.
    Block(Resource, Block),
    /// 4.01 with an Echo value.
    Echo([u8; 8]),
    /// A code and nothing else.
    Code(Code),
}

impl Reply {
    pub(super) fn image_block(&self) -> Option<u32> {
        match self.content {
            Content::Block(Resource::Image(_), block) => Some(block.number),
            _ => None,
        }
    }
}

impl Distribution {
    pub(super) fn on_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &mut [u8]) {
        if matches!(self.phase, Phase::Finished) {
            return;
        }
        let Ok(message) = Message::parse(bytes) else { return };
        if message.code().is_response() {
            let token = message.token();
            return self.on_response(now, from, token, bytes);
        }
        let (mut request, piv) = match self.outbox.unprotect_request(bytes) {
            Ok(Received::Fresh(request)) => (request, ResponsePiv::OfRequest),
            Ok(Received::Unproven(mut unproven)) => {
                let Some(index) = self.outbox.members().index(unproven.kid()) else { return };
                let Some(agent) = self.fleet.get_mut(index) else { return };
                let returned = unproven.echo().is_some_and(|echo| agent.returns_echo(now, echo));
                if !returned {
                    let (token, binding) = (unproven.token(), unproven.take_binding());
                    let acknowledge = (unproven.ty() == Type::Confirmable).then(|| unproven.message_id());
                    let piv = ResponsePiv::Own;
                    return self.challenge(now, index, Requester { from, token, binding, acknowledge, piv });
                }
                // The window is valid again; this one answer still shows its own Partial IV.
                let Ok(request) = self.outbox.accept_echo(unproven) else { return };
                (request, ResponsePiv::Own)
            }
            Err(_) => return,
        };
        if !matches!(request.mode(), MessageMode::Pairwise) {
            return;
        }
        let Some(index) = self.outbox.members().index(request.kid()) else { return };
        if let Some(agent) = self.fleet.get_mut(index) {
            agent.heard_from(from);
        }
        let acknowledge = (request.ty() == Type::Confirmable).then(|| request.message_id());
        let (token, binding) = (request.token(), request.take_binding());
        let requester = Requester { from, token, binding, acknowledge, piv };
        let body = request.body();
        if body.unknown_critical(&KNOWN_OPTIONS).is_some() {
            return self.reply(requester, Content::Code(Code::BAD_OPTION));
        }
        match (body.code(), Resource::of(&body)) {
            (Code::POST, Some(Resource::Boot)) => self.on_boot(index, requester, body.payload()),
            (Code::GET, Some(resource)) => {
                let block = body.option(option::BLOCK2).and_then(|value| Block::parse(value).ok());
                self.on_get(requester, resource, block);
            }
            _ => self.reply(requester, Content::Code(Code::NOT_FOUND)),
        }
    }

    /// [requests]: a window that cannot tell a replay asks for proof, under its own Partial IV. The value
    /// stays the same for a while, or replayed requests would make every answer to it too late.
    fn challenge(&mut self, now: Instant, index: usize, requester: Requester) {
        let Some(agent) = self.fleet.get_mut(index) else { return };
        let echo = agent.challenge(now, || self.random.next_u64().to_be_bytes());
        self.reply(requester, Content::Echo(echo));
    }

    /// [bound]: the agent will accept nothing at or below its stored bound.
    fn on_boot(&mut self, index: usize, requester: Requester, payload: &[u8]) {
        self.outbox.skip_soon();
        if let Ok(report) = Report::decode(payload) {
            self.take_report(index, requester.from, 0, &report);
        }
        self.reply(requester, Content::Code(Code::CHANGED));
    }

    fn on_get(&mut self, requester: Requester, resource: Resource, block: Option<Block>) {
        let Some(subject) = self.job.as_ref().filter(|_| !self.is_cancelling()) else {
            return self.reply(requester, Content::Code(Code::NOT_FOUND));
        };
        let offer = &subject.update.offer;
        let count = match resource {
            Resource::Image(id) if id == offer.id => subject.needed_blocks.count(),
            Resource::Hashes(id) if id == offer.id => subject.needed_pages.count(),
            Resource::Manifest(id) if id == offer.id => {
                subject.update.envelope.len().div_ceil(offer.layout.block_size.bytes() as usize) as u32
            }
            _ => return self.reply(requester, Content::Code(Code::NOT_FOUND)),
        };
        // The distributor answers in the transfer's block size, which the agent must have asked for or take
        // instead of a larger one (RFC 7959 section 2.4).
        let size_exponent = offer.layout.block_size.exponent();
        let number = block.map_or(0, |block| block.number);
        let right_size = block.is_none_or(|block| {
            block.size_exponent == size_exponent || (block.number == 0 && block.size_exponent > size_exponent)
        });
        if number >= count || !right_size {
            return self.reply(requester, Content::Code(Code::BAD_REQUEST));
        }
        let block = Block { number, more: number + 1 < count, size_exponent };
        self.reply(requester, Content::Block(resource, block));
    }

    fn reply(&mut self, requester: Requester, content: Content) {
        // Bounded concurrency: who finds the queue full asks again later.
        if self.replies.len() < REPLIES_MAX {
            self.replies.push_back(Reply { requester, content });
        }
    }

    /// Sends the oldest reply.
    pub(super) fn next_reply(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let Some(Reply { mut requester, content }) = self.replies.pop_front() else { return Ok(None) };
        let sent = match content {
            Content::Block(resource, block) => {
                let Some(payload) = block_of(self.job.as_ref(), &self.block, resource, block) else {
                    return Ok(None);
                };
                self.outbox.reply(slot, &mut requester, Code::CONTENT, |writer| {
                    // RFC 9175 section 3.8: Block2 comes with an ETag. The identifier names the bytes for
                    // ever.
                    if let Resource::Image(id) | Resource::Hashes(id) | Resource::Manifest(id) = resource {
                        writer.option(option::ETAG, &id.0)?;
                    }
                    writer.option(option::BLOCK2, block.encode().as_bytes())?;
                    if payload.is_empty() { Ok(()) } else { writer.payload(payload).map(|_| ()) }
                })
            }
            Content::Echo(value) => self.outbox.reply(slot, &mut requester, Code::UNAUTHORIZED, |writer| {
                writer.option(option::ECHO, &value).map(|_| ())
            }),
            Content::Code(code) => self.outbox.reply(slot, &mut requester, code, |_| Ok(())),
        };
        sent.map(Some)
    }
}

/// The bytes of a block that an agent asked for. An image block is the one that was read last.
fn block_of<'a>(
    subject: Option<&'a Subject>,
    loaded: &'a LoadedBlock,
    resource: Resource,
    block: Block,
) -> Option<&'a [u8]> {
    let subject = subject?;
    match resource {
        Resource::Image(_) => loaded.bytes.get(..loaded.len),
        Resource::Hashes(_) => subject.page(block.number),
        Resource::Manifest(_) => {
            let start = block.number as usize * block.size();
            let envelope = &subject.update.envelope;
            envelope.get(start..envelope.len().min(start + block.size()))
        }
        _ => None,
    }
}
