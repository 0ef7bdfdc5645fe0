//! A security group as the distributor knows it.

use std::net::SocketAddr;
use std::path::Path;

use group_oscore::{AeadAlgorithm, Credential, Gid, GroupParameters, MemberId};
use provisioning::{Hex, Name, Secret, address};
use rollout_engine::Parity;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use update_core::block::BlockSize;
use update_core::key_set::KeySet;

use super::{Agents, Enrolled, GroupLock, MachineId, ManagerState, SequenceStore, StateDir, StateError};
use crate::files::{self, Access, FileError};

/// The longest file of a group, in bytes: about 100,000 agents.
const GROUP_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A security group with its CoAP group, the distributor's identity in it, and the enrolled agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupState {
    /// Its name.
    pub name: Name,
    /// How to reach its members.
    pub profile: Profile,
    /// Its key material.
    pub security: Security,
    /// The distributor as a member of the group.
    pub distributor: Identity,
    /// The Group Manager's authentication credential, a CCS.
    pub gm_cred: Hex,
    /// The Ed25519 public key that signs key sets, 32 bytes.
    pub root_key: Hex,
    /// The key set signed by it.
    pub key_set: Hex,
    /// Who is enrolled, by ascending Sender ID. Kept in a separate file.
    #[serde(skip)]
    pub agents: Vec<Enrolled>,
}

/// How to reach a group's members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Address and port of the CoAP group.
    pub coap_group: SocketAddr,
    /// The network interface of this machine that sends multicast.
    pub interface: String,
    /// IPv4 time to live or IPv6 hop limit of multicast datagrams.
    pub hops: u8,
    /// How fast multicast is sent, in bits per second on the link, headers included (RFC 10020 section 3.6).
    pub rate_bits_per_second: u64,
    /// Bytes in an image block: 256, 512 or 1024.
    pub block_size: u16,
    /// How lost blocks are repaired.
    #[serde(default)]
    pub parity: Parity,
    /// The unicast address from which the distributor sends, and where agents reach it.
    pub distributor: SocketAddr,
    /// The unicast address of the Group Manager, if there is one to reach.
    pub manager: Option<SocketAddr>,
}

/// A group's key material.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// Group identifier: 2 to 8 random bytes.
    pub gid: Hex,
    /// OSCORE Master Secret.
    pub master_secret: Secret,
    /// OSCORE Master Salt.
    pub master_salt: Secret,
    /// COSE number of both the Group Encryption Algorithm and the AEAD Algorithm: 1, 10 or 24.
    pub aead: i32,
    /// Which generation of key material this is.
    pub num: u32,
}

/// A member of the group, with its private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its Sender ID.
    pub sender_id: Hex,
    /// Its Ed25519 private key (RFC 8032 section 5.1.5), 32 bytes.
    pub private_key: Secret,
    /// Its authentication credential, a CCS.
    pub cred: Hex,
}

impl Security {
    /// The Group Encryption Algorithm and AEAD Algorithm.
    pub fn algorithm(&self) -> Option<AeadAlgorithm> {
        AeadAlgorithm::from_cose(self.aead.into())
    }
}

impl GroupState {
    /// What this parity comes to for the agents enrolled. One whose device is not on record may have little
    /// memory.
    pub fn parity(&self, parity: Parity) -> Parity {
        let runs_linux =
            |agent: &Enrolled| agent.settings.as_ref().is_some_and(|settings| settings.mcu.is_none());
        parity.for_agents(!self.agents.is_empty() && self.agents.iter().all(runs_linux))
    }

    /// Reads a group and its enrolled agents, and checks every value once.
    pub fn open(dir: &StateDir, name: &Name) -> Result<Self, StateError> {
        let folder = dir.group(name);
        let path = folder.join("group.json");
        let mut group: Self = match read_json(&path) {
            Err(StateError::File(FileError::Missing(_))) => {
                return Err(StateError::NoGroup { name: name.clone(), folder: dir.state().into() });
            }
            other => other?,
        };
        group.check(name).map_err(|why| StateError::Damaged { path, why: why.to_owned() })?;
        group.agents = Agents::load(dir, name)?.enrolled;
        Ok(group)
    }

