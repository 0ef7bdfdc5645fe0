//! What an operator sees on a bad day: a rollout that no process runs or that waits for a window, agents that
//! would refuse an image, groups that get in each other's way, a database that is locked.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Desk, ENROLL_LAMP, SIGN};
use fwcast_service::Fleet;
use fwcast_service::runner::{Note, Resources, RolloutObserver, Runner};
use fwcast_state::{RolloutLock, StateDir};
use fwcast_store::epoch::Claims;
use fwcast_store::{Agents as _, Heard, InFile as _, NewOrder, Orders as _, SqliteStore};
use provisioning::Name;
use rollout_engine::record::{Fact, Order, OrderOutcome};
use rollout_engine::{Engine, Run};
use sqlx::{Connection as _, Executor as _};

/// Three agents in group `hall`, and the image `firmware` with manifest sequence number 7.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.ok("key generate --kind root --out root.pem");
    desk.ok("key generate --kind image --out image.pem");
    create(&desk, "hall", free_port());
    for lamp in ["lamp-1", "lamp-2", "lamp-3"] {
        enroll(&desk, lamp);
    }
    desk.write("firmware", &[1; 5_000]);
    desk.ok(SIGN);
    desk
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn create(desk: &Desk, group: &str, port: u16) {
    desk.ok(&format!(
        "group create {group} --coap-group 239.192.76.1:{port} --interface lo --distributor 127.0.0.1:{port} \
         --root-key root.pem --image-key image.pem.pub"
    ));
}

fn enroll(desk: &Desk, lamp: &str) {
    desk.ok(&ENROLL_LAMP.replace("lamp-1", lamp));
}

fn rollout(transport: &str, spec: &str) -> String {
    format!(
        "apiVersion: fwcast/v1
kind: RolloutGroup
metadata: {{ name: lamps }}
spec:
  members: {{ selector: {{}} }}
  security: {{ group: hall }}
{transport}---
apiVersion: fwcast/v1
kind: Rollout
metadata: {{ name: spring }}
spec:
  image: ./firmware
  groups: [lamps]
{spec}"
    )
}

/// `fwcast run` in another process, until this value ends.
struct Running(Child);

