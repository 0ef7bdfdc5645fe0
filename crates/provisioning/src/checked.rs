//! A provisioning document after its one check: values that the protocol crates use directly.

use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use group_manager::{Enrollment, Identity, Material, Place};
use group_oscore::limits::SEQUENCE_NUMBER_MAX;
use group_oscore::oscore::Parameters;
use group_oscore::{
    AeadAlgorithm, CommonContext, Credential, DeriveError, Gid, GroupParameters, MemberId, SenderContext,
    SequenceNumbers,
};
use update_core::block::BlockSize;
use update_core::key_set::KeySet;
use update_core::limits::GROUP_BLOCK_BYTES_MIN;
use zeroize::Zeroizing;

use crate::address;
use crate::bytes::{Hex, Secret};
use crate::document::{
    CRED_FMT_CCS, Distributor, ECDH_SS_HKDF_256, ED25519_PARAMETERS, HKDF_SHA_256, KeyMap, Manager,
    Provisioning, SIGN_EDDSA, VERSION, X25519_PARAMETERS,
};
use crate::error::ProvisioningError;
use crate::name::Name;

/// Shortest Master Secret: the security level of the algorithms (RFC 10021 section 2.1.5).
const MASTER_SECRET_BYTES_MIN: usize = 16;
/// Longest Sender ID that `fwcast` assigns, in bytes.
const SENDER_ID_BYTES_MAX: usize = 3;

/// A [`Provisioning`] in which every value has been checked. `Debug` shows no secret.
#[derive(Clone)]
pub struct Checked {
    /// The agent's name.
    pub name: Name,
    /// SUIT vendor identifier.
    pub vendor: [u8; 16],
    /// SUIT class identifier.
    pub class: [u8; 16],
    /// Name of the security group.
    pub group: Name,
    /// Generation of the key material.
    pub num: u32,
    /// Group identifier.
    pub gid: Gid,
    /// AEAD Algorithm, for pairwise mode.
    pub aead: AeadAlgorithm,
    /// Group Encryption Algorithm, for group mode.
    pub group_encryption: AeadAlgorithm,
    /// The agent's Sender ID.
    pub sender_id: MemberId,
    /// The agent's own credential.
    pub credential: Credential,
    /// The Group Manager's credential.
    pub gm_credential: Credential,
    /// The distributor, which may offer, send and activate.
    pub distributor: CheckedDistributor,
    /// The Ed25519 public key that signs key sets.
    pub root_key: [u8; 32],
    /// The verified key set.
    pub key_set: KeySet,
    /// The key set as it was signed, for storage.
    pub signed_key_set: Vec<u8>,
    /// Address and port of the CoAP group.
    pub coap_group: SocketAddr,
    /// Size of image blocks.
    pub block_size: BlockSize,
    /// The individual OSCORE context with the Group Manager.
    pub manager: CheckedManager,
    master_secret: Secret,
    master_salt: Secret,
    seed: Zeroizing<[u8; 32]>,
}

/// The distributor as an agent knows it.
#[derive(Debug, Clone)]
pub struct CheckedDistributor {
    /// Its Sender ID.
    pub sender_id: MemberId,
    /// Its credential.
    pub credential: Credential,
    /// Its unicast address.
    pub address: SocketAddr,
    /// Its next Sender Sequence Number when the agent was enrolled.
    pub next: u64,
}

/// The individual OSCORE context (RFC 8613) with the Group Manager.
#[derive(Debug, Clone)]
pub struct CheckedManager {
    /// The Group Manager's unicast address, if there is one.
    pub address: Option<SocketAddr>,
    /// OSCORE Master Secret.
    pub master_secret: Secret,
    /// OSCORE Master Salt.
    pub master_salt: Secret,
    /// AEAD Algorithm.
    pub aead: AeadAlgorithm,
    /// The agent's Sender ID.
    pub sender_id: MemberId,
    /// The Group Manager's Sender ID.
    pub recipient_id: MemberId,
}

