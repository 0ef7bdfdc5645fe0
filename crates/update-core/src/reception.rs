//! One agent's side of the update protocol.
//!
//! `Reception` takes datagrams, finished tasks and the outcome of trials by [`Reception::handle`], and
//! returns datagrams, tasks and events by [`Reception::poll`]. Call `poll` until it returns [`Output::Wait`];
//! only then hand in the next datagram. Calling it early is harmless; calling it late only costs time.
//!
//! One block is in progress at a time: while storage is busy, datagrams are lost, and are repaired later.

mod acknowledging;
mod allowances;
mod announcement;
mod answers;
mod blocks;
mod channel;
mod counted;
mod datagrams;
mod events;
mod facts;
mod fetch;
mod freshness;
mod offers;
mod orders;
mod received;
mod recovery;
mod trials;
mod vault;

pub use facts::{Event, Failure, NOT_NOW, Obstacle, RECOVERED, Reason, reason_text};

use crate::census::{Counters, State};
use crate::device::Device;
use crate::digest::Digest;
use crate::key_set::KeySet;
use crate::platform::{Area, Done, Record, Task, Trial};
use crate::random::Random;
use crate::record::UpdateRecord;
use crate::remark::Remark;
use crate::suit;
use crate::time::{Duration, Instant, earliest};
use core::net::SocketAddr;
use group_oscore::{GroupContext, MemberId, RecipientContext};
use received::{Phase, Received};
use vault::{Doing, Vault};

/// The Group OSCORE context of an agent, with the distributor as its only recipient.
pub type AgentContext = GroupContext<[RecipientContext; 1]>;

/// What an agent is and what it trusts.
#[derive(Debug, Clone)]
pub struct ReceptionConfig {
    /// What the device is and runs.
    pub device: Device,
    /// The image keys, from a key set that the root key signed.
    pub keys: KeySet,
    /// SHA-256 of the agent's name, for targets.
    pub name: Digest,
    /// The distributor's Sender ID: only its messages count (protocol.md \[role\]).
    pub distributor: MemberId,
    /// Where answers and repair requests are sent (protocol.md \[answers\]).
    pub distributor_address: SocketAddr,
    /// How long the agent hears nothing about an unfinished update before it starts to fetch on its own.
    pub quiet: Duration,
    /// The announcement of a boot is sent within this time.
    pub announce_spread: Duration,
    /// Partial IVs of the distributor below this may already have been accepted (the stored bound).
    pub floor: u64,
}

/// Keys that the Group Manager gave in place of the old ones.
#[derive(Debug)]
pub struct NewKeys {
    /// The context, with the distributor as its only recipient. None of its numbers is reserved.
    pub context: AgentContext,
    /// The distributor's Sender ID.
    pub distributor: MemberId,
    /// Where answers and repair requests are sent.
    pub address: SocketAddr,
    /// Partial IVs of the distributor below this are not accepted.
    pub floor: u64,
}

/// What is in storage when the agent starts.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a> {
    /// The content of [`Record::Update`], if there is one.
    pub update: Option<&'a [u8]>,
    /// The state of the trial.
    pub trial: Trial,
    /// Whether this agent has run before. If so, it announces its boot.
    pub booted_before: bool,
}

/// The socket that a datagram came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The socket bound to the CoAP group.
    Group,
    /// The agent's own socket.
    Own,
}

/// The inputs of the machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram. It is decrypted in place.
    Datagram {
        /// Its source.
        from: SocketAddr,
        /// Which socket it came by.
        via: Via,
        /// Its bytes.
        bytes: &'a mut [u8],
    },
    /// The task that `poll` returned has ended. For a read, `bytes` is what was read.
    Done {
        /// How it ended.
        done: Done,
        /// What was read, or nothing.
        bytes: &'a [u8],
    },
    /// News about the trial.
    Trial(Trial),
    /// The moment of [`Output::Wait`] has come.
    Timeout,
}

