//! Rollouts and their agents.

use std::collections::BTreeMap;

use provisioning::Name;
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use super::super::{Answer, StoreError};
use super::rows::{Columns, json, word};
use super::{SqliteStore, events, orders};
use crate::Rollouts;
use crate::records::{NewRollout, Rollout, RolloutLine, Step};
use rollout_engine::plan::{AgentKey, Plan, PlannedImage};
use rollout_engine::record::{AgentRecord, Progress};

impl Rollouts for SqliteStore {
    async fn begin_rollout(&self, rollout: NewRollout<'_>) -> Answer<()> {
        begin(self, rollout).await
    }

    async fn save(&self, step: Step<'_>) -> Answer<()> {
        save(self, step).await
    }

    async fn rollouts(&self) -> Answer<Vec<RolloutLine>> {
        all(self).await
    }

    async fn rollout(&self, name: &Name) -> Answer<Option<Rollout>> {
        one(self, name).await
    }

    async fn images_by_group(&self) -> Answer<Vec<(Name, PlannedImage)>> {
        images_by_group(self).await
    }

    async fn rollout_agents(&self, name: &Name) -> Answer<Vec<(AgentKey, AgentRecord)>> {
        agents(self, name).await
    }
}

const WHAT: &str = "a rollout";

pub(super) type Open = Transaction<'static, Sqlite>;

pub(super) async fn begin(store: &SqliteStore, rollout: NewRollout<'_>) -> Answer<()> {
    let mut transaction = store.begin().await?;
    if has_ended(store, &mut transaction, rollout.name).await? == Some(false) {
        return Err(StoreError::Begun(rollout.name.clone()));
    }
    let keys: Vec<&AgentKey> = rollout.agents.iter().map(|(key, _)| key).collect();
    let keys = json(store, WHAT, &keys)?;
    refuse_conflict(store, &mut transaction, rollout.name, &keys).await?;
    sqlx::query("DELETE FROM rollouts WHERE name = ?1")
        .bind(rollout.name.as_str())
        .execute(&mut *transaction)
        .await
        .map_err(|error| store.error(error))?;
    sqlx::query(
        "INSERT INTO rollouts (name, generation, plan, state, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
    )
    .bind(rollout.name.as_str())
    .bind(rollout.generation)
    .bind(json(store, WHAT, rollout.plan)?)
    .bind(rollout.state)
    .bind(rollout.at.to_string())
    .execute(&mut *transaction)
    .await
    .map_err(|error| store.error(error))?;
    for (key, record) in rollout.agents {
        write_agent(store, &mut transaction, rollout.name, key, record).await?;
    }
    claim_agents(store, &mut transaction, rollout.name, &keys).await?;
    orders::refuse_open(store, &mut transaction, rollout.name, rollout.at).await?;
    events::append(store, &mut transaction, rollout.facts).await?;
    store.commit(transaction).await
}

