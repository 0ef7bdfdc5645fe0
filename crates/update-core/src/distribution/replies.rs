//! What agents ask of the distributor: repair by Block2, and the announcement of a boot (DESIGN \[repair\],
//! [bound], [requests]).

use super::{Distribution, Phase};
use crate::census::Report;
use crate::limits::{DATAGRAM_BYTES_MAX, REPLIES_MAX};
use crate::outgoing::Outgoing;
use crate::resource::Resource;
use crate::time::Instant;
use coap_wire::{Block, Code, Message, Token, Type, option};
use core::net::SocketAddr;
use group_oscore::{MessageMode, Received, ReceivedRequest, ResponseMode, ResponsePiv};

/// The critical options that requests to the distributor may carry.
const KNOWN_OPTIONS: [u16; 2] = [option::URI_PATH, option::BLOCK2];

/// An answer that waits for its turn at the pace.
#[derive(Debug)]
pub(super) struct Reply {
    to: SocketAddr,
    token: Token,
    binding: ReceivedRequest,
    acknowledge: Option<u16>,
    content: Content,
    /// Its own Partial IV, where the request's nonce may not be used.
    piv: ResponsePiv,
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

/// The parts of a request that outlive its datagram.
struct Request {
    from: SocketAddr,
    index: usize,
    token: Token,
    binding: ReceivedRequest,
    acknowledge: Option<u16>,
    piv: ResponsePiv,
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
        let (mut request, piv) = match self.context.unprotect_request(bytes) {
            Ok(Received::Fresh(request)) => (request, ResponsePiv::OfRequest),
            Ok(Received::Unproven(mut unproven)) => {
                let Some(index) = self.context.recipients().index(unproven.kid()) else { return };
                let Some(agent) = self.agents.get_mut(index) else { return };
                let returned =
                    unproven.echo().is_some_and(|echo| agent.echo(now).is_some_and(|sent| sent == echo));
                if !returned {
                    let (token, binding) = (unproven.token(), unproven.take_binding());
                    let acknowledge = (unproven.ty() == Type::Confirmable).then(|| unproven.message_id());
                    let piv = ResponsePiv::Own;
                    return self.challenge(now, Request { from, index, token, binding, acknowledge, piv });
                }
                agent.echo = None;
                // The window is valid again; this one answer still shows its own Partial IV.
                let Ok(request) = self.context.accept_echo(unproven) else { return };
                (request, ResponsePiv::Own)
            }
            Err(_) => return,
        };
        if !matches!(request.mode(), MessageMode::Pairwise) {
            return;
        }
        let Some(index) = self.context.recipients().index(request.kid()) else { return };
        if let Some(agent) = self.agents.get_mut(index) {
            agent.address = Some(from);
        }
        let acknowledge = (request.ty() == Type::Confirmable).then(|| request.message_id());
        let (token, binding) = (request.token(), request.take_binding());
        let meta = Request { from, index, token, binding, acknowledge, piv };
        let body = request.body();
        if body.unknown_critical(&KNOWN_OPTIONS).is_some() {
            return self.reply(meta, Content::Code(Code::BAD_OPTION));
        }
        match (body.code(), Resource::of(&body)) {
            (Code::POST, Some(Resource::Boot)) => self.on_boot(meta, body.payload()),
            (Code::GET, Some(resource)) => {
                let block = body.option(option::BLOCK2).and_then(|value| Block::parse(value).ok());
                self.on_get(meta, resource, block);
            }
            _ => self.reply(meta, Content::Code(Code::NOT_FOUND)),
        }
    }

    /// [requests]: a window that cannot tell a replay asks for proof, under its own Partial IV. The value
    /// stays the same for a while, or replayed requests would make every answer to it too late.
    fn challenge(&mut self, now: Instant, request: Request) {
        let Some(agent) = self.agents.get_mut(request.index) else { return };
        let echo = agent.echo(now).unwrap_or_else(|| self.random.next_u64().to_be_bytes());
        if agent.echo(now).is_none() {
            agent.echo = Some((echo, now));
        }
        self.reply(request, Content::Echo(echo));
    }

    /// [bound]: the agent will accept nothing at or below its stored bound.
    fn on_boot(&mut self, request: Request, payload: &[u8]) {
        self.skip_pending = true;
        if let Ok(report) = Report::decode(payload) {
            self.take_report(request.index, request.from, 0, &report);
        }
        self.reply(request, Content::Code(Code::CHANGED));
    }

