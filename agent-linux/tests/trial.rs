//! Trying an image: what the commands are told, when they are killed, and what becomes of the image.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agent_linux::linux_platform::LinuxPlatform;
use agent_linux::slots::Switch;
use agent_linux::trial::TrialSettings;
use common::{AGENT, DIGEST, Device, OLD, block_on, eventually, lives, settings};
use update_core::platform::{Area, Platform, RollBackCause, Trial};

const NEW: &[u8] = b"the new image";

/// Stores [`NEW`] and activates it.
async fn activate(platform: &mut LinuxPlatform) {
    platform.prepare(NEW.len() as u32, 0).await.unwrap();
    platform.write(Area::Image, 0, NEW).await.unwrap();
    platform.sync().await.unwrap();
    platform.activate(NEW.len() as u32, &DIGEST).await.unwrap();
    assert_eq!(platform.trial(), Trial::Running);
}

/// The verdict upon [`NEW`].
fn tried(device: &Device, settings: &TrialSettings) -> Trial {
    block_on(async {
        let mut platform = device.open(settings).unwrap();
        activate(&mut platform).await;
        platform.news().await
    })
}

#[test]
fn without_a_health_command_an_image_is_healthy() {
    let device = Device::installed();
    assert_eq!(tried(&device, &settings()), Trial::Healthy);
    assert_eq!(device.current(), NEW);
    block_on(async {
        let mut platform = device.open(&settings()).unwrap();
        assert_eq!(platform.trial(), Trial::Healthy, "also after a restart");
        platform.settle().await.unwrap();
        platform.settle().await.unwrap();
    });
    let platform = device.open(&settings()).unwrap();
    assert_eq!((platform.trial(), platform.trial_digest()), (Trial::None, None));
}

#[test]
fn the_health_command_is_asked_until_it_says_yes() {
    let device = Device::installed();
    let health_command = device.shell("echo x >> asked; [ $(wc -l < asked) -ge 4 ]");
    assert_eq!(tried(&device, &TrialSettings { health_command, ..settings() }), Trial::Healthy);
    assert_eq!(device.left("asked").unwrap().lines().count(), 4);
}

#[test]
fn an_image_that_is_not_healthy_in_time_is_rolled_back() {
    let device = Device::installed();
    let health_command = device.shell("echo x >> asked; false");
    let health_deadline = Duration::from_secs(2);
    let settings = TrialSettings { health_command, health_deadline, ..settings() };
    assert_eq!(tried(&device, &settings), Trial::RolledBack(RollBackCause::Unhealthy));
    assert_eq!(device.current(), OLD);
    assert!(device.left("asked").unwrap().lines().count() > 1);
    let platform = device.open(&settings).unwrap();
    assert_eq!(platform.trial(), Trial::RolledBack(RollBackCause::Unhealthy));
    assert_eq!(platform.trial_digest(), Some(DIGEST));
}

#[test]
fn a_health_command_that_hangs_is_killed_with_its_children() {
    let device = Device::installed();
    let health_command = device.shell("sleep 1000 & echo $! > child; echo $$ > parent; wait");
    let health_deadline = Duration::from_secs(2);
    let start = Instant::now();
    let settings = TrialSettings { health_command, health_deadline, ..settings() };
    assert_eq!(tried(&device, &settings), Trial::RolledBack(RollBackCause::Unhealthy));
    assert!(start.elapsed() < Duration::from_secs(100));
    for name in ["child", "parent"] {
        let pid = device.left(name).unwrap();
        assert!(eventually(|| !lives(&pid)), "{name} lives on");
    }
}

#[test]
fn a_command_is_told_what_it_is_about() {
    let device = Device::installed_for(Switch::Command);
    let tell = "echo $FWCAST_ACTION $FWCAST_SLOT $FWCAST_IMAGE $FWCAST_DIGEST >> told";
    let activate_command = device.shell(tell);
    let health_command = device.shell(&format!("{tell}; false"));
    let health_deadline = Duration::from_millis(1);
    let settings = TrialSettings { activate_command, health_command, health_deadline, ..settings() };
    assert_eq!(tried(&device, &settings), Trial::RolledBack(RollBackCause::Unhealthy));
    let (state, digest) = (device.state.display(), "d1".repeat(32));
    let expected = [
        format!("activate b {state}/slot-b.img {digest}"),
        format!("health b {state}/slot-b.img {digest}"),
        format!("rollback a {state}/slot-a.img {digest}"),
    ];
    // The health command may be killed at its deadline before it has told anything.
    let told = device.left("told").unwrap();
    let told: Vec<&str> = told.lines().collect();
    assert!(told == expected || told == [&*expected[0], &*expected[2]], "{told:?}");
}

