//! Enrolling an agent: its keys, its entry in the group, and its file.

use std::collections::BTreeMap;

use provisioning::cbor::McuSettings;
use provisioning::{
    AgentFile, CRED_FMT_CCS, Distributor, ECDH_SS_HKDF_256, ED25519_PARAMETERS, HKDF_SHA_256, Hex, KeyMap,
    Manager, Name, Provisioning, SIGN_EDDSA, Secret, VERSION, X25519_PARAMETERS, yaml,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use fwcast_state::files::FileError;
use fwcast_state::keys::{self, KeyError};
use fwcast_state::new_group::{credential, random_master_salt, random_master_secret};
use fwcast_state::{
    Agents, DeviceSettings, Enrolled, GroupLock, GroupState, IndividualContext, ManagerState, SequenceStore,
    StateDir, StateError, Words,
};

/// An operator's settings for an agent.
pub struct Request {
    /// Its name.
    pub name: Name,
    /// SUIT vendor and class identifiers.
    pub identifiers: (Uuid, Uuid),
    /// The words that the operator wrote for them.
    pub words: Words,
    /// The operator's labels for it.
    pub labels: BTreeMap<String, String>,
    /// What else its file says. For a microcontroller it is CBOR for its flash instead of YAML.
    pub settings: DeviceSettings,
    /// What people read at the beginning of its file; nothing for a microcontroller.
    pub remark: Option<String>,
}

/// An enrolled agent, with the content of its file.
pub struct Done {
    /// The agent as the group knows it.
    pub enrolled: Enrolled,
    /// The content of its file, with its secrets.
    pub content: Zeroizing<Vec<u8>>,
}

/// Why an agent was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The group's files.
    #[error(transparent)]
    State(#[from] StateError),
    /// A fresh key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The system gives no random bytes.
    #[error("the system returned no random bytes ({0}): try again")]
    Random(getrandom::Error),
    /// The agent would not read what was intended.
    #[error(
        "the agent's file would be unusable, so nothing was enrolled: {0}; check the group with `fwcast \
         group show`"
    )]
    Unusable(String),
}

/// Adds agents to their group, each with a new key pair and a Sender ID that was never used. The group's
/// record is durable before the contents are returned.
pub fn enroll(
    dir: &StateDir,
    lock: &GroupLock,
    agents: Agents,
    requests: Vec<Request>,
) -> Result<Vec<Done>, EnrollError> {
    enroll_writing(dir, lock, agents, requests, |_| Ok(()))
}

/// As [`enroll`], and hands the contents to `write` before the group's record is written.
pub(super) fn enroll_writing(
    dir: &StateDir,
    lock: &GroupLock,
    mut agents: Agents,
    requests: Vec<Request>,
    write: impl FnOnce(&[Done]) -> Result<(), FileError>,
) -> Result<Vec<Done>, EnrollError> {
    let group = GroupState::open(dir, lock.group())?;
    let mut manager = ManagerState::load(dir, lock.group())?;
    let sender_ids = agents.give_sender_ids(dir, &group, requests.len())?;
    let next = SequenceStore::next_to_reserve(dir, &group)?;
    let mut all = Vec::with_capacity(requests.len());
    for (request, sender_id) in requests.into_iter().zip(sender_ids) {
        let (done, context) = prepare(&group, &manager, request, sender_id, next)?;
        // A new device may have the name of an evicted one, which does not come back then.
        manager.evicted.remove(&done.enrolled.name);
        manager.members.remove(&done.enrolled.name);
        manager.contexts.insert(done.enrolled.name.clone(), context);
        agents.enroll(done.enrolled.clone());
        all.push(done);
    }
    write(&all)?;
    manager.save(dir, lock)?;
    agents.save(dir, lock)?;
    Ok(all)
}

