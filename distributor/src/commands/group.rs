//! `fwcast group`: security groups.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use group_oscore::AeadAlgorithm;
use provisioning::{Hex, Name};
use serde::Serialize;

use super::arguments::{self, Rate};
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output::{self, Printable, columns, fields, say};
use crate::commands::runtime::runtime;
use crate::keys;
use crate::new_group::{self, Keys, Plan};
use crate::state::{GroupState, MachineId, Profile};
use rollout_engine::Many;

/// The group commands.
#[derive(Debug, Subcommand)]
pub enum Group {
    /// Create a security group with fresh keys
    Create(Box<Create>),
    /// Show one group
    Show {
        /// Its name
        name: Name,
    },
    /// List all groups
    List,
}

/// Arguments of `group create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Its name
    name: Name,
    /// Multicast address and port that its agents listen on
    #[arg(long, value_name = "ADDR:PORT", value_parser = arguments::coap_group)]
    coap_group: SocketAddr,
    /// Network interface of this machine that sends multicast
    #[arg(long, value_name = "IF", value_parser = arguments::interface)]
    interface: String,
    /// Unicast address and port from which this machine sends, and where agents reach it
    #[arg(long, value_name = "ADDR:PORT", value_parser = arguments::peer)]
    distributor: SocketAddr,
    /// Unicast address and port of the Group Manager, where agents can reach it
    #[arg(long, value_name = "ADDR:PORT", value_parser = arguments::peer)]
    manager: Option<SocketAddr>,
    /// Private root key, which signs the key set
    #[arg(long, value_name = "FILE")]
    root_key: PathBuf,
    /// Public image keys that the agents will trust, 1 to 4
    #[arg(long, value_name = "FILE.pub", required = true, num_args = 1..)]
    image_key: Vec<PathBuf>,
    /// Bytes per image block: 256, 512 or 1024
    #[arg(long, default_value = "1024", value_parser = arguments::block_size)]
    block_size: u16,
    /// How fast multicast is sent
    #[arg(long, default_value = "1Mbit/s")]
    rate: Rate,
    /// IPv4 time to live or IPv6 hop limit of multicast
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    hops: u8,
    /// Encryption algorithm, for group and pairwise messages
    #[arg(long, value_enum, default_value_t = Aead::A128gcm)]
    aead: Aead,
    /// Length of the group identifier in bytes, 2 to 8
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=8))]
    gid_bytes: u8,
    /// Archive an existing group with this name; its agents must be enrolled again
    #[arg(long)]
    replace: bool,
}

/// The available algorithms, by their names in the COSE registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Aead {
    A128gcm,
    #[value(name = "aes-ccm-16-64-128")]
    AesCcm16_64_128,
    #[value(name = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

#[derive(Serialize)]
struct Shown {
    name: Name,
    gid: Hex,
    coap_group: SocketAddr,
    interface: String,
    hops: u8,
    rate_bits_per_second: u64,
    block_size: u16,
    distributor: SocketAddr,
    manager: Option<SocketAddr>,
    aead: i32,
    root_key: String,
    key_set_version: u64,
    image_keys: Vec<String>,
    agents: usize,
    /// Agents that do not have keys of this group, or no longer do.
    enroll_again: Vec<Name>,
}

#[derive(Serialize)]
struct Listed(Vec<Shown>);

