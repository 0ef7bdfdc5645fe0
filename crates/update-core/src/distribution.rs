//! The distributor's side of the update protocol: one update to one group, or one census of it.
//!
//! It has the shape of [`Reception`](crate::reception::Reception): call [`Distribution::poll`] until it
//! returns [`Output::Wait`]. Hand in what it asked for, or the next datagram, with [`Distribution::handle`].
//!
//! A distribution alternates between asking and sending. It sends the offer, asks which agents miss which
//! pages of the hash tree, sends those pages, and asks again. Then it does the same with the image blocks,
//! until so little is missing that the agents fetch it by unicast. A last ask goes to everyone not yet heard.
//! Then comes the activation, and it asks until the image is confirmed everywhere or the deadline has passed.
//! The first ask comes before any page or block is sent, so a stopped distribution continues where it was.

mod activation;
mod agents;
mod asks;
mod challenge;
mod claims;
mod deadlines;
mod facts;
mod faint;
mod fleet;
mod hearing;
mod image_block;
mod job;
mod lacks;
mod laggards;
mod members;
mod message_ids;
mod named;
mod needed;
mod offer;
mod outbox;
mod pace;
mod parts;
mod patience;
mod phase;
mod polling;
mod questions;
mod replies;
mod reports;
mod requests;
mod schedule;
mod sending;
mod shares;
mod singles;
mod status;
mod symbols;
mod turns;
mod used_numbers;
mod wave;
mod withdrawal;

pub use agents::Agent;
pub use claims::Conduct;
pub use facts::{Ending, Event, Stage, Tallies};
pub use job::{Activate, DistributionConfig, Job, Update};
pub use members::Members;
pub use message_ids::MessageIds;
pub use patience::Lag;
pub use status::Status;
pub use used_numbers::Rewind;
pub use withdrawal::Fate;

use crate::block::BlockNumber;
use crate::time::Instant;
use alloc::vec::Vec;
use core::net::SocketAddr;
use group_oscore::{GroupContext, MemberId, Reservation};
use parts::Parts;
use phase::Phase;

/// The inputs of the machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram received on the distributor's socket. It is decrypted in place.
    Datagram {
        /// Its source.
        from: SocketAddr,
        /// Its bytes.
        bytes: &'a mut [u8],
    },
    /// The bytes that [`Output::Read`] asked for; `None` if they could not be read.
    Block(Option<&'a [u8]>),
    /// The reservation that [`Output::Reserve`] asked for is durable.
    Reserved(Reservation),
    /// The floors that [`Output::SaveFloors`] asked for are durable.
    FloorsSaved,
    /// Stop, tell the agents to drop the update, and ask for the result: see [`Agent::fate`].
    Cancel,
    /// Stop, tell the agents on trial to return to their previous image, and wait until they have: see
    /// [`Agent::fate`]. Confirmed images stay.
    Undo,
    /// The moment of [`Output::Wait`] has come.
    Timeout,
}

/// The outputs of the machine.
#[derive(Debug)]
#[must_use]
pub enum Output {
    /// Send the first `len` bytes of the buffer.
    Transmit {
        /// The destination: the CoAP group or one agent.
        to: SocketAddr,
        /// How many bytes.
        len: usize,
        /// The port of the distributor's address to send from: 0 is its own; 1 to
        /// [`PUT_PORTS_MAX`](crate::limits::PUT_PORTS_MAX) are further ones, to which nobody answers.
        source: u8,
    },
    /// Reserve Sender Sequence Numbers durably, then hand in [`Input::Reserved`].
    Reserve(Reservation),
    /// Store [`Distribution::floors`] and [`Distribution::conduct`] durably, then hand in
    /// [`Input::FloorsSaved`].
    SaveFloors,
    /// Read these bytes of the image, then hand in [`Input::Block`].
    Read {
        /// Byte offset in the image.
        offset: u32,
        /// How many bytes.
        len: usize,
    },
    /// A fact to log or count.
    Event(Event),
    /// There is nothing to do until then, or until the next input. `None` after the end.
    Wait(Option<Instant>),
}

/// The distributor's machine; see the module documentation.
pub struct Distribution {
    phase: Phase,
    parts: Parts,
}

