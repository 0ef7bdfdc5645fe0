//! Operators' orders, and what came of them.

use jiff::Timestamp;
use provisioning::Name;
use rollout_engine::record::Settled;

use super::{Answer, GivenOrder, NewOrder};

/// Operators' orders, and what came of them.
///
/// See [`Store`](super::Store).
pub trait Orders: Send + Sync {
    /// Gives an order; returns its number.
    ///
    /// # Errors
    /// [`StoreError::NoRollout`](super::StoreError::NoRollout).
    fn give_order(&self, order: NewOrder<'_>) -> impl Future<Output = Answer<i64>> + Send;

    /// A rollout's open orders, in the order in which they were given.
    fn open_orders(&self, rollout: &Name) -> impl Future<Output = Answer<Vec<GivenOrder>>> + Send;

    /// One order, for its outcome.
    fn order(&self, id: i64) -> impl Future<Output = Answer<Option<GivenOrder>>> + Send;

    /// Settles an order that was carried out or refused without a step. A second call changes nothing.
    fn settle_order(&self, settled: &Settled, at: Timestamp) -> impl Future<Output = Answer<()>> + Send;
}
