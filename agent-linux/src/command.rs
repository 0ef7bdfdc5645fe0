//! Running an operator's command so that it never outlives the agent or its deadline.
//!
//! Between the agent and the command is a supervisor: the same binary, called with [`SUPERVISE`]. It puts the
//! command into its own process group and reads its own standard input, a socket whose other end only the
//! agent holds. When the agent closes it, deliberately or because it was killed, the supervisor kills the
//! whole group. Processes that a command leaves behind in its group are killed too. What the supervisor has
//! to tell, it writes to the socket: why the command could not be started, and what it left behind.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::future::pending;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::{Instant, sleep_until};

use crate::boot_record::Slot;

/// The first argument of the binary when it supervises the command that follows.
pub const SUPERVISE: &str = "--supervise";

/// The exit code of a supervisor that could not start its command.
const NOT_STARTED: u8 = 127;

/// How long a supervisor may take to kill its command.
const GRACE: Duration = Duration::from_secs(5);

/// The most bytes that a supervisor's report may have.
const REPORT_BYTES_MAX: u64 = 4096;

/// How many of the processes that a command left behind are named.
const LEFT_NAMED_MAX: usize = 8;

/// The words that begin the lines of a supervisor's report.
const NOT_STARTED_LINE: &str = "not-started ";
const LEFT_LINE: &str = "left ";

/// The purpose of a command: its `FWCAST_ACTION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make the image run.
    Activate,
    /// Make the old image run again.
    Rollback,
    /// Report with exit code 0 that the running image is healthy.
    Health,
    /// Report with exit code 0 that the device may activate now.
    Ready,
}

/// One command and its environment.
#[derive(Debug)]
pub struct Call<'a> {
    /// Program and arguments.
    pub command: &'a [String],
    /// `FWCAST_ACTION`.
    pub action: Action,
    /// `FWCAST_SLOT`: the slot that is to run, or runs.
    pub slot: Slot,
    /// `FWCAST_IMAGE`: the path of its image.
    pub image: &'a Path,
    /// `FWCAST_DIGEST`: SHA-256 of the signed manifest of the update on trial, in hex.
    pub digest: &'a [u8; 32],
    /// When it is killed.
    pub deadline: Instant,
}

/// How a command ended.
#[derive(Debug)]
pub enum End {
    /// With exit code 0.
    Success,
    /// With another exit code, or by a signal.
    Failure(ExitStatus),
    /// It was killed at its deadline, after this time.
    Deadline(Duration),
    /// It was not started.
    NotStarted(String),
    /// Waiting for it failed.
    Unknown(io::Error),
}

/// How a command ended, and which processes it left behind, like `sleep (1234)`. They were killed.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub end: End,
    /// What it left behind.
    pub left: Vec<String>,
}

impl Ended {
    /// It was not started, for this reason.
    #[must_use]
    pub const fn not_started(why: String) -> Self {
        Self { end: End::NotStarted(why), left: Vec::new() }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Activate => "activate",
            Self::Rollback => "rollback",
            Self::Health => "health",
            Self::Ready => "ready",
        })
    }
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => formatter.write_str("succeeded"),
            Self::Failure(status) => write!(formatter, "ended with {status}"),
            Self::Deadline(after) => write!(formatter, "was killed after {} s", after.as_secs_f64().round()),
            Self::NotStarted(why) => write!(formatter, "could not be started: {why}"),
            Self::Unknown(error) => write!(formatter, "cannot be waited for: {error}"),
        }
    }
}

/// Starts commands under a supervisor.
#[derive(Debug, Clone)]
pub struct Launcher {
    supervisor: PathBuf,
}

impl Default for Launcher {
    /// Supervised by the running binary itself, even if its file has been replaced.
    fn default() -> Self {
        Self::new("/proc/self/exe")
    }
}

impl Launcher {
    /// Supervised by this binary, which must be a `fwcast-agent`.
    pub fn new(supervisor: impl Into<PathBuf>) -> Self {
        Self { supervisor: supervisor.into() }
    }

    /// Starts a command.
    ///
    /// # Errors
    /// The supervisor could not be started.
    pub fn start(&self, call: &Call<'_>) -> io::Result<Running> {
        let digest: String = call.digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut command = tokio::process::Command::new(&self.supervisor);
        command.arg(SUPERVISE).args(call.command);
        command.env("FWCAST_ACTION", call.action.to_string());
        command.env("FWCAST_SLOT", call.slot.to_string());
        command.env("FWCAST_IMAGE", call.image).env("FWCAST_DIGEST", digest);
        // These are only for the agent.
        for name in ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"] {
            command.env_remove(name);
        }
        // A Ctrl-C at the terminal is for the agent. The supervisor must stay alive to notice that the pipe
        // is closed.
        let (ours, its) = UnixStream::pair()?;
        command.process_group(0).stdin(OwnedFd::from(its));
        let child = command.spawn()?;
        let within = call.deadline.saturating_duration_since(Instant::now());
        Ok(Running { child, socket: ours, deadline: call.deadline, within, give_up: None })
    }
}