pub(super) async fn save(store: &SqliteStore, step: Step<'_>) -> Answer<()> {
    let mut transaction = store.begin().await?;
    let had_ended = has_ended(store, &mut transaction, step.rollout).await?;
    let had_ended = had_ended.ok_or_else(|| StoreError::NoRollout(step.rollout.clone()))?;
    sqlx::query("UPDATE rollouts SET state = ?2, outcome = ?3, updated_at = ?4 WHERE name = ?1")
        .bind(step.rollout.as_str())
        .bind(step.state)
        .bind(step.outcome.as_ref().map(word))
        .bind(step.at.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(|error| store.error(error))?;
    for (key, record) in step.agents {
        write_agent(store, &mut transaction, step.rollout, key, record).await?;
        note_agent(store, &mut transaction, key, record).await?;
    }
    match step.outcome {
        Some(_) if !had_ended => free_agents(store, &mut transaction, step.rollout).await?,
        // It continues after its end, as after an operator's `retry`.
        None if had_ended => {
            let keys = keys_of(store, &mut transaction, step.rollout).await?;
            refuse_conflict(store, &mut transaction, step.rollout, &keys).await?;
            claim_agents(store, &mut transaction, step.rollout, &keys).await?;
        }
        None if !step.agents.is_empty() => {
            // Agents that have joined since.
            let keys: Vec<&AgentKey> = step.agents.iter().map(|(key, _)| key).collect();
            let keys = json(store, WHAT, &keys)?;
            claim_agents(store, &mut transaction, step.rollout, &keys).await?;
        }
        _ => {}
    }
    events::append(store, &mut transaction, step.facts).await?;
    for settled in step.settled {
        orders::settle(store, &mut transaction, settled, step.at).await?;
    }
    store.commit(transaction).await
}

pub(super) async fn all(store: &SqliteStore) -> Answer<Vec<RolloutLine>> {
    let rows = sqlx::query(
        "SELECT r.name, r.generation, r.outcome, r.created_at, r.updated_at, a.progress, count(a.name) \
         FROM rollouts r LEFT JOIN rollout_agents a ON a.rollout = r.name \
         GROUP BY r.name, a.progress ORDER BY r.name",
    )
    .fetch_all(&store.pool)
    .await
    .map_err(|error| store.error(error))?;
    let mut lines: Vec<RolloutLine> = Vec::new();
    for row in &rows {
        let mut columns = Columns::new(store, row, WHAT);
        let line = read_line(&mut columns)?;
        if lines.last().is_none_or(|last| last.name != line.name) {
            lines.push(line);
        }
        let counted: (Option<Progress>, u32) = (columns.word_some()?, columns.number()?);
        if let (Some(line), (Some(progress), count)) = (lines.last_mut(), counted) {
            line.agents.insert(progress, count);
        }
    }
    Ok(lines)
}

pub(super) async fn one(store: &SqliteStore, name: &Name) -> Answer<Option<Rollout>> {
    let row = sqlx::query(
        "SELECT name, generation, outcome, created_at, updated_at, plan, state FROM rollouts WHERE name = ?1",
    )
    .bind(name.as_str())
    .fetch_optional(&store.pool)
    .await
    .map_err(|error| store.error(error))?;
    let Some(row) = row else { return Ok(None) };
    let mut columns = Columns::new(store, &row, WHAT);
    let mut rollout =
        Rollout { line: read_line(&mut columns)?, plan: columns.json()?, state: columns.get()? };
    let rows =
        sqlx::query("SELECT progress, count(*) FROM rollout_agents WHERE rollout = ?1 GROUP BY progress")
            .bind(name.as_str())
            .fetch_all(&store.pool)
            .await
            .map_err(|error| store.error(error))?;
    for row in &rows {
        let mut columns = Columns::new(store, row, WHAT);
        rollout.line.agents.insert(columns.word()?, columns.number()?);
    }
    Ok(Some(rollout))
}

pub(super) async fn agents(store: &SqliteStore, name: &Name) -> Answer<Vec<(AgentKey, AgentRecord)>> {
    let rows = sqlx::query(
        "SELECT security_group, name, wave, progress, since, reason, remark, missing, installed, heard, \
         told, tries, retry_at FROM rollout_agents WHERE rollout = ?1 ORDER BY security_group, name",
    )
    .bind(name.as_str())
    .fetch_all(&store.pool)
    .await
    .map_err(|error| store.error(error))?;
    rows.iter().map(|row| read_agent(store, row)).collect()
}

pub(super) async fn images_by_group(store: &SqliteStore) -> Answer<Vec<(Name, PlannedImage)>> {
    // The whole plans name every agent.
    let rows = sqlx::query(
        "SELECT DISTINCT json_extract(lane.value, '$.security_group'), json_extract(plan, '$.image') \
         FROM rollouts, json_each(plan, '$.lanes') AS lane",
    )
    .fetch_all(&store.pool)
    .await
    .map_err(|error| store.error(error))?;
    let read = |row| {
        let mut columns = Columns::new(store, row, WHAT);
        Ok((columns.parse()?, columns.json()?))
    };
    rows.iter().map(read).collect()
}

/// The rollouts that have not ended, with their plans.
pub(super) async fn not_done(store: &SqliteStore, transaction: &mut Open) -> Answer<Vec<(Name, Plan)>> {
    let rows = sqlx::query("SELECT name, plan FROM rollouts WHERE outcome IS NULL ORDER BY name")
        .fetch_all(&mut **transaction)
        .await
        .map_err(|error| store.error(error))?;
    let read = |row| {
        let mut columns = Columns::new(store, row, WHAT);
        Ok((columns.parse()?, columns.json()?))
    };
    rows.iter().map(read).collect()
}

/// Whether a rollout has ended; `None` if there is none.
pub(super) async fn has_ended(
    store: &SqliteStore,
    transaction: &mut Open,
    name: &Name,
) -> Answer<Option<bool>> {
    sqlx::query_scalar("SELECT outcome IS NOT NULL FROM rollouts WHERE name = ?1")
        .bind(name.as_str())
        .fetch_optional(&mut **transaction)
        .await
        .map_err(|error| store.error(error))
}

/// `keys` is a JSON list of agents.
async fn refuse_conflict(store: &SqliteStore, transaction: &mut Open, name: &Name, keys: &str) -> Answer<()> {
    let row = sqlx::query(
        "SELECT r.name, count(*), min(a.security_group || '/' || a.name) \
         FROM rollouts r JOIN rollout_agents a ON a.rollout = r.name \
         WHERE r.outcome IS NULL AND r.name <> ?1 \
           AND a.security_group || '/' || a.name IN (SELECT value FROM json_each(?2)) \
         GROUP BY r.name ORDER BY r.name LIMIT 1",
    )
    .bind(name.as_str())
    .bind(keys)
    .fetch_optional(&mut **transaction)
    .await
    .map_err(|error| store.error(error))?;
    let Some(row) = row else { return Ok(()) };
    let mut columns = Columns::new(store, &row, WHAT);
    Err(StoreError::Conflict {
        rollout: columns.parse()?,
        agents: columns.number()?,
        first: columns.parse()?,
    })
}

async fn keys_of(store: &SqliteStore, transaction: &mut Open, name: &Name) -> Answer<String> {
    sqlx::query_scalar(
        "SELECT json_group_array(security_group || '/' || name) FROM rollout_agents WHERE rollout = ?1",
    )
    .bind(name.as_str())
    .fetch_one(&mut **transaction)
    .await
    .map_err(|error| store.error(error))
}

async fn claim_agents(store: &SqliteStore, transaction: &mut Open, name: &Name, keys: &str) -> Answer<()> {
    sqlx::query(
        "UPDATE agents SET rollout = ?1 \
         WHERE rollout IS NOT ?1 AND security_group || '/' || name IN (SELECT value FROM json_each(?2))",
    )
    .bind(name.as_str())
    .bind(keys)
    .execute(&mut **transaction)
    .await
    .map_err(|error| store.error(error))?;
    Ok(())
}

async fn free_agents(store: &SqliteStore, transaction: &mut Open, name: &Name) -> Answer<()> {
    sqlx::query("UPDATE agents SET rollout = NULL WHERE rollout = ?1")
        .bind(name.as_str())
        .execute(&mut **transaction)
        .await
        .map_err(|error| store.error(error))?;
    Ok(())
}

async fn write_agent(
    store: &SqliteStore,
    transaction: &mut Open,
    rollout: &Name,
    key: &AgentKey,
    record: &AgentRecord,
) -> Answer<()> {
    sqlx::query(
        "INSERT INTO rollout_agents (rollout, security_group, name, wave, progress, since, reason, \
         remark, missing, installed, heard, told, tries, retry_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
         ON CONFLICT (rollout, security_group, name) DO UPDATE SET wave = ?4, progress = ?5, since = ?6, \
         reason = ?7, remark = ?8, missing = ?9, installed = ?10, heard = ?11, told = ?12, tries = ?13, \
         retry_at = ?14",
    )
    .bind(rollout.as_str())
    .bind(key.group.as_str())
    .bind(key.name.as_str())
    .bind(record.wave)
    .bind(record.progress.name())
    .bind(record.since.to_string())
    .bind(record.reason)
    .bind(&record.remark)
    .bind(record.missing)
    .bind(record.installed.cast_signed())
    .bind(record.heard.map(|at| at.to_string()))
    .bind(record.told)
    .bind(record.tries)
    .bind(record.retry_at.map(|at| at.to_string()))
    .execute(&mut **transaction)
    .await
    .map_err(|error| store.error(error))?;
    Ok(())
}

/// What is known of the agent outside of any rollout.
async fn note_agent(
    store: &SqliteStore,
    transaction: &mut Open,
    key: &AgentKey,
    record: &AgentRecord,
) -> Answer<()> {
    sqlx::query(
        "UPDATE agents SET progress = ?3, installed = CASE ?4 WHEN 0 THEN installed ELSE ?4 END, \
         heard = coalesce(?5, heard) WHERE security_group = ?1 AND name = ?2",
    )
    .bind(key.group.as_str())
    .bind(key.name.as_str())
    .bind(record.progress.name())
    .bind(record.installed.cast_signed())
    .bind(record.heard.map(|at| at.to_string()))
    .execute(&mut **transaction)
    .await
    .map_err(|error| store.error(error))?;
    Ok(())
}

fn read_line(columns: &mut Columns<'_>) -> Answer<RolloutLine> {
    Ok(RolloutLine {
        name: columns.parse()?,
        generation: columns.number()?,
        outcome: columns.word_some()?,
        created_at: columns.parse()?,
        updated_at: columns.parse()?,
        agents: BTreeMap::new(),
    })
}

fn read_agent(store: &SqliteStore, row: &SqliteRow) -> Answer<(AgentKey, AgentRecord)> {
    let mut columns = Columns::new(store, row, "an agent of a rollout");
    let key = AgentKey { group: columns.parse()?, name: columns.parse()? };
    let record = AgentRecord {
        wave: columns.number()?,
        progress: columns.word()?,
        since: columns.parse()?,
        reason: columns.number()?,
        remark: columns.get()?,
        missing: columns.number()?,
        installed: columns.bits()?,
        heard: columns.moment()?,
        told: columns.get()?,
        tries: columns.number()?,
        retry_at: columns.moment()?,
    };
    Ok((key, record))
}
