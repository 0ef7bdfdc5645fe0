//! The SUIT manifest that offers an update: parsed and verified without a heap.
//!
//! [`verify`] lists the subset of draft-ietf-suit-manifest-37 that fwcast accepts.

pub(crate) mod envelope;
pub(crate) mod manifest;
pub(crate) mod offer;
pub(crate) mod sequence;

use crate::block::Layout;
use crate::cose::{ED25519_ALGORITHMS, Sign1};
use crate::digest::{Digest, UpdateId};
use crate::key_set::KeySet;
use envelope::{Authentic, Envelope};
use manifest::Manifest;

/// An update signed by an image key: what to receive, for which devices, and how to check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The digest of the signed SUIT manifest: the full name of the update.
    pub digest: Digest,
    /// The beginning of `digest`: the `<id>` in paths.
    pub id: UpdateId,
    /// The manifest sequence number.
    pub sequence_number: u64,
    /// Vendor identifier (UUID) of the devices it is for.
    pub vendor: [u8; 16],
    /// Class identifier (UUID) of the devices it is for.
    pub class: [u8; 16],
    /// The size of the image and of its blocks.
    pub layout: Layout,
    /// SHA-256 of the whole image.
    pub image_digest: Digest,
    /// SHA-256(01 || root page) of the hash tree.
    pub tree_root: Digest,
}

/// The part of a SUIT envelope that an error refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The envelope itself: tag, members, what follows it.
    Envelope,
    /// The authentication wrapper with its COSE_Sign1.
    Authentication,
    /// The manifest map.
    Manifest,
    /// The common section with the components.
    Common,
    /// The shared sequence.
    SharedSequence,
    /// The validate sequence.
    Validate,
    /// The install sequence.
    Install,
    /// The invoke sequence.
    Invoke,
}

/// Why a SUIT envelope is not an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuitError {
    /// The envelope is longer than [`crate::limits::ENVELOPE_BYTES_MAX`].
    TooLong,
    /// This part is not the CBOR structure that the standard defines.
    Malformed {
        /// Where.
        part: Part,
    },
    /// Well-formed, but not deterministically encoded (RFC 8949 section 4.2.1).
    NotDeterministic {
        /// Where.
        part: Part,
    },
    /// There is no signature.
    NoSignature,
    /// The COSE algorithm of the signature is not one of those accepted.
    UnknownAlgorithm {
        /// The COSE algorithm.
        algorithm: i64,
    },
    /// The signed SUIT_Digest is not the digest of the manifest.
    DigestMismatch,
    /// No image key made this signature.
    BadSignature,
    /// The manifest version is not 1.
    UnsupportedVersion {
        /// The version in the manifest.
        version: u64,
    },
    /// A map has a member outside the subset.
    UnsupportedMember {
        /// In which map.
        part: Part,
        /// Its key.
        key: i64,
    },
    /// A condition or directive is outside the subset, or not allowed in this sequence.
    UnsupportedCommand {
        /// Its number.
        command: i64,
    },
    /// A parameter is outside the subset, or not allowed here.
    UnsupportedParameter {
        /// Its number.
        parameter: i64,
    },
    /// The image comes from elsewhere than the `image` resource beside the manifest.
    UnsupportedUri,
    /// The components are not an image and its hash tree.
    NotAnOffer,
    /// A command comes before its component is selected.
    NoComponentSelected,
    /// A parameter that an offer needs is not set.
    ParameterMissing {
        /// Its number.
        parameter: i64,
    },
    /// A command that an offer needs is missing.
    StepMissing {
        /// Its number.
        command: i64,
    },
    /// The image is empty or larger than [`crate::limits::IMAGE_BYTES_MAX`].
    ImageSize {
        /// The size in bytes.
        bytes: u64,
    },
    /// The block size is not one of those accepted, or not the size of the root page.
    BlockSize {
        /// The size in bytes.
        bytes: u64,
    },
}

/// Verifies a SUIT envelope against the image keys and reads the offer in it.
///
/// The signature is checked before anything in the manifest is read (draft section 6.1). It is Ed25519 (COSE
/// algorithm -19 or -8), checked strictly. The subset of draft-ietf-suit-manifest-37:
///
/// * Tag 107 around the authentication wrapper and the manifest, in this order, with no other member. One
///   signature without unprotected header. Everything is deterministically encoded.
/// * Component 0 is `[h'00']`, the image. Component 1 is `[h'74726565', h'<block size>']` (`tree`, and 2
///   bytes, big-endian), its hash tree: the image-digest is SHA-256(01 || root page), the image-size the
///   bytes of a page, which is the block size.
/// * The shared sequence sets vendor-id, class-id, image-digest and image-size of the image, checks vendor
///   and class, and sets image-digest and image-size of the tree. Each is set once.
/// * Validate matches the image. Install fetches it from the URI `image`, relative to the manifest, and
///   matches it. There is no other sequence and no severed member.
///
/// # Errors
/// The first problem found: first in envelope, digest, algorithm and signature, then in the manifest.
pub fn verify(envelope: &[u8], keys: &KeySet) -> Result<Offer, SuitError> {
    verify_with(envelope, &ED25519_ALGORITHMS, |sign1, payload| {
        keys.keys().iter().any(|key| sign1.verify(payload, key))
    })
}

/// Verifies with any kind of key, then reads the offer.
pub(crate) fn verify_with(
    envelope: &[u8],
    algorithms: &[i64],
    verify: impl FnOnce(&Sign1<'_>, &[u8]) -> bool,
) -> Result<Offer, SuitError> {
    let Authentic { digest, manifest } = Envelope::parse(envelope)?.authenticate(algorithms, verify)?;
    Offer::from_manifest(&Manifest::parse(manifest)?, digest)
}
