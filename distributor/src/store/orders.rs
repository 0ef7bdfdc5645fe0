//! What operators order, and what came of it.

use jiff::Timestamp;
use provisioning::Name;
use rollout_engine::record::Settled;

use super::{Answer, GivenOrder, NewOrder};

/// What operators order, and what came of it.
///
/// See [`Store`](super::Store).
pub trait Orders: Send + Sync {
    /// Gives an order; its number.
    ///
    /// # Errors
    /// [`StoreError::NoRollout`](super::StoreError::NoRollout).
    fn give_order(&self, order: NewOrder<'_>) -> impl Future<Output = Answer<i64>> + Send;

    /// The orders to a rollout that nobody has carried out yet, in the order in which they were given.
    fn open_orders(&self, rollout: &Name) -> impl Future<Output = Answer<Vec<GivenOrder>>> + Send;

    /// One order, to see what came of it.
    fn order(&self, id: i64) -> impl Future<Output = Answer<Option<GivenOrder>>> + Send;

    /// An order was carried out or refused without a step. Said twice, the first time counts.
    fn settle_order(&self, settled: &Settled, at: Timestamp) -> impl Future<Output = Answer<()>> + Send;
}
