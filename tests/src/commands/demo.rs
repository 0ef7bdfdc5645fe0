//! `cargo xtask demo`: the main use case on this machine, with nothing faked.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use comfy_table::{Table, presets};

use crate::fleet::{FIRST_SEQUENCE, Fleet, Place, Plan, Signing};
use crate::outcome::{Outcome, rounded};
use crate::programs::Programs;
use crate::push_report::AgentReport;
use crate::rollouts;
use crate::size::Size;

/// Fast enough that nobody waits long, slow enough that only the injected loss occurs.
const RATE: &str = "4Mbit/s";
/// How long the push may take.
const WITHIN: Duration = Duration::from_secs(600);
const IMAGE: &str = "new.img";
const ENVELOPE: &str = "new.img.suit";

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// How many agents
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(super) agents: u8,
    /// Size of the generated image in bytes
    #[arg(long, default_value = "1MiB", value_name = "SIZE")]
    pub(super) size: Size,
    /// Distribute this file instead
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    pub(super) image: Option<PathBuf>,
    /// Percent of datagrams that every agent drops on purpose, each way
    #[arg(long, default_value_t = 10.0, value_name = "PERCENT")]
    pub(super) loss: f64,
    /// Instead: twenty agents in waves of 2, 6 and 12, and a second rollout whose canary fails
    #[arg(long, conflicts_with_all = ["image", "size", "agents", "loss"])]
    pub(super) rollout: bool,
    /// With --rollout: kill the process that runs it this many times, and check whether a nonce repeats
    #[arg(long, value_name = "TIMES", requires = "rollout")]
    pub(super) kills: Option<u32>,
    /// Keep keys, agents and logs in this folder, which is created
    #[arg(long, value_name = "DIR")]
    pub(super) keep: Option<PathBuf>,
}

/// The final state of one agent.
struct Row {
    report: AgentReport,
    /// Whether it runs the image, byte for byte.
    runs_image: bool,
}

impl Default for Demo {
    fn default() -> Self {
        let size = Size(1024 * 1024);
        Self { agents: 5, size, image: None, loss: 10.0, rollout: false, kills: None, keep: None }
    }
}

impl Demo {
    /// Runs it.
    ///
    /// # Errors
    /// An argument is wrong, or a program fails.
    pub(super) fn run(&self) -> Result<Outcome> {
        ensure!((0.0..100.0).contains(&self.loss), "--loss {}: give 0 to 99 percent", self.loss);
        let programs = Programs::build()?;
        match &self.keep {
            Some(folder) => {
                fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
                let empty = fs::read_dir(folder)?.next().is_none();
                ensure!(empty, "{} is not empty: give --keep another folder", folder.display());
                self.run_in(folder, &programs)
            }
            None => self.run_in(tempfile::tempdir()?.path(), &programs),
        }
    }

    fn run_in(&self, folder: &Path, programs: &Programs) -> Result<Outcome> {
        if self.rollout {
            return match self.kills {
                Some(times) => rollouts::kills(folder, programs, times, u64::from(std::process::id())),
                None => rollouts::demo(folder, programs),
            };
        }
        let start = Instant::now();
        let agents = usize::from(self.agents);
        let plan = Plan { loss_percent: self.loss, show: true, ..Plan::new(agents, RATE) };
        let mut fleet = Fleet::create(programs, Place::Loopback, folder, plan)?;
        self.make_image(&fleet)?;
        let image = fs::read(fleet.path(IMAGE))?;
        fleet.sign(IMAGE, ENVELOPE, Signing::of_sequence(FIRST_SEQUENCE + 1))?;
        fleet.start_all()?;
        let pushed = fleet.push(IMAGE, ENVELOPE, &[])?.wait(WITHIN)?;
        let push = pushed.report.with_context(|| format!("fwcast push ended with {}", pushed.status))?;
        let rows = rows(&fleet, &fleet.status()?, &image);
        println!("\n{}", table(&rows));
        let confirmed = rows.iter().filter(|row| row.has_it_all()).count();
        Ok(Outcome::new(push.ok && pushed.status.success() && confirmed == agents)
            .figure("agents", agents)
            .figure("agents_confirmed", confirmed)
            .figure("image_bytes", image.len())
            .figure("loss_percent", self.loss)
            .figure("seconds", rounded(start.elapsed().as_secs_f64()))
            .figure("datagrams_multicast", push.datagrams_multicast)
            .figure("datagrams_unicast", push.datagrams_unicast)
            .figure("blocks_repaired", push.blocks_repaired(image.len() as u64, 1024)))
    }

    /// Creates the image, as a file in the fleet's folder.
    fn make_image(&self, fleet: &Fleet<'_>) -> Result<()> {
        let Some(file) = &self.image else { return fleet.make_image(IMAGE, self.size.0) };
        fs::copy(file, fleet.path(IMAGE)).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(())
    }
}

fn rows(fleet: &Fleet<'_>, agents: &[AgentReport], image: &[u8]) -> Vec<Row> {
    fleet
        .agent_names()
        .iter()
        .enumerate()
        .filter_map(|(index, name)| {
            let report = agents.iter().find(|agent| agent.name == *name)?.clone();
            let runs_image = fleet.running_image(index + 1).is_ok_and(|running| running == image);
            Some(Row { report, runs_image })
        })
        .collect()
}

impl Row {
    fn has_it_all(&self) -> bool {
        self.report.state == "confirmed" && self.runs_image
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["AGENT", "VERSION", "BY MULTICAST", "BY UNICAST", "VERIFIED", "STATE"]);
    for Row { report, runs_image } in rows {
        table.add_row([
            report.name.clone(),
            report.installed.to_string(),
            report.heard_multicast.to_string(),
            report.heard_unicast.to_string(),
            if *runs_image { "yes" } else { "no" }.to_owned(),
            report.state.clone(),
        ]);
    }
    table
}
