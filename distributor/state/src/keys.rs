//! Key files: Ed25519 private keys as PKCS#8 PEM, public keys as SubjectPublicKeyInfo PEM.
//!
//! The purpose of a key is written in a line before the PEM text (RFC 7468 section 2 allows it, and other
//! tools skip it): `fwcast image key` or `fwcast root key`. A key with the wrong line is refused. A key
//! without such a line, made by another tool, may be used for either purpose.

use std::fmt;
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::Serialize;
use update_core::digest::Digest;
use update_core::es256::Es256Key;
use zeroize::Zeroizing;

use crate::files::{self, Access, FileError, shown};

/// The longest key file that is read, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;
/// Public keys whose private keys are printed in RFC 8032 section 7.1. A signature by one of them proves
/// nothing.
const PUBLISHED: [&str; 4] = [
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e",
];

/// The end of the first line of a private key in PEM.
const PRIVATE_MARK: &str = "PRIVATE KEY-----";

/// The purpose of a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Signs images.
    Image,
    /// Signs key sets: which image keys devices trust.
    Root,
}

/// A private key from a file. `Debug` shows only its public half.
pub struct PrivateKey {
    /// Its stated purpose.
    pub kind: Option<KeyKind>,
    /// The key.
    pub key: SigningKey,
}

/// A public key from a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKey {
    /// Ed25519: the only kind that devices know.
    Ed25519(VerifyingKey),
    /// ECDSA P-256: to verify envelopes that other tools signed.
    Es256(Es256Key),
}

/// Why a key file was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no PEM text of the right kind.
    #[error("{} holds no {wanted}: {hint}", shown(.path))]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What was expected.
        wanted: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// It is an image key where a root key is needed, or the other way round.
    #[error("{} is the {is} key, not the {wanted} key: give the {wanted} key here", shown(.path))]
    WrongKind {
        /// Which file.
        path: PathBuf,
        /// What it is.
        is: KeyKind,
        /// What is needed.
        wanted: KeyKind,
    },
    /// Its private key is public, or anyone can sign for it.
    #[error(
        "{} is a key that anyone can sign with (a published test key, or a weak one): create your own with \
         `fwcast key generate`", shown(.0)
    )]
    Worthless(PathBuf),
    /// The system gives no random bytes.
    #[error("the system returned no random bytes for a key ({0}): try again")]
    Random(getrandom::Error),
}

/// Creates a key pair: the private key in `path` (0600), the public one in `path` + `.pub`. Neither file may
/// exist yet.
pub fn generate(kind: KeyKind, path: &Path) -> Result<PrivateKey, KeyError> {
    let public_path = public_path(path);
    files::check_target(path)?;
    files::check_target(&public_path)?;
    let key = random_key()?;
    let unwritable = || KeyError::Unreadable {
        path: path.into(),
        wanted: "key that can be stored",
        hint: "run the command again",
    };
    // Version 1, without the public key: OpenSSL 3.0 does not read version 2.
    let pair = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    let private = pair.to_pkcs8_pem(LineEnding::LF).map_err(|_| unwritable())?;
    let public = key.verifying_key().to_public_key_pem(LineEnding::LF).map_err(|_| unwritable())?;
    let private = Zeroizing::new(format!("fwcast {kind} key\n{}", private.as_str()));
    files::create(path, private.as_bytes(), Access::Secret)?;
    files::create(&public_path, format!("fwcast {kind} key\n{public}").as_bytes(), Access::Public)?;
    Ok(PrivateKey { kind: Some(kind), key })
}

/// A fresh Ed25519 key from the system's randomness.
pub fn random_key() -> Result<SigningKey, KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(KeyError::Random)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// The path of the public half of the key in `path`.
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

impl PrivateKey {
    /// Reads a private key for `kind`, or one without a stated purpose.
    pub fn read(path: &Path, kind: KeyKind) -> Result<Self, KeyError> {
        let key = Self::read_any(path)?;
        check_kind(path, key.kind, kind)?;
        Ok(key)
    }

