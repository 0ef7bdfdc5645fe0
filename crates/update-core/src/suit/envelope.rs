//! The SUIT envelope: the manifest, its digest and the signature over the digest.

use super::{Part, SuitError};
use crate::cbor::Reader;
use crate::cose::Sign1;
use crate::digest::Digest;
use crate::limits::ENVELOPE_BYTES_MAX;

/// The CBOR tag of a SUIT_Envelope.
pub(crate) const ENVELOPE_TAG: u64 = 107;
/// The envelope member with the authentication wrapper.
pub(crate) const AUTHENTICATION: i64 = 2;
/// The envelope member with the manifest.
pub(crate) const MANIFEST: i64 = 3;
/// SHA-256 as a COSE algorithm (RFC 9054 section 2.1).
pub(crate) const SHA_256: i64 = -16;

/// A SUIT envelope, split into its parts. The manifest has not been read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope<'b> {
    /// The content of the SUIT_Digest: the signed payload.
    digest_content: &'b [u8],
    digest: Digest,
    sign1: Option<Sign1<'b>>,
    /// The manifest in its byte string, with the head: what the digest covers.
    wrapped_manifest: &'b [u8],
    manifest: &'b [u8],
}

/// A SUIT manifest whose signature has been verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Authentic<'b> {
    pub(crate) digest: Digest,
    pub(crate) manifest: &'b [u8],
}

impl<'b> Envelope<'b> {
    /// Draft section 8.2: the authentication wrapper, then the manifest, and no other member.
    pub(crate) fn parse(envelope: &'b [u8]) -> Result<Self, SuitError> {
        if envelope.len() > ENVELOPE_BYTES_MAX {
            return Err(SuitError::TooLong);
        }
        let mut reader = reader(envelope, Part::Envelope);
        reader.tag(ENVELOPE_TAG)?;
        let members = reader.map()?;
        let mut previous: &[u8] = &[];
        expect_key(&mut reader, &mut previous, AUTHENTICATION)?;
        let authentication = reader.bytes()?;
        expect_key(&mut reader, &mut previous, MANIFEST)?;
        let (manifest, wrapped_manifest) = reader.bytes_and_encoding()?;
        if members > 2 {
            let key = reader.key(&mut previous)?;
            return Err(SuitError::UnsupportedMember { part: Part::Envelope, key });
        }
        reader.exactly(members, 2)?;
        reader.end()?;
        let (digest_content, sign1) = read_authentication(authentication)?;
        let digest = read_digest(digest_content, Part::Authentication)?;
        Ok(Self { digest_content, digest, sign1, wrapped_manifest, manifest })
    }

    /// The COSE algorithm of the signature, if there is one.
    #[cfg(feature = "alloc")]
    pub(crate) fn algorithm(&self) -> Option<i64> {
        self.sign1.map(|sign1| sign1.algorithm)
    }

    /// The manifest, without checking the signature.
    #[cfg(feature = "alloc")]
    pub(crate) const fn unverified_manifest(&self) -> &'b [u8] {
        self.manifest
    }

    /// The digest of the manifest, after comparison with the signed one.
    ///
    /// Draft section 8.3: it is computed over the byte string with its head.
    pub(crate) fn checked_digest(&self) -> Result<Digest, SuitError> {
        let same = Digest::of(self.wrapped_manifest) == self.digest;
        if same { Ok(self.digest) } else { Err(SuitError::DigestMismatch) }
    }

    /// The manifest, if its digest is right, the signature algorithm is one of these, and `verify(signature,
    /// signed payload)` finds a key that made the signature.
    ///
    /// Draft section 6.1: nothing in the manifest may be parsed before this.
    pub(crate) fn authenticate(
        &self,
        algorithms: &[i64],
        verify: impl FnOnce(&Sign1<'b>, &[u8]) -> bool,
    ) -> Result<Authentic<'b>, SuitError> {
        let sign1 = self.sign1.ok_or(SuitError::NoSignature)?;
        let digest = self.checked_digest()?;
        if !algorithms.contains(&sign1.algorithm) {
            return Err(SuitError::UnknownAlgorithm { algorithm: sign1.algorithm });
        }
        // The payload is the SUIT_Digest without the head of its byte string.
        if !verify(&sign1, self.digest_content) {
            return Err(SuitError::BadSignature);
        }
        Ok(Authentic { digest, manifest: self.manifest })
    }
}

/// A reader for one part of the envelope.
pub(super) fn reader(bytes: &[u8], part: Part) -> Reader<'_, SuitError> {
    Reader::new(bytes, SuitError::Malformed { part }, SuitError::NotDeterministic { part })
}

/// Reads a SUIT_Digest (draft section 8.3). Only SHA-256 is known.
pub(super) fn read_digest(content: &[u8], part: Part) -> Result<Digest, SuitError> {
    let mut reader = reader(content, part);
    let len = reader.array()?;
    reader.exactly(len, 2)?;
    let algorithm = reader.int()?;
    if algorithm != SHA_256 {
        return Err(SuitError::UnknownAlgorithm { algorithm });
    }
    let digest = Digest(*reader.array_of()?);
    reader.end()?;
    Ok(digest)
}

/// The authentication wrapper: the content of the SUIT_Digest, and at most one signature.
fn read_authentication(wrapper: &[u8]) -> Result<(&[u8], Option<Sign1<'_>>), SuitError> {
    let mut reader = reader(wrapper, Part::Authentication);
    let len = reader.array()?;
    let digest_content = reader.bytes()?;
    if len == 1 {
        reader.end()?;
        return Ok((digest_content, None));
    }
    reader.exactly(len, 2)?;
    let block = reader.bytes()?;
    reader.end()?;
    let sign1 = reader.inside(block, Sign1::read_detached)?;
    Ok((digest_content, Some(sign1)))
}

fn expect_key<'b>(
    reader: &mut Reader<'b, SuitError>,
    previous: &mut &'b [u8],
    expected: i64,
) -> Result<(), SuitError> {
    if reader.key(previous)? == expected { Ok(()) } else { Err(reader.malformed()) }
}
