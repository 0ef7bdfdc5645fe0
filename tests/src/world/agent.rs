//! One agent: its program around the real [`Reception`], and the device it runs on.

use super::{Cut, Dice, Disk, Keys, Releases, release};
use core::net::SocketAddr;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use group_oscore::{ReplayWindow, SequenceNumbers};
use std::collections::VecDeque;
use update_core::block_set::BlockSet;
use update_core::device::Device;
use update_core::platform::{Area, Done, Record, Task, Trial, carry_out};
use update_core::reception::{Input, Memory, Reception, ReceptionConfig, Saved, Via};
use update_core::record::{CounterBounds, decode_installed};
use update_core::time::{Duration, Instant};

/// Datagrams that wait in the socket's buffer while the program is busy.
const INBOX_MAX: usize = 64;

/// How long the device takes for its work.
#[derive(Debug, Clone, Copy)]
pub struct Speed {
    /// A write.
    pub write: Duration,
    /// A sync.
    pub sync: Duration,
    /// Replacing a record.
    pub save: Duration,
    /// From the end of a program to its next start.
    pub restart: Duration,
    /// From the activation to the verdict on the new image.
    pub trial: Duration,
    /// Whether an activation restarts the device, as on a microcontroller.
    pub restarts_for_trial: bool,
    /// How long the agent hears nothing before it fetches on its own.
    pub quiet: Duration,
}

/// A task with its bytes, while the device works on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    /// [`Task::Save`]
    Save(Record, Vec<u8>),
    /// [`Task::Prepare`]
    Prepare(u32, u32),
    /// [`Task::Write`]
    Write(Area, u32, Vec<u8>),
    /// [`Task::Read`]
    Read(Area, u32, usize),
    /// [`Task::Sync`]
    Sync,
    /// [`Task::Activate`]
    Activate(u32, [u8; 32]),
    /// [`Task::RollBack`]
    RollBack,
    /// [`Task::Settle`]
    Settle,
}

impl Work {
    /// Takes over a task.
    #[must_use]
    pub(super) fn of(task: &Task<'_>) -> Self {
        match *task {
            Task::Save { record, bytes } => Self::Save(record, bytes.to_vec()),
            Task::Prepare { image_bytes, page_bytes } => Self::Prepare(image_bytes, page_bytes),
            Task::Write { area, offset, data } => Self::Write(area, offset, data.to_vec()),
            Task::Read { area, offset, len } => Self::Read(area, offset, len),
            Task::Sync => Self::Sync,
            Task::Activate { image_bytes, digest } => Self::Activate(image_bytes, *digest),
            Task::RollBack => Self::RollBack,
            Task::Settle => Self::Settle,
        }
    }

    fn task(&self) -> Task<'_> {
        match self {
            Self::Save(record, bytes) => Task::Save { record: *record, bytes },
            Self::Prepare(image_bytes, page_bytes) => {
                Task::Prepare { image_bytes: *image_bytes, page_bytes: *page_bytes }
            }
            Self::Write(area, offset, data) => Task::Write { area: *area, offset: *offset, data },
            Self::Read(area, offset, len) => Task::Read { area: *area, offset: *offset, len: *len },
            Self::Sync => Task::Sync,
            Self::Activate(image_bytes, digest) => Task::Activate { image_bytes: *image_bytes, digest },
            Self::RollBack => Task::RollBack,
            Self::Settle => Task::Settle,
        }
    }
}

/// One agent with its device.
pub(super) struct Agent {
    /// Its index among the agents.
    pub index: usize,
    /// Its storage.
    pub disk: Disk,
    /// Its program, while it runs.
    pub machine: Option<Reception<'static>>,
    /// What the device is working on, and until when.
    pub work: Option<(Instant, Work)>,
    /// When the program wants to be called again.
    pub wake: Option<Instant>,
    /// When the device starts, while it is off.
    pub starts_at: Option<Instant>,
    /// When the image on trial is judged, and with which verdict.
    pub verdict: Option<(Instant, bool)>,
    /// Outputs of its machine so far, over all starts.
    pub steps: u64,
    /// How often it has been started.
    pub starts: u32,
    speed: Speed,
    buffer: Vec<u8>,
    inbox: VecDeque<(SocketAddr, Via, Vec<u8>)>,
    dice: Dice,
}

impl Agent {
    /// A new device that starts at `starts_at`.
    #[must_use]
    pub(super) fn new(
        index: usize,
        speed: Speed,
        starts_at: Option<Instant>,
        dice: Dice,
        disk: Disk,
    ) -> Self {
        let buffer = vec![0; update_core::limits::DATAGRAM_BYTES_MAX];
        Self {
            index,
            disk,
            machine: None,
            work: None,
            wake: None,
            starts_at,
            verdict: None,
            steps: 0,
            starts: 0,
            speed,
            buffer,
            inbox: VecDeque::new(),
            dice,
        }
    }

    /// How long the device takes for its work.
    #[must_use]
    pub(super) fn speed(&self) -> Speed {
        self.speed
    }