    /// Reads a private key of any kind.
    pub fn read_any(path: &Path) -> Result<Self, KeyError> {
        let unreadable = || KeyError::Unreadable {
            path: path.into(),
            wanted: "Ed25519 private key (PKCS#8 PEM)",
            hint: "give the file that `fwcast key generate` wrote, not its .pub, and not a key of \
            another algorithm",
        };
        // Others may read a public key, so do not report it as an exposed secret.
        let bytes = Zeroizing::new(files::read(path, KEY_FILE_BYTES_MAX)?);
        let is_private = std::str::from_utf8(&bytes).is_ok_and(|text| text.contains(PRIVATE_MARK));
        if !is_private {
            return Err(unreadable());
        }
        let bytes = Zeroizing::new(files::read_secret(path, KEY_FILE_BYTES_MAX)?);
        let text = files::text(&bytes).unwrap_or_default();
        let key = SigningKey::from_pkcs8_pem(text).map_err(|_| unreadable())?;
        refuse_worthless(path, &key.verifying_key())?;
        Ok(Self { kind: kind_line(text), key })
    }
}

impl PublicKey {
    /// Reads a public key for `kind`, or one without a stated purpose. A private key file works too.
    pub fn read(path: &Path, kind: KeyKind) -> Result<Self, KeyError> {
        let (key, is) = Self::read_any(path)?;
        check_kind(path, is, kind)?;
        Ok(key)
    }

    /// Reads a public key of any kind, with its stated purpose.
    pub fn read_any(path: &Path) -> Result<(Self, Option<KeyKind>), KeyError> {
        let bytes = Zeroizing::new(files::read(path, KEY_FILE_BYTES_MAX)?);
        let text = files::text(&bytes).unwrap_or_default();
        if text.contains(PRIVATE_MARK) {
            let private = PrivateKey::read_any(path)?;
            return Ok((Self::Ed25519(private.key.verifying_key()), private.kind));
        }
        if let Ok(key) = VerifyingKey::from_public_key_pem(text) {
            refuse_worthless(path, &key)?;
            return Ok((Self::Ed25519(key), kind_line(text)));
        }
        let key = Es256Key::from_pem(text).ok_or_else(|| KeyError::Unreadable {
            path: path.into(),
            wanted: "Ed25519 or ECDSA P-256 public key (PEM)",
            hint: "give the .pub file that `fwcast key generate` wrote",
        })?;
        Ok((Self::Es256(key), kind_line(text)))
    }

    /// Reads a public key of the kind that devices know: Ed25519.
    pub fn read_ed25519(path: &Path, kind: KeyKind) -> Result<VerifyingKey, KeyError> {
        match Self::read(path, kind)? {
            Self::Ed25519(key) => Ok(key),
            Self::Es256(_) => Err(KeyError::Unreadable {
                path: path.into(),
                wanted: "Ed25519 public key, the only kind that devices know",
                hint: "create one with `fwcast key generate`",
            }),
        }
    }
}

/// A short name by which people compare Ed25519 keys: the first 8 bytes of SHA-256 of the public key.
pub fn fingerprint(key: &[u8; 32]) -> String {
    hex::encode(&Digest::of(key).0[..8])
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("kind", &self.kind)
            .field("public", &hex::encode(self.key.verifying_key().as_bytes()))
            .finish()
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Root => "root",
        })
    }
}

fn kind_line(text: &str) -> Option<KeyKind> {
    let first = text.lines().next()?;
    [KeyKind::Image, KeyKind::Root].into_iter().find(|kind| first == format!("fwcast {kind} key"))
}

fn check_kind(path: &Path, is: Option<KeyKind>, wanted: KeyKind) -> Result<(), KeyError> {
    match is {
        Some(is) if is != wanted => Err(KeyError::WrongKind { path: path.into(), is, wanted }),
        _ => Ok(()),
    }
}

