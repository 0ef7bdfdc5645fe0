//! What an operator tries in the first hour, and what the history then says of it.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use std::net::UdpSocket;
use std::process::Command;

use common::{CREATE_HALL, Desk, ENROLL_LAMP, SIGN};

const FALL: &str = "apiVersion: fwcast/v1
kind: RolloutGroup
metadata: { name: lamps }
spec: { members: { selector: {} }, security: { group: GROUP } }
---
apiVersion: fwcast/v1
kind: Rollout
metadata: { name: NAME }
spec: { image: ./firmware, groups: [lamps], deadlines: { transfer: 1s } }
";

/// Group `hall` with `lamp-1`, and group `yard` with `lamp-1` too, each with a port of its own; the image
/// `firmware`.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.ok("key generate --kind root --out root.pem");
    desk.ok("key generate --kind image --out image.pem");
    for (group, address) in [("hall", "239.192.76.1"), ("yard", "239.192.76.2")] {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        desk.ok(&format!(
            "group create {group} --coap-group {address}:{port} --interface lo --distributor \
             127.0.0.1:{port} --root-key root.pem --image-key image.pem.pub"
        ));
        let enroll = ENROLL_LAMP.replace("hall", group).replace("lamp-1.yaml", &format!("{group}.yaml"));
        desk.ok(&format!("{enroll} --label ring=canary"));
    }
    desk.write("firmware", &[1; 5_000]);
    desk.ok(SIGN);
    desk
}

#[test]
fn every_change_of_agents_and_groups_is_an_event_that_says_who() {
    let desk = desk();
    desk.ok("agent label hall/lamp-1 ring- floor=3");
    desk.ok("group set hall --rate 4Mbit/s");
    desk.ok("agent enroll lamp-1 --group hall --again --out again.yaml");
    desk.ok("agent remove hall/lamp-1 --yes");
    desk.ok("group create yard --replace --yes");
    let events = desk.json("events");
    let said: Vec<(String, String)> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["kind"].as_str().unwrap().to_owned(), event["text"].as_str().unwrap().to_owned()))
        .collect();
    let actor = fwcast_state::actor();
    for (kind, text) in [
        ("group-created", "security group 'hall' created; its agents trust 1 image key (version 1)"),
        ("agent-enrolled", "enrolled"),
        ("agent-labelled", "labels changed: ring-, floor=3"),
        ("group-changed", "security group 'hall' changed: rate 4Mbit/s"),
        ("agent-enrolled-again", "enrolled again, with new keys"),
        ("agent-removed", "removed from its group; it still has the group's keys"),
        ("group-replaced", "security group 'yard' replaced: all its keys are new"),
    ] {
        let found = said.iter().find(|(of, _)| of == kind);
        let (_, words) = found.unwrap_or_else(|| panic!("no {kind} in {said:?}"));
        assert!(words.starts_with(text) && words.ends_with(&format!(", by {actor}")), "{words}");
    }
    // A removed agent's history can still be read.
    let history = desk.ok("history hall/lamp-1").out;
    assert!(history.contains("labels changed") && history.contains("removed"), "{history}");
    // What fails changes nothing, and is no event.
    let before = events.as_array().unwrap().len();
    assert_ne!(desk.run("agent remove hall/lamp-1 --yes").code, 0);
    assert_eq!(desk.json("events").as_array().unwrap().len(), before);
}

#[test]
fn every_change_of_documents_and_every_order_is_an_event_that_says_who() {
    let desk = desk();
    let text = FALL
        .replace("GROUP", "hall")
        .replace("NAME", "spring")
        .replace("{ transfer", "{ report: 1s, transfer");
    desk.write("one.yaml", text.replace("transfer: 1s", "transfer: 9s").as_bytes());
    desk.ok("apply -f one.yaml");
    desk.ok("apply -f one.yaml");
    desk.write("one.yaml", text.as_bytes());
    desk.ok("apply -f one.yaml");
    assert_eq!(desk.run("run spring").code, 4);
    desk.ok("delete rollout spring --yes");
    desk.ok("delete group lamps --yes");
    let actor = fwcast_state::actor();
    let history = desk.json("history spring");
    let said: Vec<&str> =
        history.as_array().unwrap().iter().map(|event| event["text"].as_str().unwrap()).collect();
    let by = |what: &str| format!("{what}, by {actor}");
    assert_eq!(said[..2], [by("rollout 'spring' created"), by("rollout 'spring' changed")]);
    assert!(
        said[2].starts_with("1 agent in 1 wave") && said[2].ends_with(&format!("by {actor}")),
        "{said:?}"
    );
    assert_eq!(*said.last().unwrap(), by("rollout 'spring' deleted"));
    let events = desk.ok("events").out;
    for what in ["rollout group 'lamps' created", "rollout group 'lamps' deleted"] {
        assert_eq!(events.matches(&by(what)).count(), 1, "{events}");
    }
}