impl Distribution {
    /// Creates a machine for one job with one group. `context` has the distributor's Sender Context and a
    /// Recipient Context for every agent, with a window that starts at its stored floor. `seed` generates
    /// jitter and Echo values, and must differ at every start.
    #[must_use]
    pub fn new(
        config: DistributionConfig,
        context: GroupContext<Members>,
        job: Job,
        seed: u64,
        now: Instant,
    ) -> Self {
        let begin: fn(&mut Parts, Instant) -> Phase = match job {
            Job::Update(_) | Job::Census { .. } => |parts, _| parts.begin(),
            Job::Cancel(_) => Parts::cancel,
            Job::Undo(_) => Parts::undo,
        };
        let mut parts = Parts::new(config, context, job, seed, now);
        Self { phase: begin(&mut parts, now), parts }
    }

    /// Adds what was remembered of agents' conduct: see [`Self::conduct`].
    #[must_use]
    pub fn remembering(mut self, conduct: &[(MemberId, Conduct)]) -> Self {
        for (id, conduct) in conduct {
            if let Some(agent) = self.parts.fleet.iter_mut().find(|agent| agent.id == *id) {
                agent.set_conduct(*conduct);
            }
        }
        self
    }

    /// Continues with the Message IDs of the distribution before, which was the last one from the same port:
    /// see [`Self::message_ids`].
    #[must_use]
    pub fn following(mut self, before: Option<MessageIds>) -> Self {
        if let Some(before) = before {
            self.parts.outbox.follow(before);
        }
        self
    }

    /// The Message IDs used so far, for the next distribution from the same port. Both need the same clock.
    #[must_use]
    pub fn message_ids(&self) -> MessageIds {
        self.parts.outbox.message_ids()
    }

    /// What must be remembered of agents' conduct, stored with the floors: see [`Output::SaveFloors`].
    #[must_use]
    pub fn conduct(&self) -> Vec<(MemberId, Conduct)> {
        self.agents().iter().map(|agent| (agent.id, agent.conduct())).collect()
    }

    /// Adds the highest Partial IVs that were accepted from agents: see [`Self::heard`].
    #[must_use]
    pub fn having_heard(mut self, heard: &[(MemberId, u64)]) -> Self {
        for (id, heard) in heard {
            if let Some(agent) = self.parts.fleet.iter_mut().find(|agent| agent.id == *id) {
                agent.numbers.remember(*heard);
            }
        }
        self
    }

    /// The highest Partial IV accepted from each agent that was heard, stored with the floors: see
    /// [`Output::SaveFloors`] (protocol.md \[rewind\]).
    #[must_use]
    pub fn heard(&self) -> Vec<(MemberId, u64)> {
        self.agents().iter().filter_map(|agent| Some((agent.id, agent.numbers.heard()?))).collect()
    }

    /// What is known of each agent, by Sender ID.
    #[must_use]
    pub fn agents(&self) -> &[Agent] {
        self.parts.fleet.agents()
    }

    /// What has been sent so far.
    #[must_use]
    pub fn tallies(&self) -> Tallies {
        self.parts.outbox.tallies()
    }