/// The keys of one agent, its entry in the group, and its file. `next` is the distributor's next Sender
/// Sequence Number.
fn prepare(
    group: &GroupState,
    manager: &ManagerState,
    request: Request,
    sender_id: Hex,
    next: u64,
) -> Result<(Done, IndividualContext), EnrollError> {
    let key = keys::random_key()?;
    let (vendor, class) = request.identifiers;
    let enrolled = Enrolled {
        name: request.name,
        sender_id,
        credential: credential(&key),
        vendor,
        class,
        words: request.words,
        labels: request.labels,
        settings: Some(request.settings.clone()),
        enrolled_at: Some(jiff::Timestamp::now()),
    };
    let context = individual_context(group, manager)?;
    let private_key = Secret::new(key.to_bytes().to_vec());
    let file = AgentFile {
        provisioning: provisioning(group, &enrolled, private_key, &context, next),
        linux: request.settings.linux,
    };
    let text = checked_text(&file)?;
    let content = match &request.settings.mcu {
        Some(settings) => flash_area(&file.provisioning, settings)?,
        None => {
            let remark = request.remark.map(|remark| format!("# {remark}\n")).unwrap_or_default();
            Zeroizing::new([remark.as_bytes(), text.as_bytes()].concat())
        }
    };
    Ok((Done { enrolled, content }, context))
}

fn individual_context(group: &GroupState, manager: &ManagerState) -> Result<IndividualContext, StateError> {
    Ok(IndividualContext {
        master_secret: random_master_secret()?,
        master_salt: random_master_salt()?,
        aead: group.security.aead,
        agent_id: manager.new_agent_id()?,
        manager_id: Hex::default(),
    })
}

fn provisioning(
    group: &GroupState,
    agent: &Enrolled,
    private_key: Secret,
    context: &IndividualContext,
    next: u64,
) -> Provisioning {
    let parameters = |lists: [&[i32]; 2]| lists.iter().map(|list| list.to_vec()).collect();
    Provisioning {
        version: VERSION,
        name: agent.name.clone(),
        vendor: agent.vendor,
        class: agent.class,
        group: group.name.clone(),
        coap_group: group.profile.coap_group,
        block_size: group.profile.block_size,
        key: KeyMap {
            ms: group.security.master_secret.clone(),
            hkdf: HKDF_SHA_256,
            alg: group.security.aead,
            salt: group.security.master_salt.clone(),
            context_id: group.security.gid.clone(),
            group_sender_id: agent.sender_id.clone(),
            cred_fmt: CRED_FMT_CCS,
            gp_enc_alg: group.security.aead,
            sign_alg: SIGN_EDDSA,
            sign_params: parameters(ED25519_PARAMETERS),
            ecdh_alg: ECDH_SS_HKDF_256,
            ecdh_params: parameters(X25519_PARAMETERS),
        },
        num: group.security.num,
        private_key,
        cred: agent.credential.clone(),
        kdc_cred: group.gm_cred.clone(),
        distributor: Distributor {
            sender_id: group.distributor.sender_id.clone(),
            cred: group.distributor.cred.clone(),
            address: group.profile.distributor,
            next,
        },
        root_key: group.root_key.clone(),
        key_set: group.key_set.clone(),
        manager: Manager {
            address: group.profile.manager,
            ms: context.master_secret.clone(),
            salt: context.master_salt.clone(),
            alg: context.aead,
            sender_id: context.agent_id.clone(),
            recipient_id: context.manager_id.clone(),
        },
    }
}

/// The content of a microcontroller's provisioning area.
fn flash_area(
    provisioning: &Provisioning,
    settings: &McuSettings,
) -> Result<Zeroizing<Vec<u8>>, EnrollError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(EnrollError::Random)?;
    provisioning.to_flash(settings, &seed).ok_or_else(|| unusable(&"it does not fit the flash's form"))
}

/// The file as text, after the agent's own code has read and checked it.
fn checked_text(file: &AgentFile) -> Result<Zeroizing<String>, EnrollError> {
    let text = Zeroizing::new(yaml::to_string(file).map_err(|error| unusable(&error))?);
    let read: AgentFile = yaml::from_str(&text).map_err(|error| unusable(&error))?;
    read.provisioning.check().map_err(|error| unusable(&error))?;
    if read != *file {
        return Err(unusable(&"it does not read back as it was written"));
    }
    Ok(text)
}

fn unusable(why: &dyn std::fmt::Display) -> EnrollError {
    EnrollError::Unusable(why.to_string())
}
