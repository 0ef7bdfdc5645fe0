//! The cost of listing 10,000 agents, compared with a plain SQL query of the same rows.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{Write, sink};
use std::time::Duration;

use anyhow::{Context, Result};
use distributor::commands::output::{Format, Printable, render};
use distributor::commands::report::{AgentList, RolloutStatus};
use fwcast_service::Versions;
use fwcast_service::runner::load;
use fwcast_store::{Agents as _, BUSY_MAX, Member, NewRollout, Rollouts as _, SqliteStore, Step};
use jiff::Timestamp;
use provisioning::{Hex, Name};
use rollout_engine::plan::{Abort, AgentKey, Lane, Percent, Plan, PlannedImage, Retry, Wave, When};
use rollout_engine::record::{AgentRecord, Progress};
use rollout_engine::window::Windows;
use rollout_engine::{Engine, Now};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};

use crate::outcome::Outcome;

const AGENTS: usize = 10_000;
/// How many times each side is measured.
const REPETITIONS: usize = 41;
/// How many times as long as the plain query a list may take.
const TIMES_MAX: f64 = 5.0;
const GET_AGENTS: &str = "SELECT security_group, name, sender_id, vendor, class, labels, enrolled_at, \
progress, installed, heard, rollout \
     FROM agents ORDER BY security_group, name";
const STATUS: &str = "SELECT security_group, name, wave, progress, since, reason, remark, missing, \
installed, heard, told, tries, retry_at \
     FROM rollout_agents WHERE rollout = 'spring' ORDER BY security_group, name";

/// Measures.
///
/// # Errors
/// The store cannot be made or read.
pub fn run() -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("fwcast.db");
    let store = SqliteStore::open_file(&path, BUSY_MAX).await?;
    let spring = Name::new("spring").context("a name")?;
    fill(&store, &spring).await?;
    let mut plain = SqliteConnectOptions::new().filename(&path).connect().await?;
    let mut outcome = Outcome::new(true).figure("agents", AGENTS).figure("repetitions", REPETITIONS);
    for (name, sql) in [("get_agents", GET_AGENTS), ("status", STATUS)] {
        // The table with all agents.
        for (form, format) in [("table", Format::Wide), ("json", Format::Json)] {
            let mut plainly = Vec::with_capacity(REPETITIONS);
            let mut listed = Vec::with_capacity(REPETITIONS);
            for _ in 0..REPETITIONS {
                let start = std::time::Instant::now();
                query(&mut plain, sql).await?;
                plainly.push(start.elapsed());
                let start = std::time::Instant::now();
                if name == "status" {
                    show(format, &RolloutStatus::new(&load(&store, &spring).await?, false, BTreeMap::new()))?;
                } else {
                    let versions = Versions::read(&store).await?;
                    show(format, &AgentList::new(store.agents(None).await?, &versions))?;
                }
                listed.push(start.elapsed());
            }
            let (plainly, listed) = (percentile_95(plainly), percentile_95(listed));
            let times = listed.as_secs_f64() / plainly.as_secs_f64();
            outcome = outcome
                .figure(&format!("{name}_{form}_ms"), milliseconds(listed))
                .figure(&format!("{name}_{form}_plain_ms"), milliseconds(plainly))
                .at_most(&format!("{name}_{form}_times_plain"), times, TIMES_MAX);
        }
    }
    Ok(outcome)
}

/// The rows as SQLite returns them; each value is read once and kept as its bytes.
async fn query(connection: &mut SqliteConnection, sql: &'static str) -> Result<()> {
    let rows = sqlx::query(sql).fetch_all(connection).await?;
    anyhow::ensure!(rows.len() == AGENTS, "{} rows", rows.len());
    for row in &rows {
        for column in 0..row.len() {
            black_box(row.try_get_unchecked::<Option<&[u8]>, _>(column)?);
        }
    }
    Ok(())
}

fn show(format: Format, report: &impl Printable) -> Result<()> {
    Ok(sink().write_all(black_box(render(format, report)?).as_bytes())?)
}

fn percentile_95(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() * 95).div_ceil(100) - 1]
}

