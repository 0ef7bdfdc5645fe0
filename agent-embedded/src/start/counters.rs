//! The keys in force, and the numbers that the device has used under them.
//!
//! A number under which something was encrypted is never used again with the same keys (docs/protocol.md,
//! \[reserve\]). The record of the counters is of one group. When the device is given to another one, the
//! counters of the group that it leaves are kept beside that record, and count again when it comes back.
//!
//! That other record has an entry for each group that the device was ever given to, from its first start in
//! it: [`unknown`] while the device is in the group, and exact when it has left it with the keys that it was
//! given. So a device whose keys were replaced meanwhile does not begin at 0 with the first ones.
//!
//! A device that was used and has no counters any more must not begin at 0. It knows that by a mark behind
//! the provisioning: who wipes the records and leaves the provisioning finds it there.
//!
//! Whatever is lost, the Group Manager can give another Sender ID, under which nothing was sent yet.

use embedded_storage::nor_flash::NorFlash;
use group_manager::limits::MEMBERSHIP_BYTES_MAX;
use group_manager::{Counted, Enrollment, InForce};
use group_oscore::Gid;
use group_oscore::limits::SEQUENCE_NUMBER_MAX;
use update_core::platform::Record;
use update_core::record::CounterBounds;

use super::StartError;
use crate::store::{FlashStore, StoreError};

/// How many groups a device can be given to, one after the other. In one more it has no counters.
pub const GROUPS_MAX: usize = 5;

/// More than the record of the counters takes, also in a later version.
const COUNTERS_BYTES_MAX: usize = 64;
/// Bytes for the counters of one group; more than they take.
const ENTRY_BYTES: usize = 48;
/// Bytes of the record of groups: one entry behind the other.
const GROUPS_BYTES: usize = GROUPS_MAX * ENTRY_BYTES;

/// The keys in force, which `record` is read for. If it is lost which they are, those of the enrolment.
///
/// # Errors
/// [`StartError::Store`].
pub(super) fn in_force<'a, F: NorFlash>(
    store: &mut FlashStore<F>,
    enrollment: &Enrollment<'a>,
    record: &'a mut [u8; MEMBERSHIP_BYTES_MAX],
) -> Result<InForce<'a>, StartError<F::Error>> {
    let first = || InForce { keys: enrollment.keys.clone(), before: None };
    Ok(stored(store, enrollment, record)?.unwrap_or_else(first))
}

/// The keys in force; `None` if the record of them is lost.
fn stored<'a, F: NorFlash>(
    store: &mut FlashStore<F>,
    enrollment: &Enrollment<'a>,
    record: &'a mut [u8; MEMBERSHIP_BYTES_MAX],
) -> Result<Option<InForce<'a>>, StartError<F::Error>> {
    match store.load(Record::Membership, record) {
        Err(StoreError::Lost) => Ok(None),
        saved => Ok(enrollment.in_force(saved?).ok()),
    }
}

/// What is known of the numbers used under the keys in force, and whether the device has counted before,
/// under whatever keys. Counters that are known are on record when this returns.
///
/// # Errors
/// [`StartError::Wiped`], [`StartError::Groups`] or [`StartError::Records`]: counters are lost, and there is
/// no Group Manager to reach; [`StartError::Store`].
// Not inlined, so that its stack is free again afterwards.
#[inline(never)]
pub(super) fn counters<F: NorFlash>(
    store: &mut FlashStore<F>,
    enrollment: &Enrollment<'_>,
) -> Result<(Counted, bool), StartError<F::Error>> {
    let mut record = [0; MEMBERSHIP_BYTES_MAX];
    let in_force = stored(store, enrollment, &mut record)?;
    let counted = in_force.map_or(Err(StartError::Records), |in_force| count(store, &in_force));
    let counted = match counted {
        Err(error) if error.is_loss_of_counters() && enrollment.manager.is_some() => (Counted::Lost, true),
        counted => counted?,
    };
    store.note_used();
    Ok(counted)
}

