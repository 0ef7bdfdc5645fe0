//! `kind: RolloutGroup`: which agents are reached, and how.

use std::num::{NonZeroU8, NonZeroU16};

use provisioning::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::Framed;
use super::schema::{AgentNameForm, NameForm};
use super::selector::Selector;
use super::text::{self, CoapGroup, Interface};
use crate::values::Rate;

/// A RolloutGroup.
pub type RolloutGroup = Framed<GroupKind, GroupSpec>;

/// The word in `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum GroupKind {
    /// A group.
    RolloutGroup,
}

/// Agents of one security group that are reached in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "members, transport, security and parity")]
pub struct GroupSpec {
    /// Which agents belong to it.
    pub members: Members,
    /// How they are reached, where this differs from the security group's settings.
    #[serde(default)]
    pub transport: Transport,
    /// Whose keys are used.
    pub security: Security,
    /// Parity, from which agents recover lost blocks, where it differs from the security group's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<Parity>,
}

/// Which agents belong to a group: either a selector or a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "MembersForm", into = "MembersForm")]
pub enum Members {
    /// Agents with these labels.
    Selector(Selector),
    /// These agents.
    Agents(Vec<Name>),
}

/// [`Members`] as they are written.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a selector, or a list of agents")]
#[schemars(rename = "Members", extend("minProperties" = 1, "maxProperties" = 1))]
struct MembersForm {
    /// Agents with these labels; `{}` means every agent of the security group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selector: Option<Selector>,
    /// These agents, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<AgentNameForm>>")]
    agents: Option<Vec<Name>>,
}

/// How agents are reached. Settings left out are as `fwcast group create` set them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "group, interface, hops, blockSize and rate"
)]
pub struct Transport {
    /// The address and port of the CoAP group. They must match the security group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<CoapGroup>,
    /// The network interface that sends multicast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Interface>,
    /// The IPv4 time to live or IPv6 hop limit of multicast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops: Option<NonZeroU8>,
    /// Bytes per image block: 256, 512 or 1024. It must match the security group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size: Option<BlockBytes>,
    /// How fast multicast is sent.
    #[serde(default, deserialize_with = "text::option", skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// Bytes per image block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u16", into = "u16")]
#[schemars(extend("type" = "integer", "enum" = [256, 512, 1024]), !try_from, with = "u16")]
pub struct BlockBytes(pub u16);

/// Whose keys are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "group")]
pub struct Security {
    /// The name of the security group, as in `fwcast group create NAME`.
    #[schemars(with = "NameForm")]
    pub group: Name,
}

/// Parity: from a few more symbols each agent recovers the blocks that it has lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "code and generation")]
pub struct Parity {
    /// The erasure code.
    #[serde(default)]
    pub code: ParityCode,
    /// How many blocks one set of parity covers at most: 8 to 128 with the Cauchy code, 8 to 4096 with rs16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<NonZeroU16>,
}

/// Erasure codes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParityCode {
    /// No parity: lost blocks are sent again.
    #[default]
    None,
    /// The best code for the agents of the group: rs16 if all of them run Linux, else the Cauchy code.
    Auto,
    /// Cauchy code over GF(2^8), for generations of up to 128 blocks.
    Cauchy,
    /// Reed-Solomon code over GF(2^16), for generations of up to 4096 blocks.
    Rs16,
}

impl Parity {
    /// What it stands for; `None` for what is not possible.
    pub fn checked(self) -> Option<rollout_engine::Parity> {
        let generation = self.generation.map(NonZeroU16::get);
        match self.code {
            ParityCode::None => Some(rollout_engine::Parity::None).filter(|_| generation.is_none()),
            ParityCode::Auto => Some(rollout_engine::Parity::Auto).filter(|_| generation.is_none()),
            ParityCode::Cauchy => rollout_engine::Parity::cauchy(generation),
            ParityCode::Rs16 => rollout_engine::Parity::rs16(generation),
        }
    }
}

impl TryFrom<MembersForm> for Members {
    type Error = &'static str;

    fn try_from(form: MembersForm) -> Result<Self, &'static str> {
        match (form.selector, form.agents) {
            (Some(selector), None) => Ok(Self::Selector(selector)),
            (None, Some(agents)) if agents.is_empty() => {
                Err("the list of agents is empty: name at least one, or give a selector")
            }
            (None, Some(agents)) => Ok(Self::Agents(agents)),
            _ => Err("members are either a selector or a list of agents: give exactly one of the two"),
        }
    }
}

impl From<Members> for MembersForm {
    fn from(members: Members) -> Self {
        match members {
            Members::Selector(selector) => Self { selector: Some(selector), agents: None },
            Members::Agents(agents) => Self { selector: None, agents: Some(agents) },
        }
    }
}

impl TryFrom<u16> for BlockBytes {
    type Error = String;

    fn try_from(bytes: u16) -> Result<Self, String> {
        crate::values::block_size(&bytes.to_string()).map(Self)
    }
}

impl From<BlockBytes> for u16 {
    fn from(bytes: BlockBytes) -> Self {
        bytes.0
    }
}
