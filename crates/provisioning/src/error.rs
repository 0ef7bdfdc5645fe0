//! Why a provisioning document is refused.

use core::fmt;

use update_core::key_set::KeySetError;

use crate::address::AddressError;

/// Why [`Provisioning::check`](crate::Provisioning::check) refuses a document. It names the key in the file,
/// never its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvisioningError {
    /// The version of the document is not [`VERSION`](crate::VERSION).
    Version,
    /// The CoAP group's address is invalid.
    CoapGroup(AddressError),
    /// The block size is not 256, 512 or 1024.
    BlockSize,
    /// The Master Secret of the group is shorter than 16 bytes.
    MasterSecret,
    /// The HKDF Algorithm is not 5.
    Hkdf,
    /// The AEAD Algorithm is not 1, 10 or 24.
    Aead,
    /// The Gid does not have 2 to 8 bytes.
    Gid,
    /// The Sender ID does not have 1 to 3 bytes.
    SenderId,
    /// The credential format is not CCS.
    CredentialFormat,
    /// The Group Encryption Algorithm is not 1, 10 or 24.
    GroupEncryption,
    /// The Signature Algorithm is not EdDSA with Ed25519.
    Signature,
    /// The Pairwise Key Agreement Algorithm is not ECDH-SS + HKDF-256 with X25519.
    KeyAgreement,
    /// The private key does not have 32 bytes.
    PrivateKey,
    /// The agent's credential is not a CCS with a valid Ed25519 key.
    Credential,
    /// The private key does not belong to the credential.
    PrivateKeyMismatch,
    /// The Group Manager's credential is not a CCS with an Ed25519 key.
    ManagerCredential,
    /// The distributor's Sender ID does not have 1 to 3 bytes, or is the agent's.
    DistributorSenderId,
    /// The distributor's credential is not a CCS with a valid Ed25519 key, or has the agent's key.
    DistributorCredential,
    /// The distributor's address is invalid.
    DistributorAddress(AddressError),
    /// The distributor's next number is above the highest one.
    DistributorNext,
    /// CoAP group and distributor belong to different address families.
    AddressFamilies,
    /// The root key does not have 32 bytes.
    RootKey,
    /// The key set is not one that the root key signed.
    KeySet(KeySetError),
    /// The Group Manager's address is invalid.
    ManagerAddress(AddressError),
    /// The Master Secret of the individual context is shorter than 16 bytes.
    ManagerMasterSecret,
    /// The AEAD Algorithm of the individual context is not 1, 10 or 24.
    ManagerAead,
    /// An ID of the individual context is too long for the algorithm, or both IDs are the same.
    ManagerIds,
}

impl fmt::Display for ProvisioningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Version => "version is not 1; this file was written for another version of fwcast",
            Self::CoapGroup(error) => return write!(f, "coap_group: {error}"),
            Self::BlockSize => "block_size must be 256, 512 or 1024",
            Self::MasterSecret => "key.ms must have at least 16 bytes",
            Self::Hkdf => "key.hkdf must be 5 (HMAC 256/256)",
            Self::Aead => "key.alg must be 1, 10 or 24",
            Self::Gid => "key.contextId must have 2 to 8 bytes",
            Self::SenderId => "key.group_SenderId must have 1 to 3 bytes",
            Self::CredentialFormat => "key.cred_fmt must be 14 (CCS)",
            Self::GroupEncryption => "key.gp_enc_alg must be 1, 10 or 24",
            Self::Signature => {
                "key.sign_alg and key.sign_params must be those of Ed25519: -8 and [[1], [1, 6]]"
            }
            Self::KeyAgreement => {
                "key.ecdh_alg and key.ecdh_params must be those of X25519: -27 and [[1], [1, 4]]"
            }
            Self::PrivateKey => "private_key must have 32 bytes",
            Self::Credential => "cred must be a CCS with an Ed25519 key",
            Self::PrivateKeyMismatch => "private_key and cred do not belong together",
            Self::ManagerCredential => "kdc_cred must be a CCS with an Ed25519 key",
            Self::DistributorSenderId => {
                "distributor.sender_id must have 1 to 3 bytes and differ from the agent's own"
            }
            Self::DistributorCredential => {
                "distributor.cred must be a CCS with an Ed25519 key that is not the agent's own"
            }
            Self::DistributorAddress(error) => return write!(f, "distributor.address: {error}"),
            Self::DistributorNext => "distributor.next must be below 2^40",
            Self::AddressFamilies => "coap_group and distributor.address must both be IPv4 or both IPv6",
            Self::RootKey => "root_key must have 32 bytes",
            Self::KeySet(KeySetError::BadSignature) => "key_set was not signed by root_key",
            Self::KeySet(_) => "key_set is not a signed set of image keys",
            Self::ManagerAddress(error) => return write!(f, "manager.address: {error}"),
            Self::ManagerMasterSecret => "manager.ms must have at least 16 bytes",
            Self::ManagerAead => "manager.alg must be 1, 10 or 24",
            Self::ManagerIds => {
                "manager.sender_id and manager.recipient_id must differ and have at most 6 bytes"
            }
        };
        f.write_str(text)
    }
}

impl core::error::Error for ProvisioningError {}
