//! What the distributor keeps in files: groups with their keys and counters, key files and signed images.
//!
//! | In the state folder | What |
//! |---|---|
//! | `groups/NAME/group.json` | profile, key material, the distributor's own key ([`GroupState`]) |
//! | `groups/NAME/agents.json` | who is enrolled ([`Enrolled`]) |
//! | `groups/NAME/manager.json` | the Group Manager's secrets ([`ManagerState`]) |
//! | `groups/NAME/sequence` | Sender Sequence Numbers reserved ahead ([`SequenceStore`]) |
//! | `groups/NAME/sequence.next` | those of keys that are about to come into force ([`rekey`]) |
//! | `groups/NAME/floors` | replay floors and conduct, one for each agent ([`FloorStore`]) |
//! | `groups/NAME/attempts` | attempt numbers, one for each update ([`Attempts`]) |
//! | `locks/NAME.send`, `locks/NAME.edit` | one process sends, one process enrolls ([`GroupLock`]) |
//! | `locks/NAME.run` | one process runs a rollout ([`RolloutLock`]) |
//! | `locks/claim`, `locks/backup` | one process claims the database, or makes a backup ([`StateLock`]) |
//! | `archive/NAME-GID` | groups that were replaced |
//!
//! `fwcast.db` and `images/` beside them belong to the package `fwcast-store`. The witness folder is
//! elsewhere and holds `NAME-GID.sequence`, the second copy of `sequence`, and `database-ID.epoch`
//! ([`EpochWitness`]).
//!
//! To send for a group, open it in this order: [`StateDir::locate`], [`GroupState::open`],
//! [`GroupLock::to_send`], [`SequenceStore::open`], then [`FloorStore::load`] and [`Attempts::load`].

// A closed stdout or stderr must not abort a command: only the command line prints.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod actor;
mod agents;
mod attempts;
mod dir;
mod doubt;
mod epoch;
mod error;
pub mod files;
mod floor;
mod group;
#[cfg(test)]
mod group_tests;
mod home;
pub mod image;
pub mod key_sets;
pub mod keys;
mod lock;
mod machine;
mod manager;
pub mod new_group;
pub mod random;
pub mod rekey;
mod sealed;
mod sequence;
#[cfg(test)]
mod sequence_tests;
pub mod signing;
pub mod socket;
#[cfg(test)]
mod testing;

pub use actor::actor;
pub use agents::{
    Agents, DISTRIBUTOR_SENDER_ID, DeviceSettings, Enrolled, Label, LabelError, Waiting, Words,
};
pub use attempts::Attempts;
pub use dir::{GROUP_FILES, StateDir};
pub use doubt::SequenceDoubt;
pub use epoch::EpochWitness;
pub use error::StateError;
pub use floor::{Conducts, Floor, FloorStore, Floors, Remembered};
pub use group::{GroupState, Identity, Profile, Security};
pub use lock::{GroupLock, RolloutLock, StateLock};
pub use machine::MachineId;
pub use manager::{Evicted, IndividualContext, KnownMember, ManagerState, Since};
pub use sequence::{Numbers, SKIPPED, SequenceStore};
