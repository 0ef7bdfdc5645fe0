//! The counters of the device's security group, and of those that it was in before.
//!
//! A number under which something was encrypted is never used again with the same keys (docs/protocol.md,
//! \[reserve\]). The record of the counters is of one group. When the device is given to another one, the
//! counters of the group that it leaves are kept beside that record, and count again when it comes back.
//!
//! A device that was used and has no counters any more must not begin at 0. It knows that by a mark behind
//! the provisioning: who wipes the records and leaves the provisioning finds it there.

use embedded_storage::nor_flash::NorFlash;
use group_oscore::Gid;
use update_core::platform::Record;
use update_core::record::CounterBounds;

use super::StartError;
use crate::store::FlashStore;

/// How many groups a device can be in, one after the other. In one more it does not start.
pub const GROUPS_MAX: usize = 5;

/// More than the record of the counters takes, also in a later version.
const COUNTERS_BYTES_MAX: usize = 64;
/// Bytes for the counters of one group; more than they take.
const ENTRY_BYTES: usize = 48;
/// Bytes of the record of groups that were left: one entry behind the other.
const FORMER_BYTES: usize = GROUPS_MAX * ENTRY_BYTES;

/// The counters of this group, and whether the device has counted before, in whatever group. The counters are
/// on record when this returns, also those of a group that the device is new in.
///
/// # Errors
/// [`StartError::Wiped`], [`StartError::Groups`], [`StartError::Records`], [`StartError::Store`].
#[inline(never)]
pub(super) fn counters<F: NorFlash>(
    store: &mut FlashStore<F>,
    gid: Gid,
) -> Result<(CounterBounds, bool), StartError<F::Error>> {
    let mut buffer = [0; COUNTERS_BYTES_MAX];
    let saved = store.load(Record::Counters, &mut buffer)?;
    let saved = saved.map(|bytes| CounterBounds::decode(bytes).map_err(|_| StartError::Records));
    let (bounds, has_counted) = match saved.transpose()? {
        Some(bounds) if bounds.gid == gid => (bounds, true),
        Some(left) => {
            let bounds = change_group(store, &left, gid)?;
            save(store, &bounds)?;
            (bounds, true)
        }
        None if store.is_used() => return Err(StartError::Wiped),
        None => {
            let bounds = new(gid);
            save(store, &bounds)?;
            (bounds, false)
        }
    };
    store.note_used();
    Ok((bounds, has_counted))
}

/// Of a group in which nothing was sent yet.
const fn new(gid: Gid) -> CounterBounds {
    CounterBounds { gid, reserved_end: 0, floor: 0 }
}

/// Keeps the counters of the group that the device leaves, and gives those of the one that it comes to. That
/// one may stay in the record: what is saved of it from now on goes before it.
fn change_group<F: NorFlash>(
    store: &mut FlashStore<F>,
    left: &CounterBounds,
    gid: Gid,
) -> Result<CounterBounds, StartError<F::Error>> {
    let mut former = [0; FORMER_BYTES];
    let len = store.former_groups(&mut former)?;
    if !len.is_multiple_of(ENTRY_BYTES) {
        return Err(StartError::Records);
    }
    let (mut found, mut place) = (None, len);
    for (at, entry) in (0..).step_by(ENTRY_BYTES).zip(former.chunks(ENTRY_BYTES)).take(len / ENTRY_BYTES) {
        let bounds = CounterBounds::decode(entry).map_err(|_| StartError::Records)?;
        if bounds.gid == left.gid {
            place = at;
        }
        if bounds.gid == gid {
            found = Some(bounds);
        }
    }
    let entry = former.get_mut(place..place + ENTRY_BYTES).ok_or(StartError::Groups)?;
    left.encode(entry).ok_or(StartError::Records)?;
    let former = former.get(..len.max(place + ENTRY_BYTES)).unwrap_or_default();
    if found.is_none() && former.len() == FORMER_BYTES {
        return Err(StartError::Groups);
    }
    store.keep_former_groups(former)?;
    Ok(found.unwrap_or(new(gid)))
}

fn save<F: NorFlash>(store: &mut FlashStore<F>, bounds: &CounterBounds) -> Result<(), StartError<F::Error>> {
    let mut buffer = [0; ENTRY_BYTES];
    let len = bounds.encode(&mut buffer).ok_or(StartError::Records)?;
    Ok(store.save_now(Record::Counters, buffer.get(..len).unwrap_or_default())?)
}
