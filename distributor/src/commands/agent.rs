//! `fwcast agent`: the members of a group.

mod edit;
mod import;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use provisioning::cbor;
use provisioning::{AgentFile, Hex, LinuxSettings, Name, Provisioning};
use serde::Serialize;
use uuid::Uuid;

pub(super) use edit::remove_agent;
use edit::{Relabel, Release, Remove};
use import::Import;

use super::arguments::{self, Class, Vendor};
use super::completions::security_groups;
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::kind::{made, on_fleet};
use crate::commands::output::{self, Printable, columns, fields, say};
use crate::commands::rekey::{Evict, Rejoin};
use crate::commands::report::{labels, word_and_id, word_or_id};
use crate::commands::yaml;
use fwcast_documents::selector::Selector;
use fwcast_documents::values;
use fwcast_service::{Fleet, enroll};
use fwcast_state::files::shown;
use fwcast_state::{Agents, GroupState, Label, StateDir, Words};
use fwcast_store::Store;
use rollout_engine::Many;

/// The agent commands.
#[derive(Debug, Subcommand)]
pub enum Agent {
    /// Enroll an agent in a group and write the one file that it needs
    Enroll(Box<Enroll>),
    /// Enroll many agents from a table (CSV); run it again if it was interrupted
    Import(Import),
    /// List the agents that are enrolled or wait to be enrolled again
    List {
        /// Only agents of this group
        #[arg(long, add = security_groups())]
        group: Option<Name>,
        /// Only agents with these labels, like 'model=lamp-2,ring!=canary'
        #[arg(short = 'l', long, value_name = "SELECTOR")]
        selector: Option<Selector>,
    },
    /// Set or remove labels of an agent, or of all that a selector chooses
    Label(Relabel),
    /// Remove an agent from its group
    Remove(Remove),
    /// Evict agents from their groups: they get no keys any more, and the others get new ones
    Evict(Evict),
    /// Take an evicted agent back into its group
    Rejoin(Rejoin),
    /// End the quarantine of an agent that said what could not be true
    Release(Release),
    /// Check the file of an agent and show what is not secret in it
    Inspect {
        /// The file that `agent enroll` wrote
        file: PathBuf,
    },
}

/// Arguments of `agent enroll`.
#[derive(Debug, Args)]
pub struct Enroll {
    /// Its name
    name: Name,
    /// The group it joins
    #[arg(long, add = security_groups())]
    group: Name,
    /// Who makes the device: a domain, or a UUID
    #[arg(long, value_name = "DOMAIN|UUID", required_unless_present = "again")]
    vendor: Option<Vendor>,
    /// What model it is: a name, or a UUID
    #[arg(long, value_name = "MODEL|UUID", required_unless_present = "again")]
    class: Option<Class>,
    /// File to write the agent's configuration and secrets to; nothing is overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Kind of device: yaml for Linux, cbor for the flash of a microcontroller
    /// [default: yaml]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// A microcontroller's own address, with the length of its network's prefix
    #[arg(long, value_name = "IP/BITS")]
    address: Option<arguments::Network>,
    /// The router of a microcontroller's network [default: none]
    #[arg(long, value_name = "IP", requires = "address")]
    router: Option<IpAddr>,
    /// Label for the agent; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<Label>,
    /// Give new keys to an existing agent, which makes its old file useless; what is not given stays as it
    /// was
    #[arg(long)]
    again: bool,
    /// Network interface of the device [default: as on this machine]
    #[arg(long, value_name = "IF", value_parser = arguments::interface)]
    interface: Option<String>,
    /// UDP port of the agent's own socket on the device [default: any]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    listen_port: Option<u16>,
    /// Folder of the agent on the device [default: /var/lib/fwcast-agent]
    #[arg(long, value_name = "DIR")]
    agent_state: Option<String>,
    /// Command that starts the new image on trial. One text is split as a shell does it: "/usr/bin/switch
    /// --now". Several are taken as they are; one that begins with '-' needs the option again:
    /// --activate-command=--now
    #[arg(long, value_name = "CMD", num_args = 1..)]
    activate_command: Option<Vec<String>>,
    /// How long the activate command may take. Then it is killed, and the activation has failed [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = arguments::seconds)]
    activate_deadline: Option<u32>,
    /// Command that exits with 0 when the device may activate now, else it is deferred; arguments as above
    #[arg(long, value_name = "CMD", num_args = 1..)]
    ready_command: Option<Vec<String>>,
    /// How long the ready command may say not now. Then the update has failed [default: 1d]
    #[arg(long, value_name = "TIME", value_parser = arguments::seconds)]
    ready_deadline: Option<u32>,
    /// Time between two runs of the ready command [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = arguments::seconds)]
    ready_interval: Option<u32>,
    /// Command that exits with 0 when the new image is healthy; arguments as above
    #[arg(long, value_name = "CMD", num_args = 1..)]
    health_command: Option<Vec<String>>,
    /// What a microcontroller on trial must do to be confirmed, besides passing its firmware's own test
    /// [default: distributor]
    #[arg(long, value_enum)]
    health_rule: Option<HealthRule>,
    /// What a microcontroller may run when its confirmed image is damaged and no update is there [default:
    /// previous]
    #[arg(long, value_enum)]
    recovery: Option<Recovery>,
    /// How long a new image may take to prove healthy. Then it is rolled back [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = arguments::seconds)]
    health_deadline: Option<u32>,
    /// Time between two runs of the health command [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = arguments::seconds)]
    health_interval: Option<u32>,
}

