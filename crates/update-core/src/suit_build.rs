//! Building what is signed: SUIT envelopes and key sets. The caller does the signing.

use alloc::vec::Vec;
use core::convert::Infallible;

use minicbor::Encoder;
use minicbor::data::Tag;
use minicbor::encode::Error;

use crate::block::{BlockSize, ImageSize};
use crate::cose::{ED25519, SIGN1_TAG, SIGNATURE_BYTES};
use crate::digest::Digest;
use crate::key_set::{self, KeySet};
use crate::suit::envelope::{AUTHENTICATION, ENVELOPE_TAG, MANIFEST, SHA_256};
use crate::suit::manifest::{self, member};
use crate::suit::offer::{IMAGE_COMPONENT, IMAGE_URI, TREE_COMPONENT};
use crate::suit::sequence::{command, parameter};

/// Conditions report every outcome, directives only their failure (draft section 8.4.7, and its examples).
const REPORT_ALL: u8 = 15;
const REPORT_FAILURE: u8 = 2;

/// The content of an image's SUIT manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draft {
    /// The manifest sequence number.
    pub sequence_number: u64,
    /// Vendor identifier (UUID) of the devices it is for.
    pub vendor: [u8; 16],
    /// Class identifier (UUID) of the devices it is for.
    pub class: [u8; 16],
    /// The size of the image.
    pub image_size: ImageSize,
    /// SHA-256 of the whole image.
    pub image_digest: Digest,
    /// The size of the blocks, and of the hash pages.
    pub block_size: BlockSize,
    /// SHA-256(01 || root page) of the hash tree.
    pub tree_root: Digest,
}

type Sink = Encoder<Vec<u8>>;
type Written = Result<(), Error<Infallible>>;

impl Draft {
    /// The digest of the manifest, which names the update.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // Over the byte string with its head (draft section 8.3).
        Digest::of(&encode(|e| e.bytes(&self.manifest())?.ok()))
    }

    /// The bytes for an image key to sign with Ed25519: the Sig_structure of RFC 9052 section 4.4.
    #[must_use]
    pub fn to_be_signed(&self) -> Vec<u8> {
        to_be_signed(&write_digest(&self.digest()))
    }

    /// The SUIT envelope with the signature over [`Self::to_be_signed`].
    #[must_use]
    pub fn attach(&self, signature: [u8; SIGNATURE_BYTES]) -> Vec<u8> {
        let sign1 = write_sign1(None, &signature);
        let authentication =
            encode(|e| e.array(2)?.bytes(&write_digest(&self.digest()))?.bytes(&sign1)?.ok());
        encode(|e| {
            e.tag(Tag::new(ENVELOPE_TAG))?.map(2)?;
            e.i64(AUTHENTICATION)?.bytes(&authentication)?;
            e.i64(MANIFEST)?.bytes(&self.manifest())?.ok()
        })
    }

    /// Map keys ascend everywhere, as deterministic encoding requires.
    fn manifest(&self) -> Vec<u8> {
        encode(|e| {
            e.map(5)?.i64(member::VERSION)?.u64(manifest::VERSION)?;
            e.i64(member::SEQUENCE_NUMBER)?.u64(self.sequence_number)?;
            e.i64(member::COMMON)?.bytes(&self.common())?;
            e.i64(member::VALIDATE)?.bytes(&validate())?;
            e.i64(member::INSTALL)?.bytes(&install())?.ok()
        })
    }

    fn common(&self) -> Vec<u8> {
        // Lossless: a block has at most 1024 bytes.
        let block_bytes = (self.block_size.bytes() as u16).to_be_bytes();
        encode(|e| {
            e.map(2)?.i64(member::COMPONENTS)?.array(2)?;
            e.array(1)?.bytes(IMAGE_COMPONENT)?;
            e.array(2)?.bytes(TREE_COMPONENT)?.bytes(&block_bytes)?;
            e.i64(member::SHARED_SEQUENCE)?.bytes(&self.shared_sequence())?.ok()
        })
    }

    fn shared_sequence(&self) -> Vec<u8> {
        encode(|e| {
            e.array(12)?;
            e.i64(command::SET_COMPONENT_INDEX)?.u8(0)?;
            e.i64(command::OVERRIDE_PARAMETERS)?.map(4)?;
            e.i64(parameter::VENDOR_IDENTIFIER)?.bytes(&self.vendor)?;
            e.i64(parameter::CLASS_IDENTIFIER)?.bytes(&self.class)?;
            e.i64(parameter::IMAGE_DIGEST)?.bytes(&write_digest(&self.image_digest))?;
            e.i64(parameter::IMAGE_SIZE)?.u32(self.image_size.bytes())?;
            e.i64(command::VENDOR_IDENTIFIER)?.u8(REPORT_ALL)?;
            e.i64(command::CLASS_IDENTIFIER)?.u8(REPORT_ALL)?;
            e.i64(command::SET_COMPONENT_INDEX)?.u8(1)?;
            e.i64(command::OVERRIDE_PARAMETERS)?.map(2)?;
            e.i64(parameter::IMAGE_DIGEST)?.bytes(&write_digest(&self.tree_root))?;
            e.i64(parameter::IMAGE_SIZE)?.u32(self.block_size.bytes())?.ok()
        })
    }
}

