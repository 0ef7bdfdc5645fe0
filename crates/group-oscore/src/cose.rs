//! The CBOR structures that are hashed, authenticated and signed.

use crate::{
    AeadAlgorithm, Gid, MemberId, PartialIv,
    limits::{
        AAD_ARRAY_BYTES_MAX, AAD_HEAD_BYTES_MAX, BSTR_HEAD_BYTES_MAX, DATAGRAM_BYTES_MAX, INFO_BYTES_MAX,
        SIGNATURE_BYTES,
    },
};
use minicbor::encode::{
    Encoder, Error,
    write::{Cursor, EndOfArray, EndOfSlice, Write as _},
};

/// EdDSA in the registry of COSE algorithms.
pub(crate) const EDDSA: i64 = -8;
/// ECDH-SS + HKDF-256.
const ECDH_SS_HKDF_256: i64 = -27;
/// The only version of OSCORE (RFC 8613 section 5.4).
const OSCORE_VERSION: u8 = 1;

/// `["Encrypt0", h'', external_aad` up to the last element (RFC 9052 section 5.3).
const ENC_STRUCTURE_START: &[u8] = b"\x83\x68Encrypt0\x40";
/// `["CounterSignature0", h'', h'', external_aad, ciphertext` up to the last two (RFC 9338 section 3.3). The
/// text there omits sign_protected; RFC 10021 implementations agree on five elements with an empty one.
const COUNTERSIGN_STRUCTURE_START: &[u8] = b"\x85\x71CounterSignature0\x40\x40";

/// CBOR in a buffer of its largest size.
#[derive(Clone)]
pub(crate) struct Encoded<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Encoded<N> {
    /// `None` if `N` is too small, which the limits rule out.
    fn new(
        write: impl FnOnce(&mut Encoder<Cursor<[u8; N]>>) -> Result<(), Error<EndOfArray>>,
    ) -> Option<Self> {
        let mut encoder = Encoder::new(Cursor::new([0; N]));
        write(&mut encoder).ok()?;
        let cursor = encoder.into_writer();
        Some(Self { length: cursor.position(), bytes: cursor.into_inner() })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The info of a key or Common IV: `[id, id_context, alg, type, L]` (RFC 8613 section 3.2.1).
pub(crate) fn key_info(
    id: &[u8],
    context: Option<&[u8]>,
    algorithm: AeadAlgorithm,
    ty: &str,
    length: usize,
) -> Option<Encoded<INFO_BYTES_MAX>> {
    Encoded::new(|encoder| {
        encoder.array(5)?.bytes(id)?;
        match context {
            Some(context) => encoder.bytes(context)?,
            None => encoder.null()?,
        };
        encoder.i64(algorithm.cose())?.str(ty)?.u64(length as u64)?.ok()
    })
}

/// The info of a countersignature's keystream: `[id, id_context, type, L]` (RFC 10021 section 4.2).
pub(crate) fn keystream_info(
    generator: &[u8],
    gid: &[u8],
    is_request: bool,
) -> Option<Encoded<INFO_BYTES_MAX>> {
    Encoded::new(|encoder| {
        encoder.array(4)?.bytes(generator)?.bytes(gid)?.bool(is_request)?.u64(SIGNATURE_BYTES as u64)?.ok()
    })
}

/// The fixed part of a group's external_aad: `[1, [alg_aead, alg_group_enc, alg_signature,
/// alg_pairwise_key_agreement], ...` without the rest of the nine elements.
pub(crate) type AadHead = Encoded<AAD_HEAD_BYTES_MAX>;

pub(crate) fn group_aad_head(aead: AeadAlgorithm, group_encryption: AeadAlgorithm) -> Option<AadHead> {
    Encoded::new(|encoder| {
        encoder.array(9)?.u8(OSCORE_VERSION)?.array(4)?;
        encoder.i64(aead.cose())?.i64(group_encryption.cose())?.i64(EDDSA)?.i64(ECDH_SS_HKDF_256)?.ok()
    })
}

/// The request that a message is or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestIdentity {
    pub(crate) kid: MemberId,
    pub(crate) piv: PartialIv,
    pub(crate) gid: Gid,
}

/// The external_aad, and the two structures that contain it. They share one buffer: the start of either one
/// is written in front of the external_aad when needed.
pub(crate) struct Structures<const N: usize> {
    bytes: [u8; N],
    /// Where the external_aad byte string begins.
    aad_start: usize,
    aad_end: usize,
}

/// Enough for a sender, which signs the ciphertext where it is.
pub(crate) type SenderStructures = Structures<{ AAD_ARRAY_START + AAD_ARRAY_BYTES_MAX }>;
/// Enough for a receiver, which must verify over one slice.
pub(crate) type ReceiverStructures =
    Structures<{ AAD_ARRAY_START + AAD_ARRAY_BYTES_MAX + BSTR_HEAD_BYTES_MAX + DATAGRAM_BYTES_MAX }>;

const AAD_ARRAY_START: usize = COUNTERSIGN_STRUCTURE_START.len() + BSTR_HEAD_BYTES_MAX;

impl<const N: usize> Structures<N> {
    /// The external_aad of group and pairwise mode (RFC 10021 section 3.4). `option` is the value of the
    /// OSCORE option, and `sender_credential` the credential of the sender of this message.
    pub(crate) fn group(
        head: &AadHead,
        request: &RequestIdentity,
        option: &[u8],
        sender_credential: &[u8],
        gm_credential: &[u8],
    ) -> Option<Self> {
        Self::new(|encoder| {
            encoder.writer_mut().write_all(head.as_bytes()).map_err(Error::write)?;
            encoder.bytes(request.kid.as_bytes())?.bytes(request.piv.to_wire().as_bytes())?.bytes(&[])?;
            encoder.bytes(request.gid.as_bytes())?.bytes(option)?;
            encoder.bytes(sender_credential)?.bytes(gm_credential)?.ok()
        })
    }

