//! What the Group Manager reads in the groups' folders, and writes there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::str::FromStr;

use fwcast_state::{
    Agents, Enrolled, GroupLock, GroupState, IndividualContext, KnownMember, MachineId, ManagerState,
    SequenceStore, Since, StateDir, StateError, rekey,
};
use group_manager::Place;
use group_manager::manager::{GroupKeys, GroupSetup, Manager, MemberSetup, Membership};
use group_oscore::{AeadAlgorithm, DeriveError, MemberId};
use provisioning::{Hex, Name};
use update_core::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How often it is looked whether a group is to get new keys.
const DUE_EVERY: Duration = Duration::from_secs(10);

/// Why what a group's files say cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// They cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// An individual context cannot be derived.
    #[error("the individual context of agent '{node}' of group '{group}' cannot be used: {why}")]
    Individual {
        /// The group.
        group: Name,
        /// The agent.
        node: Name,
        /// Why.
        why: DeriveError,
    },
    /// A value that was never checked.
    #[error("group '{0}' has keys that are invalid: restore it from a backup")]
    Unusable(Name),
}

/// The groups' folders, and what of them is known and not yet written.
#[derive(Debug)]
pub(super) struct Books {
    dir: StateDir,
    address: SocketAddr,
    /// What each group's files were when they were last read.
    read: BTreeMap<Name, Seen>,
    /// What is not yet written.
    unwritten: BTreeMap<Name, BTreeMap<Name, KnownMember>>,
    /// Groups that are to get new keys without being asked for.
    rekey_due: BTreeSet<Name>,
    /// When it was last looked which they are.
    due_at: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    fingerprint: Option<String>,
    num: u32,
    /// By the Sender ID in the individual context.
    members: BTreeMap<Hex, (MemberId, Membership)>,
}

impl Books {
    pub(super) const fn new(dir: StateDir, address: SocketAddr) -> Self {
        Self {
            dir,
            address,
            read: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            rekey_due: BTreeSet::new(),
            due_at: None,
        }
    }

    /// Takes in what has changed in the folders.
    pub(super) fn look(&mut self, manager: &mut Manager, now: Instant) -> Result<(), BooksError> {
        for name in self.dir.groups()? {
            let fingerprint = GroupState::fingerprint(&self.dir, &name)?;
            if self.read.get(&name).is_some_and(|seen| seen.fingerprint == fingerprint) {
                continue;
            }
            self.take_in(&name, fingerprint, manager, now)?;
        }
        if self.due_at.is_none_or(|at| now.since(at) >= DUE_EVERY) {
            self.due_at = Some(now);
            self.look_what_is_due()?;
        }
        Ok(())
    }

    /// Which groups are to get new keys without being asked for.
    fn look_what_is_due(&mut self) -> Result<(), BooksError> {
        let machine = MachineId::of_this_machine()?;
        for name in self.read.keys() {
            if rekey::due(&self.dir, &GroupState::open(&self.dir, name)?, &machine)?.is_some() {
                self.rekey_due.insert(name.clone());
            }
        }
        Ok(())
    }