impl Checked {
    /// The parameters that the group's Common Context is derived from (RFC 10021 section 2.1).
    pub fn group_parameters(&self) -> GroupParameters<'_> {
        GroupParameters {
            gid: self.gid,
            master_secret: self.master_secret.expose(),
            master_salt: self.master_salt.expose(),
            aead: self.aead,
            group_encryption: self.group_encryption,
            gm_credential: self.gm_credential.clone(),
        }
    }

    /// What a member of the group needs to know of it.
    pub fn enrollment(&self) -> Enrollment<'_> {
        let (individual, distributor) = (&self.manager, &self.distributor);
        Enrollment {
            keys: Material {
                num: self.num,
                gid: self.gid,
                master_secret: self.master_secret.expose(),
                master_salt: self.master_salt.expose(),
                aead: self.aead,
                group_encryption: self.group_encryption,
                sender_id: self.sender_id,
                distributor: distributor.sender_id,
                credential: distributor.credential.as_bytes(),
                place: Place {
                    coap_group: self.coap_group,
                    distributor: distributor.address,
                    next: distributor.next,
                },
                stale: Default::default(),
            },
            individual: Parameters {
                master_secret: individual.master_secret.expose(),
                master_salt: individual.master_salt.expose(),
                id_context: None,
                sender_id: individual.sender_id,
                recipient_id: individual.recipient_id,
                aead: individual.aead,
            },
            manager: individual.address,
            group: self.group.as_str(),
            node: self.name.as_str(),
        }
    }

    /// Who the agent is in any group.
    pub fn identity(&self) -> Identity {
        Identity {
            private_key: self.seed.clone(),
            credential: self.credential.clone(),
            manager: self.gm_credential.clone(),
        }
    }

    /// The agent's own Ed25519 private key. The caller keeps it out of logs and errors.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked")
            .field("name", &self.name)
            .field("group", &self.group)
            .field("gid", &self.gid)
            .field("num", &self.num)
            .field("sender_id", &self.sender_id)
            .field("coap_group", &self.coap_group)
            .field("distributor", &self.distributor)
            .field("block_size", &self.block_size)
            .finish_non_exhaustive()
    }
}

impl Provisioning {
    /// Parses the document once into values that need no further checks.
    ///
    /// # Errors
    /// The first problem, in the order of the document's keys.
    pub fn check(&self) -> Result<Checked, ProvisioningError> {
        ensure(self.version == VERSION, ProvisioningError::Version)?;
        let coap_group = address::coap_group(self.coap_group).map_err(ProvisioningError::CoapGroup)?;
        let block_size = Some(self.block_size)
            .filter(|bytes| u32::from(*bytes) >= GROUP_BLOCK_BYTES_MIN)
            .and_then(|bytes| BlockSize::new(bytes.into()))
            .ok_or(ProvisioningError::BlockSize)?;
        let (aead, group_encryption) = self.key.check_algorithms()?;
        let gid =
            member_bytes(&self.key.context_id, 2..=8).and_then(Gid::new).ok_or(ProvisioningError::Gid)?;
        let sender_id = group_member_id(&self.key.group_sender_id).ok_or(ProvisioningError::SenderId)?;
        let seed: [u8; 32] =
            self.private_key.expose().try_into().map_err(|_| ProvisioningError::PrivateKey)?;
        let seed = Zeroizing::new(seed);
        let credential = parse(&self.cred, ProvisioningError::Credential)?;
        let gm_credential = parse(&self.kdc_cred, ProvisioningError::ManagerCredential)?;
        let distributor = self.distributor.check(coap_group, sender_id, &credential)?;
        let root_key: [u8; 32] =
            self.root_key.as_bytes().try_into().map_err(|_| ProvisioningError::RootKey)?;
        let key_set =
            KeySet::verify(self.key_set.as_bytes(), &root_key).map_err(ProvisioningError::KeySet)?;
        let checked = Checked {
            name: self.name.clone(),
            vendor: self.vendor.into_bytes(),
            class: self.class.into_bytes(),
            group: self.group.clone(),
            num: self.num,
            gid,
            aead,
            group_encryption,
            sender_id,
            credential,
            gm_credential,
            distributor,
            root_key,
            key_set,
            signed_key_set: self.key_set.0.clone(),
            coap_group,
            block_size,
            manager: self.manager.check()?,
            master_secret: self.key.ms.clone(),
            master_salt: self.key.salt.clone(),
            seed,
        };
        checked.derives()?;
        Ok(checked)
    }
}

impl Checked {
    /// Checks that the group's context can be derived: the private key belongs to the credential, and no ID
    /// is too long.
    fn derives(&self) -> Result<(), ProvisioningError> {
        let common =
            CommonContext::derive(&self.group_parameters()).map_err(|_| ProvisioningError::MasterSecret)?;
        let numbers = SequenceNumbers::new(0, 0);
        let credential = self.credential.clone();
        let derived = SenderContext::derive(&common, self.sender_id, credential, &self.seed, numbers);
        derived.map(drop).map_err(|error| match error {
            DeriveError::MemberIdTooLong => ProvisioningError::SenderId,
            DeriveError::EqualIds => ProvisioningError::DistributorSenderId,
            DeriveError::EmptyMasterSecret => ProvisioningError::MasterSecret,
            DeriveError::InvalidPublicKey => ProvisioningError::Credential,
            DeriveError::PrivateKeyMismatch => ProvisioningError::PrivateKeyMismatch,
        })
    }
}

