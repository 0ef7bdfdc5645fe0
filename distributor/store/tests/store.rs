//! SQLite fulfils what every store must, and says in one sentence what is wrong with its file.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod store_suite;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use fwcast_store::Agents as _;
use fwcast_store::Events as _;
use fwcast_store::InFile as _;
use fwcast_store::Orders as _;
use fwcast_store::Rollouts as _;
use fwcast_store::{BUSY_MAX, EVENTS_MAX, EventQuery, SqliteStore, Step, StoreError};
use rollout_engine::record::OrderOutcome;
use store_suite::{Factory, at, begin, conformance, fact, name, step};
use tempfile::TempDir;

const BUSY: Duration = Duration::from_millis(300);

struct Files {
    folder: TempDir,
    made: u32,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), made: 0 }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(format!("{}.db", self.made))
    }
}

impl Factory for Files {
    type Store = SqliteStore;

    async fn empty(&mut self) -> SqliteStore {
        self.made += 1;
        self.again().await
    }

    async fn again(&mut self) -> SqliteStore {
        open(&self.path()).await.unwrap()
    }
}

async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open_file(path, BUSY).await
}

/// One sentence with all these words.
fn says(error: StoreError, words: &[&str]) {
    let sentence = error.to_string();
    for word in words {
        assert!(sentence.contains(word), "'{word}' in {sentence}");
    }
    assert!(!sentence.contains('\n'), "{sentence}");
}

/// Runs SQL from outside, as another program would.
async fn sql(path: &Path, statement: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
}

#[tokio::test]
async fn sqlite_fulfils_the_suite() {
    conformance(&mut Files::new()).await;
}

#[tokio::test]
async fn the_file_and_its_log_are_for_their_owner_only() {
    let mut files = Files::new();
    let store = files.empty().await;
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    let entries: Vec<_> =
        fs::read_dir(files.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(entries.len() >= 2, "{entries:?}");
    for path in entries {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn every_write_is_synced_to_disk() {
    let mut files = Files::new();
    let store = files.empty().await;
    let pragmas = store.durability().await.unwrap();
    assert_eq!(pragmas, ("wal".to_owned(), 2, 1));
}

#[tokio::test]
async fn a_lock_of_another_program_is_waited_for_and_then_named() {
    let mut files = Files::new();
    let store = files.empty().await;
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(files.path());
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    let spring = name("spring");
    says(store.save(step(&spring, "1")).await.unwrap_err(), &["locked", "fuser"]);
    // Reading goes on, and writing as soon as the other lets go.
    assert_eq!(store.rollout(&spring).await.unwrap().unwrap().state, "{}");
    let waiting = store.save(step(&spring, "2"));
    let letting_go = async {
        tokio::time::sleep(BUSY / 3).await;
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    };
    let (saved, ()) = tokio::join!(waiting, letting_go);
    saved.unwrap();
    assert_eq!(files.again().await.rollout(&spring).await.unwrap().unwrap().state, "2");
}

/// As the first `fwcast run` and who asks for its status meanwhile: each opens the file, reads, closes it.
#[test]
fn programs_that_make_the_file_at_the_same_moment_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..100 {
        let path = folder.path().join(format!("{round}.db"));
        let program = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let store = SqliteStore::open_file(&path, BUSY_MAX).await?;
                let agents = store.agents(None).await?;
                store.close().await;
                Ok(agents.len())
            })
        };
        let opened: Vec<Result<usize, StoreError>> = thread::scope(|scope| {
            let programs = [(); 4].map(|()| scope.spawn(program));
            programs.into_iter().map(|program| program.join().unwrap()).collect()
        });
        assert!(opened.iter().all(Result::is_ok), "round {round}: {opened:?}");
    }
}

