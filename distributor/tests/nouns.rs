//! get, describe, delete, history, events and labels, as operators use them.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;
#[path = "../store/tests/store_suite/mod.rs"]
mod store_suite;

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use common::{CREATE_HALL, Desk, ENROLL_LAMP};
use fwcast_store::Documents as _;
use fwcast_store::InFile as _;
use fwcast_store::Rollouts as _;
use fwcast_store::kind::Kind;
use fwcast_store::{BUSY_MAX, NewDocument, SqliteStore, Step};
use rollout_engine::record::{Outcome, Progress};
use serde_json::json;
use store_suite::{begin, fact, key, name, record, step};

/// A desk with two groups, three agents, documents, and a rollout that runs.
fn desk() -> Desk {
    let desk = Desk::with_group();
    desk.ok(&CREATE_HALL.replace("hall", "yard").replace("239.192.0.1", "239.192.0.2"));
    desk.ok(&format!("{ENROLL_LAMP} --label ring=canary"));
    desk.ok(&ENROLL_LAMP.replace("lamp-1", "lamp-2"));
    desk.ok(&ENROLL_LAMP.replace("lamp-1.yaml", "other.yaml").replace("hall", "yard"));
    desk.ok("get agents");
    on_store(&desk, async |store| {
        let document = |kind, text: &str, spec| NewDocument {
            kind,
            name: name(text),
            labels: [("site".to_owned(), "hall-3".to_owned())].into(),
            spec,
        };
        let documents = [
            document(Kind::RolloutGroup, "lights", json!({"text": "a\u{1b}[2Jb"})),
            document(Kind::Image, "lamp", json!({"digest": "sha256:00"})),
            document(Kind::Rollout, "spring", json!({})),
            document(Kind::Rollout, "autumn", json!({})),
        ];
        store.apply(&documents, "me", jiff::Timestamp::now()).await.unwrap();
        begin(store, "spring", &["hall/lamp-1", "hall/lamp-2"]).await.unwrap();
        let agents = [(key("hall/lamp-1"), record(Progress::RolledBack))];
        let facts = [
            fact(1, "spring", None, "begun"),
            fact(2, "spring", Some("hall/lamp-1"), "rolled back\u{1b}[31m\nas\u{202e} told"),
        ];
        let mut agents = agents;
        agents[0].1.wave = 0;
        store.save(Step { agents: &agents, facts: &facts, ..step(&name("spring"), "1") }).await.unwrap();
    });
    desk
}

fn on_store(desk: &Desk, work: impl AsyncFnOnce(&SqliteStore)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open_file(&desk.path("state/fwcast.db"), BUSY_MAX).await.unwrap();
        work(&store).await;
        store.close().await;
    });
}

/// The names that a command prints.
fn names(desk: &Desk, words: &str) -> Vec<String> {
    desk.ok(&format!("{words} -o name")).out.lines().map(str::to_owned).collect()
}

#[test]
fn agents_are_listed_selected_and_described() {
    let desk = desk();
    assert_eq!(names(&desk, "get agents"), ["hall/lamp-1", "hall/lamp-2", "yard/lamp-1"]);
    assert_eq!(names(&desk, "get agt -l ring=canary"), ["hall/lamp-1"]);
    assert_eq!(names(&desk, "get agents -l ring!=canary"), ["hall/lamp-2", "yard/lamp-1"]);
    assert_eq!(names(&desk, "get agents lamp-2 yard/lamp-1"), ["hall/lamp-2", "yard/lamp-1"]);
    assert_eq!(names(&desk, "agent list"), names(&desk, "get agents"));
    assert_eq!(names(&desk, "agent list --group yard"), ["yard/lamp-1"]);
    assert_eq!(names(&desk, "agent list -l ring"), ["hall/lamp-1"]);
    let first = &desk.json("get agents")[0];
    assert_eq!((&first["progress"], &first["rollout"]), (&"rolled-back".into(), &"spring".into()));
    assert!(first["enrolled_at"].is_string());
    let table = desk.ok("get agents").out;
    assert!(
        table.starts_with(" GROUP") && table.contains("rolled-back") && table.contains("ring=canary"),
        "{table}"
    );
    assert!(!table.contains("acme") && desk.ok("get agents -o wide").out.contains("SENDER ID"));
    let described = desk.ok("describe agent hall/lamp-1").out;
    assert!(described.contains("rolled back\\u{1b}[31m\\nas\\u{202e} told"), "{described}");
    desk.fails("get agents lamp-1", 2, &["2 groups", "'hall/lamp-1'", "'yard/lamp-1'"]);
    desk.fails("describe agent lamp-9", 1, &["no agent 'lamp-9'", "fwcast agent list"]);
    desk.fails("describe agent nowhere/lamp-1", 1, &["no agent 'nowhere/lamp-1'"]);
    desk.fails("get agents -l a=b=c", 2, &["a=b=c"]);
}

