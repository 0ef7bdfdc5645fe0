//! A configuration file as `fwcast agent enroll` would write it, and the agent's binary run with it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses some of it")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use provisioning::testing::enrolled;
use provisioning::{AgentFile, LinuxSettings, yaml};

use super::{AGENT, Device};

impl Device {
    /// What an agent of this group is given.
    pub fn file(&self, coap_group: &str) -> AgentFile {
        AgentFile {
            provisioning: enrolled(coap_group.parse().unwrap(), "127.0.0.1:47000".parse().unwrap()),
            linux: LinuxSettings::new("lo".into(), self.state.to_str().unwrap().into()),
        }
    }

    /// Writes it down.
    pub fn enroll(&self, file: &AgentFile) -> PathBuf {
        self.write_config(&yaml::to_string(file).unwrap())
    }

    pub fn write_config(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("agent.yaml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The agent's command line with the configuration that was written.
    pub fn agent(&self) -> Command {
        let mut command = Command::new(AGENT);
        command.arg("--config").arg(self.folder.path().join("agent.yaml"));
        command
    }
}

/// Runs to the end.
pub fn output(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = [stdout, stderr].concat();
    (status.code().unwrap(), String::from_utf8(text).unwrap())
}
