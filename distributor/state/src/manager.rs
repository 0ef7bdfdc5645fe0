//! The Group Manager's own secrets. It is a separate role; sending does not need them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use jiff::Timestamp;

use provisioning::{Hex, Name, Secret};
use serde::{Deserialize, Serialize};

use super::group::{read_json, write_json};
use super::{Enrolled, GroupLock, StateDir, StateError};

/// The secrets that only the Group Manager of a group has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagerState {
    /// Its Ed25519 private key (RFC 8032 section 5.1.5), 32 bytes.
    pub private_key: Secret,
    /// Its individual OSCORE context with each agent, by the agent's name.
    pub contexts: BTreeMap<Name, IndividualContext>,
    /// What is known of the agents as its members.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<Name, KnownMember>,
    /// Who was evicted, and not destroyed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evicted: BTreeMap<Name, Evicted>,
    /// Somebody was evicted who still has the keys: nothing is sent before they are replaced.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rekey_due: bool,
}

/// What the Group Manager knows of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownMember {
    /// The generation of keys that it is known to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<u32>,
    /// Where it was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// If it got another Sender ID without new keys: from when on it accepts anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
}

/// The generation of keys under which a member got another Sender ID, and the distributor's next number then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// The generation.
    pub num: u32,
    /// The distributor's next Sender Sequence Number.
    pub next: u64,
}

/// An agent that was evicted. Its individual context is kept, so that it can be refused, and can come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evicted {
    /// Its individual context.
    pub context: IndividualContext,
    /// Its credential and what else is known of it.
    pub agent: Enrolled,
    /// Where it was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// For serde, which passes a reference.
const fn is_false(value: &bool) -> bool {
    !*value
}

/// An individual OSCORE context (RFC 8613) between the Group Manager and one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndividualContext {
    /// OSCORE Master Secret.
    pub master_secret: Secret,
    /// OSCORE Master Salt.
    pub master_salt: Secret,
    /// The COSE number of the AEAD Algorithm.
    pub aead: i32,
    /// The agent's Sender ID: 6 random bytes, so that one Group Manager can tell apart the agents of many
    /// groups.
    pub agent_id: Hex,
    /// The Group Manager's Sender ID.
    pub manager_id: Hex,
}

impl ManagerState {
    /// A Group Manager with this private key, and no members.
    pub fn new(private_key: Secret) -> Self {
        Self {
            private_key,
            contexts: BTreeMap::new(),
            members: BTreeMap::new(),
            evicted: BTreeMap::new(),
            rekey_due: false,
        }
    }

    /// Reads the Group Manager's secrets of a group.
    pub fn load(dir: &StateDir, group: &Name) -> Result<Self, StateError> {
        read_json(&dir.group(group).join("manager.json"))
    }

    /// Writes them; durable when it returns.
    pub fn save(&self, dir: &StateDir, lock: &GroupLock) -> Result<(), StateError> {
        write_json(&dir.group(lock.group()).join("manager.json"), self)
    }

    /// Moves an agent to the evicted ones, or removes all that is known of it. What was done already stays.
    pub fn evict(&mut self, agent: Option<&Enrolled>, name: &Name, reason: &str, destroy: bool) {
        let address = self.members.remove(name).and_then(|member| member.address);
        let context = self.contexts.remove(name);
        if destroy {
            self.evicted.remove(name);
        } else if let (Some(context), Some(agent)) = (context, agent) {
            let (agent, reason) = (agent.clone(), reason.to_owned());
            let evicted = Evicted { context, agent, address, reason, at: Timestamp::now() };
            self.evicted.insert(name.clone(), evicted);
        }
    }

    /// A Sender ID for an agent's individual context that no other agent of this group has.
    pub fn new_agent_id(&self) -> Result<Hex, StateError> {
        loop {
            let mut bytes = [0; 6];
            getrandom::fill(&mut bytes).map_err(StateError::Random)?;
            let id = Hex::from(bytes);
            let evicted = self.evicted.values().map(|evicted| &evicted.context);
            if !self.contexts.values().chain(evicted).any(|context| context.agent_id == id) {
                return Ok(id);
            }
        }
    }
}
