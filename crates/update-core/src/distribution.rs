//! The distributor's side of the update protocol: one update to one group, or one census of it.
//!
//! The same shape as [`Reception`](crate::reception::Reception): call [`Distribution::poll`] until it says
//! [`Output::Wait`], and hand in with [`Distribution::handle`] what it asked for, or the next datagram.
//!
//! A distribution goes in turns of asking and sending: offer, ask who misses which pages of the hash tree,
//! send those, ask again; then the same with the image blocks, until what is missing is so little that the
//! agents fetch it by unicast; then a last ask of everyone not yet heard; then activation, and asking until
//! the image is confirmed everywhere or the deadline is over. The first ask comes before any
//! page or block is sent, so that a distribution that was stopped goes on where it was.

mod activation;
mod agents;
mod asks;
mod facts;
mod fleet;
mod job;
mod named;
mod needed;
mod outbox;
mod pace;
mod questions;
mod replies;
mod sending;
mod turns;
mod wave;
mod withdrawal;

pub use agents::{Agent, Members, Status};
pub use facts::{Ending, Event, Stage, Tallies};
pub use job::{Activate, DistributionConfig, Job, Update};
pub use withdrawal::Fate;

use crate::block::BlockNumber;
use crate::limits::BLOCK_BYTES_MAX;
use crate::random::Random;
use crate::time::{Instant, earliest};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use asks::Ask;
use core::net::SocketAddr;
use fleet::Fleet;
use group_oscore::{GroupContext, MemberId, ProtectError, Reservation};
use job::Subject;
use outbox::{Outbox, Sent, Slot};
use questions::Questions;
use replies::Reply;

/// What goes into the machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram that came to the distributor's socket. It is decrypted in place.
    Datagram {
        /// Its source.
        from: SocketAddr,
        /// Its bytes.
        bytes: &'a mut [u8],
    },
    /// The bytes that [`Output::Read`] asked for; `None` when they cannot be read.
    Block(Option<&'a [u8]>),
    /// The reservation that [`Output::Reserve`] asked for is durable.
    Reserved(Reservation),
    /// The floors that [`Output::SaveFloors`] asked for are durable.
    FloorsSaved,
    /// Stop, tell the agents to drop the update, and ask what has become of it: see [`Agent::fate`].
    Cancel,
    /// Stop, tell the agents on trial to go back to the image that they had, and wait until they have: see
    /// [`Agent::fate`]. What is confirmed stays.
    Undo,
    /// The moment of [`Output::Wait`] has come.
    Timeout,
}

/// What comes out of the machine.
#[derive(Debug)]
#[must_use]
pub enum Output {
    /// Send the first `len` bytes of the buffer.
    Transmit {
        /// Where to: the CoAP group or one agent.
        to: SocketAddr,
        /// How many bytes.
        len: usize,
    },
    /// Reserve Sender Sequence Numbers durably, then hand in [`Input::Reserved`].
    Reserve(Reservation),
    /// Store [`Distribution::floors`] durably, then hand in [`Input::FloorsSaved`].
    SaveFloors,
    /// Read these bytes of the image, then hand in [`Input::Block`].
    Read {
        /// Byte offset in the image.
        offset: u32,
        /// How many bytes.
        len: usize,
    },
    /// A fact.
    Event(Event),
    /// Nothing more until then, or until something comes in. `None` after the end.
    Wait(Option<Instant>),
}

/// What the distributor does at the moment.
#[derive(Debug)]
enum Phase {
    /// Sends the offer so many times more, then asks.
    Offering {
        left: u8,
    },
    Asking(Ask),
    /// Asks silent agents one by one.
    Polling {
        ask: u32,
        indices: Vec<usize>,
    },
    Sending(sending::Round),
    /// Sends the activation so many times more, then asks.
    Activating {
        left: u32,
    },
    /// Sends the order to drop the update, or to go back from it, so many times more, then asks.
    Withdrawing {
        left: u32,
    },
    Finished,
}

/// The distributor's machine. See the module.
pub struct Distribution {
    config: DistributionConfig,
    outbox: Outbox,
    questions: Questions,
    job: Option<Subject>,
    fleet: Fleet,
    random: Random,
    phase: Phase,
    /// Turns of asking and sending: see `turns`.
    turns: turns::Turns,
    /// The update is being taken back.
    withdrawal: Option<withdrawal::Withdrawal>,
    replies: VecDeque<Reply>,
    reading: Option<Reading>,
    block: LoadedBlock,
    /// When the offer, and a question how far everyone is, were last sent.
    offered_at: Instant,
    events: VecDeque<Event>,
    started_at: Instant,
}

