//! `fwcast run` and `fwcast rollout` without any agent on the network: orders from other processes, and
//! input that is wrong.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Desk, ENROLL_LAMP, SIGN};
use fwcast_state::{GroupLock, RolloutLock, StateDir};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use provisioning::Name;

/// A desk with three agents in group `hall`, and the image `firmware`, signed.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.ok("key generate --kind root --out root.pem");
    desk.ok("key generate --kind image --out image.pem");
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    desk.ok(&format!(
        "group create hall --coap-group 239.192.74.1:{port} --interface lo --distributor 127.0.0.1:{port} \
         --root-key root.pem --image-key image.pem.pub"
    ));
    for lamp in ["lamp-1", "lamp-2", "lamp-3"] {
        desk.ok(&format!("{} --label model={lamp}", ENROLL_LAMP.replace("lamp-1", lamp)));
    }
    sign(&desk, 1);
    desk
}

/// Another image, signed, in the file that rollouts name.
fn sign(desk: &Desk, content: u8) {
    desk.write("firmware", &vec![content; 5_000]);
    if desk.path("firmware.suit").exists() {
        std::fs::remove_file(desk.path("firmware.suit")).unwrap();
    }
    desk.ok(SIGN);
}

const GROUP: &str = "apiVersion: fwcast/v1
kind: RolloutGroup
metadata: { name: lamps }
spec:
  members: { selector: {} }
  security: { group: hall }
---
";

fn rollout(name: &str, more: &str) -> String {
    format!(
        "{GROUP}apiVersion: fwcast/v1
kind: Rollout
metadata: {{ name: {name} }}
spec:
  image: ./firmware
  groups: [lamps]
  deadlines: {{ transfer: 5s }}
{more}"
    )
}

/// A rollout that waits to be started.
fn paused(name: &str) -> String {
    rollout(name, "  paused: true\n")
}

/// A `fwcast run` in another process.
struct Running(Child);

impl Running {
    fn start(desk: &Desk, file: &str) -> Self {
        // The test itself may run under `nohup`, which children inherit.
        Self::by(desk, &["-c", "exec env --default-signal=HUP \"$@\"", "sh"], file)
    }

