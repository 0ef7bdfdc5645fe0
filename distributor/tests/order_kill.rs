//! The process that carries an order out is killed, wherever it waits for something: the order is carried out
//! once, and told as carried out.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../store/tests/store_suite/mod.rs"]
mod store_suite;

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;

use fwcast_service::Fleet;
use fwcast_service::runner::{Note, RolloutObserver};
use fwcast_state::StateDir;
use fwcast_store::InFile as _;
use fwcast_store::Orders as _;
use fwcast_store::Rollouts as _;
use fwcast_store::{NewOrder, NewRollout, SqliteStore};
use provisioning::Name;
use rollout_engine::plan::AgentKey;
use rollout_engine::record::{Fact, Order, OrderOutcome};
use rollout_engine::{Engine, Now, Run};
use store_suite::{at, name, plan};

/// Nobody looks on.
struct Nobody;

impl RolloutObserver for Nobody {
    fn facts(&mut self, _: &[Fact]) {}
    fn run_begins(&mut self, _: &Run, _: &Engine) {}
    fn waits_for(&mut self, _: &Name) {}
    fn tick(&mut self, _: &Engine) {}
    fn note(&mut self, _: Note) {}
    fn finish(&mut self) {}
}

/// The fleet of a state folder, as a process finds it when it starts.
async fn fleet(folder: &Path) -> Fleet<SqliteStore> {
    let dir = StateDir::open(&folder.join("state"), &folder.join("witness")).unwrap();
    let store = SqliteStore::open(&dir).await.unwrap();
    Fleet::new(dir, store)
}

/// A rollout that waits for the approval of its second wave.
async fn waits_for_approval(fleet: &Fleet<SqliteStore>, rollout: &Name) {
    let mut plan = plan(&["hall/lamp-1", "hall/lamp-2"]);
    let mut second = plan.waves[0].clone();
    let agents: Vec<AgentKey> = plan.waves[0].agents.to_vec();
    second.name = name("second");
    second.agents = agents[1..].to_vec();
    plan.waves[0].agents = agents[..1].to_vec();
    plan.waves[0].approval = true;
    plan.waves.push(second);
    let now = Now { wall: at(1), steady: std::time::Duration::ZERO };
    let mut engine = Engine::begin(rollout.clone(), plan, 1, now);
    let mut state = serde_json::to_value(engine.state()).unwrap();
    state["stage"] = serde_json::json!({ "approval": { "wave": 0 } });
    let changes = engine.take_changes();
    let new = NewRollout {
        name: rollout,
        generation: 1,
        plan: engine.plan(),
        state: &state.to_string(),
        agents: &changes.agents,
        facts: &changes.facts,
        at: at(1),
    };
    fleet.store().begin_rollout(new).await.unwrap();
}

/// Lets a future go on until it has waited so many times, and drops it then. Whether it came to its end.
async fn for_so_many_waits<T>(future: impl Future<Output = T>, waits: u32) -> bool {
    let mut future = pin!(future);
    let mut waited = 0;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(true),
        Poll::Pending if waited >= waits => Poll::Ready(false),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn an_approval_that_was_carried_out_is_not_told_as_refused() {
    let rollout = name("spring");
    let order = |order| NewOrder { rollout: &rollout, order, reason: None, by: "me", at: at(2) };
    let mut carried_out = 0;
    for waits in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let killed = fleet(folder.path()).await;
        waits_for_approval(&killed, &rollout).await;
        let through = for_so_many_waits(killed.order(order(Order::Approve), || Nobody), waits).await;
        // As the end of the process would: what was not committed is rolled back.
        killed.into_store().close().await;

        let next = fleet(folder.path()).await;
        let approval = next.store().order(1).await.unwrap();
        let paused = next.order(order(Order::Pause), || Nobody).await.map(|carried| carried.said);
        assert!(paused.is_ok(), "after {waits} waits: {:?}", paused.err());
        if approval.is_some() {
            let approval = next.store().order(1).await.unwrap().unwrap();
            let done = matches!(&approval.outcome, Some(OrderOutcome::Done(said)) if said.contains("second"));
            assert!(done, "after {waits} waits: {:?}", approval.outcome);
            carried_out += 1;
        }
        if through {
            break;
        }
    }
    assert!(carried_out > 3, "the order was given in {carried_out} cases only");
}
