//! Enrolls an agent and writes its file.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use provisioning::cbor::{Health, McuSettings, Recovery};
use provisioning::{LinuxSettings, Name};
use uuid::Uuid;

use super::enrollment::{self, EnrollError};
use crate::files::{self, Access, FileError};
use crate::state::{Agents, Enrolled, GroupLock, GroupState, StateDir, StateError, Waiting};
use crate::values::{Class, Network};

/// An operator's settings for enrolling an agent.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its name.
    pub name: Name,
    /// Its group.
    pub group: Name,
    /// Who makes the device; `None` keeps the known value.
    pub vendor: Option<Uuid>,
    /// What model it is; `None` keeps the known value.
    pub class: Option<Class>,
    /// Its labels; an empty list keeps the known ones.
    pub labels: BTreeMap<String, String>,
    /// Whether it gets new keys in place of its old ones.
    pub again: bool,
    /// The part of its file for Linux, without the interface.
    pub linux: LinuxSettings,
    /// The interface of the device; `None` for the same as on this machine.
    pub interface: Option<String>,
    /// The settings for a microcontroller, if it is one.
    pub mcu: Option<McuRequest>,
    /// Where its file is written.
    pub out: PathBuf,
}

/// An operator's settings for a microcontroller.
#[derive(Debug, Clone, Copy)]
pub struct McuRequest {
    /// Its own address.
    pub network: Network,
    /// The router of its network.
    pub router: Option<IpAddr>,
    /// When an image on trial is healthy.
    pub health: Health,
    /// What may run where its confirmed image is damaged.
    pub recovery: Recovery,
}

/// Why an agent was not enrolled, or its file not written.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Its file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The group's files, or the agent does or does not exist already.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its keys or the content of its file.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// It is enrolled, and its file was not written.
    #[error("the agent is enrolled, but has no file: run the command again with --again ({0})")]
    NoFile(FileError),
    /// The addresses have another family than the group.
    #[error("group '{group}' is {family}: give --address and --router of {family}")]
    Family {
        /// The group.
        group: Name,
        /// Its family.
        family: &'static str,
    },
    /// A value is not known yet.
    #[error("agent '{agent}' has no {what} yet: give --{what}")]
    Unknown {
        /// The agent.
        agent: Name,
        /// What is missing.
        what: &'static str,
    },
}

/// Enrolls an agent, and writes its file, which must not exist yet.
///
/// # Errors
/// It is already enrolled and was not to be enrolled again, or its file cannot be written.
pub async fn enroll(dir: &StateDir, request: Request) -> Result<Enrolled, RequestError> {
    files::check_target(&request.out)?;
    let lock = GroupLock::to_edit(dir, &request.group).await?;
    let group = GroupState::open(dir, &request.group)?;
    let agents = Agents::load(dir, &request.group)?;
    let out = request.out.clone();
    let done = enrollment::enroll(dir, &lock, agents.clone(), request.resolve(&group, &agents)?)?;
    files::create(&out, &done.content, Access::Secret).map_err(RequestError::NoFile)?;
    Ok(done.enrolled)
}

impl Request {
    /// Enrolls it with everything that the group knows.
    fn resolve(self, group: &GroupState, agents: &Agents) -> Result<enrollment::Request, RequestError> {
        let known = agents.find(&self.name);
        let (name, group_name) = (self.name.clone(), group.name.clone());
        match (&known, self.again) {
            (Some(_), false) => return Err(StateError::AgentExists { name, group: group_name }.into()),
            (None, true) => return Err(StateError::NoAgent { name, group: group_name }.into()),
            _ => {}
        }
        let identifiers = self.identifiers(known.as_ref())?;
        let mcu = self.mcu(group)?;
        let labels = match known {
            Some(known) if self.labels.is_empty() => known.labels,
            _ => self.labels,
        };
        let interface = self.interface.unwrap_or_else(|| group.profile.interface.clone());
        let linux = LinuxSettings { interface, ..self.linux };
        Ok(enrollment::Request { name, identifiers, labels, linux, mcu })
    }

    /// The settings for a microcontroller, if it is one.
    fn mcu(&self, group: &GroupState) -> Result<Option<McuSettings>, RequestError> {
        let Some(McuRequest { network, router, health, recovery }) = self.mcu else { return Ok(None) };
        let is_ipv4 = group.profile.coap_group.is_ipv4();
        if network.address.is_ipv4() != is_ipv4 || router.is_some_and(|it| it.is_ipv4() != is_ipv4) {
            let family = if is_ipv4 { "IPv4" } else { "IPv6" };
            return Err(RequestError::Family { group: group.name.clone(), family });
        }
        let Network { address, prefix_bits } = network;
        Ok(Some(McuSettings { address, prefix_bits, router, health, recovery }))
    }

    /// Vendor and class as given, otherwise unchanged.
    fn identifiers(&self, known: Option<&Waiting>) -> Result<(Uuid, Uuid), RequestError> {
        let unknown = |what| RequestError::Unknown { agent: self.name.clone(), what };
        let vendor = self.vendor.or(known.map(|known| known.vendor)).ok_or_else(|| unknown("vendor"))?;
        let class = match (&self.class, known) {
            (Some(class), _) => class.of_vendor(&vendor),
            (None, Some(known)) => known.class,
            (None, None) => return Err(unknown("class")),
        };
        Ok((vendor, class))
    }
}
