//! The channel to the distributor: the only place that protects and opens datagrams. It keeps the bounds of
//! the two counters, which are stored before anything relies on them (protocol.md \[reserve\], [bound]).

use super::AgentContext;
use super::acknowledging::Acknowledging;
use crate::cycle::Cycle;
use crate::limits::{
    AGENT_RESERVE_LOW, AGENT_RESERVE_STEP, DATAGRAM_BYTES_MAX, ECHO_BYTES_MAX, EVIDENCE_BYTES_MAX,
    FLOOR_AHEAD, REPLY_MESSAGE_IDS,
};
use crate::outgoing::Outgoing;
use crate::random::Random;
use crate::record::CounterBounds;
use crate::resource::Resource;
use crate::time::Instant;
use coap_wire::{Block, Code, Message, Token, Type, option};
use core::net::SocketAddr;
use group_oscore::{
    MemberId, MessageMode, Mode, ProtectError, Received, ReceivedRequest, Reservation, ResponseMode,
    ResponsePiv, SentRequest, UnprotectError, VerifiedResponse,
};

/// The context, the stored bounds of its counters, and the Message IDs.
pub(super) struct Channel {
    context: AgentContext,
    distributor: MemberId,
    /// The floor that was stored when the program started.
    first_floor: u64,
    /// The stored floor: Partial IVs below it may have been accepted.
    floor: u64,
    saving_floor: u64,
    saving: Option<Reservation>,
    /// A planned end: the exact numbers are stored once more ...
    exact: bool,
    /// ... and then nothing is sent or accepted any more.
    closed: bool,
    /// When its own numbers were used, from which Message IDs are made.
    used: Cycle,
    /// The last short group request that raised the highest Partial IV, as received.
    evidence: heapless::Vec<u8, EVIDENCE_BYTES_MAX>,
    /// The Echo value that the next request must carry.
    echo: heapless::Vec<u8, ECHO_BYTES_MAX>,
    /// The acknowledgement of the last Confirmable answer.
    pub(super) acknowledging: Acknowledging,
}

/// A request to the distributor.
pub(super) struct Request<'a> {
    pub(super) code: Code,
    pub(super) resource: Resource,
    pub(super) block: Option<Block>,
    pub(super) payload: &'a [u8],
}

/// An answer to the distributor.
pub(super) struct Response<'a> {
    pub(super) code: Code,
    pub(super) token: Token,
    /// The Message ID of a Confirmable request, to acknowledge.
    pub(super) acknowledge: Option<u16>,
    pub(super) echo: &'a Option<[u8; 8]>,
    pub(super) payload: &'a [u8],
}

impl Channel {
    pub(super) const fn new(context: AgentContext, distributor: MemberId, floor: u64) -> Self {
        Self {
            context,
            distributor,
            first_floor: floor,
            floor,
            saving_floor: floor,
            saving: None,
            exact: false,
            closed: false,
            used: Cycle::new(REPLY_MESSAGE_IDS),
            evidence: heapless::Vec::new(),
            echo: heapless::Vec::new(),
            acknowledging: Acknowledging::new(),
        }
    }

    /// This agent's Sender ID.
    pub(super) const fn own_id(&self) -> MemberId {
        self.context.sender_id()
    }

    /// The highest Partial IV accepted from the distributor since the start.
    fn highest(&self) -> Option<u64> {
        self.context.recipients().first()?.window().highest()
    }

    pub(super) fn has_heard_distributor(&self) -> bool {
        self.highest().is_some()
    }

    /// The number above the highest Partial IV accepted from the distributor; after a reboot, as much of it
    /// as the stored floor proves.
    pub(super) fn distributor_next(&self) -> u64 {
        self.highest().map_or(self.first_floor.saturating_sub(FLOOR_AHEAD), |highest| highest + 1)
    }
}

/// The stored bounds.
impl Channel {
    pub(super) fn bounds_due(&self) -> bool {
        let due = self.context.reservation_due(AGENT_RESERVE_LOW, AGENT_RESERVE_STEP).is_some()
            || self.floor_due().is_some();
        self.exact || (due && !self.closed)
    }

    fn floor_due(&self) -> Option<u64> {
        self.context.recipients().first()?.window().floor_due(self.floor, FLOOR_AHEAD)
    }

