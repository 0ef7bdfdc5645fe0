//! What an operator does to keys and state on a bad day.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;
#[path = "../store/tests/store_suite/mod.rs"]
mod store_suite;

use std::fs;
use std::net::UdpSocket;
use std::process::Command;

use common::{CREATE_HALL, Desk, ENROLL_LAMP};
use fwcast_store::{BUSY_MAX, InFile as _, SqliteStore};
use provisioning::{AgentFile, yaml};
use store_suite::begin;

/// A desk with two groups of one agent each, that can send.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.ok("key generate --kind root --out root.pem");
    desk.ok("key generate --kind image --out image.pem");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let create = CREATE_HALL.replace("5690", &socket.local_addr().unwrap().port().to_string());
    desk.ok(&create);
    desk.ok(&create.replace("hall", "yard").replace("239.192.0.1", "239.192.0.2"));
    desk.ok(ENROLL_LAMP);
    desk.ok(&ENROLL_LAMP.replace("lamp-1.yaml", "yard.yaml").replace("hall", "yard"));
    desk
}

fn copy(desk: &Desk, from: &str, to: &str) {
    let done = Command::new("cp").arg("-a").arg(desk.path(from)).arg(desk.path(to)).status().unwrap();
    assert!(done.success());
}

/// Asks the group, in which nobody listens.
fn can_send(desk: &Desk, group: &str) {
    let run = desk.run(&format!("status --group {group}"));
    assert!(run.code != 8 && !run.err.contains("error:"), "{group}: {} {}", run.code, run.err);
}

fn file(desk: &Desk, name: &str) -> AgentFile {
    yaml::from_str(&String::from_utf8(desk.read(name)).unwrap()).unwrap()
}

#[test]
fn a_copy_of_the_state_takes_nothing_from_the_original() {
    let desk = desk();
    can_send(&desk, "hall");
    copy(&desk, "state", "copy");
    let before = desk.files("witness").iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    for command in [
        "status --group hall".to_owned(),
        ENROLL_LAMP.replace("lamp-1", "lamp-2"),
        "group create hall --replace --yes".to_owned(),
    ] {
        desk.fails(
            &format!("--state copy {command}"),
            8,
            &["copy' is a copy of", "state', which is still there"],
        );
    }
    let after = desk.files("witness").iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    assert_eq!(before, after);
    for group in ["hall", "yard"] {
        can_send(&desk, group);
    }
    // A folder that was moved is no copy, wherever it is.
    fs::rename(desk.path("state"), desk.path("moved")).unwrap();
    fs::remove_dir_all(desk.path("copy")).unwrap();
    fs::rename(desk.path("moved"), desk.path("state")).unwrap();
    can_send(&desk, "hall");
}

#[test]
fn only_what_was_used_since_is_in_doubt() {
    let desk = desk();
    can_send(&desk, "hall");
    can_send(&desk, "yard");
    copy(&desk, "state", "old");
    can_send(&desk, "hall");
    fs::rename(desk.path("state"), desk.path("lost")).unwrap();
    fs::rename(desk.path("old"), desk.path("state")).unwrap();
    desk.fails("status --group hall", 8, &["'hall'", "fwcast group rekey hall"]);
    fs::remove_dir_all(desk.path("lost")).unwrap();
    can_send(&desk, "yard");
}

#[test]
fn agents_put_back_from_an_old_copy_give_no_sender_id_twice() {
    let desk = desk();
    let agents = desk.read("state/groups/hall/agents.json");
    let second = desk.json(&ENROLL_LAMP.replace("lamp-1", "lamp-2"));
    desk.write("state/groups/hall/agents.json", &agents);
    let third = desk.json(&ENROLL_LAMP.replace("lamp-1", "lamp-3"));
    assert_eq!((&second["sender_id"], &third["sender_id"]), (&"02".into(), &"03".into()));
}