    /// Writes a new group with all its files, completely or not at all. With `replace`, a group of the same
    /// name is archived, and its agents wait to be enrolled again.
    ///
    /// # Errors
    /// [`StateError::GroupExists`] without `replace`; [`StateError::Locked`] while another process uses the
    /// old group.
    pub async fn create(
        &self,
        dir: &StateDir,
        manager: &ManagerState,
        machine: &MachineId,
        replace: bool,
    ) -> Result<Agents, StateError> {
        let _editing = GroupLock::to_edit(dir, &self.name).await?;
        let _sending = GroupLock::to_send(dir, &self.name)?;
        let folder = dir.group(&self.name);
        let taken = folder.exists();
        if taken && !replace {
            return Err(StateError::GroupExists(self.name.clone()));
        }
        let making = dir.group_in_making(&self.name);
        // A crash between the two renames below leaves the agents in the unfinished folder.
        let agents_in = if taken { &folder } else { &making };
        let agents = match Agents::read(agents_in) {
            Ok(agents) => agents.all_waiting(),
            Err(error) if taken => return Err(error),
            Err(_) => Agents::default(),
        };
        files::remove_folder(&making)?;
        files::make_folder(&making)?;
        write_json(&making.join("manager.json"), manager)?;
        write_json(&making.join("agents.json"), &agents)?;
        write_json(&making.join("group.json"), self)?;
        let gid = &self.security.gid;
        let witness = dir.witness_of(&self.name, gid);
        SequenceStore::create(making.join("sequence"), witness, &self.name, gid, machine)?;
        if taken {
            let archived = dir.archived(&self.name, &old_gid(&folder));
            if let Some(archive) = archived.parent() {
                files::make_folder(archive)?;
            }
            files::rename(&folder, &archived)?;
        }
        files::rename(&making, &folder)?;
        Ok(agents)
    }

    /// Writes the group without its agents; durable when it returns.
    pub fn save(&self, dir: &StateDir, lock: &GroupLock) -> Result<(), StateError> {
        write_json(&dir.group(lock.group()).join("group.json"), self)
    }