#[test]
fn a_failing_activation_is_rolled_back() {
    let device = Device::installed_for(Switch::Command);
    let activate_command = device.shell("echo $FWCAST_ACTION >> told; [ $FWCAST_ACTION = rollback ]");
    let settings = TrialSettings { activate_command, ..settings() };
    assert_eq!(tried(&device, &settings), Trial::RolledBack(RollBackCause::ActivationFailed));
    assert_eq!(device.left("told").unwrap(), "activate\nrollback\n");
}

#[test]
fn an_activation_that_hangs_is_killed_and_rolled_back() {
    let device = Device::installed_for(Switch::Command);
    let activate_command = device.shell("[ $FWCAST_ACTION = rollback ] || { echo $$ > pid; sleep 1000; }");
    let activate_deadline = Duration::from_secs(2);
    let settings = TrialSettings { activate_command, activate_deadline, ..settings() };
    assert_eq!(tried(&device, &settings), Trial::RolledBack(RollBackCause::ActivationFailed));
    let pid = device.left("pid").unwrap();
    assert!(eventually(|| !lives(&pid)));
}

#[test]
fn an_order_takes_an_image_on_trial_back_and_kills_what_runs_for_it() {
    let device = Device::installed();
    let health_command = device.shell("sleep 1000 & echo $! > child; echo $$ > parent; wait");
    let settings = TrialSettings { health_command, ..settings() };
    block_on(async {
        let mut platform = device.open(&settings).unwrap();
        activate(&mut platform).await;
        let started = async {
            while device.left("parent").is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            verdict = platform.news() => panic!("judged too early: {verdict:?}"),
            () = started => {}
        }
        assert_eq!(device.current(), NEW);
        platform.roll_back().await.unwrap();
        platform.roll_back().await.unwrap();
        let verdict = tokio::time::timeout(Duration::from_secs(10), platform.news()).await;
        assert_eq!(verdict, Ok(Trial::RolledBack(RollBackCause::Ordered)));
    });
    assert_eq!(device.current(), OLD);
    for name in ["child", "parent"] {
        let pid = device.left(name).unwrap();
        assert!(eventually(|| !lives(&pid)), "{name} lives on");
    }
    let platform = device.open(&settings).unwrap();
    assert_eq!(platform.trial(), Trial::RolledBack(RollBackCause::Ordered));
}

#[test]
fn an_order_that_a_kill_interrupts_is_carried_out_at_the_next_start() {
    let device = Device::installed();
    let settings = TrialSettings { health_command: device.shell("sleep 1000"), ..settings() };
    block_on(async {
        let mut platform = device.open(&settings).unwrap();
        activate(&mut platform).await;
        let early = tokio::time::timeout(Duration::from_millis(50), platform.news()).await;
        assert!(early.is_err(), "judged too early: {early:?}");
        platform.roll_back().await.unwrap();
    });
    let verdict = block_on(async { device.open(&settings).unwrap().news().await });
    assert_eq!(verdict, Trial::RolledBack(RollBackCause::Ordered));
    assert_eq!(device.current(), OLD);
}

#[test]
fn an_order_leaves_an_image_alone_that_has_proved_healthy() {
    let device = Device::installed();
    assert_eq!(tried(&device, &settings()), Trial::Healthy);
    block_on(async {
        let mut platform = device.open(&settings()).unwrap();
        platform.roll_back().await.unwrap();
        assert_eq!(platform.trial(), Trial::Healthy);
        platform.settle().await.unwrap();
        // Nor does it do anything without a trial.
        platform.roll_back().await.unwrap();
        assert_eq!(platform.trial(), Trial::None);
    });
    assert_eq!(device.current(), NEW);
}

#[test]
fn a_fourth_restart_on_trial_rolls_back() {
    let device = Device::installed();
    let health_command = device.shell("sleep 1000");
    let settings = TrialSettings { health_command, ..settings() };
    block_on(async { activate(&mut device.open(&settings).unwrap()).await });
    for _ in 0..3 {
        block_on(async {
            let mut platform = device.open(&settings).unwrap();
            assert_eq!(platform.trial(), Trial::Running);
            let early = tokio::time::timeout(Duration::from_millis(50), platform.news()).await;
            assert!(early.is_err(), "judged too early: {early:?}");
        });
        assert_eq!(device.current(), NEW);
    }
    let verdict = block_on(async { device.open(&settings).unwrap().news().await });
    assert_eq!(verdict, Trial::RolledBack(RollBackCause::Reset));
    assert_eq!(device.current(), OLD);
}

#[test]
fn a_healthy_image_is_never_rolled_back_by_restarts() {
    let device = Device::installed();
    assert_eq!(tried(&device, &settings()), Trial::Healthy);
    for _ in 0..10 {
        assert_eq!(device.open(&settings()).unwrap().trial(), Trial::Healthy);
    }
    assert_eq!(device.current(), NEW);
}

