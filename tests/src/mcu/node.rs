//! An emulated node: QEMU with the board's flash in a file and its network on a tap.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::setup::QEMU;
use crate::netns::Net;
use crate::process::Watched;

/// How often a console is checked.
const GLANCE: Duration = Duration::from_millis(2);

/// A node, running or not. It ends when this value is dropped; its files stay.
#[derive(Debug)]
pub struct Node {
    host: usize,
    boot: PathBuf,
    flash: PathBuf,
    console: PathBuf,
    /// Where the console listens. It is not in the folder, whose path may be too long for a socket.
    input: PathBuf,
    said: PathBuf,
    process: Option<Watched>,
}

impl Node {
    /// The node on the tap of this number, with its files in `folder`.
    #[must_use]
    pub fn new(host: usize, boot: &Path, folder: &Path) -> Self {
        let file = |end: &str| folder.join(format!("node-{host}.{end}"));
        let (flash, console, said) = (file("flash"), file("console"), file("qemu"));
        let input = std::env::temp_dir().join(format!("fwcast-{}-{host}.console", std::process::id()));
        Self { host, boot: boot.to_owned(), flash, console, input, said, process: None }
    }

    /// The number of its tap.
    #[must_use]
    pub const fn host(&self) -> usize {
        self.host
    }

    /// The file with its flash.
    #[must_use]
    pub fn flash(&self) -> &Path {
        &self.flash
    }

    /// Whether it is running.
    #[must_use]
    pub const fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Switches it on.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn start(&mut self, net: &Net) -> Result<()> {
        let (host, flash) = (self.host, self.flash.display());
        let console = format!(
            "socket,id=console,path={},server=on,wait=off,logfile={},logappend=on",
            self.input.display(),
            self.console.display()
        );
        let mut command = Command::new(QEMU);
        command
            .args(["-M", "mps2-an386,memory-backend=flash", "-display", "none", "-monitor", "none"])
            .args(["-object", &format!("memory-backend-file,id=flash,size=16M,mem-path={flash},share=on")])
            .arg("-kernel")
            .arg(&self.boot)
            .args(["-chardev", &console])
            .args(["-serial", "chardev:console"])
            .args(["-nic", &nic(&net.tap(host), host)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(&self.said)?);
        self.process = Some(Watched::new(net.run_on_bridge(command)?));
        Ok(())
    }

    /// Cuts its power: QEMU is killed, whatever it is doing, and the flash stays as it is.
    ///
    /// # Errors
    /// The system's own.
    pub fn cut(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// The output of its console, over all of its starts.
    #[must_use]
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    /// How many lines of the console contain this.
    #[must_use]
    pub fn lines_with(&self, text: &str) -> usize {
        self.console().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until this many lines of the console contain this.
    ///
    /// # Errors
    /// They do not come in time, or QEMU ends.
    pub fn wait_for(&mut self, text: &str, lines: usize, within: Duration) -> Result<()> {
        let start = Instant::now();
        while self.lines_with(text) < lines {
            let ended = self.process.as_mut().map(Watched::ended).transpose()?.flatten();
            if let Some(status) = ended {
                let said = fs::read_to_string(&self.said).unwrap_or_default();
                bail!("QEMU of node {} ended with {status}: {}", self.host, said.trim());
            }
            if start.elapsed() > within {
                let console = self.console();
                let last = console.lines().last().unwrap_or("nothing");
                bail!("node {} did not print '{text}' in time; its last line: {last}", self.host);
            }
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Sends a byte to its console, and waits for one more line that contains this.
    ///
    /// # Errors
    /// It does not come in time.
    pub fn ask(&mut self, text: &str, within: Duration) -> Result<()> {
        let lines = self.lines_with(text);
        let mut input = UnixStream::connect(&self.input).context("the console does not listen")?;
        input.write_all(b"?")?;
        self.wait_for(text, lines + 1, within)
    }

    /// How much processor time QEMU has used since it was switched on.
    ///
    /// # Errors
    /// It is off.
    pub fn cpu_time(&self) -> Result<Duration> {
        let process = self.process.as_ref().context("the node is off")?.id();
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let counted = fs::read_to_string(thread?.path().join("schedstat"))?;
            let running = counted.split_whitespace().next().and_then(|first| first.parse::<u64>().ok());
            nanoseconds += running.context("the kernel counts no time for a thread")?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// The deepest stack that it has reported, in bytes.
    ///
    /// # Errors
    /// It has not reported any.
    pub fn stack_bytes(&self) -> Result<u64> {
        let console = self.console();
        let said = console.lines().filter_map(|line| line.split_once("stack bytes="));
        said.filter_map(|(_, bytes)| bytes.trim().parse().ok())
            .max()
            .with_context(|| format!("node {} does not report its stack", self.host))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // QEMU leaves it behind when killed; it does not exist if QEMU was never started.
        let _ = fs::remove_file(&self.input);
    }
}

fn nic(tap: &str, host: usize) -> String {
    let mac = format!("52:54:00:00:00:{host:02x}");
    format!("tap,ifname={tap},script=no,downscript=no,model=lan9118,mac={mac}")
}