/// The outputs of the machine.
#[derive(Debug)]
#[must_use]
pub enum Output<'a> {
    /// Send the first `len` bytes of the buffer from the agent's own socket.
    Transmit {
        /// Where to.
        to: SocketAddr,
        /// How many bytes.
        len: usize,
    },
    /// Carry this out, then hand in [`Input::Done`].
    Task(Task<'a>),
    /// A fact to log or count.
    Event(Event),
    /// There is nothing to do until then, or until the next input.
    Wait(Option<Instant>),
}

/// The memory for the two sets of one update. It limits the largest image that an agent can take: see
/// [`BlockSet::bytes_for`](crate::block_set::BlockSet::bytes_for).
#[derive(Debug)]
pub struct Memory<'m> {
    /// One bit for each image block.
    pub blocks: &'m mut [u8],
    /// One bit for each page of the hash tree.
    pub pages: &'m mut [u8],
    /// For parity symbols (feature `parity`): each takes a block size and 4 bytes. An agent that has too
    /// little for a generation, or none, is served with blocks.
    pub parity: &'m mut [u8],
}

/// The agent's machine; see the module documentation.
pub struct Reception<'m> {
    config: ReceptionConfig,
    channel: channel::Channel,
    random: Random,
    counted: counted::Counted,
    vault: Vault<'m>,
    received: Received,
    offers: offers::Offers,
    allowances: allowances::Allowances,
    answers: answers::Answers,
    fetch: fetch::Fetch,
    freshness: freshness::Freshness,
    announcement: Option<announcement::Announcement>,
    events: events::Events,
    /// Consecutive reads without checking the network.
    reads: u8,
}

impl<'m> Reception<'m> {
    /// Creates a machine for one agent. `context` has this agent's Sender Context and the distributor as its
    /// only recipient. `seed` generates jitter and tokens, and should differ at every start.
    ///
    /// `None` when `memory` is empty.
    #[must_use]
    pub fn new(
        config: ReceptionConfig,
        context: AgentContext,
        memory: Memory<'m>,
        saved: Saved<'_>,
        seed: u64,
        now: Instant,
    ) -> Option<Self> {
        let mut reception = Self::without_update(config, context, memory, saved.booted_before, seed, now)?;
        if let Some(bytes) = saved.update {
            reception.restore(bytes, |_| saved.trial);
        }
        Some(reception)
    }

    /// Like [`new`](Self::new), but without the saved update. Call [`restore`](Self::restore) with it before
    /// anything else.
    ///
    /// For a device whose stack is too small to move the machine: it is built in place.
    #[must_use]
    pub fn without_update(
        config: ReceptionConfig,
        context: AgentContext,
        memory: Memory<'m>,
        booted_before: bool,
        seed: u64,
        now: Instant,
    ) -> Option<Self> {
        let mut random = Random::new(seed);
        let announcement = booted_before
            .then(|| announcement::Announcement::of_boot(now + random.up_to(config.announce_spread)));
        let vault = Vault::new(memory)?;
        Some(Self {
            channel: channel::Channel::new(context, config.distributor, config.floor),
            config,
            random,
            counted: counted::Counted::default(),
            vault,
            received: Received::nothing(now),
            offers: offers::Offers::default(),
            allowances: allowances::Allowances::full(now),
            answers: answers::Answers::default(),
            fetch: fetch::Fetch::default(),
            freshness: freshness::Freshness::default(),
            announcement,
            events: events::Events::default(),
            reads: 0,
        })
    }

    /// Uses other keys from now on. What was received stays; requests and answers under the old keys are
    /// dropped, and those to come wait until the new counters are stored (protocol.md \[rekey\]).
    pub fn rekey(&mut self, keys: NewKeys) {
        let NewKeys { context, distributor, address, floor } = keys;
        self.channel = channel::Channel::new(context, distributor, floor);
        self.config.distributor = distributor;
        self.config.distributor_address = address;
        self.answers = answers::Answers::default();
        self.freshness = freshness::Freshness::default();
        self.fetch.forget_request();
        if let Some(announcement) = &mut self.announcement {
            announcement.forget_request();
        }
    }

