//! The effects of a full disk on a rollout.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Scenario, Stage};
use crate::fleet::{FIRST_SEQUENCE, Fleet, Signing, manifest};
use crate::netns::Family::V4;

pub(super) const SCENARIOS: [Scenario; 1] = [Scenario::new("full disk", V4, AGENTS, full_disk)];

const AGENTS: u8 = 2;

/// Slow enough that the disk is full before all agents have the image.
const RATE: &str = "400kbit/s";
const IMAGE_BYTES: u64 = 256 * 1024;
/// The disk of the state folder.
const DISK: &str = "size=4m";
const WITHIN: Duration = Duration::from_secs(60);

/// The disk with the state folder fills up during a rollout. The rollout stops with one sentence that says
/// so, and continues to its end when there is room again.
fn full_disk(stage: &Stage<'_>) -> Result<()> {
    let disk = Disk::mount(&stage.folder.join("state"))?;
    let mut fleet = stage.fleet(RATE)?;
    fleet.start_all()?;
    fleet.make_image("spring.img", IMAGE_BYTES)?;
    fleet.sign("spring.img", "spring.img.suit", Signing::of_sequence(FIRST_SEQUENCE + 1))?;
    fs::write(fleet.path("spring.yaml"), manifest("spring", "spring.img", ""))?;

    let run = fleet.run_rollout("spring.yaml")?;
    until_receiving(&fleet)?;
    disk.fill()?;
    let (status, report) = run.wait(WITHIN)?;
    let said = format!("{:#}", report.err().context("a rollout on a full disk reaches its end")?);
    ensure!(status.code() == Some(1), "ended with {status}: {said}");
    ensure!(said.contains("is full") || said.contains("free space"), "no message about a full disk: {said}");
    // There is no room for anything new either: the space of the write-ahead log is filled as well.
    disk.fill()?;
    let refused = fleet.fwcast_output(&["rollout", "pause", "spring"])?;
    ensure!(refused.status.code() == Some(1), "an order on a full disk ended with {}", refused.status);

    disk.make_room()?;
    let (status, report) = fleet.run_rollout("spring.yaml")?.wait(WITHIN)?;
    let report = report?;
    ensure!(
        status.success() && report.count("confirmed") == usize::from(AGENTS),
        "ended with {status}: {report:?}"
    );
    ensure!(report.agents.iter().all(|agent| agent.tries == 1), "an agent was told twice: {report:?}");
    Ok(())
}

fn until_receiving(fleet: &Fleet<'_>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < WITHIN {
        if fleet.rollout_count("spring", "receiving")? == usize::from(AGENTS) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("the agents do not receive")
}

/// A small separate file system. It is removed when this value is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path) -> Result<Self> {
        fs::create_dir(folder)?;
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(folder).status();
        ensure!(status.context("cannot run mount")?.success(), "cannot mount {}", folder.display());
        Ok(Self(folder.to_owned()))
    }

    /// Fills it to the last byte.
    fn fill(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.filler())?;
        for bytes in [64 * 1024, 1] {
            while file.write_all(&vec![0; bytes]).is_ok() {}
        }
        Ok(())
    }

    fn make_room(&self) -> Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: processes of the fleet may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
