//! Events, for the history.

use provisioning::Name;
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use super::super::{Answer, EVENTS_MAX};
use super::SqliteStore;
use super::rows::Columns;
use crate::Events;
use crate::records::{Event, EventQuery, Revision};
use rollout_engine::record::Fact;

impl Events for SqliteStore {
    async fn events(&self, query: &EventQuery) -> Answer<Vec<Event>> {
        some(self, query).await
    }

    async fn note(&self, facts: &[Fact]) -> Answer<()> {
        let mut transaction = self.begin().await?;
        append(self, &mut transaction, facts).await?;
        self.commit(transaction).await
    }

    async fn revision(&self) -> Answer<Revision> {
        let row: (i64, i64) = sqlx::query_as("SELECT data_version, total_changes() FROM pragma_data_version")
            .fetch_one(&self.pool)
            .await
            .map_err(|error| self.error(error))?;
        Ok(Revision::new([row.0, row.1]))
    }
}

/// Appends facts, and deletes the oldest events.
pub(super) async fn append(
    store: &SqliteStore,
    transaction: &mut Transaction<'static, Sqlite>,
    facts: &[Fact],
) -> Answer<()> {
    for fact in facts {
        sqlx::query("INSERT INTO events (at, rollout, agent, kind, text) VALUES (?1, ?2, ?3, ?4, ?5)")
            .bind(fact.at.to_string())
            .bind(fact.rollout.as_ref().map(Name::as_str))
            .bind(fact.agent.as_ref().map(ToString::to_string))
            .bind(&fact.kind)
            .bind(&fact.text)
            .execute(&mut **transaction)
            .await
            .map_err(|error| store.error(error))?;
    }
    if !facts.is_empty() {
        sqlx::query("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?1")
            .bind(EVENTS_MAX)
            .execute(&mut **transaction)
            .await
            .map_err(|error| store.error(error))?;
    }
    Ok(())
}

pub(super) async fn some(store: &SqliteStore, query: &EventQuery) -> Answer<Vec<Event>> {
    // Even the newest ones are returned oldest first.
    let sql = match query.after {
        Some(_) => {
            "SELECT id, at, rollout, agent, kind, text FROM events \
             WHERE id > ?1 AND (?2 IS NULL OR rollout = ?2) AND (?3 IS NULL OR agent = ?3) ORDER BY id \
             LIMIT ?4"
        }
        None => {
            "SELECT id, at, rollout, agent, kind, text FROM events \
             WHERE ?1 IS NULL AND (?2 IS NULL OR rollout = ?2) AND (?3 IS NULL OR agent = ?3) \
             ORDER BY id DESC LIMIT ?4"
        }
    };
    let rows = sqlx::query(sql)
        .bind(query.after)
        .bind(query.rollout.as_ref().map(Name::as_str))
        .bind(query.agent.as_ref().map(ToString::to_string))
        .bind(query.limit)
        .fetch_all(&store.pool)
        .await
        .map_err(|error| store.error(error))?;
    let mut events = rows.iter().map(|row| read(store, row)).collect::<Answer<Vec<_>>>()?;
    if query.after.is_none() {
        events.reverse();
    }
    Ok(events)
}

fn read(store: &SqliteStore, row: &SqliteRow) -> Answer<Event> {
    let mut columns = Columns::new(store, row, "an event");
    Ok(Event {
        id: columns.get()?,
        fact: Fact {
            at: columns.parse()?,
            rollout: columns.parse_some()?,
            agent: columns.parse_some()?,
            kind: columns.get()?,
            text: columns.get()?,
        },
    })
}
