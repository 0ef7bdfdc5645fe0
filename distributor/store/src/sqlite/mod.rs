//! The store in one SQLite file.

mod agents;
mod documents;
mod epochs;
mod events;
mod losses;
mod orders;
mod rollouts;
mod rows;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{AssertSqlSafe, SqlSafeStr, Sqlite, Transaction};

use super::{Answer, InFile, StoreError};
use fwcast_state::StateDir;
use fwcast_state::files::FileError;

/// The other files that are in the way of an empty database.
const COMPANIONS: &str = "the files of its name that end in -wal and -shm";
/// The database's name in the state folder.
const DATABASE: &str = "fwcast.db";
/// How long to wait for another program that writes.
pub const BUSY_MAX: Duration = Duration::from_secs(5);
/// The pause between two attempts to open a file that another process is just creating.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// How many rows the SQLite thread reads ahead.
const ROWS_AHEAD: usize = 1024;
/// The tables, step by step. A released step never changes.
const MIGRATIONS: [(i64, &str, &str); 5] = [
    (1, "first", include_str!("../../migrations/0001_first.sql")),
    (2, "losses", include_str!("../../migrations/0002_losses.sql")),
    (3, "refusals", include_str!("../../migrations/0003_refusals.sql")),
    (4, "words", include_str!("../../migrations/0004_words.sql")),
    (5, "remarks", include_str!("../../migrations/0005_remarks.sql")),
];

/// The store in one SQLite file, with its own connection.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    busy_max: Duration,
    pool: SqlitePool,
}

impl SqliteStore {
    /// Where the database of a state folder is.
    pub fn file(dir: &StateDir) -> PathBuf {
        dir.state().join(DATABASE)
    }

    /// Opens the database of a state folder, creates it if there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// The database is locked, newer, broken or unusable, or its disk is full.
    pub async fn open(dir: &StateDir) -> Answer<Self> {
        Self::open_file(&Self::file(dir), BUSY_MAX).await
    }

    /// As [`Self::open`], with any file name and a given time to wait for other programs.
    pub async fn open_file(path: &Path, busy_max: Duration) -> Answer<Self> {
        make_file(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(busy_max)
            .foreign_keys(true)
            .row_buffer_size(ROWS_AHEAD);
        // One connection: SQLite has one writer anyway, and `revision` must ask the same connection each
        // time.
        let pool = PoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(busy_max + BUSY_MAX)
            .connect_lazy_with(options);
        let store = Self { path: path.to_owned(), busy_max, pool };
        store.migrate().await?;
        Ok(store)
    }

    /// The journal mode, the synchronous level and whether foreign keys are checked, as SQLite reports them.
    ///
    /// # Errors
    /// As for any command.
    pub async fn durability(&self) -> Answer<(String, i64, i64)> {
        sqlx::query_as(
            "SELECT journal_mode, synchronous, foreign_keys \
             FROM pragma_journal_mode, pragma_synchronous, pragma_foreign_keys",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(|error| self.error(error))
    }

    /// Limits the file to this many pages, as if the disk were full then.
    ///
    /// # Errors
    /// As for any command.
    pub async fn limit_pages(&self, pages: u32) -> Answer<()> {
        let sql = AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        sqlx::query(sql).execute(&self.pool).await.map_err(|error| self.error(error))?;
        Ok(())
    }

    /// Waits for another process that creates the same file. While that process switches to the write-ahead
    /// log or creates the tables, SQLite refuses at once and ignores `busy_timeout`.
    async fn migrate(&self) -> Answer<()> {
        let start = Instant::now();
        loop {
            match self.migrate_now().await {
                Err(StoreError::Locked { .. }) if start.elapsed() < self.busy_max => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                ran => return ran,
            }
        }
    }

    async fn migrate_now(&self) -> Answer<()> {
        let migrations = MIGRATIONS.map(|(version, name, sql)| {
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
        });
        let migrator = Migrator::with_migrations(migrations.into());
        let mut ran = migrator.run(&self.pool).await;
        for _ in MIGRATIONS {
            // Another process may have taken the same step at the same moment. Then it is done now.
            if let Err(MigrateError::ExecuteMigration(..)) = ran {
                ran = migrator.run(&self.pool).await;
            }
        }
        ran.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => self.error(error),
            MigrateError::VersionMissing(_) => StoreError::Newer(self.path.clone()),
            other => self.broken(other.to_string()),
        })
    }

    /// A transaction that may write from its beginning.
    async fn begin(&self) -> Answer<Transaction<'static, Sqlite>> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.error(error))
    }

    async fn commit(&self, transaction: Transaction<'static, Sqlite>) -> Answer<()> {
        transaction.commit().await.map_err(|error| self.error(error))
    }

    /// What an SQLite error means to an operator.
    fn error(&self, error: sqlx::Error) -> StoreError {
        let path = self.path.clone();
        let code = match &error {
            sqlx::Error::Database(error) => error.code().and_then(|code| code.parse::<i32>().ok()),
            _ => None,
        };
        // The lowest byte is the primary result code (sqlite.org/rescode.html).
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => StoreError::Locked { path, seconds: self.busy_max.as_secs() },
            Some(11 | 26) => self.broken(text_of(&error)),
            Some(13) => StoreError::Full(path),
            _ => StoreError::Unusable { path, why: text_of(&error) },
        }
    }

    fn broken(&self, why: String) -> StoreError {
        StoreError::Broken { path: self.path.clone(), companions: COMPANIONS, why }
    }
}

/// SQLite's own message, without the prefix that sqlx adds.
fn text_of(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}

/// SQLite would create the file readable by everyone. Its log takes the mode of the file.
fn make_file(path: &Path) -> Answer<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(FileError::System { verb: "make", path: path.to_owned(), source }.into()),
    }
}

impl InFile for SqliteStore {
    const FILE: &'static str = DATABASE;
    const COMPANIONS: &'static [&'static str] = &["fwcast.db-wal", "fwcast.db-shm"];

    async fn open_path(path: &Path) -> Answer<Self> {
        Self::open_file(path, BUSY_MAX).await
    }

    /// The copy has no write-ahead log.
    async fn copy_to(&self, path: &Path) -> Answer<()> {
        let text = path.to_str().ok_or_else(|| StoreError::Unusable {
            path: path.to_owned(),
            why: "its name is not UTF-8".to_owned(),
        })?;
        sqlx::query("VACUUM INTO ?1").bind(text).execute(&self.pool).await.map_err(|it| self.error(it))?;
        Ok(())
    }

    async fn check(&self) -> Answer<()> {
        let found: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&self.pool)
            .await
            .map_err(|it| self.error(it))?;
        if found == "ok" { Ok(()) } else { Err(self.broken(found)) }
    }

    /// This merges the write-ahead log into the file.
    async fn close(self) {
        self.pool.close().await;
    }
}
