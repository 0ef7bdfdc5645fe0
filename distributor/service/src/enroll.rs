//! Enrolls an agent and writes its file.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use provisioning::cbor::{McuSettings, Recovery};
use provisioning::{LinuxSettings, Name};
use uuid::Uuid;

use super::enrollment::{self, EnrollError};
use fwcast_documents::values::{Class, Network, Vendor};
use fwcast_state::files::{self, Access, FileError};
use fwcast_state::{
    Agents, DeviceSettings, Enrolled, GroupLock, GroupState, StateDir, StateError, Waiting, Words,
};

/// An operator's settings for enrolling an agent.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its name.
    pub name: Name,
    /// Its group.
    pub group: Name,
    /// Who makes the device; `None` keeps the known value.
    pub vendor: Option<Vendor>,
    /// What model it is; `None` keeps the known value.
    pub class: Option<Class>,
    /// Its labels; an empty list keeps the known ones.
    pub labels: BTreeMap<String, String>,
    /// Whether it gets new keys in place of its old ones.
    pub again: bool,
    /// What else its file is to say.
    pub settings: Given,
    /// Where its file is written.
    pub out: PathBuf,
}

/// The settings that an operator gives for a device. What is `None` stays as it was when the agent was last
/// enrolled; for a new agent it has its default.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Whether it is a microcontroller.
    pub is_mcu: Option<bool>,
    /// The interface of the device; by default the same as on this machine.
    pub interface: Option<String>,
    /// The UDP port of its own socket; by default any.
    pub listen_port: Option<u16>,
    /// The agent's folder on the device.
    pub agent_state: Option<String>,
    /// The command that starts the new image.
    pub activate_command: Option<Vec<String>>,
    /// How long that may take, in seconds.
    pub activate_deadline: Option<u32>,
    /// The command that decides when the device may activate.
    pub ready_command: Option<Vec<String>>,
    /// How long it may defer that, in seconds.
    pub ready_deadline: Option<u32>,
    /// The seconds between two runs of it.
    pub ready_interval: Option<u32>,
    /// The command that decides whether the image is healthy.
    pub health_command: Option<Vec<String>>,
    /// How long an image may be on trial, in seconds.
    pub health_deadline: Option<u32>,
    /// The seconds between two runs of the health command.
    pub health_interval: Option<u32>,
    /// A microcontroller's own address.
    pub network: Option<Network>,
    /// The router of its network.
    pub router: Option<IpAddr>,
    /// Whether a microcontroller on trial must hear the distributor.
    pub hears_distributor: Option<bool>,
    /// What a microcontroller may run where its confirmed image is damaged.
    pub recovery: Option<Recovery>,
}

/// The agent's folder on the device, if nothing else is said.
const AGENT_STATE: &str = "/var/lib/fwcast-agent";

impl Given {
    /// The settings of the device: as given, else as they were, else the defaults.
    fn over(
        &self,
        known: Option<&DeviceSettings>,
        group: &GroupState,
    ) -> Result<DeviceSettings, RequestError> {
        let mut linux = known
            .map(|known| known.linux.clone())
            .unwrap_or_else(|| LinuxSettings::new(group.profile.interface.clone(), AGENT_STATE.to_owned()));
        set(&mut linux.interface, &self.interface);
        set(&mut linux.state_directory, &self.agent_state);
        set(&mut linux.activate_deadline_seconds, &self.activate_deadline);
        set(&mut linux.ready_deadline_seconds, &self.ready_deadline);
        set(&mut linux.ready_interval_seconds, &self.ready_interval);
        set(&mut linux.health_deadline_seconds, &self.health_deadline);
        set(&mut linux.health_interval_seconds, &self.health_interval);
        let optional = |old: &mut Option<Vec<String>>, new: &Option<Vec<String>>| {
            if new.is_some() {
                old.clone_from(new);
            }
        };
        optional(&mut linux.activate_command, &self.activate_command);
        optional(&mut linux.ready_command, &self.ready_command);
        optional(&mut linux.health_command, &self.health_command);
        linux.listen_port = self.listen_port.or(linux.listen_port);
        let known = known.and_then(|known| known.mcu.as_ref());
        let mcu = match self.is_mcu.unwrap_or(known.is_some()) {
            true => Some(self.mcu(known, group)?),
            false => None,
        };
        Ok(DeviceSettings { linux, mcu })
    }