#[test]
fn labels_change_and_agents_go() {
    let desk = desk();
    let changed = desk.json("agent label hall/lamp-1 ring=prod hw=b");
    assert_eq!(changed[0]["labels"], json!({"hw": "b", "ring": "prod"}));
    desk.ok("agent label lamp-1 --group hall ring-");
    assert_eq!(desk.json("get agents -l hw=b")[0]["labels"], json!({"hw": "b"}));
    desk.fails("agent label lamp-1 ring=x", 2, &["2 groups"]);
    desk.fails("agent label lamp-2 ring=a/b", 2, &["letters, digits"]);
    let run = desk.ok("agent remove yard/lamp-1 --yes");
    assert!(run.err.contains("group rekey yard"), "{}", run.err);
    assert_eq!(names(&desk, "get agents"), ["hall/lamp-1", "hall/lamp-2"]);
    desk.ok("delete agent lamp-2 --yes");
    assert_eq!(names(&desk, "agent list"), ["hall/lamp-1"]);
    // A Sender ID is never given again.
    let again = desk.json(&ENROLL_LAMP.replace("lamp-1 ", "lamp-2 ").replace("lamp-1.yaml", "new.yaml"));
    assert_eq!(again["sender_id"], "03");
}

#[test]
fn documents_are_listed_described_and_deleted() {
    let desk = desk();
    assert_eq!(names(&desk, "get groups"), ["lights"]);
    assert_eq!(names(&desk, "get img -l site=hall-3"), ["lamp"]);
    assert!(names(&desk, "get images -l site=other").is_empty());
    assert_eq!(desk.json("get groups")[0]["generation"], 1);
    let described = desk.ok("describe group lights").out;
    assert!(!described.contains('\u{1b}'), "{described}");
    assert_eq!(desk.json("describe image lamp")["spec"]["digest"], "sha256:00");
    desk.fails("get images lamp other", 1, &["no image 'other'", "fwcast get images"]);
    desk.fails("describe group nothing", 1, &["no rollout group 'nothing'"]);
    desk.fails("delete rollout summer --yes", 1, &["no rollout 'summer'"]);
    for used in ["group lights", "image lamp", "rollout spring"] {
        desk.fails(&format!("delete {used} --yes"), 1, &["'spring' uses it", "fwcast rollout cancel spring"]);
    }
    on_store(&desk, async |store| {
        store.save(Step { outcome: Some(Outcome::Stopped), ..step(&name("spring"), "2") }).await.unwrap();
    });
    for used in ["group lights", "image lamp", "rollout spring"] {
        desk.ok(&format!("delete {used} --yes"));
    }
    assert_eq!(names(&desk, "get rollouts"), ["autumn"]);
}

#[test]
fn rollouts_are_listed_and_described() {
    let desk = desk();
    let all = desk.json("get ro");
    let states: Vec<_> = all.as_array().unwrap().iter().map(|row| (&row["name"], &row["state"])).collect();
    assert_eq!(states, [(&json!("autumn"), &json!("not-begun")), (&json!("spring"), &json!("no-process"))]);
    assert_eq!(all[1]["agents"], json!({"waiting": 1, "rolled-back": 1}));
    let described = desk.ok("describe rollout spring").out;
    for word in ["no-process", "lamp 2.4.1", "lights (2 agents)", "all: 1 rolled-back", "begun"] {
        assert!(described.contains(word), "{word}\n{described}");
    }
    assert_eq!(desk.json("describe rollout autumn")["plan"], json!(null));
    assert_eq!(names(&desk, "history"), ["spring"]);
}

