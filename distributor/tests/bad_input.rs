//! Everything an operator can get wrong: one sentence with what, where, why and what to do, and the exit
//! code.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use common::{CREATE_HALL, Desk, ENROLL_LAMP, SIGN};

/// A long valid command with one piece replaced.
fn with(command: &str, from: &str, to: &str) -> String {
    assert!(command.contains(from));
    command.replacen(from, to, 1)
}

#[test]
fn addresses_and_other_arguments_of_group_create() {
    let desk = Desk::with_group();
    let create = with(CREATE_HALL, "hall", "other");
    for (from, to, said) in [
        ("239.192.0.1:5683", "239.192.0.1:5684", "port 5684"),
        ("239.192.0.1:5683", "192.0.2.1:5683", "multicast address"),
        ("239.192.0.1:5683", "239.192.0.1", "with its port"),
        ("239.192.0.1:5683", "239.192.0.1:0", "port 0"),
        ("239.192.0.1:5683", "[ff12::1%2]:5683", "leave out the zone"),
        ("239.192.0.1:5683", "hall.example:5683", "with its port"),
        ("127.0.0.1:5690", "239.192.0.9:5690", "one host"),
        ("127.0.0.1:5690", "0.0.0.0:5690", "one host"),
        ("127.0.0.1:5690", "127.0.0.1:5684", "port 5684"),
        ("127.0.0.1:5690", "[::1]:5690", "mix"),
        ("other", "../other", "a-z, 0-9"),
        ("other", "Other", "a-z, 0-9"),
        ("--interface lo", "--interface a/b", "eth0"),
        ("--interface lo", "--interface lo --block-size 1000", "256, 512 or 1024"),
        ("--interface lo", "--interface lo --rate 1MB/s", "500kbit/s"),
        ("--interface lo", "--interface lo --hops 0", "0 is not in 1..=255"),
        ("--interface lo", "--interface lo --gid-bytes 9", "9 is not in 2..=8"),
        ("--interface lo", "--interface lo --aead aes-cbc", "a128gcm"),
        ("--interface lo", "", "--interface"),
    ] {
        desk.fails(&with(&create, from, to), 2, &[said]);
    }
    desk.fails(&with(&create, "--interface lo", "--interface nosuch0"), 1, &["'nosuch0'", "--interface"]);
    desk.fails(CREATE_HALL, 1, &["group 'hall' already exists", "--replace"]);
    let five = "image.pem.pub image.pem.pub image.pem.pub image.pem.pub image.pem.pub";
    desk.fails(&with(&create, "image.pem.pub", five), 1, &["at most 4"]);
    assert_eq!(desk.json("group list").as_array().unwrap().len(), 1);
}

#[test]
fn names_vendors_labels_and_times_of_agent_enroll() {
    let desk = Desk::with_group();
    for (from, to, said) in [
        ("lamp-1", "..", "a-z, 0-9"),
        ("lamp-1", "/etc/passwd", "a-z, 0-9"),
        ("--group hall", "--group ../hall", "a-z, 0-9"),
        ("acme.example", "acme", "domain"),
        ("--class lamp-2", "--class lamp-2 --label ring", "key=value"),
        ("--class lamp-2", "--class lamp-2 --health-deadline 60", "90s"),
        ("--class lamp-2", "--class lamp-2 --listen-port 0", "0 is not in 1..=65535"),
        ("--vendor acme.example", "", "--vendor"),
        ("--class lamp-2", "", "--class"),
    ] {
        desk.fails(&with(ENROLL_LAMP, from, to), 2, &[said]);
    }
    desk.fails(&with(ENROLL_LAMP, "--group hall", "--group yard"), 1, &["no group 'yard'", "group list"]);
    desk.fails(&with(ENROLL_LAMP, "lamp-1.yaml", "no/lamp-1.yaml"), 1, &["'no/lamp-1.yaml'", "folder"]);
    desk.fails(&format!("{ENROLL_LAMP} --again"), 1, &["no agent 'lamp-1'", "--again"]);
    assert!(!desk.path("lamp-1.yaml").exists());
    desk.ok(ENROLL_LAMP);
    desk.fails(ENROLL_LAMP, 1, &["'lamp-1.yaml' already exists"]);
    desk.fails(
        &with(ENROLL_LAMP, "lamp-1.yaml", "b.yaml"),
        1,
        &["agent 'lamp-1' is already enrolled", "--again"],
    );
    // What failed has used no Sender ID and left no agent.
    let listed = desk.json("agent list --group hall");
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["sender_id"]), (1, &"01".into()));
}

