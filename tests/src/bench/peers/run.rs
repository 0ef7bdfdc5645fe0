//! One run: one tool brings one image to all receivers of a column.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Profile;
use super::column::Column;
use super::tool::{Job, Tool};
use crate::fleet::{Fleet, Place, Plan, Signing, Update};
use crate::netns::{Family, Net};
use crate::process::Watched;
use crate::programs::Programs;

/// How long a receiver's program may take to listen.
const SETTLE: Duration = Duration::from_millis(500);
/// How often it is checked who is done.
const GLANCE: Duration = Duration::from_millis(5);
/// How long a sender may go on after the last receiver is done.
const END_WITHIN: Duration = Duration::from_secs(20);
/// What an agent logs when it has the whole image.
const COMPLETE: &str = "image complete and verified";

/// What a run took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Seconds from the start of the sender until the last receiver has the whole image.
    pub(super) seconds: f64,
    /// Seconds until the sender has ended. fwcast ends when all agents have activated and confirmed.
    pub(super) session_seconds: f64,
    /// Bytes on the sender's link, in both directions, for each byte of the image.
    pub(super) bytes: f64,
}

/// What all runs share.
#[derive(Debug)]
pub(super) struct Ground {
    /// fwcast's programs.
    pub(super) programs: Programs,
    /// The parity of fwcast's group; none: what `group create` takes by itself.
    pub(super) parity: Option<String>,
    /// What fwcast's agents are like.
    pub(super) profile: Profile,
    /// Whether the loss is known from an earlier push of fwcast.
    pub(super) warm: bool,
    /// Programs and the image.
    pub(super) folder: PathBuf,
    /// Size of the image.
    pub(super) image_bytes: u64,
}

impl Ground {
    /// Runs a tool once.
    ///
    /// # Errors
    /// Some receiver does not get the image in time, or the machine is in the way.
    pub(super) fn run(&self, tool: Tool, column: &Column) -> Result<Run> {
        let net = Net::new("peers", Family::V4, column.receivers + 1)?;
        net.shape(0, column.rate as u64)?;
        for host in 1..=usize::from(column.receivers) {
            if column.loss > 0 {
                net.drop_randomly(host, column.loss.into())?;
            }
        }
        match tool {
            Tool::Fwcast => self.fwcast(&net, column),
            _ => self.other(tool, &net, column),
        }
    }

    /// The image that all send.
    pub(super) fn image(&self) -> PathBuf {
        self.folder.join("image")
    }

    /// How long a run may take: repetition to the last receiver, and again as long for everything else.
    fn within(&self, column: &Column) -> Duration {
        let air = self.image_bytes as f64 * 8.0 / column.rate;
        Duration::from_secs_f64(20.0 + 2.0 * air * column.repetition())
    }

    fn fwcast(&self, net: &Net, column: &Column) -> Result<Run> {
        let folder = tempfile::tempdir()?;
        let parity = self.parity.iter().flat_map(|parity| ["--parity".to_owned(), parity.clone()]);
        let rate = format!("{:.0}bit/s", column.rate);
        let plan = Plan {
            group_arguments: parity.collect(),
            daemon_arguments: self.profile.arguments().iter().map(|word| (*word).to_owned()).collect(),
            ..Plan::new(column.receivers.into(), &rate)
        };
        let mut fleet = Fleet::create(&self.programs, Place::Net(net), folder.path(), plan)?;
        fleet.start_all()?;
        let mut sequence = 2;
        if self.warm {
            let signing = Signing::of_sequence(sequence);
            let first = Update::make_signed(&fleet, "first-push.img", self.image_bytes / 8, signing)?;
            first.push(&mut fleet, &[])?.wait(self.within(column))?.succeeded()?;
            sequence += 1;
        }
        let update =
            Update::make_signed(&fleet, "new.img", self.image_bytes, Signing::of_sequence(sequence))?;
        let before = net.link_bytes(0)?;
        let (start, began) = (Instant::now(), Timestamp::now());
        let pushed = update.push(&mut fleet, &[])?.wait(self.within(column))?;
        let session_seconds = start.elapsed().as_secs_f64();
        let bytes = (net.link_bytes(0)? - before) as f64 / self.image_bytes as f64;
        pushed.succeeded()?;
        let mut seconds: f64 = 0.0;
        for number in 1..=column.receivers.into() {
            let at = complete_at(&fleet.agent_log(number));
            let at = at.with_context(|| format!("agent {number} does not log that it has the image"))?;
            seconds = seconds.max(at.duration_since(began).as_secs_f64());
        }
        Ok(Run { seconds, session_seconds, bytes })
    }

    fn other(&self, tool: Tool, net: &Net, column: &Column) -> Result<Run> {
        let folder = tempfile::tempdir()?;
        let image = self.image();
        let job = Job { folder: &self.folder, image: &image, receivers: column.receivers, rate: column.rate };
        let mut receivers = Vec::new();
        for number in 1..=usize::from(column.receivers) {
            let into = folder.path().join(number.to_string());
            fs::create_dir(&into)?;
            let log = folder.path().join(format!("{number}.log"));
            let process = start(net, number, tool.receiver(&job, number, &into), &log)?;
            receivers.push(Receiver { file: tool.received(&job, &into), process, complete: false });
        }
        sleep(SETTLE);
        let before = net.link_bytes(0)?;
        let began = Instant::now();
        let mut sender = start(net, 0, tool.sender(&job), &folder.path().join("sender.log"))?;
        let within = self.within(column);
        while !receivers.iter().all(|receiver| receiver.complete) {
            ensure!(began.elapsed() < within, "not all have the image after {} s", within.as_secs());
            sleep(GLANCE);
            for receiver in &mut receivers {
                receiver.look(tool)?;
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        sender.wait(END_WITHIN)?;
        let session_seconds = began.elapsed().as_secs_f64();
        let bytes = (net.link_bytes(0)? - before) as f64 / self.image_bytes as f64;
        let wanted = fs::read(&image)?;
        for receiver in &receivers {
            ensure!(fs::read(&receiver.file)? == wanted, "a receiver has another image");
        }
        Ok(Run { seconds, session_seconds, bytes })
    }
}

/// A receiver of another tool.
struct Receiver {
    process: Watched,
    file: PathBuf,
    complete: bool,
}

impl Receiver {
    fn look(&mut self, tool: Tool) -> Result<()> {
        if self.complete {
            return Ok(());
        }
        self.complete = if tool.ends_when_complete() {
            match self.process.ended()? {
                Some(status) => {
                    ensure!(status.success(), "a receiver ended with {status}");
                    true
                }
                None => false,
            }
        } else {
            self.file.exists()
        };
        Ok(())
    }
}

fn start(net: &Net, host: usize, mut command: Command, log: &Path) -> Result<Watched> {
    let log = File::create(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(Watched::new(net.run(host, command)?))
}

/// When an agent last logged that it has the whole image.
fn complete_at(log: &str) -> Option<Timestamp> {
    let line = log.lines().rev().find(|line| line.contains(COMPLETE))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_image_counts() {
        let log = "2026-11-28T00:00:01.5Z INFO image complete and verified id=1\n\
            2026-11-28T00:00:09.25Z INFO image complete and verified id=2\n\
            2026-11-28T00:00:10Z INFO activating\n";
        assert_eq!(complete_at(log), "2026-11-28T00:00:09.25Z".parse().ok());
        assert_eq!(complete_at("2026-11-28T00:00:10Z INFO activating\n"), None);
    }
}
