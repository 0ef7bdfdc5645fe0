//! The agents of a fleet.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use super::{CLASS, FIRST_IMAGE, FIRST_SEQUENCE, Fleet, GROUP, VENDOR};
use crate::hear::hear;
use crate::process::Watched;

/// How long an agent may take to listen: it may have to read back a large image.
const UP_WITHIN: Duration = Duration::from_secs(30);
/// How long an agent may take to end when it is asked to.
const DOWN_WITHIN: Duration = Duration::from_secs(10);

/// The placeholder for an agent's name in [`Plan::agent_arguments`](super::Plan::agent_arguments).
pub const NAME_MARK: &str = "{name}";

/// An agent, running or not.
#[derive(Debug)]
pub(super) struct Agent {
    number: usize,
    process: Option<Watched>,
}

impl Agent {
    fn name(&self) -> String {
        name(self.number)
    }
}

/// The name of an agent, numbered from 1 like its host.
fn name(number: usize) -> String {
    format!("lamp-{number}")
}

impl Fleet<'_> {
    /// The names of the agents, from agent 1 on.
    #[must_use]
    pub fn agent_names(&self) -> Vec<String> {
        self.agents.iter().map(Agent::name).collect()
    }

    /// The file with the agent's keys, which `fwcast agent enroll` wrote.
    #[must_use]
    pub fn agent_file(&self, number: usize) -> PathBuf {
        self.path(format!("{}.yaml", name(number)))
    }

    /// The agent's state folder.
    #[must_use]
    pub fn agent_folder(&self, number: usize) -> PathBuf {
        self.path(agent_state(number))
    }

    /// The image that the agent runs.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn running_image(&self, number: usize) -> Result<Vec<u8>> {
        let current = self.path(agent_state(number)).join("current");
        fs::read(&current).with_context(|| format!("cannot read {}", current.display()))
    }

    /// What the agent has logged.
    #[must_use]
    pub fn agent_log(&self, number: usize) -> String {
        fs::read_to_string(self.path(log(number))).unwrap_or_default()
    }

    /// Starts all agents and waits until they listen.
    ///
    /// # Errors
    /// The same as for [`start`](Self::start).
    pub fn start_all(&mut self) -> Result<()> {
        (1..=self.agents.len()).try_for_each(|number| self.start(number))
    }

    /// Starts an agent, numbered from 1, and waits until it listens.
    ///
    /// # Errors
    /// It ends instead; its output is in the error.
    pub fn start(&mut self, number: usize) -> Result<()> {
        let (config, loss, seed) =
            (format!("{}.yaml", name(number)), self.plan.loss_percent.to_string(), number.to_string());
        let mut arguments = vec!["--config", config.as_str()];
        if self.plan.loss_percent > 0.0 {
            arguments.extend(["--inject-loss", &loss, "--seed", &seed]);
        }
        let more = self.plan.daemon_arguments.clone();
        arguments.extend(more.iter().map(String::as_str));
        self.show("fwcast-agent", &arguments, " &");
        let socket_path = self.path(format!("{}.notify", name(number)));
        let _ = fs::remove_file(&socket_path);
        // The agent reports that it is ready in the same way as to systemd.
        let socket = UnixDatagram::bind(&socket_path).context("cannot bind the socket for sd_notify")?;
        let log = File::options().create(true).append(true).open(self.path(log(number)))?;
        let mut command = Command::new(&self.programs.agent);
        command
            .args(&arguments)
            .current_dir(&self.folder)
            .env("NOTIFY_SOCKET", &socket_path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut process = Watched::new(self.spawn(number, command)?);
        let up = wait_until_ready(&socket, &mut process);
        up.with_context(|| format!("{}: {}", name(number), last_line(&self.agent_log(number))))?;
        self.agent(number)?.process = Some(process);
        Ok(())
    }

    /// Asks an agent to stop, and waits for its end.
    ///
    /// # Errors
    /// It is not running, or does not end successfully in time.
    pub fn stop(&mut self, number: usize) -> Result<()> {
        let mut process = self.take_process(number)?;
        process.signal(Signal::SIGTERM)?;
        let status = process.wait(DOWN_WITHIN)?;
        ensure!(status.success(), "{} ended with {status}", name(number));
        Ok(())
    }

    /// Kills an agent without warning, as a power cut would.
    ///
    /// # Errors
    /// It is not running.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        self.take_process(number)?.kill()
    }

    /// Stops an agent in its tracks, or lets it go on, by SIGSTOP and SIGCONT.
    ///
    /// # Errors
    /// It does not run.
    pub fn freeze(&mut self, number: usize, frozen: bool) -> Result<()> {
        let process = self.agent(number)?.process.as_ref();
        let process = process.with_context(|| format!("{} does not run", name(number)))?;
        process.signal(if frozen { Signal::SIGSTOP } else { Signal::SIGCONT })
    }

    /// The peak memory of a running agent, in bytes.
    ///
    /// # Errors
    /// It is not running.
    pub fn agent_peak_bytes(&mut self, number: usize) -> Result<u64> {
        let process = self.agent(number)?.process.as_mut();
        Ok(process.with_context(|| format!("{} does not run", name(number)))?.peak_bytes())
    }

    /// Enrolls one more agent, with the next number, and installs its first image.
    ///
    /// # Errors
    /// A command fails; its output is in the error.
    pub fn enroll(&mut self, number: usize) -> Result<()> {
        let (name, state) = (name(number), self.path(agent_state(number)));
        let (file, state) = (format!("{name}.yaml"), state.to_string_lossy().into_owned());
        let own = self.plan.agent_arguments.iter().map(|argument| argument.replace(NAME_MARK, &name));
        let own: Vec<String> = own.collect();
        let more: Vec<&str> = own.iter().map(String::as_str).collect();
        self.fwcast(&[
            &["agent", "enroll", &name, "--group", GROUP, "--vendor", VENDOR, "--class", CLASS],
            &["--agent-state", &state, "--out", &file],
            &more,
        ])?;
        let sequence = FIRST_SEQUENCE.to_string();
        let arguments = ["--config", &file, "--install", FIRST_IMAGE, "--sequence", &sequence];
        self.show("fwcast-agent", &arguments, "");
        let mut command = Command::new(&self.programs.agent);
        command.args(arguments).current_dir(&self.folder).stdout(Stdio::piped()).stderr(Stdio::piped());
        let installed = self.spawn(number, command)?.wait_with_output()?;
        let said = String::from_utf8_lossy(&installed.stderr);
        ensure!(installed.status.success(), "{name} does not accept its first image: {}", said.trim());
        self.agents.push(Agent { number, process: None });
        Ok(())
    }

    fn agent(&mut self, number: usize) -> Result<&mut Agent> {
        self.agents.iter_mut().find(|agent| agent.number == number).context("there is no such agent")
    }

    fn take_process(&mut self, number: usize) -> Result<Watched> {
        self.agent(number)?.process.take().with_context(|| format!("{} does not run", name(number)))
    }
}

fn agent_state(number: usize) -> String {
    format!("{}-state", name(number))
}

fn log(number: usize) -> String {
    format!("{}.log", name(number))
}

fn wait_until_ready(socket: &UnixDatagram, process: &mut Watched) -> Result<()> {
    let start = Instant::now();
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut buffer = [0; 1024];
    while start.elapsed() < UP_WITHIN {
        let said = hear(|| socket.recv(&mut buffer))?.map_or(&[][..], |len| &buffer[..len]);
        if said.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            return Ok(());
        }
        if let Some(status) = process.ended()? {
            bail!("the agent ended with {status} instead of listening");
        }
    }
    bail!("the agent does not listen after {} s", UP_WITHIN.as_secs())
}

/// The last line that a program printed.
#[must_use]
pub fn last_line(log: &str) -> &str {
    log.lines().last().unwrap_or("it printed nothing")
}
