//! A fleet of the real programs in a folder: `fwcast` creates keys, group, agents and signed images;
//! `fwcast-agent` runs once for each agent, on this machine's loopback or on the hosts of a network of
//! namespaces.

mod agents;
mod keys;
mod push;
mod rollout;

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use crate::netns::{INTERFACE, Net};
use crate::process::Watched;
use crate::programs::Programs;
use crate::push_report::{AgentReport, last};

pub use agents::{NAME_MARK, last_line};
pub use keys::with_manager;
pub use push::{Push, Pushed, Update};
pub use rollout::{RolloutReport, RolloutRun, healthy_without, manifest};

/// Name of the group.
pub const GROUP: &str = "lamps";
/// Vendor and class of the agents.
pub const VENDOR: &str = "example.com";
/// The model of the agents.
pub const CLASS: &str = "lamp-2";
/// Manifest sequence number of the image that every agent starts with.
pub const FIRST_SEQUENCE: u64 = 1;

const ROOT_KEY: &str = "root.pem";
const IMAGE_KEY: &str = "image.pem";
const FIRST_IMAGE: &str = "first.img";

/// Where a fleet runs.
#[derive(Debug, Clone, Copy)]
pub enum Place<'n> {
    /// Everything on this machine's loopback, over IPv4; needs no root.
    Loopback,
    /// The distributor on host 0, each agent on the host with its number.
    Net(&'n Net),
}

/// The parameters of a fleet.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many agents.
    pub agents: usize,
    /// The multicast rate, in `fwcast`'s notation.
    pub rate: String,
    /// Percent of datagrams that every agent drops on purpose, each way.
    pub loss_percent: f64,
    /// Further arguments of `fwcast group create`.
    pub group_arguments: Vec<String>,
    /// Further arguments of `fwcast agent enroll`; [`NAME_MARK`] in them becomes the agent's name.
    pub agent_arguments: Vec<String>,
    /// Further arguments of `fwcast-agent`.
    pub daemon_arguments: Vec<String>,
    /// Print every command, so that people learn them, and show the output of `fwcast push`.
    pub show: bool,
}

impl Plan {
    /// This many agents, without loss.
    #[must_use]
    pub fn new(agents: usize, rate: &str) -> Self {
        Self {
            agents,
            rate: rate.to_owned(),
            loss_percent: 0.0,
            group_arguments: Vec::new(),
            agent_arguments: Vec::new(),
            daemon_arguments: Vec::new(),
            show: false,
        }
    }
}

/// How to sign an image, if not as the fleet expects it.
#[derive(Debug, Clone, Copy)]
pub struct Signing<'a> {
    /// Manifest sequence number.
    pub sequence: u64,
    /// The class of devices that it is for.
    pub class: &'a str,
    /// The private image key, as a file in the fleet's folder.
    pub key: &'a str,
}

impl Signing<'_> {
    /// A signature for the agents of the fleet.
    #[must_use]
    pub const fn of_sequence(sequence: u64) -> Self {
        Self { sequence, class: CLASS, key: IMAGE_KEY }
    }
}

/// A fleet. Its processes end when this value is dropped; its folder stays.
#[derive(Debug)]
pub struct Fleet<'n> {
    programs: Programs,
    place: Place<'n>,
    folder: PathBuf,
    plan: Plan,
    coap_group: SocketAddr,
    agents: Vec<agents::Agent>,
    pushes: u32,
}

impl<'n> Fleet<'n> {
    /// Creates keys and group, enrolls the agents and installs their first image. Nothing runs yet.
    ///
    /// # Errors
    /// A command fails; its output is in the error.
    pub fn create(programs: &Programs, place: Place<'n>, folder: &Path, plan: Plan) -> Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("no folder {}", folder.display()))?;
        let mut fleet = Self {
            programs: programs.clone(),
            place,
            coap_group: coap_group(place),
            folder,
            plan,
            agents: Vec::new(),
            pushes: 0,
        };
        fleet.make_keys_and_group()?;
        fs::write(fleet.path(FIRST_IMAGE), b"the image that the device came with\n")?;
        for number in 1..=fleet.plan.agents {
            fleet.enroll(number)?;
        }
        Ok(fleet)
    }

    /// A path in the fleet's folder.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// The CoAP group.
    #[must_use]
    pub const fn coap_group(&self) -> SocketAddr {
        self.coap_group
    }

