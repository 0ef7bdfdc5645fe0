//! Two devices with the keys of one.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use provisioning::{AgentFile, LinuxSettings, yaml};

use super::{Scenario, Stage};
use crate::fleet::Update;
use crate::netns::Family::{V4, V6};

pub(super) const SCENARIOS: [Scenario; 2] = [
    Scenario::new("one file on two devices", V4, 3, one_file_on_two_devices),
    Scenario::new("one file on two devices", V6, 3, one_file_on_two_devices),
];

const RATE: &str = "4Mbit/s";
const IMAGE_BYTES: u64 = 64 * 1024;
/// How long a push may take.
const WITHIN: Duration = Duration::from_secs(60);

/// [rewind]: agent 2 is given the file of agent 1, and its image proves unhealthy. Both answer under the same
/// numbers. The push says so, with both addresses, and counts agent 1 as failed.
fn one_file_on_two_devices(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    let names = fleet.agent_names();
    let mut file: AgentFile = yaml::from_str(&fs::read_to_string(fleet.agent_file(1))?)?;
    let own: AgentFile = yaml::from_str(&fs::read_to_string(fleet.agent_file(2))?)?;
    file.linux = LinuxSettings {
        health_command: Some(vec!["/bin/false".to_owned()]),
        health_deadline_seconds: 2,
        ..own.linux
    };
    fs::write(fleet.agent_file(2), yaml::to_string(&file)?)?;
    fleet.start_all()?;
    let pushed = update.push(&mut fleet, &["--first-answer-within", "5s"])?.wait(WITHIN)?;
    let report = pushed.report.with_context(|| format!("ended with {}: {}", pushed.status, pushed.said))?;
    let agent = |number: usize| report.agents.iter().find(|agent| agent.name == names[number - 1]);
    let twin = agent(1).context("agent 1 is missing in the report")?;
    let why = twin.reason.as_deref().unwrap_or_default();
    ensure!(!report.ok && twin.state == "lost", "{} is '{}': {why}", twin.name, twin.state);
    ensure!(
        why.contains("two devices have its keys, at ") && why.contains("--again"),
        "the reason is: {why}"
    );
    let third = agent(3).context("agent 3 is missing in the report")?;
    ensure!(third.state == "confirmed", "{} is '{}'", third.name, third.state);
    Ok(())
}
