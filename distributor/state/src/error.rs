//! What can go wrong with the state on disk.

use std::net::SocketAddr;
use std::path::PathBuf;

use provisioning::Name;

use super::SequenceDoubt;
use crate::files::{FileError, shown};

/// What can go wrong with the state on disk.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nothing says where to keep state.
    #[error(
        "cannot tell where state is kept, as neither {variable} nor HOME is set: give the folder \
         with {option}"
    )]
    NoHome {
        /// The environment variable of this folder.
        variable: &'static str,
        /// The option that names it.
        option: &'static str,
    },
    /// One of the state and witness folders contains the other.
    #[error(
        "of the witness folder {} and the state folder {}, one contains the other, so that one backup \
         would restore both: choose another witness folder with --witness",
        shown(.witness), shown(.state)
    )]
    WitnessNotApart {
        /// The state folder.
        state: PathBuf,
        /// The witness folder.
        witness: PathBuf,
    },
    /// The state folder is a copy of another one that is still there.
    #[error(
        "{} is a copy of {}, which is still there, and both would use the same counters and Sender IDs: use \
         {}, or move it away if the copy is to take its place",
        shown(.copy), shown(.original), shown(.original)
    )]
    Copied {
        /// The state folder.
        copy: PathBuf,
        /// The one that it was copied from.
        original: PathBuf,
    },
    /// There is no group with this name.
    #[error("there is no group '{name}' in {}: `fwcast group list` lists them all, `fwcast \
    group create` creates one", shown(.folder))]
    NoGroup {
        /// Its name.
        name: Name,
        /// The state folder.
        folder: PathBuf,
    },
    /// A group with this name exists.
    #[error(
        "group '{0}' already exists: choose another name, or replace it with --replace, after \
         which all its agents must be enrolled again"
    )]
    GroupExists(Name),
    /// Another process uses the group.
    #[error("another fwcast process {doing} group '{name}' right now: wait until it has ended")]
    Locked {
        /// Which group.
        name: Name,
        /// What it does.
        doing: &'static str,
    },
    /// Another process runs the rollout.
    #[error(
        "another fwcast process runs rollout '{0}' right now: control it with `fwcast rollout`, or wait \
         until it has ended"
    )]
    RolloutLocked(Name),
    /// Another process uses the state folder as a whole.
    #[error("another fwcast process {doing} right now: wait until it has ended")]
    StateLocked {
        /// What it does.
        doing: &'static str,
    },
    /// A group would move from IPv4 to IPv6, or back.
    #[error("{address} has not the family of group '{group}', which stays as it is: give another address")]
    OtherFamily {
        /// Which group.
        group: Name,
        /// The address.
        address: SocketAddr,
    },
    /// Nothing can tell the agents of new keys.
    #[error(
        "group '{0}' has no address of a Group Manager, so its agents cannot be told of new keys: replace it \
         with `fwcast group create {0} --replace --manager ADDR:PORT`, and enroll its agents again"
    )]
    NoManager(Name),
    /// A file is damaged.
    #[error("{} is damaged ({why}): restore this one file from a backup, or create the group again \
             with `fwcast group create NAME --replace`", shown(.path))]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        why: String,
    },
    /// The attempt numbers are damaged.
    #[error("{} is damaged ({why}): delete it; the next activation then starts above what agents report",
            shown(.path))]
    AttemptsDamaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        why: String,
    },
    /// The machine has no identity.
    #[error("this machine has no identity in {}, so that a copy of its counters on another machine \
             would go unnoticed: run `systemd-machine-id-setup`, or name a file that holds 32 \
             hexadecimal digits in FWCAST_MACHINE_ID_FILE", shown(.0))]
    NoMachineId(PathBuf),
    /// Sender Sequence Numbers are in doubt: nothing is sent.
    #[error(
        "nothing is sent for group '{group}', because {doubt}, and a Sender Sequence Number used \
             twice would reveal its keys: give it fresh keys with `fwcast group rekey {group}`"
    )]
    SequenceInDoubt {
        /// Which group.
        group: Name,
        /// Why.
        doubt: SequenceDoubt,
    },
    /// An agent with this name is enrolled.
    #[error(
        "agent '{name}' is already enrolled in group '{group}': choose another name, or enroll it \
             again with --again, which makes its old file useless"
    )]
    AgentExists {
        /// The agent.
        name: Name,
        /// The group.
        group: Name,
    },
    /// There is no agent with this name.
    #[error(
        "there is no agent '{name}' in group '{group}' to enroll again: leave --again out, or see \
             `fwcast agent list --group {group}`"
    )]
    NoAgent {
        /// The agent.
        name: Name,
        /// The group.
        group: Name,
    },
    /// All Sender IDs of up to 3 bytes have been used.
    #[error("group '{0}' has no Sender IDs left, as they are never reused: create a new group")]
    SenderIdsUsedUp(Name),
    /// The system gives no random bytes.
    #[error("the system returned no random bytes for keys ({0}): try again")]
    Random(getrandom::Error),
}
