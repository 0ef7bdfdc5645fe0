//! State that was restored is noticed, and nothing is sent until the group has fresh keys.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use std::fs;
use std::net::UdpSocket;
use std::ops::Deref;

use common::{CREATE_HALL, Desk, ENROLL_LAMP, SIGN};
use fwcast_state::{GroupLock, GroupState, MachineId, SequenceStore, StateDir};
use provisioning::{AgentFile, Name, yaml};

/// A desk with an agent and a signed image. Nobody listens, so a push finds no one.
struct Sender {
    desk: Desk,
    /// Makes its group, with a port of its own.
    create: String,
}

impl Deref for Sender {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

fn desk() -> Sender {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let create = CREATE_HALL.replace("5690", &port.to_string());
    let desk = Desk::new();
    desk.ok("key generate --kind root --out root.pem");
    desk.ok("key generate --kind image --out image.pem");
    desk.ok(&create);
    desk.ok(ENROLL_LAMP);
    desk.write("firmware", &[7; 5000]);
    desk.ok(SIGN);
    Sender { desk, create }
}

const PUSH: &str =
    "push firmware --envelope firmware.suit --group hall --transfer-within 1s --rate 10Mbit/s --quiet";

fn can_send(desk: &Sender) {
    let run = desk.run(PUSH);
    assert!(run.code == 4 && run.err.contains("0 of 1 agent confirmed"), "{} {}", run.code, run.err);
}

fn cannot_send(desk: &Sender) {
    for command in [PUSH, "status --group hall"] {
        desk.fails(command, 8, &["'hall'", "restored from a backup", "fwcast group rekey hall"]);
    }
    // This group has no Group Manager that could bring new keys.
    let why = ["has no address of a Group Manager", "--replace", "enroll its agents again"];
    desk.fails("group rekey hall", 1, &why);
}

/// With fresh keys and its agent enrolled again, the group sends.
fn fresh_keys_help(desk: &Sender) {
    desk.ok(&format!("{} --replace --yes", desk.create));
    assert_eq!(desk.json("get agents")[0]["sender_id"], serde_json::Value::Null);
    desk.ok("agent enroll lamp-1 --group hall --again --out again.yaml");
    can_send(desk);
}

/// The database, put aside or put back as someone would by hand.
fn copy_database(desk: &Desk, from: &str, to: &str) {
    fs::create_dir_all(desk.path(to)).unwrap();
    for name in ["fwcast.db", "fwcast.db-wal", "fwcast.db-shm"] {
        let _ = fs::remove_file(desk.path(to).join(name));
        let source = desk.path(from).join(name);
        if source.exists() {
            fs::copy(source, desk.path(to).join(name)).unwrap();
        }
    }
}

#[test]
fn a_backup_holds_everything_but_counters_and_is_restored_whole() {
    let desk = desk();
    desk.ok("agent label lamp-1 ring=canary");
    can_send(&desk);
    desk.ok("backup --out all.tar");
    assert_eq!(desk.mode("all.tar"), 0o600);
    let archive = String::from_utf8_lossy(&desk.read("all.tar")).into_owned();
    assert!(archive.contains("groups/hall/agents.json") && !archive.contains("groups/hall/sequence"));
    desk.fails("backup --out all.tar", 1, &["all.tar", "not overwritten"]);
    desk.fails("restore all.tar", 1, &["state", "already", "move its contents away"]);

    fs::rename(desk.path("state"), desk.path("gone")).unwrap();
    let run = desk.ok("restore all.tar");
    assert!(run.err.contains("fwcast group rekey hall"), "{}", run.err);
    let agents = desk.json("get agents");
    assert_eq!((&agents[0]["name"], &agents[0]["labels"]["ring"]), (&"lamp-1".into(), &"canary".into()));
    for file in desk.files("state") {
        assert_eq!(desk.mode(file.to_str().unwrap()), 0o600, "{}", file.display());
    }
    cannot_send(&desk);
    // The counters put back by hand do not undo it.
    fs::copy(desk.path("gone/groups/hall/sequence"), desk.path("state/groups/hall/sequence")).unwrap();
    assert_eq!(desk.run(PUSH).code, 8);
    fresh_keys_help(&desk);
}

#[test]
fn a_backup_restored_on_another_machine_sends_nothing_either() {
    let desk = desk();
    desk.ok("backup --out all.tar");
    fs::rename(desk.path("state"), desk.path("gone")).unwrap();
    fs::rename(desk.path("witness"), desk.path("gone-too")).unwrap();
    desk.ok("restore all.tar");
    cannot_send(&desk);
    fresh_keys_help(&desk);
}

#[test]
fn a_backup_that_is_cut_or_changed_restores_nothing() {
    let desk = desk();
    desk.ok("backup --out all.tar");
    let whole = desk.read("all.tar");
    fs::rename(desk.path("state"), desk.path("gone")).unwrap();
    let database = whole.windows(15).position(|window| window == b"SQLite format 3").unwrap();
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("cut", whole[..whole.len() / 2].to_vec()),
        (
            "without its list",
            whole[..whole.windows(10).rposition(|it| it == b"index.json").unwrap()].to_vec(),
        ),
        ("changed", {
            let mut changed = whole.clone();
            changed[database + 3000] ^= 1;
            changed
        }),
        ("something else", b"not a backup".repeat(200)),
    ] {
        desk.write("bad.tar", &bytes);
        desk.chmod("bad.tar", 0o600);
        let run = desk.run("restore bad.tar");
        assert_eq!(run.code, 1, "{what}: {}", run.err);
        assert!(run.err.contains("'bad.tar' is not a complete fwcast backup"), "{what}: {}", run.err);
        assert_eq!(
            desk.files("state").iter().filter(|path| !path.to_str().unwrap().contains("locks")).count(),
            0
        );
    }
    desk.chmod("all.tar", 0o644);
    desk.fails("restore all.tar", 8, &["all.tar", "chmod 600"]);
    desk.chmod("all.tar", 0o600);
    desk.ok("restore all.tar");
}

