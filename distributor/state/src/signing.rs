//! Signs an image. Its SUIT envelope is checked with the code that devices run before anything is written.

use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, VerifyingKey};
use update_core::block::BlockSize;
use update_core::device::Device;
use update_core::key_set::KeySet;
use update_core::refusal::Refusal;
use update_core::suit::{self, Offer};
use update_core::suit_build::Draft;
use uuid::Uuid;

use crate::files::{self, Access, FileError, shown};
use crate::image::{self, ImageError};
use crate::keys::{self, KeyError, KeyKind, PrivateKey, PublicKey};

/// By how much a manifest sequence number may rise at once. A single typo could make every later number too
/// low.
const SEQUENCE_STEP_MAX: u64 = 1_000_000;
/// The longest file that is read as a signature, in bytes.
const SIGNATURE_FILE_BYTES_MAX: u64 = 1024;

/// An operator's settings for signing an image.
#[derive(Debug, Clone)]
pub struct Request {
    /// The image.
    pub image: PathBuf,
    /// SUIT vendor identifier of the devices it is for.
    pub vendor: Uuid,
    /// SUIT class identifier of the devices it is for.
    pub class: Uuid,
    /// The manifest sequence number.
    pub sequence: u64,
    /// The manifest sequence number of the previous image.
    pub previous: u64,
    /// Whether the number may rise by more than a million.
    pub force_jump: bool,
    /// Bytes per image block.
    pub block_size: BlockSize,
    /// What to write.
    pub product: Product,
}

/// What to write.
#[derive(Debug, Clone)]
pub enum Product {
    /// The bytes to be signed with Ed25519 elsewhere.
    ToBeSigned(PathBuf),
    /// The envelope, signed with a private image key.
    Signed {
        /// The private key.
        key: PathBuf,
        /// Where the envelope is written.
        out: PathBuf,
    },
    /// The envelope, with a signature that was made elsewhere.
    Attached {
        /// The public key.
        key: PathBuf,
        /// The signature: 64 bytes, or 128 hexadecimal digits.
        signature: PathBuf,
        /// Where the envelope is written.
        out: PathBuf,
    },
}

impl Product {
    /// The path of the output.
    pub fn file(&self) -> &Path {
        match self {
            Self::ToBeSigned(file) | Self::Signed { out: file, .. } | Self::Attached { out: file, .. } => {
                file
            }
        }
    }
}

/// Why an image was not signed. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Devices would refuse its number.
    #[error(
        "manifest sequence number {new} is not higher than {previous}, that of the previous image, so \
         devices would refuse it: give a higher one with --sequence"
    )]
    NotHigher {
        /// The number.
        new: u64,
        /// That of the previous image.
        previous: u64,
    },
    /// Its number looks like a typo, which could not be undone.
    #[error(
        "manifest sequence number {new} is more than {SEQUENCE_STEP_MAX} above {previous}, and devices \
         never go back: correct --sequence, give the previous number with --previous, or insist with \
         --force-jump"
    )]
    Jump {
        /// The number.
        new: u64,
        /// That of the previous image.
        previous: u64,
    },
    /// Devices would refuse it.
    #[error("nothing was written, because a device would refuse {}: {why}", shown(.image))]
    Refused {
        /// Which image.
        image: PathBuf,
        /// Their reason.
        why: &'static str,
    },
    /// The file has no signature.
    #[error("{} is not an Ed25519 signature: give a file of 64 bytes or 128 hexadecimal digits", shown(.0))]
    NoSignature(PathBuf),
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// The manifest's content.
    pub draft: Draft,
    /// The fingerprint of the image key; `None` if only the bytes to be signed were written.
    pub key: Option<String>,
}

