//! One push of an update to the fleet.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{FIRST_SEQUENCE, Fleet, GROUP, Signing};
use crate::process::Watched;
use crate::push_report::{PushReport, last};

/// A running `fwcast push`.
#[derive(Debug)]
pub struct Push {
    process: Watched,
    output: PathBuf,
    log: PathBuf,
}

/// A finished `fwcast push`.
#[derive(Debug)]
pub struct Pushed {
    /// How the process ended.
    pub status: ExitStatus,
    /// What it printed on standard output: its report, if it got that far.
    pub report: Result<PushReport>,
    /// What it printed on standard error, unless that was shown.
    pub said: String,
    /// Its peak memory, in bytes.
    pub peak_bytes: u64,
}

impl Fleet<'_> {
    /// Starts `fwcast push` with an image and an envelope of the folder.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn push(&mut self, image: &str, envelope: &str, more: &[&str]) -> Result<Push> {
        self.pushes += 1;
        let output = self.path(format!("push-{}.json", self.pushes));
        let log = self.path(format!("push-{}.log", self.pushes));
        let arguments =
            [&["push", image, "--envelope", envelope, "--group", GROUP, "-o", "json"][..], more].concat();
        self.show("fwcast", &arguments, "");
        let mut command = self.fwcast_command(&arguments);
        command.stdout(File::create(&output)?);
        command.stderr(if self.plan.show { Stdio::inherit() } else { File::create(&log)?.into() });
        Ok(Push { process: Watched::new(self.spawn(0, command)?), output, log })
    }
}

/// An image with its SUIT envelope, as files of a fleet's folder.
#[derive(Debug, Clone)]
pub struct Update {
    /// The image file.
    pub image: String,
    /// The envelope's file.
    pub envelope: String,
    /// Its manifest sequence number.
    pub sequence: u64,
}

impl Update {
    /// An image of this many bytes, signed as the next one after the first.
    ///
    /// # Errors
    /// The same as for [`Fleet::sign`].
    pub fn make(fleet: &Fleet<'_>, bytes: u64) -> Result<Self> {
        Self::make_signed(fleet, "new.img", bytes, Signing::of_sequence(FIRST_SEQUENCE + 1))
    }

    /// An image of this many bytes in a file with this name, signed like this.
    ///
    /// # Errors
    /// The same as for [`Fleet::sign`].
    pub fn make_signed(fleet: &Fleet<'_>, image: &str, bytes: u64, signing: Signing<'_>) -> Result<Self> {
        fleet.make_image(image, bytes)?;
        let sequence = signing.sequence;
        let update = Self { image: image.to_owned(), envelope: format!("{image}.suit"), sequence };
        fleet.sign(image, &update.envelope, signing)?;
        Ok(update)
    }

    /// Starts to push it.
    ///
    /// # Errors
    /// The same as for [`Fleet::push`].
    pub fn push(&self, fleet: &mut Fleet<'_>, more: &[&str]) -> Result<Push> {
        fleet.push(&self.image, &self.envelope, more)
    }
}

impl Push {
    /// Waits for the end.
    ///
    /// # Errors
    /// It does not come in time.
    pub fn wait(mut self, within: Duration) -> Result<Pushed> {
        let status = self.process.wait(within).with_context(|| format!("the push hangs: {}", self.said()))?;
        let printed = fs::read_to_string(&self.output)?;
        let said = self.said();
        Ok(Pushed { status, report: last(&printed), said, peak_bytes: self.process.peak_bytes() })
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

    /// Interrupts it, as Ctrl-C would.
    ///
    /// # Errors
    /// It has ended.
    pub fn interrupt(&self) -> Result<()> {
        self.process.signal(Signal::SIGINT)
    }

    /// What it has printed so far.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default().trim().to_owned()
    }
}

impl Pushed {
    /// The report of a successful push.
    ///
    /// # Errors
    /// It failed; how it ended and what it printed is in the error.
    pub fn succeeded(self) -> Result<PushReport> {
        let said = self.said;
        let report =
            self.report.with_context(|| format!("fwcast push ended with {}: {said}", self.status))?;
        anyhow::ensure!(
            self.status.success() && report.ok,
            "fwcast push ended with {} and '{}': {said} {:?}",
            self.status,
            report.ending,
            report.agents
        );
        Ok(report)
    }
}
