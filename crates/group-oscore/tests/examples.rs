//! The examples run, and do what they promise.
#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

use std::path::PathBuf;
use std::process::Command;

/// The examples are built with the tests, in the neighbouring folder.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let folder: PathBuf = test.parent().unwrap().parent().unwrap().join("examples");
    Command::new(folder.join(name))
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn two_members_answer_a_multicast_request() {
    let said = said(&mut example("multicast"));
    for answer in ["member a1", "21 degrees", "member a2", "22 degrees"] {
        assert!(said.contains(answer), "{said}");
    }
}

#[test]
fn no_number_is_used_twice_over_restarts() {
    let folder = std::env::temp_dir().join(format!("group-oscore-counters-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("counters.txt");
    let starts: Vec<String> = (0..3).map(|_| said(example("counters").arg(&file))).collect();
    std::fs::write(&file, "12 not a number").unwrap();
    let damaged = example("counters").arg(&file).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    for (start, number) in starts.iter().zip([0, 64, 128]) {
        assert!(start.contains(&format!("under number {number}, ")), "{start}");
        assert!(start.contains("heard Some(\"and to you\"), then None"), "{start}");
    }
    assert!(!damaged.status.success());
}
