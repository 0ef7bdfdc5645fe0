//! The distributor: its program around the real [`Distribution`], its files, and the operator who starts it.

use super::{Dice, Keys, Network, OVERHEAD_BYTES, Options, Release, Sabotage};
use core::net::SocketAddr;
use group_oscore::{MemberId, ReplayWindow, SequenceNumbers};
use std::collections::BTreeMap;
use update_core::distribution::{
    Activate, Conduct, Distribution, DistributionConfig, Ending, Event, Input, Job, Output,
};
use update_core::parity::Parity;
use update_core::time::{Duration, Instant};

/// The files of the distributor, as they are after `fsync`.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// The first Sender Sequence Number that is not reserved.
    pub reserved_end: u64,
    /// The floor for each agent's requests; `None` if the window is invalid.
    pub floors: BTreeMap<MemberId, Option<u64>>,
    /// What was recorded of agents' conduct.
    pub conduct: Vec<(MemberId, Conduct)>,
    /// The highest Partial IVs accepted.
    pub heard: Vec<(MemberId, u64)>,
    /// The attempt that the operator has begun.
    pub attempt: u32,
    /// The last attempt that was used.
    pub attempt_used: u32,
}

/// The distributor on its machine.
pub(super) struct Distributor {
    /// What survives a crash.
    pub files: Files,
    /// The program, while it runs.
    pub machine: Option<Distribution>,
    /// When the program wants to be called again.
    pub wake: Option<Instant>,
    /// When the operator starts it again, while it does not run.
    pub starts_at: Option<Instant>,
    /// How often it has been started.
    pub starts: u32,
    /// How the last run ended.
    pub ending: Option<Ending>,
    rate: u64,
    transfer_within: Duration,
    parity: Option<Parity>,
    forgets: bool,
    buffer: Vec<u8>,
    dice: Dice,
}

/// An output of the distributor's machine that its program cannot handle alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// To send what is in the buffer.
    Transmit(SocketAddr),
    /// A fact to report.
    Event(Event),
    /// To wait.
    Wait(Option<Instant>),
    /// The program has updated its files.
    Filed,
}

impl Distributor {
    /// A distributor for a new group.
    #[must_use]
    pub(super) fn new(keys: &Keys, options: &Options, starts_at: Instant, dice: Dice) -> Self {
        let floors = keys.agents.iter().map(|agent| (agent.id, Some(0))).collect();
        Self {
            files: Files {
                reserved_end: 0,
                floors,
                conduct: Vec::new(),
                heard: Vec::new(),
                attempt: 1,
                attempt_used: 1,
            },
            machine: None,
            wake: None,
            starts_at: Some(starts_at),
            starts: 0,
            ending: None,
            rate: options.rate,
            transfer_within: options.transfer_within,
            parity: options.parity,
            forgets: options.sabotage == Some(Sabotage::ReservationsForgotten),
            buffer: vec![0; update_core::limits::DATAGRAM_BYTES_MAX],
            dice,
        }
    }

    /// Starts the program from its files.
    pub(super) fn start(&mut self, keys: &Keys, release: &Release, activate: Activate, now: Instant) {
        let Files { reserved_end, floors, attempt, .. } = &self.files;
        let floors = keys.agents.iter().map(|agent| floors.get(&agent.id).copied().flatten());
        let windows = floors.map(|floor| floor.map_or_else(ReplayWindow::invalid, ReplayWindow::from_floor));
        let numbers = SequenceNumbers::new(*reserved_end, *reserved_end);
        let config = DistributionConfig {
            coap_group: Network::coap_group(),
            rate: self.rate,
            overhead_bytes: OVERHEAD_BYTES,
            everyone: true,
            activate,
            attempt: *attempt,
            delay_ms: 0,
            // As `push` has it: an agent that never answers does not keep it until the transfer's deadline.
            first_answer_within: self.transfer_within.min(Duration::from_secs(60)),
            transfer_within: self.transfer_within,
            confirm_within: Duration::from_secs(30),
            deferred_within: Duration::ZERO,
            leaves_silent: false,
            parity: self.parity,
        };
        let context = keys.distributor_context(numbers, windows);
        let job = Job::Update(release.update());
        let machine = Distribution::new(config, context, job, self.dice.number(), now);
        self.machine = Some(machine.remembering(&self.files.conduct).having_heard(&self.files.heard));
        self.starts += 1;
        self.starts_at = None;
        self.wake = Some(now);
        self.ending = None;
    }

    /// The program dies and is started again after a while.
    pub(super) fn cut(&mut self, now: Instant, after: Duration) {
        self.machine = None;
        self.wake = None;
        self.starts_at = Some(now + after);
    }

    /// The operator pushes again, with the next attempt if an image was rolled back.
    pub(super) fn again(&mut self, now: Instant, retry: bool) {
        if retry {
            self.files.attempt_used += 1;
            self.files.attempt = self.files.attempt_used;
        }
        self.machine = None;
        self.wake = None;
        self.starts_at = Some(now);
    }

    /// The operator pushes another image.
    pub(super) fn push_another(&mut self, now: Instant) {
        (self.files.attempt, self.files.attempt_used) = (1, 1);
        if let Some(machine) = &self.machine {
            // A clean end, if it has not ended on its own.
            self.files.reserved_end = self.files.reserved_end.max(machine.next_sequence_number());
        }
        self.machine = None;
        self.wake = None;
        self.starts_at = Some(now);
    }

    /// Hands a datagram in.
    pub(super) fn arrive(&mut self, now: Instant, from: SocketAddr, mut bytes: Vec<u8>) {
        if let Some(machine) = &mut self.machine {
            machine.handle(now, Input::Datagram { from, bytes: &mut bytes });
        }
    }

    /// The machine's next output; its program has already handled everything about files. With `dies_filing`
    /// it dies while it writes: the file may then be written, but the machine is never told.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        release: &Release,
        dies_filing: bool,
    ) -> Option<(Step, &[u8])> {
        let machine = self.machine.as_mut()?;
        let (step, len) = match machine.poll(now, &mut self.buffer) {
            Output::Transmit { to, len, .. } => (Step::Transmit(to), len),
            Output::Event(event) => {
                if let Event::Finished(ending) = event {
                    self.ending = Some(ending);
                    self.file_the_end();
                }
                (Step::Event(event), 0)
            }
            Output::Wait(until) => (Step::Wait(until), 0),
            Output::Reserve(reservation) => {
                if !self.forgets && (!dies_filing || self.dice.chance(0.5)) {
                    self.files.reserved_end = reservation.end();
                }
                machine.handle(now, Input::Reserved(reservation));
                (Step::Filed, 0)
            }
            Output::SaveFloors => {
                if !dies_filing || self.dice.chance(0.5) {
                    self.files.floors = machine.floors().into_iter().collect();
                    self.files.conduct = machine.conduct();
                    self.files.heard = machine.heard();
                }
                machine.handle(now, Input::FloorsSaved);
                (Step::Filed, 0)
            }
            Output::Read { offset, len } => {
                let bytes = release.image.get(offset as usize..offset as usize + len);
                machine.handle(now, Input::Block(bytes));
                (Step::Filed, 0)
            }
        };
        Some((step, &self.buffer[..len]))
    }

    /// After its end the exact numbers are stored.
    fn file_the_end(&mut self) {
        let Some(machine) = &self.machine else { return };
        self.files.reserved_end = machine.next_sequence_number();
        self.files.floors = machine.floors().into_iter().collect();
        self.files.heard = machine.heard();
        self.files.attempt_used = self.files.attempt_used.max(machine.attempt());
    }
}
