//! One agent's side of the update protocol.
//!
//! `Reception` takes datagrams, finished tasks and the outcome of trials by [`Reception::handle`], and gives
//! out datagrams, tasks and facts by [`Reception::poll`]. Call `poll` until it says [`Output::Wait`]; only
//! then hand in the next datagram. Calling early is harmless; calling late costs time and nothing else.
//!
//! One block is in flight at a time: while storage is busy, datagrams are lost and repaired later.

mod answers;
mod blocks;
mod counters;
mod datagrams;
mod facts;
mod fetch;
mod offers;
mod recovery;
mod saves;
mod trials;

pub use facts::{Event, Failure, RECOVERED, Reason, reason_text};

use crate::block_set::BlockSet;
use crate::census::{Counters, State};
use crate::device::Device;
use crate::digest::Digest;
use crate::key_set::KeySet;
use crate::limits::{BLOCK_BYTES_MAX, ENVELOPE_BYTES_MAX, RECORD_BYTES_MAX};
use crate::platform::{Done, Task, Trial};
use crate::random::Random;
use crate::record::{Outcome, UpdateRecord};
use crate::suit::{self, Offer};
use crate::time::{Duration, Instant, earliest};
use crate::tree::TreeShape;
use core::net::SocketAddr;
use group_oscore::{GroupContext, MemberId, RecipientContext};

/// The Group OSCORE context of an agent: it listens to the distributor alone.
pub type AgentContext = GroupContext<[RecipientContext; 1]>;

/// What an agent is and whom it trusts.
#[derive(Debug, Clone)]
pub struct ReceptionConfig {
    /// What the device is and runs.
    pub device: Device,
    /// The image keys, from a key set that the root key signed.
    pub keys: KeySet,
    /// SHA-256 of the agent's name, for targets.
    pub name: Digest,
    /// Whose messages count: the distributor's Sender ID (DESIGN \[role\]).
    pub distributor: MemberId,
    /// Where answers and repair requests go (DESIGN \[answers\]).
    pub distributor_address: SocketAddr,
    /// Hearing nothing of an unfinished update for so long, the agent starts to fetch by itself.
    pub quiet: Duration,
    /// The announcement of a boot comes within so long.
    pub announce_spread: Duration,
    /// Partial IVs of the distributor below this one may have been accepted already (the stored bound).
    pub floor: u64,
}

/// What lies in storage when the agent starts.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a> {
    /// Content of [`Record::Update`](crate::platform::Record::Update), if there is one.
    pub update: Option<&'a [u8]>,
    /// How the trial stands.
    pub trial: Trial,
    /// Whether this agent has run before: then it announces its boot.
    pub booted_before: bool,
}

/// How a datagram came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// By the socket bound to the CoAP group.
    Group,
    /// By the agent's own socket.
    Own,
}

/// What goes into the machine.
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
    /// The task that `poll` gave out has ended; for a read, `bytes` is what was read.
    Done {
        /// How it ended.
        done: Done,
        /// What was read, or nothing.
        bytes: &'a [u8],
    },
    /// News of the trial.
    Trial(Trial),
    /// The moment of [`Output::Wait`] has come.
    Timeout,
}

/// What comes out of the machine.
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
    /// A fact, to log or to count.
    Event(Event),
    /// Nothing more until then, or until something comes in.
    Wait(Option<Instant>),
}

/// The memory for one update's two sets, which sizes the largest image an agent can take: see
/// [`BlockSet::bytes_for`].
#[derive(Debug)]
pub struct Memory<'m> {
    /// One bit for each image block.
    pub blocks: &'m mut [u8],
    /// One bit for each page of the hash tree.
    pub pages: &'m mut [u8],
}

