//! `kill -9` at any moment: the store is whole afterwards, and nothing is missing that it had said to be
//! done.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod store_suite;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use fwcast_store::Events as _;
use fwcast_store::InFile as _;
use fwcast_store::Rollouts as _;
use fwcast_store::{BUSY_MAX, EventQuery, SqliteStore, Step};
use libtest_mimic::{Arguments, Trial};
use rollout_engine::record::Progress;
use store_suite::{begin, fact, key, name, record, step};

const KILLS: usize = 20;
/// Tells the writer where its database is.
const DATABASE: &str = "FWCAST_TEST_DATABASE";
const AGENT: &str = "hall/lamp-1";

/// The program is the test and, when it is told a database, the writer that the test starts and kills.
fn main() -> ExitCode {
    if let Some(path) = std::env::var_os(DATABASE) {
        block_on(writer(Path::new(&path)));
    }
    let test = Trial::test("whatever_was_said_to_be_done_survives_kill_9", || {
        block_on(whatever_was_said_to_be_done_survives_kill_9());
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![test]).exit_code()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Writes step after step, and says the number of each that is done, until it is killed.
async fn writer(path: &Path) -> ! {
    let store = SqliteStore::open_file(path, BUSY_MAX).await.unwrap();
    let spring = name("spring");
    let mut number: u32 = store.rollout(&spring).await.unwrap().unwrap().state.parse().unwrap();
    loop {
        number += 1;
        let mut changed = record(Progress::Receiving);
        changed.missing = number;
        let agents = [(key(AGENT), changed)];
        let facts = [fact(i64::from(number), "spring", Some(AGENT), &number.to_string())];
        let state = number.to_string();
        store.save(Step { agents: &agents, facts: &facts, ..step(&spring, &state) }).await.unwrap();
        println!("done {number}");
    }
}

async fn whatever_was_said_to_be_done_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fwcast.db");
    let spring = name("spring");
    let store = SqliteStore::open_file(&path, BUSY_MAX).await.unwrap();
    begin(&store, "spring", &[AGENT]).await.unwrap();
    store.save(step(&spring, "0")).await.unwrap();
    store.close().await;
    let mut last = 0;
    for round in 0..KILLS {
        let told = write_until_killed(&path);
        let store = SqliteStore::open_file(&path, BUSY_MAX).await.unwrap();
        store.check().await.unwrap();
        let stored: u32 = store.rollout(&spring).await.unwrap().unwrap().state.parse().unwrap();
        // The step that was being stored may be there, no more.
        let expected = told.unwrap_or(last);
        assert!(
            (expected..=expected + 1).contains(&stored),
            "round {round}: told {expected}, stored {stored}"
        );
        // A step is there whole: its state, its agent and its event.
        let agents = store.rollout_agents(&spring).await.unwrap();
        assert!(stored == 0 || agents[0].1.missing == stored, "round {round}");
        let query = EventQuery { after: Some(0), rollout: None, agent: None, limit: u32::MAX };
        let numbers: Vec<u32> = store
            .events(&query)
            .await
            .unwrap()
            .iter()
            .map(|event| event.fact.text.parse().unwrap())
            .collect();
        assert!(numbers.iter().copied().eq(1..=stored), "round {round}");
        last = stored;
    }
    assert!(last > 0, "nothing was ever stored");
}

/// The last number that the writer said, before it was killed at a moment that nobody chose.
fn write_until_killed(path: &Path) -> Option<u32> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(DATABASE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        let done = lines.map_while(Result::ok).filter_map(|line| line.split_once("done ")?.1.parse().ok());
        done.last()
    });
    let micros = getrandom::u32().unwrap() % 300_000;
    std::thread::sleep(Duration::from_micros(u64::from(micros)));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}