impl Group {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let dir = global.state_dir()?;
        match self {
            Self::Create(create) => {
                let machine = MachineId::of_this_machine()?;
                let (group, waiting) =
                    runtime()?.block_on(new_group::create(&dir, create.plan()?, &machine))?;
                if let Some(first) = waiting.first() {
                    say!(
                        "note: {} with keys of the old group must be enrolled again, \
                         beginning with `fwcast agent enroll {first} --group {} --again --out \
                         {first}.yaml`",
                        Many(waiting.len(), "agent"),
                        group.name
                    );
                }
                output::print(global.output, &Shown::new(group, waiting)?)?;
            }
            Self::Show { name } => {
                let waiting = new_group::waiting(&dir, name)?;
                output::print(global.output, &Shown::new(GroupState::open(&dir, name)?, waiting)?)?;
            }
            Self::List => {
                let mut all = Vec::new();
                for name in dir.groups()? {
                    let waiting = new_group::waiting(&dir, &name)?;
                    all.push(Shown::new(GroupState::open(&dir, &name)?, waiting)?);
                }
                output::print(global.output, &Listed(all))?;
            }
        }
        Ok(Exit::Done)
    }
}

impl Create {
    fn plan(&self) -> Result<Plan, Failure> {
        Ok(Plan {
            name: self.name.clone(),
            profile: Profile {
                coap_group: self.coap_group,
                interface: self.interface.clone(),
                hops: self.hops,
                rate_bits_per_second: self.rate.0,
                block_size: self.block_size,
                distributor: self.distributor,
                manager: self.manager,
            },
            aead: self.aead.algorithm(),
            gid_bytes: self.gid_bytes.into(),
            keys: Keys::read(&self.root_key, &self.image_key)?,
            replace: self.replace,
        })
    }
}

impl Aead {
    const fn algorithm(self) -> AeadAlgorithm {
        match self {
            Self::A128gcm => AeadAlgorithm::A128Gcm,
            Self::AesCcm16_64_128 => AeadAlgorithm::AesCcm16_64_128,
            Self::ChaCha20Poly1305 => AeadAlgorithm::ChaCha20Poly1305,
        }
    }
}

impl Shown {
    fn new(group: GroupState, enroll_again: Vec<Name>) -> Result<Self, Failure> {
        let key_set = group.key_set()?;
        Ok(Self {
            gid: group.security.gid.clone(),
            coap_group: group.profile.coap_group,
            interface: group.profile.interface.clone(),
            hops: group.profile.hops,
            rate_bits_per_second: group.profile.rate_bits_per_second,
            block_size: group.profile.block_size,
            distributor: group.profile.distributor,
            manager: group.profile.manager,
            aead: group.security.aead,
            root_key: keys::fingerprint(&group.root_key()?),
            key_set_version: key_set.version(),
            image_keys: key_set.keys().iter().map(keys::fingerprint).collect(),
            agents: group.agents.len(),
            enroll_again,
            name: group.name,
        })
    }
}

impl Printable for Shown {
    fn table(&self) -> Table {
        let manager = self.manager.map_or_else(|| "-".to_owned(), |address| address.to_string());
        fields([
            ("group", self.name.to_string()),
            ("gid", self.gid.to_string()),
            ("CoAP group", self.coap_group.to_string()),
            ("interface", self.interface.clone()),
            ("hops", self.hops.to_string()),
            ("rate", Rate(self.rate_bits_per_second).to_string()),
            ("block size", self.block_size.to_string()),
            ("distributor", self.distributor.to_string()),
            ("Group Manager", manager),
            ("COSE algorithm", self.aead.to_string()),
            ("root key", self.root_key.clone()),
            ("key set version", self.key_set_version.to_string()),
            ("image keys", self.image_keys.join(" ")),
            ("agents", self.agents.to_string()),
            ("enroll again", self.enroll_again.len().to_string()),
        ])
    }
}

impl Printable for Listed {
    fn table(&self) -> Table {
        let mut table =
            columns(["GROUP", "GID", "COAP GROUP", "INTERFACE", "RATE", "AGENTS", "ENROLL AGAIN"]);
        for group in &self.0 {
            table.add_row([
                group.name.to_string(),
                group.gid.to_string(),
                group.coap_group.to_string(),
                group.interface.clone(),
                Rate(group.rate_bits_per_second).to_string(),
                group.agents.to_string(),
                group.enroll_again.len().to_string(),
            ]);
        }
        table
    }
}