#[tokio::test]
async fn an_older_file_is_brought_up_to_date_and_a_newer_one_left_alone() {
    let mut files = Files::new();
    files.empty().await.close().await;
    let path = files.path();
    sql(
        &path,
        "DROP TABLE events; DROP TABLE orders; DROP TABLE rollout_agents; DROP TABLE rollouts; \
        DROP TABLE agents; DROP TABLE mirrors; DROP TABLE documents; DROP TABLE meta; DROP TABLE \
        losses; DELETE FROM _sqlx_migrations",
    )
    .await;
    let store = open(&path).await.unwrap();
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    store.close().await;
    // As the version before the second step left it: what is in there stays.
    sql(
        &path,
        "DROP TABLE losses; ALTER TABLE orders DROP COLUMN refused; \
        ALTER TABLE agents DROP COLUMN vendor_word; ALTER TABLE agents DROP COLUMN class_word; \
        ALTER TABLE rollout_agents DROP COLUMN remark; \
        DELETE FROM _sqlx_migrations WHERE version >= 2; \
        INSERT INTO orders (rollout, command, given_by, given_at, outcome, settled_at) VALUES \
        ('spring', 'pause', 'me', '2026-11-25T12:00:00Z', 'paused', '2026-11-25T12:00:01Z'), \
        ('spring', 'pause', 'me', '2026-11-25T12:00:02Z', 'refused: paused already', \
        '2026-11-25T12:00:03Z'), \
        ('spring', 'resume', 'me', '2026-11-25T12:00:04Z', NULL, NULL)",
    )
    .await;
    let store = open(&path).await.unwrap();
    assert!(store.losses().await.unwrap().is_empty());
    assert!(store.rollout(&name("spring")).await.unwrap().is_some());
    let mut outcomes = Vec::new();
    for id in 1..=3 {
        outcomes.push(store.order(id).await.unwrap().unwrap().outcome);
    }
    let refused = OrderOutcome::Refused("paused already".to_owned());
    assert_eq!(outcomes, [Some(OrderOutcome::Done("paused".to_owned())), Some(refused), None]);
    store.close().await;
    sql(&path, "INSERT INTO _sqlx_migrations VALUES (999, 'later', '2030-01-01', 1, x'00', 1)").await;
    let before = fs::read(&path).unwrap();
    says(open(&path).await.unwrap_err(), &["newer fwcast"]);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_broken_file_is_named_and_left_alone() {
    let mut files = Files::new();
    let store = files.empty().await;
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    store.close().await;
    let path = files.path();
    let whole = fs::read(&path).unwrap();
    let mut overwritten = whole.clone();
    overwritten[100..].fill(0x5a);
    for (what, bytes) in [
        ("no database", b"hello, this is no database at all ".repeat(99)),
        ("cut", whole[..whole.len() / 2 + 100].to_vec()),
        ("overwritten", overwritten),
    ] {
        fs::write(&path, &bytes).unwrap();
        let error = match open(&path).await {
            Ok(store) => store.check().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, StoreError::Broken { .. }), "{what}: {error}");
        says(error, &["is broken", "fwcast restore", "move it away"]);
        assert_eq!(fs::read(&path).unwrap(), bytes, "{what}");
        let _ = fs::remove_file(path.with_extension("db-wal"));
        let _ = fs::remove_file(path.with_extension("db-shm"));
    }
    let nowhere = files.folder.path().join("no/such.db");
    says(open(&nowhere).await.unwrap_err(), &["cannot make", "such.db"]);
    fs::create_dir(files.folder.path().join("folder.db")).unwrap();
    says(open(&files.folder.path().join("folder.db")).await.unwrap_err(), &["cannot use the database"]);
}

#[tokio::test]
async fn a_row_that_nobody_wrote_is_an_error_and_no_guess() {
    let mut files = Files::new();
    let store = files.empty().await;
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    sql(&files.path(), "UPDATE rollout_agents SET progress = 'half-way'").await;
    says(store.rollout_agents(&name("spring")).await.unwrap_err(), &["an agent of a rollout", "half-way"]);
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_there() {
    let mut files = Files::new();
    let store = files.empty().await;
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    store.limit_pages(60).await.unwrap();
    let spring = name("spring");
    let long = "x".repeat(20_000);
    let mut stored = 0;
    let error = loop {
        let facts = [fact(1, "spring", None, &long)];
        let state = stored.to_string();
        match store.save(Step { facts: &facts, ..step(&spring, &state) }).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100);
    };
    says(error, &["is full", "run the command again"]);
    let store = files.again().await;
    store.check().await.unwrap();
    let events =
        store.events(&EventQuery { after: Some(0), rollout: None, agent: None, limit: 999 }).await.unwrap();
    assert_eq!(events.len(), stored);
    assert_eq!(store.rollout(&spring).await.unwrap().unwrap().state, (stored - 1).to_string());
    store
        .save(Step { facts: &[fact(2, "spring", None, &long)], ..step(&spring, "there is room") })
        .await
        .unwrap();
}

#[tokio::test]
async fn only_the_newest_events_are_kept() {
    let mut files = Files::new();
    let store = files.empty().await;
    begin(&store, "spring", &["hall/lamp-1"]).await.unwrap();
    let spring = name("spring");
    store.save(Step { facts: &[fact(1, "spring", None, "first")], ..step(&spring, "1") }).await.unwrap();
    // As if all but one of the rest had happened already.
    sql(&files.path(), "UPDATE sqlite_sequence SET seq = 199999 WHERE name = 'events'").await;
    assert_eq!(EVENTS_MAX, 200_000);
    let oldest = EventQuery { after: Some(0), rollout: None, agent: None, limit: 1 };
    for (text, expected) in [("last but one", "first"), ("last", "last but one")] {
        store.save(Step { facts: &[fact(1, "spring", None, text)], ..step(&spring, "1") }).await.unwrap();
        assert_eq!(store.events(&oldest).await.unwrap()[0].fact.text, expected);
    }
    assert_eq!(store.events(&oldest).await.unwrap()[0].fact.at, at(1));
}
