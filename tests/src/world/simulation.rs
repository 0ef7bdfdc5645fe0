//! The course of one world: what happens next, until everything is done or it is too late.

use super::agent::{self, Agent, Work};
use super::attacker::Attacker;
use super::checker::Checker;
use super::distributor::{self, Distributor};
use super::liar::Liar;
use super::network::{Arrival, LinkBytes};
use super::waves::Waves;
use super::{Cut, Dice, Disk, Faults, Host, Keys, Network, Options, Releases, Sabotage};
use coap_wire::Message;
use group_oscore::MemberId;
use sha2::{Digest as _, Sha256};
use std::fmt::Debug;
use update_core::distribution::{Distribution, Event};
use update_core::platform::{Done, Trial};
use update_core::time::{Duration, Instant, earliest};

/// How many steps at one moment count as an endless loop.
const SPINS_MAX: u32 = 100_000;

/// A world and its progress.
pub(super) struct Simulation<'o> {
    options: &'o Options,
    keys: Keys,
    releases: Releases,
    superseded_at: Option<Instant>,
    network: Network,
    agents: Vec<Agent>,
    liars: Vec<(usize, Liar)>,
    distributor: Distributor,
    attacker: Attacker,
    attacks_at: Option<Instant>,
    checker: Checker,
    dice: Dice,
    now: Instant,
    spins: u32,
    trace: Sha256,
    confirmed: Vec<Option<Instant>>,
    waves: Waves,
    restarts: u32,
    updates_before: u32,
    blocks_multicast: u64,
    blocks_unicast: u64,
    laggards: usize,
    quarantined: usize,
}

/// What is reported about a world at its end.
pub(super) struct Ended {
    /// SHA-256 over everything that happened, in order.
    pub trace_hash: [u8; 32],
    /// Agents that were updated with earlier images.
    pub(super) updates_before: u32,
    /// When each agent had confirmed the last image.
    pub confirmed: Vec<Option<Instant>>,
    /// When the distributor was done.
    pub now: Instant,
    /// What went over the distributor's link.
    pub link: LinkBytes,
    /// Blocks to the CoAP group and to single agents.
    pub blocks: (u64, u64),
    /// Restarts of agents and of the distributor.
    pub restarts: u32,
    /// How often the operator started the distributor.
    pub pushes: u32,
    /// Laggards and quarantined agents when the last push ended.
    pub set_apart: (usize, usize),
    /// Agents that run neither the factory image nor a signed one.
    pub bricked: u32,
    /// What was found wrong.
    pub checker: Checker,
}

impl<'o> Simulation<'o> {
    /// Creates a world at its beginning.
    #[must_use]
    pub(super) fn new(seed: u64, options: &'o Options) -> Self {
        let mut dice = Dice::new(seed, 1);
        let keys = Keys::new(options.agents, options.algorithms, &mut dice);
        let releases = Releases::new(&keys, &options.images(), &mut dice);
        let now = Instant::default();
        let agents = (0..options.agents)
            .map(|index| {
                let starts_at = options.starts_at(index).map(|after| now + after);
                let mut disk = Disk::new(Dice::new(seed, 1_000 + index as u64));
                disk.sabotage = options.sabotage;
                Agent::new(index, options.speed, starts_at, Dice::new(seed, 2_000 + index as u64), disk)
            })
            .collect();
        let liars = options.liars.iter().map(|(index, lie)| {
            (*index, Liar::new(*lie, *index, &keys, Dice::new(seed, 4_000_000 + *index as u64)))
        });
        let liars = liars.collect();
        let begins = now + Duration::from_millis(100);
        Self {
            network: Network::new(options.agents, Dice::new(seed, 2)),
            distributor: Distributor::new(&keys, options, begins, Dice::new(seed, 3)),
            attacker: Attacker::new(Dice::new(seed, 4)),
            attacks_at: options.faults.attack_every.map(|every| now + every),
            checker: Checker::new(options.agents, options.faults.is_none()),
            confirmed: vec![None; options.agents],
            waves: Waves::new(options.waves, options.agents),
            options,
            keys,
            releases,
            superseded_at: options.superseded_after.map(|after| now + after),
            agents,
            liars,
            dice,
            now,
            spins: 0,
            trace: Sha256::new(),
            restarts: 0,
            updates_before: 0,
            blocks_multicast: 0,
            blocks_unicast: 0,
            laggards: 0,
            quarantined: 0,
        }
    }

