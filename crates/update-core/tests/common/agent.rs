//! An agent on a simulated device in memory, driven by hand.

use super::group::{self, CLASS, Image, Speaker, VENDOR};
use coap_wire::Message;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use group_oscore::{Gid, Mode, OscoreOption, ReplayWindow, SequenceNumbers};
use update_core::census::{Query, State};
use update_core::device::{Device, Installed};
use update_core::platform::{Area, Done, Record, RollBackCause, StorageFailed, Task, Trial};
use update_core::reception::{Event, Input, Memory, Output, Reception, ReceptionConfig, Saved, Via};
use update_core::record::{CounterBounds, decode_installed};
use update_core::time::{Duration, Instant};

/// Room for 64 parity symbols of 1,024 bytes, or more of smaller ones.
const PARITY_BYTES: usize = 64 * 1028;

pub const MILLIS: fn(u64) -> Duration = Duration::from_millis;

/// Something that the device was told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Did {
    Save(Record),
    Prepare(u32, u32),
    Write(Area, u32, usize),
    Read(Area, u32),
    Sync,
    Activate([u8; 32]),
    RollBack,
    Settle,
}

/// What the device holds.
#[derive(Debug, Clone, Default)]
pub struct Store {
    pub records: [Option<Vec<u8>>; 3],
    pub image: Vec<u8>,
    pub pages: Vec<u8>,
}

impl Store {
    pub fn area(&mut self, area: Area) -> &mut Vec<u8> {
        if area == Area::Image { &mut self.image } else { &mut self.pages }
    }
}

pub struct Agent {
    pub index: usize,
    pub machine: Reception<'static>,
    /// Storage as a program reads it, and as it is after a power cut.
    pub store: Store,
    pub durable: Store,
    pub trial: Trial,
    pub did: Vec<Did>,
    pub sent: Vec<(SocketAddr, Vec<u8>)>,
    pub events: Vec<Event>,
    pub now: Instant,
    pub waits: Option<Instant>,
    /// Which tasks fail.
    pub refuse: fn(&Did) -> bool,
    pub installed: Option<Installed>,
    quiet: Duration,
    /// Outputs of the machine so far.
    pub steps: usize,
    /// The power fails at this step.
    pub cut_at: Option<usize>,
    /// The power fails before this task.
    pub cut_before: Option<Did>,
    seed: u64,
    pub parity_bytes: usize,
}

pub fn distributor_address() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 5683)
}

pub fn agent_address(index: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 1, index as u8 + 1)), 5683)
}

/// The Partial IV of a request.
pub fn request_piv(datagram: &[u8]) -> u64 {
    let message = Message::parse(datagram).unwrap();
    OscoreOption::of(&message).unwrap().partial_iv.unwrap().value()
}

/// An agent that has all of an image and waits to be told to activate it.
pub fn ready(speaker: &mut Speaker, image: &Image) -> Agent {
    let mut agent = Agent::new(0);
    agent.hear_all(&speaker.everything(image));
    agent.hear(Via::Group, &speaker.dates());
    assert_eq!(agent.machine.state(), State::Ready);
    agent
}

impl Agent {
    /// Creates a new device.
    pub fn new(index: usize) -> Self {
        Self::with_installed(index, None)
    }

    pub fn with_installed(index: usize, installed: Option<Installed>) -> Self {
        Self::with(index, installed, Duration::from_secs(30))
    }

    /// An agent with this much memory for parity symbols.
    pub fn with_parity(index: usize, bytes: usize) -> Self {
        Self::new(index).of_parity(bytes)
    }

    /// The same agent with this much memory for parity symbols.
    pub fn of_parity(mut self, bytes: usize) -> Self {
        self.parity_bytes = bytes;
        let seed = (1, bytes);
        self.machine = machine(self.index, &self.store, Trial::None, None, seed, self.now, self.quiet);
        self.run();
        self
    }

    /// A device that fetches by itself after this time of silence.
    pub fn with(index: usize, installed: Option<Installed>, quiet: Duration) -> Self {
        let store = Store::default();
        let seed = (1, PARITY_BYTES);
        let mut agent = Self {
            index,
            machine: machine(index, &store, Trial::None, installed, seed, Instant::from_micros(0), quiet),
            parity_bytes: PARITY_BYTES,
            durable: store.clone(),
            store,
            trial: Trial::None,
            did: Vec::new(),
            sent: Vec::new(),
            events: Vec::new(),
            now: Instant::from_micros(0),
            waits: None,
            refuse: |_| false,
            installed,
            quiet,
            steps: 0,
            cut_at: None,
            cut_before: None,
            seed: 1,
        };
        agent.run();
        agent
    }