#[test]
fn waiting_for_the_verdict_can_be_interrupted_at_any_time() {
    let device = Device::installed();
    let health_command = device.shell("echo x >> asked; sleep 0.2; [ $(wc -l < asked) -ge 3 ]");
    let settings = TrialSettings { health_command, ..settings() };
    let verdict = block_on(async {
        let mut platform = device.open(&settings).unwrap();
        activate(&mut platform).await;
        loop {
            let short = Duration::from_millis(3);
            if let Ok(verdict) = tokio::time::timeout(short, platform.news()).await {
                return verdict;
            }
        }
    });
    assert_eq!(verdict, Trial::Healthy);
    assert_eq!(device.left("asked").unwrap().lines().count(), 3);
}

#[test]
fn both_slots_are_kept_while_an_image_is_on_trial() {
    let device = Device::installed();
    let health_command = device.shell("sleep 1000");
    let settings = TrialSettings { health_command, ..settings() };
    block_on(async {
        let mut platform = device.open(&settings).unwrap();
        activate(&mut platform).await;
        platform.prepare(5, 5).await.unwrap_err();
        platform.write(Area::Image, 0, b"x").await.unwrap_err();
        platform.settle().await.unwrap_err();
        platform.activate(NEW.len() as u32, &[0; 32]).await.unwrap_err();
        platform.activate(NEW.len() as u32, &DIGEST).await.unwrap();
        let mut image = [0; NEW.len()];
        platform.read(Area::Image, 0, &mut image).await.unwrap();
        assert_eq!(image, NEW);
    });
}

#[test]
fn a_rolled_back_image_can_be_tried_again() {
    let device = Device::installed();
    let health_command = device.shell("[ -e well ]");
    let health_deadline = Duration::from_millis(1);
    let bad = TrialSettings { health_command, health_deadline, ..settings() };
    assert_eq!(tried(&device, &bad), Trial::RolledBack(RollBackCause::Unhealthy));
    block_on(async {
        let mut platform = device.open(&settings()).unwrap();
        platform.settle().await.unwrap();
        platform.activate(NEW.len() as u32, &DIGEST).await.unwrap();
        assert_eq!(platform.news().await, Trial::Healthy);
    });
}

#[test]
fn a_roll_back_is_told_until_it_is_settled_or_another_update_begins() {
    for settled in [true, false] {
        let device = Device::installed();
        let health_command = device.shell("false");
        let settings =
            TrialSettings { health_command, health_deadline: Duration::from_millis(1), ..settings() };
        let expected = Trial::RolledBack(RollBackCause::Unhealthy);
        assert_eq!(tried(&device, &settings), expected);
        let mut platform = device.open(&settings).unwrap();
        assert_eq!(platform.trial(), expected);
        if settled {
            block_on(platform.settle()).unwrap();
        } else {
            block_on(platform.prepare(5, 5)).unwrap();
        }
        assert_eq!((platform.trial(), platform.trial_digest()), (Trial::None, None));
        drop(platform);
        assert_eq!(device.open(&settings).unwrap().trial(), Trial::None);
    }
}

#[test]
fn the_slot_that_runs_is_never_written() {
    let device = Device::installed();
    block_on(async {
        let mut platform = device.open(&settings()).unwrap();
        for round in 0..3_u8 {
            let image = [round; 50];
            let running = device.current();
            platform.prepare(50, 0).await.unwrap();
            platform.write(Area::Image, 0, &image).await.unwrap();
            assert_eq!(device.current(), running);
            platform.activate(50, &[round; 32]).await.unwrap();
            assert_eq!(platform.news().await, Trial::Healthy);
            platform.settle().await.unwrap();
            assert_eq!(device.current(), image);
            platform.write(Area::Image, 0, b"x").await.unwrap_err();
        }
    });
}

#[test]
fn a_command_does_not_outlive_whoever_holds_its_supervisor() {
    let device = Device::empty();
    let script = device.shell("echo $$ > parent; sleep 1000 & echo $! > child; wait").unwrap();
    let mut supervisor =
        Command::new(AGENT).arg("--supervise").args(script).stdin(Stdio::piped()).spawn().unwrap();
    assert!(eventually(|| device.left("child").is_some_and(|pid| pid.ends_with('\n'))));
    let (parent, child) = (device.left("parent").unwrap(), device.left("child").unwrap());
    assert!(lives(&parent) && lives(&child));
    // What the kernel does to an agent that is killed.
    drop(supervisor.stdin.take());
    supervisor.wait().unwrap();
    assert!(eventually(|| !lives(&parent) && !lives(&child)));
}

#[test]
fn what_a_command_leaves_behind_is_killed() {
    let device = Device::installed();
    let health_command = device.shell("sleep 1000 & echo $! > child");
    assert_eq!(tried(&device, &TrialSettings { health_command, ..settings() }), Trial::Healthy);
    let child = device.left("child").unwrap();
    assert!(eventually(|| !lives(&child)));
}
