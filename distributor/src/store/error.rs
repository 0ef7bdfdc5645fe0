//! What can go wrong with the store.

use std::path::PathBuf;

use provisioning::Name;

use crate::files::{FileError, shown};
use crate::kind::Kind;
use crate::state::StateError;
use rollout_engine::plan::AgentKey;

/// What can go wrong with the store. Whatever it is, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// The groups' folders beside it.
    #[error(transparent)]
    State(#[from] StateError),
    /// Another program holds it.
    #[error("the database {} is locked by another program for longer than {seconds} s: end that program \
             (`fuser` names it), then try again", shown(.path))]
    Locked {
        /// Which file.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// A newer program has written it.
    #[error("the database {} was written by a newer fwcast than this one: use that one, or restore a backup \
             that is as old as this program", shown(.0))]
    Newer(PathBuf),
    /// It is no database, or a damaged one.
    #[error("the database {} is broken ({why}): move it away together with {companions}, then either begin \
             with an empty one by the same command, or move the state folder away and run `fwcast restore` \
             with a backup", shown(.path))]
    Broken {
        /// Which file.
        path: PathBuf,
        /// The files that belong to it, in words.
        companions: &'static str,
        /// What the database says.
        why: String,
    },
    /// No space is left.
    #[error("there is no space left for the database {}, and what this command wanted to write is not in \
             it: make room on its disk, then run the command again", shown(.0))]
    Full(PathBuf),
    /// The system, or the database for another reason.
    #[error("cannot use the database {} ({why}): check its folder, permissions and disk", shown(.path))]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What the database says.
        why: String,
    },
    /// Something in it cannot be read.
    #[error(
        "{what} in the database {} cannot be read ({why}): another version of fwcast may have written it, \
         so use that one, or restore a backup with `fwcast restore`", shown(.path)
    )]
    Content {
        /// Which file.
        path: PathBuf,
        /// What of it.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Another rollout has some of the agents.
    #[error(
        "rollout '{rollout}' is not done yet and has {agents} of the agents, such as '{first}', and no \
        agent takes two updates at once: wait for its end (`fwcast describe rollout {rollout}`), or cancel \
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
    /// The rollout is begun already.
    #[error(
        "rollout '{0}' has begun already and is not done yet: `fwcast run` goes on with it, `fwcast rollout \
        cancel {0}` ends it"
    )]
    Begun(Name),
    /// There is no such rollout.
    #[error("there is no rollout '{0}': `fwcast get rollouts` shows those there are")]
    NoRollout(Name),
    /// A rollout that is not done needs it.
    #[error("{} '{name}' cannot be deleted, because rollout '{rollout}' uses it and is not done: wait for \
             its end, or cancel it with `fwcast rollout cancel {rollout}`", .kind.noun())]
    InUse {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: Name,
        /// Who uses it.
        rollout: Name,
    },
    /// A rollout that is not done has begun with it.
    #[error("{} '{name}' cannot be changed, because rollout '{rollout}' has begun with it as it was and is \
             not done: put it back as it was to go on, or end that with `fwcast rollout cancel {rollout}`",
            .kind.noun())]
    BegunWith {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: Name,
        /// Who has begun with it.
        rollout: Name,
    },
}