impl Running {
    fn start(desk: &Desk) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_fwcast"))
            .args(["run", "-q", "-f", "spring.yaml"])
            .current_dir(desk.path("."))
            .env_remove("STATE_DIRECTORY")
            .env("FWCAST_STATE", desk.path("state"))
            .env("FWCAST_WITNESS", desk.path("witness"))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The status of `spring` once this holds.
fn until(desk: &Desk, what: &str, holds: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let start = Instant::now();
    loop {
        let run = desk.run("status spring -o json");
        let status = serde_json::from_str(&run.out).unwrap_or_default();
        if run.code == 0 && holds(&status) {
            return status;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "not {what}: {status:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn state_of(desk: &Desk) -> String {
    desk.json("get rollouts")[0]["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_rollout_that_no_process_runs_says_so() {
    let desk = desk();
    desk.write("spring.yaml", rollout("", "  paused: true\n").as_bytes());
    let running = Running::start(&desk);
    let status = until(&desk, "running", |status| status["running"] == true);
    assert_eq!(status["doing"], "paused: the rollout manifest says so");
    assert_eq!(state_of(&desk), "paused");
    // As by `kill -9`.
    drop(running);
    let status = until(&desk, "left", |status| status["running"] == false);
    let doing = status["doing"].as_str().unwrap();
    assert!(doing.contains("no process runs this") && doing.contains("fwcast run"), "{doing}");
    assert_eq!(state_of(&desk), "no-process");
    assert!(desk.ok("get rollouts -o wide").out.contains("no process runs this"));
    assert!(desk.ok("describe rollout spring").out.contains("no process runs this"));
    let waits = desk.run("status spring --wait --timeout 1s");
    assert_eq!(waits.code, 6);
    assert!(waits.err.contains("no process runs this"), "{}", waits.err);
}

#[test]
fn a_closed_window_is_what_it_waits_for() {
    let desk = desk();
    let windows = "  windows: { transfer: [{ cron: '0 0 29 2 *', for: 1m, tz: Europe/Amsterdam }] }\n";
    desk.write("spring.yaml", rollout("", windows).as_bytes());
    let running = Running::start(&desk);
    let status = until(&desk, "waiting", |status| {
        status["doing"].as_str().is_some_and(|doing| doing.contains("waits for the transfer window"))
    });
    assert!(status["doing"].as_str().unwrap().contains("-02-28T23:00:00Z"), "{status:#}");
    assert_eq!(state_of(&desk), "waiting");
    let events = desk.ok("events --rollout spring").out;
    assert_eq!(events.matches("window-awaited").count(), 1, "{events}");
    drop(running);
}

#[test]
fn a_plan_reckons_with_the_closing_of_windows() {
    let desk = desk();
    // Five blocks take 48 seconds at this rate.
    let transport = "  transport: { rate: 1kbit/s }\n";
    let windows = "  windows: { transfer: [{ cron: '0 2 * * *', for: 20s, tz: UTC }] }\n";
    desk.write("spring.yaml", rollout(transport, windows).as_bytes());
    let plan = desk.json("plan -f spring.yaml --loss 0%");
    assert_eq!((&plan["air_s"], &plan["windows"]), (&48.into(), &3.into()), "{plan:#}");
    let ends: jiff::Timestamp = plan["ends_at"].as_str().unwrap().parse().unwrap();
    assert!(ends.duration_since(jiff::Timestamp::now()) > jiff::SignedDuration::from_hours(47), "{ends}");
    assert!(desk.run("plan -f spring.yaml --loss 0%").err.contains("in 3 transfer windows"));
    let late = "  deadlines: { transfer: 30s }\n";
    desk.write("spring.yaml", rollout(transport, late).as_bytes());
    let run = desk.run("plan -f spring.yaml --loss 0%");
    assert!(run.err.contains("longer than `deadlines.transfer`"), "{}", run.err);
}

#[test]
fn agents_that_would_refuse_the_image_are_told_before() {
    let desk = desk();
    desk.write("spring.yaml", rollout("", "").as_bytes());
    desk.ok(&ENROLL_LAMP.replace("--class lamp-2", "--class pump").replace("lamp-1", "pump-1"));
    let run = desk.run("plan -f spring.yaml");
    assert!(run.err.contains("to 3 agents, 1 agent left out: another vendor or class"), "{}", run.err);
    let wide = desk.ok("plan -f spring.yaml -o wide").out;
    assert!(
        wide.contains("left out") && wide.contains("hall/pump-1") && wide.contains("hall/lamp-3"),
        "{wide}"
    );
    block_on(async {
        let store = SqliteStore::open(&dir(&desk)).await.unwrap();
        let heard = |agent: &str, installed| Heard { key: agent.parse().unwrap(), installed };
        let heard = [heard("hall/lamp-2", 9), heard("hall/lamp-1", 7), heard("hall/pump-1", 99)];
        store.hear(&heard, jiff::Timestamp::now()).await.unwrap();
        store.close().await;
    });
    for command in ["plan", "run"] {
        let said = ["1 agent of the rollout, such as 'hall/lamp-2' with manifest sequence number 9", "has 7"];
        desk.fails(&format!("{command} -f spring.yaml"), 1, &said);
    }
    assert_eq!(desk.json("get rollouts"), serde_json::json!([]));
}

#[test]
fn two_groups_that_the_distributor_cannot_serve_at_once_are_refused() {
    let desk = desk();
    let port = free_port();
    create(&desk, "one", port);
    create(&desk, "two", port);
    for (group, lamp) in [("one", "a"), ("two", "b")] {
        desk.ok(&ENROLL_LAMP.replace("hall", group).replace("lamp-1", lamp));
    }
    let group = |name: &str| {
        format!(
            "apiVersion: fwcast/v1\nkind: RolloutGroup\nmetadata: {{ name: {name} }}\nspec: {{ members: \
                 {{ selector: {{}} }}, security: {{ group: {name} }} }}\n---\n"
        )
    };
    let text = rollout("", "").replace("groups: [lamps]", "groups: [one, two]");
    desk.write("spring.yaml", format!("{}{}{text}", group("one"), group("two")).as_bytes());
    for command in ["plan", "run"] {
        let run = desk.run(&format!("{command} -f spring.yaml"));
        assert_eq!(run.code, 1, "{}", run.err);
        assert!(run.err.contains("cannot be served at once"), "{}", run.err);
    }
    // Where another process has the port, the sentence says so.
    let taken = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    desk.fails("push -q firmware --group one", 1, &["is in use", "a port of its own"]);
    drop(taken);
}

#[test]
fn names_are_in_natural_order() {
    let desk = desk();
    for number in [10, 20, 4] {
        enroll(&desk, &format!("lamp-{number}"));
    }
    let sorted = ["lamp-1", "lamp-2", "lamp-3", "lamp-4", "lamp-10", "lamp-20"];
    let wanted: String = sorted.iter().map(|name| format!("hall/{name}\n")).collect();
    assert_eq!(desk.ok("get agents -o name").out, wanted);
    desk.write(
        "spring.yaml",
        rollout("", "  waves: [{ name: a, size: 4 }, { name: b, size: rest }]\n").as_bytes(),
    );
    let plan = desk.json("plan -f spring.yaml");
    assert_eq!(plan["waves"][1]["agents"], serde_json::json!(["hall/lamp-10", "hall/lamp-20"]));
}

#[test]
fn a_disruption_budget_is_checked_and_spreads_waves() {
    let desk = desk();
    for (lamp, site) in [("lamp-1", "north"), ("lamp-2", "north"), ("lamp-3", "south")] {
        desk.ok(&format!("agent label {lamp} site={site}"));
    }
    let spec = |max: &str| {
        format!(
            "  waves: [{{ name: a, size: 2 }}, {{ name: b, size: rest }}]\n  \
                 disruptionBudget: {{ groupBy: site, maxUnavailable: {max} }}\n"
        )
    };
    desk.write("spring.yaml", rollout("", &spec("1")).as_bytes());
    let plan = desk.json("plan -f spring.yaml");
    assert_eq!(plan["waves"][0]["agents"], serde_json::json!(["hall/lamp-1", "hall/lamp-3"]));
    assert_eq!(plan["budget"], "at most 1 of each 'site' on trial at once");
    for max in ["0", "0%", "none", "101%"] {
        desk.write("spring.yaml", rollout("", &spec(max)).as_bytes());
        let run = desk.run("validate -f spring.yaml");
        assert_eq!(run.code, 1, "{max}: {}", run.err);
        assert!(run.err.contains("spring.yaml:"), "{}", run.err);
    }
}

fn dir(desk: &Desk) -> StateDir {
    StateDir::open(&desk.path("state"), &desk.path("witness")).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

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

#[test]
fn an_order_that_cannot_be_saved_stays_open_for_the_next_process() {
    let desk = desk();
    desk.write("spring.yaml", rollout("", "  paused: true\n").as_bytes());
    let running = Running::start(&desk);
    until(&desk, "running", |status| status["running"] == true);
    drop(running);
    let spring = Name::new("spring").unwrap();
    block_on(async {
        let dir = dir(&desk);
        let store =
            SqliteStore::open_file(&desk.path("state/fwcast.db"), Duration::from_millis(200)).await.unwrap();
        let order = NewOrder {
            rollout: &spring,
            order: Order::Start,
            reason: None,
            by: "me",
            at: jiff::Timestamp::now(),
        };
        let id = store.give_order(order).await.unwrap();
        let path = format!("sqlite://{}", desk.path("state/fwcast.db").display());
        let mut other = sqlx::SqliteConnection::connect(&path).await.unwrap();
        other.execute("BEGIN IMMEDIATE").await.unwrap();

        let claims = Claims::default();
        let with = Resources { dir: &dir, store: &store, claims: &claims, actor: "me" };
        let lock = RolloutLock::if_free(&dir, &spring).unwrap().unwrap();
        let mut runner = Runner::resume(with, &spring, Nobody, lock).await.unwrap();
        let failure = runner.take_orders().await.unwrap_err();
        assert!(failure.to_string().contains("locked"), "{failure}");
        other.execute("ROLLBACK").await.unwrap();
        other.close().await.unwrap();
        assert_eq!(store.order(id).await.unwrap().unwrap().outcome, None);
        drop(runner);

        // The next process carries it out.
        let fleet = Fleet::new(dir.clone(), store);
        let pause = NewOrder { order: Order::Pause, ..order };
        let carried = fleet.order(pause, || Nobody).await.unwrap();
        assert!(carried.said.contains("paused"), "{}", carried.said);
        drop(carried);
        let outcome = fleet.store().order(id).await.unwrap().unwrap().outcome;
        assert_eq!(outcome, Some(OrderOutcome::Done("started".to_owned())));
        fleet.into_store().close().await;
    });
}
