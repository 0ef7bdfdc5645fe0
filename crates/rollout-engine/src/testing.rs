//! A fleet without a network, for tests of the engine: agents with prescribed behaviour.
#![allow(missing_docs, clippy::unwrap_used, clippy::missing_panics_doc, reason = "it is for tests alone")]

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use jiff::{SignedDuration, Timestamp};
use provisioning::{Hex, Name};
use update_core::census::State as Doing;
use update_core::platform::RollBackCause;
use update_core::reception::{Failure, Reason};
use update_core::remark::Remark;

use super::engine::{Engine, Input, Now, Output, Run, RunEnd, Task};
use super::plan::{Abort, AgentKey, Percent, Plan, PlannedImage, Retry, Wave, When};
use super::record::{AgentRecord, Fact, Given, Order, OrderOutcome, Outcome, Report};
use super::state::State;
use super::window::{Window, WindowForm, Windows};

/// The manifest sequence number of the new image; agents begin with the previous one.
pub const NEW: u64 = 2;

/// How an agent behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nature {
    /// It confirms.
    #[default]
    Good,
    /// It rolls back at every attempt.
    Unhealthy,
    /// It rolls back at this many first attempts.
    UnhealthyAtFirst(u8),
    /// It refuses this many first offers, because it is busy with another update.
    BusyAtFirst(u8),
    /// It refuses as busy the first times that it is told to activate, this many times.
    BusyWhenTold(u8),
    /// Its storage fails in this many first activations.
    StorageFailsAtFirst(u8),
    /// It cannot switch to the new image in this many first activations.
    ActivationFailsAtFirst(u8),
    /// It ends in this state and with this reason whenever it is offered the update.
    Ends(Doing, u8),
    /// It is switched off.
    Off,
    /// It stays on trial until it is told to roll back.
    Undecided,
    /// It is on trial in the run in which it activates, and has confirmed when it is asked again.
    Slow,
}

/// One agent: its state, and the attempts that it has made.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    pub nature: Nature,
    pub doing: Doing,
    pub reason: u8,
    pub remark: Remark,
    pub attempts: u8,
    /// How often it has refused the update.
    pub refusals: u8,
    acted_upon: u32,
}

/// The fleet, the store and the clocks.
pub struct Fleet {
    pub engine: Engine,
    pub devices: BTreeMap<AgentKey, Device>,
    pub now: Now,
    /// What was saved last: after a crash the engine continues from there.
    saved: Option<(State, BTreeMap<AgentKey, AgentRecord>)>,
    pub facts: Vec<Fact>,
    pub runs: Vec<Task>,
    /// Crashes happen before the actions with these numbers.
    pub crashes: BTreeSet<u32>,
    actions: u32,
    /// Nothing can be sent, for a reason that somebody must fix.
    pub broken: bool,
    /// The last step was a save. Another one must change something, or it would never end.
    saving: bool,
}

/// The agent with this number.
pub fn key(number: usize) -> AgentKey {
    format!("hall/lamp-{number:02}").parse().unwrap()
}

/// A plan for waves of these sizes, with a soak of a minute each.
pub fn plan(sizes: &[usize]) -> Plan {
    let mut next = 0..;
    let waves = sizes.iter().enumerate().map(|(index, size)| Wave {
        name: Name::new(&format!("wave-{index}")).unwrap(),
        agents: next.by_ref().take(*size).map(key).collect(),
        soak_s: 60,
        approval: false,
    });
    Plan {
        image: PlannedImage {
            digest: Hex::from([7; 32]),
            name: Name::new("lamp").unwrap(),
            version: "2.0".to_owned(),
            sequence_number: NEW,
            bytes: 100_000,
            block_bytes: 1024,
        },
        lanes: Vec::new(),
        waves: waves.collect(),
        success: Percent::ALL,
        abort: Abort { failed: None, lost: None, min_sample: 1 },
        retry: Retry { max: 0, backoff_s: 60, on: BTreeSet::new() },
        transfer_within_s: 3600,
        report_within_s: 600,
        deferred_within_s: 0,
        transfer_windows: Windows::default(),
        activation_windows: Windows::default(),
        activation: When::Now,
        budget: None,
        paused: false,
    }
}

pub fn percent(text: &str) -> Percent {
    text.parse().unwrap()
}

/// Who gives orders.
pub fn given() -> Given {
    Given { by: "me".to_owned(), reason: None }
}

/// An hour at night.
pub fn nightly() -> Windows {
    let form = WindowForm { cron: "0 1 * * *".to_owned(), for_s: 3600, tz: "UTC".to_owned() };
    Windows::new(vec![Window::new(form).unwrap()])
}

