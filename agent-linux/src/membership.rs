//! The keys in force: those of the provisioning, or newer ones that the Group Manager gave.

use group_manager::{Identity, Material, Member, MemberConfig, MembershipRecord, Place};
use group_oscore::Gid;
use group_oscore::oscore::{Association, Parameters};
use provisioning::Checked;
use update_core::platform::Record;
use update_core::time::Instant;
use zeroize::Zeroizing;

use crate::config::{Config, shown};
use crate::failure::Failure;
use crate::file_store::record_name;
use crate::linux_platform::LinuxPlatform;

/// The saved record of what the Group Manager gave last.
#[derive(Debug, Default)]
pub struct Membership {
    record: Option<Vec<u8>>,
}

impl Membership {
    /// Reads the record. One that belongs to an earlier enrolment counts as none.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn load(config: &Config, platform: &LinuxPlatform) -> Result<Self, Failure> {
        let path = config.state_directory.join(record_name(Record::Membership));
        let record = platform
            .load(Record::Membership)
            .map_err(|error| Failure::error(format!("cannot read {}: {error}", shown(&path))))?;
        let Some(bytes) = record else { return Ok(Self { record: None }) };
        let damaged = || {
            Failure::not_allowed(format!(
                "{} is damaged, and without it the keys of the group are not known: enroll this agent again",
                shown(&path)
            ))
        };
        let read = MembershipRecord::decode(&bytes).map_err(|_| damaged())?;
        read.material().map_err(|_| damaged())?;
        let is_current = read.individual == config.provisioning.manager.sender_id;
        Ok(Self { record: is_current.then_some(bytes) })
    }

    fn read(&self) -> Option<MembershipRecord<'_>> {
        self.record.as_deref().and_then(|bytes| MembershipRecord::decode(bytes).ok())
    }

    /// The Gid whose counters were in use before these keys, if they came from the Group Manager.
    #[must_use]
    pub fn before(&self) -> Option<Gid> {
        self.read().map(|record| record.before)
    }

    /// The keys in force.
    #[must_use]
    pub fn material<'a>(&'a self, given: &'a Checked) -> Material<'a> {
        let saved = self.read().and_then(|record| record.material().ok());
        saved.filter(|material| material.num > given.num).unwrap_or_else(|| provisioned(given))
    }
}

/// The keys that the agent was enrolled with.
fn provisioned(given: &Checked) -> Material<'_> {
    let keys = given.group_parameters();
    Material {
        num: given.num,
        gid: keys.gid,
        master_secret: keys.master_secret,
        master_salt: keys.master_salt,
        aead: keys.aead,
        group_encryption: keys.group_encryption,
        sender_id: given.sender_id,
        distributor: given.distributor.sender_id,
        credential: given.distributor.credential.as_bytes(),
        place: Place {
            coap_group: given.coap_group,
            distributor: given.distributor.address,
            next: given.distributor.next,
        },
        stale: Default::default(),
    }
}

/// Who this device is in any group.
#[must_use]
pub fn identity(given: &Checked) -> Identity {
    Identity {
        private_key: Zeroizing::new(*given.seed()),
        credential: given.credential.clone(),
        manager: given.gm_credential.clone(),
    }
}

/// The agent's side of the Group Manager; `None` if there is none to reach.
///
/// # Errors
/// The individual context cannot be derived.
pub fn member(given: &Checked, in_force: &Material<'_>, seed: u64) -> Result<Option<Member>, Failure> {
    let Some(address) = given.manager.address else { return Ok(None) };
    let individual = &given.manager;
    let association = Association::new(&Parameters {
        master_secret: individual.master_secret.expose(),
        master_salt: individual.master_salt.expose(),
        id_context: None,
        sender_id: individual.sender_id,
        recipient_id: individual.recipient_id,
        aead: individual.aead,
    })
    .map_err(|error| Failure::usage(format!("the individual context cannot be derived: {error}")))?;
    let (Ok(group), Ok(node)) = (given.group.as_str().try_into(), given.name.as_str().try_into()) else {
        // Names are at most 64 characters long.
        return Ok(None);
    };
    let individual = individual.sender_id;
    let config =
        MemberConfig { manager: address, group, node, individual, in_force: (in_force.gid, in_force.num) };
    Ok(Some(Member::new(config, association, seed, Instant::default())))
}