    /// Starts the program from what the disk holds.
    pub(super) fn start(&mut self, keys: &Keys, distributor: SocketAddr, releases: &Releases, now: Instant) {
        let counters = self
            .disk
            .record(Record::Counters)
            .map(|bytes| CounterBounds::decode(bytes).expect("saved whole"));
        let bounds = counters.unwrap_or(CounterBounds { gid: keys.gid(), reserved_end: 0, floor: 0 });
        let numbers = SequenceNumbers::new(bounds.reserved_end, bounds.reserved_end);
        let context = keys.agent_context(self.index, numbers, ReplayWindow::from_floor(bounds.floor));
        let installed =
            self.disk.record(Record::Installed).map(|bytes| decode_installed(bytes).expect("saved whole"));
        let config = ReceptionConfig {
            device: Device {
                vendor: release::VENDOR,
                class: release::CLASS,
                slot_bytes: update_core::limits::IMAGE_BYTES_MAX,
                installed,
            },
            keys: keys.key_set,
            name: keys.agents[self.index].name,
            distributor: keys.distributor.id,
            distributor_address: distributor,
            quiet: self.speed.quiet,
            announce_spread: Duration::from_millis(500),
            floor: bounds.floor,
        };
        // A machine borrows its memory, and its owner cannot own both. A world has few starts and small
        // images.
        let set = |area| vec![0; BlockSet::bytes_for(releases.most(area))].leak();
        let parity = vec![0; releases.most(Area::Image) as usize / 2 * 1028].leak();
        let memory = Memory { blocks: set(Area::Image), pages: set(Area::Pages), parity };
        let saved = Saved {
            update: self.disk.record(Record::Update),
            trial: self.disk.trial(),
            booted_before: counters.is_some(),
        };
        self.machine = Reception::new(config, context, memory, saved, self.dice.number(), now);
        self.starts += 1;
        self.starts_at = None;
        self.wake = Some(now);
        if self.disk.trial() == Trial::Running && self.verdict.is_none() {
            self.verdict = Some((now + self.speed.trial, true));
        }
    }

    /// Stops the program, or the whole device, and restarts it after a while. A task in progress is done, or
    /// not, or half.
    pub(super) fn cut(&mut self, now: Instant, cut: Cut) {
        if let Some((_, work)) = self.work.take().filter(|_| self.dice.chance(0.5)) {
            let failures = std::mem::replace(&mut self.disk.failures, 0.0);
            let _ = block_on(carry_out(work.task(), &mut self.disk, &mut self.buffer, |_| {}));
            self.disk.failures = failures;
        }
        self.disk.restart(cut);
        self.machine = None;
        self.verdict = None;
        self.inbox.clear();
        self.wake = None;
        self.starts_at = Some(now + self.speed.restart);
    }

    /// A datagram arrives at one of its sockets.
    pub(super) fn arrive(&mut self, from: SocketAddr, via: Via, bytes: Vec<u8>) {
        if self.machine.is_some() && self.inbox.len() < INBOX_MAX {
            self.inbox.push_back((from, via, bytes));
        }
    }

    /// Hands the next datagram in; `false` when there is none.
    pub(super) fn take_datagram(&mut self, now: Instant) -> bool {
        let (Some(machine), Some((from, via, mut bytes))) = (&mut self.machine, self.inbox.pop_front())
        else {
            return false;
        };
        machine.handle(now, Input::Datagram { from, via, bytes: &mut bytes });
        true
    }

    /// The machine's next output, and its buffer.
    pub(super) fn poll(&mut self, now: Instant) -> Option<(Step, &[u8])> {
        self.steps += 1;
        let output = self.machine.as_mut()?.poll(now, &mut self.buffer);
        let (step, len) = match output {
            update_core::reception::Output::Transmit { to, len } => (Step::Transmit(to), len),
            update_core::reception::Output::Task(task) => (Step::Work(Work::of(&task)), 0),
            update_core::reception::Output::Event(event) => (Step::Event(event), 0),
            update_core::reception::Output::Wait(until) => (Step::Wait(until), 0),
        };
        Some((step, &self.buffer[..len]))
    }

    /// How long some work takes.
    #[must_use]
    pub(super) fn duration(&self, work: &Work) -> Duration {
        match work {
            Work::Write(..) => self.speed.write,
            Work::Sync => self.speed.sync,
            Work::Save(..) | Work::Prepare(..) | Work::Activate(..) | Work::RollBack | Work::Settle => {
                self.speed.save
            }
            Work::Read(..) => Duration::ZERO,
        }
    }

    /// Finishes the work: carries it out, and tells the machine.
    pub(super) fn finish_work(&mut self, now: Instant) -> Option<(Work, Done)> {
        let (_, work) = self.work.take()?;
        let done = block_on(carry_out(work.task(), &mut self.disk, &mut self.buffer, |_| {}));
        let len = if let Done::Read(len) = done { len } else { 0 };
        let machine = self.machine.as_mut()?;
        machine.handle(now, Input::Done { done, bytes: &self.buffer[..len] });
        Some((work, done))
    }
}

/// An output of an agent's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// To send what is in the buffer.
    Transmit(SocketAddr),
    /// Work for the device.
    Work(Work),
    /// A fact to report.
    Event(update_core::reception::Event),
    /// To wait.
    Wait(Option<Instant>),
}

/// The device's futures never wait for anything.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the disk never waits"),
    }
}