/// The kind of device that an agent's file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A Linux agent.
    Yaml,
    /// A microcontroller.
    Cbor,
}

/// What a microcontroller considers healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HealthRule {
    /// It has heard the distributor.
    Distributor,
    /// Nothing else: the image is confirmed even if it could never be updated again.
    SelfTest,
}

/// What a microcontroller runs instead of a damaged image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Recovery {
    /// The image before it, though it is older.
    Previous,
    /// Nothing: it waits to be written anew.
    None,
}

#[derive(Serialize)]
struct Shown {
    name: Name,
    group: Name,
    /// None until the agent is enrolled again.
    sender_id: Option<Hex>,
    vendor: Uuid,
    class: Uuid,
    /// What the operator wrote for them.
    words: Words,
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Listed(Vec<Shown>);

#[derive(Serialize)]
struct Inspected {
    name: Name,
    group: Name,
    gid: Hex,
    sender_id: Hex,
    vendor: Uuid,
    class: Uuid,
    coap_group: String,
    distributor: String,
    block_size: u16,
    key_set_version: u64,
    linux: LinuxSettings,
}

impl Agent {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        match self {
            Self::Enroll(enroll) => {
                let shown = on_fleet(global, async |fleet| enroll.run(fleet).await)?;
                output::print(global.output, &shown)?;
            }
            Self::Import(import) => {
                let done = on_fleet(global, async |fleet| import.run(fleet).await)?;
                say!("{} enrolled, {} enrolled before", Many(done.enrolled, "agent"), done.passed_over);
            }
            Self::List { group, selector } => {
                let listed = Listed::read(&global.state_dir()?, group.as_ref(), selector.as_ref())?;
                output::print(global.output, &listed)?;
            }
            Self::Label(relabel) => {
                let keys = on_fleet(global, async |fleet| relabel.run(fleet).await)?;
                let mut listed = Listed::read(&global.state_dir()?, None, None)?;
                listed.0.retain(|agent| {
                    keys.iter().any(|key| agent.name == key.name && agent.group == key.group)
                });
                output::print(global.output, &listed)?;
            }
            Self::Remove(remove) => on_fleet(global, async |fleet| remove.run(fleet).await)?,
            Self::Evict(evict) => return evict.run(global),
            Self::Rejoin(rejoin) => on_fleet(global, async |fleet| rejoin.run(fleet).await)?,
            Self::Release(release) => on_fleet(global, async |fleet| release.run(fleet).await)?,
            Self::Inspect { file } => {
                let read: AgentFile = yaml::read_secret(file)?;
                let inspected = Inspected::new(read).map_err(|error| {
                    let file = shown(file);
                    Failure::error(format!(
                        "{file} is not a valid agent file: {error}; enroll the agent again"
                    ))
                })?;
                output::print(global.output, &inspected)?;
            }
        }
        Ok(Exit::Done)
    }
}

impl Enroll {
    async fn run<S: Store>(&self, fleet: &Fleet<S>) -> Result<Shown, Failure> {
        let enrolled = made(fleet.enroll(self.request()?).await?);
        Ok(Shown {
            name: enrolled.name,
            group: self.group.clone(),
            sender_id: Some(enrolled.sender_id),
            vendor: enrolled.vendor,
            class: enrolled.class,
            words: enrolled.words,
            labels: enrolled.labels,
            file: Some(self.out.clone()),
        })
    }

    fn request(&self) -> Result<enroll::Request, Failure> {
        let label = |label: &Label| (label.key.to_string(), label.value.clone());
        Ok(enroll::Request {
            name: self.name.clone(),
            group: self.group.clone(),
            vendor: self.vendor.clone(),
            class: self.class.clone(),
            labels: self.labels.iter().map(label).collect(),
            again: self.again,
            settings: enroll::Given {
                is_mcu: self.format.map(|format| format == Format::Cbor),
                interface: self.interface.clone(),
                listen_port: self.listen_port,
                agent_state: self.agent_state.clone(),
                activate_command: command("--activate-command", self.activate_command.as_deref())?,
                activate_deadline: self.activate_deadline,
                ready_command: command("--ready-command", self.ready_command.as_deref())?,
                ready_deadline: self.ready_deadline,
                ready_interval: self.ready_interval,
                health_command: command("--health-command", self.health_command.as_deref())?,
                health_deadline: self.health_deadline,
                health_interval: self.health_interval,
                network: self.address,
                router: self.router,
                hears_distributor: self.health_rule.map(|rule| rule == HealthRule::Distributor),
                recovery: self.recovery.map(|recovery| match recovery {
                    Recovery::Previous => cbor::Recovery::Previous,
                    Recovery::None => cbor::Recovery::None,
                }),
            },
            out: self.out.clone(),
        })
    }
}