#[test]
fn images_of_the_wrong_size_and_sequence_numbers_that_jump() {
    let desk = Desk::with_group();
    desk.fails(SIGN, 1, &["no file 'firmware'"]);
    desk.write("firmware", b"");
    desk.fails(SIGN, 1, &["'firmware' has 0 bytes"]);
    let file = std::fs::File::create(desk.path("firmware")).unwrap();
    file.set_len(64 * 1024 * 1024 + 1).unwrap();
    desk.fails(SIGN, 1, &["'firmware' has 67108865 bytes", "67108864"]);
    desk.fails(&with(SIGN, "firmware", "."), 1, &["'.' is not a regular file"]);
    desk.write("firmware", b"new");
    desk.fails(&with(SIGN, "--sequence 7", "--sequence 6"), 2, &["6 is not higher than 6"]);
    desk.fails(&with(SIGN, "--sequence 7", "--sequence 1000007"), 2, &["1000000", "--force-jump"]);
    desk.fails(&with(SIGN, "--sequence 7", "--sequence -1"), 2, &["-1"]);
    desk.fails(&with(SIGN, "--sequence 7", "--sequence 99999999999999999999"), 2, &["number too large"]);
    desk.fails(
        &with(SIGN, "--key image.pem", "--key root.pem"),
        1,
        &["'root.pem'", "is the root key", "image key"],
    );
    desk.fails(&with(SIGN, "--key image.pem", "--key image.pem.pub"), 1, &["'image.pem.pub'", "private key"]);
    desk.fails(&format!("{SIGN} --prepare x"), 2, &["--prepare"]);
    assert!(!desk.path("firmware.suit").exists());
    desk.ok(&with(SIGN, "--sequence 7", "--sequence 1000007 --force-jump"));
    desk.fails(SIGN, 1, &["'firmware.suit' already exists"]);
}

#[test]
fn signatures_and_hashes_that_are_wrong() {
    let desk = Desk::with_group();
    desk.write("firmware", &[7; 5000]);
    desk.ok(SIGN);
    desk.ok("key generate --kind image --out stranger.pem");
    desk.fails("image verify firmware.suit --key stranger.pem.pub", 9, &["'firmware.suit'", "no image key"]);
    desk.fails("image verify firmware.suit --key root.pem.pub", 1, &["is the root key"]);
    desk.write("other", &[8; 5000]);
    desk.fails("image verify firmware.suit other --key image.pem.pub", 9, &["'other'", "SHA-256"]);
    desk.write("longer", &[7; 5001]);
    desk.fails("image verify firmware.suit longer --key image.pem.pub", 9, &["'longer'", "length"]);
    let good = desk.read("firmware.suit");
    for at in [10, 60, 100, 150, 250, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        desk.write("spoiled.suit", &bytes);
        let run = desk.run("image verify spoiled.suit --key image.pem.pub");
        assert!(matches!(run.code, 1 | 9), "byte {at}: {}", run.code);
        assert_eq!((run.out.as_str(), run.err.lines().count()), ("", 1), "byte {at}");
    }
    desk.write("signature", &[1; 63]);
    let attach = "image sign firmware --vendor acme.example --class lamp-2 --sequence 7 --attach \
                  signature --key image.pem.pub --out attached.suit";
    desk.fails(attach, 1, &["'signature'", "64 bytes"]);
    desk.write("signature", &[1; 64]);
    desk.fails(attach, 9, &["nothing was written"]);
    assert!(!desk.path("attached.suit").exists());
}