impl KeyMap {
    /// AEAD Algorithm and Group Encryption Algorithm, if fwcast supports all the algorithms.
    fn check_algorithms(&self) -> Result<(AeadAlgorithm, AeadAlgorithm), ProvisioningError> {
        let long_enough = self.ms.expose().len() >= MASTER_SECRET_BYTES_MIN;
        ensure(long_enough, ProvisioningError::MasterSecret)?;
        ensure(self.hkdf == HKDF_SHA_256, ProvisioningError::Hkdf)?;
        let aead = AeadAlgorithm::from_cose(self.alg.into()).ok_or(ProvisioningError::Aead)?;
        ensure(self.cred_fmt == CRED_FMT_CCS, ProvisioningError::CredentialFormat)?;
        let group_encryption =
            AeadAlgorithm::from_cose(self.gp_enc_alg.into()).ok_or(ProvisioningError::GroupEncryption)?;
        let is_eddsa = self.sign_alg == SIGN_EDDSA && self.sign_params == ED25519_PARAMETERS;
        ensure(is_eddsa, ProvisioningError::Signature)?;
        let is_ecdh_ss = self.ecdh_alg == ECDH_SS_HKDF_256 && self.ecdh_params == X25519_PARAMETERS;
        ensure(is_ecdh_ss, ProvisioningError::KeyAgreement)?;
        Ok((aead, group_encryption))
    }
}

impl Distributor {
    fn check(
        &self,
        coap_group: SocketAddr,
        own_id: MemberId,
        own_credential: &Credential,
    ) -> Result<CheckedDistributor, ProvisioningError> {
        let sender_id = group_member_id(&self.sender_id)
            .filter(|id| *id != own_id)
            .ok_or(ProvisioningError::DistributorSenderId)?;
        let credential = parse(&self.cred, ProvisioningError::DistributorCredential)?;
        let differs = credential.public_key() != own_credential.public_key();
        ensure(differs, ProvisioningError::DistributorCredential)?;
        let address = address::peer(self.address).map_err(ProvisioningError::DistributorAddress)?;
        ensure(address::same_family(address, coap_group), ProvisioningError::AddressFamilies)?;
        let next = self.next;
        ensure(next <= SEQUENCE_NUMBER_MAX, ProvisioningError::DistributorNext)?;
        Ok(CheckedDistributor { sender_id, credential, address, next })
    }
}

impl Manager {
    fn check(&self) -> Result<CheckedManager, ProvisioningError> {
        let address = self.address.map(address::peer).transpose();
        let address = address.map_err(ProvisioningError::ManagerAddress)?;
        let long_enough = self.ms.expose().len() >= MASTER_SECRET_BYTES_MIN;
        ensure(long_enough, ProvisioningError::ManagerMasterSecret)?;
        let aead = AeadAlgorithm::from_cose(self.alg.into()).ok_or(ProvisioningError::ManagerAead)?;
        let id = |bytes: &Hex| {
            // RFC 8613 section 3.3: the nonce length minus 6 bytes.
            member_bytes(bytes, 0..=aead.nonce_length() - 6).and_then(MemberId::new)
        };
        let ids = id(&self.sender_id).zip(id(&self.recipient_id));
        let (sender_id, recipient_id) =
            ids.filter(|(own, peer)| own != peer).ok_or(ProvisioningError::ManagerIds)?;
        Ok(CheckedManager {
            address,
            master_secret: self.ms.clone(),
            master_salt: self.salt.clone(),
            aead,
            sender_id,
            recipient_id,
        })
    }
}

fn ensure(holds: bool, error: ProvisioningError) -> Result<(), ProvisioningError> {
    if holds { Ok(()) } else { Err(error) }
}

fn member_bytes(bytes: &Hex, lengths: core::ops::RangeInclusive<usize>) -> Option<&[u8]> {
    Some(bytes.as_bytes()).filter(|bytes| lengths.contains(&bytes.len()))
}

fn group_member_id(bytes: &Hex) -> Option<MemberId> {
    member_bytes(bytes, 1..=SENDER_ID_BYTES_MAX).and_then(MemberId::new)
}

/// A CCS with an Ed25519 key that is not of small order.
fn parse(bytes: &Hex, error: ProvisioningError) -> Result<Credential, ProvisioningError> {
    let credential = Credential::from_ccs(bytes.as_bytes()).map_err(|_| error)?;
    // The key set knows which Ed25519 keys are valid.
    KeySet::new(0, &[*credential.public_key()]).map_err(|_| error)?;
    Ok(credential)
}
