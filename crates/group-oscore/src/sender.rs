//! The Sender Context: this endpoint as a member (RFC 10021 section 2.2).

use crate::{
    CommonContext, Credential, DeriveError, MemberId, SequenceNumbers, key::Key, limits::SIGNATURE_BYTES,
    mark::Mark,
};
use core::fmt;
use ed25519_dalek::{
    SigningKey, VerifyingKey,
    hazmat::{ExpandedSecretKey, raw_sign_byupdate},
};
use sha2::{Digest as _, Sha512};
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};

/// Sender ID, Sender Key, own key pair and Sender Sequence Numbers. There must never be two contexts of the
/// same member: a number used twice is a nonce used twice.
pub struct SenderContext {
    pub(crate) id: MemberId,
    pub(crate) credential: Credential,
    pub(crate) key: Key,
    pub(crate) numbers: SequenceNumbers,
    /// The mark of the group.
    pub(crate) mark: Mark,
    /// Expanded once; always used with `verifying_key`, its public key.
    signing_key: ExpandedSecretKey,
    verifying_key: VerifyingKey,
    agreement_key: StaticSecret,
}

impl SenderContext {
    /// Derives the Sender Key and the two forms of the private key. `seed` is the Ed25519 private key of RFC
    /// 8032.
    ///
    /// # Errors
    /// [`DeriveError::MemberIdTooLong`], [`DeriveError::InvalidPublicKey`] and
    /// [`DeriveError::PrivateKeyMismatch`].
    // Not inlined, so that its stack is free again afterwards.
    #[inline(never)]
    pub fn derive(
        common: &CommonContext,
        id: MemberId,
        credential: Credential,
        seed: &[u8; 32],
        numbers: SequenceNumbers,
    ) -> Result<Self, DeriveError> {
        let verifying_key = credential.verifying_key()?;
        let key_pair = SigningKey::from_bytes(seed);
        if key_pair.verifying_key() != verifying_key {
            return Err(DeriveError::PrivateKeyMismatch);
        }
        Ok(Self {
            id,
            key: common.member_key(id)?,
            credential,
            numbers,
            mark: common.mark,
            signing_key: ExpandedSecretKey::from(seed),
            verifying_key,
            agreement_key: agreement_key(&key_pair),
        })
    }

    /// The Sender ID.
    pub const fn id(&self) -> MemberId {
        self.id
    }

    /// This member's credential.
    pub const fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Signs the concatenation of these parts.
    pub(crate) fn sign(&self, parts: [&[u8]; 3]) -> Option<[u8; SIGNATURE_BYTES]> {
        let update = |hash: &mut Sha512| {
            parts.iter().for_each(|part| hash.update(part));
            Ok(())
        };
        let signature = raw_sign_byupdate::<Sha512, _>(&self.signing_key, update, &self.verifying_key);
        signature.ok().map(|signature| signature.to_bytes())
    }

    /// The secret that both sides agree on, from static keys (RFC 10021 section 2.5.1).
    pub(crate) fn shared_secret(&self, peer: &VerifyingKey) -> Option<SharedSecret> {
        shared_secret(&self.agreement_key, peer)
    }
}

/// The X25519 private key of an Ed25519 key pair: the first half of SHA-512(seed), which X25519 clamps.
pub(crate) fn agreement_key(key_pair: &SigningKey) -> StaticSecret {
    StaticSecret::from(key_pair.to_scalar_bytes())
}

/// X25519 with the peer's Ed25519 key as u = (1 + y) / (1 - y). An all-zero secret is rejected.
pub(crate) fn shared_secret(own: &StaticSecret, peer: &VerifyingKey) -> Option<SharedSecret> {
    let secret = own.diffie_hellman(&PublicKey::from(peer.to_montgomery().to_bytes()));
    (!peer.is_weak() && secret.was_contributory()).then_some(secret)
}

impl fmt::Debug for SenderContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SenderContext")
            .field("id", &self.id)
            .field("numbers", &self.numbers)
            .finish_non_exhaustive()
    }
}
