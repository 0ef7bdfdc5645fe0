//! `fwcast group`: security groups.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use group_oscore::AeadAlgorithm;
use provisioning::{Hex, Name};
use serde::Serialize;

use super::arguments::{self, Rate};
use crate::commands::completions::security_groups;
use crate::commands::confirm::Yes;
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::kind::{made, on_fleet, on_fleet_of};
use crate::commands::output::{self, Printable, columns, fields, say};
use crate::commands::rekey::Rekey;
use fwcast_service::{Fleet, neighbours};
use fwcast_state::key_sets::TrustedKeys;
use fwcast_state::keys;
use fwcast_state::new_group::{self, Changes, Plan};
use fwcast_state::{GroupState, MachineId, Profile, StateDir, StateError};
use fwcast_store::Store;
use rollout_engine::{Many, Parity};

/// The group commands.
#[derive(Debug, Subcommand)]
pub enum Group {
    /// Create a security group with fresh keys
    Create(Box<Create>),
    /// Change how this machine sends to a group: what its agents need not know
    Set(Set),
    /// Give a group new keys, and bring them to its agents: with them it can also move to another address
    Rekey(Rekey),
    /// Show one group
    Show {
        /// Its name
        #[arg(add = security_groups())]
        name: Name,
    },
    /// List all groups
    List,
}

/// Arguments of `group create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Its name
    #[arg(value_parser = fwcast_documents::values::plain_name)]
    name: Name,
    /// Multicast address and port that its agents listen on
    #[arg(long, value_name = "ADDR:PORT", value_parser = arguments::coap_group,
        required_unless_present = "replace")]
    coap_group: Option<SocketAddr>,
    /// Network interface of this machine that sends multicast
    #[arg(long, value_name = "IF", value_parser = arguments::interface, required_unless_present = "replace")]
    interface: Option<String>,
    /// Unicast address and port from which this machine sends, and where agents reach it
    #[arg(long, value_name = "ADDR:PORT", value_parser = arguments::peer,
        required_unless_present = "replace")]
    distributor: Option<SocketAddr>,
    /// Unicast address and port of the Group Manager, where agents can reach it
    #[arg(long, value_name = "ADDR:PORT", value_parser = arguments::peer)]
    manager: Option<SocketAddr>,
    /// Image keys that the agents will trust, signed elsewhere by `fwcast key set`: the root key stays there
    #[arg(long, value_name = "FILE", conflicts_with = "image_key")]
    key_set: Option<PathBuf>,
    /// Private root key, which signs the key set here; with --key-set its public half, to compare
    #[arg(long, value_name = "FILE", required_unless_present_any = ["key_set", "replace"])]
    root_key: Option<PathBuf>,
    /// Public image keys that the agents will trust, 1 to 4; for --root-key
    #[arg(long, value_name = "FILE.pub", num_args = 1..,
        required_unless_present_any = ["key_set", "replace"])]
    image_key: Vec<PathBuf>,
    /// Bytes per image block: 256, 512 or 1024 [default: 1024]
    #[arg(long, value_name = "BYTES", value_parser = arguments::block_size)]
    block_size: Option<u16>,
    /// How blocks that agents lost are repaired: none, auto, cauchy or rs16, or cauchy:N or rs16:N in
    /// generations of N blocks [default: auto]
    #[arg(long)]
    parity: Option<Parity>,
    /// How fast multicast is sent [default: 1Mbit/s]
    #[arg(long)]
    rate: Option<Rate>,
    /// IPv4 time to live or IPv6 hop limit of multicast [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    hops: Option<u8>,
    /// Encryption algorithm, for group and pairwise messages [default: a128gcm]
    #[arg(long, value_enum)]
    aead: Option<Aead>,
    /// Length of the group identifier in bytes, 2 to 8 [default: 4]
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=8))]
    gid_bytes: Option<u8>,
    /// Archive an existing group with this name; what is not given stays as it was, but its agents must be
    /// enrolled again
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    yes: Yes,
}

