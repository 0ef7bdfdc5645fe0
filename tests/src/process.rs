//! Watched processes: they end when their value is dropped, and their peak memory is recorded.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often a process is checked.
const GLANCE: Duration = Duration::from_millis(20);

/// A process that ends when this value is dropped.
#[derive(Debug)]
pub struct Watched {
    child: Child,
    status: Option<ExitStatus>,
    peak_bytes: u64,
}

impl Watched {
    /// Watches a process.
    #[must_use]
    pub const fn new(child: Child) -> Self {
        Self { child, status: None, peak_bytes: 0 }
    }

    /// Its process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system's own.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.glance();
        self.status = self.child.try_wait()?;
        Ok(self.status)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It has not ended within this time; it continues.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if start.elapsed() >= within {
                bail!("process {} has not ended within {} s", self.id(), within.as_secs());
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let process = i32::try_from(self.id()).context("no process")?;
        kill(Pid::from_raw(process), signal).with_context(|| format!("cannot send {signal}"))
    }

    /// Kills it, as a power cut would, and waits for its end.
    ///
    /// # Errors
    /// The system's own.
    pub fn kill(&mut self) -> Result<()> {
        self.glance();
        self.child.kill()?;
        self.status = Some(self.child.wait()?);
        Ok(())
    }

    /// Its peak memory in bytes: the peak resident set size.
    pub fn peak_bytes(&mut self) -> u64 {
        self.glance();
        self.peak_bytes
    }

    /// Reads the peak repeatedly: the kernel forgets it when the process ends.
    fn glance(&mut self) {
        if self.status.is_some() {
            return;
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        self.peak_bytes = self.peak_bytes.max(peak_bytes(&status).unwrap_or(0));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The only possible error is that the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `VmHWM` of `/proc/PID/status`.
fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_peak_is_read_in_kibibytes() {
        let status = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t    3400 kB\nVmRSS:\t 10 kB\n";
        assert_eq!(peak_bytes(status), Some(3400 * 1024));
        assert_eq!(peak_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn a_process_ends_with_its_value() {
        let mut sleeping = Watched::new(Command::new("sleep").arg("600").spawn().unwrap());
        let folder = format!("/proc/{}", sleeping.id());
        assert!(sleeping.peak_bytes() > 0);
        assert!(sleeping.wait(Duration::from_millis(50)).is_err());
        drop(sleeping);
        assert!(!std::path::Path::new(&folder).exists());
    }

    #[test]
    fn the_way_of_ending_is_told() {
        let mut quick = Watched::new(Command::new("false").spawn().unwrap());
        assert_eq!(quick.wait(Duration::from_secs(10)).unwrap().code(), Some(1));
        let mut asked = Watched::new(Command::new("sleep").arg("600").spawn().unwrap());
        asked.signal(Signal::SIGTERM).unwrap();
        assert_eq!(asked.wait(Duration::from_secs(10)).unwrap().code(), None);
    }
}