pub fn outcome(fleet: &Fleet) -> Option<Outcome> {
    fleet.engine.state().outcome()
}

impl Fleet {
    pub fn new(plan: Plan) -> Self {
        let now = Now { wall: "2026-11-25T12:00:00Z".parse().unwrap(), steady: Duration::ZERO };
        let devices = plan.agents().map(|(_, key)| (key.clone(), Device::new(Nature::Good))).collect();
        let engine = Engine::begin(Name::new("update").unwrap(), plan, 1, now);
        Self {
            engine,
            devices,
            now,
            saved: None,
            facts: Vec::new(),
            runs: Vec::new(),
            crashes: BTreeSet::new(),
            actions: 0,
            broken: false,
            saving: false,
        }
    }

    pub fn with(mut self, natures: &[(usize, Nature)]) -> Self {
        for (number, nature) in natures {
            self.devices.get_mut(&key(*number)).unwrap().nature = *nature;
        }
        self
    }

    /// Runs until the engine has ended or waits for somebody.
    pub fn go(&mut self) -> &mut Self {
        for _ in 0..10_000 {
            if !self.step() {
                return self;
            }
        }
        panic!("the rollout does not end: {:?}", self.engine.state());
    }

    /// One step; false when the engine has ended or waits for somebody.
    pub fn step(&mut self) -> bool {
        if self.crashes_now() {
            self.crash();
        }
        let output = self.engine.poll(self.now);
        let saved_before = core::mem::replace(&mut self.saving, output == Output::Save);
        match output {
            Output::Save => {
                let changes = self.save();
                assert!(changes || !saved_before, "saves again and changes nothing: {:?}", self.saved);
            }
            Output::Run(run) => self.run(&run),
            Output::Stop => panic!("a run is stopped in the middle"),
            Output::Wait(None) | Output::Ended => return false,
            Output::Wait(Some(until)) => self.pass(until.duration_since(self.now.wall)),
        }
        true
    }

    /// Gives an order and returns its result.
    pub fn order(&mut self, order: Order) -> Result<String, String> {
        self.saving = false;
        self.engine.handle(self.now, Input::Order { id: 1, order, given: given() });
        match self.engine.settled.pop().map(|settled| settled.outcome) {
            Some(OrderOutcome::Done(said)) => Ok(said),
            Some(OrderOutcome::Refused(why)) => Err(why),
            None => panic!("{order:?} has no result"),
        }
    }

    pub fn pass(&mut self, time: SignedDuration) {
        assert!(time > SignedDuration::ZERO, "time advances");
        self.now.wall += time;
        self.now.steady += Duration::try_from(time).unwrap();
    }

    fn crashes_now(&mut self) -> bool {
        self.actions += 1;
        self.crashes.contains(&self.actions)
    }

    /// Saves, and returns whether anything changed.
    fn save(&mut self) -> bool {
        let before = self.saved.clone();
        let changes = self.engine.take_changes();
        let told = !changes.facts.is_empty() || !changes.settled.is_empty();
        self.facts.extend(changes.facts);
        let (state, agents) =
            self.saved.get_or_insert_with(|| (self.engine.state().clone(), BTreeMap::new()));
        // Through JSON, as in the store.
        *state = serde_json::from_str(&serde_json::to_string(self.engine.state()).unwrap()).unwrap();
        agents.extend(changes.agents);
        assert_eq!(agents, self.engine.agents(), "every change is reported");
        told || before != self.saved
    }

    pub fn crash(&mut self) {
        let Some((state, agents)) = self.saved.clone() else { return };
        self.saving = false;
        let (name, plan) = (self.engine.name().clone(), self.engine.plan().clone());
        self.engine = Engine::resume(name, plan, state, agents);
    }

    /// A run with all its reports; a crash may happen in the middle of them.
    fn run(&mut self, run: &Run) {
        self.runs.push(run.task.clone());
        self.pass(SignedDuration::from_secs(10));
        if self.broken {
            let end = RunEnd::Broken("no key of the group has signed the image".to_owned());
            return self.engine.handle(self.now, Input::RunEnded { end, attempt: run.attempt });
        }
        for key in &run.agents {
            let device = self.devices.get_mut(key).unwrap();
            device.take_part(run, key);
            if self.crashes_now() {
                return self.crash();
            }
            let device = self.devices[key];
            let told = matches!(&run.task, Task::Activate(told) if told.contains(key));
            let report = device.report(told || run.task == Task::Transfer);
            if report.state.is_none() && !told && !run.task.withdraws() {
                // Its time is not over: others wait for it.
                continue;
            }
            if report.state.is_none() && matches!(device.doing, Doing::Idle) {
                self.pass(SignedDuration::from_secs(run.transfer_within_s.into()));
            }
            self.engine.handle(self.now, Input::Report { agent: key.clone(), report });
            while self.engine.poll(self.now) == Output::Save {
                let _ = self.save();
            }
            if self.engine.stopping {
                let end = RunEnd::Stopped;
                return self.engine.handle(self.now, Input::RunEnded { end, attempt: run.attempt });
            }
        }
        let off = run.agents.iter().all(|key| self.devices[key].nature == Nature::Off);
        let end = if off { RunEnd::NobodyAnswered } else { RunEnd::Done };
        self.engine.handle(self.now, Input::RunEnded { end, attempt: run.attempt });
    }

