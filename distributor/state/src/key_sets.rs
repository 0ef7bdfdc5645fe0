//! Key sets: which image keys agents trust, signed by the root key, wherever that is.
//!
//! The file that `fwcast key set` writes has the public half of the root key beside the signed set: a CBOR
//! array of two byte strings. So the distributor never needs the root key itself.

use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, SigningKey};
use minicbor::bytes::{ByteArray, ByteVec};
use update_core::key_set::{KeySet, KeySetError};
use update_core::limits::{IMAGE_KEYS_MAX, KEY_SET_BYTES_MAX};

use crate::files::{self, Access, FileError, shown};
use crate::keys::{KeyError, KeyKind, PrivateKey, PublicKey};

/// The version of a first key set.
const VERSION_FIRST: u64 = 1;
/// The longest file of a key set: the set, the root key, and the heads of the array and the strings.
const FILE_BYTES_MAX: u64 = KEY_SET_BYTES_MAX as u64 + 64;

/// A root key, and the key set that it has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKeys {
    /// The Ed25519 public key that signs key sets.
    pub root: [u8; 32],
    /// The signed key set.
    pub signed: Vec<u8>,
}

/// Why a key set was not made or not read.
#[derive(Debug, thiserror::Error)]
pub enum KeySetFileError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The image key's holder could then also decide which image keys are trusted.
    #[error(
        "{} is the root key: create a separate image key with `fwcast key generate --kind image`",
        shown(.0)
    )]
    RootKey(PathBuf),
    /// The image keys.
    #[error("the key set cannot be created, because {0}: give other image keys")]
    ImageKeys(String),
    /// It is no file of a key set, or was not signed by the root key in it.
    #[error("{} is no key set ({why}): give the file that `fwcast key set` wrote", shown(.path))]
    NotAKeySet {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        why: String,
    },
    /// It was signed by another root key.
    #[error(
        "{} was signed by another root key than {}: give the key set of this root key",
        shown(.path), shown(.root)
    )]
    OtherRoot {
        /// The key set.
        path: PathBuf,
        /// The root key.
        root: PathBuf,
    },
}

impl TrustedKeys {
    /// Signs the first key set with these image keys.
    ///
    /// # Errors
    /// A file does not contain the right key, an image key is the root key, or there are too many.
    pub fn sign(root: &Path, image_keys: &[PathBuf]) -> Result<Self, KeySetFileError> {
        let root = PrivateKey::read(root, KeyKind::Root)?.key;
        let read = |path: &PathBuf| {
            let key = PublicKey::read_ed25519(path, KeyKind::Image)?;
            if key == root.verifying_key() {
                return Err(KeySetFileError::RootKey(path.clone()));
            }
            Ok(key.to_bytes())
        };
        let image_keys: Vec<_> = image_keys.iter().map(read).collect::<Result<_, _>>()?;
        Self::signed_by(&root, &image_keys)
    }

    /// Signs the first key set with these image keys.
    ///
    /// # Errors
    /// There are too many, or one cannot be used.
    pub fn signed_by(root: &SigningKey, image_keys: &[[u8; 32]]) -> Result<Self, KeySetFileError> {
        let refused = |error| {
            KeySetFileError::ImageKeys(match error {
                KeySetError::TooManyKeys => format!("a key set holds at most {IMAGE_KEYS_MAX} image keys"),
                other => format!("an image key cannot be used ({other})"),
            })
        };
        let key_set = KeySet::new(VERSION_FIRST, image_keys).map_err(refused)?;
        let signed = key_set.attach(root.sign(&key_set.to_be_signed()).to_bytes());
        let root = root.verifying_key().to_bytes();
        // Check with the code that devices run.
        KeySet::verify(&signed, &root).map_err(refused)?;
        Ok(Self { root, signed })
    }

    /// Reads the file that [`Self::write`] wrote. With `root`, a file of the root key or of its public half,
    /// it must be that one's.
    ///
    /// # Errors
    /// It is no key set, or of another root key.
    pub fn read(path: &Path, root: Option<&Path>) -> Result<Self, KeySetFileError> {
        let bytes = files::read(path, FILE_BYTES_MAX)?;
        let wrong = |why: String| KeySetFileError::NotAKeySet { path: path.into(), why };
        let mut decoder = minicbor::Decoder::new(&bytes);
        let (of, signed): (ByteArray<32>, ByteVec) =
            decoder.decode().map_err(|_| wrong("it has another form".to_owned()))?;
        if decoder.position() != bytes.len() {
            return Err(wrong("there is more behind it".to_owned()));
        }
        let (of, signed) = (*of, Vec::from(signed));
        KeySet::verify(&signed, &of).map_err(|error| wrong(error.to_string()))?;
        if let Some(root) = root
            && PublicKey::read_ed25519(root, KeyKind::Root)?.to_bytes() != of
        {
            return Err(KeySetFileError::OtherRoot { path: path.into(), root: root.into() });
        }
        Ok(Self { root: of, signed })
    }

    /// The set itself.
    ///
    /// # Errors
    /// Never, as it was verified when it was made.
    pub fn key_set(&self) -> Result<KeySet, KeySetFileError> {
        KeySet::verify(&self.signed, &self.root)
            .map_err(|error| KeySetFileError::ImageKeys(error.to_string()))
    }

    /// Writes it to a new file.
    ///
    /// # Errors
    /// The file is there already, or cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), KeySetFileError> {
        let both = (ByteArray::from(self.root), ByteVec::from(self.signed.clone()));
        let bytes = minicbor::to_vec(both).map_err(|error| KeySetFileError::ImageKeys(error.to_string()))?;
        Ok(files::create(path, &bytes, Access::Public)?)
    }
}
