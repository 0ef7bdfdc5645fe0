//! The intermediate values of a protected message, computed from plain inputs. They are for tests, and for
//! finding the first difference between two implementations. Nothing here reveals the secrets of a context.
//!
//! The functions that write return how many bytes of `out` they wrote, or `None` if these do not fit or an
//! input is too long.

use crate::{
    AeadAlgorithm, Credential, Gid, MemberId, PartialIv,
    cose::{self, ReceiverStructures, RequestIdentity},
    key::{self, Key, Master},
    limits::{NONCE_BYTES_MAX, SIGNATURE_BYTES},
    nonce::Nonce,
    sender,
};
use ed25519_dalek::SigningKey;

/// Which output of HKDF an info is for (RFC 8613 section 3.2.1, RFC 10021 section 2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A Sender, Recipient or pairwise key.
    Key,
    /// The Common IV of this many bytes.
    Iv(usize),
    /// The Signature Encryption Key.
    SignatureEncryptionKey,
}

/// `info` for HKDF. The id is empty except for [`Output::Key`].
pub fn key_info(
    id: &[u8],
    context: Option<&[u8]>,
    algorithm: AeadAlgorithm,
    output: Output,
    out: &mut [u8],
) -> Option<usize> {
    let (ty, length) = match output {
        Output::Key => ("Key", algorithm.key_length()),
        Output::Iv(length) => ("IV", length),
        Output::SignatureEncryptionKey => ("SEKey", algorithm.key_length()),
    };
    copy(cose::key_info(id, context, algorithm, ty, length)?.as_bytes(), out)
}

/// HKDF-SHA-256 of the Master Secret and Salt with this info, filling all of `out`.
pub fn derive(master_secret: &[u8], master_salt: &[u8], info: &[u8], out: &mut [u8]) -> Option<()> {
    Master::extract(master_secret, master_salt).expand(info, out)
}

/// The secret shared by the owner of `seed` and the owner of an Ed25519 public key.
pub fn shared_secret(seed: &[u8; 32], public_key: &[u8; 32]) -> Option<[u8; 32]> {
    let own = sender::agreement_key(&SigningKey::from_bytes(seed));
    let peer = Credential::with_key(&[], *public_key).ok()?.verifying_key().ok()?;
    sender::shared_secret(&own, &peer).map(|secret| secret.to_bytes())
}

/// The X25519 private key for an Ed25519 private key, clamped (RFC 7748 section 5).
pub fn x25519_private_key(seed: &[u8; 32]) -> [u8; 32] {
    let mut key = sender::agreement_key(&SigningKey::from_bytes(seed)).to_bytes();
    key[0] &= 0xf8;
    key[31] = key[31] & 0x7f | 0x40;
    key
}

/// The X25519 public key for an Ed25519 public key.
pub fn x25519_public_key(public_key: &[u8; 32]) -> Option<[u8; 32]> {
    let key = Credential::with_key(&[], *public_key).ok()?.verifying_key().ok()?;
    Some(key.to_montgomery().to_bytes())
}

/// The key of pairwise mode from one member to another. `credentials` are those of the sending side and of
/// the receiving side, `sender_id` and `sender_key` those of the sending side.
pub fn pairwise_key(
    algorithm: AeadAlgorithm,
    gid: Gid,
    sender_id: MemberId,
    sender_key: &[u8],
    credentials: [&[u8]; 2],
    shared_secret: &[u8; 32],
    out: &mut [u8],
) -> Option<usize> {
    let sender_key = Key::new(sender_key)?;
    let (gid, id) = (gid.as_bytes(), sender_id.as_bytes());
    let key = key::pairwise_key(algorithm, gid, id, &sender_key, credentials, shared_secret)?;
    copy(key.as_bytes(), out)
}

/// The nonce for a Partial IV that `generator` generated.
pub fn nonce(
    algorithm: AeadAlgorithm,
    common_iv: &[u8],
    generator: MemberId,
    piv: PartialIv,
    out: &mut [u8],
) -> Option<usize> {
    let mut padded = [0; NONCE_BYTES_MAX];
    padded.get_mut(..common_iv.len())?.copy_from_slice(common_iv);
    copy(Nonce::new(algorithm, &padded, generator, piv).as_bytes(), out)
}

/// The inputs of the external_aad.
#[derive(Clone, Copy, Debug)]
pub struct Aad<'a> {
    /// The AEAD Algorithm of the group or of plain OSCORE.
    pub aead: AeadAlgorithm,
    /// The request's kid.
    pub request_kid: MemberId,
    /// The request's Partial IV.
    pub request_piv: PartialIv,
    /// The group's part; `None` with plain OSCORE.
    pub group: Option<GroupAad<'a>>,
}

/// The group's part of the external_aad (RFC 10021 section 3.4).
#[derive(Clone, Copy, Debug)]
pub struct GroupAad<'a> {
    /// The Group Encryption Algorithm.
    pub group_encryption: AeadAlgorithm,
    /// The Gid of the request.
    pub request_gid: Gid,
    /// The value of this message's OSCORE option.
    pub option: &'a [u8],
    /// The credential of this message's sender.
    pub sender_credential: &'a [u8],
    /// The Group Manager's credential.
    pub gm_credential: &'a [u8],
}

impl Aad<'_> {
    fn structures(&self) -> Option<ReceiverStructures> {
        let gid = self.group.map_or(Gid::EMPTY, |group| group.request_gid);
        let request = RequestIdentity { kid: self.request_kid, piv: self.request_piv, gid };
        let Some(group) = self.group else {
            return ReceiverStructures::plain(self.aead, &request);
        };
        let head = cose::group_aad_head(self.aead, group.group_encryption)?;
        let GroupAad { option, sender_credential, gm_credential, .. } = group;
        ReceiverStructures::group(&head, &request, option, sender_credential, gm_credential)
    }

    /// The external_aad: the array, before it is wrapped in a byte string.
    pub fn external_aad(&self, out: &mut [u8]) -> Option<usize> {
        copy(self.structures()?.external_aad(), out)
    }

    /// The Enc_structure, the associated data of the AEAD (RFC 9052 section 5.3).
    pub fn enc_structure(&self, out: &mut [u8]) -> Option<usize> {
        copy(self.structures()?.enc_structure()?, out)
    }

    /// The Countersign_structure, which is signed (RFC 9338 section 3.3).
    pub fn to_be_signed(&self, ciphertext: &[u8], out: &mut [u8]) -> Option<usize> {
        copy(self.structures()?.countersign_structure(ciphertext)?, out)
    }
}

/// The info of a countersignature's keystream (RFC 10021 section 4.2).
pub fn keystream_info(generator: MemberId, gid: Gid, is_request: bool, out: &mut [u8]) -> Option<usize> {
    copy(cose::keystream_info(generator.as_bytes(), gid.as_bytes(), is_request)?.as_bytes(), out)
}

/// The keystream that a countersignature is XORed with.
pub fn keystream(
    signature_encryption_key: &[u8],
    generator: MemberId,
    piv: PartialIv,
    gid: Gid,
    is_request: bool,
) -> Option<[u8; SIGNATURE_BYTES]> {
    let key = Key::new(signature_encryption_key)?;
    let keystream = key::signature_keystream(&key, generator.as_bytes(), piv, gid.as_bytes(), is_request)?;
    Some(*keystream)
}

fn copy(bytes: &[u8], out: &mut [u8]) -> Option<usize> {
    out.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(bytes.len())
}
