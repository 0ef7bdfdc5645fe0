//! A distribution and its agents over a network that a test watches.

use super::agent::{Agent, agent_address, distributor_address};
use super::group::{self, Image};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use group_oscore::{MemberId, ReplayWindow, SequenceNumbers};
use std::collections::BTreeMap;
use update_core::census::State;
use update_core::distribution::{
    Activate, Distribution, DistributionConfig, Ending, Event, Input, Job, Output,
};
use update_core::platform::Trial;
use update_core::reception::Via;
use update_core::time::{Duration, Instant};

/// A datagram in transit. `None` as the agent stands for the distributor.
pub struct Passing<'a> {
    pub to_agent: Option<usize>,
    pub from_agent: Option<usize>,
    pub by_group: bool,
    pub bytes: &'a [u8],
    pub now: Instant,
}

pub struct Fleet<'i> {
    pub image: &'i Image,
    pub distribution: Distribution,
    pub agents: Vec<Agent>,
    /// Agents that are switched off.
    pub off: Vec<bool>,
    pub now: Instant,
    pub events: Vec<Event>,
    pub ending: Option<Ending>,
    /// Every datagram that the distributor sent, with its destination.
    pub sent: Vec<(SocketAddr, Vec<u8>)>,
    /// The port that each of them left from.
    pub sources: Vec<u8>,
    /// Reservations, floors and numbers as the files would hold them.
    pub reserved_end: u64,
    pub floors: BTreeMap<MemberId, Option<u64>>,
    /// The highest Partial IVs accepted, stored with them.
    pub heard: Vec<(MemberId, u64)>,
    /// How often floors were stored.
    pub floors_saved: usize,
    /// The reservation that was requested and is not yet granted, if a test withholds it.
    pub withhold: bool,
    /// The image file, which may change.
    pub file: Vec<u8>,
    pub wake: Option<Instant>,
    /// The verdict on an image on trial.
    pub verdict: fn(usize) -> Trial,
    /// The number of distributions so far; each has its own seed.
    pub runs: u64,
}

pub fn coap_group() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 192, 0, 1)), 5683)
}

pub fn config() -> DistributionConfig {
    DistributionConfig {
        coap_group: coap_group(),
        rate: 10_000_000,
        overhead_bytes: 42,
        everyone: true,
        activate: Activate::Everyone,
        attempt: 1,
        delay_ms: 0,
        transfer_within: Duration::from_secs(600),
        confirm_within: Duration::from_secs(60),
        deferred_within: Duration::ZERO,
        first_answer_within: Duration::from_secs(60),
        leaves_silent: false,
        parity: None,
    }
}

impl<'i> Fleet<'i> {
    pub fn new(image: &'i Image, agents: usize) -> Self {
        Self::with(image, agents, config(), Some(Job::Update(image.update())))
    }

    pub fn with(image: &'i Image, agents: usize, config: DistributionConfig, job: Option<Job>) -> Self {
        Self::with_part(image, agents, agents, config, job)
    }

    /// A distribution for the first `part` agents of a group.
    pub fn with_part(
        image: &'i Image,
        agents: usize,
        part: usize,
        config: DistributionConfig,
        job: Option<Job>,
    ) -> Self {
        let floors: BTreeMap<_, _> = (0..part).map(|index| (group::agent_id(index), Some(0))).collect();
        let now = Instant::from_micros(0);
        let job = job.unwrap_or_else(|| Job::Update(image.update()));
        let context = context(0, &floors);
        Self {
            image,
            distribution: Distribution::new(config, context, job, 1, now),
            agents: (0..agents).map(Agent::new).collect(),
            off: vec![false; agents],
            now,
            events: Vec::new(),
            ending: None,
            sent: Vec::new(),
            sources: Vec::new(),
            reserved_end: 0,
            floors,
            heard: Vec::new(),
            floors_saved: 0,
            withhold: false,
            file: image.bytes.clone(),
            wake: Some(now),
            verdict: |_| Trial::Healthy,
            runs: 1,
        }
    }

    /// Restarts the distributor's program from its files.
    pub fn restart_distribution(&mut self, config: DistributionConfig) {
        self.restart_distribution_with(config, Job::Update(self.image.update()));
    }

    /// The same, for this job.
    pub fn restart_distribution_with(&mut self, config: DistributionConfig, job: Job) {
        let context = context(self.reserved_end, &self.floors);
        self.runs += 1;
        let distribution = Distribution::new(config, context, job, self.runs, self.now);
        self.distribution = distribution.having_heard(&self.heard);
        self.ending = None;
        self.wake = Some(self.now);
    }

    /// Runs to the end; every datagram arrives once.
    pub fn run(&mut self) -> Ending {
        self.run_with(|_| 1)
    }

