//! Rollouts with the real programs, controlled from other processes while they run.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::net::UdpSocket;
use std::process::Output;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tests::fleet::{
    CLASS, FIRST_SEQUENCE, Fleet, Place, Plan, RolloutRun, Signing, VENDOR, healthy_without, manifest,
};
use tests::programs::Programs;

/// One fleet at a time: they share a CoAP group.
static PROGRAMS: LazyLock<Mutex<Programs>> = LazyLock::new(|| Mutex::new(Programs::build().unwrap()));

const AGENTS: usize = 3;
/// Slow enough that a transfer can be observed.
const RATE: &str = "500kbit/s";
const WITHIN: Duration = Duration::from_secs(120);

/// A running fleet, with the rollout `spring` in `spring.yaml`.
struct World {
    fleet: Fleet<'static>,
    folder: TempDir,
}

impl World {
    /// Agents are healthy unless a file `sick` exists, and have this long to become healthy.
    fn new(programs: &Programs, health_deadline: &str, spec: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sick = folder.path().canonicalize().unwrap().join("sick");
        let agent_arguments = healthy_without(&sick.display().to_string(), health_deadline);
        let plan = Plan { agent_arguments, ..Plan::new(AGENTS, RATE) };
        let mut fleet = Fleet::create(programs, Place::Loopback, folder.path(), plan).unwrap();
        fleet.start_all().unwrap();
        fleet.make_image("spring.img", 300_000).unwrap();
        fleet.sign("spring.img", "spring.img.suit", Signing::of_sequence(FIRST_SEQUENCE + 1)).unwrap();
        fs::write(fleet.path("spring.yaml"), manifest("spring", "spring.img", spec)).unwrap();
        Self { fleet, folder }
    }

    /// One in which all agents run the new image on trial, and stay so.
    fn on_trial(programs: &Programs) -> (Self, RolloutRun) {
        let mut world = Self::new(programs, "10min", "  activation: { confirmWithin: 20m }");
        fs::write(world.fleet.path("sick"), "").unwrap();
        let run = world.run();
        world.until("on trial", |status| count(status, "trial") == AGENTS);
        (world, run)
    }

    fn run(&mut self) -> RolloutRun {
        self.fleet.run_rollout("spring.yaml").unwrap()
    }

    fn order(&self, order: &str) -> Output {
        let words: Vec<&str> = order.split(' ').collect();
        self.fleet.fwcast_output(&[&["rollout"], &words[..1], &["spring"], &words[1..]].concat()).unwrap()
    }

