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

pub mod backup;
pub mod epoch;
mod error;
pub mod images;
pub mod mirror;
mod records;
pub mod restore;
mod sqlite;

use std::collections::BTreeMap;
use std::future::Future;

use jiff::Timestamp;
use provisioning::Name;

pub use error::StoreError;
pub use records::{
    Agent, Applied, Document, Epoch, Event, EventQuery, GivenOrder, Heard, Loss, Member, NewDocument,
    NewOrder, NewRollout, Revision, Rollout, RolloutLine, Step,
};
pub use sqlite::{BUSY_MAX, DATABASE, SqliteStore};

use crate::manifest::Kind;
use rollout_engine::plan::AgentKey;
use rollout_engine::record::{AgentRecord, Settled};

/// So many events are kept, the newest ones.
pub const EVENTS_MAX: i64 = 200_000;

type Answer<T> = Result<T, StoreError>;

/// A database. Each method is one transaction: what it says is done is durable when it returns, and after
/// an error nothing of it is.
pub trait Store: Send + Sync {
    /// Applies documents: all of them, or none. In the order of the documents, what it did to each.
    fn apply(
        &self,
        documents: &[NewDocument],
        at: Timestamp,
    ) -> impl Future<Output = Answer<Vec<Applied>>> + Send;

    /// All documents of a kind, by name.
    fn documents(&self, kind: Kind) -> impl Future<Output = Answer<Vec<Document>>> + Send;

    /// One document.
    fn document(&self, kind: Kind, name: &Name) -> impl Future<Output = Answer<Option<Document>>> + Send;

    /// Deletes a document, and with the document of a rollout also its record; whether there was anything.
    ///
    /// # Errors
    /// [`StoreError::InUse`]: a rollout that is not done needs it.
    fn delete(&self, kind: Kind, name: &Name) -> impl Future<Output = Answer<bool>> + Send;

    /// The fingerprint of each group's folder when [`Self::sync_agents`] last copied it.
    fn fingerprints(&self) -> impl Future<Output = Answer<BTreeMap<Name, String>>> + Send;

    /// Takes over who is enrolled in a group. What was heard of an agent stays.
    fn sync_agents(
        &self,
        group: &Name,
        members: &[Member],
        fingerprint: &str,
    ) -> impl Future<Output = Answer<()>> + Send;

    /// A group is no more: forgets its agents, and what was measured of it.
    fn forget_group(&self, group: &Name) -> impl Future<Output = Answer<()>> + Send;

    /// All agents, of all groups or of one, by group and name.
    fn agents(&self, group: Option<&Name>) -> impl Future<Output = Answer<Vec<Agent>>> + Send;

    /// One agent.
    fn agent(&self, key: &AgentKey) -> impl Future<Output = Answer<Option<Agent>>> + Send;

    /// Notes what was heard of agents outside of any rollout; those that are not enrolled are passed over.
    fn hear(&self, heard: &[Heard], at: Timestamp) -> impl Future<Output = Answer<()>> + Send;

    /// Notes the loss that was measured on the way to a security group's agents, in place of an earlier one.
    fn note_loss(&self, group: &Name, loss: Loss) -> impl Future<Output = Answer<()>> + Send;

    /// The loss that was measured last, by security group.
    fn losses(&self) -> impl Future<Output = Answer<BTreeMap<Name, Loss>>> + Send;

    /// Begins a rollout. One of the same name that has ended gives way; its events stay, and orders that
    /// nobody has carried out are refused: they were not meant for this one.
    ///
    /// # Errors
    /// [`StoreError::Conflict`]: another rollout that has not ended has one of the agents.
    /// [`StoreError::Begun`]: this one has not ended.
    fn begin_rollout(&self, rollout: NewRollout<'_>) -> impl Future<Output = Answer<()>> + Send;

    /// Stores a step of a rollout, and settles the orders that led to it.
    ///
    /// # Errors
    /// [`StoreError::NoRollout`].
    fn save(&self, step: Step<'_>) -> impl Future<Output = Answer<()>> + Send;

    /// All rollouts that ever began, by name.
    fn rollouts(&self) -> impl Future<Output = Answer<Vec<RolloutLine>>> + Send;

    /// One rollout.
    fn rollout(&self, name: &Name) -> impl Future<Output = Answer<Option<Rollout>>> + Send;

    /// The agents of a rollout, by group and name.
    fn rollout_agents(
        &self,
        name: &Name,
    ) -> impl Future<Output = Answer<Vec<(AgentKey, AgentRecord)>>> + Send;

    /// Gives an order; its number.
    ///
    /// # Errors
    /// [`StoreError::NoRollout`].
    fn give_order(&self, order: NewOrder<'_>) -> impl Future<Output = Answer<i64>> + Send;

    /// The orders to a rollout that nobody has carried out yet, in the order in which they were given.
    fn open_orders(&self, rollout: &Name) -> impl Future<Output = Answer<Vec<GivenOrder>>> + Send;

    /// One order, to see what came of it.
    fn order(&self, id: i64) -> impl Future<Output = Answer<Option<GivenOrder>>> + Send;

    /// An order was carried out or refused without a step. Said twice, the first time counts.
    fn settle_order(&self, settled: &Settled, at: Timestamp) -> impl Future<Output = Answer<()>> + Send;

    /// Events by ascending number.
    fn events(&self, query: &EventQuery) -> impl Future<Output = Answer<Vec<Event>>> + Send;

    /// What has changed since: cheap enough to ask a few times a second.
    fn revision(&self) -> impl Future<Output = Answer<Revision>> + Send;

    /// Which database this is, and how often it was opened to send.
    fn epoch(&self) -> impl Future<Output = Answer<Epoch>> + Send;

    /// Writes how often it was opened to send.
    fn set_epoch(&self, number: u64) -> impl Future<Output = Answer<()>> + Send;
}