    /// By a shell with these arguments.
    fn by(desk: &Desk, shell: &[&str], file: &str) -> Self {
        let child = Command::new("sh")
            .args(shell)
            .args([env!("CARGO_BIN_EXE_fwcast"), "run", "-f", file, "-o", "json"])
            .current_dir(desk.path("."))
            .env_remove("STATE_DIRECTORY")
            .env("FWCAST_STATE", desk.path("state"))
            .env("FWCAST_WITNESS", desk.path("witness"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(desk.path("run.log")).unwrap())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn interrupt(&self) {
        self.signal(Signal::SIGINT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    fn code(mut self) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().unwrap();
            }
            assert!(start.elapsed() < Duration::from_secs(60), "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until another process runs the rollout.
fn held(desk: &Desk, name: &str) {
    let dir = StateDir::open(&desk.path("state"), &desk.path("witness")).unwrap();
    let name = Name::new(name).unwrap();
    let start = Instant::now();
    while RolloutLock::if_free(&dir, &name).unwrap().is_some() {
        let log = || String::from_utf8_lossy(&desk.read("run.log")).into_owned();
        assert!(start.elapsed() < Duration::from_secs(30), "nobody runs it: {}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until the rollout is in the store, and held by who runs it.
fn begun(desk: &Desk, name: &str) {
    let start = Instant::now();
    while desk.run(&format!("status {name}")).code != 0 {
        let log = || String::from_utf8_lossy(&desk.read("run.log")).into_owned();
        assert!(start.elapsed() < Duration::from_secs(30), "it does not begin: {}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The rollout `spring`, begun, paused and left by who ran it.
fn left(desk: &Desk) {
    desk.write("spring.yaml", paused("spring").as_bytes());
    let running = Running::start(desk, "spring.yaml");
    begun(desk, "spring");
    running.interrupt();
    assert_eq!(running.code(), 130);
}

#[test]
fn a_paused_rollout_waits_for_its_start_and_every_order_is_answered() {
    let desk = desk();
    desk.write("spring.yaml", paused("spring").as_bytes());
    desk.fails("rollout start spring", 1, &["no rollout 'spring' that has begun"]);
    let running = Running::start(&desk, "spring.yaml");
    begun(&desk, "spring");
    let status = desk.json("status spring");
    assert_eq!((&status["stage"], &status["outcome"]), (&"transfer".into(), &serde_json::Value::Null));
    assert_eq!(status["parity"], serde_json::json!({ "lamps": "rs16:4096" }));
    assert!(desk.ok("status spring").out.contains("parity: lamps rs16:4096\n"));
    desk.fails("run -f spring.yaml", 1, &["another fwcast process runs rollout 'spring'", "fwcast rollout"]);
    for (order, said) in [
        ("pause", "paused already"),
        ("approve", "does not wait for an approval"),
        ("undo --yes", "no agent of rollout 'spring' is on trial"),
    ] {
        let (verb, flags) = order.split_once(' ').unwrap_or((order, ""));
        desk.fails(&format!("rollout {verb} spring {flags}"), 1, &[said]);
    }
    desk.fails("rollout cancel spring", 2, &["left as it is", "--yes"]);
    desk.fails("status spring --wait --timeout 1s", 6, &["has not ended", "fwcast status spring"]);
    running.interrupt();
    assert_eq!(running.code(), 130);
    // Nobody runs it: orders are carried out where they are given.
    let said = desk.ok("rollout start spring").out;
    assert!(said.contains("started") && said.contains("fwcast run"), "{said}");
    desk.fails("rollout start spring", 1, &["has been started already"]);
    desk.ok("rollout pause spring");
    desk.ok("rollout resume spring");
    desk.fails("rollout resume spring", 1, &["is not paused"]);
    for verb in ["start", "pause", "resume", "approve", "retry", "cancel --yes", "undo --yes"] {
        let (verb, flags) = verb.split_once(' ').unwrap_or((verb, ""));
        desk.fails(&format!("rollout {verb} autumn {flags}"), 1, &["no rollout 'autumn'"]);
    }
}

#[test]
fn nobody_answers_and_the_end_stays_the_end_until_retry_or_cancel() {
    let desk = desk();
    desk.write("spring.yaml", rollout("spring", "").as_bytes());
    let first = desk.run("run -f spring.yaml -o json");
    assert_eq!(first.code, 4, "{}", first.err);
    let status: serde_json::Value = serde_json::from_str(&first.out).unwrap();
    assert_eq!(status["outcome"], "stopped");
    let history = desk.ok("history spring").out;
    let again = desk.run("run -f spring.yaml");
    assert_eq!(again.code, 4, "{}", again.err);
    assert!(
        again.err.contains("stopped") && again.err.contains("fwcast rollout retry spring"),
        "{}",
        again.err
    );
    assert_eq!(desk.ok("history spring").out, history);
    assert_eq!(desk.run("status spring --wait").code, 4);
    assert_eq!(desk.run("status spring").code, 0);
    for verb in ["pause", "resume", "approve", "start"] {
        desk.fails(&format!("rollout {verb} spring"), 1, &["spring"]);
    }
    desk.ok("rollout retry spring --reason again\u{1b}[31m");
    assert_eq!(desk.json("status spring")["stage"], "transfer");
    let history = desk.ok("history spring").out;
    assert!(!history.contains('\u{1b}'), "{history}");
    let cancelled = desk.ok("rollout cancel spring --yes").out;
    assert!(cancelled.contains("cancelled") && cancelled.contains("not heard: 3"), "{cancelled}");
    desk.fails("rollout cancel spring --yes", 1, &["has ended", "cancelled"]);
    desk.fails("rollout retry spring", 1, &["was cancelled", "another name"]);
    assert_eq!(desk.run("run -f spring.yaml").code, 4);
}

#[test]
fn two_rollouts_for_the_same_agents() {
    let desk = desk();
    left(&desk);
    desk.write("summer.yaml", paused("summer").as_bytes());
    desk.fails("run -f summer.yaml", 1, &["'spring'", "3 of the agents", "fwcast rollout cancel spring"]);
    desk.fails("rollout start summer", 1, &["no rollout 'summer' that has begun"]);
    // The first one has lost nothing by that.
    assert_eq!(desk.json("status spring")["agents"].as_array().unwrap().len(), 3);
    desk.ok("rollout start spring");
}

#[test]
fn what_has_begun_keeps_its_document_and_its_image() {
    let desk = desk();
    left(&desk);
    let before = desk.json("status spring");
    desk.write(
        "changed.yaml",
        rollout("spring", "  paused: true\n  retry: { max: 2, on: [lost] }\n").as_bytes(),
    );
    for command in ["run", "apply"] {
        let said = ["rollout 'spring' cannot be changed", "undo the change", "fwcast rollout cancel spring"];
        desk.fails(&format!("{command} -f changed.yaml"), 1, &said);
    }
    sign(&desk, 2);
    desk.fails("run -f spring.yaml", 1, &["rollout 'spring' cannot be changed"]);
    sign(&desk, 1);
    desk.write("firmware", &[3; 5_000]);
    desk.fails("run -f spring.yaml", 9, &["not the signed one"]);
    sign(&desk, 1);
    assert_eq!(desk.json("status spring"), before);
    // As it was, it goes on.
    let running = Running::start(&desk, "spring.yaml");
    held(&desk, "spring");
    desk.ok("rollout resume spring --reason x");
    running.interrupt();
    assert_eq!(running.code(), 130);
}

#[test]
fn an_image_document_stays_while_a_rollout_needs_it() {
    let desk = desk();
    let image = |version: &str| {
        format!(
            "apiVersion: fwcast/v1
kind: Image
metadata: {{ name: lamp-firmware }}
spec: {{ version: \"{version}\", file: firmware }}
---
{}",
            paused("spring").replace("image: ./firmware", "image: lamp-firmware")
        )
    };
    desk.write("spring.yaml", image("1.0").as_bytes());
    let running = Running::start(&desk, "spring.yaml");
    begun(&desk, "spring");
    running.interrupt();
    assert_eq!(running.code(), 130);
    sign(&desk, 2);
    desk.fails("run -f spring.yaml", 1, &["image 'lamp-firmware' cannot be changed", "'spring'"]);
    desk.ok("rollout cancel spring --yes");
    assert_eq!(desk.run("status spring --wait").code, 4);
    desk.write("spring.yaml", image("1.1").as_bytes());
    // It has ended, and the image is another one: so it begins anew.
    let running = Running::start(&desk, "spring.yaml");
    let start = Instant::now();
    while desk.json("status spring")["outcome"] != serde_json::Value::Null {
        assert!(start.elapsed() < Duration::from_secs(30), "it does not begin anew");
    }
    running.interrupt();
    assert_eq!(running.code(), 130);
    // One that an editor does not show is refused by the reader, the others as versions.
    for (version, said) in [
        ("1\\u001b[31m", "a version has 1 to 64"),
        ("1\\n2", "a version has 1 to 64"),
        ("\u{202e}1", "invisible character"),
        ("", "a version has 1 to 64"),
    ] {
        desk.write("bad.yaml", image(version).as_bytes());
        let run = desk.run("plan -f bad.yaml");
        assert_eq!(run.code, 1, "{}", run.err);
        assert!(run.err.contains(said), "{}", run.err);
        assert!(!run.err.contains(['\u{1b}', '\u{202e}']), "{}", run.err);
    }
}

#[test]
fn whoever_reads_no_more_stops_nothing() {
    let desk = desk();
    desk.write("spring.yaml", rollout("spring", "").as_bytes());
    for command in ["plan", "run"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = Command::new(env!("CARGO_BIN_EXE_fwcast"))
            .args([command, "-f", "spring.yaml"])
            .current_dir(desk.path("."))
            .env("FWCAST_STATE", desk.path("state"))
            .env("FWCAST_WITNESS", desk.path("witness"))
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .status()
            .unwrap();
        // Nobody answers the rollout.
        assert_eq!(status.code(), Some(if command == "run" { 4 } else { 0 }), "{command}");
    }
}

#[test]
fn a_closed_terminal_stops_a_run_as_an_interruption_does_unless_it_was_to_outlive_it() {
    let desk = desk();
    desk.write("spring.yaml", paused("spring").as_bytes());
    let running = Running::start(&desk, "spring.yaml");
    begun(&desk, "spring");
    running.signal(Signal::SIGHUP);
    assert_eq!(running.code(), 130);
    // As `nohup` starts it.
    let running = Running::by(&desk, &["-c", "trap '' HUP; exec \"$@\"", "sh"], "spring.yaml");
    held(&desk, "spring");
    running.signal(Signal::SIGHUP);
    std::thread::sleep(Duration::from_millis(300));
    held(&desk, "spring");
    running.interrupt();
    assert_eq!(running.code(), 130);
}

#[test]
fn another_process_that_sends_is_waited_for() {
    let desk = desk();
    desk.write("spring.yaml", rollout("spring", "").as_bytes());
    let dir = StateDir::open(&desk.path("state"), &desk.path("witness")).unwrap();
    let sending = GroupLock::to_send(&dir, &Name::new("hall").unwrap()).unwrap();
    let running = Running::start(&desk, "spring.yaml");
    let start = Instant::now();
    let log = || String::from_utf8_lossy(&desk.read("run.log")).into_owned();
    while !log().contains("waiting for another fwcast process") {
        assert!(start.elapsed() < Duration::from_secs(30), "{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(desk.json("status spring")["outcome"], serde_json::Value::Null);
    drop(sending);
    // Nobody is there to answer.
    assert_eq!(running.code(), 4, "{}", log());
    assert_eq!(log().matches("waiting for").count(), 1);
}

#[test]
fn a_group_that_is_taken_between_two_looks_is_waited_for() {
    let desk = desk();
    desk.write("spring.yaml", rollout("spring", "").as_bytes());
    let dir = StateDir::open(&desk.path("state"), &desk.path("witness")).unwrap();
    let (hall, ended) = (Name::new("hall").unwrap(), AtomicBool::new(false));
    let log = || String::from_utf8_lossy(&desk.read("run.log")).into_owned();
    std::thread::scope(|scope| {
        // Another process that sends again and again, and lets go of the group for moments only.
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let sending = GroupLock::to_send(&dir, &hall);
                std::thread::sleep(Duration::from_millis(40));
                drop(sending);
                std::thread::sleep(Duration::from_millis(4));
            }
        });
        let code = Running::start(&desk, "spring.yaml").code();
        ended.store(true, Ordering::Relaxed);
        // Nobody is there to answer.
        assert_eq!(code, 4, "{}", log());
    });
    assert!(!log().contains("paused"), "{}", log());
}

#[test]
fn a_group_that_cannot_be_read_stops_no_other() {
    let desk = desk();
    desk.ok("group create yard --coap-group 239.192.74.2:5685 --interface lo --distributor 127.0.0.1:5685 \
         --root-key root.pem --image-key image.pem.pub");
    desk.write("state/groups/yard/agents.json", b"{");
    desk.write("spring.yaml", paused("spring").as_bytes());
    let plan = desk.run("plan -f spring.yaml");
    assert_eq!(plan.code, 0, "{}", plan.err);
    assert!(plan.err.contains("note: the agents of group 'yard'"), "{}", plan.err);
    left(&desk);
    let order = desk.run("rollout pause spring");
    assert!(order.err.contains("paused already"), "{}", order.err);
}

#[test]
fn wrong_documents_are_refused_before_anything_is_written() {
    let desk = desk();
    let text =
        rollout("spring", "  waves:\n    - { name: one, size: 1 }\n    - { name: rest, size: rest }\n");
    for (from, to, said) in [
        ("selector: {}", "selector: { matchLabels: { model: x } }", "has no agents"),
        ("size: rest", "size: 1", "add up to 2 of 3 agents"),
        ("selector: {}", "agents: [lamp-9]", "'lamp-9'"),
        ("groups: [lamps]", "groups: [others]", "no RolloutGroup 'others'"),
        ("group: hall }", "group: hall }\n  parity: { code: auto, generation: 64 }", "leave it out"),
        (
            "groups: [lamps]",
            "groups: [lamps]\n  windows: { transfer: [{ cron: \"0 0 30 2 *\", for: 1h, tz: Etc/UTC }] }",
            "never opens",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        desk.write("bad.yaml", text.replacen(from, to, 1).as_bytes());
        for command in ["plan", "run"] {
            let run = desk.run(&format!("{command} -f bad.yaml"));
            assert_eq!((run.code, run.out.as_str()), (1, ""), "{to} {}", run.err);
            assert!(run.err.contains(said) && run.err.contains("bad.yaml:"), "{to} {}", run.err);
        }
        desk.fails("status spring", 1, &["no rollout 'spring' that has begun"]);
    }
    desk.ok(&format!(
        "{} --out other.suit",
        SIGN.replace("--class lamp-2", "--class other").replace(" --out firmware.suit", "",)
    ));
    std::fs::rename(desk.path("other.suit"), desk.path("firmware.suit")).unwrap();
    desk.write("bad.yaml", text.as_bytes());
    for command in ["plan", "run"] {
        let run = desk.run(&format!("{command} -f bad.yaml"));
        assert_eq!(run.code, 1, "{}", run.err);
        assert!(run.err.contains("no agent of group 'lamps' can take the image"), "{}", run.err);
    }
}

#[test]
fn a_plan_writes_nothing_and_says_whether_something_would_change() {
    let desk = desk();
    desk.write("spring.yaml", rollout("spring", "").as_bytes());
    let run = desk.run("plan -f spring.yaml --exit-code");
    assert_eq!(run.code, 3, "{}", run.err);
    assert!(run.err.contains("to 3 agents: 5 blocks, 1 s on the air with 5% loss"), "{}", run.err);
    assert_eq!(desk.run("plan -f spring.yaml").code, 0);
    desk.fails("plan -f spring.yaml --loss 101%", 2, &["from 0% to 100%"]);
    assert_eq!(desk.json("get rollouts"), serde_json::json!([]));
    assert_eq!(desk.run("run -f spring.yaml -q").code, 4);
    // It has ended, and would not be done again.
    assert_eq!(desk.run("plan -f spring.yaml --exit-code").code, 0);
    sign(&desk, 2);
    assert_eq!(desk.run("plan -f spring.yaml --exit-code").code, 3);
}