/// Arguments of `group set`.
#[derive(Debug, Args)]
pub struct Set {
    /// Its name
    #[arg(add = security_groups())]
    name: Name,
    /// Network interface of this machine that sends multicast
    #[arg(long, value_name = "IF", value_parser = arguments::interface)]
    interface: Option<String>,
    /// How fast multicast is sent
    #[arg(long)]
    rate: Option<Rate>,
    /// How blocks that agents lost are repaired: none, auto, cauchy or rs16, or cauchy:N or rs16:N in
    /// generations of N blocks
    #[arg(long)]
    parity: Option<Parity>,
    /// IPv4 time to live or IPv6 hop limit of multicast
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    hops: Option<u8>,
    // What agents know is taken here only to say how it is changed.
    #[arg(long, hide = true)]
    coap_group: Option<String>,
    #[arg(long, hide = true)]
    distributor: Option<String>,
    #[arg(long, hide = true)]
    manager: Option<String>,
    #[arg(long, hide = true)]
    block_size: Option<String>,
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
    parity: Parity,
    /// What it comes to for the agents enrolled.
    parity_now: Parity,
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
        let dir = match self {
            Self::Create(_) => global.state_dir_or_new()?,
            _ => global.state_dir()?,
        };
        match self {
            Self::Create(create) => {
                let machine = MachineId::of_this_machine()?;
                let plan = create.plan(global, &dir)?;
                let (group, waiting) = on_fleet_of(dir, async |fleet| {
                    let made = made(fleet.create_group(plan, &machine).await?);
                    for why in neighbours::of(fleet.dir(), &made.0)? {
                        say!("note: {why}");
                    }
                    Ok(made)
                })?;
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
            Self::Set(set) => {
                let group = on_fleet(global, async |fleet| set.run(fleet).await)?;
                let waiting = new_group::waiting(&dir, &group.name)?;
                output::print(global.output, &Shown::new(group, waiting)?)?;
            }
            Self::Rekey(rekey) => return rekey.run(global),
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

/// What a new group has, if nothing else is said.
const BLOCK_SIZE: u16 = 1024;
const RATE: Rate = Rate(1_000_000);
const HOPS: u8 = 1;
const GID_BYTES: usize = 4;

impl Create {
    /// What is given, else what the replaced group had, else the defaults.
    fn plan(&self, global: &Global, dir: &StateDir) -> Result<Plan, Failure> {
        let old = match GroupState::open(dir, &self.name) {
            Ok(group) if self.replace => {
                self.may_replace(global, &group)?;
                Some(group)
            }
            Ok(_) => return Err(StateError::GroupExists(self.name.clone()).into()),
            // A damaged group can be replaced, too; then everything must be given.
            Err(_) => None,
        };
        let profile = old.as_ref().map(|group| group.profile.clone());
        let needed = |option: &str| {
            let name = &self.name;
            Failure::usage(format!("there is no readable group '{name}' to take over from: give {option}"))
        };
        let kept = |option: &'static str, value: Option<SocketAddr>| value.ok_or_else(|| needed(option));
        let profile_of = |get: fn(&Profile) -> SocketAddr| profile.as_ref().map(get);
        let aead = match (self.aead, &old) {
            (Some(aead), _) => aead.algorithm(),
            (None, Some(group)) => group.security.algorithm().unwrap_or(AeadAlgorithm::A128Gcm),
            (None, None) => AeadAlgorithm::A128Gcm,
        };
        let old_gid_bytes = old.as_ref().map(|group| group.security.gid.as_bytes().len());
        let old_interface = profile.as_ref().map(|profile| profile.interface.clone());
        let old_rate = profile.as_ref().map(|profile| profile.rate_bits_per_second);
        Ok(Plan {
            name: self.name.clone(),
            profile: Profile {
                coap_group: kept("--coap-group", self.coap_group.or(profile_of(|old| old.coap_group)))?,
                interface: self.interface.clone().or(old_interface).ok_or_else(|| needed("--interface"))?,
                hops: self.hops.or(profile.as_ref().map(|old| old.hops)).unwrap_or(HOPS),
                rate_bits_per_second: self.rate.map(|rate| rate.0).or(old_rate).unwrap_or(RATE.0),
                block_size: self
                    .block_size
                    .or(profile.as_ref().map(|old| old.block_size))
                    .unwrap_or(BLOCK_SIZE),
                parity: self.parity.or(profile.as_ref().map(|old| old.parity)).unwrap_or_default(),
                distributor: kept("--distributor", self.distributor.or(profile_of(|old| old.distributor)))?,
                manager: self.manager.or(profile.as_ref().and_then(|old| old.manager)),
            },
            aead,
            gid_bytes: self.gid_bytes.map(usize::from).or(old_gid_bytes).unwrap_or(GID_BYTES),
            keys: self.keys(old.as_ref())?,
            replace: self.replace,
        })
    }

    /// The keys as given, else those of the replaced group.
    fn keys(&self, old: Option<&GroupState>) -> Result<TrustedKeys, Failure> {
        match (&self.key_set, &self.root_key, old) {
            (Some(file), root, _) => Ok(TrustedKeys::read(file, root.as_deref())?),
            (None, Some(root), _) if !self.image_key.is_empty() => {
                Ok(TrustedKeys::sign(root, &self.image_key)?)
            }
            (None, None, Some(group)) if self.image_key.is_empty() => {
                Ok(TrustedKeys { root: group.root_key()?, signed: group.key_set.as_bytes().to_vec() })
            }
            _ => Err(Failure::usage("--root-key and --image-key belong together: give both, or --key-set")),
        }
    }

    /// Nothing runs that needs the group, and the operator agrees.
    fn may_replace(&self, global: &Global, group: &GroupState) -> Result<(), Failure> {
        let name = &self.name;
        let user = on_fleet(global, async |fleet| Ok(fleet.rollout_that_uses(name).await?))?;
        if let Some(rollout) = user {
            return Err(Failure::error(format!(
                "rollout '{rollout}' has not ended and needs group '{name}', whose agents would no longer be \
                 reached: wait until it ends, or run `fwcast rollout cancel {rollout}`"
            )));
        }
        let agents = Many(group.agents.len(), "agent");
        let question = format!("replace group '{name}'? {agents} must be enrolled again");
        self.yes.or_ask(&question, &format!("group '{name}'"))
    }
}

impl Set {
    /// Changes the group.
    async fn run<S: Store>(&self, fleet: &Fleet<S>) -> Result<GroupState, Failure> {
        let Self { coap_group, distributor, manager, block_size, .. } = self;
        if [coap_group, distributor, manager, block_size].iter().any(|given| given.is_some()) {
            return Err(Failure::usage(format!(
                "the agents of group '{0}' know its CoAP group, distributor, Group Manager and block size: \
                 the first two move with new keys (`fwcast group rekey {0} --coap-group ... --distributor \
                 ...`); for the others replace it with `fwcast group create {0} --replace`, and enroll its \
                 agents again",
                self.name
            )));
        }
        let nothing = self.interface.is_none() && self.rate.is_none() && self.hops.is_none();
        if nothing && self.parity.is_none() {
            return Err(Failure::usage("nothing to change: give --interface, --rate, --hops or --parity"));
        }
        let changes = Changes {
            interface: self.interface.clone(),
            hops: self.hops,
            rate_bits_per_second: self.rate.map(|rate| rate.0),
            parity: self.parity,
        };
        Ok(made(fleet.change_group(&self.name, changes).await?))
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
            parity: group.profile.parity,
            parity_now: group.parity(group.profile.parity),
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
        let parity = match self.parity {
            Parity::Auto => format!("auto ({})", self.parity_now),
            parity => parity.to_string(),
        };
        fields([
            ("group", self.name.to_string()),
            ("gid", self.gid.to_string()),
            ("CoAP group", self.coap_group.to_string()),
            ("interface", self.interface.clone()),
            ("hops", self.hops.to_string()),
            ("rate", Rate(self.rate_bits_per_second).to_string()),
            ("block size", self.block_size.to_string()),
            ("parity", parity),
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
