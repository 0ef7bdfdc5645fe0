//! Keys and their derivation (RFC 8613 section 3.2.1, RFC 10021 sections 2.1.9, 2.5.1 and 4.2).

use crate::{
    AeadAlgorithm, PartialIv, cose,
    limits::{KEY_BYTES_MAX, NONCE_BYTES_MAX, SIGNATURE_BYTES},
    mark::Mark,
};
use hkdf::{Hkdf, HkdfExtract};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

/// A symmetric key of up to 32 bytes, wiped when dropped.
#[derive(Clone)]
pub(crate) struct Key {
    bytes: Zeroizing<[u8; KEY_BYTES_MAX]>,
    length: usize,
}

impl Key {
    #[cfg(any(test, feature = "inspect"))]
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES_MAX]);
        bytes.get_mut(..key.len())?.copy_from_slice(key);
        Some(Self { bytes, length: key.len() })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// A mark that tells reservations of one Sender Context from those of another.
    pub(crate) fn mark(&self) -> Mark {
        Mark::of(&[self.as_bytes()])
    }
}

/// The pseudorandom key that HKDF-Extract derived from Master Secret and Master Salt.
#[derive(Clone)]
pub(crate) struct Master(Zeroizing<[u8; 32]>);

impl Master {
    pub(crate) fn extract(secret: &[u8], salt: &[u8]) -> Self {
        let (mut prk, _) = Hkdf::<Sha256>::extract(Some(salt), secret);
        let master = Self(Zeroizing::new(prk.into()));
        prk.as_mut_slice().zeroize();
        master
    }

    /// HKDF-Expand, filling all of `output`.
    pub(crate) fn expand(&self, info: &[u8], output: &mut [u8]) -> Option<()> {
        Hkdf::<Sha256>::from_prk(&*self.0).ok()?.expand(info, output).ok()
    }

    /// A key of this algorithm's length.
    pub(crate) fn key(&self, info: &[u8], algorithm: AeadAlgorithm) -> Option<Key> {
        let mut key = Key { bytes: Zeroizing::new([0; KEY_BYTES_MAX]), length: algorithm.key_length() };
        self.expand(info, key.bytes.get_mut(..algorithm.key_length())?)?;
        Some(key)
    }

    /// A Sender or Recipient Key (RFC 8613 section 3.2.1). `context` is the ID Context.
    pub(crate) fn member_key(
        &self,
        id: &[u8],
        context: Option<&[u8]>,
        algorithm: AeadAlgorithm,
    ) -> Option<Key> {
        let info = cose::key_info(id, context, algorithm, "Key", algorithm.key_length())?;
        self.key(info.as_bytes(), algorithm)
    }

    /// The Signature Encryption Key (RFC 10021 section 2.1.9).
    pub(crate) fn signature_encryption_key(&self, gid: &[u8], algorithm: AeadAlgorithm) -> Option<Key> {
        let info = cose::key_info(&[], Some(gid), algorithm, "SEKey", algorithm.key_length())?;
        self.key(info.as_bytes(), algorithm)
    }

    /// The Common IV; `length` is that of the longest nonce.
    pub(crate) fn common_iv(
        &self,
        context: Option<&[u8]>,
        algorithm: AeadAlgorithm,
        length: usize,
    ) -> Option<[u8; NONCE_BYTES_MAX]> {
        let info = cose::key_info(&[], context, algorithm, "IV", length)?;
        let mut iv = [0; NONCE_BYTES_MAX];
        self.expand(info.as_bytes(), iv.get_mut(..length)?)?;
        Some(iv)
    }
}

/// A key of pairwise mode (RFC 10021 section 2.5.1): HKDF with the sending side's Sender Key as salt. The
/// input keying material is the sending side's credential, the receiving side's credential and the shared
/// secret. `gid` and `sender_id` go into the info.
pub(crate) fn pairwise_key(
    algorithm: AeadAlgorithm,
    gid: &[u8],
    sender_id: &[u8],
    sender_key: &Key,
    credentials: [&[u8]; 2],
    shared_secret: &[u8],
) -> Option<Key> {
    let mut extract = HkdfExtract::<Sha256>::new(Some(sender_key.as_bytes()));
    credentials.iter().for_each(|credential| extract.input_ikm(credential));
    extract.input_ikm(shared_secret);
    let (mut prk, _) = extract.finalize();
    let master = Master(Zeroizing::new(prk.into()));
    prk.as_mut_slice().zeroize();
    master.member_key(sender_id, Some(gid), algorithm)
}

/// The keystream of a countersignature (RFC 10021 section 4.2). `generator` and `piv` belong to the Partial
/// IV of the message, or of the request if the message has none; `gid` belongs to the context that protects
/// the message.
pub(crate) fn signature_keystream(
    encryption_key: &Key,
    generator: &[u8],
    piv: PartialIv,
    gid: &[u8],
    is_request: bool,
) -> Option<Zeroizing<[u8; SIGNATURE_BYTES]>> {
    let info = cose::keystream_info(generator, gid, is_request)?;
    let mut keystream = Zeroizing::new([0; SIGNATURE_BYTES]);
    let hkdf = Hkdf::<Sha256>::new(Some(piv.to_wire().as_bytes()), encryption_key.as_bytes());
    hkdf.expand(info.as_bytes(), &mut *keystream).ok()?;
    Some(keystream)
}