/// Signs the image, or writes the bytes to be signed.
///
/// # Errors
/// The number is too low or too high, a file cannot be used, or devices would refuse the result.
pub fn sign(request: &Request) -> Result<Written, SignError> {
    check_sequence(request)?;
    let target = request.product.file();
    files::check_target(target)?;
    let tree = image::hash(&request.image, request.block_size)?;
    let (vendor, class) = (request.vendor.into_bytes(), request.class.into_bytes());
    let draft = image::draft(&tree, request.sequence, vendor, class);
    let Some((envelope, public)) = envelope(&draft, &request.product)? else {
        files::create(target, &draft.to_be_signed(), Access::Public)?;
        return Ok(Written { draft, key: None });
    };
    check_as_device(request, &draft, &envelope, &public)?;
    files::create(target, &envelope, Access::Public)?;
    Ok(Written { draft, key: Some(keys::fingerprint(public.as_bytes())) })
}

fn check_sequence(request: &Request) -> Result<(), SignError> {
    let (new, previous) = (request.sequence, request.previous);
    if new <= previous {
        return Err(SignError::NotHigher { new, previous });
    }
    if new - previous > SEQUENCE_STEP_MAX && !request.force_jump {
        return Err(SignError::Jump { new, previous });
    }
    Ok(())
}

/// The envelope, and the public key that verifies it; `None` if it is signed elsewhere.
fn envelope(draft: &Draft, product: &Product) -> Result<Option<(Vec<u8>, VerifyingKey)>, SignError> {
    Ok(match product {
        Product::ToBeSigned(_) => None,
        Product::Signed { key, .. } => {
            let key = PrivateKey::read(key, KeyKind::Image)?.key;
            let signature = key.sign(&draft.to_be_signed()).to_bytes();
            Some((draft.attach(signature), key.verifying_key()))
        }
        Product::Attached { key, signature, .. } => {
            let public = PublicKey::read_ed25519(key, KeyKind::Image)?;
            Some((draft.attach(read_signature(signature)?), public))
        }
    })
}

/// Runs the device's own code on what is about to be written.
fn check_as_device(
    request: &Request,
    draft: &Draft,
    envelope: &[u8],
    key: &VerifyingKey,
) -> Result<(), SignError> {
    let refused = |refusal: Refusal| {
        let why = match (refusal, &request.product) {
            (Refusal::BadSignature, Product::Attached { .. }) => {
                "the signature was not made with this key over these bytes: prepare them again with the \
                 same arguments"
            }
            _ => refusal.text(),
        };
        SignError::Refused { image: request.image.clone(), why }
    };
    let key_set = KeySet::new(1, &[key.to_bytes()]).map_err(|_| refused(Refusal::BadSignature))?;
    let offer = suit::verify(envelope, &key_set).map_err(|error| refused(error.into()))?;
    let device = Device {
        vendor: request.vendor.into_bytes(),
        class: request.class.into_bytes(),
        slot_bytes: draft.image_size.bytes(),
        installed: None,
    };
    device.admit(&offer).map_err(refused)?;
    same(draft, &offer).then_some(()).ok_or_else(|| refused(Refusal::Malformed))?;
    image::check(&request.image, &offer)?;
    Ok(())
}

/// Whether the device reads what was intended.
fn same(draft: &Draft, offer: &Offer) -> bool {
    offer.digest == draft.digest()
        && offer.sequence_number == draft.sequence_number
        && offer.layout.image_size == draft.image_size
        && offer.layout.block_size == draft.block_size
        && offer.image_digest == draft.image_digest
        && offer.tree_root == draft.tree_root
}

fn read_signature(path: &Path) -> Result<[u8; 64], SignError> {
    let bytes = files::read(path, SIGNATURE_FILE_BYTES_MAX)?;
    if let Ok(signature) = <[u8; 64]>::try_from(bytes.as_slice()) {
        return Ok(signature);
    }
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let digits: String = text.split_whitespace().collect();
    let mut signature = [0; 64];
    hex::decode_to_slice(&digits, &mut signature).map_err(|_| SignError::NoSignature(path.into()))?;
    Ok(signature)
}
