//! Orders that operators give to rollouts.

use jiff::Timestamp;
use provisioning::Name;
use sqlx::sqlite::SqliteRow;

use super::super::{Answer, StoreError};
use super::rows::{Columns, word};
use super::{SqliteStore, rollouts};
use crate::Orders;
use crate::records::{GivenOrder, NewOrder};
use rollout_engine::record::{OrderOutcome, Settled};

impl Orders for SqliteStore {
    async fn give_order(&self, order: NewOrder<'_>) -> Answer<i64> {
        give(self, order).await
    }

    async fn open_orders(&self, rollout: &Name) -> Answer<Vec<GivenOrder>> {
        open(self, rollout).await
    }

    async fn order(&self, id: i64) -> Answer<Option<GivenOrder>> {
        one(self, id).await
    }

    async fn settle_order(&self, settled: &Settled, at: Timestamp) -> Answer<()> {
        settle_alone(self, settled, at).await
    }
}

pub(super) async fn give(store: &SqliteStore, order: NewOrder<'_>) -> Answer<i64> {
    let mut transaction = store.begin().await?;
    // The engine decides whether the order makes sense now, even after the end.
    if rollouts::has_ended(store, &mut transaction, order.rollout).await?.is_none() {
        return Err(StoreError::NoRollout(order.rollout.clone()));
    }
    let done = sqlx::query(
        "INSERT INTO orders (rollout, command, reason, given_by, given_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(order.rollout.as_str())
    .bind(word(&order.order))
    .bind(order.reason)
    .bind(order.by)
    .bind(order.at.to_string())
    .execute(&mut *transaction)
    .await
    .map_err(|error| store.error(error))?;
    store.commit(transaction).await?;
    Ok(done.last_insert_rowid())
}

pub(super) async fn open(store: &SqliteStore, rollout: &Name) -> Answer<Vec<GivenOrder>> {
    let rows = sqlx::query(
        "SELECT id, rollout, command, reason, given_by, given_at, outcome, refused, settled_at FROM orders \
         WHERE rollout = ?1 AND outcome IS NULL ORDER BY id",
    )
    .bind(rollout.as_str())
    .fetch_all(&store.pool)
    .await
    .map_err(|error| store.error(error))?;
    rows.iter().map(|row| read(store, row)).collect()
}

pub(super) async fn one(store: &SqliteStore, id: i64) -> Answer<Option<GivenOrder>> {
    let row = sqlx::query(
        "SELECT id, rollout, command, reason, given_by, given_at, outcome, refused, settled_at FROM orders \
         WHERE id = ?1",
    )
    .bind(id)
    .fetch_optional(&store.pool)
    .await
    .map_err(|error| store.error(error))?;
    row.map(|row| read(store, &row)).transpose()
}

/// The rollout that these orders were meant for has ended.
pub(super) async fn refuse_open(
    store: &SqliteStore,
    transaction: &mut rollouts::Open,
    rollout: &Name,
    at: Timestamp,
) -> Answer<()> {
    sqlx::query(
        "UPDATE orders SET outcome = ?2, refused = 1, settled_at = ?3 WHERE rollout = ?1 AND outcome IS NULL",
    )
    .bind(rollout.as_str())
    .bind("the rollout ended, and another one with its name began")
    .bind(at.to_string())
    .execute(&mut **transaction)
    .await
    .map_err(|error| store.error(error))?;
    Ok(())
}

/// This is part of the step that the order led to.
pub(super) async fn settle(
    store: &SqliteStore,
    transaction: &mut rollouts::Open,
    settled: &Settled,
    at: Timestamp,
) -> Answer<()> {
    let (refused, said) = match &settled.outcome {
        OrderOutcome::Done(said) => (false, said),
        OrderOutcome::Refused(why) => (true, why),
    };
    sqlx::query(
        "UPDATE orders SET outcome = ?2, refused = ?3, settled_at = ?4 WHERE id = ?1 AND outcome IS NULL",
    )
    .bind(settled.id)
    .bind(said)
    .bind(refused)
    .bind(at.to_string())
    .execute(&mut **transaction)
    .await
    .map_err(|error| store.error(error))?;
    Ok(())
}

pub(super) async fn settle_alone(store: &SqliteStore, settled: &Settled, at: Timestamp) -> Answer<()> {
    let mut transaction = store.begin().await?;
    settle(store, &mut transaction, settled, at).await?;
    store.commit(transaction).await
}

fn read(store: &SqliteStore, row: &SqliteRow) -> Answer<GivenOrder> {
    let mut columns = Columns::new(store, row, "an order");
    Ok(GivenOrder {
        id: columns.get()?,
        rollout: columns.parse()?,
        order: columns.word()?,
        reason: columns.get()?,
        by: columns.get()?,
        at: columns.parse()?,
        outcome: read_outcome(&mut columns)?,
        settled_at: columns.moment()?,
    })
}

fn read_outcome(columns: &mut Columns<'_>) -> Answer<Option<OrderOutcome>> {
    let said: Option<String> = columns.get()?;
    let refused: bool = columns.get()?;
    Ok(said.map(|said| if refused { OrderOutcome::Refused(said) } else { OrderOutcome::Done(said) }))
}