fn refuse_worthless(path: &Path, key: &VerifyingKey) -> Result<(), KeyError> {
    let published = PUBLISHED.contains(&hex::encode(key.as_bytes()).as_str());
    if published || key.is_weak() {
        return Err(KeyError::Worthless(path.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The private keys of RFC 8032 section 7.1, tests 1, 2, 3 and 1024.
    const PUBLISHED_SEEDS: [&str; 4] = [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
    ];

    #[test]
    fn a_key_is_read_back_and_both_files_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.pem");
        let made = generate(KeyKind::Image, &path).unwrap();
        let read = PrivateKey::read(&path, KeyKind::Image).unwrap();
        assert_eq!(made.key.to_bytes(), read.key.to_bytes());
        let public = PublicKey::read_ed25519(&public_path(&path), KeyKind::Image).unwrap();
        assert_eq!(public, made.key.verifying_key());
        assert!(matches!(generate(KeyKind::Image, &path), Err(KeyError::File(_))));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(generate(KeyKind::Image, &path), Err(KeyError::File(_))));
        assert!(!path.exists());
    }

    #[test]
    fn version_1_of_pkcs_8_is_written_and_both_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.pem");
        let made = generate(KeyKind::Image, &path).unwrap();
        // RFC 8410 section 7: SEQUENCE of 46 bytes, version 0, Ed25519, 32 bytes in two OCTET STRINGs.
        let text = std::fs::read_to_string(&path).unwrap();
        let base64 = text.lines().filter(|line| !line.starts_with(['-', 'f'])).collect::<String>();
        assert!(base64.starts_with("MC4CAQAwBQYDK2VwBCIEI") && base64.len() == 64, "{text}");
        let other = folder.path().join("version-2.pem");
        let version_2 = made.key.to_pkcs8_pem(LineEnding::LF).unwrap();
        assert_ne!(version_2.len() + 1, text.len() - "fwcast image key".len());
        files::create(&other, version_2.as_bytes(), Access::Secret).unwrap();
        let read = PrivateKey::read(&other, KeyKind::Image).unwrap();
        assert_eq!(read.key.to_bytes(), made.key.to_bytes());
    }

    #[test]
    fn one_byte_order_mark_in_front_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.pem");
        generate(KeyKind::Root, &path).unwrap();
        for path in [&path, &public_path(&path)] {
            let text = format!("\u{feff}{}", std::fs::read_to_string(path).unwrap());
            std::fs::write(path, text).unwrap();
            assert_eq!(PublicKey::read_any(path).unwrap().1, Some(KeyKind::Root), "{}", path.display());
        }
    }

    #[test]
    fn a_key_of_the_other_kind_is_refused_in_both_halves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.pem");
        generate(KeyKind::Root, &path).unwrap();
        let error = PrivateKey::read(&path, KeyKind::Image).unwrap_err();
        assert!(matches!(error, KeyError::WrongKind { .. }), "{error}");
        let error = PublicKey::read(&public_path(&path), KeyKind::Image).unwrap_err();
        assert!(matches!(error, KeyError::WrongKind { .. }), "{error}");
    }

    #[test]
    fn published_test_keys_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (number, (seed, public)) in PUBLISHED_SEEDS.iter().zip(PUBLISHED).enumerate() {
            let seed: [u8; 32] = hex::decode(seed).unwrap().try_into().unwrap();
            let key = SigningKey::from_bytes(&seed);
            assert_eq!(hex::encode(key.verifying_key().as_bytes()), public);
            let path = folder.path().join(number.to_string());
            let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
            files::create(&path, pem.as_bytes(), Access::Secret).unwrap();
            assert!(matches!(PrivateKey::read_any(&path), Err(KeyError::Worthless(_))));
        }
    }

    #[test]
    fn debug_shows_no_private_key() {
        let key = random_key().unwrap();
        let shown = format!("{:?}", PrivateKey { kind: None, key: key.clone() });
        assert!(!shown.contains(&hex::encode(key.to_bytes())));
        assert!(shown.contains(&hex::encode(key.verifying_key().as_bytes())));
    }
}
