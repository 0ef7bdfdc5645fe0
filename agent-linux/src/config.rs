//! The agent's configuration: its YAML file, the command line's overrides, and all checks.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use provisioning::address::PORT_COAPS;
use provisioning::yaml::{self, TEXT_BYTES_MAX};
use provisioning::{AgentFile, Checked, LinuxSettings};

use crate::disk::is_private;
use crate::failure::Failure;
use crate::trial::TrialSettings;

/// The command line's overrides.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Instead of `linux.state_directory`.
    pub state_directory: Option<PathBuf>,
    /// Instead of `linux.interface`.
    pub interface: Option<String>,
    /// The state folder may come from another machine.
    pub moved: bool,
}

/// An agent's whole configuration, checked as far as this machine allows.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the agent received when it was enrolled.
    pub provisioning: Checked,
    /// The name of the interface to join the CoAP group on. It need not be there yet.
    pub interface: String,
    /// The port of the agent's own socket; `None` for any.
    pub listen_port: Option<u16>,
    /// The folder for slots, pages and records.
    pub state_directory: PathBuf,
    /// The state folder may come from another machine.
    pub moved: bool,
    /// How images are tried.
    pub trial: TrialSettings,
}

impl Config {
    /// Reads the file, applies the command line's overrides and checks everything.
    ///
    /// # Errors
    /// [`Failure`]: what is wrong, where, and what to do.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, Failure> {
        let text = read_secret(path)?;
        let file: AgentFile =
            yaml::from_str(&text).map_err(|error| Failure::usage(format!("{}: {error}", shown(path))))?;
        let provisioning = file.provisioning.check().map_err(|error| wrong(path, &error))?;
        check_settings(&file.linux)
            .map_err(|problem| Failure::usage(format!("{}: linux.{problem}", shown(path))))?;
        let linux = file.linux;
        let interface = overrides.interface.as_ref().unwrap_or(&linux.interface).clone();
        let state_directory =
            overrides.state_directory.clone().unwrap_or_else(|| PathBuf::from(&linux.state_directory));
        Ok(Self {
            provisioning,
            interface,
            listen_port: linux.listen_port,
            state_directory,
            moved: overrides.moved,
            trial: trial_settings(linux),
        })
    }
}

/// A path as shown to people: in quotes, with control characters escaped.
#[must_use]
pub fn shown(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().escape_debug())
}

fn wrong(path: &Path, problem: &impl std::fmt::Display) -> Failure {
    Failure::usage(format!("{}: {problem}", shown(path)))
}

fn trial_settings(linux: LinuxSettings) -> TrialSettings {
    let seconds = |count: u32| Duration::from_secs(count.into());
    TrialSettings {
        activate_command: linux.activate_command,
        activate_deadline: seconds(linux.activate_deadline_seconds),
        ready_command: linux.ready_command,
        ready_deadline: seconds(linux.ready_deadline_seconds),
        ready_interval: seconds(linux.ready_interval_seconds),
        health_command: linux.health_command,
        health_deadline: seconds(linux.health_deadline_seconds),
        health_interval: seconds(linux.health_interval_seconds),
    }
}

/// The file contains the agent's keys, so it is refused if others can read it.
fn read_secret(path: &Path) -> Result<String, Failure> {
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::usage(format!("there is no configuration file {}: give --config FILE", shown(path)))
        }
        _ => Failure::error(format!("cannot read {}: {error}", shown(path))),
    };
    // Without this flag, opening a pipe would wait for its other end.
    let flags = OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(cannot)?;
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err(Failure::usage(format!("{} is not a file: check --config", shown(path))));
    }
    if !is_private(&file).map_err(cannot)? {
        return Err(Failure::not_allowed(format!(
            "{} holds secret keys and others can read or write it: run `chmod 600` on it, and if others use \
             this machine, enroll the agent again",
            shown(path)
        )));
    }
    read_text(&file).map_err(cannot)
}

fn read_text(file: &File) -> io::Result<String> {
    let mut text = String::new();
    // Read one byte more than allowed, so that the YAML reader notices that it is too long.
    file.take(TEXT_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn check_settings(linux: &LinuxSettings) -> Result<(), String> {
    if let Some(port @ (0 | PORT_COAPS)) = linux.listen_port {
        return Err(format!("listen_port: {port} cannot be used; leave it out for any free port"));
    }
    if !Path::new(&linux.state_directory).is_absolute() {
        return Err("state_directory: give an absolute path, beginning with /".to_owned());
    }
    let commands = [
        ("activate_command", &linux.activate_command),
        ("ready_command", &linux.ready_command),
        ("health_command", &linux.health_command),
    ];
    for (key, command) in commands {
        if command.as_ref().is_some_and(|command| command.first().is_none_or(String::is_empty)) {
            return Err(format!("{key}: it needs a program, as in [\"/usr/bin/program\", \"argument\"]"));
        }
    }
    let times = [
        ("activate_deadline_seconds", linux.activate_deadline_seconds),
        ("ready_deadline_seconds", linux.ready_deadline_seconds),
        ("ready_interval_seconds", linux.ready_interval_seconds),
        ("health_deadline_seconds", linux.health_deadline_seconds),
        ("health_interval_seconds", linux.health_interval_seconds),
    ];
    if let Some((key, _)) = times.iter().find(|(_, seconds)| *seconds == 0) {
        return Err(format!("{key}: at least 1"));
    }
    Ok(())
}