/// The agent's machine. See the module.
pub struct Reception<'m> {
    config: ReceptionConfig,
    context: AgentContext,
    random: Random,
    counters: Counters,
    bounds: counters::Bounds,
    /// Image blocks present; for no update, of none.
    blocks: BlockSet<'m>,
    /// Pages of the hash tree present.
    pages: BlockSet<'m>,
    update: Option<Update>,
    envelope: [u8; ENVELOPE_BYTES_MAX],
    envelope_len: usize,
    phase: Phase,
    /// An offer that comes in pieces.
    assembly: offers::Assembly,
    /// The last offer refused or update replaced.
    refused: Option<offers::Refused>,
    /// When an unfinished update was last replaced by another (DESIGN \[one update\]).
    replaced_at: Option<Instant>,
    /// A block or page between its datagram and its storage.
    held: Option<blocks::Held>,
    held_bytes: [u8; BLOCK_BYTES_MAX as usize],
    page: blocks::CachedPage,
    /// What the platform is doing.
    doing: Option<Doing>,
    saves: saves::Saves,
    /// When the first byte that is not yet durable was written.
    unsynced_since: Option<Instant>,
    /// Failures of the medium in a row, and until when it is left alone after the last one.
    storage_failures: u8,
    /// Syncs of this update that failed, each of which begins it anew.
    sync_failures: u8,
    /// The update runs because the image before was damaged.
    recovered: bool,
    /// All blocks were right and the whole image was not: read back once more before it is believed.
    digest_doubted: bool,
    rests_until: Option<Instant>,
    /// When the medium failed for good, since the start of the program.
    failed_at: Option<Instant>,
    answers: heapless::Vec<answers::Answer, { crate::limits::ANSWERS_MAX }>,
    fetch: fetch::Fetch,
    announcement: Option<fetch::Announcement>,
    /// When something of this update was last heard by multicast.
    heard_at: Instant,
    events: heapless::Deque<Event, { crate::limits::EVENTS_MAX }>,
    message_id: u16,
    record: [u8; RECORD_BYTES_MAX],
    /// Reads in a row without looking at the network.
    reads: u8,
}

/// The update that the agent is busy with.
#[derive(Debug, Clone)]
struct Update {
    offer: Offer,
    shape: TreeShape,
    attempt: u32,
    outcome: Outcome,
}

/// Where the update stands.
#[derive(Debug, Clone)]
enum Phase {
    Idle,
    /// Reads back what storage holds.
    Recovering(recovery::Walk),
    /// Takes pages and blocks.
    Receiving,
    /// Hashes the whole image from storage.
    Checking(recovery::Check),
    Ready,
    /// Activates when the moment comes.
    Scheduled {
        due: Instant,
        attempt: u32,
    },
    /// The attempt is saved, then the platform switches.
    Activating,
    Trial,
    /// See the update's outcome.
    Ended,
}

/// The task that the platform is carrying out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    SaveCounters,
    SaveUpdate,
    SaveInstalled,
    Prepare,
    RollBack,
    Settle,
    Sync,
    Activate,
    /// Reads a page into the cache.
    LoadPage(u32),
    WriteHeld,
    /// Reads for the walk or the check.
    Examine,
}

impl<'m> Reception<'m> {
    /// A machine for one agent. `context` has this agent's Sender Context and the distributor as its only
    /// recipient; `seed` makes jitter and tokens, and should differ with every start.
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

