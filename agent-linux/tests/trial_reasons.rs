//! A trial that does not go as it should: what is tried again, how often, and what the distributor is told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use agent_linux::linux_platform::LinuxPlatform;
use agent_linux::slots::Switch;
use agent_linux::trial::{TRIES_BACK_MAX, TrialSettings};
use common::{DIGEST, Device, OLD, block_on, eventually, lives, settings};
use update_core::platform::{Area, Platform, RollBackCause, Trial};

const NEW: &[u8] = b"the new image";
const FAILED: Trial = Trial::RolledBack(RollBackCause::ActivationFailed);

/// Stores [`NEW`] and activates it.
async fn activate(platform: &mut LinuxPlatform) {
    platform.prepare(NEW.len() as u32, 0).await.unwrap();
    platform.write(Area::Image, 0, NEW).await.unwrap();
    platform.sync().await.unwrap();
    platform.activate(NEW.len() as u32, &DIGEST).await.unwrap();
}

/// The first news of [`NEW`], and what the agent says about it.
fn tried(device: &Device, settings: &TrialSettings) -> (Trial, String) {
    block_on(async {
        let mut platform = device.open(settings).unwrap();
        activate(&mut platform).await;
        (platform.news().await, platform.remark().as_str().to_owned())
    })
}

/// A device that switches by this command, which may not exist.
fn with_command(command: &str) -> (Device, TrialSettings) {
    let device = Device::installed_for(Switch::Command);
    (device, TrialSettings { activate_command: Some(vec![command.to_owned()]), ..settings() })
}

#[test]
fn an_activate_command_that_cannot_be_started_has_changed_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    let binary = folder.path().join("binary");
    fs::write(&binary, b"\x7fELF of no machine").unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let cases = [
        ("/nothing/here", "there is no program '/nothing/here'"),
        (script.to_str().unwrap(), "is not executable"),
        (folder.path().to_str().unwrap(), "is a folder"),
        // Only the kernel notices.
        (binary.to_str().unwrap(), "could not be started"),
    ];
    for (command, why) in cases {
        let (device, settings) = with_command(command);
        let (news, said) = tried(&device, &settings);
        assert_eq!(news, FAILED, "{command}: {said}");
        assert!(said.contains(why), "{command}: {said}");
        // It is told after a restart too, until another update begins.
        let mut platform = device.open(&settings).unwrap();
        assert_eq!((platform.trial(), platform.remark().as_str()), (FAILED, &*said));
        block_on(platform.prepare(5, 5)).unwrap();
        assert!(platform.remark().is_empty());
    }
}

#[test]
fn how_a_command_ended_is_told_with_its_time() {
    let device = Device::installed_for(Switch::Command);
    let script = "[ $FWCAST_ACTION = rollback ] || exit 7";
    let exits = TrialSettings { activate_command: device.shell(script), ..settings() };
    let (news, said) = tried(&device, &exits);
    assert_eq!((news, said.as_str()), (FAILED, "the activate command ended with exit status: 7"));

    let device = Device::installed_for(Switch::Command);
    let activate_command = device.shell("[ $FWCAST_ACTION = rollback ] || sleep 1000");
    let activate_deadline = Duration::from_secs(1);
    let (news, said) = tried(&device, &TrialSettings { activate_command, activate_deadline, ..settings() });
    assert_eq!((news, said.as_str()), (FAILED, "the activate command was killed after 1 s"));

    let device = Device::installed();
    let health_command = Some(vec!["/nothing/here".to_owned()]);
    let health_deadline = Duration::from_millis(20);
    let unhealthy = Trial::RolledBack(RollBackCause::Unhealthy);
    let (news, said) = tried(&device, &TrialSettings { health_command, health_deadline, ..settings() });
    assert_eq!(news, unhealthy);
    assert_eq!(said, "the health command could not be started: there is no program '/nothing/here'");
    assert_eq!(device.current(), OLD);
}

#[test]
fn a_switch_back_that_fails_is_tried_again_and_told_on_the_way() {
    let device = Device::installed_for(Switch::Command);
    let activate_command = device.shell("echo x >> told; [ $(wc -l < told) -ge 6 ]");
    let settings = TrialSettings { activate_command, ..settings() };
    block_on(async {
        let mut platform = device.open(&settings).unwrap();
        activate(&mut platform).await;
        assert_eq!(platform.news().await, Trial::Stuck);
        assert_eq!(platform.remark().as_str(), "the activate command ended with exit status: 1");
        assert_eq!(platform.news().await, FAILED);
    });
    assert_eq!(device.left("told").unwrap().lines().count(), 6);
}

/// The next news, if they come within this time.
fn news_within(platform: &mut LinuxPlatform, millis: u64) -> Option<Trial> {
    block_on(async { tokio::time::timeout(Duration::from_millis(millis), platform.news()).await.ok() })
}

