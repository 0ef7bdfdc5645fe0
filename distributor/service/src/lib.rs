//! The operations on a fleet, for any front end. The command line is one of them.
//!
//! [`Fleet`] has the state folder and the store in it. Each operation is a method with its own error type.
//! Operations that need no store are functions on the state folder ([`members`], [`enroll`]). Nothing here
//! prints, knows an exit code, or creates an event loop.

// A closed stdout or stderr must not abort a command: only the command line prints.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod apply;
mod begin;
mod census;
mod changes;
pub mod control;
mod delete;
pub mod deliver;
pub mod doctor;
pub mod drive;
pub mod enroll;
pub mod enrollment;
pub mod forecast;
pub mod import;
pub mod link;
pub mod look;
pub mod manager;
pub mod members;
pub mod neighbours;
mod order;
mod overview;
mod plan;
pub mod push;
mod rekey;
pub mod rewound;
pub mod runner;
mod send;
pub mod session;
mod watch;

pub use apply::NotApplied;
pub use begin::BeginError;
pub use census::Census;
pub use changes::{Changed, Which};
pub use delete::DeleteError;
pub use order::{Carried, OrderError};
pub use overview::{GroupGlance, Overview, Versions, installed};
pub use send::SendError;
pub use watch::Events;

use crate::runner::Resources;
use fwcast_state::{StateDir, actor};
use fwcast_store::epoch::{Claimed, Claims};
use fwcast_store::mirror::{self, Unread};
use fwcast_store::{Store, StoreError};

/// A state folder with its store, and the right to send, which is claimed once.
#[derive(Debug)]
pub struct Fleet<S> {
    dir: StateDir,
    store: S,
    claims: Claims,
    /// Who works with it, for the history.
    actor: String,
}

impl<S: Store> Fleet<S> {
    /// The fleet of a state folder and its store, for the user of this process.
    pub fn new(dir: StateDir, store: S) -> Self {
        Self { dir, store, claims: Claims::default(), actor: actor() }
    }

    /// Who works with it.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// The state folder.
    pub fn dir(&self) -> &StateDir {
        &self.dir
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Returns the store, to be closed.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Copies agents from the groups' folders. Returns the groups that could not be read.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn refresh(&self) -> Result<Vec<Unread>, StoreError> {
        mirror::refresh(&self.dir, &self.store).await
    }

    /// The resources that rollouts run with.
    fn resources(&self) -> Resources<'_, S> {
        Resources { dir: &self.dir, store: &self.store, claims: &self.claims, actor: &self.actor }
    }

    /// The right to send.
    async fn claimed(&self) -> Result<&Claimed, StoreError> {
        self.claims.get(&self.dir, &self.store).await
    }
}