    fn take_in(
        &mut self,
        name: &Name,
        fingerprint: Option<String>,
        manager: &mut Manager,
        now: Instant,
    ) -> Result<(), BooksError> {
        let group = GroupState::open(&self.dir, name)?;
        if group.profile.manager != Some(self.address) {
            return Ok(());
        }
        let state = ManagerState::load(&self.dir, name)?;
        let keys = keys_of(&self.dir, &group)?;
        let num = keys.num;
        let seen = self.read.remove(name);
        if seen.is_none() {
            let rate_bits_per_second = group.profile.rate_bits_per_second;
            manager.add_group(GroupSetup {
                name: name.to_string(),
                keys: keys.clone(),
                rate_bits_per_second,
            });
        }
        let before = seen.as_ref().map(|seen| seen.members.clone()).unwrap_or_default();
        let mut members = BTreeMap::new();
        let enrolled = group.agents.iter().filter_map(|agent| {
            let context = state.contexts.get(&agent.name)?;
            Some((&agent.name, agent.member_id(), context, Membership::Member))
        });
        let evicted = state
            .evicted
            .iter()
            .map(|(name, evicted)| (name, evicted.agent.member_id(), &evicted.context, Membership::Evicted));
        for (node, sender_id, context, membership) in enrolled.chain(evicted) {
            members.insert(context.agent_id.clone(), (sender_id, membership));
            match before.get(&context.agent_id) {
                Some(known) if *known == (sender_id, membership) => continue,
                Some(_) if membership == Membership::Evicted => {
                    manager.evict(name.as_str(), node.as_str());
                    continue;
                }
                // A new one, or one that has come back.
                _ => {}
            }
            let known = state.members.get(node).cloned().unwrap_or_default();
            let setup = member_of(&group, node, sender_id, context, (membership, known));
            let setup = setup.ok_or_else(|| BooksError::Unusable(name.clone()))?;
            manager.add_member(setup).map_err(|why| {
                let (group, node) = (name.clone(), node.clone());
                BooksError::Individual { group, node, why }
            })?;
        }
        for gone in before.keys().filter(|id| !members.contains_key(*id)) {
            if let Some(id) = MemberId::new(gone.as_bytes()) {
                manager.remove_member(id);
            }
        }
        match seen {
            Some(seen) if seen.num != num => manager.rekey(now, name.as_str(), keys),
            _ => manager.begin(now),
        }
        self.read.insert(name.clone(), Seen { fingerprint, num, members });
        Ok(())
    }

    pub(super) fn confirmed(&mut self, group: &str, node: &str, num: u32) {
        if let Some(member) = self.unwritten(group, node) {
            member.confirmed = Some(num);
        }
    }

    pub(super) fn heard(&mut self, group: &str, node: &str, address: SocketAddr) {
        if let Some(member) = self.unwritten(group, node) {
            member.address = Some(address);
        }
    }

    fn unwritten(&mut self, group: &str, node: &str) -> Option<&mut KnownMember> {
        let (group, node) = (Name::from_str(group).ok()?, Name::from_str(node).ok()?);
        Some(self.unwritten.entry(group).or_default().entry(node).or_default())
    }

    /// Writes what is not yet written, group by group.
    pub(super) async fn write(&mut self) -> Result<(), StateError> {
        while let Some(name) = self.unwritten.keys().next().cloned() {
            let lock = GroupLock::to_edit(&self.dir, &name).await?;
            let mut state = ManagerState::load(&self.dir, &name)?;
            let changed = self.unwritten.get(&name).cloned().unwrap_or_default();
            for (node, new) in changed {
                if !state.contexts.contains_key(&node) {
                    continue;
                }
                let known = state.members.entry(node).or_default();
                known.confirmed = new.confirmed.or(known.confirmed);
                known.address = new.address.or(known.address);
            }
            state.save(&self.dir, &lock)?;
            self.unwritten.remove(&name);
        }
        Ok(())
    }

    /// A Sender ID that nobody had under these keys, which is the member's from now on, and the distributor's
    /// next number: the member has lost count, and must not accept what it may have accepted before.
    pub(super) async fn new_sender_id(
        &mut self,
        group: &str,
        node: &str,
    ) -> Result<Option<(MemberId, u64)>, StateError> {
        let (Ok(name), Ok(node)) = (Name::from_str(group), Name::from_str(node)) else { return Ok(None) };
        let lock = GroupLock::to_edit(&self.dir, &name).await?;
        let state = GroupState::open(&self.dir, &name)?;
        let next = SequenceStore::next_to_reserve(&self.dir, &state)?;
        let mut agents = Agents::load(&self.dir, &name)?;
        let ids = agents.give_sender_ids(&self.dir, &state, 1)?;
        let (Some(id), Some(agent)) =
            (ids.into_iter().next(), agents.enrolled.iter_mut().find(|agent| agent.name == node))
        else {
            return Ok(None);
        };
        let mut manager = ManagerState::load(&self.dir, &name)?;
        let Some(context) = manager.contexts.get(&node) else { return Ok(None) };
        if let Some(known) = self.read.get_mut(&name).and_then(|seen| seen.members.get_mut(&context.agent_id))
        {
            agent.sender_id = id;
            // The machine is told by the caller.
            known.0 = agent.member_id();
        }
        let id = agent.member_id();
        manager.members.entry(node).or_default().since = Some(Since { num: state.security.num, next });
        manager.save(&self.dir, &lock)?;
        agents.enrolled.sort_by_key(Enrolled::member_id);
        agents.save(&self.dir, &lock)?;
        Ok(Some((id, next)))
    }