    /// Runs it to its end.
    #[must_use]
    pub(super) fn run(mut self) -> Ended {
        let deadline = Instant::default() + self.options.deadline;
        while !self.is_done() && self.checker.violations.is_empty() {
            match self.next_moment() {
                Some(next) if next <= deadline => self.advance(next),
                _ => {
                    let what = format!("not everyone is confirmed: {:?}", self.states());
                    self.checker.violation(what);
                }
            }
        }
        self.end()
    }

    fn end(mut self) -> Ended {
        let factory = Disk::new(Dice::new(0, 0)).running();
        let mut bricked = 0;
        for agent in &self.agents {
            bricked += u32::from(!self.checker.end(agent, factory, &self.releases));
        }
        Ended {
            trace_hash: self.trace.finalize().into(),
            updates_before: self.updates_before,
            confirmed: self.confirmed,
            now: self.now,
            link: self.network.link,
            blocks: (self.blocks_multicast, self.blocks_unicast),
            restarts: self.restarts,
            pushes: self.distributor.starts,
            set_apart: (self.laggards, self.quarantined),
            bricked,
            checker: self.checker,
        }
    }

    fn states(&self) -> Vec<(usize, String)> {
        let agents = self.agents.iter().filter(|agent| self.confirmed[agent.index].is_none());
        agents
            .map(|agent| {
                let state = agent.machine.as_ref().map(|machine| (machine.state(), machine.progress()));
                (agent.index, format!("{state:?} {:?} {:?}", agent.disk.trial(), self.distributor.ending))
            })
            .collect()
    }

    /// Whether every present agent runs the new image and has reported it, and the distributor has ended.
    fn is_done(&self) -> bool {
        let everyone = (0..self.agents.len())
            .all(|index| !self.options.is_expected(index) || self.confirmed[index].is_some());
        everyone && self.distributor.ending.is_some() && self.distributor.machine.is_none()
    }

    fn faults(&self) -> Faults {
        let faults = &self.options.faults;
        if self.now < Instant::default() + faults.until {
            faults.clone()
        } else {
            Faults { delay: faults.delay, ..Faults::none() }
        }
    }

    fn next_moment(&self) -> Option<Instant> {
        let mut next = self.network.next_at();
        let attacks = self.attacks_at.filter(|at| *at < Instant::default() + self.options.faults.until);
        for other in [attacks, self.distributor.wake, self.distributor.starts_at, self.superseded_at] {
            next = earliest(next, other);
        }
        for (_, liar) in &self.liars {
            next = earliest(next, liar.wake());
        }
        for agent in &self.agents {
            let working = agent.work.as_ref().map(|(until, _)| *until);
            // While the device works, the program waits for it.
            let wake = if working.is_some() { None } else { agent.wake };
            let verdict = agent.verdict.filter(|_| !self.sabotaged(Sabotage::NoVerdict));
            for other in [working, wake, agent.starts_at, verdict.map(|(at, _)| at)] {
                next = earliest(next, other);
            }
        }
        next
    }

    fn advance(&mut self, next: Instant) {
        if next > self.now {
            self.now = next;
            self.spins = 0;
        }
        self.spins += 1;
        if self.spins > SPINS_MAX {
            self.checker.violation(format!("an endless loop at {:?}", self.now));
        }
        while let Some(arrival) = self.network.next(self.now) {
            self.deliver(arrival);
        }
        if self.attacks_at.is_some_and(|at| at <= self.now) {
            self.attack();
        }
        self.liars_moment();
        for index in 0..self.agents.len() {
            self.agent_moment(index);
        }
        if self.superseded_at.is_some_and(|at| at <= self.now) {
            self.count_blocks();
            self.superseded_at = None;
            if self.next_release() {
                self.confirmed.fill(None);
            }
        }
        self.distributor_moment();
    }