#[test]
fn enrolled_again_every_setting_stays_and_every_key_is_new() {
    let desk = desk();
    desk.ok("agent enroll lamp-2 --group hall --vendor acme.example --class lamp-2 --label ring=canary \
             --interface \
             eth7 --listen-port 61616 --agent-state /data --activate-command /bin/switch \
             --activate-command=--now --activate-deadline 400s --ready-command /bin/idle --ready-deadline 2h \
             --ready-interval 9s --health-command /bin/check --health-deadline 5min --health-interval 10s \
             --out a.yaml");
    desk.ok("agent enroll lamp-2 --group hall --again --out b.yaml");
    let (old, new) = (file(&desk, "a.yaml"), file(&desk, "b.yaml"));
    assert_eq!(old.linux, new.linux);
    assert_eq!(
        (old.provisioning.vendor, old.provisioning.class),
        (new.provisioning.vendor, new.provisioning.class)
    );
    assert_ne!(old.provisioning.key.group_sender_id, new.provisioning.key.group_sender_id);
    assert_ne!(old.provisioning.private_key, new.provisioning.private_key);
    assert_ne!(old.provisioning.manager, new.provisioning.manager);
    let text = String::from_utf8(desk.read("b.yaml")).unwrap();
    assert!(text.starts_with("# Enrolled again: ") && text.contains("every setting is as before"), "{text}");
    // Also behind a new group, and what is given changes alone.
    desk.ok("group create hall --replace --yes");
    desk.ok("agent enroll lamp-2 --group hall --again --health-command /bin/other --out c.yaml");
    let third = file(&desk, "c.yaml").linux;
    assert_eq!(third.health_command.as_deref(), Some(&["/bin/other".to_owned()][..]));
    assert_eq!((third.activate_command, third.interface), (old.linux.activate_command, old.linux.interface));
    let text = String::from_utf8(desk.read("c.yaml")).unwrap();
    assert!(text.lines().next().unwrap().ends_with("changed settings: health_command."), "{text}");
}

#[test]
fn a_microcontroller_enrolled_again_keeps_its_settings() {
    let desk = desk();
    desk.ok("agent enroll node-1 --group hall --vendor acme.example --class node --format cbor --address \
             127.0.0.7/8 --router 127.0.0.1 --health-deadline 2h --health-rule self-test --recovery none \
             --out a.cbor");
    desk.ok("agent enroll node-1 --group hall --again --out b.cbor");
    let (a, b) = (desk.read("a.cbor"), desk.read("b.cbor"));
    let old = provisioning::cbor::Provisioning::read(&a).unwrap();
    let new = provisioning::cbor::Provisioning::read(&b).unwrap();
    assert_eq!(old.health, new.health);
    assert_ne!(a, b);
    desk.fails(
        "agent enroll node-2 --group hall --vendor acme.example --class node --format cbor --out c.cbor",
        2,
        &["--address"],
    );
}

#[test]
fn replacing_a_group_asks_keeps_its_settings_and_waits_for_rollouts() {
    let desk = desk();
    desk.ok("group set hall --rate 4Mbit/s --hops 5");
    let old = desk.json("group show hall");
    assert_eq!((&old["rate_bits_per_second"], &old["hops"]), (&4_000_000.into(), &5.into()));
    desk.fails("group create hall --replace", 2, &["group 'hall' was left as it is", "--yes"]);
    desk.fails("agent remove hall/lamp-1", 2, &["'hall/lamp-1' was left as it is", "--yes"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        desk.ok("get agents");
        let store = SqliteStore::open_file(&desk.path("state/fwcast.db"), BUSY_MAX).await.unwrap();
        begin(&store, "spring", &["yard/lamp-1"]).await.unwrap();
        store.close().await;
    });
    desk.fails(
        "group create yard --replace --yes",
        1,
        &["rollout 'spring' has not ended and needs group 'yard'", "fwcast rollout cancel spring"],
    );
    desk.ok("group create hall --replace --yes");
    let new = desk.json("group show hall");
    for kept in [
        "rate_bits_per_second",
        "hops",
        "coap_group",
        "interface",
        "distributor",
        "root_key",
        "image_keys",
        "aead",
    ] {
        assert_eq!(old[kept], new[kept], "{kept}");
    }
    assert_ne!(old["gid"], new["gid"]);
}

#[test]
fn what_agents_know_of_a_group_is_not_set() {
    let desk = desk();
    for option in ["--coap-group 239.192.0.9:5683", "--distributor 127.0.0.1:5999", "--block-size 512"] {
        desk.fails(&format!("group set hall {option}"), 2, &["agents of group 'hall' know", "--replace"]);
    }
    desk.fails("group set hall", 2, &["--interface, --rate, --hops or --parity"]);
    desk.fails("group set hall --interface nosuch0", 1, &["nosuch0"]);
    desk.fails("group set nowhere --rate 2Mbit/s", 1, &["no group 'nowhere'"]);
}