/// What a read of the image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    number: u32,
}

/// The image block that was read last.
#[derive(Debug)]
struct LoadedBlock {
    number: Option<u32>,
    len: usize,
    bytes: [u8; BLOCK_BYTES_MAX as usize],
}

impl Distribution {
    /// A machine for one job with one group. `context` has the distributor's Sender Context and every agent
    /// as a recipient, with a window from its stored floor; `seed` makes jitter and Echo values, and must
    /// differ with every start.
    #[must_use]
    pub fn new(
        config: DistributionConfig,
        context: GroupContext<Members>,
        job: Job,
        seed: u64,
        now: Instant,
    ) -> Self {
        let mut random = Random::new(seed);
        let mut turns = turns::Turns::default();
        let job = match job {
            Job::Census { rounds } => {
                turns.censuses = rounds;
                None
            }
            Job::Update(update) => Some(Subject::new(update)),
        };
        let mut distribution = Self {
            fleet: Fleet::new(&config, context.recipients()),
            outbox: Outbox::new(&config, context, &mut random, now),
            questions: Questions::new(),
            config,
            job,
            random,
            phase: Phase::Finished,
            turns,
            withdrawal: None,
            replies: VecDeque::new(),
            reading: None,
            block: LoadedBlock { number: None, len: 0, bytes: [0; BLOCK_BYTES_MAX as usize] },
            offered_at: now,
            events: VecDeque::new(),
            started_at: now,
        };
        distribution.begin();
        distribution
    }

    /// What is known of each agent, by Sender ID.
    #[must_use]
    pub fn agents(&self) -> &[Agent] {
        self.fleet.agents()
    }

    /// What has been sent so far.
    #[must_use]
    pub fn tallies(&self) -> Tallies {
        self.outbox.tallies()
    }