#[test]
fn a_path_in_a_backup_cannot_lead_elsewhere() {
    let desk = Desk::new();
    for name in
        ["../../evil", "/tmp/evil", "groups/hall/../../../evil", "groups/hall/sequence", "locks/hall.send"]
    {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(4);
        header.set_mode(0o600);
        header.set_cksum();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append(&header, &b"evil"[..]).unwrap();
        desk.write("evil.tar", &archive.into_inner().unwrap());
        desk.chmod("evil.tar", 0o600);
        desk.fails("restore evil.tar", 1, &["does not belong there"]);
        assert!(!desk.path("evil").exists());
    }
}

#[test]
fn a_database_put_back_by_hand_stops_what_was_used_since() {
    let desk = desk();
    desk.ok(&desk.create.replace("hall", "yard").replace("239.192.0.1", "239.192.0.2"));
    can_send(&desk);
    copy_database(&desk, "state", "old");
    can_send(&desk);
    copy_database(&desk, "old", "state");
    cannot_send(&desk);
    desk.fails("status --group yard", 1, &["'yard' has no agents"]);
    fresh_keys_help(&desk);
}

#[test]
fn a_crash_between_database_and_witness_is_no_restored_state() {
    let desk = desk();
    can_send(&desk);
    let witness =
        desk.files("witness").into_iter().find(|path| path.extension().is_some_and(|it| it == "epoch"));
    let witness = witness.unwrap();
    let before = fs::read(&witness).unwrap();
    can_send(&desk);
    // The database was raised, its witness not yet.
    fs::write(&witness, before).unwrap();
    can_send(&desk);
    copy_database(&desk, "state", "now");
    can_send(&desk);
    // The witness was repaired: what is put back now is noticed.
    copy_database(&desk, "now", "state");
    cannot_send(&desk);
}

