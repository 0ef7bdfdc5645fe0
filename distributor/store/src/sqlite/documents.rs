//! Documents that operators apply.

use jiff::Timestamp;
use provisioning::{Hex, Name};
use sqlx::sqlite::SqliteRow;
use update_core::digest::Digest;

use super::super::{Answer, StoreError};
use super::rows::{Columns, json};
use super::{SqliteStore, events, rollouts};
use crate::Documents;
use crate::kind::Kind;
use crate::records::{Applied, Document, NewDocument};
use rollout_engine::record::Fact;

impl Documents for SqliteStore {
    async fn apply(&self, documents: &[NewDocument], by: &str, at: Timestamp) -> Answer<Vec<Applied>> {
        apply(self, documents, by, at).await
    }

    async fn documents(&self, kind: Kind) -> Answer<Vec<Document>> {
        all(self, kind).await
    }

    async fn document(&self, kind: Kind, name: &Name) -> Answer<Option<Document>> {
        one(self, kind, name).await
    }

    async fn delete(&self, kind: Kind, name: &Name, by: &str, at: Timestamp) -> Answer<bool> {
        delete(self, kind, name, by, at).await
    }
}

const WHAT: &str = "a document";

pub(super) async fn apply(
    store: &SqliteStore,
    documents: &[NewDocument],
    by: &str,
    at: Timestamp,
) -> Answer<Vec<Applied>> {
    let mut transaction = store.begin().await?;
    let mut done = Vec::with_capacity(documents.len());
    let mut facts = Vec::new();
    for document in documents {
        let (kind, name) = (document.kind.name(), document.name.as_str());
        let spec = json(store, WHAT, &document.spec)?;
        let labels = json(store, WHAT, &document.labels)?;
        let digest = hex::encode(Digest::of(format!("{labels}\n{spec}").as_bytes()).0);
        let there: Option<String> =
            sqlx::query_scalar("SELECT digest FROM documents WHERE kind = ?1 AND name = ?2")
                .bind(kind)
                .bind(name)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(|error| store.error(error))?;
        let applied = match there {
            Some(there) if there == digest => Applied::Unchanged,
            Some(_) => Applied::Changed,
            None => Applied::Created,
        };
        done.push(applied);
        match applied {
            Applied::Unchanged => continue,
            Applied::Changed => refuse_begun(store, &mut transaction, document).await?,
            Applied::Created => {}
        }
        facts.push(fact(document.kind, &document.name, &applied.to_string(), by, at));
        sqlx::query(
            "INSERT INTO documents (kind, name, labels, spec, digest, generation, applied_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6) \
             ON CONFLICT (kind, name) DO UPDATE \
             SET labels = ?3, spec = ?4, digest = ?5, generation = generation + 1, applied_at = ?6",
        )
        .bind(kind)
        .bind(name)
        .bind(labels)
        .bind(spec)
        .bind(digest)
        .bind(at.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(|error| store.error(error))?;
    }
    events::append(store, &mut transaction, &facts).await?;
    store.commit(transaction).await?;
    Ok(done)
}

/// What was done to a document, for the history.
fn fact(kind: Kind, name: &Name, done: &str, by: &str, at: Timestamp) -> Fact {
    Fact {
        at,
        rollout: (kind == Kind::Rollout).then(|| name.clone()),
        agent: None,
        kind: format!("document-{done}"),
        text: format!("{} '{name}' {done}, by {by}", kind.noun()),
    }
}

/// A running rollout was planned from its document and its image, so neither may change until it ends.
async fn refuse_begun(
    store: &SqliteStore,
    transaction: &mut rollouts::Open,
    document: &NewDocument,
) -> Answer<()> {
    let (kind, name) = (document.kind, &document.name);
    if kind == Kind::RolloutGroup {
        return Ok(());
    }
    for (rollout, plan) in rollouts::not_done(store, transaction).await? {
        if rollout == *name && kind == Kind::Rollout || plan.image.name == *name && kind == Kind::Image {
            return Err(StoreError::BegunWith { kind, name: name.clone(), rollout });
        }
    }
    Ok(())
}

pub(super) async fn all(store: &SqliteStore, kind: Kind) -> Answer<Vec<Document>> {
    let rows = sqlx::query(
        "SELECT name, generation, applied_at, digest, labels, spec FROM documents \
         WHERE kind = ?1 ORDER BY name",
    )
    .bind(kind.name())
    .fetch_all(&store.pool)
    .await
    .map_err(|error| store.error(error))?;
    rows.iter().map(|row| read(store, kind, row)).collect()
}

pub(super) async fn one(store: &SqliteStore, kind: Kind, name: &Name) -> Answer<Option<Document>> {
    let row = sqlx::query(
        "SELECT name, generation, applied_at, digest, labels, spec FROM documents \
         WHERE kind = ?1 AND name = ?2",
    )
    .bind(kind.name())
    .bind(name.as_str())
    .fetch_optional(&store.pool)
    .await
    .map_err(|error| store.error(error))?;
    row.map(|row| read(store, kind, &row)).transpose()
}

pub(super) async fn delete(
    store: &SqliteStore,
    kind: Kind,
    name: &Name,
    by: &str,
    at: Timestamp,
) -> Answer<bool> {
    let mut transaction = store.begin().await?;
    for (rollout, plan) in rollouts::not_done(store, &mut transaction).await? {
        let uses = match kind {
            Kind::Rollout => rollout == *name,
            Kind::Image => plan.image.name == *name,
            Kind::RolloutGroup => plan.lanes.iter().any(|lane| lane.name == *name),
        };
        if uses {
            return Err(StoreError::InUse { kind, name: name.clone(), rollout });
        }
    }
    let mut gone = sqlx::query("DELETE FROM documents WHERE kind = ?1 AND name = ?2")
        .bind(kind.name())
        .bind(name.as_str())
        .execute(&mut *transaction)
        .await
        .map_err(|error| store.error(error))?
        .rows_affected();
    if kind == Kind::Rollout {
        gone += sqlx::query("DELETE FROM rollouts WHERE name = ?1")
            .bind(name.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(|error| store.error(error))?
            .rows_affected();
    }
    if gone > 0 {
        events::append(store, &mut transaction, &[fact(kind, name, "deleted", by, at)]).await?;
    }
    store.commit(transaction).await?;
    Ok(gone > 0)
}

fn read(store: &SqliteStore, kind: Kind, row: &SqliteRow) -> Answer<Document> {
    let mut columns = Columns::new(store, row, WHAT);
    Ok(Document {
        kind,
        name: columns.parse()?,
        generation: columns.number()?,
        applied_at: columns.parse()?,
        digest: columns.word::<Hex>()?,
        labels: columns.json()?,
        spec: columns.json()?,
    })
}