impl KeySet {
    /// The bytes for the root key to sign with Ed25519: the Sig_structure of RFC 9052 section 4.4.
    #[must_use]
    pub fn to_be_signed(&self) -> Vec<u8> {
        to_be_signed(&self.payload())
    }

    /// The COSE_Sign1 with the signature over [`Self::to_be_signed`].
    #[must_use]
    pub fn attach(&self, signature: [u8; SIGNATURE_BYTES]) -> Vec<u8> {
        write_sign1(Some(&self.payload()), &signature)
    }

    fn payload(&self) -> Vec<u8> {
        encode(|e| {
            e.map(2)?.i64(key_set::VERSION)?.u64(self.version())?;
            e.i64(key_set::KEYS)?.array(self.keys().len() as u64)?;
            self.keys().iter().try_for_each(|key| e.bytes(key)?.ok())
        })
    }
}

fn validate() -> Vec<u8> {
    encode(|e| {
        e.array(4)?.i64(command::SET_COMPONENT_INDEX)?.u8(0)?;
        e.i64(command::IMAGE_MATCH)?.u8(REPORT_ALL)?.ok()
    })
}

fn install() -> Vec<u8> {
    encode(|e| {
        e.array(8)?.i64(command::SET_COMPONENT_INDEX)?.u8(0)?;
        e.i64(command::OVERRIDE_PARAMETERS)?.map(1)?.i64(parameter::URI)?.str(IMAGE_URI)?;
        e.i64(command::FETCH)?.u8(REPORT_FAILURE)?;
        e.i64(command::IMAGE_MATCH)?.u8(REPORT_ALL)?.ok()
    })
}

/// The content of a SUIT_Digest.
fn write_digest(digest: &Digest) -> Vec<u8> {
    encode(|e| e.array(2)?.i64(SHA_256)?.bytes(&digest.0)?.ok())
}

fn protected() -> Vec<u8> {
    encode(|e| e.map(1)?.u8(1)?.i64(ED25519)?.ok())
}

fn to_be_signed(payload: &[u8]) -> Vec<u8> {
    encode(|e| e.array(4)?.str("Signature1")?.bytes(&protected())?.bytes(&[])?.bytes(payload)?.ok())
}

fn write_sign1(payload: Option<&[u8]>, signature: &[u8]) -> Vec<u8> {
    encode(|e| {
        e.tag(Tag::new(SIGN1_TAG))?.array(4)?.bytes(&protected())?.map(0)?;
        match payload {
            Some(payload) => e.bytes(payload)?,
            None => e.null()?,
        };
        e.bytes(signature)?.ok()
    })
}

fn encode(write: impl FnOnce(&mut Sink) -> Written) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    // A vector takes all bytes, and every value above can be encoded: the error is `Infallible`.
    let written = write(&mut encoder);
    debug_assert!(written.is_ok());
    encoder.into_writer()
}
