//! The keys in force: those of the provisioning, or newer ones that the Group Manager gave; and what is known
//! of the numbers that were used under them.

use group_manager::{Counted, Enrollment, InForce};
use group_oscore::Gid;
use provisioning::Hex;
use update_core::platform::Record;
use update_core::record::CounterBounds;

use crate::config::{Config, shown};
use crate::failure::Failure;
use crate::file_store::record_name;
use crate::linux_platform::LinuxPlatform;

/// The record of what the Group Manager gave last.
///
/// # Errors
/// It cannot be read.
pub fn record(config: &Config, platform: &LinuxPlatform) -> Result<Option<Vec<u8>>, Failure> {
    load(config, platform, Record::Membership)
}

/// The keys in force, and what is known of their numbers. Whatever is lost can be had anew from the Group
/// Manager.
///
/// # Errors
/// Something is lost, and there is no Group Manager to reach; or the counters are another group's.
pub fn in_force<'a>(
    config: &Config,
    platform: &LinuxPlatform,
    enrollment: &Enrollment<'a>,
    record: Option<&'a [u8]>,
) -> Result<(InForce<'a>, Counted), Failure> {
    let Ok(in_force) = enrollment.in_force(record) else {
        let first = InForce { keys: enrollment.keys.clone(), before: None };
        let failure =
            || damaged(config, Record::Membership, "without it the keys of the group are not known");
        return lost_unless_given(enrollment, failure).map(|counted| (first, counted));
    };
    let stored = match load(config, platform, Record::Counters)?.map(|bytes| CounterBounds::decode(&bytes)) {
        Some(Err(_)) => {
            let failure = || damaged(config, Record::Counters, "evict this agent and enroll it again");
            return lost_unless_given(enrollment, failure).map(|counted| (in_force, counted));
        }
        stored => stored.and_then(Result::ok),
    };
    if let Some(bounds) = stored.filter(|bounds| bounds.gid != in_force.keys.gid && in_force.before.is_none())
    {
        return Err(of_another_group(config, bounds, in_force.keys.gid));
    }
    let counted = match in_force.counted(stored, platform.slots().record().counted) {
        Counted::Lost => lost_unless_given(enrollment, || are_lost(config))?,
        counted => counted,
    };
    Ok((in_force, counted))
}

/// Nothing is known of the numbers that were used. The Group Manager gives another Sender ID, if there is one
/// to reach.
fn lost_unless_given(
    enrollment: &Enrollment<'_>,
    failure: impl FnOnce() -> Failure,
) -> Result<Counted, Failure> {
    if enrollment.manager.is_some() { Ok(Counted::Lost) } else { Err(failure()) }
}

fn are_lost(config: &Config) -> Failure {
    let path = config.state_directory.join(record_name(Record::Counters));
    Failure::not_allowed(format!(
        "{} is lost, and with it the numbers that must never be used again: evict this agent and enroll it \
         again, with an empty state folder",
        shown(&path)
    ))
}

/// Counters only make sense with the keys they belong to. If those of another group overwrote them, returning
/// to the first group would start at 0 and repeat every nonce.
fn of_another_group(config: &Config, bounds: CounterBounds, in_force: Gid) -> Failure {
    Failure::not_allowed(format!(
        "the counters in the state folder {} belong to another group (Gid {}, and the configuration has \
         Gid {}): give each group its own state folder, and keep this one, without which the agent can \
         never return to its group",
        shown(&config.state_directory),
        Hex::from(bounds.gid.as_bytes()),
        Hex::from(in_force.as_bytes())
    ))
}

/// Reads a record.
///
/// # Errors
/// It cannot be read.
pub fn load(config: &Config, platform: &LinuxPlatform, record: Record) -> Result<Option<Vec<u8>>, Failure> {
    platform.load(record).map_err(|error| {
        Failure::error(format!(
            "cannot read {}: {error}",
            shown(&config.state_directory.join(record_name(record)))
        ))
    })
}

/// A record is damaged.
pub fn damaged(config: &Config, record: Record, advice: &str) -> Failure {
    let path = config.state_directory.join(record_name(record));
    Failure::not_allowed(format!("{} is damaged: {advice}", shown(&path)))
}