/// A `fwcast events -f` with this option, and what it prints.
fn follow(desk: &Desk, option: [&str; 2]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fwcast"))
        .args(["events", "-f", "-o", "jsonl"])
        .args(option)
        .env("FWCAST_STATE", desk.path("state"))
        .env("FWCAST_WITNESS", desk.path("witness"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

#[test]
fn events_are_told_and_followed() {
    let desk = desk();
    let all = desk.json("events --rollout spring");
    let kinds: Vec<_> = all.as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[..2], ["document-created", "wave-activated"]);
    assert_eq!((kinds.len(), &all[2]["agent"]), (3, &json!("hall/lamp-1")));
    assert_eq!(all[1]["apiVersion"], "fwcast/v1");
    // Before them, the group was created and its agents were enrolled.
    let (first, second) = (all[1]["id"].clone(), all[2]["id"].clone());
    assert_eq!(desk.json("events")[0]["kind"], "group-created");
    assert_eq!(desk.ok("events --rollout autumn -o jsonl").out.lines().count(), 1);
    let history = desk.json("history hall/lamp-1");
    let kinds: Vec<_> = history.as_array().unwrap().iter().map(|event| &event["kind"]).collect();
    assert_eq!((kinds.len(), kinds[0]), (2, &json!("agent-enrolled")));
    assert_eq!(desk.json("history spring --limit 1")[0]["id"], second);
    assert_eq!(desk.json(&format!("events --after {first}")).as_array().unwrap().len(), 1);
    desk.fails("history nothing", 1, &["no agent 'nothing'"]);
    desk.fails("events -f -o json", 2, &["jsonl"]);
    desk.fails("events -o name", 2, &["has a name"]);

    let (mut child, mut lines) = follow(&desk, ["--rollout", "spring"]);
    let mut next = || serde_json::from_str::<serde_json::Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["kind"], "document-created");
    assert_eq!((&next()["id"], &next()["id"]), (&first, &second));
    on_store(&desk, async |store| {
        let facts = [fact(3, "spring", None, "later"), fact(4, "autumn", None, "of another")];
        store.save(Step { facts: &facts, ..step(&name("spring"), "2") }).await.unwrap();
        store
            .save(Step { facts: &[fact(5, "spring", None, "last")], ..step(&name("spring"), "3") })
            .await
            .unwrap();
    });
    assert_eq!((&next()["text"], &next()["text"]), (&json!("later"), &json!("last")));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), nix::sys::signal::SIGINT)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn without_history_only_what_is_new_is_followed() {
    let desk = desk();
    let (mut child, mut lines) = follow(&desk, ["--limit", "0"]);
    let first = std::thread::spawn(move || lines.next().unwrap().unwrap());
    // It may not listen yet: what happens before it does is history as well.
    for second in 3..100 {
        on_store(&desk, async |store| {
            let facts = [fact(second, "spring", None, "later")];
            store.save(Step { facts: &facts, ..step(&name("spring"), "2") }).await.unwrap();
        });
        std::thread::sleep(std::time::Duration::from_millis(100));
        if first.is_finished() {
            break;
        }
    }
    let first: serde_json::Value = serde_json::from_str(&first.join().unwrap()).unwrap();
    assert_eq!(first["text"], "later");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn every_form_can_be_had_and_colours_only_when_asked_for() {
    let desk = desk();
    assert_eq!(desk.ok("get agents -o jsonl").out.lines().count(), 3);
    assert!(desk.ok("get agents -o yaml").out.starts_with("- name: lamp-1\n  group: hall\n"));
    assert!(!desk.ok("get agents").out.contains('\u{1b}'));
    assert!(!desk.ok("get agents --color never").out.contains('\u{1b}'));
    assert!(desk.ok("get agents --color always").out.contains("\u{1b}[38;5;9m"));
    assert!(!desk.ok("get agents --color always -o json").out.contains('\u{1b}'));
}
