//! What can go wrong with the store.

use std::path::PathBuf;

use provisioning::Name;

use crate::kind::Kind;
use fwcast_state::StateError;
use fwcast_state::files::{FileError, shown};
use rollout_engine::plan::AgentKey;

/// What can go wrong with the store. After any error, nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The groups' folders.
    #[error(transparent)]
    State(#[from] StateError),
    /// Another program has it locked.
    #[error("the database {} has been locked by another program for {seconds} s: end that program \
             (`fuser` names it), then try again", shown(.path))]
    Locked {
        /// Which file.
        path: PathBuf,
        /// How long this process waited.
        seconds: u64,
    },
    /// A newer program wrote it.
    #[error("the database {} was written by a newer fwcast than this one: use the newer one, or restore a \
             backup that is as old as this program", shown(.0))]
    Newer(PathBuf),
    /// It is not a database, or it is damaged.
    #[error("the database {} is broken ({why}): move it away together with {companions}, then either run \
             this command again to start with an empty one, or move the state folder away and run `fwcast \
             restore` with a backup", shown(.path))]
    Broken {
        /// Which file.
        path: PathBuf,
        /// The files that belong to it, in words.
        companions: &'static str,
        /// What the database says.
        why: String,
    },
    /// The disk is full.
    #[error("the disk of the database {} is full, and nothing that this command writes was stored: \
             make room on the disk, then run the command again", shown(.0))]
    Full(PathBuf),
    /// The system or the database failed for another reason.
    #[error("cannot use the database {} ({why}): check its folder, permissions and disk", shown(.path))]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What the database says.
        why: String,
    },
    /// A record cannot be read.
    #[error(
        "{what} in the database {} cannot be read ({why}): another version of fwcast may have written it: \
         use that version, or restore a backup with `fwcast restore`", shown(.path)
    )]
    Content {
        /// Which file.
        path: PathBuf,
        /// Which record.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Another rollout has some of the agents.
    #[error(
        "rollout '{rollout}' has not ended and has {agents} of the agents, such as '{first}', and no \
        agent takes two updates at once: wait until it ends (`fwcast describe rollout {rollout}`), or cancel \
        it with `fwcast rollout cancel {rollout}`"
    )]
    Conflict {
        /// The other rollout.
        rollout: Name,
        /// How many of the agents it has.
        agents: u32,
        /// One of them.
        first: AgentKey,
    },
    /// The rollout has already begun.
    #[error(
        "rollout '{0}' has already begun and has not ended: `fwcast run` continues it, `fwcast rollout \
        cancel {0}` ends it"
    )]
    Begun(Name),
    /// There is no such rollout.
    #[error("there is no rollout '{0}': `fwcast get rollouts` lists them all")]
    NoRollout(Name),
    /// A rollout that has not ended needs it.
    #[error("{} '{name}' cannot be deleted, because rollout '{rollout}' uses it and has not ended: wait \
             until it ends, or cancel it with `fwcast rollout cancel {rollout}`", .kind.noun())]
    InUse {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: Name,
        /// The rollout that needs it.
        rollout: Name,
    },
    /// A rollout that has not ended began with it.
    #[error("{} '{name}' cannot be changed, because rollout '{rollout}' began with it and has not ended: \
             undo the change to continue, or end the rollout with `fwcast rollout cancel {rollout}`",
            .kind.noun())]
    BegunWith {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: Name,
        /// The rollout that began with it.
        rollout: Name,
    },
}