fn milliseconds(time: Duration) -> f64 {
    crate::outcome::rounded(time.as_secs_f64() * 1000.0)
}

/// A fleet in the middle of a rollout.
async fn fill(store: &SqliteStore, rollout: &Name) -> Result<()> {
    let group = Name::new("hall").context("a name")?;
    let at: Timestamp = "2026-11-25T12:00:00.123456789Z".parse()?;
    let names = (0..AGENTS)
        .map(|number| Name::new(&format!("lamp-{number:05}")))
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .context("a name")?;
    let members: Vec<Member> =
        names.iter().enumerate().map(|(number, name)| member(number, name, at)).collect();
    store.sync_agents(&group, &members, "1").await?;
    let key = |name: &Name| AgentKey { group: group.clone(), name: name.clone() };
    let keys: Vec<AgentKey> = names.iter().map(key).collect();
    let agents: Vec<(AgentKey, AgentRecord)> =
        keys.iter().enumerate().map(|(number, key)| (key.clone(), record(number, at))).collect();
    let plan = plan(&group, names, keys)?;
    let begun = Engine::begin(rollout.clone(), plan.clone(), 0, Now { wall: at, steady: Duration::ZERO });
    let state = &serde_json::to_string(begun.state())?;
    let new =
        NewRollout { name: rollout, generation: 1, plan: &plan, state, agents: &agents, facts: &[], at };
    store.begin_rollout(new).await?;
    store.save(Step { rollout, state, outcome: None, agents: &agents, facts: &[], settled: &[], at }).await?;
    Ok(())
}

fn member(number: usize, name: &Name, at: Timestamp) -> Member {
    let labels =
        [("model", "lamp-2"), ("site", "eindhoven"), ("ring", if number < 20 { "canary" } else { "prod" })];
    Member {
        name: name.clone(),
        sender_id: Some(Hex::from((number as u32).to_be_bytes())),
        vendor: uuid::Uuid::from_bytes([1; 16]),
        class: uuid::Uuid::from_bytes([2; 16]),
        words: Default::default(),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        enrolled_at: Some(at),
    }
}

fn record(number: usize, at: Timestamp) -> AgentRecord {
    let progress = match number % 4 {
        0 => Progress::Receiving,
        1 => Progress::Ready,
        2 => Progress::Confirmed,
        _ => Progress::RolledBack,
    };
    AgentRecord {
        wave: (number % 3) as u32,
        progress,
        since: at,
        reason: u8::from(progress == Progress::RolledBack),
        remark: match progress {
            Progress::RolledBack => "the health command ended with exit status: 1".to_owned(),
            _ => String::new(),
        },
        missing: number as u32,
        installed: 7,
        heard: Some(at),
        told: false,
        tries: 1,
        retry_at: None,
    }
}

fn plan(group: &Name, names: Vec<Name>, keys: Vec<AgentKey>) -> Result<Plan> {
    let name = |text| Name::new(text).ok().context("a name");
    Ok(Plan {
        image: PlannedImage {
            digest: Hex::from([7; 32]),
            name: name("lamp")?,
            version: "2.4.1".to_owned(),
            sequence_number: 7,
            bytes: 4_194_304,
            block_bytes: 1024,
        },
        lanes: vec![Lane {
            name: name("lights")?,
            security_group: group.clone(),
            interface: None,
            hops: None,
            rate_bits_per_second: None,
            parity: None,
            agents: names,
        }],
        waves: vec![Wave { name: name("all")?, agents: keys, soak_s: 0, approval: false }],
        success: Percent::ALL,
        abort: Abort { failed: None, lost: None, min_sample: 1 },
        retry: Retry { max: 0, backoff_s: 60, on: Default::default() },
        transfer_within_s: 600,
        report_within_s: 600,
        deferred_within_s: 0,
        transfer_windows: Windows::default(),
        activation_windows: Windows::default(),
        activation: When::Now,
        budget: None,
        paused: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_forty_one_may_be_slower() {
        let times = (0..41).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile_95(times), Duration::from_millis(38));
    }
}