#[test]
fn names_are_printed_or_refused_before_anything_is_done() {
    let desk = desk();
    desk.write("one.yaml", FALL.replace("GROUP", "hall").replace("NAME", "spring").as_bytes());
    for (command, wanted) in [
        ("validate -f one.yaml", "lamps\nspring\n"),
        ("apply -f one.yaml", "lamps\nspring\n"),
        ("plan -f one.yaml", "spring\n"),
        ("status", "rollout/spring\ngroup/hall\ngroup/yard\n"),
        ("get agents", "hall/lamp-1\nyard/lamp-1\n"),
        ("describe agent hall/lamp-1", "hall/lamp-1\n"),
        ("agent list --group hall", "hall/lamp-1\n"),
        ("agent label hall/lamp-1 floor=3", "hall/lamp-1\n"),
        ("agent inspect hall.yaml", "lamp-1\n"),
        ("group show hall", "hall\n"),
        ("config view", "state\nwitness\noutput\ncolor\n"),
        ("history", ""),
        ("backup --out all.tar", "hall\nyard\n"),
    ] {
        assert_eq!(desk.ok(&format!("{command} -o name")).out, wanted, "{command}");
    }
    let sum = || {
        let mut files = desk.files(".");
        files.sort();
        files.into_iter().map(|file| (std::fs::read(&file).unwrap(), file)).collect::<Vec<_>>()
    };
    let before = sum();
    for command in [
        "push firmware --group hall",
        "doctor --group hall",
        "events",
        "events --follow",
        "history hall/lamp-1",
        "key generate --kind image --out other.pem",
        "key show image.pem.pub",
        "image inspect firmware.suit",
        "image verify firmware.suit firmware --key image.pem.pub",
    ] {
        desk.fails(&format!("{command} -o name"), 2, &["has a name"]);
    }
    assert!(sum() == before, "something was written");
    // Nobody answers, and the names are known nevertheless.
    assert_eq!(desk.run("status --group hall -o name").out, "hall/lamp-1\n");
    assert!(desk.run("status --group hall").err.contains("parity: rs16:4096"));
    assert_eq!(desk.run("run spring -o name").out, "spring\n");
    assert_eq!(desk.ok("rollout retry spring -o name").out, "spring\n");
    let cancelled = desk.run("rollout cancel spring --yes -o json");
    let cancelled: serde_json::Value = serde_json::from_str(&cancelled.out).unwrap();
    assert_eq!(
        (&cancelled["name"], &cancelled["order"], &cancelled["outcome"]),
        (&"spring".into(), &"cancel".into(), &"cancelled".into())
    );
}

#[test]
fn rollouts_of_one_process_wait_for_each_other_and_say_so() {
    let desk = desk();
    desk.ok(&ENROLL_LAMP.replace("lamp-1", "lamp-2"));
    for (lamp, name) in [("lamp-1", "spring"), ("lamp-2", "autumn")] {
        let text = FALL
            .replace("name: lamps", &format!("name: {name}-lamps"))
            .replace("[lamps]", &format!("[{name}-lamps]"));
        let text = text.replace("selector: {}", &format!("agents: [{lamp}]")).replace("GROUP", "hall");
        desk.write("one.yaml", text.replace("NAME", name).as_bytes());
        desk.ok("apply -f one.yaml");
    }
    let run = desk.run("run spring autumn");
    assert_eq!(run.code, 4, "{}{}", run.out, run.err);
    let waits = "group 'hall': waiting for another of these rollouts, or another fwcast process";
    assert!(run.err.contains(waits), "{}", run.err);
    // One that is named twice is meant once.
    let run = desk.run("run spring spring");
    assert_eq!(run.code, 4, "{}{}", run.out, run.err);
    assert!(!run.err.contains("another fwcast process"), "{}", run.err);
}

#[test]
fn lists_show_the_words_that_were_typed() {
    let desk = desk();
    for list in ["agent list", "get agents -o wide"] {
        let out = desk.ok(list).out;
        assert!(out.contains("acme.example") && out.contains("lamp-2"), "{out}");
    }
    let described = desk.ok("describe agent hall/lamp-1").out;
    assert!(described.contains("acme.example ("), "{described}");
    let agents = desk.json("get agents");
    assert_eq!(agents[0]["words"]["vendor"], "acme.example");
    assert_eq!(agents[0]["vendor"].as_str().unwrap().len(), 36);
    // They stay when an agent is enrolled again and when its group is replaced; a UUID has no word.
    desk.ok("agent enroll lamp-1 --group hall --again --out again.yaml");
    desk.ok("group create yard --replace --yes");
    let list = desk.ok("agent list").out;
    assert_eq!(list.matches("acme.example").count(), 2, "{list}");
    let id = agents[0]["class"].as_str().unwrap();
    desk.ok(&format!("agent enroll lamp-3 --group hall --vendor acme.example --class {id} --out 3.yaml"));
    assert_eq!(desk.json("get agents hall/lamp-3")[0]["words"].get("class"), None);
}

