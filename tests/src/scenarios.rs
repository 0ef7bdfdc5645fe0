//! Scenarios with the real programs between network namespaces.

pub(crate) mod attacker;
mod attacks;
mod busy;
mod disk;
mod faults;
mod life;
mod lost_state;
mod outages;
mod twins;
mod updates;

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::fleet::{Fleet, Place, Plan, last_line};
use crate::netns::{Family, Net};
use crate::programs::Programs;

/// A scenario, over IPv4 or IPv6.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    name: &'static str,
    family: Family,
    agents: u8,
    story: fn(&Stage<'_>) -> Result<()>,
}

/// What a scenario runs on.
#[derive(Debug)]
pub struct Stage<'s> {
    programs: &'s Programs,
    net: &'s Net,
    folder: &'s Path,
    agents: u8,
}

/// All scenarios.
#[must_use]
pub fn all() -> Vec<Scenario> {
    [
        &updates::SCENARIOS[..],
        &outages::SCENARIOS,
        &faults::SCENARIOS,
        &attacks::SCENARIOS,
        &busy::SCENARIOS,
        &disk::SCENARIOS,
        &twins::SCENARIOS,
        &life::SCENARIOS,
        &lost_state::SCENARIOS,
    ]
    .concat()
}

impl Scenario {
    const fn new(
        name: &'static str,
        family: Family,
        agents: u8,
        story: fn(&Stage<'_>) -> Result<()>,
    ) -> Self {
        Self { name, family, agents, story }
    }

    /// Its name, with the family.
    #[must_use]
    pub fn name(&self) -> String {
        let family = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        format!("{} ({family})", self.name)
    }

    /// Runs it, and returns how many seconds that took.
    ///
    /// # Errors
    /// Something does not end as it must.
    pub fn run(&self, programs: &Programs) -> Result<f64> {
        let start = Instant::now();
        let family = match self.family {
            Family::V4 => 4,
            Family::V6 => 6,
        };
        // One host for the distributor, one for each agent, and one for an attacker. Namespaces are named
        // like files; the scenario's name is for people.
        let name: String =
            self.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let net = Net::new(&format!("{name}{family}"), self.family, self.agents + 2)?;
        let folder = tempfile::tempdir()?;
        let stage = Stage { programs, net: &net, folder: folder.path(), agents: self.agents };
        let end = (self.story)(&stage);
        if end.is_err() {
            let kept = folder.keep();
            return end.context(format!("see {}{}", kept.display(), last_lines(&kept))).map(|()| 0.0);
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

/// The last line of each program, for readers who only see this output.
fn last_lines(folder: &Path) -> String {
    let mut logs: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    logs.retain(|file| file.path().extension().is_some_and(|extension| extension == "log"));
    logs.sort_by_key(fs::DirEntry::file_name);
    let last = |file: &fs::DirEntry| {
        let log = fs::read_to_string(file.path()).unwrap_or_default();
        format!("; the last line of {} is '{}'", file.file_name().display(), last_line(&log))
    };
    logs.iter().map(last).collect()
}

impl<'s> Stage<'s> {
    /// A fleet with an agent on every host except the distributor's.
    fn fleet(&self, rate: &str) -> Result<Fleet<'s>> {
        let plan = Plan::new(self.agents.into(), rate);
        Fleet::create(self.programs, Place::Net(self.net), self.folder, plan)
    }

    /// The host without distributor or agent.
    fn attacker(&self) -> usize {
        usize::from(self.agents) + 1
    }
}

/// How long a push, or anything else in a scenario, may take.
const PUSH_WITHIN: Duration = Duration::from_secs(60);

/// Waits until something holds.
fn wait_until(mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !holds()? {
        ensure!(start.elapsed() < PUSH_WITHIN, "not within {} s", PUSH_WITHIN.as_secs());
        sleep(Duration::from_millis(100));
    }
    Ok(())
}
