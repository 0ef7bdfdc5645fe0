//! Secrets stay with their owner: file modes, refusals, and what is printed.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use common::{CREATE_HALL, Desk, ENROLL_LAMP, SIGN};
use provisioning::{AgentFile, yaml};

#[test]
fn what_holds_a_secret_is_for_its_owner_only() {
    let desk = Desk::with_group();
    desk.ok(ENROLL_LAMP);
    for file in ["root.pem", "image.pem", "lamp-1.yaml"] {
        assert_eq!(desk.mode(file), 0o600, "{file}");
    }
    for folder in ["state", "witness"] {
        assert_eq!(desk.mode(folder), 0o700, "{folder}");
        for file in desk.files(folder) {
            let name = file.to_str().unwrap();
            assert_eq!(desk.mode(name), 0o600, "{name}");
        }
    }
    assert_eq!(desk.mode("image.pem.pub") & 0o400, 0o400);
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let desk = Desk::with_group();
    desk.ok(ENROLL_LAMP);
    desk.write("firmware", b"new");
    for (file, command) in [
        ("image.pem", SIGN),
        ("image.pem", "key show image.pem"),
        ("lamp-1.yaml", "agent inspect lamp-1.yaml"),
        ("state/groups/hall/group.json", "group show hall"),
        ("state/groups/hall/agents.json", "agent list --group hall"),
    ] {
        for mode in [0o640, 0o604, 0o644] {
            desk.chmod(file, mode);
            let name = file.rsplit('/').next().unwrap();
            desk.fails(command, 8, &[name, &format!("mode {mode:03o}"), "chmod 600"]);
        }
        desk.chmod(file, 0o600);
    }
    desk.chmod("root.pem", 0o644);
    desk.fails(&CREATE_HALL.replace("hall", "yard"), 8, &["'root.pem'"]);
}

#[test]
fn nothing_printed_shows_a_secret() {
    let desk = Desk::with_group();
    desk.ok(ENROLL_LAMP);
    desk.write("firmware", b"new");
    let file: AgentFile = yaml::from_str(&String::from_utf8(desk.read("lamp-1.yaml")).unwrap()).unwrap();
    let agent = &file.provisioning;
    let group: serde_json::Value =
        serde_json::from_slice(&desk.read("state/groups/hall/group.json")).unwrap();
    let manager: serde_json::Value =
        serde_json::from_slice(&desk.read("state/groups/hall/manager.json")).unwrap();
    let json = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let secrets = [
        hex::encode(agent.private_key.expose()),
        hex::encode(agent.key.ms.expose()),
        hex::encode(agent.key.salt.expose()),
        hex::encode(agent.manager.ms.expose()),
        hex::encode(agent.manager.salt.expose()),
        json(&group["distributor"]["private_key"]),
        json(&manager["private_key"]),
    ];
    // Lines of the PEM files' base64 are secrets as well.
    let pem = |name: &str| String::from_utf8(desk.read(name)).unwrap().lines().nth(2).unwrap().to_owned();
    let secrets: Vec<_> = secrets.into_iter().chain([pem("root.pem"), pem("image.pem")]).collect();
    assert_eq!(group["security"]["master_secret"], secrets[1]);
    for command in [
        "key show image.pem",
        "group show hall",
        "group list",
        "agent list --group hall",
        "agent inspect lamp-1.yaml",
        SIGN,
        "image inspect firmware.suit",
        "image verify firmware.suit --key image.pem",
        ENROLL_LAMP,
        "agent enroll lamp-1 --group hall --again --out other.yaml",
    ] {
        for format in ["table", "json"] {
            let run = desk.run(&format!("{command} -o {format}"));
            for secret in &secrets {
                assert!(!run.out.contains(secret) && !run.err.contains(secret), "{command}");
            }
        }
    }
}
