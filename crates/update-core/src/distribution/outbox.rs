//! The outbox: the only place that protects messages and hands out datagrams.

use super::message_ids::MessageIds;
use super::pace::Pace;
use super::{DistributionConfig, Members, Output, Tallies};
use crate::census::Query;
use crate::command::Command;
use crate::limits::{
    BOOT_SKIP, DATAGRAM_BYTES_MAX, DISTRIBUTOR_RESERVE_LOW, DISTRIBUTOR_RESERVE_STEP, SKIP_AGAIN_AFTER,
};
use crate::outgoing::Outgoing;
use crate::random::Random;
use crate::resource::Resource;
use crate::time::{Duration, Instant};
use coap_wire::{Block, Code, Message, NoResponse, Token, Type, WriteError, Writer, option};
use core::net::SocketAddr;
use group_oscore::{
    GroupContext, MemberId, Mode, PartialIv, ProtectError, Received, ReceivedRequest, Recipients,
    ReplayWindow, Reservation, ResponseMode, ResponsePiv, SentRequest, UnprotectError, Unproven, Verified,
    VerifiedResponse,
};

/// Room for one datagram that leaves now. The sender consumes it, so that two cannot be sent.
pub(super) struct Slot<'a> {
    pub(super) now: Instant,
    pub(super) buffer: &'a mut [u8],
}

/// A datagram in the buffer, protected and counted. Only the outbox makes one.
#[derive(Debug)]
#[must_use]
pub(super) struct Sent {
    to: SocketAddr,
    len: usize,
    /// The port that it leaves from.
    source: u8,
}

impl From<Sent> for Output {
    fn from(Sent { to, len, source }: Sent) -> Self {
        Self::Transmit { to, len, source }
    }
}

impl Sent {
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

/// A PUT of one block to the group (protocol.md \[plain\]).
pub(super) struct Put<'a> {
    pub(super) resource: Resource,
    /// The Uri-Query options; empty ones are left out.
    pub(super) queries: [&'a [u8]; 2],
    pub(super) block: Block,
    pub(super) payload: &'a [u8],
}

/// Where a reply goes, and the request that it answers.
#[derive(Debug)]
pub(super) struct Requester {
    pub(super) from: SocketAddr,
    pub(super) token: Token,
    pub(super) binding: ReceivedRequest,
    /// The Message ID to acknowledge, if the request was Confirmable.
    pub(super) acknowledge: Option<u16>,
    /// Whether the reply has its own Partial IV because the request's nonce must not be used.
    pub(super) piv: ResponsePiv,
    /// Whether its number may come again and again: the request may be a replay, or numbers are used again.
    pub(super) is_unproven: bool,
}

/// The recipient of a query.
#[derive(Debug, Clone, Copy)]
pub(super) enum To {
    Group,
    /// One agent, in pairwise mode.
    Agent(SocketAddr, MemberId),
}

/// The outbox. It also unprotects received messages, because both directions need the same `GroupContext`.
pub(super) struct Outbox {
    context: GroupContext<Members>,
    coap_group: SocketAddr,
    pace: Pace,
    message_ids: MessageIds,
    token: u32,
    /// Agents may have booted since numbers were last skipped.
    skip_pending: bool,
    skipped_at: Option<Instant>,
    tallies: Tallies,
}

impl Outbox {
    pub(super) fn new(
        config: &DistributionConfig,
        context: GroupContext<Members>,
        random: &mut Random,
        now: Instant,
    ) -> Self {
        let message_ids = MessageIds::new(context.next_sequence_number(), context.recipients());
        Self {
            context,
            coap_group: config.coap_group,
            pace: Pace::new(config.rate, config.overhead_bytes, now),
            message_ids,
            token: (random.next_u64() & 0xffff_ffff) as u32,
            // Agents may have booted while the distributor was not listening.
            skip_pending: true,
            skipped_at: None,
            tallies: Tallies::default(),
        }
    }