#[test]
fn rollouts_that_were_applied_are_run_by_name_several_at_once() {
    let desk = desk();
    for (group, name) in [("hall", "spring"), ("yard", "autumn")] {
        let text = FALL.replace("lamps", &format!("{group}-lamps")).replace("NAME", name);
        desk.write("one.yaml", text.replace("GROUP", group).as_bytes());
        desk.ok("apply -f one.yaml");
    }
    desk.fails("run winter", 1, &["there is no rollout 'winter'"]);
    assert_eq!(desk.run("run").code, 2);
    // Nobody answers, so both stop: neither waits for the other.
    let run = desk.run("run spring autumn");
    assert_eq!(run.code, 4, "{}{}", run.out, run.err);
    for name in ["spring", "autumn"] {
        assert!(run.out.contains(name), "{}", run.out);
        assert!(run.err.lines().any(|line| line.starts_with(&format!("{name}: "))), "{}", run.err);
    }
    // One that fails stops no other, and one that has ended is not repeated.
    let run = desk.run("run spring winter");
    assert_eq!(run.code, 1, "{}{}", run.out, run.err);
    assert!(run.err.contains("error: rollout 'winter': there is no rollout 'winter'"), "{}", run.err);
    let run = desk.run("run autumn");
    assert_eq!(run.code, 4, "{}{}", run.out, run.err);
}

#[test]
fn a_rollout_that_has_ended_runs_again_when_its_image_is_another() {
    let desk = desk();
    let image = |text: &str| {
        format!("apiVersion: fwcast/v1\nkind: Image\nmetadata: {{ name: firmware }}\n{text}\n---\n")
    };
    let text = FALL.replace("GROUP", "hall").replace("NAME", "spring").replace("./firmware", "firmware");
    let both = image("spec: { file: ./firmware, version: '7' }") + &text;
    desk.write("one.yaml", both.as_bytes());
    desk.ok("apply -f one.yaml");
    assert_eq!(desk.run("run spring").code, 4);
    let began = desk.json("describe rollout spring")["created_at"].clone();
    // The same again is only shown.
    assert_eq!(desk.run("run spring").code, 4);
    assert_eq!(desk.json("describe rollout spring")["created_at"], began);
    // The rollout's own document stays, and the image of that name is another one.
    desk.write("firmware", &[2; 5_000]);
    std::fs::remove_file(desk.path("firmware.suit")).unwrap();
    desk.ok(&SIGN.replace("--sequence 7 --previous 6", "--sequence 8 --previous 7"));
    desk.write("image.yaml", image("spec: { file: ./firmware, version: '8' }").as_bytes());
    desk.ok("apply -f image.yaml");
    assert_eq!(desk.run("run spring").code, 4);
    assert_ne!(desk.json("describe rollout spring")["created_at"], began);
}

#[test]
fn status_alone_shows_what_there_is() {
    let desk = desk();
    desk.write("one.yaml", FALL.replace("GROUP", "hall").replace("NAME", "spring").as_bytes());
    desk.ok("apply -f one.yaml");
    let out = desk.ok("status").out;
    assert!(out.contains("rollout") && out.contains("spring") && out.contains("not-begun"), "{out}");
    assert!(out.contains("hall") && out.contains("1 agent, 0 heard"), "{out}");
    let glance = desk.json("status");
    assert_eq!(glance["rollouts"][0]["name"], "spring");
    assert_eq!(glance["groups"][1]["name"], "yard");
}

#[test]
fn a_security_group_is_told_from_a_rollout_group() {
    let desk = desk();
    desk.fails("describe group hall", 1, &["no rollout group 'hall'", "`fwcast group show hall`"]);
    desk.fails("describe group attic", 1, &["there is no rollout group 'attic'"]);
}

#[test]
fn groups_that_share_an_address_are_told_apart_from_the_start() {
    let desk = Desk::with_group();
    let run = desk.ok(&CREATE_HALL.replace("hall", "yard"));
    assert!(run.err.contains("the same distributor address 127.0.0.1:5690"), "{}", run.err);
    assert!(run.err.contains("the same CoAP group 239.192.0.1:5683"), "{}", run.err);
    let run = desk.ok(&CREATE_HALL.replace("hall", "attic").replace("5690", "5691").replace("0.1:", "0.9:"));
    assert_eq!(run.err, "");
}

#[test]
fn a_shell_completes_names() {
    let desk = desk();
    desk.write("one.yaml", FALL.replace("GROUP", "hall").replace("NAME", "spring").as_bytes());
    desk.ok("apply -f one.yaml");
    let asked = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_fwcast"))
            .arg("--")
            .args(words)
            .env("FWCAST_STATE", desk.path("state"))
            .env("FWCAST_WITNESS", desk.path("witness"))
            .env("COMPLETE", "bash")
            .env("_CLAP_IFS", "\n")
            .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(asked(&["fwcast", "run", "sp"]), "spring");
    assert_eq!(asked(&["fwcast", "group", "show", "ya"]), "yard");
    assert_eq!(asked(&["fwcast", "agent", "remove", "hall/"]), "hall/lamp-1");
    assert!(asked(&["fwcast", "rollout", "approve", ""]).contains("spring"));
    // Where there is no state, there is nothing to complete, and nothing is made.
    std::fs::remove_dir_all(desk.path("state")).unwrap();
    assert_eq!(asked(&["fwcast", "group", "show", "ya"]), "");
    assert!(!desk.path("state").exists());
}
