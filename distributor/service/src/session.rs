//! The right to send for one group: its lock, its counters and its Security Context.

use std::collections::{BTreeMap, BTreeSet};

use group_oscore::{
    CommonContext, GroupContext, MemberId, RecipientContext, ReplayWindow, Reservation, SenderContext,
    SequenceNumbers,
};
use provisioning::Name;
use update_core::digest::Digest;
use update_core::distribution::{Activate, Conduct, Distribution, DistributionConfig, Members, MessageIds};
use update_core::limits::{DISTRIBUTOR_RESERVE_STEP, FLOOR_AHEAD};
use update_core::time::Duration;

use fwcast_state::{
    Agents, Attempts, Enrolled, Floor, FloorStore, GroupLock, GroupState, MachineId, ManagerState,
    Remembered, SequenceDoubt, SequenceStore, StateDir, StateError,
};
use fwcast_store::epoch::Claimed;

/// The overhead of a datagram on Ethernet, in addition to its UDP payload.
const OVERHEAD_BYTES_V4: u32 = 14 + 20 + 8;
const OVERHEAD_BYTES_V6: u32 = 14 + 40 + 8;

/// Why a group cannot be opened to send.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The group's files or lock.
    #[error(transparent)]
    State(#[from] StateError),
    /// It has no agents.
    #[error("group '{0}' has no agents: enroll some with `fwcast agent enroll NAME --group {0}`")]
    NoAgents(Name),
    /// It has keys that were never checked.
    #[error("group '{group}' has {what} that is invalid: restore it from a backup")]
    Unusable {
        /// Which group.
        group: Name,
        /// Which part of it.
        what: &'static str,
    },
    /// Somebody was evicted who still has its keys.
    #[error(
        "an agent of group '{0}' was evicted, or has left, and still has its keys: run `fwcast group rekey \
         {0}` first"
    )]
    RekeyDue(Name),
    /// An agent was removed meanwhile.
    #[error(
        "group '{group}' no longer has an agent with the Sender ID {id}: it was removed or enrolled \
         again meanwhile; run the command again"
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
    /// The first Sender Sequence Number that no run of this process has used.
    next: u64,
    /// The first number of the last run.
    run_start: u64,
    /// The Message IDs that the last run has used.
    message_ids: Option<MessageIds>,
    // Held only for its Drop, which runs last, when all files are written.
    _lock: GroupLock,
}

impl Session {
    /// Opens a group.
    ///
    /// # Errors
    /// Another process sends for it, or its counters are in doubt, so nothing may be sent.
    pub fn open(claimed: &Claimed, name: &Name) -> Result<Self, SessionError> {
        // Opened first, so that a missing group is reported as missing.
        GroupState::open(claimed.dir(), name)?;
        Self::open_locked(claimed, GroupLock::to_send(claimed.dir(), name)?)
    }

    /// Opens a group whose lock this process already holds.
    ///
    /// # Errors
    /// Its counters are in doubt, so nothing may be sent.
    pub fn open_locked(claimed: &Claimed, lock: GroupLock) -> Result<Self, SessionError> {
        let (dir, name) = (claimed.dir(), lock.group());
        let group = GroupState::open(dir, name)?;
        if ManagerState::load(dir, name)?.rekey_due {
            return Err(SessionError::RekeyDue(name.clone()));
        }
        let machine = MachineId::of_this_machine()?;
        let sequence = SequenceStore::open(dir, &group, &machine, &lock, claimed.epoch())?;
        let floor_store = FloorStore::new(dir, &group);
        let remembered = floor_store.load(&group, sequence.has_sent())?;
        let attempts = Attempts::load(dir, name)?;
        if group.agents.is_empty() {
            return Err(SessionError::NoAgents(name.clone()));
        }
        let next = sequence.numbers().next;
        Ok(Self {
            group,
            sequence,
            floor_store,
            remembered,
            attempts,
            next,
            run_start: next,
            message_ids: None,
            _lock: lock,
        })
    }