    /// Whether it has asked in vain, several times, whether the distributor is there.
    #[must_use]
    pub fn is_probing_in_vain(&self) -> bool {
        self.announcement.as_ref().is_some_and(announcement::Announcement::is_probe_in_vain)
    }

    /// What has been counted since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counted.counters()
    }

    /// Whether a message of the distributor has been verified since the start. For an image on trial, this
    /// proves that its network and its keys work.
    #[must_use]
    pub fn has_heard_distributor(&self) -> bool {
        self.channel.has_heard_distributor()
    }

    /// Sets how many datagrams the program has dropped on purpose so far.
    pub fn set_injected_losses(&mut self, count: u32) {
        self.counted.set_injected_losses(count);
    }

    /// Sets the device's own words about why the update is in its state, for the reports about it. They hold
    /// until the state changes.
    pub fn set_remark(&mut self, remark: Remark) {
        self.received.set_remark(remark);
    }

    /// What the agent is doing with its update.
    #[must_use]
    pub fn state(&self) -> State {
        self.received.state(self.vault.has_all(Area::Pages))
    }

    /// The digest of the agent's current update.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.received.update().map(|update| update.offer().digest)
    }

    /// Image blocks present, and how many the image has.
    #[must_use]
    pub fn progress(&self) -> (u32, u32) {
        self.vault.progress()
    }

    /// Handles an input. A datagram that comes while a task is in progress is lost, as on a busy device.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram { from, via, bytes } => {
                self.reads = 0;
                if !self.is_busy(now) {
                    self.on_datagram(now, from, via, bytes);
                }
            }
            Input::Done { done, bytes } => self.on_done(now, done, bytes),
            Input::Trial(trial) => self.on_trial(trial),
            Input::Timeout => self.reads = 0,
        }
    }

    /// Returns what to do next. `buffer` holds the datagram to send, or takes what a task reads: at least
    /// [`DATAGRAM_BYTES_MAX`](crate::limits::DATAGRAM_BYTES_MAX) bytes.
    pub fn poll<'a>(&'a mut self, now: Instant, buffer: &mut [u8]) -> Output<'a> {
        if let Some(event) = self.events.next() {
            return Output::Event(event);
        }
        if self.vault.is_doing() {
            return Output::Wait(None);
        }
        if let Some(until) = self.vault.rests_until(now) {
            return Output::Wait(Some(until));
        }
        if self.channel.bounds_due() {
            return self.save_counters();
        }
        if self.channel.is_closed() {
            return if self.vault.is_unsynced() { self.give_out(Doing::Sync) } else { Output::Wait(None) };
        }
        self.hold_made();
        self.compare_held(now);
        self.advance(now);
        if self.vault.has_changes() {
            return self.save_records();
        }
        if let Some(doing) = self.next_work(now) {
            return self.give_out(doing);
        }
        if self.vault.has_changes() {
            // The walk has just ended.
            return self.save_records();
        }
        if let Some((to, len)) = self.next_datagram(now, buffer) {
            return Output::Transmit { to, len };
        }
        if let Some(event) = self.events.next() {
            return Output::Event(event);
        }
        Output::Wait(self.deadline(now))
    }

    /// Whether something is in progress or due that nothing else may overtake: a task, a block on its way to
    /// storage, a counter or record to save, or a pause after a failure of the medium.
    fn is_busy(&self, now: Instant) -> bool {
        self.channel.is_closed()
            || self.vault.is_doing()
            || self.vault.is_holding()
            || self.channel.bounds_due()
            || self.vault.has_changes()
            || self.vault.rests_until(now).is_some()
    }

    /// Advances the update as far as it can without waiting.
    fn advance(&mut self, now: Instant) {
        match *self.received.phase() {
            Phase::Receiving if self.vault.is_whole() && !self.vault.is_holding() => {
                self.received.begin_check(recovery::Then::Report);
            }
            Phase::Scheduled { due, attempt } if due <= now => {
                self.received.begin_check(recovery::Then::Activate(attempt));
            }
            _ => {}
        }
        self.probe_silence(now);
    }

    /// The storage work that comes next, if any.
    fn next_work(&mut self, now: Instant) -> Option<Doing> {
        if let Some(doing) = self.vault.work_for_held() {
            return Some(doing);
        }
        if self.sync_due(now) {
            return Some(Doing::Sync);
        }
        if matches!(self.received.phase(), Phase::Activating) {
            return Some(Doing::Activate);
        }
        if self.received.is_examining() && self.reads < crate::limits::READS_IN_A_ROW_MAX {
            self.reads += 1;
            // When the walk has ended, what it found is made durable first.
            return self.next_examination(now).or_else(|| self.sync_due(now).then_some(Doing::Sync));
        }
        if self.received.is_receiving() && self.reads < crate::limits::READS_IN_A_ROW_MAX {
            let doing = self.vault.work_for_symbols();
            self.reads += u8::from(doing.is_some());
            return doing;
        }
        None
    }

    /// Whether everything written must become durable now (protocol.md \[synced\]). An announcement is a
    /// report too.
    fn sync_due(&self, now: Instant) -> bool {
        let announcing = self.announcement.as_ref().is_some_and(|announcement| announcement.due() <= now);
        let answering = announcing || self.answers.next_due().is_some_and(|due| due <= now);
        let checking = matches!(self.received.phase(), Phase::Checking(_));
        self.vault.sync_due(now, answering || checking)
    }

    fn save_counters(&mut self) -> Output<'_> {
        let bounds = self.channel.begin_saving();
        self.vault.begin(Doing::SaveCounters);
        Output::Task(self.vault.save_task(Record::Counters, |out| bounds.encode(out)))
    }

    /// Prepares a planned end of the program: stores the exact numbers, so that nothing is skipped at the
    /// next start, and makes durable what was written. Poll until it waits for ever. Nothing is sent or
    /// accepted any more.
    pub fn close(&mut self) {
        self.channel.close();
    }

    /// The task of the next change that is due.
    fn save_records(&mut self) -> Output<'_> {
        self.carry_out_change().unwrap_or(Output::Wait(None))
    }

    /// Turns the next work into its task.
    fn give_out(&mut self, doing: Doing) -> Output<'_> {
        self.vault.begin(doing);
        // Every work that `next_work` returns has a task; an additional sync would do no harm.
        Output::Task(self.task(doing).unwrap_or(Task::Sync))
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.received.is_examining() || (self.received.is_receiving() && self.vault.is_making()) {
            return Some(now);
        }
        let answers = self.answers.next_due();
        let sync = self.vault.sync_deadline();
        let scheduled = match self.received.phase() {
            Phase::Scheduled { due, .. } => Some(*due),
            _ => None,
        };
        let announce = self.announcement.as_ref().map(announcement::Announcement::due);
        let mut deadline = self.fetch_deadline(now);
        for other in [answers, sync, scheduled, announce] {
            deadline = earliest(deadline, other);
        }
        deadline
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Restores the record of the update, before any other input. `trial` returns the state of the trial for
    /// the update with this digest.
    pub fn restore(&mut self, bytes: &[u8], trial: impl FnOnce(&Digest) -> Trial) {
        let Ok(record) = UpdateRecord::decode(bytes) else { return };
        // The envelope is verified again: storage may decay, and the key set may have changed.
        let Ok(offer) = suit::verify(record.envelope, &self.config.keys) else { return };
        if !self.adopt(offer, record.envelope) {
            return;
        }
        let Some(update) = self.received.update() else { return };
        let trial = trial(&update.offer().digest);
        // While a trial is open, an order led to this start.
        self.allowances.restore(record.left, trial != Trial::None);
        self.received.restore(record.attempt, record.outcome, trial);
        if matches!(trial, Trial::Healthy | Trial::RolledBack(_)) {
            self.on_trial(trial);
        }
    }
}