    fn deliver(&mut self, arrival: Arrival) {
        self.note("deliver", &(arrival.to, arrival.from, arrival.by_group), &arrival.bytes);
        match arrival.to {
            Host::Distributor => {
                self.checker.arrived(arrival.from, &arrival.bytes);
                self.distributor.arrive(self.now, arrival.from, arrival.bytes);
                self.distributor.wake = self.distributor.machine.as_ref().map(|_| self.now);
            }
            Host::Agent(index) if self.liars.iter().any(|(liar, _)| *liar == index) => {
                let liar = self.liars.iter_mut().find(|(liar, _)| *liar == index);
                if let Some((_, liar)) = liar {
                    liar.hear(self.now, arrival.bytes, self.releases.current());
                }
            }
            Host::Agent(index) if self.is_too_long(index, &arrival.bytes) => {}
            Host::Agent(index) => {
                let via = arrival.via();
                let agent = &mut self.agents[index];
                agent.arrive(arrival.from, via, arrival.bytes);
                agent.wake = agent.machine.as_ref().map(|_| self.now);
            }
        }
    }

    /// Whether this agent's path drops a datagram of this length.
    fn is_too_long(&self, index: usize, bytes: &[u8]) -> bool {
        self.options.narrow.iter().any(|(narrow, most)| *narrow == index && bytes.len() > *most)
    }

    fn is_honest(&self, id: MemberId) -> bool {
        self.liars.iter().all(|(index, _)| self.keys.agents[*index].id != id)
    }

    fn liars_moment(&mut self) {
        let mut said = Vec::new();
        for (index, liar) in &mut self.liars {
            let all = liar.say(self.now, self.releases.current());
            said.extend(all.into_iter().map(|bytes| (*index, bytes)));
        }
        for (index, bytes) in said {
            let kid = self.keys.agents[index].id;
            self.send(Host::Agent(index), kid.as_bytes(), Network::address_of(Host::Distributor), &bytes);
        }
    }

    fn sabotaged(&self, sabotage: Sabotage) -> bool {
        self.options.sabotage == Some(sabotage)
    }

    /// The work as the device gets it: unchanged, unless the world breaks its guarantee.
    fn changed(&mut self, index: usize, work: &Work) -> Work {
        let mut work = work.clone();
        match &mut work {
            Work::Write(_, _, data) if self.sabotaged(Sabotage::BlockChanged) => data[0] ^= 1,
            Work::Activate(..) if self.sabotaged(Sabotage::ImageChanged) => {
                self.agents[index].disk.spoil_image();
            }
            _ => {}
        }
        work
    }

    fn attack(&mut self) {
        let every = self.options.faults.attack_every;
        self.attacks_at = every.map(|every| self.now + every);
        let next = self.distributor.machine.as_ref().map_or(0, Distribution::next_sequence_number);
        self.attacker.strike(self.now, &mut self.network, &self.keys, self.releases.current(), next);
    }

    fn agent_moment(&mut self, index: usize) {
        let now = self.now;
        let agent = &mut self.agents[index];
        if agent.starts_at.is_some_and(|at| at <= now) {
            agent.start(&self.keys, Network::address_of(Host::Distributor), &self.releases, now);
        }
        if agent.verdict.is_some_and(|(at, _)| at <= now) && !self.sabotaged(Sabotage::NoVerdict) {
            self.judge(index);
        }
        let agent = &mut self.agents[index];
        if agent.work.as_ref().is_some_and(|(until, _)| *until <= now) {
            agent.disk.failures = if now < Instant::default() + self.options.faults.until {
                self.options.faults.storage_failures
            } else {
                0.0
            };
            if let Some((work, done)) = agent.finish_work(now) {
                self.work_done(index, &work, done);
            }
            self.agents[index].wake = Some(now);
        }
        if self.agents[index].wake.is_some_and(|at| at <= now) {
            self.drive_agent(index);
        }
    }

    fn work_done(&mut self, index: usize, work: &Work, done: Done) {
        self.checker.work_done(&mut self.agents[index], work, done, &self.releases);
        if matches!((work, done), (Work::RollBack, Done::Carried)) {
            // The process that would have judged the image reports that it is gone.
            self.agents[index].verdict = Some((self.now, false));
        }
        if !matches!(work, Work::Activate(..)) || !matches!(done, Done::Carried) {
            return;
        }
        let healthy = !self.dice.chance(self.faults().unhealthy);
        let agent = &mut self.agents[index];
        if agent.speed().restarts_for_trial {
            // The device restarts. For its storage this is like a power cut, but the image on trial is the
            // one that runs.
            self.restart_for_trial(index, healthy);
        } else {
            agent.verdict = Some((self.now + agent.speed().trial, healthy));
        }
    }