    /// Reads again who is enrolled: agents may have been added or removed since the group was opened.
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
    /// follow one another: the previous run counts as ended. If it was not settled, all numbers that it had
    /// reserved count as used.
    ///
    /// # Errors
    /// No agent of the group has one of the Sender IDs, a key is invalid, or the reservation fails.
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
            .map_err(|_| unusable("a key of its own"))?;
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

    /// How to reach these agents of the group, without activation settings.
    pub fn config_of(&self, members: &[MemberId]) -> DistributionConfig {
        let part: BTreeSet<&MemberId> = members.iter().collect();
        let everyone = self.group.agents.iter().all(|agent| part.contains(&agent.member_id()));
        DistributionConfig { everyone, ..self.config() }
    }

    /// How to reach this group, without activation settings.
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
            first_answer_within: Duration::MAX,
            transfer_within: Duration::MAX,
            confirm_within: Duration::MAX,
            deferred_within: Duration::ZERO,
            leaves_silent: false,
            parity: self.group.parity(profile.parity).coded(),
        }
    }

    /// The attempt number for an update: the last one used for it, so that a stopped push continues; a new
    /// one for the first push and for a retry.
    pub fn attempt(&mut self, digest: &Digest, retry: bool) -> Result<u32, StateError> {
        match self.attempts.last(digest) {
            Some(last) if !retry => Ok(last),
            _ => self.attempts.next(digest, 0),
        }
    }

    /// Records that a higher attempt was used while the distribution ran.
    pub fn note_attempt(&mut self, digest: &Digest, attempt: u32) -> Result<(), StateError> {
        if self.attempts.last(digest).is_none_or(|last| last < attempt) {
            self.attempts.next(digest, attempt - 1)?;
        }
        Ok(())
    }

    /// Makes a reservation durable.
    pub fn reserve(&mut self, reservation: &Reservation) -> Result<(), StateError> {
        if reservation.end() <= self.next {
            // An abandoned run would use the numbers of its successor.
            return Err(self.sequence.in_doubt(SequenceDoubt::OtherRun));
        }
        self.sequence.reserve(reservation.end())?;
        self.next = reservation.end();
        Ok(())
    }

    /// A distribution that knows what earlier runs have noted, and continues with their Message IDs.
    pub fn continued(&self, distribution: Distribution) -> Distribution {
        let conduct: Vec<(MemberId, Conduct)> =
            self.remembered.conduct.iter().map(|(id, conduct)| (*id, *conduct)).collect();
        let heard: Vec<(MemberId, u64)> = self.remembered.heard.iter().map(|(id, it)| (*id, *it)).collect();
        distribution.remembering(&conduct).having_heard(&heard).following(self.message_ids.clone())
    }

    /// Makes the agents' floors and their conduct durable.
    pub fn save_floors(&mut self, distribution: &Distribution) -> Result<(), StateError> {
        for (id, floor) in distribution.floors() {
            let floor = floor.map_or(Floor::Invalid, Floor::At);
            self.remembered.floors.insert(id, floor);
        }
        self.remembered.conduct.extend(distribution.conduct());
        self.remembered.heard.extend(distribution.heard());
        self.floor_store.save(&self.remembered)
    }

    /// Cleanly ends the run that has the last context: stores the exact floors and numbers, so that nothing
    /// is skipped unnecessarily. Another run may follow.
    pub fn settle(&mut self, distribution: &Distribution) -> Result<(), StateError> {
        self.save_floors(distribution)?;
        self.message_ids = Some(distribution.message_ids());
        let next = distribution.next_sequence_number();
        // Do not go below what earlier runs used.
        if next > self.run_start {
            self.sequence.settle(next)?;
            self.next = next;
        }
        Ok(())
    }

    /// An agent has seen a higher number than this machine has used: nothing more is sent with these keys.
    /// Returns the error.
    pub fn condemn(&mut self, distribution: &Distribution) -> StateError {
        let condemned = self.save_floors(distribution).map(|()| self.sequence.condemn());
        condemned.unwrap_or_else(|error| error)
    }
}

const _: () = assert!(DISTRIBUTOR_RESERVE_STEP > 2 * FLOOR_AHEAD);
