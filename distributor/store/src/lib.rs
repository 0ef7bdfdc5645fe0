//! What is known about agents, rollouts and documents, in a database.
//!
//! | What | Where it is kept |
//! |---|---|
//! | documents, rollouts with their agents, orders, events | only here |
//! | who is enrolled, with labels | in the groups' folders ([`fwcast_state`]); copied here ([`mirror`]) |
//! | what each agent last reported | here, beside that copy |
//! | Sender Sequence Numbers | never here (protocol.md \[reserve\]) |
//! | images | beside it, by the digest of their signed SUIT manifest ([`images`]) |
//!
//! A restored database is noticed ([`epoch`]).
//!
//! [`Store`] is all that the rest of the distributor knows of a database. Every implementation must pass
//! `tests/store_suite`.

// A closed stdout or stderr must not abort a command: only the command line prints.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod agents;
pub mod backup;
mod documents;
pub mod epoch;
mod epochs;
mod error;
mod events;
pub mod images;
mod in_file;
pub mod kind;
pub mod mirror;
mod orders;
mod records;
pub mod restore;
mod rollouts;
mod sqlite;

pub use agents::Agents;
pub use documents::Documents;
pub use epochs::Epochs;
pub use error::StoreError;
pub use events::Events;
pub use in_file::InFile;
pub use orders::Orders;
pub use records::{
    Agent, Applied, Document, Epoch, Event, EventQuery, GivenOrder, Heard, Loss, Member, NewDocument,
    NewOrder, NewRollout, Revision, Rollout, RolloutLine, Step,
};
pub use rollouts::Rollouts;
pub use sqlite::{BUSY_MAX, SqliteStore};

/// How many events are kept: the newest ones.
pub const EVENTS_MAX: i64 = 200_000;

type Answer<T> = Result<T, StoreError>;

/// A database, with one trait for each concern. Each method is one transaction: its effect is durable when it
/// returns, and after an error nothing has changed.
pub trait Store: Documents + Agents + Rollouts + Orders + Events + Epochs {}

impl<T: Documents + Agents + Rollouts + Orders + Events + Epochs> Store for T {}