    fn restart_for_trial(&mut self, index: usize, healthy: bool) {
        let agent = &mut self.agents[index];
        agent.machine = None;
        agent.work = None;
        agent.starts_at = Some(self.now + agent.speed().restart);
        agent.verdict = Some((self.now + agent.speed().restart + agent.speed().trial, healthy));
    }

    fn judge(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        let Some((_, healthy)) = agent.verdict.take() else { return };
        agent.disk.judge(healthy);
        let trial = agent.disk.trial();
        if agent.work.is_some() {
            // The device is busy; the verdict can wait.
            agent.verdict = Some((self.now + Duration::from_millis(1), healthy));
            return;
        }
        if let Some(machine) = &mut agent.machine {
            machine.handle(self.now, update_core::reception::Input::Trial(trial));
            agent.wake = Some(self.now);
        }
    }

    fn drive_agent(&mut self, index: usize) {
        let mut spins = 0;
        self.agents[index].wake = None;
        while self.agents[index].work.is_none() {
            spins += 1;
            if spins > SPINS_MAX {
                return self.checker.violation(format!("agent {index} never waits"));
            }
            let Some((step, bytes)) = self.agents[index].poll(self.now) else { return };
            let bytes = bytes.to_vec();
            if let Some(cut) = self.cut_due(index) {
                // What it was about to do is done, or not: `Agent::cut` decides about its work.
                self.begin(index, &step, &bytes, true);
                return self.cut(index, cut);
            }
            if !self.begin(index, &step, &bytes, false) {
                return;
            }
        }
    }

    fn cut_due(&mut self, index: usize) -> Option<Cut> {
        let faults = self.faults();
        let planned = self.options.cut_at == Some((index, self.agents[index].steps));
        let power = planned || self.dice.chance(faults.power_cuts);
        let kill = !power && self.dice.chance(faults.kills);
        if power { Some(Cut::Power) } else { kill.then_some(Cut::Kill) }
    }

    fn cut(&mut self, index: usize, cut: Cut) {
        self.note("cut", &(index, cut), &[]);
        self.restarts += 1;
        let agent = &mut self.agents[index];
        agent.cut(self.now, cut);
        self.checker.restarted(agent, &self.releases);
    }

    /// Begins one step of an agent; `false` when the agent waits.
    fn begin(&mut self, index: usize, step: &agent::Step, bytes: &[u8], dying: bool) -> bool {
        self.note("agent", &(index, step), bytes);
        match step {
            agent::Step::Transmit(to) => {
                if dying && self.dice.chance(0.5) {
                    return true;
                }
                if Message::parse(bytes).is_ok_and(|message| message.code().is_response()) {
                    self.checker.agent_answers(&self.agents[index]);
                }
                let kid = self.keys.agents[index].id;
                self.send(Host::Agent(index), kid.as_bytes(), *to, bytes);
            }
            agent::Step::Work(work) => {
                let work = &self.changed(index, work);
                self.checker.work_begins(&self.agents[index], work, &self.releases);
                if self.waves.is_early(index, work, self.releases.current()) {
                    self.checker.violation(format!("agent {index} activates before its wave"));
                }
                let agent = &mut self.agents[index];
                agent.work = Some((self.now + agent.duration(work), work.clone()));
            }
            agent::Step::Event(event) => {
                self.checker.agent_event(&self.agents[index], event, &self.releases);
                if *event == update_core::reception::Event::Confirmed(self.releases.current().offer.id) {
                    self.confirmed[index].get_or_insert(self.now);
                }
            }
            agent::Step::Wait(until) => return self.agent_waits(index, *until),
        }
        true
    }

    /// The agent's program waits for the next datagram or the moment that its machine named.
    fn agent_waits(&mut self, index: usize, until: Option<Instant>) -> bool {
        let now = self.now;
        let agent = &mut self.agents[index];
        if agent.take_datagram(now) {
            return true;
        }
        if until.is_some_and(|until| until <= now) {
            if let Some(machine) = &mut agent.machine {
                machine.handle(now, update_core::reception::Input::Timeout);
            }
            return true;
        }
        agent.wake = until;
        false
    }

