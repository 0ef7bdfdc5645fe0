//! One `fwcast run` of a rollout for the fleet.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde::Deserialize;

use super::{Fleet, GROUP};
use crate::process::Watched;
use crate::push_report::last;

/// A running `fwcast run`.
#[derive(Debug)]
pub struct RolloutRun {
    process: Watched,
    output: PathBuf,
    log: PathBuf,
}

/// What `fwcast run -o json` and `fwcast status ROLLOUT -o json` print.
#[derive(Debug, Deserialize)]
pub struct RolloutReport {
    /// How it ended.
    pub outcome: Option<String>,
    /// A sentence about what it is doing.
    pub doing: String,
    /// Each wave.
    pub waves: Vec<WaveReport>,
    /// Each agent.
    pub agents: Vec<RolloutAgent>,
}

/// One wave.
#[derive(Debug, Deserialize)]
pub struct WaveReport {
    /// How many agents it has.
    pub agents: usize,
    /// How many have confirmed.
    pub confirmed: usize,
}

/// One agent of a rollout.
#[derive(Debug, Deserialize)]
pub struct RolloutAgent {
    /// Its group and name.
    pub name: String,
    /// Its state.
    pub progress: String,
    /// How often it was told to activate.
    pub tries: u8,
    /// Why it is in that state, with the device's own words.
    pub reason: String,
}

impl RolloutReport {
    /// How many agents are in this state.
    #[must_use]
    pub fn count(&self, progress: &str) -> usize {
        self.agents.iter().filter(|agent| agent.progress == progress).count()
    }
}

/// The documents of a rollout with this name to all agents of the fleet; `spec` is appended to its `spec`.
#[must_use]
pub fn manifest(name: &str, image: &str, spec: &str) -> String {
    format!(
        "apiVersion: fwcast/v1
kind: RolloutGroup
metadata: {{ name: hall }}
spec:
  members: {{ selector: {{}} }}
  security: {{ group: {GROUP} }}
---
apiVersion: fwcast/v1
kind: Rollout
metadata: {{ name: {name} }}
spec:
  image: {image}
  groups: [hall]
{spec}
"
    )
}

/// Arguments of an agent that is healthy unless a file with this name exists, and that has this long to
/// become healthy.
#[must_use]
pub fn healthy_without(file: &str, deadline: &str) -> Vec<String> {
    let check = format!("test ! -e {file}");
    let timing = ["--health-deadline", deadline, "--health-interval", "1s"];
    let command = ["--health-command", "sh", "--health-command=-c", "--health-command", &check];
    timing.into_iter().chain(command).map(str::to_owned).collect()
}

impl Fleet<'_> {
    /// Starts `fwcast run` with this file of the folder.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run_rollout(&mut self, file: &str) -> Result<RolloutRun> {
        self.start_fwcast(&["run", "-f", file])
    }

    /// How many agents of a rollout are in this state; 0 before it has begun.
    ///
    /// # Errors
    /// `fwcast` cannot be run.
    pub fn rollout_count(&self, rollout: &str, progress: &str) -> Result<usize> {
        let output = self.fwcast_output(&["status", rollout, "-o", "json"])?;
        Ok(last(&String::from_utf8_lossy(&output.stdout))
            .map_or(0, |report: RolloutReport| report.count(progress)))
    }

    /// Starts `fwcast` with these words, which must print a rollout.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_fwcast(&mut self, words: &[&str]) -> Result<RolloutRun> {
        self.pushes += 1;
        let output = self.path(format!("run-{}.json", self.pushes));
        let log = self.path(format!("run-{}.log", self.pushes));
        let arguments = [words, &["-o", "json"]].concat();
        self.show("fwcast", &arguments, "");
        let mut command = self.fwcast_command(&arguments);
        command.stdout(File::create(&output)?);
        command.stderr(if self.plan.show { Stdio::inherit() } else { File::create(&log)?.into() });
        Ok(RolloutRun { process: Watched::new(self.spawn(0, command)?), output, log })
    }
}

impl RolloutRun {
    /// Waits for the end. Returns how it ended, and its report, if it got that far.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn wait(mut self, within: Duration) -> Result<(ExitStatus, Result<RolloutReport>)> {
        let said = || fs::read_to_string(&self.log).unwrap_or_default();
        let status = self.process.wait(within).with_context(|| format!("the rollout hangs: {}", said()))?;
        let report = last(&fs::read_to_string(&self.output)?);
        Ok((status, report.with_context(said)))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Whether it has ended on its own.
    ///
    /// # Errors
    /// The system's own.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.ended()?.is_some())
    }

    /// Kills it without warning.
    ///
    /// # Errors
    /// The system's own.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()
    }
}
