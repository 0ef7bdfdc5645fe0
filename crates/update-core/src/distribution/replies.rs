//! Replies: answers to agents that wait for their turn.

use super::image_block::ImageBlock;
use super::job::Subject;
use super::outbox::{Requester, Sent, Slot, To};
use super::parts::Parts;
use crate::limits::REPLIES_PER_AGENT_MAX;
use crate::resource::Resource;
use alloc::collections::VecDeque;
use coap_wire::{Block, Code, option};
use core::net::SocketAddr;
use group_oscore::ProtectError;

/// The waiting replies, oldest first.
#[derive(Debug, Default)]
pub(super) struct Replies(VecDeque<Reply>);

/// An answer that waits for its turn.
#[derive(Debug)]
pub(super) struct Reply {
    /// The agent, by index.
    agent: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Answer {
        requester: Requester,
        content: Content,
    },
    /// The acknowledgement of a Confirmable answer.
    Acknowledgement {
        to: SocketAddr,
        message_id: u16,
    },
    /// It uses numbers again, as an answer from here shows.
    Rewind {
        from: SocketAddr,
    },
}

/// The content of a reply.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    /// A block of a resource.
    Block(Resource, Block),
    /// 4.01 with an Echo value.
    Echo([u8; 8]),
    /// Only a code.
    Code(Code),
}

impl Replies {
    /// Queues a reply to the agent with this index.
    pub(super) fn push(&mut self, agent: usize, requester: Requester, content: Content) {
        self.queue(agent, What::Answer { requester, content });
    }

    /// Each agent has a few places in the queue. A request beyond them replaces the agent's latest one and
    /// keeps its turn.
    fn queue(&mut self, agent: usize, what: What) {
        let reply = Reply { agent, what };
        let own = self.0.iter().enumerate().filter(|(_, reply)| reply.agent == agent);
        let (count, last) = own.fold((0, None), |(count, _), (place, _)| (count + 1, Some(place)));
        match last.and_then(|place| self.0.get_mut(place)).filter(|_| count >= REPLIES_PER_AGENT_MAX) {
            Some(last) => *last = reply,
            None => self.0.push_back(reply),
        }
    }

    /// Queues the acknowledgement of a Confirmable answer.
    pub(super) fn acknowledge(&mut self, agent: usize, to: SocketAddr, message_id: u16) {
        self.queue(agent, What::Acknowledgement { to, message_id });
    }

    /// Queues that the agent is told that it uses numbers again.
    pub(super) fn tell_rewind(&mut self, agent: usize, from: SocketAddr) {
        let waits = |reply: &Reply| reply.agent == agent && matches!(reply.what, What::Rewind { .. });
        if !self.0.iter().any(waits) {
            self.queue(agent, What::Rewind { from });
        }
    }

    /// Drops what this agent has asked for.
    pub(super) fn forget(&mut self, agent: usize) {
        self.0.retain(|reply| reply.agent != agent);
    }

    /// The next reply to send.
    pub(super) fn next(&self) -> Option<&Reply> {
        self.0.front()
    }

    /// Drops all replies.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Reply {
    /// The image block that it carries.
    pub(super) fn image_block(&self) -> Option<u32> {
        match self.what {
            What::Answer { content: Content::Block(Resource::Image(_), block), .. } => Some(block.number),
            _ => None,
        }
    }
}

impl Parts {
    /// Sends the oldest reply.
    pub(super) fn next_reply(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let Some(Reply { what, agent }) = self.replies.0.pop_front() else { return Ok(None) };
        let (mut requester, content) = match what {
            What::Answer { requester, content } => (requester, content),
            What::Acknowledgement { to, message_id } => {
                return self.outbox.acknowledge(slot, to, message_id).map(Some);
            }
            What::Rewind { from } => {
                let Some(agent) = self.fleet.get_mut(agent) else { return Ok(None) };
                let to = To::Agent(from, agent.id);
                return self.outbox.tell_rewind(slot, to).map(Some);
            }
        };
        let sent = match content {
            Content::Block(resource, block) => {
                let Some(payload) = block_of(self.job.as_ref(), &self.block, resource, block) else {
                    return Ok(None);
                };
                self.outbox.reply(slot, &mut requester, Code::CONTENT, |writer| {
                    // RFC 9175 section 3.8: Block2 comes with an ETag. The identifier names the same bytes
                    // for ever.
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

/// The bytes of a block that an agent asked for. For an image block, those of the block read last.
fn block_of<'a>(
    subject: Option<&'a Subject>,
    loaded: &'a ImageBlock,
    resource: Resource,
    block: Block,
) -> Option<&'a [u8]> {
    let subject = subject?;
    match resource {
        Resource::Image(_) => loaded.bytes(),
        Resource::Hashes(_) => subject.page(block.number),
        Resource::Manifest(_) => {
            let start = block.number as usize * block.size();
            let envelope = &subject.update.envelope;
            envelope.get(start..envelope.len().min(start + block.size()))
        }
        _ => None,
    }
}