    /// Gives an order, which must be carried out; returns the output.
    fn obeyed(&self, order: &str) -> String {
        let output = self.order(order);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{order}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn status(&self) -> Value {
        let output = self.fleet.fwcast_output(&["status", "spring", "-o", "json"]).unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn history(&self) -> String {
        String::from_utf8(self.fleet.fwcast(&[&["history", "spring"]]).unwrap().stdout).unwrap()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            assert!(start.elapsed() < WITHIN, "not {what}: {status:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// How many agents run the new image, and how many their first one.
    fn images(&self) -> (usize, usize) {
        let (new, first) =
            ["spring.img", "first.img"].map(|name| fs::read(self.folder.path().join(name)).unwrap()).into();
        let running: Vec<_> =
            (1..=self.fleet.agent_names().len()).map(|n| self.fleet.running_image(n).unwrap()).collect();
        let count = |image: &[u8]| running.iter().filter(|running| *running == image).count();
        (count(&new), count(&first))
    }
}

/// How many agents are in this state.
fn count(status: &Value, progress: &str) -> usize {
    let agents = status["agents"].as_array().map_or(&[][..], Vec::as_slice);
    agents.iter().filter(|agent| agent["progress"] == progress).count()
}

#[test]
fn pause_interrupt_approval_and_a_late_joiner() {
    let programs = PROGRAMS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let waves = "  waves:
    - { name: canary, size: 1, soak: 2s, approval: manual }
    - { name: others, size: rest }";
    let mut world = World::new(&programs, "1min", waves);
    let run = world.run();
    world.until("under way", |status| count(status, "receiving") == AGENTS);
    assert!(world.obeyed("pause").contains("paused: agents keep what they have"));
    let paused = world
        .until("paused", |status| status["doing"].as_str().is_some_and(|doing| doing.ends_with("paused it")));
    assert_eq!((&paused["stage"], count(&paused, "ready")), (&"transfer".into(), 0));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(world.status()["agents"], paused["agents"]);
    assert_eq!(world.order("pause").status.code(), Some(1));
    world.obeyed("resume");
    world.until("waiting for approval", |status| status["stage"] == "approval");
    assert_eq!(world.images(), (1, AGENTS - 1));
    // Meanwhile any process may query the group.
    assert_eq!(world.fleet.status().unwrap().len(), AGENTS);

    // The process that runs it is stopped, and an agent is enrolled that has never been heard.
    run.signal(Signal::SIGINT).unwrap();
    assert_eq!(run.wait(WITHIN).unwrap().0.code(), Some(130));
    let run = world.run();
    world.fleet.enroll(AGENTS + 1).unwrap();
    world.fleet.start(AGENTS + 1).unwrap();
    let waiting = world.fleet.start_fwcast(&["status", "spring", "--wait"]).unwrap();
    assert!(world.obeyed("approve").contains("wave 'others' activates"));
    let (status, report) = run.wait(WITHIN).unwrap();
    let report = report.unwrap();
    assert_eq!((status.code(), report.count("confirmed")), (Some(0), AGENTS + 1), "{report:?}");
    assert_eq!(waiting.wait(WITHIN).unwrap().0.code(), Some(0));
    assert_eq!(world.images(), (AGENTS + 1, 0));

    // It is done: the same command reports that again, and sends nothing.
    let history = world.history();
    assert_eq!(world.run().wait(WITHIN).unwrap().0.code(), Some(0));
    assert_eq!(world.history(), history);
    let refused = world.order("undo --yes");
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && why.contains("--sequence 3"), "{why}");
}

#[test]
fn cancelled_while_blocks_are_sent() {
    let programs = PROGRAMS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut world = World::new(&programs, "1min", "");
    let run = world.run();
    world.until("under way", |status| count(status, "receiving") == AGENTS);
    let said = world.obeyed("cancel --yes --reason wrong");
    assert!(said.contains("cancelling: 3 agents") && said.contains("3 agents dropped the update"), "{said}");
    let (status, report) = run.wait(WITHIN).unwrap();
    assert_eq!((status.code(), report.unwrap().count("cancelled")), (Some(4), AGENTS));
    assert_eq!(world.images(), (0, AGENTS));
    let reports = world.fleet.status().unwrap();
    assert!(reports.iter().all(|agent| agent.reason.as_deref() == Some("cancelled")), "{reports:?}");
}

#[test]
fn undone_while_agents_are_on_trial() {
    let programs = PROGRAMS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (world, run) = World::on_trial(&programs);
    assert_eq!(world.images(), (AGENTS, 0));
    let said = world.obeyed("undo --yes");
    assert!(said.contains("3 agents returned to the previous image"), "{said}");
    let (status, report) = run.wait(WITHIN).unwrap();
    let report = report.unwrap();
    assert_eq!((status.code(), report.count("rolled-back")), (Some(4), AGENTS), "{report:?}");
    assert_eq!(report.outcome.as_deref(), Some("undone"));
    assert_eq!(world.images(), (0, AGENTS));
}

#[test]
fn an_undo_that_reaches_nobody_fails_and_can_be_repeated() {
    let programs = PROGRAMS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (mut world, run) = World::on_trial(&programs);
    run.signal(Signal::SIGINT).unwrap();
    assert_eq!(run.wait(WITHIN).unwrap().0.code(), Some(130));
    (1..=AGENTS).for_each(|number| world.fleet.kill(number).unwrap());
    let unheard = world.order("undo --yes");
    assert_eq!(unheard.status.code(), Some(5), "{unheard:?}");
    assert_eq!(world.images(), (AGENTS, 0));

    world.fleet.start_all().unwrap();
    let said = world.obeyed("undo --yes");
    assert!(said.contains("3 agents returned to the previous image"), "{said}");
    assert_eq!(world.images(), (0, AGENTS));
}

#[test]
fn what_one_group_cannot_go_on_with_stops_the_others() {
    let programs = PROGRAMS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut world = World::new(&programs, "1min", "");
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let [coap_group, distributor] = ["239.192.98.99", "127.0.0.1"].map(|host| format!("{host}:{port}"));
    let fleet = &world.fleet;
    fleet
        .fwcast(&[
            &["group", "create", "annex", "--coap-group", &coap_group, "--distributor", &distributor],
            &["--interface", "lo", "--root-key", "root.pem", "--image-key", "image.pem.pub"],
        ])
        .unwrap();
    fleet
        .fwcast(&[
            &["agent", "enroll", "annex-1", "--group", "annex", "--vendor", VENDOR, "--class", CLASS],
            &["--agent-state", "annex-1-state", "--out", "annex-1.yaml"],
        ])
        .unwrap();
    let spring = fs::read_to_string(fleet.path("spring.yaml")).unwrap();
    let spring = spring.replace("groups: [hall]", "groups: [hall, annex]");
    let annex = "---
apiVersion: fwcast/v1
kind: RolloutGroup
metadata: { name: annex }
spec:
  members: { selector: {} }
  transport: { interface: nosuch0 }
  security: { group: annex }
";
    fs::write(fleet.path("spring.yaml"), spring + annex).unwrap();
    let (status, report) = world.run().wait(WITHIN).unwrap();
    let said = format!("{:#}", report.unwrap_err());
    assert!(status.code() == Some(1) && said.contains("no network interface 'nosuch0'"), "{status}: {said}");
    let left = world.status();
    assert!(left["doing"].as_str().unwrap().contains("nosuch0"), "{left:#}");
    assert_eq!(count(&left, "ready"), 0, "the others continued for the whole transfer: {left:#}");
}
