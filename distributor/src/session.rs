//! The right to send for one group: its lock, its counters and its Security Context.

use std::collections::{BTreeMap, BTreeSet};

use group_oscore::{
    CommonContext, GroupContext, MemberId, RecipientContext, ReplayWindow, Reservation, SenderContext,
    SequenceNumbers,
};
use provisioning::Name;
use update_core::digest::Digest;
use update_core::distribution::{Activate, Conduct, Distribution, DistributionConfig, Members};
use update_core::limits::{DISTRIBUTOR_RESERVE_STEP, FLOOR_AHEAD};
use update_core::time::Duration;

use crate::state::{
    Agents, Attempts, Enrolled, Floor, FloorStore, GroupLock, GroupState, MachineId, Remembered,
    SequenceDoubt, SequenceStore, StateDir, StateError,
};
use crate::store::epoch::Claimed;

/// What one datagram costs on Ethernet besides its UDP payload.
const OVERHEAD_BYTES_V4: u32 = 14 + 20 + 8;
const OVERHEAD_BYTES_V6: u32 = 14 + 40 + 8;

/// Why a group cannot be sent for.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The group's files, or its lock.
    #[error(transparent)]
    State(#[from] StateError),
    /// Nobody would hear it.
    #[error("group '{0}' has no agents: enroll some with `fwcast agent enroll NAME --group {0}`")]
    NoAgents(Name),
    /// Keys that were never checked.
    #[error("group '{group}' has {what} that cannot be used: restore it from a backup")]
    Unusable {
        /// Which group.
        group: Name,
        /// What of it.
        what: &'static str,
    },
    /// An agent that has gone meanwhile.
    #[error(
        "group '{group}' has no agent with the Sender ID {id} any more: it was removed or enrolled again \
         meanwhile; start again"
    )]
    NoSuchAgent {
        /// Which group.
        group: Name,
        /// Its Sender ID in hexadecimal.
        id: String,
    },
}

/// One group, opened to send for it. Only one process has it at a time.
#[derive(Debug)]
pub struct Session {
    /// The group.
    pub group: GroupState,
    sequence: SequenceStore,
    floor_store: FloorStore,
    remembered: Remembered,
    attempts: Attempts,
    /// The first Sender Sequence Number that no run of this process can have used.
    next: u64,
    /// The first number of the last run.
    run_start: u64,
    // Held only for its Drop, which comes last, when all files are written.
    _lock: GroupLock,
}

impl Session {
    /// Opens a group.
    ///
    /// # Errors
    /// Another process sends for it; its counters are in doubt, so that nothing may be sent.
    pub fn open(claimed: &Claimed, name: &Name) -> Result<Self, SessionError> {
        // Opened first, so that a group that is not there is said to be so.
        GroupState::open(claimed.dir(), name)?;
        Self::open_locked(claimed, GroupLock::to_send(claimed.dir(), name)?)
    }

    /// Opens a group whose lock this process has already.
    ///
    /// # Errors
    /// Its counters are in doubt, so that nothing may be sent.
    pub fn open_locked(claimed: &Claimed, lock: GroupLock) -> Result<Self, SessionError> {
        let (dir, name) = (claimed.dir(), lock.group());
        let group = GroupState::open(dir, name)?;
        let machine = MachineId::of_this_machine()?;
        let sequence = SequenceStore::open(dir, &group, &machine, &lock)?;
        let floor_store = FloorStore::new(dir, &group);
        let remembered = floor_store.load(&group, sequence.has_sent())?;
        let attempts = Attempts::load(dir, name)?;
        if group.agents.is_empty() {
            return Err(SessionError::NoAgents(name.clone()));
        }
        let next = sequence.numbers().next;
        Ok(Self { group, sequence, floor_store, remembered, attempts, next, run_start: next, _lock: lock })
    }

    /// Reads anew who is enrolled: agents may have come or gone since the group was opened.
    ///
    /// # Errors
    /// The group's files cannot be read.
    pub fn reload_agents(&mut self, dir: &StateDir) -> Result<(), StateError> {
        self.group.agents = Agents::load(dir, &self.group.name)?.enrolled;
        Ok(())
    }

    /// The Sender IDs of all agents of the group.
    pub fn members(&self) -> Vec<MemberId> {
        self.group.agents.iter().map(Enrolled::member_id).collect()
    }

