//! fwcast and other multicast tools in turn over the same links: bytes and time of one image.

mod column;
mod kept;
mod run;
mod table;
mod tool;

use std::fs;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use serde_json::Value;

use crate::netns;
use crate::outcome::Outcome;
use crate::programs::Programs;
use column::{Column, Processors};
use kept::Kept;
use run::Ground;
use table::Cell;
use tool::Tool;

const IMAGE_BYTES: u64 = 4 * 1024 * 1024;
/// Where finished runs are kept, in cargo's folder.
const KEPT: &str = "bench-peers.jsonl";

/// What fwcast's agents are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Profile {
    /// Devices that run Linux
    Linux,
    /// Microcontrollers
    Mcu,
}

impl Profile {
    /// The parity of their group; `None` for the default of `group create`.
    const fn parity(self) -> Option<&'static str> {
        match self {
            Self::Linux => None,
            Self::Mcu => Some("cauchy"),
        }
    }

    /// What their program is told.
    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Linux => &[],
            Self::Mcu => &["--profile", "mcu"],
        }
    }
}

/// Arguments of `bench peers`.
#[derive(Debug, Clone, Args)]
pub struct Peers {
    /// How often each cell of the table is measured; it shows the medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    runs: u8,
    /// Numbers of receivers
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "8,32")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    agents: Vec<u8>,
    /// Percent of datagrams that each receiver's link loses, in each direction
    #[arg(long, value_name = "PERCENT,PERCENT", value_delimiter = ',', default_value = "0,5,20")]
    #[arg(value_parser = clap::value_parser!(u8).range(..=50))]
    loss: Vec<u8>,
    /// Only these tools; without it, all that are installed
    #[arg(long, value_name = "TOOL,TOOL", value_delimiter = ',')]
    tools: Vec<Tool>,
    /// The parity of fwcast's group, as `fwcast group create` takes it; without it, the default of that
    /// command
    #[arg(long)]
    parity: Option<String>,
    /// What fwcast's agents are like: microcontrollers have little memory for parity, and their group the
    /// parity `cauchy`
    #[arg(long, value_enum, default_value_t = Profile::Linux)]
    profile: Profile,
    /// Measure fwcast's second push: the distributor then knows the loss from the first
    #[arg(long)]
    warm: bool,
    /// Measure everything anew, also what an earlier run has kept
    #[arg(long)]
    fresh: bool,
}

impl Peers {
    /// Measures. Finished runs are kept in a file, so that a comparison that was interrupted goes on.
    ///
    /// # Errors
    /// Not root, or something that it needs does not work. A tool that does not finish is part of the
    /// outcome.
    pub fn run(&self) -> Result<Outcome> {
        if let Some(why) = netns::unavailable() {
            bail!("{why}: run `cargo xtask bench peers` as root");
        }
        let processors = Processors::measure()?;
        println!("{processors}");
        let folder = tempfile::tempdir()?;
        let tools = self.tools_here();
        for tool in &tools {
            tool.prepare(folder.path())?;
        }
        let programs = Programs::build()?;
        let mut kept = Kept::open(&programs.target().join(KEPT), self.fresh)?;
        let parity = self.parity.clone().or_else(|| self.profile.parity().map(str::to_owned));
        let (profile, warm) = (self.profile, self.warm);
        let ours = format!("{}, parity {parity:?}, {profile:?}, warm {warm}", programs.digest()?);
        let ground = Ground {
            programs,
            parity: parity.clone(),
            profile,
            warm,
            folder: folder.path().to_owned(),
            image_bytes: IMAGE_BYTES,
        };
        make_image(&ground)?;
        let mut cells = Vec::new();
        let columns = Column::all(&self.agents, &self.loss, &processors);
        for column in &columns {
            if let Some(said) = column.slower() {
                println!("{said}");
            }
            for tool in &tools {
                let mut what = format!("{tool}, {column}, {} bit/s", column.rate);
                if *tool == Tool::Fwcast {
                    what = format!("{what}, {ours}");
                }
                cells.push(self.cell(&ground, *tool, column, (&what, &mut kept))?);
            }
        }
        let table = table::markdown(&tools, &columns, &cells);
        println!(
            "\nBytes on the sender's link for each byte of the image, and seconds until the last receiver \
                  has it; medians of {}.\n\n{table}\n",
            self.runs
        );
        let mut versions: Vec<String> = tools.iter().filter_map(|tool| tool.version()).collect();
        versions.dedup();
        println!("{processors}; {}", versions.join(", "));
        Ok(Outcome::new(table::is_right(&cells, parity.as_deref(), profile))
            .figure("machine", processors.to_string())
            .figure("versions", versions)
            .figure("parity", parity)
            .figure("profile", format!("{profile:?}").to_lowercase())
            .figure("warm", self.warm)
            .figure("image_bytes", IMAGE_BYTES)
            .figure("cells", cells.iter().map(|cell| cell.json(profile)).collect::<Vec<Value>>()))
    }

    /// The tools that are installed; of the others, says what to install.
    fn tools_here(&self) -> Vec<Tool> {
        let mut wanted = if self.tools.is_empty() { Tool::ALL.to_vec() } else { self.tools.clone() };
        wanted.retain(|tool| {
            let missing = tool.missing();
            if let Some(packages) = missing {
                println!("{tool} is left out: install it (Debian: apt install {packages})");
            }
            missing.is_none()
        });
        wanted
    }

    /// All runs of a tool in a column.
    fn cell(
        &self,
        ground: &Ground,
        tool: Tool,
        column: &Column,
        (what, kept): (&str, &mut Kept),
    ) -> Result<Cell> {
        let mut runs = Vec::new();
        for number in 1..=self.runs {
            if let Some(took) = kept.run(what, number) {
                runs.push(took);
                continue;
            }
            let start = Instant::now();
            let took = match ground.run(tool, column) {
                Ok(took) => {
                    println!("{column}: {tool} {number}: {:.3}, {:.2} s", took.bytes, took.seconds);
                    Some(took)
                }
                Err(error) => {
                    println!(
                        "{column}: {tool} {number}: failed after {} s: {error:#}",
                        start.elapsed().as_secs()
                    );
                    None
                }
            };
            kept.keep(what, number, took)?;
            runs.push(took);
        }
        Ok(Cell { tool, column: *column, runs })
    }
}

/// Writes an incompressible image.
fn make_image(ground: &Ground) -> Result<()> {
    let mut image = vec![0; usize::try_from(ground.image_bytes)?];
    Pcg64Mcg::new(0xf00d).fill_bytes(&mut image);
    Ok(fs::write(ground.image(), image)?)
}
