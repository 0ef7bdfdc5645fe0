//! COSE_Sign1 (RFC 9052 section 4.2) as fwcast uses it, with only an algorithm in the protected header.

use ed25519_dalek::{Signature, VerifyingKey};
use minicbor::Encoder;
use minicbor::encode::write::Cursor;

use crate::cbor::Reader;

/// Ed25519 (RFC 9864 section 2.2): what fwcast writes.
pub(crate) const ED25519: i64 = -19;
/// The algorithms that fwcast accepts: also EdDSA (-8), which leaves the curve to the key (RFC 9053 section
/// 2.2).
pub(crate) const ED25519_ALGORITHMS: [i64; 2] = [ED25519, -8];

/// The CBOR tag of a COSE_Sign1.
pub(crate) const SIGN1_TAG: u64 = 18;

/// The length of a signature, both of Ed25519 and of ECDSA with P-256.
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// Enough for the Sig_structure of a key set, the longest payload that is signed.
const SIG_STRUCTURE_BYTES_MAX: usize = crate::limits::KEY_SET_BYTES_MAX;

/// A COSE_Sign1, parsed but not yet verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sign1<'b> {
    protected: &'b [u8],
    /// The COSE algorithm of the signature.
    pub(crate) algorithm: i64,
    /// `None` if it is detached.
    pub(crate) payload: Option<&'b [u8]>,
    /// The signature, of any algorithm.
    pub(crate) signature: &'b [u8; SIGNATURE_BYTES],
}

impl<'b> Sign1<'b> {
    /// Reads a tagged COSE_Sign1 with a detached payload.
    pub(crate) fn read_detached<E: Copy>(reader: &mut Reader<'b, E>) -> Result<Self, E> {
        Self::read(reader, |reader| reader.null().map(|()| None))
    }

    /// Reads a tagged COSE_Sign1 with its payload.
    pub(crate) fn read_attached<E: Copy>(reader: &mut Reader<'b, E>) -> Result<Self, E> {
        Self::read(reader, |reader| reader.bytes().map(Some))
    }

    fn read<E: Copy>(
        reader: &mut Reader<'b, E>,
        payload: impl FnOnce(&mut Reader<'b, E>) -> Result<Option<&'b [u8]>, E>,
    ) -> Result<Self, E> {
        reader.tag(SIGN1_TAG)?;
        let len = reader.array()?;
        reader.exactly(len, 4)?;
        let protected = reader.bytes()?;
        let algorithm = reader.inside(protected, |header| {
            let len = header.map()?;
            header.exactly(len, 1)?;
            let is_alg = header.int()? == 1;
            if is_alg { header.int() } else { Err(header.malformed()) }
        })?;
        // No unprotected header: it could be changed without breaking the signature.
        let len = reader.map()?;
        reader.exactly(len, 0)?;
        Ok(Self { protected, algorithm, payload: payload(reader)?, signature: reader.array_of()? })
    }

    /// Whether `key` made this Ed25519 signature over `payload`.
    ///
    /// Strict: refuses a key or an R of small order, and an S that is not canonical.
    pub(crate) fn verify(&self, payload: &[u8], key: &[u8; 32]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(key) else {
            return false;
        };
        let signature = Signature::from_bytes(self.signature);
        SigStructure::new(self.protected, payload)
            .is_some_and(|signed| key.verify_strict(signed.bytes(), &signature).is_ok())
    }

    /// The bytes that were signed; `None` if they are longer than anything that fwcast signs.
    #[cfg(feature = "es256")]
    pub(crate) fn sig_structure(&self, payload: &[u8]) -> Option<SigStructure> {
        SigStructure::new(self.protected, payload)
    }
}

/// The bytes that a COSE_Sign1 signs: Sig_structure of RFC 9052 section 4.4 with an empty external_aad.
#[derive(Debug, Clone)]
pub(crate) struct SigStructure {
    buffer: [u8; SIG_STRUCTURE_BYTES_MAX],
    len: usize,
}

impl SigStructure {
    /// `None` if it does not fit.
    pub(crate) fn new(protected: &[u8], payload: &[u8]) -> Option<Self> {
        let mut encoder = Encoder::new(Cursor::new([0; SIG_STRUCTURE_BYTES_MAX]));
        encoder.array(4).ok()?.str("Signature1").ok()?;
        encoder.bytes(protected).ok()?.bytes(&[]).ok()?.bytes(payload).ok()?;
        let cursor = encoder.into_writer();
        let len = cursor.position();
        Some(Self { buffer: cursor.into_inner(), len })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}