    /// The Security Context for a run with the whole group, with the first reservation made: see
    /// [`Self::context_of`].
    pub fn context(&mut self) -> Result<GroupContext<Members>, SessionError> {
        self.context_of(&self.members())
    }

    /// The Security Context for a run with some agents of the group, with the first reservation made. Runs
    /// follow one another: whatever ran before counts as ended, and where it was not settled, all numbers
    /// that it had reserved count as used.
    ///
    /// # Errors
    /// A Sender ID that no agent of the group has; keys that cannot be used; the reservation cannot be made.
    pub fn context_of(&mut self, members: &[MemberId]) -> Result<GroupContext<Members>, SessionError> {
        let start = self.next;
        let end = start + DISTRIBUTOR_RESERVE_STEP;
        self.sequence.reserve(end)?;
        (self.run_start, self.next) = (start, end);
        let name = self.group.name.clone();
        let unusable = |what| SessionError::Unusable { group: name.clone(), what };
        let common =
            CommonContext::derive(&self.group.parameters()?).map_err(|_| unusable("key material"))?;
        let (id, seed, credential) = self.group.distributor()?;
        let numbers = SequenceNumbers::new(start, end);
        let sender = SenderContext::derive(&common, id, credential, seed, numbers)
            .map_err(|_| unusable("an own key"))?;
        let enrolled: BTreeMap<MemberId, &Enrolled> =
            self.group.agents.iter().map(|agent| (agent.member_id(), agent)).collect();
        let mut recipients = Vec::with_capacity(members.len());
        for member in members {
            let agent = enrolled.get(member).ok_or_else(|| SessionError::NoSuchAgent {
                group: name.clone(),
                id: hex::encode(member.as_bytes()),
            })?;
            let window = match self.remembered.floors.get(&agent.member_id()) {
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
        GroupContext::new(common, sender, Members::new(recipients)).map_err(|_| unusable("an agent's key"))
    }

    /// How these agents of the group are reached, with nothing said about activation.
    pub fn config_of(&self, members: &[MemberId]) -> DistributionConfig {
        let part: BTreeSet<&MemberId> = members.iter().collect();
        let everyone = self.group.agents.iter().all(|agent| part.contains(&agent.member_id()));
        DistributionConfig { everyone, ..self.config() }
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
        if reservation.end() <= self.next {
            // A run that was given up would use the numbers of the one after it.
            return Err(self.sequence.in_doubt(SequenceDoubt::OtherRun));
        }
        self.sequence.reserve(reservation.end())?;
        self.next = reservation.end();
        Ok(())
    }

    /// What earlier runs have noted of the agents' conduct.
    pub fn conduct(&self) -> Vec<(MemberId, Conduct)> {
        self.remembered.conduct.iter().map(|(id, conduct)| (*id, *conduct)).collect()
    }

    /// Makes the agents' floors and their conduct durable.
    pub fn save_floors(&mut self, distribution: &Distribution) -> Result<(), StateError> {
        for (id, floor) in distribution.floors() {
            let floor = floor.map_or(Floor::Invalid, Floor::At);
            self.remembered.floors.insert(id, floor);
        }
        self.remembered.conduct.extend(distribution.conduct());
        self.floor_store.save(&self.remembered)
    }

    /// Ends a run cleanly, the one that had the last context: the exact floors and numbers are kept, so that
    /// nothing is skipped that need not be. Another run may follow.
    pub fn settle(&mut self, distribution: &Distribution) -> Result<(), StateError> {
        self.save_floors(distribution)?;
        let next = distribution.next_sequence_number();
        // Not what an earlier run left off at.
        if next > self.run_start {
            self.sequence.settle(next)?;
            self.next = next;
        }
        Ok(())
    }

    /// An agent has seen a higher number than this machine has used: nothing more is sent with these keys.
    /// What there is to say of that.
    pub fn condemn(&mut self, distribution: &Distribution) -> StateError {
        let condemned = self.save_floors(distribution).map(|()| self.sequence.condemn());
        condemned.unwrap_or_else(|error| error)
    }
}

const _: () = assert!(DISTRIBUTOR_RESERVE_STEP > 2 * FLOOR_AHEAD);