#[test]
fn half_written_files() {
    let desk = Desk::with_group();
    desk.ok(ENROLL_LAMP);
    desk.write("firmware", &[7; 5000]);
    desk.ok(SIGN);
    for (file, command) in [
        ("image.pem", with(SIGN, "firmware.suit", "x.suit")),
        ("image.pem.pub", "image verify firmware.suit --key image.pem.pub".to_owned()),
        ("firmware.suit", "image verify firmware.suit --key image.pem.pub".to_owned()),
        ("firmware.suit", "image inspect firmware.suit".to_owned()),
        ("lamp-1.yaml", "agent inspect lamp-1.yaml".to_owned()),
        ("state/groups/hall/group.json", "group show hall".to_owned()),
        ("state/groups/hall/agents.json", "agent list --group hall".to_owned()),
        (
            "state/groups/hall/manager.json",
            "agent enroll lamp-2 --group hall --vendor a.example --class m --out y.yaml".to_owned(),
        ),
    ] {
        let whole = desk.read(file);
        for length in [0, 1, whole.len() / 2, whole.len() - 8] {
            desk.write(file, &whole[..length]);
            let name = file.rsplit('/').next().unwrap();
            desk.fails(&command, 1, &[name]);
        }
        desk.write(file, &whole);
    }
    assert!(!desk.path("x.suit").exists() && !desk.path("y.yaml").exists());
}

#[test]
fn yaml_of_an_agent_with_what_does_not_belong_there() {
    let desk = Desk::with_group();
    desk.ok(ENROLL_LAMP);
    let good = String::from_utf8(desk.read("lamp-1.yaml")).unwrap();
    for (from, to, said) in [
        ("  version: 1", "  version: 1\n  colour: red", ["'lamp-1.yaml':3:", "unknown field `colour`"]),
        ("  version: 1", "  version: 1\n  version: 1", ["'lamp-1.yaml':3:3", "'version' is there twice"]),
        ("  version: 1", "  version: 2", ["'lamp-1.yaml'", "another version"]),
        ("  version: 1", "  version: &v 1", ["'lamp-1.yaml':2:", "anchors"]),
        ("  version: 1", "  version: one", ["'lamp-1.yaml':2:", "invalid type"]),
        ("  name: lamp-1", "  name: ../lamp", ["'lamp-1.yaml':3:", "a-z, 0-9"]),
        ("239.192.0.1:5683", "239.192.0.1:5684", ["'lamp-1.yaml'", "port 5684"]),
        ("239.192.0.1:5683", "10.0.0.1:5683", ["'lamp-1.yaml'", "multicast"]),
        ("    hkdf: 5", "    hkdf: 6", ["'lamp-1.yaml'", "key.hkdf"]),
        ("linux:", "linux: {}\nlinux:", ["'lamp-1.yaml'", "'linux' is there twice"]),
    ] {
        desk.write("lamp-1.yaml", with(&good, from, to).as_bytes());
        desk.fails("agent inspect lamp-1.yaml", 1, &said);
    }
    desk.write("lamp-1.yaml", &[0xff; 10]);
    desk.fails("agent inspect lamp-1.yaml", 1, &["UTF-8"]);
    desk.write("lamp-1.yaml", &vec![b'#'; 1024 * 1024 + 1]);
    desk.fails("agent inspect lamp-1.yaml", 1, &["longer than 1048576 bytes"]);
}

#[test]
fn folders_that_cannot_serve() {
    let desk = Desk::with_group();
    desk.fails("--witness state/inside group list", 1, &["witness", "one backup", "--witness"]);
    desk.write("file", b"");
    desk.fails("--state file/s group list", 1, &["'file/s'"]);
    let machine = std::process::Command::new(env!("CARGO_BIN_EXE_fwcast"))
        .args(with(CREATE_HALL, "hall", "yard").split_whitespace())
        .current_dir(desk.path("."))
        .env("FWCAST_STATE", desk.path("state"))
        .env("FWCAST_WITNESS", desk.path("witness"))
        .env("FWCAST_MACHINE_ID_FILE", desk.path("none"))
        .output()
        .unwrap();
    assert_eq!(machine.status.code(), Some(1));
    let said = String::from_utf8(machine.stderr).unwrap();
    assert!(said.contains("FWCAST_MACHINE_ID_FILE"), "{said}");
}

#[test]
fn help_names_the_exit_codes_and_no_command_is_usage() {
    let desk = Desk::new();
    assert!(desk.ok("--help").out.contains("9 bad signature or hash"));
    desk.ok("image sign --help");
    assert_eq!(desk.run("").code, 2);
    assert_eq!(desk.run("key explode").code, 2);
}