    /// Sends one block to the group: Non-confirmable, with Block1 inside, no response wanted.
    pub(super) fn put(&mut self, slot: Slot<'_>, put: &Put<'_>) -> Result<Sent, ProtectError> {
        let token = self.next_token();
        let (source, message_id) = self.message_ids.for_put(slot.now);
        let header = Outgoing { ty: Type::NonConfirmable, code: Code::PUT, message_id, token };
        let (sent, _) = self.request(slot, To::Group, &header, |writer| {
            // RFC 7252 orders options by number.
            put.resource.write_path(writer)?;
            for query in put.queries.into_iter().filter(|query| !query.is_empty()) {
                writer.option(option::URI_QUERY, query)?;
            }
            writer.option(option::BLOCK1, put.block.encode().as_bytes())?;
            writer.option(option::NO_RESPONSE, &[NoResponse::ALL_SUPPRESSED.value()])?;
            writer.payload(put.payload).map(|_| ())
        })?;
        match put.resource {
            Resource::Image(_) => self.tallies.blocks_multicast += 1,
            Resource::Parity(_) => self.tallies.symbols_multicast += 1,
            _ => {}
        }
        if let Some(free) = self.message_ids.put_free_at() {
            self.pace.hold_until(free);
        }
        Ok(Sent { source, ..sent })
    }

    /// Sends an order, with the Echo value that its agent requires; empty for none.
    pub(super) fn order(
        &mut self,
        slot: Slot<'_>,
        resource: Resource,
        command: &Command<'_>,
        echo: &[u8],
        to: To,
    ) -> Result<(Sent, Token, SentRequest), ProtectError> {
        let mut payload = [0; DATAGRAM_BYTES_MAX];
        let len = command.encode(&mut payload).ok_or(ProtectError::BufferTooSmall)?;
        let header = self.header(slot.now, to, Code::POST);
        let content = |writer: &mut Writer<'_>| {
            resource.write_path(writer)?;
            if !echo.is_empty() {
                writer.option(option::ECHO, echo)?;
            }
            writer.payload(&payload[..len]).map(|_| ())
        };
        let (sent, binding) = self.request(slot, to, &header, content)?;
        Ok((sent, header.token, binding))
    }

    /// Tells an agent that its numbers were used before. No answer is wanted.
    pub(super) fn tell_rewind(&mut self, slot: Slot<'_>, to: To) -> Result<Sent, ProtectError> {
        let header = self.header(slot.now, to, Code::POST);
        let (sent, _) = self.request(slot, to, &header, |writer| {
            Resource::Rewind.write_path(writer)?;
            writer.option(option::NO_RESPONSE, &[NoResponse::ALL_SUPPRESSED.value()]).map(|_| ())
        })?;
        Ok(sent)
    }

    /// Sends a question. The Token and the binding identify its answers.
    pub(super) fn query(
        &mut self,
        slot: Slot<'_>,
        query: &Query<'_>,
        to: To,
    ) -> Result<(Sent, Token, SentRequest), ProtectError> {
        let mut payload = [0; DATAGRAM_BYTES_MAX];
        let len = query.encode(&mut payload).ok_or(ProtectError::BufferTooSmall)?;
        let header = self.header(slot.now, to, Code::FETCH);
        let (sent, binding) = self.request(slot, to, &header, |writer| {
            Resource::Status.write_path(writer)?;
            writer.payload(&payload[..len]).map(|_| ())
        })?;
        Ok((sent, header.token, binding))
    }

