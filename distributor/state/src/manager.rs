//! The Group Manager's own secrets. It is a separate role; sending does not need them.

use std::collections::BTreeMap;

use provisioning::{Hex, Name, Secret};
use serde::{Deserialize, Serialize};

use super::group::{read_json, write_json};
use super::{GroupLock, StateDir, StateError};

/// The secrets that only the Group Manager of a group has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagerState {
    /// Its Ed25519 private key (RFC 8032 section 5.1.5), 32 bytes.
    pub private_key: Secret,
    /// Its individual OSCORE context with each agent, by the agent's name.
    pub contexts: BTreeMap<Name, IndividualContext>,
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
    /// Reads the Group Manager's secrets of a group.
    pub fn load(dir: &StateDir, group: &Name) -> Result<Self, StateError> {
        read_json(&dir.group(group).join("manager.json"))
    }

    /// Writes them; durable when it returns.
    pub fn save(&self, dir: &StateDir, lock: &GroupLock) -> Result<(), StateError> {
        write_json(&dir.group(lock.group()).join("manager.json"), self)
    }

    /// A Sender ID for an agent's individual context that no other agent of this group has.
    pub fn new_agent_id(&self) -> Result<Hex, StateError> {
        loop {
            let mut bytes = [0; 6];
            getrandom::fill(&mut bytes).map_err(StateError::Random)?;
            let id = Hex::from(bytes);
            if !self.contexts.values().any(|context| context.agent_id == id) {
                return Ok(id);
            }
        }
    }
}