    pub(super) const fn close(&mut self) {
        self.exact = true;
        self.closed = true;
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// The bounds to store now.
    pub(super) fn begin_saving(&mut self) -> CounterBounds {
        let exact = core::mem::take(&mut self.exact);
        self.saving = self.context.reservation_due(AGENT_RESERVE_LOW, AGENT_RESERVE_STEP);
        self.saving_floor = self.floor_due().unwrap_or(self.floor);
        let mut reserved_end = self.context.next_sequence_number() + self.context.remaining();
        if let Some(reservation) = &self.saving {
            reserved_end = reservation.end();
        }
        if exact {
            self.saving = None;
            reserved_end = self.context.next_sequence_number();
            // Not below what was proved before an earlier reboot.
            self.saving_floor = self.highest().map_or(self.floor, |highest| highest + 1);
        }
        CounterBounds { gid: self.context.common().gid(), reserved_end, floor: self.saving_floor }
    }

    /// The bounds are durable, so they may be used now.
    pub(super) fn saved(&mut self) {
        self.floor = self.saving_floor;
        if let Some(reservation) = self.saving.take() {
            // This context made it, so it cannot be refused.
            let _ = self.context.reserve(reservation);
        }
    }
}

/// Datagrams.
impl Channel {
    /// Opens a request. A short one that turns out to be the distributor's newest group request is kept as
    /// received (protocol.md \[evidence\]).
    pub(super) fn open_request<'b>(&mut self, bytes: &'b mut [u8]) -> Result<Received<'b>, UnprotectError> {
        let before = self.highest();
        // It is decrypted in place.
        let as_it_came = heapless::Vec::<u8, EVIDENCE_BYTES_MAX>::from_slice(bytes).ok();
        let received = self.context.unprotect_request(bytes)?;
        if let (Received::Fresh(request), Some(as_it_came)) = (&received, as_it_came) {
            let is_newest = request.partial_iv().is_some_and(|piv| Some(piv.value()) > before);
            if request.mode() == MessageMode::Group && is_newest {
                self.evidence = as_it_came;
            }
        }
        Ok(received)
    }

    /// The evidence for the distributor's numbers that this agent has seen; `None` after a reboot.
    pub(super) fn evidence(&self) -> Option<&[u8]> {
        Some(self.evidence.as_slice()).filter(|evidence| !evidence.is_empty())
    }

    pub(super) fn open_response<'b>(
        &mut self,
        from: SocketAddr,
        bytes: &'b mut [u8],
        to: &SentRequest,
    ) -> Option<VerifiedResponse<'b>> {
        let response = self.context.unprotect_response(bytes, to).ok()?;
        // [answers]: in pairwise mode only.
        if response.mode() != MessageMode::Pairwise {
            return None;
        }
        if response.ty() == Type::Confirmable {
            self.acknowledging.verified(from, response.message_id());
        }
        Some(response)
    }

    /// The distributor wants proof that a request is no replay: the next one carries this value.
    pub(super) fn echo_next(&mut self, echo: &[u8]) {
        self.echo = heapless::Vec::from_slice(echo).unwrap_or_default();
    }

    /// The Message ID of a message that takes the next number: none comes again before 65,536 others.
    fn next_message_id(&mut self, now: Instant) -> u16 {
        let number = self.context.next_sequence_number();
        self.used.used(number, now);
        (number & 0xffff) as u16
    }

    /// From when the next request may be sent (protocol.md \[message ids\]); `None`: at once.
    pub(super) fn request_free_at(&self) -> Option<Instant> {
        self.used.free_at(self.context.next_sequence_number())
    }

    /// Builds and protects one pairwise request to the distributor.
    pub(super) fn request(
        &mut self,
        now: Instant,
        random: &mut Random,
        request: &Request<'_>,
        buffer: &mut [u8],
    ) -> Result<(usize, Token, SentRequest), ProtectError> {
        let token = Token::new(&random.next_u64().to_be_bytes()[..4]).ok_or(ProtectError::BufferTooSmall)?;
        let message_id = self.next_message_id(now);
        let echo = core::mem::take(&mut self.echo);
        let mut plain = [0; DATAGRAM_BYTES_MAX];
        let header = Outgoing { ty: Type::NonConfirmable, code: request.code, message_id, token };
        let plain = header.build(&mut plain, |writer| {
            request.resource.write_path(writer)?;
            if let Some(block) = &request.block {
                writer.option(option::BLOCK2, block.encode().as_bytes())?;
            }
            if !echo.is_empty() {
                writer.option(option::ECHO, &echo)?;
            }
            if !request.payload.is_empty() {
                writer.payload(request.payload)?;
            }
            Ok(())
        });
        let message = parsed(plain)?;
        let (len, binding) =
            self.context.protect_request(&message, Mode::Pairwise(self.distributor), buffer)?;
        Ok((len, token, binding))
    }

    /// Builds and protects an answer.
    pub(super) fn respond(
        &mut self,
        now: Instant,
        response: &Response<'_>,
        binding: &mut ReceivedRequest,
        buffer: &mut [u8],
    ) -> Result<usize, ProtectError> {
        let (ty, message_id) = match response.acknowledge {
            Some(message_id) => (Type::Acknowledgement, message_id),
            None => (Type::NonConfirmable, self.next_message_id(now)),
        };
        let mut plain = [0; DATAGRAM_BYTES_MAX];
        let header = Outgoing { ty, code: response.code, message_id, token: response.token };
        let plain = header.build(&mut plain, |writer| {
            if let Some(echo) = response.echo {
                writer.option(option::ECHO, echo)?;
            }
            writer.payload(response.payload).map(|_| ())
        });
        let message = parsed(plain)?;
        self.context.protect_response(&message, binding, ResponseMode::Pairwise, ResponsePiv::Own, buffer)
    }
}

/// Parses what was just written. It is well-formed unless there was too little room.
fn parsed(plain: Option<&[u8]>) -> Result<Message<'_>, ProtectError> {
    plain.and_then(|plain| Message::parse(plain).ok()).ok_or(ProtectError::BufferTooSmall)
}