    /// Sends the answer to a request.
    pub(super) fn reply(
        &mut self,
        slot: Slot<'_>,
        requester: &mut Requester,
        code: Code,
        content: impl FnOnce(&mut Writer<'_>) -> Result<(), WriteError>,
    ) -> Result<Sent, ProtectError> {
        let (ty, message_id) = match requester.acknowledge {
            Some(message_id) => (Type::Acknowledgement, message_id),
            None => (Type::NonConfirmable, self.message_id_of_reply(requester)),
        };
        let mut plain = [0; DATAGRAM_BYTES_MAX];
        let header = Outgoing { ty, code, message_id, token: requester.token };
        let message = build(&header, &mut plain, content)?;
        let (binding, mode) = (&mut requester.binding, ResponseMode::Pairwise);
        let len = self.context.protect_response(&message, binding, mode, requester.piv, slot.buffer)?;
        self.tallies.datagrams_unicast += 1;
        self.tallies.bytes_unicast += len as u64;
        if code == Code::CONTENT {
            self.tallies.blocks_unicast += 1;
        }
        self.pace.sent(slot.now, len);
        Ok(Sent { to: requester.from, len, source: 0 })
    }

    /// Acknowledges a Confirmable answer (RFC 10020 section 3.1.1) with an unprotected Empty message.
    pub(super) fn acknowledge(
        &mut self,
        slot: Slot<'_>,
        to: SocketAddr,
        message_id: u16,
    ) -> Result<Sent, ProtectError> {
        let header =
            Outgoing { ty: Type::Acknowledgement, code: Code::EMPTY, message_id, token: Token::default() };
        let built = header.build(slot.buffer, |_| Ok(())).ok_or(ProtectError::BufferTooSmall)?;
        let len = built.len();
        self.tallies.datagrams_unicast += 1;
        self.tallies.bytes_unicast += len as u64;
        self.pace.sent(slot.now, len);
        Ok(Sent { to, len, source: 0 })
    }

    fn request(
        &mut self,
        slot: Slot<'_>,
        to: To,
        header: &Outgoing,
        content: impl FnOnce(&mut Writer<'_>) -> Result<(), WriteError>,
    ) -> Result<(Sent, SentRequest), ProtectError> {
        let mut plain = [0; DATAGRAM_BYTES_MAX];
        let message = build(header, &mut plain, content)?;
        let (address, mode) = match to {
            To::Group => (self.coap_group, Mode::Group),
            To::Agent(address, id) => (address, Mode::Pairwise(id)),
        };
        let (len, binding) = self.context.protect_request(&message, mode, slot.buffer)?;
        match to {
            To::Group => {
                self.tallies.datagrams_multicast += 1;
                self.tallies.bytes_multicast += len as u64;
            }
            To::Agent(..) => {
                self.tallies.datagrams_unicast += 1;
                self.tallies.bytes_unicast += len as u64;
            }
        }
        self.pace.sent(slot.now, len);
        Ok((Sent { to: address, len, source: 0 }, binding))
    }

    /// The header of a request that is answered.
    fn header(&mut self, now: Instant, to: To, code: Code) -> Outgoing {
        let message_id = match to {
            To::Group => self.message_ids.for_group(now),
            To::Agent(_, id) => self.message_ids.for_agent(self.context.recipients(), id),
        };
        Outgoing { ty: Type::NonConfirmable, code, message_id, token: self.next_token() }
    }

    fn message_id_of_reply(&mut self, requester: &Requester) -> u16 {
        if requester.is_unproven {
            return self.message_ids.for_agent(self.context.recipients(), requester.binding.kid());
        }
        MessageIds::for_reply(requester.binding.partial_iv().value())
    }

    /// A Token that has not been used for a long time (RFC 10020 section 3.1.5): a 32-bit counter.
    fn next_token(&mut self) -> Token {
        self.token = self.token.wrapping_add(1);
        Token::new(&self.token.to_be_bytes()).unwrap_or_default()
    }
}

/// Sender Sequence Numbers and Recipient Contexts.
impl Outbox {
    /// What must be stored before anything more is sent.
    pub(super) fn reservation_due(&self) -> Option<Reservation> {
        self.context.reservation_due(DISTRIBUTOR_RESERVE_LOW, DISTRIBUTOR_RESERVE_STEP)
    }

    /// Takes a durable reservation. One that another context made changes nothing: this context's own is
    /// requested again.
    pub(super) fn reserve(&mut self, reservation: Reservation) {
        let _ = self.context.reserve(reservation);
    }

    /// Whether nothing can be protected any more.
    pub(super) fn is_exhausted(&self) -> bool {
        self.context.remaining() == 0
    }

    pub(super) fn next_sequence_number(&self) -> u64 {
        self.context.next_sequence_number()
    }

    /// Agents have booted, or soon will: skips numbers for them at the next opportunity.
    pub(super) const fn skip_soon(&mut self) {
        self.skip_pending = true;
    }

    /// \[bound\]: agents that have just booted accept nothing below their stored bound. The same holds before
    /// the first datagram and after an activation. Numbers are skipped at most once in
    /// [`SKIP_AGAIN_AFTER`](crate::limits::SKIP_AGAIN_AFTER).
    pub(super) fn skip_when_due(&mut self, now: Instant) {
        let long_ago = self.skipped_at.is_none_or(|at| now.since(at) >= SKIP_AGAIN_AFTER);
        if self.skip_pending && long_ago {
            self.context.skip(BOOT_SKIP);
            self.skip_pending = false;
            self.skipped_at = Some(now);
        }
    }

    /// Skips all numbers below this one.
    pub(super) fn skip_to(&mut self, number: u64) {
        self.context.skip(number.saturating_sub(self.context.next_sequence_number()));
    }

    /// The number of a group request that this distributor itself protected, at any time.
    pub(super) fn own_request(&self, datagram: &mut [u8]) -> Option<u64> {
        self.context.own_request(datagram).ok().map(PartialIv::value)
    }

    /// The Recipient Contexts, in the order of the fleet's agents.
    pub(super) const fn members(&self) -> &Members {
        self.context.recipients()
    }

    pub(super) fn unprotect_request<'d>(
        &mut self,
        datagram: &'d mut [u8],
    ) -> Result<Received<'d>, UnprotectError> {
        self.context.unprotect_request(datagram)
    }