    /// Writes an incompressible image of this many bytes.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn make_image(&self, name: &str, bytes: u64) -> Result<()> {
        let mut image = vec![0; usize::try_from(bytes)?];
        Pcg64Mcg::new(0xf00d ^ u128::from(bytes)).fill_bytes(&mut image);
        Ok(fs::write(self.path(name), image)?)
    }

    /// Signs an image of the folder with `fwcast image sign`, into an envelope of this name.
    ///
    /// # Errors
    /// The command fails.
    pub fn sign(&self, image: &str, envelope: &str, signing: Signing<'_>) -> Result<()> {
        let Signing { sequence, class, key } = signing;
        let sequence = sequence.to_string();
        self.fwcast(&[
            &["image", "sign", image, "--key", key, "--vendor", VENDOR, "--class", class][..],
            &["--sequence", &sequence, "--out", envelope],
        ])?;
        Ok(())
    }

    /// Creates a key of this kind, as a file in the folder.
    ///
    /// # Errors
    /// The command fails.
    pub fn generate_key(&self, kind: &str, file: &str) -> Result<()> {
        self.fwcast(&[&["key", "generate", "--kind", kind, "--out", file]]).map(drop)
    }

    /// What `fwcast status` reports about every agent.
    ///
    /// # Errors
    /// The command fails.
    pub fn status(&self) -> Result<Vec<AgentReport>> {
        #[derive(serde::Deserialize)]
        struct Status {
            agents: Vec<AgentReport>,
        }
        let output = self.fwcast(&[&["status", "--group", GROUP, "-o", "json"]])?;
        let status: Status = last(&String::from_utf8_lossy(&output.stdout))?;
        Ok(status.agents)
    }

    /// Runs `fwcast` on the distributor's host to its end.
    ///
    /// # Errors
    /// It fails; its output is in the error.
    pub fn fwcast(&self, arguments: &[&[&str]]) -> Result<Output> {
        let arguments = arguments.concat();
        self.show("fwcast", &arguments, "");
        let output = self.fwcast_output(&arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "fwcast {} ended with {}: {}",
            arguments.join(" "),
            output.status,
            said.trim()
        );
        Ok(output)
    }

    /// Runs `fwcast` on the distributor's host to its end, whether it fails or not.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn fwcast_output(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.fwcast_command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(self.spawn(0, command)?.wait_with_output()?)
    }

    /// Starts `fwcast manager run` on the distributor's host.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_manager(&self) -> Result<Watched> {
        self.start_in_background(&["manager", "run"])
    }

    /// Starts `fwcast` with these arguments on the distributor's host.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_in_background(&self, arguments: &[&str]) -> Result<Watched> {
        let mut command = self.fwcast_command(arguments);
        command.stdout(Stdio::null()).stderr(fs::File::create(self.path("manager.log"))?);
        Ok(Watched::new(self.spawn(0, command)?))
    }

    fn fwcast_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.fwcast);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("FWCAST_STATE", self.path("state"))
            .env("FWCAST_WITNESS", self.path("witness"))
            .stdin(Stdio::null());
        command
    }

    fn make_keys_and_group(&self) -> Result<()> {
        if self.plan.show {
            println!("$ cd {}", self.folder.display());
            println!("$ export FWCAST_STATE=$PWD/state FWCAST_WITNESS=$PWD/witness");
        }
        self.generate_key("root", ROOT_KEY)?;
        self.generate_key("image", IMAGE_KEY)?;
        let (coap_group, distributor) = (self.coap_group.to_string(), distributor(self.place)?.to_string());
        let image_key = format!("{IMAGE_KEY}.pub");
        let more: Vec<&str> = self.plan.group_arguments.iter().map(String::as_str).collect();
        self.fwcast(&[
            &["group", "create", GROUP, "--coap-group", &coap_group, "--interface", self.interface()],
            &["--distributor", &distributor, "--root-key", ROOT_KEY, "--image-key", &image_key],
            &["--rate", &self.plan.rate],
            &more,
        ])?;
        Ok(())
    }

    const fn interface(&self) -> &'static str {
        match self.place {
            Place::Loopback => "lo",
            Place::Net(_) => INTERFACE,
        }
    }

    /// Starts a program on a host: 0 is the distributor's.
    fn spawn(&self, host: usize, mut command: Command) -> Result<Child> {
        match self.place {
            Place::Net(net) => net.run(host, command),
            Place::Loopback => {
                let program = command.get_program().to_owned();
                command.spawn().with_context(|| format!("cannot start {}", Path::new(&program).display()))
            }
        }
    }

    fn show(&self, program: &str, arguments: &[impl AsRef<OsStr>], end: &str) {
        if self.plan.show {
            let arguments: Vec<_> = arguments.iter().map(|text| text.as_ref().to_string_lossy()).collect();
            println!("$ {program} {}{end}", arguments.join(" "));
        }
    }
}

/// A separate CoAP group for each process, so that fleets can run side by side on one loopback.
fn coap_group(place: Place<'_>) -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let address: IpAddr = match place {
        Place::Net(net) if net.address(0).is_ipv6() => Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0xf00d).into(),
        _ => Ipv4Addr::new(239, 192, high, low).into(),
    };
    SocketAddr::new(address, 5683)
}

/// The distributor's address. On a separate host any port is free.
fn distributor(place: Place<'_>) -> Result<SocketAddr> {
    match place {
        Place::Net(net) => Ok(SocketAddr::new(net.address(0), 5683)),
        Place::Loopback => Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?),
    }
}