    /// The external_aad of plain OSCORE (RFC 8613 section 5.4).
    pub(crate) fn plain(algorithm: AeadAlgorithm, request: &RequestIdentity) -> Option<Self> {
        Self::new(|encoder| {
            encoder.array(5)?.u8(OSCORE_VERSION)?.array(1)?.i64(algorithm.cose())?;
            encoder.bytes(request.kid.as_bytes())?.bytes(request.piv.to_wire().as_bytes())?.bytes(&[])?.ok()
        })
    }

    fn new(
        write: impl FnOnce(&mut Encoder<Cursor<&mut [u8]>>) -> Result<(), Error<EndOfSlice>>,
    ) -> Option<Self> {
        let mut bytes = [0; N];
        let mut encoder = Encoder::new(Cursor::new(bytes.get_mut(AAD_ARRAY_START..)?));
        write(&mut encoder).ok()?;
        let length = encoder.into_writer().position();
        let head = bstr_head(length)?;
        let aad_start = AAD_ARRAY_START - head.length;
        put(bytes.get_mut(aad_start..AAD_ARRAY_START)?, head.as_bytes())?;
        Some(Self { bytes, aad_start, aad_end: AAD_ARRAY_START + length })
    }

    /// The array inside the byte string.
    #[cfg(feature = "inspect")]
    pub(crate) fn external_aad(&self) -> &[u8] {
        self.bytes.get(AAD_ARRAY_START..self.aad_end).unwrap_or_default()
    }

    /// The associated data of the AEAD: `["Encrypt0", h'', external_aad]`.
    pub(crate) fn enc_structure(&mut self) -> Option<&[u8]> {
        self.starting_with(ENC_STRUCTURE_START)
    }

    /// What is signed, without the ciphertext: its [`bstr_head`] and bytes follow.
    pub(crate) fn countersign_start(&mut self) -> Option<&[u8]> {
        self.starting_with(COUNTERSIGN_STRUCTURE_START)
    }

