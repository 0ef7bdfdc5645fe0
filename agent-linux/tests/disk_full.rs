//! A full disk: the update does not begin, and the device goes on with what it has.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;
use std::process::{Command, ExitCode};
use std::thread;

use agent_linux::install::{first_installed_record, install};
use agent_linux::slots::Switch;
use common::{Device, OLD, block_on, needs_namespace, settings};
use libtest_mimic::{Arguments, Trial};
use nix::sched::{CloneFlags, unshare};
use update_core::platform::{Area, Platform, Record};

/// A small file system needs a mount, so this runs only as root, in a mount namespace of its own, and else
/// says that it was left out.
fn main() -> ExitCode {
    let test = Trial::test("a_full_disk_shows_at_once_and_leaves_room_for_the_records", || {
        a_full_disk_shows_at_once_and_leaves_room_for_the_records();
        Ok(())
    });
    let tests = vec![needs_namespace(test, CloneFlags::CLONE_NEWNS)];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn a_full_disk_shows_at_once_and_leaves_room_for_the_records() {
    let namespaced = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let device = Device::empty();
        fs::create_dir(&device.state).unwrap();
        let state = device.state.to_str().unwrap();
        mount(&["--make-rprivate", "/"]);
        mount(&["-t", "tmpfs", "-o", "size=1m,mode=700", "none", state]);
        let image = device.folder.path().join("first.img");
        fs::write(&image, OLD).unwrap();
        install(&device.state, &image, &first_installed_record(1).unwrap(), Switch::BuiltIn).unwrap();
        block_on(fill(&device));
        unmount(state);
    });
    namespaced.join().unwrap();
}

async fn fill(device: &Device) {
    let mut platform = device.open(&settings()).unwrap();
    let error = platform.prepare(4 << 20, 4096).await.unwrap_err().to_string();
    assert!(error.contains("making room for an image") && error.contains("No space left"), "{error}");
    platform.write(Area::Image, 0, b"x").await.unwrap_err();
    assert_eq!(device.current(), OLD);
    // Room for an image, but not for its hash pages.
    let error = platform.prepare(512 << 10, 1 << 20).await.unwrap_err().to_string();
    assert!(error.contains("hash pages"), "{error}");
    platform.write(Area::Image, 0, b"x").await.unwrap_err();
    // Room for both, and then none for a record.
    let error = platform.prepare((1 << 20) - (40 << 10), 4096).await.unwrap_err().to_string();
    assert!(error.contains("records"), "{error}");
    platform.save(Record::Counters, &[1; 1000]).await.unwrap();
    platform.save(Record::Update, &[2; 1000]).await.unwrap();
    platform.prepare(512 << 10, 4096).await.unwrap();
    platform.write(Area::Image, (512 << 10) - 1, b"x").await.unwrap();
    drop(platform);
    let platform = device.open(&settings()).unwrap();
    assert_eq!(platform.load(Record::Counters).unwrap().unwrap(), [1; 1000]);
}

fn mount(arguments: &[&str]) {
    let status = Command::new("mount").args(arguments).status().unwrap();
    assert!(status.success(), "mount {arguments:?}: {status}");
}

fn unmount(folder: &str) {
    // Lazily: it goes with the namespace anyway.
    let _ = Command::new("umount").args(["-l", folder]).status();
}
