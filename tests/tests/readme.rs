//! README's way from nothing to the first rollout, line by line as it stands there.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tests::programs::{Programs, root};

/// README promises five minutes for reading and typing as well.
const WITHIN: Duration = Duration::from_secs(60);

/// The part of README that leads to the first rollout.
fn section() -> String {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let from = readme.find("## From nothing to the first rollout").unwrap();
    let section = &readme[from..];
    section[..section.find("\n## Map").unwrap()].to_owned()
}

/// The blocks of code with their kinds, in order.
fn blocks(section: &str) -> Vec<(String, String)> {
    let mut parts = section.split("```").skip(1).step_by(2);
    parts
        .by_ref()
        .filter_map(|part| part.split_once('\n'))
        .map(|(kind, text)| (kind.into(), text.into()))
        .collect()
}

/// What an operator types of a block: commands behind `$`, which `>` continues, or all of a script.
fn typed(kind: &str, text: &str) -> String {
    if kind == "sh" {
        return text.to_owned();
    }
    let mut typed = String::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            typed.push('\n');
            typed.push_str(command);
        } else if let Some(more) = line.strip_prefix('>') {
            typed.push_str(more);
        }
    }
    typed + "\n"
}

#[test]
fn readmes_own_lines_lead_from_nothing_to_a_confirmed_rollout() {
    let programs = Programs::build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut script = "set -e\n".to_owned();
    for (kind, text) in blocks(&section()) {
        match kind.as_str() {
            "yaml" => fs::write(folder.path().join("first.yaml"), text).unwrap(),
            _ => script.push_str(&typed(&kind, &text)),
        }
    }
    assert_eq!(script.matches("\nfwcast ").count(), 6, "six commands:\n{script}");
    fs::write(folder.path().join("firmware-1"), [1; 3000]).unwrap();
    fs::write(folder.path().join("firmware"), [2; 3000]).unwrap();
    script.push_str("fwcast status first -o json >status.json\n");
    let began = Instant::now();
    let code = run(&script, folder.path(), &programs);
    let agent = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(code == Some(0), "{code:?}\n{script}\n{agent}");
    assert!(began.elapsed() < WITHIN, "{:?}", began.elapsed());
    let status: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("status.json")).unwrap()).unwrap();
    assert_eq!(status["outcome"], "done", "{status}");
}

/// Runs the script, and ends what it has left in the background.
fn run(script: &str, folder: &Path, programs: &Programs) -> Option<i32> {
    use std::os::unix::process::CommandExt as _;
    let bin = programs.fwcast.parent().unwrap();
    assert_eq!(Some(bin), programs.agent.parent());
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut shell = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .env("FWCAST_STATE", folder.join("state"))
        .env("FWCAST_WITNESS", folder.join("witness"))
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap();
    let group = Pid::from_raw(shell.id().try_into().unwrap());
    let ended = shell.wait().unwrap();
    let _ = killpg(group, Signal::SIGTERM);
    ended.code()
}