/// Waits for news for a moment, in which there are none.
fn stays(platform: &mut LinuxPlatform) {
    assert_eq!(news_within(platform, 300), None);
}

#[test]
fn a_switch_back_that_always_fails_ends_and_waits_for_an_order() {
    let device = Device::installed_for(Switch::Command);
    let activate_command = device.shell("echo $FWCAST_ACTION >> told; [ -e mended ]");
    let settings =
        TrialSettings { activate_command, health_interval: Duration::from_millis(1), ..settings() };
    let tries = || device.left("told").unwrap().lines().filter(|line| *line == "rollback").count();
    let mut platform = device.open(&settings).unwrap();
    block_on(async {
        activate(&mut platform).await;
        assert_eq!(platform.news().await, Trial::Stuck);
    });
    stays(&mut platform);
    assert_eq!(tries(), TRIES_BACK_MAX.into(), "bounded");
    drop(platform);
    // Restarts, which may be reboots of the command's own, do not begin anew.
    for _ in 0..3 {
        let mut platform = device.open(&settings).unwrap();
        assert_eq!(platform.trial(), Trial::Stuck);
        stays(&mut platform);
    }
    assert_eq!(tries(), TRIES_BACK_MAX.into());
    // Both slots stay as they are until somebody looks at it.
    let mut platform = device.open(&settings).unwrap();
    block_on(platform.prepare(5, 5)).unwrap_err();
    fs::write(device.machine.join("mended"), b"").unwrap();
    block_on(async {
        platform.roll_back().await.unwrap();
        let mut news = platform.news().await;
        if news == Trial::Running {
            news = platform.news().await;
        }
        assert_eq!(news, FAILED);
        platform.prepare(5, 5).await.unwrap();
    });
}

#[test]
fn the_pause_between_two_tries_doubles() {
    let device = Device::installed_for(Switch::Command);
    let activate_command = device.shell("echo x >> told; [ $(wc -l < told) -ge 6 ]");
    let health_interval = Duration::from_millis(100);
    let start = Instant::now();
    block_on(async {
        let mut platform =
            device.open(&TrialSettings { activate_command, health_interval, ..settings() }).unwrap();
        activate(&mut platform).await;
        while platform.news().await != FAILED {}
    });
    // 100 ms, 200, 400 and 800 after the four tries that fail.
    assert!(start.elapsed() >= Duration::from_millis(1500), "{:?}", start.elapsed());
}

/// The command sets the slot and reboots, also where that slot runs already.
#[test]
fn a_command_that_always_reboots_is_called_a_bounded_number_of_times() {
    let device = Device::installed_for(Switch::Command);
    // Never comes back: the machine goes down with the agent.
    let activate_command = device.shell("echo $FWCAST_ACTION >> told; sleep 1000");
    let settings =
        TrialSettings { activate_command, health_interval: Duration::from_millis(1), ..settings() };
    block_on(async { activate(&mut device.open(&settings).unwrap()).await });
    for _ in 0..20 {
        let mut platform = device.open(&settings).unwrap();
        let _ = news_within(&mut platform, 250);
    }
    let told = device.left("told").unwrap();
    let count = |action| told.lines().filter(|line| *line == action).count();
    assert_eq!(count("activate"), 3, "{told}");
    assert!(count("rollback") <= TRIES_BACK_MAX.into(), "{told}");
    let platform = device.open(&settings).unwrap();
    assert_eq!(platform.trial(), Trial::Stuck);
    assert!(platform.remark().as_str().contains("must end with 0 when its slot runs already"));
}

/// As docs/operating.md shows it: the second call finds the slot running, and ends with 0.
#[test]
fn a_command_that_reboots_once_leads_to_a_judged_trial() {
    let device = Device::installed_for(Switch::Command);
    let script = "[ \"$(cat running)\" = $FWCAST_SLOT ] && exit 0
        echo $FWCAST_SLOT > next; sleep 1000";
    let reboot = || fs::rename(device.machine.join("next"), device.machine.join("running")).unwrap();
    fs::write(device.machine.join("running"), "a\n").unwrap();
    let activate_command = device.shell(script);
    let health_command = device.shell("[ -e well ]");
    let health_deadline = Duration::from_millis(50);
    let settings = TrialSettings { activate_command, health_command, health_deadline, ..settings() };
    for (well, verdict, runs) in
        [(false, Trial::RolledBack(RollBackCause::Unhealthy), "a\n"), (true, Trial::Healthy, "b\n")]
    {
        if well {
            fs::write(device.machine.join("well"), b"").unwrap();
        }
        block_on(async { activate(&mut device.open(&settings).unwrap()).await });
        let mut news = None;
        for _ in 0..5 {
            let mut platform = device.open(&settings).unwrap();
            news = news_within(&mut platform, 500);
            if news.is_some() {
                break;
            }
            reboot();
        }
        assert_eq!(news, Some(verdict));
        assert_eq!(device.left("running").unwrap(), runs);
    }
}