    /// The part for a microcontroller.
    fn mcu(&self, known: Option<&McuSettings>, group: &GroupState) -> Result<McuSettings, RequestError> {
        let known_network =
            known.map(|known| Network { address: known.address, prefix_bits: known.prefix_bits });
        let Network { address, prefix_bits } =
            self.network.or(known_network).ok_or(RequestError::NoAddress)?;
        let router = self.router.or(known.and_then(|known| known.router));
        let is_ipv4 = group.profile.coap_group.is_ipv4();
        if address.is_ipv4() != is_ipv4 || router.is_some_and(|it| it.is_ipv4() != is_ipv4) {
            let family = if is_ipv4 { "IPv4" } else { "IPv6" };
            return Err(RequestError::Family { group: group.name.clone(), family });
        }
        let mut health = known.map(|known| known.health).unwrap_or_default();
        set(&mut health.within_seconds, &self.health_deadline);
        set(&mut health.hears_distributor, &self.hears_distributor);
        let recovery = self.recovery.or(known.map(|known| known.recovery)).unwrap_or_default();
        Ok(McuSettings { address, prefix_bits, router, health, recovery })
    }
}

fn set<T: Clone>(old: &mut T, new: &Option<T>) {
    if let Some(new) = new {
        old.clone_from(new);
    }
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
    /// A microcontroller without an address.
    #[error("a microcontroller needs an address of its own: give --address")]
    NoAddress,
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
    let request = request.resolve(&group, &agents)?;
    let done = enrollment::enroll(dir, &lock, agents, vec![request])?;
    let [done] = <[_; 1]>::try_from(done).map_err(|_| StateError::SenderIdsUsedUp(group.name.clone()))?;
    files::create(&out, &done.content, Access::Secret).map_err(RequestError::NoFile)?;
    Ok(done.enrolled)
}

/// What has changed since the agent was last enrolled, for people who compare the files.
fn remark(known: Option<&DeviceSettings>, now: &DeviceSettings) -> String {
    let keys = "Enrolled again: the Sender ID, the key pair, the individual context and its numbers are new";
    let Some(known) = known else {
        return format!("{keys}; the settings before were not recorded.");
    };
    let lines = |settings: &LinuxSettings| match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (lines(&known.linux), lines(&now.linux));
    let keys_of_both: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed: Vec<&str> =
        keys_of_both.into_iter().filter(|key| old.get(*key) != new.get(*key)).map(String::as_str).collect();
    if changed.is_empty() {
        return format!("{keys}; every setting is as before.");
    }
    format!("{keys}; changed settings: {}.", changed.join(", "))
}

impl Request {
    /// Enrolls it with everything that the group knows.
    pub(super) fn resolve(
        self,
        group: &GroupState,
        agents: &Agents,
    ) -> Result<enrollment::Request, RequestError> {
        let known = agents.find(&self.name);
        let (name, group_name) = (self.name.clone(), group.name.clone());
        match (&known, self.again) {
            (Some(_), false) => return Err(StateError::AgentExists { name, group: group_name }.into()),
            (None, true) => return Err(StateError::NoAgent { name, group: group_name }.into()),
            _ => {}
        }
        let identifiers = self.identifiers(known.as_ref())?;
        let words = self.words(known.as_ref());
        let known_settings = known.as_ref().and_then(|known| known.settings.as_ref());
        let settings = self.settings.over(known_settings, group)?;
        let remark = known.is_some().then(|| remark(known_settings, &settings));
        let labels = match known {
            Some(known) if self.labels.is_empty() => known.labels,
            _ => self.labels,
        };
        Ok(enrollment::Request { name, identifiers, words, labels, settings, remark })
    }

    /// The words for vendor and class as given, otherwise unchanged.
    fn words(&self, known: Option<&Waiting>) -> Words {
        let known = known.map(|known| known.words.clone()).unwrap_or_default();
        Words {
            vendor: self.vendor.as_ref().map_or(known.vendor, Vendor::word),
            class: self.class.as_ref().map_or(known.class, Class::word),
        }
    }

    /// Vendor and class as given, otherwise unchanged.
    fn identifiers(&self, known: Option<&Waiting>) -> Result<(Uuid, Uuid), RequestError> {
        let unknown = |what| RequestError::Unknown { agent: self.name.clone(), what };
        let given = self.vendor.as_ref().map(Vendor::id);
        let vendor = given.or(known.map(|known| known.vendor)).ok_or_else(|| unknown("vendor"))?;
        let class = match (&self.class, known) {
            (Some(class), _) => class.of_vendor(&vendor),
            (None, Some(known)) => known.class,
            (None, None) => return Err(unknown("class")),
        };
        Ok((vendor, class))
    }
}
