#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]
//! What the integration tests share: a device in a temporary folder with its first image installed.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses some of it")]

pub mod enrolled;

use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use agent_linux::command::Launcher;
use agent_linux::disk::Disk;
use agent_linux::install::{first_installed_record, install};
use agent_linux::linux_platform::{LinuxPlatform, PlatformError};
use agent_linux::slots::Switch;
use agent_linux::trial::TrialSettings;
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

pub const AGENT: &str = env!("CARGO_BIN_EXE_fwcast-agent");
pub const OLD: &[u8] = b"the image that came with the device";
pub const DIGEST: [u8; 32] = [0xD1; 32];

/// A test in a namespace of its own. Where none can be made, it is not run and says so instead of passing.
pub fn needs_namespace(test: libtest_mimic::Trial, namespace: CloneFlags) -> libtest_mimic::Trial {
    let error = thread::spawn(move || unshare(namespace).err()).join().unwrap();
    match error {
        Some(error) => {
            test.with_kind(format!("left out: a namespace needs root: {error}")).with_ignored_flag(true)
        }
        None => test,
    }
}

/// A device's files. `state` is its state folder; `machine` is for what commands of tests leave.
pub struct Device {
    pub folder: TempDir,
    pub state: PathBuf,
    pub machine: PathBuf,
}

impl Device {
    /// Nothing installed.
    pub fn empty() -> Self {
        // In memory where possible: syncing is fast there, and no test needs it to be more than a call.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (state, machine) = (folder.path().join("state"), folder.path().join("machine"));
        fs::create_dir(&machine).unwrap();
        Self { folder, state, machine }
    }

    /// With [`OLD`] in slot a.
    pub fn installed() -> Self {
        Self::installed_for(Switch::BuiltIn)
    }

    /// The same, for this switch.
    pub fn installed_for(switch: Switch) -> Self {
        let device = Self::empty();
        let image = device.folder.path().join("first.img");
        fs::write(&image, OLD).unwrap();
        install(&device.state, &image, &first_installed_record(1).unwrap(), switch).unwrap();
        device
    }

    pub fn open(&self, settings: &TrialSettings) -> Result<LinuxPlatform, PlatformError> {
        self.open_on(Disk::open(&self.state).unwrap(), settings)
    }

    pub fn open_on(&self, disk: Disk, settings: &TrialSettings) -> Result<LinuxPlatform, PlatformError> {
        LinuxPlatform::open(disk, settings.clone(), Launcher::new(AGENT))
    }

    /// A shell command that finds `machine` as its working folder.
    pub fn shell(&self, script: &str) -> Option<Vec<String>> {
        let script = format!("cd '{}' && {{ {script}\n}}", self.machine.display());
        Some(["/bin/sh", "-c", &script].map(str::to_owned).into())
    }

    /// What a test's command left under this name.
    pub fn left(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.machine.join(name)).ok()
    }

    /// The image that the link shows.
    pub fn current(&self) -> Vec<u8> {
        fs::read(self.state.join("current")).unwrap()
    }
}

/// The built-in switch, no health command, short times.
pub fn settings() -> TrialSettings {
    TrialSettings {
        activate_command: None,
        activate_deadline: Duration::from_secs(10),
        ready_command: None,
        ready_deadline: Duration::from_secs(10),
        ready_interval: Duration::from_millis(5),
        health_command: None,
        health_deadline: Duration::from_secs(10),
        health_interval: Duration::from_millis(5),
    }
}

/// Runs a future to its end on this thread; a test that hangs fails after half a minute.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), future).await.expect("the test hangs")
    })
}

/// Waits until something holds, for at most ten seconds.
pub fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if holds() {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Whether a process lives. A dead one that nobody has waited for does not count.
pub fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.contains(") Z") && !stat.contains(") X"))
}
