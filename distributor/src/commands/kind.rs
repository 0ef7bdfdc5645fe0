//! The nouns of `get`, `describe` and `delete`, and what they share.

use clap::ValueEnum;

use crate::commands::exit_codes::Failure;
use crate::commands::global::Global;
use crate::commands::output::say;
use crate::commands::runtime::runtime;
use fwcast_service::{Changed, Fleet};
use fwcast_state::StateDir;
use fwcast_store::kind::Kind;
use fwcast_store::{InFile as _, SqliteStore};

/// The nouns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Noun {
    /// Agents of all groups
    #[value(alias = "agent", alias = "agt")]
    Agents,
    /// Rollout groups
    #[value(alias = "group", alias = "grp")]
    Groups,
    /// Images
    #[value(alias = "image", alias = "img")]
    Images,
    /// Rollouts
    #[value(alias = "rollout", alias = "ro")]
    Rollouts,
}

impl Noun {
    /// The kind of document; `None` for agents, which have no documents.
    pub(super) const fn document(self) -> Option<Kind> {
        match self {
            Self::Agents => None,
            Self::Groups => Some(Kind::RolloutGroup),
            Self::Images => Some(Kind::Image),
            Self::Rollouts => Some(Kind::Rollout),
        }
    }
}

/// The result of a change, with a note where its event could not be recorded.
pub(super) fn made<T>(changed: Changed<T>) -> T {
    if let Some(error) = changed.not_noted {
        say!("note: done, but the event of it could not be stored: {error}");
    }
    changed.result
}

/// Opens the fleet, updates its agents from the groups' folders, runs a function on it, and closes it.
pub(super) fn on_fleet<T>(
    global: &Global,
    work: impl AsyncFnOnce(&Fleet<SqliteStore>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    on_fleet_of(global.state_dir()?, work)
}

/// As [`on_fleet`], for a state folder that was found or made.
pub(super) fn on_fleet_of<T>(
    dir: StateDir,
    work: impl AsyncFnOnce(&Fleet<SqliteStore>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    runtime()?.block_on(async {
        let store = SqliteStore::open(&dir).await?;
        let fleet = Fleet::new(dir, store);
        for unread in fleet.refresh().await? {
            say!("note: {unread}");
        }
        let done = work(&fleet).await;
        fleet.into_store().close().await;
        done
    })
}
