//! The Common Context of a security group (RFC 10021 section 2.1).

use crate::{
    AeadAlgorithm, Credential, DeriveError, Gid, MemberId, PartialIv,
    cose::{self, AadHead},
    key::{Key, Master},
    limits::NONCE_BYTES_MAX,
    mark::Mark,
    nonce::Nonce,
};
use core::fmt;

/// What the Group Manager gives every member. HKDF is always HMAC-SHA-256, signatures are EdDSA on Ed25519,
/// and the key agreement is ECDH-SS + HKDF-256 (COSE -27) on X25519.
#[derive(Clone)]
pub struct GroupParameters<'a> {
    /// The Gid, which is the group's ID Context.
    pub gid: Gid,
    /// The Master Secret.
    pub master_secret: &'a [u8],
    /// The Master Salt; empty if there is none.
    pub master_salt: &'a [u8],
    /// The AEAD Algorithm, for pairwise mode.
    pub aead: AeadAlgorithm,
    /// The Group Encryption Algorithm, for group mode.
    pub group_encryption: AeadAlgorithm,
    /// The Group Manager's authentication credential.
    pub gm_credential: Credential,
}

/// Everything that all contexts of a group share.
#[derive(Clone)]
pub struct CommonContext {
    pub(crate) gid: Gid,
    pub(crate) aead: AeadAlgorithm,
    pub(crate) group_encryption: AeadAlgorithm,
    pub(crate) gm_credential: Credential,
    pub(crate) signature_encryption_key: Key,
    pub(crate) aad_head: AadHead,
    /// The mark of everything that the members of the group share.
    pub(crate) mark: Mark,
    master: Master,
    common_iv: [u8; NONCE_BYTES_MAX],
}

impl CommonContext {
    /// Derives Common IV and Signature Encryption Key (RFC 10021 section 2.1.9).
    ///
    /// # Errors
    /// [`DeriveError::EmptyMasterSecret`].
    // Not inlined, so that its stack is free again afterwards.
    #[inline(never)]
    pub fn derive(parameters: &GroupParameters<'_>) -> Result<Self, DeriveError> {
        if parameters.master_secret.is_empty() {
            return Err(DeriveError::EmptyMasterSecret);
        }
        let (aead, group_encryption) = (parameters.aead, parameters.group_encryption);
        let master = Master::extract(parameters.master_secret, parameters.master_salt);
        let gid = parameters.gid.as_bytes();
        // "the maximum of the lengths of the nonces" of both algorithms.
        let iv_length = aead.nonce_length().max(group_encryption.nonce_length());
        Self::with_master(parameters, &master, gid, iv_length).ok_or(DeriveError::MemberIdTooLong)
    }

    /// `None` only if a limit is too small for what it bounds.
    fn with_master(
        parameters: &GroupParameters<'_>,
        master: &Master,
        gid: &[u8],
        iv_length: usize,
    ) -> Option<Self> {
        let group_encryption = parameters.group_encryption;
        let signature_encryption_key = master.signature_encryption_key(gid, group_encryption)?;
        let aad_head = cose::group_aad_head(parameters.aead, group_encryption)?;
        let gm_credential = parameters.gm_credential.as_bytes();
        Some(Self {
            mark: Mark::of(&[gid, aad_head.as_bytes(), gm_credential, signature_encryption_key.as_bytes()]),
            gid: parameters.gid,
            aead: parameters.aead,
            group_encryption,
            gm_credential: parameters.gm_credential.clone(),
            signature_encryption_key,
            aad_head,
            common_iv: master.common_iv(Some(gid), group_encryption, iv_length)?,
            master: master.clone(),
        })
    }

    /// The Gid.
    pub const fn gid(&self) -> Gid {
        self.gid
    }

    /// The AEAD Algorithm of pairwise mode.
    pub const fn aead(&self) -> AeadAlgorithm {
        self.aead
    }

    /// The Group Encryption Algorithm of group mode.
    pub const fn group_encryption(&self) -> AeadAlgorithm {
        self.group_encryption
    }

    /// The Group Manager's credential.
    pub const fn gm_credential(&self) -> &Credential {
        &self.gm_credential
    }

    /// The longest Sender ID of this group: the shorter nonce less 6 bytes (RFC 10021 section 2.2).
    pub fn member_id_bytes_max(&self) -> usize {
        self.aead.nonce_length().min(self.group_encryption.nonce_length()) - 6
    }

    /// A member's Sender Key, which is the Recipient Key of all others. It is a key of the Group Encryption
    /// Algorithm.
    pub(crate) fn member_key(&self, id: MemberId) -> Result<Key, DeriveError> {
        if id.as_bytes().len() > self.member_id_bytes_max() {
            return Err(DeriveError::MemberIdTooLong);
        }
        let key = self.master.member_key(id.as_bytes(), Some(self.gid.as_bytes()), self.group_encryption);
        key.ok_or(DeriveError::MemberIdTooLong)
    }

    pub(crate) fn nonce(&self, algorithm: AeadAlgorithm, generator: MemberId, piv: PartialIv) -> Nonce {
        Nonce::new(algorithm, &self.common_iv, generator, piv)
    }
}

impl fmt::Debug for CommonContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommonContext").field("gid", &self.gid).finish_non_exhaustive()
    }
}

impl fmt::Debug for GroupParameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupParameters").field("gid", &self.gid).finish_non_exhaustive()
    }
}