    /// The current rate in bits per second (protocol.md \[pace\]).
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.parts.outbox.bits_per_second()
    }

    /// Blocks of the current round that are still to be sent; 0 outside a round.
    #[must_use]
    pub fn blocks_to_send(&self) -> u32 {
        self.parts.job.as_ref().map_or(0, |subject| subject.needed_blocks.len())
    }

    /// The last attempt used. The next `retry` takes a higher one. A job that merely continues keeps its
    /// attempt: a higher one would try again where an image was rolled back.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.parts.attempt()
    }

    /// The next Sender Sequence Number. At a clean end the state file keeps it.
    #[must_use]
    pub fn next_sequence_number(&self) -> u64 {
        self.parts.outbox.next_sequence_number()
    }

    /// The floor to store for each agent's requests. While the distribution runs it is ahead of what has been
    /// accepted (protocol.md \[bound\]); after the end it is exact. `None` if a window is invalid, so that
    /// the first request after the next start is answered with Echo.
    #[must_use]
    pub fn floors(&self) -> Vec<(MemberId, Option<u64>)> {
        self.parts.fleet.floors(self.parts.outbox.members(), self.phase.is_finished())
    }

    /// The next moment at which the time of an agent may be over; `None` if nothing has an end.
    #[must_use]
    pub fn time_limit(&self) -> Option<Instant> {
        self.parts.time_limit()
    }

    /// Ends at once, without another datagram: for a clean stop. The same job can continue later where it
    /// was.
    pub fn stop(&mut self) {
        self.enter(Phase::Finished);
        self.parts.replies.clear();
    }

    /// Handles an input.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Block(bytes) => self.on_block(bytes),
            Input::Reserved(reservation) => self.parts.outbox.reserve(reservation),
            Input::FloorsSaved => self.parts.fleet.floors_saved(),
            Input::Timeout => {}
            Input::Datagram { .. } | Input::Cancel | Input::Undo if self.phase.is_finished() => {}
            Input::Datagram { from, bytes } => {
                let first_ask = self.phase.first_ask();
                if let Some(ending) = self.parts.on_datagram(now, from, bytes, first_ask) {
                    self.finish(ending);
                }
            }
            Input::Cancel => {
                let next = self.parts.cancel(now);
                self.enter(next);
            }
            Input::Undo => {
                let next = self.parts.undo(now);
                self.enter(next);
            }
        }
    }

    /// Returns what to do next. `buffer` takes the datagram to send: at least
    /// [`DATAGRAM_BYTES_MAX`](crate::limits::DATAGRAM_BYTES_MAX) bytes.
    pub fn poll(&mut self, now: Instant, buffer: &mut [u8]) -> Output {
        loop {
            if let Some(event) = self.parts.events.pop_front() {
                return Output::Event(event);
            }
            if self.phase.is_finished()
                || self.parts.block.is_reading()
                || self.parts.fleet.is_saving_floors()
            {
                return Output::Wait(None);
            }
            if let Some(reservation) = self.parts.outbox.reservation_due() {
                return Output::Reserve(reservation);
            }
            if self.parts.outbox.is_exhausted() {
                self.finish(Ending::NumbersExhausted);
                continue;
            }
            if self.parts.fleet.begin_saving_floors(self.parts.outbox.members()) {
                return Output::SaveFloors;
            }
            if let Some(next) = self.parts.time_is_over(now) {
                self.enter(next);
                continue;
            }
            self.parts.outbox.skip_when_due(now);
            self.phase.take_block(&self.parts.block);
            if let Some(number) = self.block_wanted(now) {
                return self.read(number);
            }
            if self.parts.outbox.free_at() <= now {
                match self.next_datagram(now, buffer) {
                    Ok(Some(sent)) => return sent.into(),
                    Ok(None) => {}
                    Err(error) => self.finish(error.into()),
                }
            }
            if !self.parts.events.is_empty() || self.block_wanted(now).is_some() {
                continue;
            }
            let deadline = self.deadline(now);
            if deadline.is_none_or(|deadline| deadline > self.parts.outbox.free_at()) {
                self.parts.outbox.pause();
            }
            return Output::Wait(deadline);
        }
    }

    /// Ends the distribution, unless it has ended already.
    fn finish(&mut self, ending: Ending) {
        if !self.phase.is_finished() {
            let finished = self.parts.finish(ending);
            self.enter(finished);
        }
    }

    fn read(&mut self, number: u32) -> Output {
        let layout = self.parts.job.as_ref().map(|subject| subject.update.offer.layout);
        match layout.and_then(|layout| layout.block_range(BlockNumber(number))) {
            Some((offset, len)) => {
                self.parts.block.begin_reading(number);
                Output::Read { offset, len }
            }
            None => Output::Wait(None),
        }
    }

    fn on_block(&mut self, bytes: Option<&[u8]>) {
        let Parts { job, block, .. } = &mut self.parts;
        let is_right =
            |number, bytes: &[u8]| job.as_ref().is_some_and(|subject| subject.is_right(number, bytes));
        if block.was_read(bytes, is_right) == Some(false) {
            self.finish(Ending::ImageUnreadable);
        }
    }
}