/// The words of a command that was given with this option.
fn command(option: &str, given: Option<&[String]>) -> Result<Option<Vec<String>>, Failure> {
    let words = given.map(values::command_words).transpose();
    words.map_err(|problem| Failure::usage(format!("{option}: {problem}")))
}

impl Listed {
    /// The agents of one group, or of all, with these labels.
    fn read(dir: &StateDir, group: Option<&Name>, selector: Option<&Selector>) -> Result<Self, Failure> {
        let groups = match group {
            // Opened first, so that a missing group is reported as missing.
            Some(name) => vec![GroupState::open(dir, name)?.name],
            None => dir.groups()?,
        };
        let mut all = Vec::new();
        for group in groups {
            all.extend(Self::new(&group, Agents::load(dir, &group)?).0);
        }
        all.retain(|agent| selector.is_none_or(|selector| selector.matches(&agent.labels)));
        Ok(Self(all))
    }

    fn new(group: &Name, agents: Agents) -> Self {
        let enrolled = agents.enrolled.into_iter().map(|agent| Shown {
            name: agent.name,
            group: group.clone(),
            sender_id: Some(agent.sender_id),
            vendor: agent.vendor,
            class: agent.class,
            words: agent.words,
            labels: agent.labels,
            file: None,
        });
        let waiting = agents.waiting.into_iter().map(|agent| Shown {
            name: agent.name,
            group: group.clone(),
            sender_id: None,
            vendor: agent.vendor,
            class: agent.class,
            words: agent.words,
            labels: agent.labels,
            file: None,
        });
        Self(enrolled.chain(waiting).collect())
    }
}

impl Inspected {
    fn new(file: AgentFile) -> Result<Self, provisioning::ProvisioningError> {
        let checked = file.provisioning.check()?;
        let Provisioning { name, group, vendor, class, coap_group, block_size, key, distributor, .. } =
            file.provisioning;
        Ok(Self {
            name,
            group,
            gid: key.context_id,
            sender_id: key.group_sender_id,
            vendor,
            class,
            coap_group: coap_group.to_string(),
            distributor: distributor.address.to_string(),
            block_size,
            key_set_version: checked.key_set.version(),
            linux: file.linux,
        })
    }
}

impl Printable for Shown {
    fn table(&self) -> Table {
        let file = self.file.as_ref().map_or_else(|| "-".to_owned(), |file| shown(file));
        fields([
            ("agent", self.name.to_string()),
            ("group", self.group.to_string()),
            ("Sender ID", sender_id(self.sender_id.as_ref())),
            ("vendor", word_and_id(self.words.vendor.as_deref(), &self.vendor)),
            ("class", word_and_id(self.words.class.as_deref(), &self.class)),
            ("labels", labels(&self.labels)),
            ("file", file),
        ])
    }
}

impl Printable for Listed {
    fn table(&self) -> Table {
        let mut table = columns(["GROUP", "AGENT", "SENDER ID", "VENDOR", "CLASS", "LABELS"]);
        for agent in &self.0 {
            table.add_row([
                agent.group.to_string(),
                agent.name.to_string(),
                sender_id(agent.sender_id.as_ref()),
                word_or_id(agent.words.vendor.as_deref(), &agent.vendor),
                word_or_id(agent.words.class.as_deref(), &agent.class),
                labels(&agent.labels),
            ]);
        }
        table
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(self.0.iter().map(|agent| format!("{}/{}", agent.group, agent.name)).collect())
    }
}

impl Printable for Inspected {
    fn table(&self) -> Table {
        fields([
            ("agent", self.name.to_string()),
            ("group", self.group.to_string()),
            ("gid", self.gid.to_string()),
            ("Sender ID", self.sender_id.to_string()),
            ("vendor", self.vendor.to_string()),
            ("class", self.class.to_string()),
            ("CoAP group", self.coap_group.clone()),
            ("distributor", self.distributor.clone()),
            ("block size", self.block_size.to_string()),
            ("key set version", self.key_set_version.to_string()),
            ("interface", self.linux.interface.clone()),
            ("state directory", self.linux.state_directory.escape_debug().to_string()),
        ])
    }
}

fn sender_id(id: Option<&Hex>) -> String {
    id.map_or_else(|| "enroll again".to_owned(), ToString::to_string)
}