    /// As [`new`](Self::new), but without what was saved of an update, which has to be told by
    /// [`restore`](Self::restore) before anything else.
    ///
    /// For a device whose stack is too small to move the machine about: this one is made where it is
    /// returned to.
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
        let announcement =
            booted_before.then(|| fetch::Announcement::new(now + random.up_to(config.announce_spread)));
        let message_id = (random.next_u64() & 0xffff) as u16;
        let (blocks, pages) = (BlockSet::new(memory.blocks, 0)?, BlockSet::new(memory.pages, 0)?);
        Some(Self {
            bounds: counters::Bounds::new(config.floor),
            message_id,
            config,
            context,
            random,
            counters: Counters::default(),
            blocks,
            pages,
            update: None,
            envelope: [0; ENVELOPE_BYTES_MAX],
            envelope_len: 0,
            phase: Phase::Idle,
            assembly: offers::Assembly::default(),
            refused: None,
            replaced_at: None,
            held: None,
            held_bytes: [0; BLOCK_BYTES_MAX as usize],
            page: blocks::CachedPage::default(),
            doing: None,
            saves: saves::Saves::default(),
            unsynced_since: None,
            storage_failures: 0,
            sync_failures: 0,
            recovered: false,
            digest_doubted: false,
            rests_until: None,
            failed_at: None,
            answers: heapless::Vec::new(),
            fetch: fetch::Fetch::default(),
            announcement,
            heard_at: now,
            events: heapless::Deque::new(),
            record: [0; RECORD_BYTES_MAX],
            reads: 0,
        })
    }

    /// What has been counted since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether a message of the distributor has been verified since the start: for an image on trial, the
    /// proof that its network and its keys work.
    #[must_use]
    pub fn has_heard_distributor(&self) -> bool {
        self.context.recipients().first().is_some_and(|it| it.window().highest().is_some())
    }

    /// Tells how many datagrams the program has dropped on purpose so far.
    pub fn set_injected_losses(&mut self, count: u32) {
        self.counters.injected_losses = count;
    }

    /// What the agent is doing with its update.
    #[must_use]
    pub fn state(&self) -> State {
        match (&self.phase, &self.update) {
            (Phase::Idle, _) | (_, None) => State::Idle,
            (Phase::Recovering(_), _) => State::Recovering,
            (Phase::Receiving, _) if !self.pages.is_full() => State::Pages,
            (Phase::Receiving, _) => State::Blocks,
            (Phase::Checking(_), _) => State::Checking,
            (Phase::Ready, _) => State::Ready,
            (Phase::Scheduled { .. } | Phase::Activating, _) => State::Scheduled,
            (Phase::Trial, _) => State::Trial,
            (Phase::Ended, Some(update)) => match update.outcome {
                Outcome::Confirmed | Outcome::Recovered => State::Confirmed,
                Outcome::RolledBack(_) => State::RolledBack,
                Outcome::Failed(_) => State::Failed,
                Outcome::Open => State::Idle,
            },
        }
    }

    /// The digest of the update that the agent is busy with.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.update.as_ref().map(|update| update.offer.digest)
    }

    /// Image blocks present, and how many the image has.
    #[must_use]
    pub fn progress(&self) -> (u32, u32) {
        (self.blocks.len(), self.blocks.count())
    }

    /// Takes something in. A datagram while a task is under way is lost, as on a busy device.
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

    /// What to do next. `buffer` holds the datagram to send or takes what a task reads: at least
    /// [`DATAGRAM_BYTES_MAX`](crate::limits::DATAGRAM_BYTES_MAX) bytes.
    pub fn poll<'a>(&'a mut self, now: Instant, buffer: &mut [u8]) -> Output<'a> {
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if self.doing.is_some() {
            return Output::Wait(None);
        }
        if let Some(until) = self.rests_until.filter(|until| *until > now) {
            return Output::Wait(Some(until));
        }
        if self.counters_due() {
            return self.save_counters();
        }
        if self.bounds.closed {
            return if self.unsynced_since.is_some() {
                self.give_out(Doing::Sync)
            } else {
                Output::Wait(None)
            };
        }
        self.compare_held(now);
        self.advance(now);
        if self.records_due() {
            return self.save_records();
        }
        if let Some(doing) = self.next_work(now) {
            return self.give_out(doing);
        }
        if self.records_due() {
            // The walk has just ended.
            return self.save_records();
        }
        if let Some((to, len)) = self.next_datagram(now, buffer) {
            return Output::Transmit { to, len };
        }
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        Output::Wait(self.deadline(now))
    }

    /// Something is under way or due that nothing else may overtake: a task, a block on its way, a counter or
    /// a record to be saved, a pause after a failure of the medium.
    fn is_busy(&self, now: Instant) -> bool {
        self.bounds.closed
            || self.doing.is_some()
            || self.held.is_some()
            || self.counters_due()
            || self.records_due()
            || self.rests_until.is_some_and(|until| until > now)
    }

    /// Moves the update on where nothing has to be waited for.
    fn advance(&mut self, now: Instant) {
        match &self.phase {
            Phase::Receiving if self.pages.is_full() && self.blocks.is_full() && self.held.is_none() => {
                self.phase = Phase::Checking(recovery::Check::new(recovery::Then::Report));
            }
            Phase::Scheduled { due, attempt } if *due <= now => {
                self.phase = Phase::Checking(recovery::Check::new(recovery::Then::Activate(*attempt)));
            }
            _ => {}
        }
    }

    /// The storage work that comes next, if any.
    fn next_work(&mut self, now: Instant) -> Option<Doing> {
        if let Some(held) = &self.held {
            return Some(match held.parent_to_load(&self.page) {
                Some(page) => Doing::LoadPage(page),
                None => Doing::WriteHeld,
            });
        }
        if self.sync_due(now) {
            return Some(Doing::Sync);
        }
        if matches!(self.phase, Phase::Activating) {
            return Some(Doing::Activate);
        }
        let examining = matches!(self.phase, Phase::Recovering(_) | Phase::Checking(_));
        if examining && self.reads < crate::limits::READS_IN_A_ROW_MAX {
            self.reads += 1;
            // When the walk has ended, what it found is made durable first.
            return self.next_examination(now).or_else(|| self.sync_due(now).then_some(Doing::Sync));
        }
        None
    }

    /// Whether everything written has to become durable now (DESIGN \[synced\]): an announcement is a report
    /// too.
    fn sync_due(&self, now: Instant) -> bool {
        let announcing = self.announcement.as_ref().is_some_and(|announcement| announcement.due() <= now);
        let answering = announcing || self.answers.iter().any(|answer| answer.due <= now);
        let checking = matches!(self.phase, Phase::Checking(_));
        self.unsynced_since
            .is_some_and(|since| answering || checking || now.since(since) >= crate::limits::SYNC_WITHIN)
    }

    /// Turns the next work into the task for it.
    fn give_out(&mut self, doing: Doing) -> Output<'_> {
        self.doing = Some(doing);
        // There is a task for every work that `next_work` names; syncing once more would do no harm.
        Output::Task(self.task(doing).unwrap_or(Task::Sync))
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        if matches!(self.phase, Phase::Recovering(_) | Phase::Checking(_)) {
            return Some(now);
        }
        let answers = self.answers.iter().map(|answer| answer.due).min();
        let sync = self.unsynced_since.map(|since| since + crate::limits::SYNC_WITHIN);
        let scheduled = match self.phase {
            Phase::Scheduled { due, .. } => Some(due),
            _ => None,
        };
        let announce = self.announcement.as_ref().map(fetch::Announcement::due);
        let mut deadline = self.fetch_deadline(now);
        for other in [answers, sync, scheduled, announce] {
            deadline = earliest(deadline, other);
        }
        deadline
    }

    fn event(&mut self, event: Event) {
        if self.events.is_full() {
            // The oldest is the least interesting; the counters have it anyway.
            let _ = self.events.pop_front();
        }
        let _ = self.events.push_back(event);
    }

    /// Takes up what the record of the update says, before anything else is handed in. `trial` tells how the
    /// trial of the update with this digest stands, if it is that one's.
    pub fn restore(&mut self, bytes: &[u8], trial: impl FnOnce(&Digest) -> Trial) {
        let Ok(record) = UpdateRecord::decode(bytes) else { return };
        // The envelope is verified again: storage may rot, and the key set may have changed.
        let Ok(offer) = suit::verify(record.envelope, &self.config.keys) else { return };
        if !self.adopt(offer, record.envelope) {
            return;
        }
        let Some(update) = &mut self.update else { return };
        (update.attempt, update.outcome) = (record.attempt, record.outcome);
        let trial = trial(&update.offer.digest);
        self.phase = match record.outcome {
            Outcome::Open if trial == Trial::Running => Phase::Trial,
            Outcome::Open => Phase::Recovering(recovery::Walk::new()),
            _ => Phase::Ended,
        };
        if matches!(trial, Trial::Healthy | Trial::RolledBack(_)) {
            self.on_trial(trial);
        }
    }
}
