//! Agents: a copy of who is enrolled, with what each last reported.

use std::collections::BTreeMap;

use jiff::Timestamp;
use provisioning::Name;
use sqlx::sqlite::SqliteRow;

use super::super::Answer;
use super::rows::{Columns, json};
use super::{SqliteStore, losses};
use crate::Agents;
use crate::records::{Agent, Heard, Loss, Member};
use fwcast_state::Words;
use rollout_engine::plan::AgentKey;

impl Agents for SqliteStore {
    async fn fingerprints(&self) -> Answer<BTreeMap<Name, String>> {
        fingerprints(self).await
    }

    async fn sync_agents(&self, group: &Name, members: &[Member], fingerprint: &str) -> Answer<()> {
        sync(self, group, members, fingerprint).await
    }

    async fn forget_group(&self, group: &Name) -> Answer<()> {
        forget(self, group).await
    }

    async fn agents(&self, group: Option<&Name>) -> Answer<Vec<Agent>> {
        all(self, group).await
    }

    async fn agent(&self, key: &AgentKey) -> Answer<Option<Agent>> {
        one(self, key).await
    }

    async fn hear(&self, heard: &[Heard], at: Timestamp) -> Answer<()> {
        hear(self, heard, at).await
    }

    async fn note_loss(&self, group: &Name, loss: Loss) -> Answer<()> {
        losses::note(self, group, loss).await
    }

    async fn losses(&self) -> Answer<BTreeMap<Name, Loss>> {
        losses::all(self).await
    }
}

const WHAT: &str = "an agent";

pub(super) async fn fingerprints(store: &SqliteStore) -> Answer<BTreeMap<Name, String>> {
    let rows = sqlx::query("SELECT security_group, fingerprint FROM mirrors")
        .fetch_all(&store.pool)
        .await
        .map_err(|error| store.error(error))?;
    let read = |row| {
        let mut columns = Columns::new(store, row, "a group");
        Ok((columns.parse()?, columns.get()?))
    };
    rows.iter().map(read).collect()
}

pub(super) async fn sync(
    store: &SqliteStore,
    group: &Name,
    members: &[Member],
    fingerprint: &str,
) -> Answer<()> {
    let mut transaction = store.begin().await?;
    for member in members {
        sqlx::query(
            "INSERT INTO agents (security_group, name, sender_id, vendor, class, labels, enrolled_at, \
             vendor_word, class_word) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
             ON CONFLICT (security_group, name) DO UPDATE \
             SET sender_id = ?3, vendor = ?4, class = ?5, labels = ?6, enrolled_at = ?7, vendor_word = ?8, \
             class_word = ?9",
        )
        .bind(group.as_str())
        .bind(member.name.as_str())
        .bind(member.sender_id.as_ref().map(ToString::to_string))
        .bind(member.vendor.to_string())
        .bind(member.class.to_string())
        .bind(json(store, WHAT, &member.labels)?)
        .bind(member.enrolled_at.map(|at| at.to_string()))
        .bind(&member.words.vendor)
        .bind(&member.words.class)
        .execute(&mut *transaction)
        .await
        .map_err(|error| store.error(error))?;
    }
    let names: Vec<&Name> = members.iter().map(|member| &member.name).collect();
    sqlx::query(
        "DELETE FROM agents WHERE security_group = ?1 AND name NOT IN (SELECT value FROM json_each(?2))",
    )
    .bind(group.as_str())
    .bind(json(store, WHAT, &names)?)
    .execute(&mut *transaction)
    .await
    .map_err(|error| store.error(error))?;
    sqlx::query(
        "INSERT INTO mirrors (security_group, fingerprint) VALUES (?1, ?2) \
         ON CONFLICT (security_group) DO UPDATE SET fingerprint = ?2",
    )
    .bind(group.as_str())
    .bind(fingerprint)
    .execute(&mut *transaction)
    .await
    .map_err(|error| store.error(error))?;
    store.commit(transaction).await
}

pub(super) async fn forget(store: &SqliteStore, group: &Name) -> Answer<()> {
    let mut transaction = store.begin().await?;
    for sql in [
        "DELETE FROM agents WHERE security_group = ?1",
        "DELETE FROM mirrors WHERE security_group = ?1",
        "DELETE FROM losses WHERE security_group = ?1",
    ] {
        sqlx::query(sql)
            .bind(group.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(|error| store.error(error))?;
    }
    store.commit(transaction).await
}

pub(super) async fn hear(store: &SqliteStore, heard: &[Heard], at: Timestamp) -> Answer<()> {
    let mut transaction = store.begin().await?;
    for Heard { key, installed } in heard {
        sqlx::query(
            "UPDATE agents SET installed = CASE ?3 WHEN 0 THEN installed ELSE ?3 END, heard = ?4 \
             WHERE security_group = ?1 AND name = ?2",
        )
        .bind(key.group.as_str())
        .bind(key.name.as_str())
        .bind(installed.cast_signed())
        .bind(at.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(|error| store.error(error))?;
    }
    store.commit(transaction).await
}

pub(super) async fn all(store: &SqliteStore, group: Option<&Name>) -> Answer<Vec<Agent>> {
    let rows = sqlx::query(
        "SELECT security_group, name, sender_id, vendor, class, vendor_word, class_word, labels, \
         enrolled_at, progress, installed, heard, rollout FROM agents \
         WHERE ?1 IS NULL OR security_group = ?1 ORDER BY security_group, name",
    )
    .bind(group.map(Name::as_str))
    .fetch_all(&store.pool)
    .await
    .map_err(|error| store.error(error))?;
    rows.iter().map(|row| read(store, row)).collect()
}

pub(super) async fn one(store: &SqliteStore, key: &AgentKey) -> Answer<Option<Agent>> {
    let row = sqlx::query(
        "SELECT security_group, name, sender_id, vendor, class, vendor_word, class_word, labels, \
         enrolled_at, progress, installed, heard, rollout FROM agents \
         WHERE security_group = ?1 AND name = ?2",
    )
    .bind(key.group.as_str())
    .bind(key.name.as_str())
    .fetch_optional(&store.pool)
    .await
    .map_err(|error| store.error(error))?;
    row.map(|row| read(store, &row)).transpose()
}

fn read(store: &SqliteStore, row: &SqliteRow) -> Answer<Agent> {
    let mut columns = Columns::new(store, row, WHAT);
    Ok(Agent {
        key: AgentKey { group: columns.parse()?, name: columns.parse()? },
        sender_id: columns.word_some()?,
        vendor: columns.parse()?,
        class: columns.parse()?,
        words: Words { vendor: columns.get()?, class: columns.get()? },
        labels: columns.json()?,
        enrolled_at: columns.moment()?,
        progress: columns.word_some()?,
        installed: columns.bits()?,
        heard: columns.moment()?,
        rollout: columns.parse_some()?,
    })
}