#[test]
fn the_root_key_need_never_be_on_the_distributor() {
    let offline = Desk::new();
    offline.ok("key generate --kind root --out root.key");
    offline.ok("key generate --kind root --out other.key");
    for name in ["one", "two"] {
        offline.ok(&format!("key generate --kind image --out {name}.key"));
    }
    let set = offline.json("key set --root root.key --add one.key.pub two.key.pub --out keys.cbor");
    assert_eq!((&set["version"], set["image_keys"].as_array().unwrap().len()), (&1.into(), 2));
    offline.fails(
        "key set --root root.key --add one.key.pub --out keys.cbor",
        1,
        &["keys.cbor", "not overwritten"],
    );
    offline.fails("key set --root one.key --add one.key.pub --out x.cbor", 1, &["is the image key"]);
    let desk = Desk::new();
    for name in ["keys.cbor", "root.key.pub", "other.key.pub"] {
        desk.write(name, &offline.read(name));
    }
    let create = "group create hall --coap-group 239.192.0.1:5683 --interface lo --distributor \
                  127.0.0.1:5690 --key-set";
    desk.fails(&format!("{create} keys.cbor --root-key other.key.pub"), 9, &["another root key"]);
    let mut spoiled = desk.read("keys.cbor");
    *spoiled.last_mut().unwrap() ^= 1;
    desk.write("spoiled.cbor", &spoiled);
    desk.fails(&format!("{create} spoiled.cbor"), 9, &["'spoiled.cbor' is no key set"]);
    desk.write("none.cbor", b"nothing");
    desk.fails(&format!("{create} none.cbor"), 9, &["'none.cbor' is no key set"]);
    let group = desk.ok(&format!("{create} keys.cbor --root-key root.key.pub -o json"));
    let group: serde_json::Value = serde_json::from_str(&group.out).unwrap();
    assert_eq!((&group["root_key"], &group["image_keys"]), (&set["root_key"], &set["image_keys"]));
    desk.ok(ENROLL_LAMP);
    file(&desk, "lamp-1.yaml").provisioning.check().unwrap();
}

const TABLE: &str = "\u{feff}name,label:site,health-command\r\n00:1A:2b:ff:00:01,a,/bin/check --fast\r\n\
                     lamp.example.com,b,\r\nSN0012,\"a\",\r\n";

#[test]
fn many_agents_are_enrolled_from_a_table_also_after_an_interruption() {
    let desk = desk();
    let import = "agent import lamps.csv --out-dir files --group hall --vendor acme.example --class lamp-2";
    desk.write("lamps.csv", TABLE.as_bytes());
    let run = desk.ok(import);
    assert!(run.err.contains("3 agents enrolled, 0 enrolled before"), "{}", run.err);
    let first = file(&desk, "files/00-1A-2b-ff-00-01.yaml");
    assert_eq!(first.provisioning.name.as_str(), "00:1A:2b:ff:00:01");
    assert_eq!(first.linux.health_command.unwrap(), ["/bin/check", "--fast"]);
    assert_eq!(desk.mode("files/SN0012.yaml"), 0o600);
    let listed = desk.ok("agent list -l site=a -o name").out;
    assert_eq!(listed, "hall/00:1A:2b:ff:00:01\nhall/SN0012\n");
    // The record was written, one file has not got its name; another agent is not enrolled yet.
    fs::rename(desk.path("files/SN0012.yaml"), desk.path("files/SN0012.yaml.new")).unwrap();
    desk.ok("agent remove lamp.example.com --yes");
    fs::rename(desk.path("files/lamp.example.com.yaml"), desk.path("files/lamp.example.com.yaml.new"))
        .unwrap();
    let run = desk.ok(import);
    assert!(run.err.contains("1 agent enrolled, 2 enrolled before"), "{}", run.err);
    let again = file(&desk, "files/lamp.example.com.yaml");
    assert_eq!(hex::encode(again.provisioning.key.group_sender_id.as_bytes()), "05");
    assert!(desk.path("files/SN0012.yaml").exists());
    assert!(!desk.files("files").iter().any(|path| path.extension().is_some_and(|it| it == "new")));
    // A label for all that a selector chooses.
    let labelled = desk.json("agent label -l site=a floor=3");
    assert_eq!(labelled.as_array().unwrap().len(), 2);
    assert_eq!(desk.ok("get agents -l floor=3 -o name").out, listed);
    desk.fails("agent label lamp.example.com", 2, &["no label is given"]);
}

