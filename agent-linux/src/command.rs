//! Running an operator's command so that it never outlives the agent or its deadline.
//!
//! Between the agent and the command is a supervisor: the same binary, called with [`SUPERVISE`]. It puts the
//! command into its own process group and reads its own standard input, a pipe that only the agent holds.
//! When the agent closes the pipe, deliberately or because it was killed, the supervisor kills the whole
//! group. Processes that a command leaves behind in its group are killed too.

use std::ffi::OsString;
use std::fmt;
use std::future::pending;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStdin};
use tokio::time::{Instant, sleep_until};

use crate::boot_record::Slot;

/// The first argument of the binary when it supervises the command that follows.
pub const SUPERVISE: &str = "--supervise";

/// The exit code of a supervisor that could not start its command.
const NOT_STARTED: u8 = 127;

/// How long a supervisor may take to kill its command.
const GRACE: Duration = Duration::from_secs(5);

/// The purpose of a command: its `FWCAST_ACTION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make the image run.
    Activate,
    /// Make the old image run again.
    Rollback,
    /// Report with exit code 0 that the running image is healthy.
    Health,
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
    /// It was killed at its deadline.
    Deadline,
    /// It could not be started, or waiting for it failed.
    NotRun(io::Error),
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Activate => "activate",
            Self::Rollback => "rollback",
            Self::Health => "health",
        })
    }
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => formatter.write_str("succeeded"),
            Self::Failure(status) => write!(formatter, "ended with {status}"),
            Self::Deadline => formatter.write_str("was killed at its deadline"),
            Self::NotRun(error) => write!(formatter, "could not be run: {error}"),
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
        command.process_group(0).stdin(Stdio::piped());
        let mut child = command.spawn()?;
        let pipe = child.stdin.take();
        Ok(Running { child, pipe, deadline: call.deadline, give_up: None })
    }
}

/// A started command. Dropping it kills the command.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pipe: Option<ChildStdin>,
    deadline: Instant,
    /// When to kill the supervisor itself; set after the deadline.
    give_up: Option<Instant>,
}

impl Running {
    /// Waits for the end. Can be dropped and called again without losing anything.
    pub async fn end(&mut self) -> End {
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
                return End::Deadline;
            }
            self.pipe = None;
            self.give_up = Some(Instant::now() + GRACE);
        }
    }

    fn judge(&self, result: io::Result<ExitStatus>) -> End {
        match result {
            _ if self.give_up.is_some() => End::Deadline,
            Ok(status) if status.success() => End::Success,
            Ok(status) => End::Failure(status),
            Err(error) => End::NotRun(error),
        }
    }
}

/// Waits for a command if there is one, otherwise forever.
pub async fn end_of(running: &mut Option<Running>) -> End {
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
    kill_group(pid);
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

fn kill_group(leader: Pid) {
    // It fails only if no process is left.
    let _ = killpg(leader, Signal::SIGKILL);
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(NOT_STARTED)
}