    pub fn doing(&self, number: usize) -> Doing {
        self.devices[&key(number)].doing
    }

    pub fn kinds(&self) -> Vec<&str> {
        self.facts.iter().map(|fact| fact.kind.as_str()).collect()
    }

    pub fn wall(&self) -> Timestamp {
        self.now.wall
    }
}

impl Device {
    fn new(nature: Nature) -> Self {
        Self {
            nature,
            doing: Doing::Idle,
            reason: 0,
            remark: Remark::NONE,
            attempts: 0,
            refusals: 0,
            acted_upon: 0,
        }
    }

    fn take_part(&mut self, run: &Run, key: &AgentKey) {
        if self.nature == Nature::Off {
            return;
        }
        match &run.task {
            Task::Census if self.nature == Nature::Slow && self.doing == Doing::Trial => {
                self.doing = Doing::Confirmed;
            }
            Task::Transfer | Task::Census => self.receive(),
            Task::Activate(told) => {
                self.receive();
                if told.contains(key)
                    && let Nature::BusyWhenTold(times) = self.nature
                    && self.refusals < times
                {
                    self.refuse();
                }
                let waits = matches!(self.doing, Doing::Ready | Doing::RolledBack);
                if told.contains(key) && waits && run.attempt > self.acted_upon {
                    self.acted_upon = run.attempt;
                    self.activate();
                }
            }
            Task::Cancel if matches!(self.doing, Doing::Idle | Doing::Ready) => {
                (self.doing, self.reason) = (Doing::Failed, Failure::Cancelled as u8);
            }
            Task::Undo if self.doing == Doing::Trial => {
                (self.doing, self.reason) = (Doing::RolledBack, 3);
            }
            Task::Cancel | Task::Undo => {}
        }
    }

    /// An agent that was busy accepts the same offer later.
    fn receive(&mut self) {
        let busy = matches!(self.nature, Nature::BusyAtFirst(times) if self.refusals < times);
        match self.doing {
            _ if let Nature::Ends(doing, reason) = self.nature => {
                self.refusals += 1;
                (self.doing, self.reason) = (doing, reason);
            }
            Doing::Idle | Doing::Refused if busy => self.refuse(),
            Doing::Idle | Doing::Refused => (self.doing, self.reason) = (Doing::Ready, 0),
            // After a failure of its medium, an agent starts over.
            Doing::Failed if self.reason == Failure::Storage as u8 => {
                (self.doing, self.reason) = (Doing::Ready, 0);
            }
            _ => {}
        }
    }

    fn refuse(&mut self) {
        self.refusals += 1;
        (self.doing, self.reason) = (Doing::Refused, Reason::BUSY);
    }

    fn activate(&mut self) {
        self.attempts += 1;
        (self.doing, self.reason) = match self.nature {
            Nature::Unhealthy => (Doing::RolledBack, 1),
            Nature::UnhealthyAtFirst(attempts) if self.attempts <= attempts => (Doing::RolledBack, 1),
            Nature::StorageFailsAtFirst(times) if self.attempts <= times => {
                (Doing::Failed, Failure::Storage as u8)
            }
            Nature::ActivationFailsAtFirst(times) if self.attempts <= times => {
                (Doing::RolledBack, RollBackCause::ActivationFailed as u8)
            }
            Nature::Undecided | Nature::Slow => (Doing::Trial, 0),
            _ => (Doing::Confirmed, 0),
        };
    }

    fn report(&self, to_the_end: bool) -> Report {
        let silent = self.nature == Nature::Off
            || (self.nature == Nature::Undecided && to_the_end && self.doing == Doing::Trial);
        Report {
            state: (!silent).then_some(self.doing),
            reason: self.reason,
            remark: self.remark,
            missing: 0,
            installed: if self.doing == Doing::Confirmed { NEW } else { NEW - 1 },
        }
    }
}