#[test]
fn a_wrong_table_enrolls_nobody_and_says_which_line() {
    let desk = desk();
    let import = "agent import lamps.csv --out-dir files --group hall --vendor acme.example --class lamp-2";
    for (table, said) in [
        ("name,colour\na,b\n", "lamps.csv':1: there is no column 'colour'"),
        ("label:site\na\n", "no column 'name'"),
        ("name,name\na,b\n", "'name' is there twice"),
        ("name\nlamp-7\nlamp-8,x\n", "lamps.csv':3:"),
        ("name\nlamp-7\nlamp/8\n", "lamps.csv':3: name: a name has only"),
        ("name\nlamp-7\nlamp-7\n", "lamps.csv':3: agent 'lamp-7' is there twice"),
        (
            "name\nlamp:7\nlamp-7\n",
            "lamps.csv':3: the agents of this line and of line 2 would both have the file",
        ),
        // What one program takes for the end of a line and another one does not.
        ("name,label:site\nlamp-7,a\u{85}\n", "lamps.csv':2:9: there is a line separator here (U+0085)"),
        ("name\nlamp-7\u{2028}lamp-8\n", "lamps.csv':2:7: there is a line separator here (U+2028)"),
        ("name\rlamp-7\r", "lamps.csv':1:5: there is a carriage return alone"),
        ("name,health-deadline\nlamp-7,soon\n", "lamps.csv':2: health-deadline: a time"),
    ] {
        desk.write("lamps.csv", table.as_bytes());
        let run = desk.run(import);
        assert!(run.code == 1 && run.err.contains(said), "{table}: {}", run.err);
        assert_eq!(desk.ok("agent list --group hall -o name").out, "hall/lamp-1\n");
    }
}

#[test]
fn a_thousand_lines_are_imported_within_ten_seconds() {
    let desk = desk();
    let lines: String = (0..1000).map(|number| format!("SN{number:04}\n")).collect();
    desk.write("lamps.csv", format!("name\n{lines}").as_bytes());
    let began = std::time::Instant::now();
    desk.ok("agent import lamps.csv --out-dir files --group hall --vendor acme.example --class lamp-2");
    // Also where other tests have the processors.
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    assert_eq!(desk.files("files").len(), 1000);
}

#[test]
fn what_only_looks_creates_nothing() {
    let desk = Desk::new();
    desk.write("first.yaml", b"apiVersion: fwcast/v1\nkind: Image\nmetadata: { name: a }\nspec: {}\n");
    for command in
        ["get agents", "status spring", "history", "events", "describe agent a", "agent list", "group list"]
    {
        desk.fails(command, 1, &["there is no state folder", "fwcast group create"]);
    }
    desk.ok("config view");
    assert!(!desk.path("state").exists() && !desk.path("witness").exists());
    desk.fails("key generate --kind root --out root.pem -o name", 2, &["has a name"]);
    assert!(!desk.path("root.pem").exists());
}

#[test]
fn lists_are_narrowed_and_names_without_events_are_refused() {
    let desk = desk();
    assert_eq!(desk.ok("get agents --group yard -o name").out, "yard/lamp-1\n");
    assert_eq!(desk.ok("get agents --progress confirmed -o name").out, "");
    assert_eq!(desk.ok("get agents --version 7 -o name").out, "");
    desk.fails("get agents --group nowhere", 1, &["no group 'nowhere'"]);
    desk.fails("get rollouts --group yard", 2, &["fwcast get agents"]);
    desk.fails("get agents --progress glowing", 2, &["unknown variant 'glowing'"]);
    desk.fails("events --rollout typo", 1, &["no rollout 'typo'"]);
}

#[test]
fn what_operators_name_stays_plain() {
    let desk = desk();
    let create = CREATE_HALL.replace("create hall", "create Hall.1").replace("239.192.0.1", "239.192.0.3");
    desk.fails(&create, 2, &["a-z, 0-9"]);
    desk.fails("agent label hall/lamp-1 Ring.x=a", 2, &["a label's key"]);
    desk.write(
        "a.yaml",
        b"apiVersion: fwcast/v1\nkind: Image\nmetadata: { name: a.b }\nspec: { version: '1', file: ./x }\n",
    );
    let run = desk.run("validate -f a.yaml");
    assert!(run.code == 1 && run.err.contains("3 | metadata") && run.err.contains("a-z, 0-9"), "{}", run.err);
}