    /// The rate at present, in bits a second (protocol.md \[pace\]).
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.outbox.bits_per_second()
    }

    /// Blocks of the round under way that are still to be sent; 0 outside a round.
    #[must_use]
    pub fn blocks_to_send(&self) -> u32 {
        self.job.as_ref().map_or(0, |subject| subject.needed_blocks.len())
    }

    /// The last attempt used: the next `retry` takes a higher one. A job that merely goes on keeps the
    /// attempt that it was given before, for a higher one would try again where an image was rolled back.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.turns.attempt_used.max(self.config.attempt)
    }

    /// The Sender Sequence Number that is used next. At a clean end this is what the state file keeps.
    #[must_use]
    pub fn next_sequence_number(&self) -> u64 {
        self.outbox.next_sequence_number()
    }

    /// The floor to store for each agent's requests: ahead of what has been accepted while the distribution
    /// runs (protocol.md \[bound\]), exact after its end; `None` where a window is invalid, so that the first
    /// request after the next start is met with Echo.
    #[must_use]
    pub fn floors(&self) -> Vec<(MemberId, Option<u64>)> {
        let finished = matches!(self.phase, Phase::Finished);
        self.fleet.floors(self.outbox.members(), finished)
    }

    /// Ends at once, without another datagram: for a clean stop. The same job goes on later where it was.
    pub fn stop(&mut self) {
        self.phase = Phase::Finished;
        self.replies.clear();
    }

    /// Takes something in.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram { from, bytes } => self.on_datagram(now, from, bytes),
            Input::Block(bytes) => self.on_block(bytes),
            Input::Reserved(reservation) => self.outbox.reserve(reservation),
            Input::FloorsSaved => self.fleet.floors_saved(),
            Input::Cancel => self.cancel(now),
            Input::Undo => self.undo(now),
            Input::Timeout => {}
        }
    }

    /// What to do next. `buffer` takes the datagram to send: at least
    /// [`DATAGRAM_BYTES_MAX`](crate::limits::DATAGRAM_BYTES_MAX) bytes.
    pub fn poll(&mut self, now: Instant, buffer: &mut [u8]) -> Output {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Output::Event(event);
            }
            if matches!(self.phase, Phase::Finished)
                || self.reading.is_some()
                || self.fleet.is_saving_floors()
            {
                return Output::Wait(None);
            }
            if let Some(reservation) = self.outbox.reservation_due() {
                return Output::Reserve(reservation);
            }
            if self.outbox.is_exhausted() {
                self.finish(Ending::NumbersExhausted);
                continue;
            }
            if self.fleet.begin_saving_floors(self.outbox.members()) {
                return Output::SaveFloors;
            }
            self.outbox.skip_when_due(now);
            if let Some(number) = self.block_wanted() {
                return self.read(number);
            }
            if self.outbox.free_at() <= now {
                match self.next_datagram(now, buffer) {
                    Ok(Some(sent)) => return Output::Transmit { to: sent.to(), len: sent.len() },
                    Ok(None) => {}
                    Err(error) => self.finish(error.into()),
                }
            }
            if !self.events.is_empty() || self.block_wanted().is_some() {
                continue;
            }
            let deadline = self.deadline(now);
            if deadline.is_none_or(|deadline| deadline > self.outbox.free_at()) {
                self.outbox.pause();
            }
            return Output::Wait(deadline);
        }
    }

    fn next_datagram(&mut self, now: Instant, buffer: &mut [u8]) -> Result<Option<Sent>, ProtectError> {
        if let Some(sent) = self.next_reply(Slot { now, buffer })? {
            return Ok(Some(sent));
        }
        // A phase that has nothing to send any more hands over to the next one; each such step makes
        // progress, and the bound is for safety alone.
        for _ in 0..8 {
            let before = core::mem::discriminant(&self.phase);
            if let Some(sent) = self.step(Slot { now, buffer })? {
                return Ok(Some(sent));
            }
            let moved = core::mem::discriminant(&self.phase) != before;
            if !moved || self.block_wanted().is_some() {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// One step of the phase: a datagram, or a move to another phase, or neither while it waits.
    fn step(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        match &self.phase {
            Phase::Offering { .. } => self.step_offering(slot),
            Phase::Asking(_) => self.step_asking(slot),
            Phase::Polling { .. } => self.step_polling(slot),
            Phase::Sending(_) => self.step_sending(slot),
            Phase::Activating { .. } => self.step_activating(slot),
            Phase::Withdrawing { .. } => self.step_withdrawing(slot),
            Phase::Finished => Ok(None),
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Asking(ask) => Some(ask.wakes_at()),
            Phase::Finished => return None,
            _ => Some(now),
        };
        let reply = (!self.replies.is_empty()).then_some(now);
        let wanted = earliest(phase, reply).map(|moment| moment.max(now));
        // Waiting for answers costs nothing; anything that may be sent now waits for the pace.
        wanted.map(|moment| if moment > now { moment } else { moment.max(self.outbox.free_at()) })
    }

    fn finish(&mut self, ending: Ending) {
        if !matches!(self.phase, Phase::Finished) {
            self.phase = Phase::Finished;
            self.replies.clear();
            self.events.push_back(Event::Finished(ending));
        }
    }

    fn block_wanted(&self) -> Option<u32> {
        let number = match (self.replies.front(), &self.phase) {
            (Some(reply), _) => reply.image_block(),
            (None, Phase::Sending(round)) => round.image_block(),
            _ => None,
        }?;
        (self.block.number != Some(number)).then_some(number)
    }

    fn read(&mut self, number: u32) -> Output {
        let range = self
            .job
            .as_ref()
            .and_then(|subject| subject.update.offer.layout.block_range(BlockNumber(number)));
        match range {
            Some((offset, len)) => {
                self.reading = Some(Reading { number });
                Output::Read { offset, len }
            }
            None => Output::Wait(None),
        }
    }

    fn on_block(&mut self, bytes: Option<&[u8]>) {
        let Some(reading) = self.reading.take() else { return };
        let target = bytes.and_then(|bytes| self.block.bytes.get_mut(..bytes.len()).map(|to| (bytes, to)));
        match target.filter(|(bytes, _)| self.job.as_ref().is_some_and(|s| s.is_right(reading.number, bytes)))
        {
            Some((bytes, to)) => {
                to.copy_from_slice(bytes);
                (self.block.number, self.block.len) = (Some(reading.number), bytes.len());
            }
            None => self.finish(Ending::ImageUnreadable),
        }
    }
}