/// A started command. Dropping it kills the command.
#[derive(Debug)]
pub struct Running {
    child: Child,
    socket: UnixStream,
    deadline: Instant,
    within: Duration,
    /// When to kill the supervisor itself; set after the deadline.
    give_up: Option<Instant>,
}

impl Running {
    /// Waits for the end. Can be dropped and called again without losing anything.
    pub async fn end(&mut self) -> Ended {
        loop {
            let next = self.give_up.unwrap_or(self.deadline);
            tokio::select! {
                biased;
                result = self.child.wait() => return self.judge(result),
                () = sleep_until(next) => {}
            }
            if self.give_up.is_some() {
                // The command is stuck in the kernel; nothing more can be done here.
                let _ = self.child.start_kill();
                return Ended { end: End::Deadline(self.within), left: Vec::new() };
            }
            let _ = self.socket.shutdown(Shutdown::Write);
            self.give_up = Some(Instant::now() + GRACE);
        }
    }

    fn judge(&self, result: io::Result<ExitStatus>) -> Ended {
        let report = self.report();
        let lines = |kind| report.lines().filter_map(move |line: &str| line.strip_prefix(kind));
        let not_started = lines(NOT_STARTED_LINE).next();
        let end = match (result, not_started) {
            _ if self.give_up.is_some() => End::Deadline(self.within),
            (_, Some(why)) => End::NotStarted(why.to_owned()),
            (Ok(status), None) if status.success() => End::Success,
            (Ok(status), None) => End::Failure(status),
            (Err(error), None) => End::Unknown(error),
        };
        Ended { end, left: lines(LEFT_LINE).map(str::to_owned).collect() }
    }

    /// What the supervisor has written. It has ended, so there is nothing to wait for.
    fn report(&self) -> String {
        let mut bytes = Vec::new();
        let _ = self.socket.set_nonblocking(true);
        let _ = (&self.socket).take(REPORT_BYTES_MAX).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Waits for a command if there is one, otherwise forever.
pub async fn end_of(running: &mut Option<Running>) -> Ended {
    match running {
        Some(running) => running.end().await,
        None => pending().await,
    }
}

/// What the binary does when called with [`SUPERVISE`]; returns its exit code.
#[must_use]
pub fn supervise(command: &[OsString]) -> u8 {
    let Some((program, arguments)) = command.split_first() else {
        return NOT_STARTED;
    };
    let mut ready = Command::new(program);
    ready.args(arguments).stdin(Stdio::null()).process_group(0);
    let mut child = match ready.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("fwcast-agent: {} could not be started: {error}", program.display());
            tell_agent(&format!("{NOT_STARTED_LINE}{error}\n"));
            return NOT_STARTED;
        }
    };
    let pid = Pid::from_raw(child.id().cast_signed());
    thread::spawn(move || {
        wait_for_end_of_input();
        kill_group(pid);
    });
    // It is not reaped yet, so its process ID still identifies its group and no other.
    let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    let left: String = members_of(pid).map(|process| format!("{LEFT_LINE}{process}\n")).collect();
    kill_group(pid);
    tell_agent(&left);
    match child.wait() {
        Ok(status) => exit_code(status),
        Err(_) => NOT_STARTED,
    }
}

fn wait_for_end_of_input() {
    let mut buffer = [0; 16];
    let mut input = io::stdin();
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
            _ => {}
        }
    }
}

/// Nobody may be there to read it.
fn tell_agent(report: &str) {
    if let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() {
        let _ = File::from(socket).write_all(report.as_bytes());
    }
}

/// The living processes of a group but for its leader, by name and number.
fn members_of(leader: Pid) -> impl Iterator<Item = String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let member = move |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // proc_pid_stat(5): pid (comm) state ppid pgrp; the name may have anything in it.
        let (before, after) = stat.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let mut fields = after.split_whitespace();
        let lives = !matches!(fields.next()?, "Z" | "X");
        let group: i32 = fields.nth(1)?.parse().ok()?;
        let is_member = lives && group == leader.as_raw() && pid != group;
        is_member.then(|| format!("{} ({pid})", name.escape_debug()))
    };
    processes.filter_map(member).take(LEFT_NAMED_MAX)
}

fn kill_group(leader: Pid) {
    // It fails only if no process is left.
    let _ = killpg(leader, Signal::SIGKILL);
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(NOT_STARTED)
}
