//! The packet loss measured on the way to each security group.

use std::collections::BTreeMap;

use provisioning::Name;

use super::super::Answer;
use super::SqliteStore;
use super::rows::Columns;
use crate::records::Loss;

pub(super) async fn note(store: &SqliteStore, group: &Name, loss: Loss) -> Answer<()> {
    sqlx::query(
        "INSERT INTO losses (security_group, awaited, missed, measured_at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (security_group) DO UPDATE SET awaited = ?2, missed = ?3, measured_at = ?4",
    )
    .bind(group.as_str())
    .bind(loss.awaited.cast_signed())
    .bind(loss.missed.cast_signed())
    .bind(loss.at.to_string())
    .execute(&store.pool)
    .await
    .map_err(|error| store.error(error))?;
    Ok(())
}

pub(super) async fn all(store: &SqliteStore) -> Answer<BTreeMap<Name, Loss>> {
    let rows = sqlx::query("SELECT security_group, awaited, missed, measured_at FROM losses")
        .fetch_all(&store.pool)
        .await
        .map_err(|error| store.error(error))?;
    let read = |row| {
        let mut columns = Columns::new(store, row, "a loss");
        let group = columns.parse()?;
        let (awaited, missed) = (columns.bits()?, columns.bits()?);
        Ok((group, Loss { awaited, missed, at: columns.parse()? }))
    };
    rows.iter().map(read).collect()
}