    /// Marks the group as restored, or as lying beside restored state: its keys never send again. The caller
    /// has the right to send for it, or its folder is one that nothing else uses yet.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn condemn_restored(&self, dir: &StateDir) -> Result<(), StateError> {
        let gid = &self.security.gid;
        let main = dir.group(&self.name).join("sequence");
        SequenceStore::write_restored(&main, &dir.witness_of(&self.name, gid), &self.name, gid)
    }

    /// Whether the group was used to send in a later epoch of the database than this one.
    ///
    /// # Errors
    /// Its counters cannot be read.
    pub fn used_after(&self, dir: &StateDir, epoch: u64) -> Result<bool, StateError> {
        let main = dir.group(&self.name).join("sequence");
        SequenceStore::used_after(&main, &dir.witness_of(&self.name, &self.security.gid), epoch)
    }

    /// Changes whenever one of the group's files is written that its Group Manager depends on. `None` if
    /// there is no such group.
    ///
    /// # Errors
    /// A file cannot be looked at.
    pub fn fingerprint(dir: &StateDir, group: &Name) -> Result<Option<String>, StateError> {
        let folder = dir.group(group);
        let of = |file: &str| files::fingerprint(&folder.join(file));
        Ok(match (of("group.json")?, of("agents.json")?) {
            (Some(group), Some(agents)) => Some(format!("{group} {agents}")),
            _ => None,
        })
    }

    /// The group identifier.
    pub fn gid(&self) -> Gid {
        // Its length was checked when the group was opened.
        Gid::new(self.security.gid.as_bytes()).unwrap_or(Gid::EMPTY)
    }

    /// What the group's Common Context is derived from (RFC 10021 section 2.1).
    ///
    /// # Errors
    /// [`StateError::Damaged`], but never for a group that was opened or created.
    pub fn parameters(&self) -> Result<GroupParameters<'_>, StateError> {
        let algorithm = self.security.algorithm().ok_or_else(|| self.spoiled())?;
        Ok(GroupParameters {
            gid: self.gid(),
            master_secret: self.security.master_secret.expose(),
            master_salt: self.security.master_salt.expose(),
            aead: algorithm,
            group_encryption: algorithm,
            gm_credential: Credential::from_ccs(self.gm_cred.as_bytes()).map_err(|_| self.spoiled())?,
        })
    }

    /// The distributor's Sender ID, private key and credential. The caller keeps the key out of logs.
    ///
    /// # Errors
    /// As [`Self::parameters`].
    pub fn distributor(&self) -> Result<(MemberId, &[u8; 32], Credential), StateError> {
        let own = &self.distributor;
        let id = MemberId::new(own.sender_id.as_bytes()).ok_or_else(|| self.spoiled())?;
        let seed = own.private_key.expose().try_into().map_err(|_| self.spoiled())?;
        let credential = Credential::from_ccs(own.cred.as_bytes()).map_err(|_| self.spoiled())?;
        Ok((id, seed, credential))
    }

    /// The Ed25519 public key that signs key sets.
    ///
    /// # Errors
    /// As [`Self::parameters`].
    pub fn root_key(&self) -> Result<[u8; 32], StateError> {
        self.root_key.as_bytes().try_into().map_err(|_| self.spoiled())
    }

    /// The image keys that this group's agents trust.
    ///
    /// # Errors
    /// As [`Self::parameters`].
    pub fn key_set(&self) -> Result<KeySet, StateError> {
        KeySet::verify(self.key_set.as_bytes(), &self.root_key()?).map_err(|_| self.spoiled())
    }

    /// The size of image blocks.
    ///
    /// # Errors
    /// As [`Self::parameters`].
    pub fn block_size(&self) -> Result<BlockSize, StateError> {
        BlockSize::new(self.profile.block_size.into()).ok_or_else(|| self.spoiled())
    }

    /// The enrolled agent with this Sender ID.
    pub fn agent_by_sender_id(&self, id: MemberId) -> Option<&Enrolled> {
        self.agents.iter().find(|agent| agent.sender_id.as_bytes() == id.as_bytes())
    }

    /// Only a caller that fills the public fields by hand can reach this.
    fn spoiled(&self) -> StateError {
        StateError::Damaged {
            path: format!("group '{}'", self.name).into(),
            why: "a value in it was never checked".to_owned(),
        }
    }

    /// The first error in a group file.
    fn check(&self, name: &Name) -> Result<(), &'static str> {
        let is = |condition: bool, why| if condition { Ok(()) } else { Err(why) };
        let profile = &self.profile;
        is(&self.name == name, "it belongs to a group with another name")?;
        is(address::coap_group(profile.coap_group).is_ok(), "its CoAP group is not a multicast address")?;
        is(address::peer(profile.distributor).is_ok(), "its distributor's address is not a unicast address")?;
        is(
            address::same_family(profile.coap_group, profile.distributor),
            "it mixes IPv4 and IPv6 addresses",
        )?;
        is(profile.hops > 0, "its hops are 0")?;
        is(profile.rate_bits_per_second > 0, "its rate is 0")?;
        is(BlockSize::new(profile.block_size.into()).is_some(), "its block size is not a valid one")?;
        let gid = self.security.gid.as_bytes();
        is((2..=8).contains(&gid.len()), "its Gid is not 2 to 8 bytes long")?;
        is(AeadAlgorithm::from_cose(self.security.aead.into()).is_some(), "its algorithm is unknown")?;
        let member = &self.distributor;
        is(MemberId::new(member.sender_id.as_bytes()).is_some(), "the distributor's Sender ID is too long")?;
        is(member.private_key.expose().len() == 32, "the distributor's key is not 32 bytes long")?;
        is(
            Credential::from_ccs(member.cred.as_bytes()).is_ok(),
            "the distributor's credential is not a valid one",
        )?;
        is(
            Credential::from_ccs(self.gm_cred.as_bytes()).is_ok(),
            "the Group Manager's credential is not a valid one",
        )?;
        let root: Option<[u8; 32]> = self.root_key.as_bytes().try_into().ok();
        let root = root.ok_or("its root key is not 32 bytes long")?;
        is(
            KeySet::verify(self.key_set.as_bytes(), &root).is_ok(),
            "its key set was not signed by its root key",
        )
    }
}

/// Reads a JSON file of a group.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, StateError> {
    let bytes = zeroize::Zeroizing::new(files::read_secret(path, GROUP_FILE_BYTES_MAX)?);
    serde_json::from_slice(&bytes).map_err(|error| StateError::Damaged {
        path: path.into(),
        why: format!("line {}, column {}", error.line(), error.column()),
    })
}

/// Writes a JSON file of a group, readable by its owner only.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), StateError> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| FileError::System {
        verb: "write",
        path: path.into(),
        source: error.into(),
    })?;
    let text = zeroize::Zeroizing::new(text);
    Ok(files::replace(path, &text, Access::Secret)?)
}

/// The Gid of a group, for its name in the archive. A damaged group can be archived too.
fn old_gid(folder: &Path) -> Hex {
    let old: Result<GroupState, _> = read_json(&folder.join("group.json"));
    match old {
        Ok(group) => group.security.gid,
        Err(_) => {
            let mut random = [0; 8];
            let _ = getrandom::fill(&mut random);
            Hex::from(random)
        }
    }
}