    fn distributor_moment(&mut self) {
        let now = self.now;
        if self.distributor.starts_at.is_some_and(|at| at <= now) {
            let activate = self.waves.next(&self.confirmed, &self.keys);
            self.distributor.start(&self.keys, self.releases.current(), activate, now);
        }
        if self.distributor.wake.is_none_or(|at| at > now) {
            return;
        }
        self.distributor.wake = None;
        for _ in 0..SPINS_MAX {
            let dies = self.dice.chance(self.faults().distributor_kills);
            let Some((step, bytes)) = self.distributor.poll(now, self.releases.current(), dies) else {
                return;
            };
            let bytes = bytes.to_vec();
            self.note("distributor", &step, &bytes);
            if dies {
                if let distributor::Step::Transmit(to) = step {
                    self.distributor_sends(to, &bytes);
                }
                self.restarts += 1;
                self.count_blocks();
                let after = self.dice.between(Duration::from_millis(10), Duration::from_secs(5));
                return self.distributor.cut(now, after);
            }
            match step {
                distributor::Step::Transmit(to) => self.distributor_sends(to, &bytes),
                distributor::Step::Event(event) => self.distributor_event(event),
                distributor::Step::Filed => {}
                distributor::Step::Wait(Some(until)) if until <= now => {
                    self.distributor.wake = Some(now);
                    return;
                }
                distributor::Step::Wait(until) => {
                    self.distributor.wake = until;
                    return;
                }
            }
        }
        self.checker.violation("the distributor never waits".to_owned());
    }

    fn distributor_event(&mut self, event: Event) {
        let Some(machine) = &self.distributor.machine else { return };
        match event {
            Event::Report(of) if self.is_honest(of) => {
                self.checker.report(of, machine, &self.keys, &self.agents, &self.releases);
            }
            Event::Rewound(of) if self.is_honest(of) => {
                self.checker.violation(format!("{of:?} counts upwards, and is taken for one that does not"));
            }
            Event::Finished(_) => {
                let agents = machine.agents().iter();
                self.laggards = agents.clone().filter(|agent| agent.laggard().is_some()).count();
                self.quarantined = agents.filter(|agent| agent.is_quarantined()).count();
                self.count_blocks();
                let everyone = self.confirmed.iter().enumerate();
                let open =
                    everyone.filter(|(index, at)| at.is_none() && self.options.is_expected(*index)).count();
                if open == 0 && self.next_release() {
                    self.updates_before += self.confirmed.iter().flatten().count() as u32;
                    self.confirmed.fill(None);
                } else if open == 0 {
                    self.distributor.machine = None;
                    self.distributor.wake = None;
                } else {
                    let rolled_back = self
                        .agents
                        .iter()
                        .any(|agent| self.confirmed[agent.index].is_none() && was_tried(agent));
                    self.distributor.again(self.now + Duration::from_secs(1), rolled_back);
                }
            }
            _ => {}
        }
    }

    /// The operator continues with the next image; `false` when there is none.
    fn next_release(&mut self) -> bool {
        if !self.releases.advance() {
            return false;
        }
        self.superseded_at = None;
        self.waves.begin_anew();
        self.distributor.push_another(self.now + Duration::from_millis(100));
        true
    }

    fn count_blocks(&mut self) {
        if let Some(machine) = &self.distributor.machine {
            self.blocks_multicast += machine.tallies().blocks_multicast;
            self.blocks_unicast += machine.tallies().blocks_unicast;
        }
    }

    fn distributor_sends(&mut self, to: core::net::SocketAddr, bytes: &[u8]) {
        let kid = self.keys.distributor.id;
        self.send(Host::Distributor, kid.as_bytes(), to, bytes);
    }

    fn send(&mut self, from: Host, kid: &[u8], to: core::net::SocketAddr, bytes: &[u8]) {
        self.checker.sent(kid, Network::address_of(from), to, bytes);
        let faults = self.faults();
        self.network.send(self.now, from, to, bytes, &faults);
    }

    /// Adds an event to the trace.
    fn note(&mut self, kind: &str, what: &impl Debug, bytes: &[u8]) {
        self.trace.update(self.now.as_micros().to_be_bytes());
        self.trace.update(format!("{kind} {what:?} {}", bytes.len()));
        self.trace.update(bytes);
        if self.options.tell {
            println!("{:>12} {kind} {what:?} {}", self.now.as_micros(), bytes.len());
        }
    }
}

fn was_tried(agent: &Agent) -> bool {
    let state = agent.machine.as_ref().map(update_core::reception::Reception::state);
    state == Some(update_core::census::State::RolledBack)
        || matches!(agent.disk.trial(), Trial::RolledBack(_))
}
