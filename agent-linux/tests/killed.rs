//! The real `kill -9`, at random moments, of a process that receives, activates and settles without a pause.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::env;
use std::io::{BufRead, BufReader, Write, stdout};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use agent_linux::linux_platform::LinuxPlatform;
use common::{DIGEST, Device, block_on, settings};
use libtest_mimic::{Arguments, Trial as Test};
use update_core::platform::{Area, Platform, Record, Trial};

const STATE: &str = "FWCAST_TEST_STATE";
const BLOCKS: u32 = 64;
const BLOCK: usize = 256;
const IMAGE: u32 = BLOCKS * BLOCK as u32;

/// Every byte of an image is its generation, so that a mixture shows.
fn generation_of(image: &[u8]) -> Option<u8> {
    let first = *image.first()?;
    (image.len() == IMAGE as usize && image.iter().all(|byte| *byte == first)).then_some(first)
}

/// The program is the test and, when it is told a state folder, the agent that the test starts and kills.
fn main() -> ExitCode {
    if let Ok(state) = env::var(STATE) {
        life(state.into());
    }
    let test = Test::test("a_killed_agent_keeps_what_it_reported", || {
        a_killed_agent_keeps_what_it_reported();
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![test]).exit_code()
}

/// Lives until it is killed.
fn life(state: PathBuf) -> ! {
    let device = Device { state, ..Device::empty() };
    block_on(async {
        let mut platform = device.open(&settings()).unwrap();
        let mut generation = generation_of(&device.current()).unwrap_or(0);
        finish_trial(&mut platform).await;
        loop {
            generation = generation.wrapping_add(1);
            say(&format!("begin {generation}"));
            platform.prepare(IMAGE, 16).await.unwrap();
            for number in 0..BLOCKS {
                let data = [generation; BLOCK];
                platform.write(Area::Image, number * BLOCK as u32, &data).await.unwrap();
                if number % 8 == 7 {
                    platform.sync().await.unwrap();
                    say(&format!("synced {}", number + 1));
                }
            }
            platform.save(Record::Update, &[generation; 900]).await.unwrap();
            platform.activate(IMAGE, &DIGEST).await.unwrap();
            say("activated");
            finish_trial(&mut platform).await;
        }
    })
}

async fn finish_trial(platform: &mut LinuxPlatform) {
    let trial = match platform.trial() {
        Trial::Running => platform.news().await,
        trial => trial,
    };
    if trial == Trial::Healthy {
        platform.settle().await.unwrap();
    }
}

fn say(line: &str) {
    println!("said {line}");
    stdout().flush().unwrap();
}

fn a_killed_agent_keeps_what_it_reported() {
    let device = Device::empty();
    let first = device.folder.path().join("first.img");
    std::fs::write(&first, vec![0; IMAGE as usize]).unwrap();
    agent_linux::install::install(&device.state, &first, b"x", agent_linux::slots::Switch::BuiltIn).unwrap();
    let mut activations = 0;
    for round in 0..40_u64 {
        let mut child = Command::new(env::current_exe().unwrap())
            .env(STATE, &device.state)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros(10_000 + round * 2_713 % 60_000));
        child.kill().unwrap();
        let said: Vec<String> = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.split_once("said ").map(|(_, said)| said.to_owned()))
            .collect();
        child.wait().unwrap();
        activations += said.iter().filter(|said| *said == "activated").count();
        check(&device, &said);
    }
    assert!(activations > 5, "only {activations} activations in all rounds");
}

fn check(device: &Device, said: &[String]) {
    assert!(generation_of(&device.current()).is_some(), "the image that runs is a mixture");
    let update = std::fs::read(device.state.join("update.cbor")).unwrap_or_default();
    assert!(update.is_empty() || update == [update[0]; 900], "a mixture of records");
    let mut platform = device.open(&settings()).unwrap();
    // What was reported as synced in the last reception is there, unless it is on trial or over.
    let begin = said.iter().rposition(|said| said.starts_with("begin"));
    let last = begin.map_or(&[][..], |begin| &said[begin..]);
    if last.iter().any(|said| said == "activated") {
        return;
    }
    let (Some(generation), Some(synced)) = (number(last.first()), number(last.last())) else { return };
    if last.len() > 1 {
        let mut stored = vec![0; synced * BLOCK];
        block_on(platform.read(Area::Image, 0, &mut stored)).unwrap();
        assert!(stored.iter().all(|byte| usize::from(*byte) == generation), "a reported block is lost");
    }
}

fn number(said: Option<&String>) -> Option<usize> {
    said?.split_once(' ')?.1.parse().ok()
}
