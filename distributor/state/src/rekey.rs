//! New keys for a group: a fresh Gid and Master Secret, one generation further (RFC 10021 section 12.2).
//!
//! The file `group.json` decides which keys are in force. Everything that the new keys need is written before
//! it, under names that say to which keys it belongs, so a crash at any moment leaves the old keys or the new
//! ones, each with its counters.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use group_oscore::limits::SEQUENCE_NUMBER_MAX;
use provisioning::address::same_family;
use provisioning::{Hex, Name};

use super::sealed::{self, SealedError};
use super::{
    Agents, Enrolled, Floor, FloorStore, GroupLock, GroupState, KnownMember, MachineId, ManagerState,
    Remembered, SequenceDoubt, SequenceStore, StateDir, StateError,
};
use crate::files;
use crate::new_group::{random_gid, random_master_salt, random_master_secret};

/// What moves with the keys; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Moves {
    /// The address and port of the CoAP group.
    pub coap_group: Option<SocketAddr>,
    /// The unicast address of the distributor.
    pub distributor: Option<SocketAddr>,
    /// The interface that sends multicast.
    pub interface: Option<String>,
}

/// From this Sender Sequence Number on a group gets new keys without being asked for: three quarters of all.
const USED_MOSTLY: u64 = (SEQUENCE_NUMBER_MAX + 1) / 4 * 3;

/// Why a group gets new keys without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Somebody has left it, or was evicted, who still has the keys.
    Left,
    /// Three quarters of the distributor's numbers are used.
    Used,
    /// Nothing may be sent with the keys any more.
    InDoubt(SequenceDoubt),
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("somebody who has its keys is not in it any more"),
            Self::Used => f.write_str("three quarters of its numbers are used"),
            Self::InDoubt(doubt) => doubt.fmt(f),
        }
    }
}

/// Whether a group is to get new keys without being asked for. Of the doubts only those count that new keys
/// end for sure: where a file is missing its disk may be, and another machine may have the group too.
///
/// # Errors
/// A file cannot be read.
pub fn due(dir: &StateDir, group: &GroupState, machine: &MachineId) -> Result<Option<Due>, StateError> {
    if ManagerState::load(dir, &group.name)?.rekey_due {
        return Ok(Some(Due::Left));
    }
    use SequenceDoubt::{MainOlder, Restored, SeenAhead, UsedUp};
    if let Some(doubt) = SequenceStore::doubt(dir, group, machine)? {
        let is_ended = matches!(doubt, MainOlder | Restored | SeenAhead | UsedUp);
        return Ok(is_ended.then_some(Due::InDoubt(doubt)));
    }
    let used = SequenceStore::next_to_reserve(dir, group)?;
    Ok((used >= USED_MOSTLY).then_some(Due::Used))
}

/// Gives a group new keys. They are in force for the distributor when this returns, and for each agent once
/// the Group Manager has brought them.
///
/// # Errors
/// The group has no Group Manager, was moved to another machine, would change between IPv4 and IPv6, or its
/// files cannot be written. Then the old keys are in force.
pub fn rekey(
    dir: &StateDir,
    (sending, editing): (&GroupLock, &GroupLock),
    machine: &MachineId,
    moves: &Moves,
) -> Result<GroupState, StateError> {
    let name = sending.group();
    let old = GroupState::open(dir, name)?;
    check(dir, &old)?;
    let is_other = |address: &SocketAddr| !same_family(*address, old.profile.coap_group);
    if let Some(address) = [moves.coap_group, moves.distributor].into_iter().flatten().find(is_other) {
        return Err(StateError::OtherFamily { group: name.clone(), address });
    }
    let num = next_generation(dir, &old)?;
    let mut new = old.clone();
    new.security.gid = Hex(random_gid(old.security.gid.as_bytes().len())?);
    new.security.master_secret = random_master_secret()?;
    new.security.master_salt = random_master_salt()?;
    new.security.num = num;
    let profile = &mut new.profile;
    profile.coap_group = moves.coap_group.unwrap_or(profile.coap_group);
    profile.distributor = moves.distributor.unwrap_or(profile.distributor);
    profile.interface = moves.interface.clone().unwrap_or_else(|| profile.interface.clone());
    let gid = &new.security.gid;
    let folder = dir.group(name);
    let witness = dir.witness_of(name, gid);
    SequenceStore::create(folder.join(SequenceStore::NEXT), witness, name, gid, machine)?;
    Agents::load(dir, name)?.carry_sender_ids(dir, name, gid)?;
    carry_conduct(dir, &old, &new)?;
    new.save(dir, editing)?;
    SequenceStore::settle_rekey(&folder, gid)?;
    // The old keys never send again.
    forget(&dir.witness_of(name, &old.security.gid))?;
    forget(&dir.witness_of_sender_ids(name, &old.security.gid))?;
    let mut manager = ManagerState::load(dir, name)?;
    if manager.rekey_due {
        manager.rekey_due = false;
        manager.save(dir, editing)?;
    }
    Ok(new)
}