    /// Accepts a request as fresh, because its Echo value is the one that was sent.
    pub(super) fn accept_echo<'d>(&mut self, unproven: Unproven<'d>) -> Result<Verified<'d>, UnprotectError> {
        self.context.accept_echo(unproven)
    }

    /// From now on a request of this agent must be proved fresh.
    pub(super) fn doubt(&mut self, agent: MemberId) {
        if let Some(recipient) = self.context.recipients_mut().get_mut(agent) {
            *recipient.window_mut() = ReplayWindow::invalid();
        }
    }

    pub(super) fn unprotect_response<'d>(
        &mut self,
        datagram: &'d mut [u8],
        binding: &SentRequest,
    ) -> Result<VerifiedResponse<'d>, UnprotectError> {
        self.context.unprotect_response(datagram, binding)
    }
}

/// The pace, and the tallies of what was sent.
impl Outbox {
    /// Continues with these Message IDs.
    pub(super) fn follow(&mut self, before: MessageIds) {
        self.message_ids.follow(before);
    }

    pub(super) fn message_ids(&self) -> MessageIds {
        self.message_ids.clone()
    }

    /// The moment from which the next datagram may leave.
    pub(super) const fn free_at(&self) -> Instant {
        self.pace.free_at()
    }

    /// Notes that there is nothing to send now.
    pub(super) const fn pause(&mut self) {
        self.pace.pause();
    }

    pub(super) const fn bits_per_second(&self) -> u64 {
        self.pace.bits_per_second()
    }

    /// How long this many bytes take at the current pace.
    pub(super) fn airtime(&self, bytes: u64) -> Duration {
        Duration::from_micros(bytes * 8_000_000 / self.pace.bits_per_second())
    }

    /// Adapts the pace to the result of a round: see [`Pace::adapt`].
    pub(super) fn adapt(&mut self, sent: u32, missed_by_the_best: u32) {
        self.pace.adapt(sent, missed_by_the_best);
    }

    /// Counts the loss: the agent still misses `missed` of the `awaited` blocks that were sent to it.
    pub(super) fn count_loss(&mut self, awaited: u32, missed: u32) {
        self.tallies.blocks_awaited += u64::from(awaited);
        self.tallies.blocks_missed += u64::from(missed);
    }

    pub(super) const fn tallies(&self) -> Tallies {
        self.tallies
    }
}

fn build<'b>(
    header: &Outgoing,
    plain: &'b mut [u8],
    content: impl FnOnce(&mut Writer<'_>) -> Result<(), WriteError>,
) -> Result<Message<'b>, ProtectError> {
    let plain = header.build(plain, content).ok_or(ProtectError::BufferTooSmall)?;
    Message::parse(plain).map_err(|_| ProtectError::BufferTooSmall)
}