#[test]
fn what_an_activate_command_leaves_behind_is_named_and_confirms_nothing() {
    let device = Device::installed_for(Switch::Command);
    // Until the shell's child has become the other program, it has the shell's name.
    let activate_command = device.shell(
        "[ $FWCAST_ACTION = rollback ] || { sleep 1000 & echo $! > child; \
         until [ \"$(cat /proc/$!/comm)\" = sleep ]; do :; done; }",
    );
    let settings = TrialSettings { activate_command, ..settings() };
    let (news, said) = tried(&device, &settings);
    let child = device.left("child").unwrap();
    assert_eq!(news, FAILED);
    assert!(said.contains(&format!("sleep ({})", child.trim())), "{said}");
    assert!(eventually(|| !lives(&child)));
    // With a health command, that decides.
    let device = Device::installed_for(Switch::Command);
    let activate_command = device.shell("sleep 1000 & echo $! > child");
    let health_command = device.shell("true");
    let (news, _) = tried(&device, &TrialSettings { activate_command, health_command, ..settings });
    assert_eq!(news, Trial::Healthy);
}

#[test]
fn a_link_that_cannot_be_switched_says_why() {
    let device = Device::installed();
    let settings = settings();
    block_on(async {
        let mut platform = device.open(&settings).unwrap();
        fs::remove_file(device.state.join("current")).unwrap();
        fs::create_dir(device.state.join("current")).unwrap();
        fs::write(device.state.join("current/file"), b"").unwrap();
        activate(&mut platform).await;
        assert_eq!(platform.news().await, Trial::Stuck);
        assert!(platform.remark().as_str().starts_with("'current' cannot be changed"));
        fs::remove_dir_all(device.state.join("current")).unwrap();
        assert_eq!(platform.news().await, FAILED);
    });
    assert_eq!(device.current(), OLD);
}

#[test]
fn a_device_that_is_not_ready_is_asked_again_and_activates_when_it_is() {
    let device = Device::installed();
    let ready_command = device.shell("echo $FWCAST_ACTION >> asked; [ -e ready ]");
    let settings = TrialSettings { ready_command, ..settings() };
    block_on(async {
        let mut platform = device.open(&settings).unwrap();
        activate(&mut platform).await;
        assert_eq!(platform.news().await, Trial::Deferred);
        assert_eq!(platform.remark().as_str(), "the ready command ended with exit status: 1");
    });
    assert_eq!(device.current(), OLD);
    assert!(device.left("asked").unwrap().lines().all(|line| line == "ready"));
    // Also over restarts, of which none counts as a reset.
    for _ in 0..6 {
        let mut platform = device.open(&settings).unwrap();
        assert_eq!(platform.trial(), Trial::Deferred);
        stays(&mut platform);
    }
    fs::write(device.machine.join("ready"), b"").unwrap();
    block_on(async {
        let mut platform = device.open(&settings).unwrap();
        let mut news = platform.news().await;
        if news == Trial::Running {
            news = platform.news().await;
        }
        assert_eq!(news, Trial::Healthy);
    });
    assert_eq!(device.current(), NEW);
}

#[test]
fn a_device_that_is_never_ready_keeps_its_image() {
    let device = Device::installed();
    let ready_command = device.shell("false");
    let ready_deadline = Duration::from_secs(1);
    let settings = TrialSettings { ready_command, ready_deadline, ..settings() };
    block_on(async {
        let mut platform = device.open(&settings).unwrap();
        activate(&mut platform).await;
        assert_eq!(platform.news().await, Trial::Deferred);
        assert_eq!(platform.news().await, Trial::RolledBack(RollBackCause::NotReady));
        assert!(platform.remark().as_str().ends_with("exit status: 1, for 1 s"));
    });
    assert_eq!(device.current(), OLD);
}

#[test]
fn an_order_ends_what_is_put_off_without_a_switch() {
    let device = Device::installed_for(Switch::Command);
    let activate_command = device.shell("echo $FWCAST_ACTION >> told");
    let settings = TrialSettings { ready_command: device.shell("false"), activate_command, ..settings() };
    block_on(async {
        let mut platform = device.open(&settings).unwrap();
        activate(&mut platform).await;
        assert_eq!(platform.news().await, Trial::Deferred);
        platform.roll_back().await.unwrap();
        let mut news = platform.news().await;
        if news == Trial::Running {
            news = platform.news().await;
        }
        assert_eq!(news, Trial::RolledBack(RollBackCause::Ordered));
    });
    assert_eq!(device.left("told"), None);
}