    /// What is signed. `None` if the buffer has no room for the ciphertext.
    pub(crate) fn countersign_structure(&mut self, ciphertext: &[u8]) -> Option<&[u8]> {
        let start = self.aad_start.checked_sub(COUNTERSIGN_STRUCTURE_START.len())?;
        self.starting_with(COUNTERSIGN_STRUCTURE_START)?;
        let head = bstr_head(ciphertext.len())?;
        let text_start = self.aad_end + head.length;
        let end = text_start + ciphertext.len();
        put(self.bytes.get_mut(self.aad_end..text_start)?, head.as_bytes())?;
        self.bytes.get_mut(text_start..end)?.copy_from_slice(ciphertext);
        self.bytes.get(start..end)
    }

    fn starting_with(&mut self, start: &[u8]) -> Option<&[u8]> {
        let at = self.aad_start.checked_sub(start.len())?;
        self.bytes.get_mut(at..self.aad_start)?.copy_from_slice(start);
        self.bytes.get(at..self.aad_end)
    }
}

/// The initial bytes of a byte string of this length; `None` from 64 KiB on.
pub(crate) fn bstr_head(length: usize) -> Option<Encoded<BSTR_HEAD_BYTES_MAX>> {
    Encoded::new(|encoder| encoder.bytes_len(length as u64)?.ok())
}

/// Copies `bytes` to a place of the same length; `None` if the lengths differ.
fn put(place: &mut [u8], bytes: &[u8]) -> Option<()> {
    if place.len() != bytes.len() {
        return None;
    }
    place.copy_from_slice(bytes);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starts_are_cbor() {
        let mut buffer = [0; 32];
        let mut encoder = Encoder::new(Cursor::new(&mut buffer[..]));
        encoder.array(3).unwrap().str("Encrypt0").unwrap().bytes(&[]).unwrap();
        assert_eq!(&buffer[..ENC_STRUCTURE_START.len()], ENC_STRUCTURE_START);
        let mut encoder = Encoder::new(Cursor::new(&mut buffer[..]));
        encoder.array(5).unwrap().str("CounterSignature0").unwrap().bytes(&[]).unwrap().bytes(&[]).unwrap();
        assert_eq!(&buffer[..COUNTERSIGN_STRUCTURE_START.len()], COUNTERSIGN_STRUCTURE_START);
    }

    #[test]
    fn the_longest_of_everything_fits() {
        use crate::limits::{CREDENTIAL_BYTES_MAX, GID_BYTES_MAX, MEMBER_ID_BYTES_MAX, OPTION_BYTES_MAX};
        let algorithm = AeadAlgorithm::ChaCha20Poly1305;
        let head = group_aad_head(algorithm, algorithm).unwrap();
        let identity = RequestIdentity {
            kid: MemberId::new(&[1; MEMBER_ID_BYTES_MAX]).unwrap(),
            piv: PartialIv::new(crate::limits::SEQUENCE_NUMBER_MAX).unwrap(),
            gid: Gid::new(&[2; GID_BYTES_MAX]).unwrap(),
        };
        let credential = [3; CREDENTIAL_BYTES_MAX];
        let option = [4; OPTION_BYTES_MAX];
        let mut structures =
            ReceiverStructures::group(&head, &identity, &option, &credential, &credential).unwrap();
        assert!(structures.countersign_structure(&[5; DATAGRAM_BYTES_MAX]).is_some());
        assert!(SenderStructures::group(&head, &identity, &option, &credential, &credential).is_some());
        let context = [6; crate::limits::ID_CONTEXT_BYTES_MAX];
        assert!(key_info(&[1; MEMBER_ID_BYTES_MAX], Some(&context), algorithm, "SEKey", 32).is_some());
        assert!(keystream_info(&[1; MEMBER_ID_BYTES_MAX], &context, true).is_some());
    }
}