/// What is known of the numbers used under these keys; an error where that is lost.
fn count<F: NorFlash>(
    store: &mut FlashStore<F>,
    in_force: &InForce<'_>,
) -> Result<(Counted, bool), StartError<F::Error>> {
    let gid = in_force.keys.gid;
    let mut buffer = [0; COUNTERS_BYTES_MAX];
    let stored = store.load(Record::Counters, &mut buffer)?;
    let stored = stored.map(CounterBounds::decode).transpose().map_err(|_| StartError::Records)?;
    let counted = match stored {
        Some(left) if left.gid != gid && in_force.before.is_none() => change_group(store, &left, gid)?,
        stored => in_force.counted(stored, store.is_used()),
    };
    let bounds = match counted {
        Counted::Known(bounds) => bounds,
        Counted::Unused => CounterBounds { gid, reserved_end: 0, floor: 0 },
        Counted::Lost if stored.is_none() => return Err(StartError::Wiped),
        Counted::Lost => return Err(StartError::Records),
    };
    if stored != Some(bounds) {
        save(store, &bounds)?;
    }
    if in_force.before.is_none() {
        match Groups::load(store).and_then(|mut groups| groups.put(store, &unknown(gid))) {
            // Counters of other groups do not count any more, and neither will these once it has left.
            Err(error) if error.is_loss_of_counters() => {}
            kept => kept?,
        }
    }
    Ok((Counted::Known(bounds), stored.is_some()))
}

/// The entry of a group that the device is in: its counters are elsewhere, or will be replaced with its keys.
const fn unknown(gid: Gid) -> CounterBounds {
    let used_up = SEQUENCE_NUMBER_MAX + 1;
    CounterBounds { gid, reserved_end: used_up, floor: used_up }
}

/// Keeps the counters of the group that the device leaves, if it leaves it with the keys that it was given;
/// and returns those of the one that it comes to.
fn change_group<F: NorFlash>(
    store: &mut FlashStore<F>,
    left: &CounterBounds,
    gid: Gid,
) -> Result<Counted, StartError<F::Error>> {
    let mut groups = Groups::load(store)?;
    let found = groups.find(gid)?;
    if groups.find(left.gid)?.is_some() {
        groups.put(store, left)?;
    }
    Ok(match found {
        Some(bounds) if bounds == unknown(gid) => Counted::Lost,
        Some(bounds) => Counted::Known(bounds),
        None if groups.len == GROUPS_BYTES => return Err(StartError::Groups),
        None => Counted::Unused,
    })
}

/// The record of the groups that the device was given to.
struct Groups {
    bytes: [u8; GROUPS_BYTES],
    len: usize,
}

impl Groups {
    fn load<F: NorFlash>(store: &mut FlashStore<F>) -> Result<Self, StartError<F::Error>> {
        let mut bytes = [0; GROUPS_BYTES];
        let len = store.groups(&mut bytes)?;
        if len.is_multiple_of(ENTRY_BYTES) { Ok(Self { bytes, len }) } else { Err(StartError::Records) }
    }

    /// Where each entry begins, and what it says.
    fn entries<E>(&self) -> impl Iterator<Item = Result<(usize, CounterBounds), StartError<E>>> {
        let entries =
            (0..).step_by(ENTRY_BYTES).zip(self.bytes.chunks(ENTRY_BYTES)).take(self.len / ENTRY_BYTES);
        entries.map(|(at, entry)| {
            CounterBounds::decode(entry).map(|bounds| (at, bounds)).map_err(|_| StartError::Records)
        })
    }

    fn find<E>(&self, gid: Gid) -> Result<Option<CounterBounds>, StartError<E>> {
        for entry in self.entries() {
            let (_, bounds) = entry?;
            if bounds.gid == gid {
                return Ok(Some(bounds));
            }
        }
        Ok(None)
    }

    /// Makes this the entry of its group, durably.
    fn put<F: NorFlash>(
        &mut self,
        store: &mut FlashStore<F>,
        bounds: &CounterBounds,
    ) -> Result<(), StartError<F::Error>> {
        let mut place = self.len;
        for entry in self.entries() {
            let (at, other) = entry?;
            if other == *bounds {
                return Ok(());
            }
            if other.gid == bounds.gid {
                place = at;
            }
        }
        let entry = self.bytes.get_mut(place..place + ENTRY_BYTES).ok_or(StartError::Groups)?;
        entry.fill(0);
        bounds.encode(entry).ok_or(StartError::Records)?;
        self.len = self.len.max(place + ENTRY_BYTES);
        Ok(store.keep_groups(self.bytes.get(..self.len).unwrap_or_default())?)
    }
}

fn save<F: NorFlash>(store: &mut FlashStore<F>, bounds: &CounterBounds) -> Result<(), StartError<F::Error>> {
    let mut buffer = [0; ENTRY_BYTES];
    let len = bounds.encode(&mut buffer).ok_or(StartError::Records)?;
    Ok(store.save_now(Record::Counters, buffer.get(..len).unwrap_or_default())?)
}