/// Whether a group can be given new keys.
fn check(dir: &StateDir, group: &GroupState) -> Result<(), StateError> {
    let name = &group.name;
    if SequenceStore::is_given_away(dir, name)? {
        return Err(StateError::SequenceInDoubt { group: name.clone(), doubt: SequenceDoubt::Moved });
    }
    match group.profile.manager {
        Some(_) => Ok(()),
        None => Err(StateError::NoManager(name.clone())),
    }
}

/// One generation further than any that this group has had, also if its state was put back from an old copy:
/// agents take no keys of an older generation. It is used up when this returns.
fn next_generation(dir: &StateDir, group: &GroupState) -> Result<u32, StateError> {
    let witness = dir.witness_of_generation(&group.name);
    let last = match sealed::read::<u32>(&witness) {
        Ok(last) => last,
        Err(SealedError::Missing | SealedError::Torn(_)) => 0,
        Err(SealedError::File(error)) => return Err(error.into()),
    };
    let next = last.max(group.security.num) + 1;
    sealed::write(&witness, &next)?;
    Ok(next)
}

/// Under new keys all windows begin at 0. A quarantine stays.
fn carry_conduct(dir: &StateDir, old: &GroupState, new: &GroupState) -> Result<(), StateError> {
    let conduct = FloorStore::new(dir, old).load(old, true)?.conduct;
    let floors = new.agents.iter().map(|agent| (agent.member_id(), Floor::At(0))).collect();
    FloorStore::new(dir, new).save(&Remembered { floors, conduct, ..Remembered::default() })
}

fn forget(path: &Path) -> Result<(), StateError> {
    if path.exists() {
        files::remove_file(path)?;
    }
    Ok(())
}

/// Evicts agents from their group: they get nothing from the Group Manager any more. The group must be
/// rekeyed afterwards, and is not sent for before. The same call again finishes what was interrupted.
///
/// # Errors
/// One of them is not in the group, and was not evicted from it either; the group cannot be given new keys;
/// or the files cannot be written.
pub fn evict(
    dir: &StateDir,
    editing: &GroupLock,
    agents: &[Name],
    reason: &str,
    destroy: bool,
) -> Result<(), StateError> {
    let group = editing.group();
    // Without new keys nothing would ever be sent for it again.
    check(dir, &GroupState::open(dir, group)?)?;
    let mut members = Agents::load(dir, group)?;
    let mut manager = ManagerState::load(dir, group)?;
    for name in agents {
        let known = members.has(name) || manager.evicted.contains_key(name);
        if !known {
            return Err(StateError::NoAgent { name: name.clone(), group: group.clone() });
        }
    }
    for name in agents {
        let agent = members.enrolled.iter().find(|agent| &agent.name == name);
        manager.evict(agent, name, reason, destroy);
    }
    manager.rekey_due = true;
    // In this order: who is evicted gets no keys, whatever happens then.
    manager.save(dir, editing)?;
    for name in agents {
        members.remove(name);
    }
    members.save(dir, editing)
}

