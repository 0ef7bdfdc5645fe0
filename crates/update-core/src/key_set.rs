//! The image keys that a device trusts, signed by its root key.

use ed25519_dalek::VerifyingKey;

use crate::cbor::Reader;
use crate::cose::{ED25519_ALGORITHMS, Sign1};
use crate::limits::{IMAGE_KEYS_MAX, KEY_SET_BYTES_MAX};

/// The map key of the version.
pub(crate) const VERSION: i64 = 1;
/// The map key of the keys.
pub(crate) const KEYS: i64 = 2;

/// The image keys that a device trusts, and the version that orders key sets.
///
/// It travels as a COSE_Sign1 (tag 18, Ed25519 by the root key, empty external_aad) with this payload:
///
/// ```cddl
/// key-set = { 1: uint,                  ; version
///             2: [1*4 bstr .size 32] }  ; Ed25519 public keys, any of which may sign images
/// ```
///
/// A device keeps two signed copies; agent and boot stage both verify what they read. A verified key set
/// replaces the stored one only if it [supersedes](Self::supersedes) it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySet {
    version: u64,
    /// All zero beyond `len`.
    keys: [[u8; 32]; IMAGE_KEYS_MAX],
    len: usize,
}

/// Why a key set is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySetError {
    /// Longer than [`KEY_SET_BYTES_MAX`].
    TooLong,
    /// Not the CBOR structure of a key set.
    Malformed,
    /// Well-formed, but not deterministically encoded (RFC 8949 section 4.2.1).
    NotDeterministic,
    /// The signature is not Ed25519.
    UnknownAlgorithm,
    /// The root key did not make this signature.
    BadSignature,
    /// There is no key in it.
    NoKeys,
    /// There are more than [`IMAGE_KEYS_MAX`] keys in it.
    TooManyKeys,
    /// A key is not an Ed25519 public key, or is of small order, so that anyone could sign for it.
    BadKey,
}

impl core::fmt::Display for KeySetError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is longer than a key set may be",
            Self::Malformed => "it is not the CBOR structure of a key set",
            Self::NotDeterministic => "its CBOR is not deterministically encoded",
            Self::UnknownAlgorithm => "its signature is not Ed25519",
            Self::BadSignature => "the root key did not make its signature",
            Self::NoKeys => "it contains no keys",
            Self::TooManyKeys => "it contains too many keys",
            Self::BadKey => "a key in it is not a valid Ed25519 public key, or has small order",
        })
    }
}

impl core::error::Error for KeySetError {}

impl KeySet {
    /// Creates a key set from trusted keys: to be signed, or on a host that was given the keys.
    ///
    /// # Errors
    /// [`KeySetError::NoKeys`], [`KeySetError::TooManyKeys`] or [`KeySetError::BadKey`].
    pub fn new(version: u64, keys: &[[u8; 32]]) -> Result<Self, KeySetError> {
        if keys.is_empty() {
            return Err(KeySetError::NoKeys);
        }
        let mut set = Self { version, keys: [[0; 32]; IMAGE_KEYS_MAX], len: keys.len() };
        let places = set.keys.get_mut(..keys.len()).ok_or(KeySetError::TooManyKeys)?;
        for (place, key) in places.iter_mut().zip(keys) {
            let usable = VerifyingKey::from_bytes(key).is_ok_and(|key| !key.is_weak());
            if !usable {
                return Err(KeySetError::BadKey);
            }
            *place = *key;
        }
        Ok(set)
    }

    /// Verifies a signed key set against the root public key of the device.
    ///
    /// # Errors
    /// The first problem found: first in the COSE_Sign1 and its signature, then in the payload.
    pub fn verify(bytes: &[u8], root: &[u8; 32]) -> Result<Self, KeySetError> {
        if bytes.len() > KEY_SET_BYTES_MAX {
            return Err(KeySetError::TooLong);
        }
        let mut reader = Reader::new(bytes, KeySetError::Malformed, KeySetError::NotDeterministic);
        let sign1 = Sign1::read_attached(&mut reader)?;
        reader.end()?;
        let payload = sign1.payload.ok_or(KeySetError::Malformed)?;
        if !ED25519_ALGORITHMS.contains(&sign1.algorithm) {
            return Err(KeySetError::UnknownAlgorithm);
        }
        if !sign1.verify(payload, root) {
            return Err(KeySetError::BadSignature);
        }
        reader.inside(payload, Self::read)
    }

    /// The version. A higher one replaces a lower one.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The image keys: 1 to [`IMAGE_KEYS_MAX`] Ed25519 public keys.
    #[must_use]
    pub fn keys(&self) -> &[[u8; 32]] {
        self.keys.get(..self.len).unwrap_or_default()
    }

    /// Whether this key set replaces `other` on a device: only one with a higher version does.
    ///
    /// The same version never does, even with other keys, so key sets cannot be swapped back and forth.
    #[must_use]
    pub const fn supersedes(&self, other: &Self) -> bool {
        self.version > other.version
    }

    fn read(reader: &mut Reader<'_, KeySetError>) -> Result<Self, KeySetError> {
        let mut previous: &[u8] = &[];
        let members = reader.map()?;
        reader.exactly(members, 2)?;
        if reader.key(&mut previous)? != VERSION {
            return Err(KeySetError::Malformed);
        }
        let version = reader.uint()?;
        if reader.key(&mut previous)? != KEYS {
            return Err(KeySetError::Malformed);
        }
        let len = usize::try_from(reader.array()?).map_err(|_| KeySetError::TooManyKeys)?;
        let mut keys = [[0; 32]; IMAGE_KEYS_MAX];
        let keys = keys.get_mut(..len).ok_or(KeySetError::TooManyKeys)?;
        for key in keys.iter_mut() {
            *key = *reader.array_of()?;
        }
        Self::new(version, keys)
    }
}