#[test]
fn a_new_database_is_no_old_one() {
    let desk = desk();
    can_send(&desk);
    for name in ["fwcast.db", "fwcast.db-wal", "fwcast.db-shm"] {
        let _ = fs::remove_file(desk.path("state").join(name));
    }
    can_send(&desk);
    desk.write("state/fwcast.db", b"no database");
    desk.fails(PUSH, 1, &["fwcast.db", "is broken", "move it away"]);
    fs::remove_file(desk.path("state/fwcast.db")).unwrap();
    can_send(&desk);
}

#[test]
fn a_planned_move_keeps_keys_and_numbers_and_leaves_one_sender() {
    let desk = Desk::new();
    desk.ok("key generate --kind root --out root.pem");
    desk.ok("key generate --kind image --out image.pem");
    let ids = ["1", "2"].map(|digit| {
        let id = desk.path(&format!("machine-{digit}"));
        fs::write(&id, digit.repeat(32)).unwrap();
        id
    });
    // One state folder and one witness folder for each machine.
    let on = |machine: usize, words: &str| {
        let at = |what: &str| desk.path(&format!("{what}-of-{machine}"));
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_fwcast"))
            .args(words.split_whitespace())
            .current_dir(desk.path("."))
            .env_remove("STATE_DIRECTORY")
            .env("FWCAST_STATE", at("state"))
            .env("FWCAST_WITNESS", at("witness"))
            .env("FWCAST_MACHINE_ID_FILE", &ids[machine])
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let identity = |machine| on(machine, "config machine -o name").1.trim().to_owned();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let create = CREATE_HALL.replace("5690", &port.to_string());
    assert_eq!(on(0, &create).0, 0);
    assert_eq!(on(0, &ENROLL_LAMP.replace("lamp-1.yaml", "moved.yaml")).0, 0);
    // A census sends: its numbers are used from now on. Nobody answers it.
    let (code, _, said) = on(0, "status --group hall");
    assert_eq!(code, 1, "{said}");
    let (code, _, said) = on(0, &format!("backup --out same.tar --yes --move-to {}", identity(0)));
    assert_eq!((code, said.contains("is this machine")), (1, true), "{said}");
    let (code, _, said) = on(0, &format!("backup --out move.tar --yes --move-to {}", identity(1)));
    assert_eq!(code, 0, "{said}");
    // The old machine sends nothing more, gives no Sender ID, and moves nowhere else.
    for words in [
        "status --group hall",
        "agent enroll lamp-2 --group hall --vendor a.example --class b --out 2.yaml",
        &format!("backup --out other.tar --yes --move-to {}", "ab".repeat(16)),
    ] {
        let (code, _, said) = on(0, words);
        assert_eq!(code, 8, "{words}: {said}");
        assert!(said.contains("moved to another machine"), "{said}");
    }
    // The same move can be repeated, and only the new machine can restore it.
    let again = on(0, &format!("backup --out again.tar --yes --move-to {}", identity(1)));
    assert_eq!(again.0, 0, "{}", again.2);
    fs::rename(desk.path("state-of-0"), desk.path("put-away")).unwrap();
    let (code, _, said) = on(0, "restore move.tar");
    assert_eq!((code, said.contains("restore it there")), (1, true), "{said}");
    let (code, _, said) = on(1, "restore move.tar");
    assert_eq!((code, said.as_str()), (0, ""));
    // It sends with the same keys: a census again, that nobody answers.
    let (code, _, said) = on(1, "status --group hall");
    assert_eq!((code, said.contains("counters")), (1, false), "{said}");
    // Restored once more beside it, the keys have sent from here: they are not used twice.
    fs::rename(desk.path("state-of-1"), desk.path("first")).unwrap();
    let (code, _, said) = on(1, "restore again.tar");
    assert_eq!((code, said.contains("fresh keys")), (0, true), "{said}");
}

#[test]
fn a_moved_group_can_come_back() {
    let desk = Desk::new();
    let dir = |machine: &str| {
        let at = |what: &str| desk.path(&format!("{what}-{machine}"));
        StateDir::open(&at("state"), &at("witness")).unwrap()
    };
    let machine = |digit: &str| {
        let path = desk.path(digit);
        fs::write(&path, digit.repeat(32)).unwrap();
        MachineId::from_file(&path).unwrap()
    };
    desk.ok("key generate --kind root --out root.pem");
    desk.ok("key generate --kind image --out image.pem");
    let (one, two) = (machine("1"), machine("2"));
    let state = desk.path("state-one").display().to_string();
    let witness = desk.path("witness-one").display().to_string();
    let created = std::process::Command::new(env!("CARGO_BIN_EXE_fwcast"))
        .args(CREATE_HALL.split_whitespace())
        .args(["--state", &state, "--witness", &witness])
        .current_dir(desk.path("."))
        .env("FWCAST_MACHINE_ID_FILE", desk.path("1"))
        .status()
        .unwrap();
    assert!(created.success());
    let hall = Name::new("hall").unwrap();
    let (here, there) = (dir("one"), dir("two"));
    fs::create_dir_all(desk.path("state-two/groups")).unwrap();
    let copy = |from: &str, to: &str| {
        let (from, to) = (desk.path(from).join("groups/hall"), desk.path(to).join("groups/hall"));
        fs::create_dir_all(&to).unwrap();
        for file in ["group.json", "agents.json", "manager.json"] {
            fs::copy(from.join(file), to.join(file)).unwrap();
        }
    };
    let use_some = |dir: &StateDir, machine: &MachineId| {
        let group = GroupState::open(dir, &hall).unwrap();
        let lock = GroupLock::to_send(dir, &hall).unwrap();
        let mut numbers = SequenceStore::open(dir, &group, machine, &lock, 1).unwrap();
        let next = numbers.numbers().next;
        numbers.reserve(next + 100).unwrap();
        next
    };
    let give = |dir: &StateDir, machine: &MachineId, to: &MachineId| {
        let group = GroupState::open(dir, &hall).unwrap();
        let lock = GroupLock::to_send(dir, &hall).unwrap();
        SequenceStore::give_away(dir, &group, machine, &lock, to)
    };
    let first = use_some(&here, &one);
    let end = give(&here, &one, &two).unwrap();
    assert!(end >= first + 100);
    assert!(give(&here, &one, &machine("3")).is_err());
    copy("state-one", "state-two");
    let group = GroupState::open(&there, &hall).unwrap();
    assert!(SequenceStore::take_over(&there, &group, &two, end).unwrap());
    // Interrupted and repeated, before anything was sent.
    assert!(SequenceStore::take_over(&there, &group, &two, end).unwrap());
    assert!(use_some(&there, &two) >= end);
    assert!(!SequenceStore::take_over(&there, &group, &two, end).unwrap());
    // And back: above everything that the other machine has used.
    let back = give(&there, &two, &one).unwrap();
    assert!(back > end);
    let group = GroupState::open(&here, &hall).unwrap();
    assert!(!SequenceStore::take_over(&here, &group, &one, end - 1).unwrap());
    assert!(SequenceStore::take_over(&here, &group, &one, back).unwrap());
    assert!(use_some(&here, &one) >= back);
}

#[test]
fn an_agent_that_is_enrolled_later_accepts_nothing_from_before() {
    let desk = desk();
    let next = |name: &str| {
        if name != "lamp-1" {
            desk.ok(&ENROLL_LAMP.replace("lamp-1", name));
        }
        let text = String::from_utf8(desk.read(&format!("{name}.yaml"))).unwrap();
        let file: AgentFile = yaml::from_str(&text).unwrap();
        file.provisioning.distributor.next
    };
    assert_eq!(next("lamp-1"), 0);
    can_send(&desk);
    assert!(next("lamp-2") > 0);
}
