//! Records that are lost, damaged or of another update when the agent starts: what it refuses, and what
//! becomes of an image on trial.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;
use std::time::Duration;

use agent_linux::agent::{Sets, agent};
use agent_linux::arguments::Profile;
use agent_linux::config::{Config, Overrides};
use agent_linux::linux_platform::LinuxPlatform;
use agent_linux::trial::TrialSettings;
use common::{DIGEST, Device, OLD, block_on, settings};
use update_core::device::Installed;
use update_core::digest::Digest;
use update_core::limits::RECORD_BYTES_MAX;
use update_core::platform::{Area, Platform, Record, RollBackCause, Trial};
use update_core::record::encode_installed;

const NEW: &[u8] = b"the new image";
const GROUP: &str = "239.192.9.9:5683";

/// A device with a new image on trial, as it is found at a restart. The record of the update is missing.
fn on_trial(settings: &TrialSettings) -> (Device, Config) {
    let device = Device::installed();
    let path = device.enroll(&device.file(GROUP));
    let config = Config::load(&path, &Overrides::default()).unwrap();
    block_on(async {
        let mut platform = device.open(settings).unwrap();
        platform.prepare(NEW.len() as u32, 0).await.unwrap();
        platform.write(Area::Image, 0, NEW).await.unwrap();
        platform.sync().await.unwrap();
        platform.activate(NEW.len() as u32, &DIGEST).await.unwrap();
    });
    (device, config)
}

/// Starts as the program does; gives the sentence of a refusal.
fn start(config: &Config, platform: &mut LinuxPlatform) -> Result<(), String> {
    let mut sets = Sets::for_blocks_of(config.provisioning.block_size, Profile::Linux).unwrap();
    agent(config, platform, &mut sets, 1).map(drop).map_err(|failure| failure.sentence)
}

/// The health command that never answers: only something else can end the trial.
fn undecided(device_settings: TrialSettings) -> TrialSettings {
    TrialSettings {
        health_command: Some(["/bin/sleep", "1000"].map(str::to_owned).into()),
        ..device_settings
    }
}

#[test]
fn a_trial_without_its_update_rolls_back() {
    for damage in ["lost", "damaged", "unreadable"] {
        let settings = undecided(settings());
        let (device, config) = on_trial(&settings);
        let record = device.state.join("update.cbor");
        match damage {
            "damaged" => fs::write(record, b"\xa5rotten").unwrap(),
            "unreadable" => fs::create_dir(record).unwrap(),
            _ => {}
        }
        let verdict = block_on(async {
            let mut platform = device.open(&settings).unwrap();
            start(&config, &mut platform).unwrap();
            tokio::time::timeout(Duration::from_secs(10), platform.news()).await
        });
        assert_eq!(verdict, Ok(Trial::RolledBack(RollBackCause::Reset)), "{damage}");
        assert_eq!(device.current(), OLD, "{damage}");
        let mut platform = device.open(&settings).unwrap();
        start(&config, &mut platform).unwrap();
        block_on(platform.prepare(5, 5)).expect("the next update can begin");
    }
}

#[test]
fn an_image_that_proved_healthy_without_its_update_rolls_back() {
    let (device, config) = on_trial(&settings());
    block_on(async {
        let mut platform = device.open(&settings()).unwrap();
        assert_eq!(platform.news().await, Trial::Healthy);
    });
    let verdict = block_on(async {
        let mut platform = device.open(&settings()).unwrap();
        start(&config, &mut platform).unwrap();
        tokio::time::timeout(Duration::from_secs(10), platform.news()).await
    });
    assert_eq!(verdict, Ok(Trial::RolledBack(RollBackCause::Reset)));
    assert_eq!(device.current(), OLD);
}

#[test]
fn an_image_that_is_on_record_as_installed_stays_without_its_update() {
    let (device, config) = on_trial(&settings());
    block_on(async {
        let mut platform = device.open(&settings()).unwrap();
        assert_eq!(platform.news().await, Trial::Healthy);
        let mut record = [0; RECORD_BYTES_MAX];
        let installed = Installed { sequence_number: 2, digest: Digest(DIGEST) };
        let length = encode_installed(&installed, &mut record).unwrap();
        platform.save(Record::Installed, &record[..length]).await.unwrap();
    });
    let mut platform = device.open(&settings()).unwrap();
    start(&config, &mut platform).unwrap();
    assert_eq!(platform.trial(), Trial::None);
    assert_eq!(device.current(), NEW);
    block_on(platform.prepare(5, 5)).expect("the next update can begin");
}

#[test]
fn without_the_record_of_what_is_installed_the_agent_does_not_start() {
    let device = Device::installed();
    let path = device.enroll(&device.file(GROUP));
    let config = Config::load(&path, &Overrides::default()).unwrap();
    start(&config, &mut device.open(&settings()).unwrap()).unwrap();
    fs::remove_file(device.state.join("installed.cbor")).unwrap();
    let sentence = start(&config, &mut device.open(&settings()).unwrap()).unwrap_err();
    assert!(sentence.contains("installed.cbor' is lost"), "{sentence}");
    assert!(sentence.contains("--install"), "{sentence}");
}

#[test]
fn a_device_that_never_had_the_record_of_what_is_installed_starts() {
    let device = Device::empty();
    let path = device.enroll(&device.file(GROUP));
    let config = Config::load(&path, &Overrides::default()).unwrap();
    let by_command = TrialSettings { activate_command: Some(vec!["/bin/true".to_owned()]), ..settings() };
    start(&config, &mut device.open(&by_command).unwrap()).unwrap();
    block_on(device.open(&by_command).unwrap().save(Record::Installed, b"the first update")).unwrap();
    fs::remove_file(device.state.join("installed.cbor")).unwrap();
    let sentence = start(&config, &mut device.open(&by_command).unwrap()).unwrap_err();
    assert!(sentence.contains("installed.cbor' is lost"), "{sentence}");
}

#[test]
fn counters_of_another_group_are_not_overwritten() {
    let device = Device::installed();
    let mut file = device.file(GROUP);
    let path = device.enroll(&file);
    let config = Config::load(&path, &Overrides::default()).unwrap();
    let mut platform = device.open(&settings()).unwrap();
    let mut record = [0; RECORD_BYTES_MAX];
    let bounds =
        update_core::record::CounterBounds { gid: config.provisioning.gid, reserved_end: 5_000, floor: 7 };
    let length = bounds.encode(&mut record).unwrap();
    block_on(platform.save(Record::Counters, &record[..length])).unwrap();
    start(&config, &mut platform).unwrap();

    file.provisioning.key.context_id = provisioning::Hex::from([9, 9, 9, 9]);
    let path = device.enroll(&file);
    let other = Config::load(&path, &Overrides::default()).unwrap();
    let sentence = start(&other, &mut platform).unwrap_err();
    assert!(sentence.contains("another group"), "{sentence}");
    assert!(sentence.contains("01020304") && sentence.contains("09090909"), "{sentence}");
    assert_eq!(fs::read(device.state.join("counters.cbor")).unwrap(), record[..length]);
}
