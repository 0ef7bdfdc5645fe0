//! What cannot be carried out is refused before anything is created, and whatever breaks under a rollout that
//! has begun, `cancel` ends it and gives its agents back.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use std::net::UdpSocket;

use common::{Desk, ENROLL_LAMP, SIGN};

const GROUP: &str = "apiVersion: fwcast/v1
kind: RolloutGroup
metadata: { name: lamps }
spec:
  members: { selector: {} }
  security: { group: hall }
---
";

fn rollout(image: &str) -> String {
    format!(
        "{GROUP}apiVersion: fwcast/v1
kind: Rollout
metadata: {{ name: spring }}
spec: {{ image: {image}, groups: [lamps], paused: true, deadlines: {{ transfer: 5s }} }}
"
    )
}

/// Two agents in group `hall`, and the rollout `spring` in `spring.yaml`.
fn desk() -> Desk {
    let desk = Desk::new();
    for (kind, name) in [("root", "root"), ("image", "image"), ("image", "other")] {
        desk.ok(&format!("key generate --kind {kind} --out {name}.pem"));
    }
    create(&desk, "hall", "image");
    for lamp in ["lamp-1", "lamp-2"] {
        desk.ok(&ENROLL_LAMP.replace("lamp-1", lamp));
    }
    desk.write("firmware", &[1; 5_000]);
    desk.ok(SIGN);
    desk.write("spring.yaml", rollout("./firmware").as_bytes());
    desk
}

fn create(desk: &Desk, group: &str, image_key: &str) {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    desk.ok(&format!(
        "group create {group} --coap-group 239.192.75.1:{port} --interface lo --distributor \
         127.0.0.1:{port} --root-key root.pem --image-key {image_key}.pem.pub"
    ));
}

/// The same with `spring` begun: it waits for its start, and nobody runs it.
fn begun() -> Desk {
    let desk = desk();
    let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_fwcast"))
        .args(["run", "--quiet", "-f", "spring.yaml"])
        .current_dir(desk.path("."))
        .env_remove("STATE_DIRECTORY")
        .env("FWCAST_STATE", desk.path("state"))
        .env("FWCAST_WITNESS", desk.path("witness"))
        .spawn()
        .unwrap();
    let began = std::time::Instant::now();
    while desk.run("status spring").code != 0 {
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "it does not begin");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    desk
}

/// Group `hall` trusts other image keys than before.
fn change_key_set(desk: &Desk) {
    create(desk, "yard", "other");
    let read = |group| -> serde_json::Value {
        serde_json::from_slice(&desk.read(&format!("state/groups/{group}/group.json"))).unwrap()
    };
    let (mut hall, yard) = (read("hall"), read("yard"));
    hall["key_set"] = yard["key_set"].clone();
    desk.write("state/groups/hall/group.json", hall.to_string().as_bytes());
}

#[test]
fn an_image_that_no_key_of_the_group_has_signed_creates_nothing() {
    let named = "apiVersion: fwcast/v1
kind: Image
metadata: { name: lamp }
spec: { version: '2', file: firmware }
---
";
    let desk = desk();
    std::fs::remove_file(desk.path("firmware.suit")).unwrap();
    desk.ok(&SIGN.replace("image.pem", "other.pem"));
    for text in [rollout("./firmware"), format!("{named}{}", rollout("lamp"))] {
        desk.write("spring.yaml", text.as_bytes());
        for command in ["plan", "apply", "run"] {
            let said = ["group 'hall' would accept", "sign it with a key of the group's key set"];
            desk.fails(&format!("{command} -f spring.yaml"), 9, &said);
        }
    }
    for noun in ["rollouts", "groups", "images"] {
        assert_eq!(desk.json(&format!("get {noun}")), serde_json::json!([]), "{noun}");
    }
    assert!(!desk.path("state/images").exists() || desk.files("state/images").is_empty());
    // An image by itself says nothing of groups.
    desk.write("lamp.yaml", named.trim_end_matches("---\n").as_bytes());
    desk.ok("apply -f lamp.yaml");
    let digest = desk.json("get images")[0]["spec"]["digest"].as_str().unwrap().to_owned();
    for image in ["lamp", digest.as_str()] {
        desk.write("spring.yaml", rollout(image).as_bytes());
        for command in ["plan", "apply", "run"] {
            desk.fails(&format!("{command} -f spring.yaml"), 9, &["group 'hall' would accept"]);
        }
    }
    assert_eq!(desk.json("get rollouts"), serde_json::json!([]));
}

