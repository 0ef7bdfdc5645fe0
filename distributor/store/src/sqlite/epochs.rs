//! Which database this is, and how often it was opened to send.

use super::super::Answer;
use super::SqliteStore;
use crate::Epochs;
use crate::records::Epoch;

impl Epochs for SqliteStore {
    async fn epoch(&self) -> Answer<Epoch> {
        let row: (i64, i64) = sqlx::query_as(
            "SELECT id.value, epoch.value FROM meta id, meta epoch \
             WHERE id.key = 'id' AND epoch.key = 'epoch'",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(|error| self.error(error))?;
        Ok(Epoch { database: row.0.cast_unsigned(), number: row.1.cast_unsigned() })
    }

    async fn set_epoch(&self, number: u64) -> Answer<()> {
        sqlx::query("UPDATE meta SET value = ?1 WHERE key = 'epoch'")
            .bind(number.cast_signed())
            .execute(&self.pool)
            .await
            .map_err(|error| self.error(error))?;
        Ok(())
    }
}