    fn on_get(&mut self, request: Request, resource: Resource, block: Option<Block>) {
        let Some(subject) = self.job.as_ref().filter(|_| !self.is_cancelling()) else {
            return self.reply(request, Content::Code(Code::NOT_FOUND));
        };
        let offer = &subject.update.offer;
        let count = match resource {
            Resource::Image(id) if id == offer.id => subject.needed_blocks.count(),
            Resource::Hashes(id) if id == offer.id => subject.needed_pages.count(),
            Resource::Manifest(id) if id == offer.id => {
                subject.update.envelope.len().div_ceil(offer.layout.block_size.bytes() as usize) as u32
            }
            _ => return self.reply(request, Content::Code(Code::NOT_FOUND)),
        };
        // The distributor answers in the transfer's block size, which the agent must have asked for or take
        // instead of a larger one (RFC 7959 section 2.4).
        let size_exponent = offer.layout.block_size.exponent();
        let number = block.map_or(0, |block| block.number);
        let right_size = block.is_none_or(|block| {
            block.size_exponent == size_exponent || (block.number == 0 && block.size_exponent > size_exponent)
        });
        if number >= count || !right_size {
            return self.reply(request, Content::Code(Code::BAD_REQUEST));
        }
        let block = Block { number, more: number + 1 < count, size_exponent };
        self.reply(request, Content::Block(resource, block));
    }

    fn reply(&mut self, request: Request, content: Content) {
        // Bounded concurrency: who finds the queue full asks again later.
        if self.replies.len() < REPLIES_MAX {
            let Request { from: to, token, binding, acknowledge, piv, .. } = request;
            self.replies.push_back(Reply { to, token, binding, acknowledge, content, piv });
        }
    }

    /// Builds and protects the oldest answer.
    pub(super) fn next_reply(&mut self, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let mut reply = self.replies.pop_front()?;
        let (ty, message_id) = match reply.acknowledge {
            Some(message_id) => (Type::Acknowledgement, message_id),
            None => (Type::NonConfirmable, self.next_message_id()),
        };
        let mut plain = [0; DATAGRAM_BYTES_MAX];
        let plain = self.write_reply(&reply, ty, message_id, &mut plain)?;
        let message = Message::parse(plain).ok()?;
        let len = self
            .context
            .protect_response(&message, &mut reply.binding, ResponseMode::Pairwise, reply.piv, buffer)
            .ok()?;
        if let Content::Block(..) = reply.content {
            self.tallies.blocks_unicast += 1;
        }
        Some((reply.to, len))
    }

    fn write_reply<'b>(
        &self,
        reply: &Reply,
        ty: Type,
        message_id: u16,
        plain: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        let code = match reply.content {
            Content::Block(..) => Code::CONTENT,
            Content::Echo(_) => Code::UNAUTHORIZED,
            Content::Code(code) => code,
        };
        let payload = match reply.content {
            Content::Block(resource, block) => self.block_of(resource, block)?,
            _ => &[],
        };
        Outgoing { ty, code, message_id, token: reply.token }.build(plain, |writer| {
            if let Content::Block(resource, block) = &reply.content {
                // RFC 9175 section 3.8: Block2 comes with an ETag. The identifier names the bytes for ever.
                if let Resource::Image(id) | Resource::Hashes(id) | Resource::Manifest(id) = resource {
                    writer.option(option::ETAG, &id.0)?;
                }
                writer.option(option::BLOCK2, block.encode().as_bytes())?;
            }
            if let Content::Echo(value) = &reply.content {
                writer.option(option::ECHO, value)?;
            }
            if !payload.is_empty() {
                writer.payload(payload)?;
            }
            Ok(())
        })
    }

    fn block_of(&self, resource: Resource, block: Block) -> Option<&[u8]> {
        let subject = self.job.as_ref()?;
        match resource {
            Resource::Image(_) => self.block.bytes.get(..self.block.len),
            Resource::Hashes(_) => subject.page(block.number),
            Resource::Manifest(_) => {
                let start = block.number as usize * block.size();
                let envelope = &subject.update.envelope;
                envelope.get(start..envelope.len().min(start + block.size()))
            }
            _ => None,
        }
    }
}