    /// Restarts the program. After a power cut only synced data is left.
    pub fn restart(&mut self, power_cut: bool) {
        if power_cut {
            self.store = self.durable.clone();
        }
        self.seed += 1;
        let seed = (self.seed, self.parity_bytes);
        self.machine =
            machine(self.index, &self.store, self.trial, self.installed, seed, self.now, self.quiet);
        self.run();
    }

    /// Hands in a datagram on a socket, from the distributor's address.
    pub fn hear(&mut self, via: Via, datagram: &[u8]) {
        self.hear_from(distributor_address(), via, datagram);
    }

    pub fn hear_from(&mut self, from: SocketAddr, via: Via, datagram: &[u8]) {
        let mut bytes = datagram.to_vec();
        self.machine.handle(self.now, Input::Datagram { from, via, bytes: &mut bytes });
        self.run();
    }

    /// Hands in datagrams sent to the group.
    pub fn hear_all(&mut self, datagrams: &[Vec<u8>]) {
        datagrams.iter().for_each(|datagram| self.hear(Via::Group, datagram));
    }

    /// Advances the time and runs everything that falls due.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        while let Some(due) = self.waits.filter(|due| *due <= end) {
            turns += 1;
            assert!(turns < 100_000, "the machine never waits");
            self.now = self.now.max(due);
            self.machine.handle(self.now, Input::Timeout);
            self.run();
        }
        self.now = end;
        self.machine.handle(self.now, Input::Timeout);
        self.run();
    }

    /// Hands in a verdict on the image on trial.
    pub fn judge(&mut self, trial: Trial) {
        self.trial = trial;
        self.machine.handle(self.now, Input::Trial(trial));
        self.run();
    }

    /// Lets the machine do what a datagram that is not for it might make it do: it only reports events.
    pub fn settle(&mut self) {
        let mut buffer = [0; 1232];
        loop {
            match self.machine.poll(self.now, &mut buffer) {
                Output::Event(_) => {}
                Output::Wait(_) => return,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Carries out what the machine asks for until it waits.
    pub fn run(&mut self) {
        let mut buffer = [0; 1232];
        loop {
            self.steps += 1;
            if self.cut_at == Some(self.steps) {
                self.cut_at = None;
                return self.restart(true);
            }
            let output = self.machine.poll(self.now, &mut buffer);
            match output {
                Output::Transmit { to, len } => self.sent.push((to, buffer[..len].to_vec())),
                Output::Event(event) => self.events.push(event),
                Output::Task(task) => {
                    if self.cut_before == Some(did(&task)) {
                        self.cut_before = None;
                        return self.restart(true);
                    }
                    let done = carry_out(
                        &task,
                        &mut self.store,
                        &mut self.durable,
                        &mut self.trial,
                        (&mut self.did, self.refuse),
                        &mut buffer,
                    );
                    let len = if let Done::Read(len) = done { len } else { 0 };
                    self.machine.handle(self.now, Input::Done { done, bytes: &buffer[..len] });
                }
                Output::Wait(until) => {
                    self.waits = until;
                    if until.is_none_or(|until| until > self.now) {
                        return;
                    }
                    self.machine.handle(self.now, Input::Timeout);
                }
            }
        }
    }

    /// Sends a query by unicast and reads the answer.
    pub fn ask<T>(
        &mut self,
        speaker: &mut Speaker,
        query: &Query<'_>,
        read: impl FnOnce(&update_core::census::Report<'_>) -> T,
    ) -> T {
        let (datagram, binding) = speaker.query(Mode::Pairwise(group::agent_id(self.index)), query);
        let before = self.sent.len();
        self.hear(Via::Own, &datagram);
        let is_answer = |bytes: &[u8]| Message::parse(bytes).unwrap().code().is_response();
        let place = (before..self.sent.len()).find(|place| is_answer(&self.sent[*place].1));
        let (_, answer) = self.sent.remove(place.expect("an answer"));
        speaker.answer(&answer, &binding, read)
    }

    /// The state and reason that it reports about an image.
    pub fn stand(&mut self, speaker: &mut Speaker, image: &Image) -> (State, u8) {
        self.ask(speaker, &group::question(image), group::stand)
    }

    /// The manifest sequence number of what it has confirmed.
    pub fn installed_now(&self) -> Option<u64> {
        let record = self.store.records[Record::Installed as usize].as_deref()?;
        Some(decode_installed(record).unwrap().sequence_number)
    }

    /// How many write tasks it was given.
    pub fn writes(&self) -> usize {
        self.did.iter().filter(|did| matches!(did, Did::Write(..) | Did::Prepare(..))).count()
    }
}

fn machine(
    index: usize,
    store: &Store,
    trial: Trial,
    factory: Option<Installed>,
    (seed, parity_bytes): (u64, usize),
    now: Instant,
    quiet: Duration,
) -> Reception<'static> {
    let counters = store.records[0].as_deref().map(|bytes| CounterBounds::decode(bytes).unwrap());
    let gid = Gid::new(&[0xaa, 0xbb, 0xcc, 0xdd]).unwrap();
    let bounds = counters.unwrap_or(CounterBounds { gid, reserved_end: 0, floor: 0 });
    let numbers = SequenceNumbers::new(bounds.reserved_end, bounds.reserved_end);
    let context = group::agent_context(index, numbers, ReplayWindow::from_floor(bounds.floor));
    let installed = store.records[2].as_deref().map(|bytes| decode_installed(bytes).unwrap()).or(factory);
    let config = ReceptionConfig {
        device: Device { vendor: VENDOR, class: CLASS, slot_bytes: 1 << 20, installed },
        keys: group::key_set(),
        name: group::name(index),
        distributor: group::distributor_id(),
        distributor_address: distributor_address(),
        quiet,
        announce_spread: Duration::from_millis(500),
        floor: bounds.floor,
    };
    let memory = Memory {
        blocks: vec![0; 512].leak(),
        pages: vec![0; 64].leak(),
        parity: vec![0; parity_bytes].leak(),
    };
    let saved = Saved { update: store.records[1].as_deref(), trial, booted_before: counters.is_some() };
    Reception::new(config, context, memory, saved, seed, now).unwrap()
}

fn did(task: &Task<'_>) -> Did {
    match *task {
        Task::Save { record, .. } => Did::Save(record),
        Task::Prepare { image_bytes, page_bytes } => Did::Prepare(image_bytes, page_bytes),
        Task::Write { area, offset, data } => Did::Write(area, offset, data.len()),
        Task::Read { area, offset, .. } => Did::Read(area, offset),
        Task::Sync => Did::Sync,
        Task::Activate { digest, .. } => Did::Activate(*digest),
        Task::RollBack => Did::RollBack,
        Task::Settle => Did::Settle,
    }
}

fn carry_out(
    task: &Task<'_>,
    store: &mut Store,
    durable: &mut Store,
    trial: &mut Trial,
    (log, refuse): (&mut Vec<Did>, fn(&Did) -> bool),
    buffer: &mut [u8],
) -> Done {
    let what = did(task);
    let refused = refuse(&what);
    log.push(what);
    if refused {
        return Done::Failed(StorageFailed);
    }
    match *task {
        Task::Save { record, bytes } => {
            for store in [store, durable] {
                store.records[record as usize] = Some(bytes.to_vec());
            }
        }
        Task::Prepare { image_bytes, page_bytes } => {
            for store in [store, durable] {
                store.image = vec![0xa5; image_bytes as usize];
                store.pages = vec![0xa5; page_bytes as usize];
            }
        }
        Task::Write { area, offset, data } => {
            store.area(area)[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        }
        Task::Read { area, offset, len } => {
            let Some(bytes) = store.area(area).get(offset as usize..offset as usize + len) else {
                return Done::Failed(StorageFailed);
            };
            buffer[..len].copy_from_slice(bytes);
            return Done::Read(len);
        }
        Task::Sync => {
            durable.image.clone_from(&store.image);
            durable.pages.clone_from(&store.pages);
        }
        Task::Activate { .. } => *trial = Trial::Running,
        Task::RollBack if matches!(*trial, Trial::Running | Trial::Deferred | Trial::Stuck) => {
            *trial = Trial::RolledBack(RollBackCause::Ordered);
        }
        Task::RollBack => {}
        Task::Settle => *trial = Trial::None,
    }
    Done::Carried
}
