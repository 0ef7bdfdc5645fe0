//! The right to send for one group: its lock, its counters and its Security Context.

use group_oscore::{
    CommonContext, GroupContext, RecipientContext, ReplayWindow, Reservation, SenderContext, SequenceNumbers,
};
use provisioning::Name;
use update_core::digest::Digest;
use update_core::distribution::{Activate, Distribution, DistributionConfig, Members};
use update_core::limits::{DISTRIBUTOR_RESERVE_STEP, FLOOR_AHEAD};
use update_core::time::Duration;

use crate::exit::Failure;
use crate::state::{
    Attempts, Floor, FloorStore, Floors, GroupLock, GroupState, MachineId, SequenceStore, StateDir,
    StateError,
};
use crate::store::epoch;

/// What one datagram costs on Ethernet besides its UDP payload.
const OVERHEAD_BYTES_V4: u32 = 14 + 20 + 8;
const OVERHEAD_BYTES_V6: u32 = 14 + 40 + 8;

/// One group, opened to send for it. Only one process has it at a time.
#[derive(Debug)]
pub struct Session {
    /// The group.
    pub group: GroupState,
    sequence: SequenceStore,
    floor_store: FloorStore,
    floors: Floors,
    attempts: Attempts,
    // Held for its life alone: dropped last, when all files are written.
    _lock: GroupLock,
}

impl Session {
    /// Opens a group.
    ///
    /// # Errors
    /// Another process sends for it; its counters are in doubt, so that nothing may be sent.
    pub fn open(dir: &StateDir, name: &Name) -> Result<Self, Failure> {
        let group = GroupState::open(dir, name)?;
        epoch::claim_blocking(dir)?;
        let lock = GroupLock::to_send(dir, name)?;
        let machine = MachineId::of_this_machine()?;
        let sequence = SequenceStore::open(dir, &group, &machine, &lock)?;
        let floor_store = FloorStore::new(dir, &group);
        let floors = floor_store.load(&group, sequence.has_sent())?;
        let attempts = Attempts::load(dir, name)?;
        if group.agents.is_empty() {
            return Err(Failure::error(format!(
                "group '{name}' has no agents: enroll some with `fwcast agent enroll NAME --group {name}`"
            )));
        }
        Ok(Self { group, sequence, floor_store, floors, attempts, _lock: lock })
    }

    /// The Security Context, with the first reservation made.
    pub fn context(&mut self) -> Result<GroupContext<Members>, Failure> {
        let start = self.sequence.numbers().next;
        let end = start + DISTRIBUTOR_RESERVE_STEP;
        self.sequence.reserve(end)?;
        let unusable = |what: &str| {
            Failure::error(format!(
                "group '{}' has {what} that cannot be used: restore it from a backup",
                self.group.name
            ))
        };
        let common =
            CommonContext::derive(&self.group.parameters()?).map_err(|_| unusable("key material"))?;
        let (id, seed, credential) = self.group.distributor()?;
        let numbers = SequenceNumbers::new(start, end);
        let sender = SenderContext::derive(&common, id, credential, seed, numbers)
            .map_err(|_| unusable("an own key"))?;
        let mut recipients = Vec::with_capacity(self.group.agents.len());
        for agent in &self.group.agents {
            let window = match self.floors.get(&agent.member_id()) {
                Some(Floor::At(0)) => ReplayWindow::fresh(),
                Some(Floor::At(floor)) => ReplayWindow::from_floor(*floor),
                Some(Floor::Invalid) | None => ReplayWindow::invalid(),
            };
            let recipient = agent
                .credential()
                .ok()
                .and_then(|cred| RecipientContext::derive(&common, agent.member_id(), cred, window).ok());
            recipients.push(recipient.ok_or_else(|| unusable("an agent's credential"))?);
        }
        Ok(GroupContext::new(common, sender, Members::new(recipients)))
    }

    /// How this group is reached, with nothing said about activation.
    pub fn config(&self) -> DistributionConfig {
        let profile = &self.group.profile;
        let v4 = profile.coap_group.is_ipv4();
        DistributionConfig {
            coap_group: profile.coap_group,
            rate: profile.rate_bits_per_second,
            overhead_bytes: if v4 { OVERHEAD_BYTES_V4 } else { OVERHEAD_BYTES_V6 },
            everyone: true,
            activate: Activate::Nobody,
            attempt: 1,
            delay_ms: 0,
            transfer_within: Duration::MAX,
            confirm_within: Duration::MAX,
        }
    }

    /// The attempt to activate an update as: the last one used for it, so that a push that was stopped goes
    /// on; a new one for the first time and for a retry.
    pub fn attempt(&mut self, digest: &Digest, retry: bool) -> Result<u32, StateError> {
        match self.attempts.last(digest) {
            Some(last) if !retry => Ok(last),
            _ => self.attempts.next(digest, 0),
        }
    }

    /// A higher attempt was used while the distribution ran.
    pub fn note_attempt(&mut self, digest: &Digest, attempt: u32) -> Result<(), StateError> {
        if self.attempts.last(digest).is_none_or(|last| last < attempt) {
            self.attempts.next(digest, attempt - 1)?;
        }
        Ok(())
    }

    /// Makes a reservation durable.
    pub fn reserve(&mut self, reservation: &Reservation) -> Result<(), StateError> {
        self.sequence.reserve(reservation.end)
    }

    /// Makes the agents' floors durable.
    pub fn save_floors(&mut self, distribution: &Distribution) -> Result<(), StateError> {
        for (id, floor) in distribution.floors() {
            let floor = floor.map_or(Floor::Invalid, Floor::At);
            self.floors.insert(id, floor);
        }
        self.floor_store.save(&self.floors)
    }

    /// Ends cleanly: the exact numbers are kept, so that nothing is skipped that need not be.
    pub fn close(mut self, distribution: &Distribution) -> Result<(), StateError> {
        self.save_floors(distribution)?;
        self.sequence.close(distribution.next_sequence_number())
    }

    /// An agent has seen a higher number than this machine has used: nothing more is sent with these keys.
    pub fn condemn(self) -> Failure {
        self.sequence.condemn().into()
    }
}

const _: () = assert!(DISTRIBUTOR_RESERVE_STEP > 2 * FLOOR_AHEAD);