/// Takes an evicted agent back, with a Sender ID that nobody had under these keys.
///
/// # Errors
/// It was not evicted from this group, or the files cannot be written.
pub fn rejoin(dir: &StateDir, editing: &GroupLock, name: &Name) -> Result<(), StateError> {
    let group = GroupState::open(dir, editing.group())?;
    let mut agents = Agents::load(dir, &group.name)?;
    let mut manager = ManagerState::load(dir, &group.name)?;
    let Some(evicted) = manager.evicted.remove(name) else {
        return Err(StateError::NoAgent { name: name.clone(), group: group.name.clone() });
    };
    let ids = agents.give_sender_ids(dir, &group, 1)?;
    let sender_id = ids.into_iter().next().ok_or(StateError::SenderIdsUsedUp(group.name.clone()))?;
    agents.enroll(Enrolled { sender_id, ..evicted.agent });
    manager.contexts.insert(name.clone(), evicted.context);
    let known = KnownMember { address: evicted.address, ..KnownMember::default() };
    manager.members.insert(name.clone(), known);
    manager.save(dir, editing)?;
    agents.save(dir, editing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, block_on};

    fn locks(world: &World) -> (GroupLock, GroupLock) {
        let name = &world.group().name;
        let editing = block_on(GroupLock::to_edit(&world.dir, name)).unwrap();
        (GroupLock::to_send(&world.dir, name).unwrap(), editing)
    }

    #[test]
    fn new_keys_are_fresh_and_begin_at_zero_and_the_old_ones_are_gone() {
        let world = World::new();
        let old = world.group();
        let (sending, editing) = locks(&world);
        let new = rekey(&world.dir, (&sending, &editing), &world.machine, &Moves::default()).unwrap();
        assert_ne!(old.security.gid, new.security.gid);
        assert_ne!(old.security.master_secret, new.security.master_secret);
        assert_eq!(new.security.num, old.security.num + 1);
        assert_eq!(world.group(), new);
        assert!(!world.dir.witness_of(&old.name, &old.security.gid).exists());
        drop((sending, editing));
        let store = world.open().unwrap();
        assert_eq!(store.numbers().next, 0);
        assert!(!store.has_sent());
    }

    #[test]
    fn a_crash_after_any_write_leaves_keys_with_their_counters() {
        for cut in 0..10 {
            let world = World::new();
            let mut used = world.open().unwrap();
            used.reserve(1000).unwrap();
            drop(used);
            let old = world.group().security;
            let (sending, editing) = locks(&world);
            files::cut::after(Some(cut));
            let done = rekey(&world.dir, (&sending, &editing), &world.machine, &Moves::default());
            files::cut::after(None);
            drop((sending, editing));
            let now = world.group().security;
            let numbers = world.open().unwrap().numbers();
            match now.gid == old.gid {
                true => assert!(done.is_err() && now == old && numbers.next >= 1000, "{cut}"),
                false => assert!(numbers.next == 0 && now.num == 1, "{cut}"),
            }
            // It can be done again.
            let (sending, editing) = locks(&world);
            let again = rekey(&world.dir, (&sending, &editing), &world.machine, &Moves::default()).unwrap();
            // One may be left out.
            assert!((now.num + 1..=now.num + 2).contains(&again.security.num), "{cut}");
            drop((sending, editing));
            assert_eq!(world.open().unwrap().numbers().next, 0);
        }
    }

    #[test]
    fn a_group_that_was_put_back_gets_a_generation_that_it_never_had() {
        let world = World::new();
        let (sending, editing) = locks(&world);
        let again = || rekey(&world.dir, (&sending, &editing), &world.machine, &Moves::default()).unwrap();
        let old = world.group();
        again();
        assert_eq!(again().security.num, 2);
        old.save(&world.dir, &editing).unwrap();
        assert_eq!(again().security.num, 3);
    }

    #[test]
    fn a_group_does_not_move_between_ipv4_and_ipv6() {
        let world = World::new();
        let (sending, editing) = locks(&world);
        let old = world.group();
        let moves = Moves { distributor: Some("[::1]:5690".parse().unwrap()), ..Moves::default() };
        let refused = rekey(&world.dir, (&sending, &editing), &world.machine, &moves);
        assert!(matches!(refused, Err(StateError::OtherFamily { .. })), "{refused:?}");
        assert_eq!(world.group(), old);
        drop((sending, editing));
    }

    #[test]
    fn nobody_is_evicted_from_a_group_that_cannot_be_given_new_keys() {
        let world = World::new();
        let (sending, editing) = locks(&world);
        let mut group = world.group();
        group.profile.manager = None;
        group.save(&world.dir, &editing).unwrap();
        let agent = Name::new("lamp-1").unwrap();
        let refused = evict(&world.dir, &editing, &[agent], "stolen", true);
        assert!(matches!(refused, Err(StateError::NoManager(_))), "{refused:?}");
        assert!(!ManagerState::load(&world.dir, &group.name).unwrap().rekey_due);
        drop((sending, editing));
    }

    #[test]
    fn new_keys_are_due_after_a_departure_in_some_doubts_and_when_most_numbers_are_used() {
        let is_due = |world: &World| due(&world.dir, &world.group(), &world.machine).unwrap();
        let world = World::new();
        assert_eq!(is_due(&world), None);
        let mut store = world.open().unwrap();
        store.reserve(USED_MOSTLY - 1).unwrap();
        assert_eq!(is_due(&world), None);
        store.reserve(USED_MOSTLY).unwrap();
        assert_eq!(is_due(&world), Some(Due::Used));
        store.condemn();
        assert_eq!(is_due(&world), Some(Due::InDoubt(SequenceDoubt::SeenAhead)));
        drop(store);
        let (sending, editing) = locks(&world);
        rekey(&world.dir, (&sending, &editing), &world.machine, &Moves::default()).unwrap();
        assert_eq!(is_due(&world), None);
        evict(&world.dir, &editing, &[], "stolen", true).unwrap();
        assert_eq!(is_due(&world), Some(Due::Left));
        rekey(&world.dir, (&sending, &editing), &world.machine, &Moves::default()).unwrap();
        drop((sending, editing));
        // Its disk may be missing; and another machine may have it.
        files::remove_file(&world.dir.witness_of(&world.group().name, &world.group().security.gid)).unwrap();
        assert_eq!(is_due(&world), None);
        let other = World::new();
        assert_eq!(due(&other.dir, &other.group(), &other.other_machine()).unwrap(), None);
    }

    #[test]
    fn a_group_in_doubt_sends_again_after_a_rekey_and_one_that_was_moved_does_not() {
        let world = World::new();
        world.open().unwrap().condemn();
        assert!(world.open().is_err());
        let (sending, editing) = locks(&world);
        rekey(&world.dir, (&sending, &editing), &world.machine, &Moves::default()).unwrap();
        drop((sending, editing));
        world.open().unwrap();
        let (sending, editing) = locks(&world);
        let to = world.other_machine();
        SequenceStore::give_away(&world.dir, &world.group(), &world.machine, &sending, &to).unwrap();
        let refused = rekey(&world.dir, (&sending, &editing), &world.machine, &Moves::default());
        assert!(matches!(refused, Err(StateError::SequenceInDoubt { doubt: SequenceDoubt::Moved, .. })));
    }
}