    /// A member has left: as if it were evicted. The group gets new keys as soon as nobody sends for it.
    pub(super) async fn left(&mut self, group: &str, node: &str) -> Result<(), StateError> {
        let (Ok(name), Ok(node)) = (Name::from_str(group), Name::from_str(node)) else { return Ok(()) };
        let lock = GroupLock::to_edit(&self.dir, &name).await?;
        rekey::evict(&self.dir, &lock, &[node], "left by itself", false)?;
        self.rekey_due.insert(name);
        Ok(())
    }

    /// Gives new keys to the groups that are to get them, as soon as nobody sends for them; returns which,
    /// and why.
    pub(super) async fn rekey_due(&mut self) -> Result<Vec<(Name, rekey::Due)>, StateError> {
        let mut done = Vec::new();
        for name in self.rekey_due.clone() {
            let sending = match GroupLock::to_send(&self.dir, &name) {
                Ok(lock) => lock,
                Err(StateError::Locked { .. }) => continue,
                Err(error) => return Err(error),
            };
            let editing = GroupLock::to_edit(&self.dir, &name).await?;
            let machine = MachineId::of_this_machine()?;
            // A command may have done it meanwhile.
            if let Some(due) = rekey::due(&self.dir, &GroupState::open(&self.dir, &name)?, &machine)? {
                rekey::rekey(&self.dir, (&sending, &editing), &machine, &rekey::Moves::default())?;
                done.push((name.clone(), due));
            }
            self.rekey_due.remove(&name);
        }
        Ok(done)
    }
}

fn keys_of(dir: &StateDir, group: &GroupState) -> Result<GroupKeys, BooksError> {
    let unusable = || BooksError::Unusable(group.name.clone());
    let security = &group.security;
    Ok(GroupKeys {
        num: security.num,
        gid: group.gid(),
        master_secret: Zeroizing::new(security.master_secret.expose().to_vec()),
        master_salt: Zeroizing::new(security.master_salt.expose().to_vec()),
        aead: security.algorithm().ok_or_else(unusable)?,
        distributor: group.distributor()?.0,
        credential: group.distributor.cred.as_bytes().to_vec(),
        place: Place {
            coap_group: group.profile.coap_group,
            distributor: group.profile.distributor,
            next: match security.num {
                0 => SequenceStore::next_to_reserve(dir, group)?,
                // A member's counters begin with the keys.
                _ => 0,
            },
        },
    })
}

fn member_of<'a>(
    group: &GroupState,
    node: &Name,
    sender_id: MemberId,
    context: &'a IndividualContext,
    (membership, known): (Membership, KnownMember),
) -> Option<MemberSetup<'a>> {
    Some(MemberSetup {
        group: group.name.to_string(),
        node: node.to_string(),
        sender_id,
        individual: MemberId::new(context.agent_id.as_bytes())?,
        manager: MemberId::new(context.manager_id.as_bytes())?,
        master_secret: context.master_secret.expose(),
        master_salt: context.master_salt.expose(),
        aead: AeadAlgorithm::from_cose(context.aead.into())?,
        membership,
        confirmed: known.confirmed,
        address: known.address,
        since: known.since.map(|Since { num, next }| group_manager::manager::Since { num, next }),
    })
}
