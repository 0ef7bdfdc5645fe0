//! Who is enrolled in a group.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use group_oscore::{Credential, CredentialError, MemberId};
use jiff::Timestamp;
use provisioning::cbor::McuSettings;
use provisioning::{Hex, LinuxSettings, Name};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::group::{read_json, write_json};
use super::sealed::{self, SealedError};
use super::{GroupLock, GroupState, SequenceDoubt, SequenceStore, StateDir, StateError};
use crate::files;

/// The longest Sender ID, in bytes.
const SENDER_NUMBER_MAX: u32 = 0xff_ffff;
/// The Sender ID of the distributor.
pub const DISTRIBUTOR_SENDER_ID: [u8; 1] = [0];

/// An enrolled agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// Its name.
    pub name: Name,
    /// Its Sender ID: 1 to 3 bytes, never given to another.
    pub sender_id: Hex,
    /// Its authentication credential, a CCS.
    pub credential: Hex,
    /// SUIT vendor identifier.
    pub vendor: Uuid,
    /// SUIT class identifier.
    pub class: Uuid,
    /// The words that the operator wrote for them.
    #[serde(default, skip_serializing_if = "Words::are_none")]
    pub words: Words,
    /// The operator's labels for it.
    pub labels: BTreeMap<String, String>,
    /// What its file says besides keys; `None` if an older program enrolled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<DeviceSettings>,
    /// When it was enrolled; `None` if an older program enrolled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolled_at: Option<Timestamp>,
}

impl Enrolled {
    /// Its Sender ID.
    pub fn member_id(&self) -> MemberId {
        // Its length was checked when the agents were read.
        MemberId::new(self.sender_id.as_bytes()).unwrap_or(MemberId::EMPTY)
    }

    /// Its authentication credential.
    ///
    /// # Errors
    /// Never for an agent of a group that was opened.
    pub fn credential(&self) -> Result<Credential, CredentialError> {
        Credential::from_ccs(self.credential.as_bytes())
    }
}

/// The words that an operator wrote for vendor and class; `None` for a UUID.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// The vendor's domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

impl Words {
    fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

/// An agent of a replaced group. It must be enrolled again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// Its name.
    pub name: Name,
    /// SUIT vendor identifier.
    pub vendor: Uuid,
    /// SUIT class identifier.
    pub class: Uuid,
    /// The words that the operator wrote for them.
    #[serde(default, skip_serializing_if = "Words::are_none")]
    pub words: Words,
    /// The operator's labels for it.
    pub labels: BTreeMap<String, String>,
    /// What its last file said besides keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<DeviceSettings>,
}

/// What an agent's file says besides keys, kept for the next time that it is enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSettings {
    /// The part for Linux.
    pub linux: LinuxSettings,
    /// The part for a microcontroller, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcu: Option<McuSettings>,
}

/// All agents of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agents {
    /// The number whose bytes are the next Sender ID. It never falls.
    next_sender_number: u32,
    /// Who is enrolled, by ascending Sender ID.
    pub enrolled: Vec<Enrolled>,
    /// Who must be enrolled again, by name.
    pub waiting: Vec<Waiting>,
}

impl Default for Agents {
    fn default() -> Self {
        Self { next_sender_number: 1, enrolled: Vec::new(), waiting: Vec::new() }
    }
}

impl Agents {
    /// Reads the agents of a group.
    pub fn load(dir: &StateDir, group: &Name) -> Result<Self, StateError> {
        Self::read(&dir.group(group))
    }

    /// Reads the agents from a group's folder.
    pub(super) fn read(folder: &Path) -> Result<Self, StateError> {
        let path = folder.join("agents.json");
        let agents: Self = read_json(&path)?;
        for agent in &agents.enrolled {
            let id_fits = MemberId::new(agent.sender_id.as_bytes()).is_some();
            if !id_fits || agent.credential().is_err() {
                let why = format!("agent '{}' has an invalid Sender ID or credential", agent.name);
                return Err(StateError::Damaged { path, why });
            }
        }
        Ok(agents)
    }

    /// Writes the agents of a group; durable when it returns.
    pub fn save(&self, dir: &StateDir, lock: &GroupLock) -> Result<(), StateError> {
        write_json(&dir.group(lock.group()).join("agents.json"), self)
    }

    /// A Sender ID that was never used: 1 to 3 bytes, the shortest that are left. Once saved, it is never
    /// given again.
    pub(super) fn new_sender_id(&mut self, group: &Name) -> Result<Hex, StateError> {
        if self.next_sender_number > SENDER_NUMBER_MAX {
            return Err(StateError::SenderIdsUsedUp(group.clone()));
        }
        let bytes = self.next_sender_number.to_be_bytes();
        self.next_sender_number += 1;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Ok(Hex::from(&bytes[zeros..]))
    }

    /// Sender IDs for this many new agents, that no agent of the group ever had. They are given: the witness
    /// says so when this returns, so that also agents which were put back from an old copy get none twice.
    pub fn give_sender_ids(
        &mut self,
        dir: &StateDir,
        group: &GroupState,
        count: usize,
    ) -> Result<Vec<Hex>, StateError> {
        if SequenceStore::is_given_away(dir, &group.name)? {
            let doubt = SequenceDoubt::Moved;
            return Err(StateError::SequenceInDoubt { group: group.name.clone(), doubt });
        }
        let witness = dir.witness_of_sender_ids(&group.name, &group.security.gid);
        let given = match sealed::read::<u32>(&witness) {
            Ok(given) => given,
            Err(SealedError::Missing | SealedError::Torn(_)) => 0,
            Err(SealedError::File(error)) => return Err(error.into()),
        };
        self.next_sender_number = self.next_sender_number.max(given);
        let ids = (0..count).map(|_| self.new_sender_id(&group.name)).collect::<Result<_, _>>()?;
        sealed::write(&witness, &self.next_sender_number)?;
        Ok(ids)
    }