    /// Runs to the end; `copies` returns how often each datagram arrives.
    pub fn run_with(&mut self, mut copies: impl FnMut(&Passing<'_>) -> usize) -> Ending {
        for _ in 0..1_000_000 {
            self.step(&mut copies);
            if let Some(ending) = self.ending {
                return ending;
            }
        }
        panic!("it never ends");
    }

    /// Advances to the next moment at which something happens.
    pub fn step(&mut self, copies: &mut impl FnMut(&Passing<'_>) -> usize) {
        let on = |index: &usize| !self.off[*index];
        let agents = (0..self.agents.len()).filter(on).filter_map(|index| self.agents[index].waits);
        let next = agents.chain(self.wake).min();
        let next = next.unwrap_or_else(|| panic!("something has to happen: {:?}", self.events));
        self.now = self.now.max(next);
        for index in 0..self.agents.len() {
            if !self.off[index] && self.agents[index].waits.is_some_and(|due| due <= self.now) {
                let time = self.now.since(self.agents[index].now);
                self.agents[index].pass(time);
            }
            self.collect(index, copies);
        }
        if self.wake.is_some_and(|due| due <= self.now) {
            self.drive(copies);
        }
    }

    /// Passes what an agent has sent on to the distributor, and ends its trial.
    fn collect(&mut self, index: usize, copies: &mut impl FnMut(&Passing<'_>) -> usize) {
        if self.agents[index].trial == Trial::Running {
            let verdict = (self.verdict)(index);
            self.agents[index].judge(verdict);
        }
        let trial = self.agents[index].trial;
        let goes_on =
            matches!(self.agents[index].machine.state(), State::Trial | State::Deferred | State::Failed);
        if matches!(trial, Trial::RolledBack(_)) && goes_on {
            self.agents[index].judge(trial);
        }
        for (to, bytes) in std::mem::take(&mut self.agents[index].sent) {
            assert_eq!(to, distributor_address());
            let passing = Passing {
                to_agent: None,
                from_agent: Some(index),
                by_group: false,
                bytes: &bytes,
                now: self.now,
            };
            for _ in 0..copies(&passing) {
                let mut bytes = bytes.clone();
                let from = agent_address(index);
                self.distribution.handle(self.now, Input::Datagram { from, bytes: &mut bytes });
                self.wake = Some(self.now);
            }
        }
    }

    /// Polls the distribution until it waits.
    pub fn drive(&mut self, copies: &mut impl FnMut(&Passing<'_>) -> usize) {
        let mut buffer = [0; 1232];
        loop {
            match self.distribution.poll(self.now, &mut buffer) {
                Output::Transmit { to, len, source } => {
                    self.sources.push(source);
                    self.transmit(to, &buffer[..len], copies);
                }
                Output::Reserve(_) if self.withhold => return self.wake = None,
                Output::Reserve(reservation) => {
                    self.reserved_end = reservation.end();
                    self.distribution.handle(self.now, Input::Reserved(reservation));
                }
                Output::SaveFloors => {
                    self.floors_saved += 1;
                    self.floors = self.distribution.floors().into_iter().collect();
                    self.heard = self.distribution.heard();
                    self.distribution.handle(self.now, Input::FloorsSaved);
                }
                Output::Read { offset, len } => {
                    let bytes = self.file.get(offset as usize..offset as usize + len);
                    self.distribution.handle(self.now, Input::Block(bytes));
                }
                Output::Event(event) => {
                    self.events.push(event);
                    if let Event::Finished(ending) = event {
                        self.ending = Some(ending);
                        self.reserved_end = self.distribution.next_sequence_number();
                        self.floors = self.distribution.floors().into_iter().collect();
                        self.heard = self.distribution.heard();
                    }
                }
                Output::Wait(until) => return self.wake = until,
            }
        }
    }

    fn transmit(&mut self, to: SocketAddr, bytes: &[u8], copies: &mut impl FnMut(&Passing<'_>) -> usize) {
        self.sent.push((to, bytes.to_vec()));
        for index in 0..self.agents.len() {
            let by_group = to == coap_group();
            if self.off[index] || !(by_group || to == agent_address(index)) {
                continue;
            }
            let passing = Passing { to_agent: Some(index), from_agent: None, by_group, bytes, now: self.now };
            for _ in 0..copies(&passing) {
                let agent = &mut self.agents[index];
                agent.now = agent.now.max(self.now);
                agent.hear(if by_group { Via::Group } else { Via::Own }, bytes);
            }
        }
        // The answers that they sent at once.
        for index in 0..self.agents.len() {
            self.collect(index, copies);
        }
    }
}

fn context(
    reserved_end: u64,
    floors: &BTreeMap<MemberId, Option<u64>>,
) -> group_oscore::GroupContext<update_core::distribution::Members> {
    let windows =
        floors.values().map(|floor| floor.map_or_else(ReplayWindow::invalid, ReplayWindow::from_floor));
    group::distributor_context(SequenceNumbers::new(reserved_end, reserved_end), windows)
}