#[test]
fn what_cannot_begin_is_not_applied() {
    let desk = desk();
    desk.write("spring.yaml", rollout("./firmware").replace("selector: {}", "agents: [lamp-9]").as_bytes());
    assert_eq!(desk.run("run -f spring.yaml").code, 1);
    assert_eq!(desk.json("get rollouts"), serde_json::json!([]));
    assert_eq!(desk.json("get groups"), serde_json::json!([]));
}

#[test]
fn a_key_set_that_changes_under_a_rollout_holds_nobody() {
    let desk = begun();
    change_key_set(&desk);
    desk.ok("rollout start spring");
    desk.fails("run -q -f spring.yaml", 9, &["group 'hall' would accept"]);
    let doing = desk.json("status spring")["doing"].as_str().unwrap().to_owned();
    assert!(doing.contains("`fwcast rollout cancel spring` ends it"), "{doing}");
    desk.ok("rollout retry spring");
    let said = desk.ok("rollout cancel spring --yes").out;
    // Everyone could be told, and nobody was there.
    assert!(said.contains("not heard: 2") && !said.contains("could be told"), "{said}");
    is_free(&desk);
}

/// The rollout has ended, its agents are free, and its documents can be deleted.
fn is_free(desk: &Desk) {
    assert_eq!(desk.json("status spring")["outcome"], "cancelled");
    for agent in desk.json("get agents").as_array().unwrap() {
        assert_eq!(agent["rollout"], serde_json::Value::Null, "{agent}");
    }
    desk.ok("delete rollout spring --yes");
    desk.ok("delete group lamps --yes");
}

#[test]
fn whatever_breaks_under_a_rollout_cancel_ends_it() {
    type Breaks = fn(&Desk);
    let breaks: [(&str, &str, Breaks); 6] = [
        ("the image is gone", "not heard: 2", |desk| {
            std::fs::remove_dir_all(desk.path("state/images")).unwrap();
        }),
        ("the image is another one", "not heard: 2", |desk| {
            let image = desk.files("state/images").into_iter().find(|path| path.ends_with("image")).unwrap();
            std::fs::write(image, [9; 5_000]).unwrap();
        }),
        ("the group is gone", "could be told: there is no group", |desk| {
            std::fs::remove_dir_all(desk.path("state/groups/hall")).unwrap();
        }),
        ("the agents are gone", "could be told: group 'hall' has no agents", |desk| {
            desk.ok("agent remove lamp-1 --yes");
            desk.ok("agent remove lamp-2 --yes");
        }),
        ("the counters are in doubt", "could be told", |desk| {
            // What has never sent cannot be in doubt.
            assert_ne!(desk.run("status --group hall").code, 0);
            std::fs::remove_dir_all(desk.path("witness")).unwrap();
        }),
        ("the interface is gone", "could be told: this machine has no network interface", |desk| {
            let path = "state/groups/hall/group.json";
            let text = String::from_utf8(desk.read(path)).unwrap();
            desk.write(path, text.replace("\"lo\"", "\"nosuch0\"").as_bytes());
        }),
    ];
    for (what, why, breaks) in breaks {
        let desk = begun();
        breaks(&desk);
        desk.ok("rollout start spring");
        assert_ne!(desk.run("run -f spring.yaml -q").code, 0, "{what}");
        let run = desk.run("rollout cancel spring --yes");
        assert_eq!(run.code, 0, "{what}: {}", run.err);
        assert!(run.out.contains(why), "{what}: {}", run.out);
        is_free(&desk);
    }
}
