//! What is known of agents, rollouts and documents, in a database.
//!
//! | What | Is kept |
//! |---|---|
//! | documents, rollouts with their agents, orders, events | here alone |
//! | who is enrolled, with labels | in the groups' folders ([`crate::state`]); here is a copy ([`mirror`]) |
//! | what was heard of an agent last | here, beside that copy |
//! | Sender Sequence Numbers | never here (protocol.md \[reserve\]) |
//! | images | beside it, by the digest of their signed SUIT manifest ([`images`]) |
//!
//! A database that was put back is noticed ([`epoch`]).
//!
//! [`Store`] is what the rest of the distributor knows of a database. `tests/store_suite` is what every
//! implementation must fulfil.

mod agents;
pub mod backup;
mod documents;
pub mod epoch;
mod epochs;
mod error;
mod events;
pub mod images;
mod in_file;
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

/// So many events are kept, the newest ones.
pub const EVENTS_MAX: i64 = 200_000;

type Answer<T> = Result<T, StoreError>;

/// A database: everything that is remembered, each concern by a trait of its own. Each method is one
/// transaction: what it says is done is durable when it returns, and after an error nothing of it is.
pub trait Store: Documents + Agents + Rollouts + Orders + Events + Epochs {}

impl<T: Documents + Agents + Rollouts + Orders + Events + Epochs> Store for T {}