    /// Under new keys, too, no Sender ID is given that was given before.
    pub(super) fn carry_sender_ids(&self, dir: &StateDir, group: &Name, gid: &Hex) -> Result<(), StateError> {
        Ok(sealed::write(&dir.witness_of_sender_ids(group, gid), &self.next_sender_number)?)
    }

    /// What is known of the agent with this name, enrolled or waiting.
    pub fn find(&self, name: &Name) -> Option<Waiting> {
        let enrolled = self.enrolled.iter().find(|agent| &agent.name == name).map(Waiting::from);
        enrolled.or_else(|| self.waiting.iter().find(|agent| &agent.name == name).cloned())
    }

    /// Whether an agent with this name is enrolled or waiting.
    pub fn has(&self, name: &Name) -> bool {
        self.find(name).is_some()
    }

    /// The labels of an agent, enrolled or waiting, to change them.
    pub fn labels_mut(&mut self, name: &Name) -> Option<&mut BTreeMap<String, String>> {
        let enrolled = self.enrolled.iter_mut().find(|agent| &agent.name == name);
        let waiting = self.waiting.iter_mut().find(|agent| &agent.name == name);
        enrolled.map(|agent| &mut agent.labels).or(waiting.map(|agent| &mut agent.labels))
    }

    /// Removes an agent; returns whether it was enrolled or waiting. Its Sender ID is never given again.
    pub fn remove(&mut self, name: &Name) -> bool {
        let before = self.enrolled.len() + self.waiting.len();
        self.enrolled.retain(|agent| &agent.name != name);
        self.waiting.retain(|agent| &agent.name != name);
        self.enrolled.len() + self.waiting.len() < before
    }

    /// Changes whenever the group's agents are written. `None` if there is no such group.
    pub fn fingerprint(dir: &StateDir, group: &Name) -> Result<Option<String>, StateError> {
        Ok(files::fingerprint(&dir.group(group).join("agents.json"))?)
    }

    /// Adds an agent, in place of any other with its name.
    pub fn enroll(&mut self, agent: Enrolled) {
        self.enrolled.retain(|other| other.name != agent.name);
        self.waiting.retain(|other| other.name != agent.name);
        self.enrolled.push(agent);
    }

    /// All agents as waiting, as after new keys.
    pub(super) fn all_waiting(self) -> Self {
        let mut waiting = self.waiting;
        waiting.extend(self.enrolled.iter().map(Waiting::from));
        waiting.sort_by(|one, other| one.name.cmp(&other.name));
        Self { waiting, ..Self::default() }
    }
}

impl From<&Enrolled> for Waiting {
    fn from(agent: &Enrolled) -> Self {
        Self {
            name: agent.name.clone(),
            vendor: agent.vendor,
            class: agent.class,
            words: agent.words.clone(),
            labels: agent.labels.clone(),
            settings: agent.settings.clone(),
        }
    }
}

/// A label: `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// A name.
    pub key: Name,
    /// 1 to 64 letters, digits, '.', '-' and '_'.
    pub value: String,
}

/// Why a text is not a [`Label`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelError {
    /// There is no '=' in it.
    NoValue,
    /// The key is not a valid name.
    Key,
    /// The value is empty, too long, or has other characters.
    Value,
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let (key, value) = text.split_once('=').ok_or(LabelError::NoValue)?;
        let key = Name::new(key).ok().filter(Name::is_plain).ok_or(LabelError::Key)?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if !(1..=64).contains(&value.len()) || !value.bytes().all(allowed) {
            return Err(LabelError::Value);
        }
        Ok(Self { key, value: value.to_owned() })
    }
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoValue => "a label is written key=value",
            Self::Key => "a label's key has 1 to 64 of the characters a-z, 0-9, '-' and '_'",
            Self::Value => "a label's value has 1 to 64 letters, digits, '.', '-' and '_'",
        })
    }
}

impl std::error::Error for LabelError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sender_ids_are_short_and_never_given_twice() {
        let group = Name::new("hall").unwrap();
        let mut agents = Agents::default();
        let mut given = std::collections::BTreeSet::from([Hex::from(DISTRIBUTOR_SENDER_ID)]);
        for number in 1..=70_000u32 {
            let id = agents.new_sender_id(&group).unwrap();
            let length = match number {
                ..256 => 1,
                256..65_536 => 2,
                _ => 3,
            };
            assert_eq!(id.as_bytes().len(), length);
            assert!(given.insert(id));
        }
        agents.next_sender_number = SENDER_NUMBER_MAX;
        assert_eq!(agents.new_sender_id(&group).unwrap().as_bytes(), [0xff; 3]);
        assert!(matches!(agents.new_sender_id(&group), Err(StateError::SenderIdsUsedUp(_))));
    }

    #[test]
    fn labels_are_harmless() {
        let label: Label = "ring=canary-1.0".parse().unwrap();
        assert_eq!((label.key.as_str(), label.value.as_str()), ("ring", "canary-1.0"));
        for (text, reason) in [
            ("ring", LabelError::NoValue),
            ("=x", LabelError::Key),
            ("a/b=x", LabelError::Key),
            ("ring=", LabelError::Value),
            ("ring=a b", LabelError::Value),
            ("ring=\u{1b}[2J", LabelError::Value),
        ] {
            assert_eq!(text.parse::<Label>(), Err(reason), "{text}");
        }
    }
}
