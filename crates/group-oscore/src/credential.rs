//! Authentication credentials (RFC 10021 section 2.4).

use crate::{CredentialError, DeriveError, cose::EDDSA, limits::CREDENTIAL_BYTES_MAX};
use core::fmt;
use ed25519_dalek::VerifyingKey;
use minicbor::{Decoder, Encoder, data::Type, decode::Error, encode::write::Cursor};

// Labels of CWT claims (RFC 8392, RFC 8747) and COSE keys (RFC 9053).
const CLAIM_CNF: i64 = 8;
const CNF_COSE_KEY: i64 = 1;
const KEY_TYPE: i64 = 1;
const KEY_ALGORITHM: i64 = 3;
const KEY_CURVE: i64 = -1;
const KEY_X: i64 = -2;
const OKP: i64 = 1;
const CURVE_ED25519: i64 = 6;
/// Ed25519, fully specified (RFC 9864).
const ED25519: i64 = -19;

/// A credential exactly as it was provisioned, and the Ed25519 public key in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    bytes: [u8; CREDENTIAL_BYTES_MAX],
    length: usize,
    public_key: [u8; 32],
}

impl Credential {
    /// A CWT Claims Set (CCS, untagged): finds the key in `cnf` (8) / `COSE_Key` (1), which must be an OKP
    /// key on Ed25519.
    pub fn from_ccs(ccs: &[u8]) -> Result<Self, CredentialError> {
        let mut decoder = Decoder::new(ccs);
        let key = find_key(&mut decoder).map_err(|_| CredentialError::Malformed)?;
        if decoder.position() != ccs.len() {
            return Err(CredentialError::Malformed);
        }
        let key = key.ok_or(CredentialError::Malformed)?;
        Self::with_key(ccs, key.public_key().ok_or(CredentialError::NotEd25519)?)
    }

    /// A credential of any format, with the public key that the caller has found in it.
    pub fn with_key(credential: &[u8], public_key: [u8; 32]) -> Result<Self, CredentialError> {
        let mut bytes = [0; CREDENTIAL_BYTES_MAX];
        bytes.get_mut(..credential.len()).ok_or(CredentialError::TooLong)?.copy_from_slice(credential);
        Ok(Self { bytes, length: credential.len(), public_key })
    }

    /// The credential's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The Ed25519 public key. Deriving a context checks whether it is valid.
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// RFC 10021 section 2.5.1: a key of small order must not be used in a key agreement, and no strict
    /// verification accepts it.
    pub(crate) fn verifying_key(&self) -> Result<VerifyingKey, DeriveError> {
        match VerifyingKey::from_bytes(&self.public_key) {
            Ok(key) if !key.is_weak() => Ok(key),
            _ => Err(DeriveError::InvalidPublicKey),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(")?;
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Writes the shortest CCS for a key, `{8: {1: {1: 1, 3: -8, -1: 6, -2: x}}}`, and returns its length, which
/// is 46. `None` if it does not fit.
pub fn encode_ccs(public_key: &[u8; 32], out: &mut [u8]) -> Option<usize> {
    let mut encoder = Encoder::new(Cursor::new(out));
    let key = encoder.map(1).and_then(|e| e.i64(CLAIM_CNF)?.map(1)?.i64(CNF_COSE_KEY)?.map(4)).ok()?;
    let key = key.i64(KEY_TYPE).and_then(|e| e.i64(OKP)?.i64(KEY_ALGORITHM)?.i64(EDDSA)).ok()?;
    key.i64(KEY_CURVE).and_then(|e| e.i64(CURVE_ED25519)?.i64(KEY_X)?.bytes(public_key)).ok()?;
    Some(encoder.writer().position())
}

/// The relevant members of a COSE_Key.
#[derive(Default)]
struct CoseKey<'a> {
    ty: Option<i64>,
    algorithm: Option<i64>,
    curve: Option<i64>,
    x: Option<&'a [u8]>,
}

impl CoseKey<'_> {
    fn public_key(&self) -> Option<[u8; 32]> {
        let algorithm_fits = matches!(self.algorithm, None | Some(EDDSA | ED25519));
        let is_ed25519 = self.ty == Some(OKP) && self.curve == Some(CURVE_ED25519) && algorithm_fits;
        self.x.filter(|_| is_ed25519)?.try_into().ok()
    }
}

fn find_key<'a>(decoder: &mut Decoder<'a>) -> Result<Option<CoseKey<'a>>, Error> {
    let mut key = None;
    for_each_member(decoder, |label, decoder| match label {
        Some(CLAIM_CNF) => for_each_member(decoder, |label, decoder| match label {
            Some(CNF_COSE_KEY) => {
                key = Some(cose_key(decoder)?);
                Ok(())
            }
            _ => decoder.skip(),
        }),
        _ => decoder.skip(),
    })?;
    Ok(key)
}

fn cose_key<'a>(decoder: &mut Decoder<'a>) -> Result<CoseKey<'a>, Error> {
    let mut key = CoseKey::default();
    for_each_member(decoder, |label, decoder| {
        match label {
            Some(KEY_TYPE) => key.ty = integer(decoder)?,
            Some(KEY_ALGORITHM) => key.algorithm = Some(integer(decoder)?.unwrap_or(0)),
            Some(KEY_CURVE) => key.curve = integer(decoder)?,
            Some(KEY_X) => key.x = Some(decoder.bytes()?),
            _ => decoder.skip()?,
        }
        Ok(())
    })?;
    Ok(key)
}

/// Calls `member` with each label of a map of definite length; a label that is not an integer is `None`.
fn for_each_member<'a>(
    decoder: &mut Decoder<'a>,
    mut member: impl FnMut(Option<i64>, &mut Decoder<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    let members = decoder.map()?.ok_or_else(|| Error::message("a map of indefinite length"))?;
    for _ in 0..members {
        let label = integer(decoder)?;
        member(label, decoder)?;
    }
    Ok(())
}

/// An integer, or `None` for a value of another type, which is skipped.
fn integer(decoder: &mut Decoder<'_>) -> Result<Option<i64>, Error> {
    match decoder.datatype()? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 => {
            decoder.i64().map(Some)
        }
        _ => decoder.skip().map(|()| None),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    const KEY: [u8; 32] = [0x5e; 32];

    fn ccs() -> Vec<u8> {
        let mut out = [0; 46];
        assert_eq!(encode_ccs(&KEY, &mut out), Some(46));
        assert_eq!(encode_ccs(&KEY, &mut [0; 45]), None);
        out.to_vec()
    }

    #[test]
    fn the_shortest_ccs_comes_back() {
        let credential = Credential::from_ccs(&ccs()).unwrap();
        assert_eq!(credential.public_key(), &KEY);
        assert_eq!(credential.as_bytes(), ccs());
        assert_eq!(ccs()[..14], *b"\xa1\x08\xa1\x01\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20");
    }

    #[test]
    fn other_claims_are_passed_over() {
        let mut with_claims = std::vec![0xa4, 0x02, 0x61, b'x', 0x61, b'y', 0xa1, 0x01, 0x80];
        with_claims.extend(&ccs()[1..]);
        with_claims.extend([0x04, 0x1a, 0x70, 0, 0x4b, 0x4f]);
        assert_eq!(Credential::from_ccs(&with_claims).unwrap().public_key(), &KEY);
    }

    #[test]
    fn faults_are_named() {
        let good = ccs();
        for length in 0..good.len() {
            assert_eq!(Credential::from_ccs(&good[..length]), Err(CredentialError::Malformed));
        }
        let with = |at: usize, byte: u8| {
            let mut changed = good.clone();
            changed[at] = byte;
            Credential::from_ccs(&changed)
        };
        assert_eq!(with(1, 0x07), Err(CredentialError::Malformed));
        assert_eq!(with(6, 0x02), Err(CredentialError::NotEd25519));
        assert_eq!(with(8, 0x26), Err(CredentialError::NotEd25519));
        assert_eq!(with(10, 0x04), Err(CredentialError::NotEd25519));
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(Credential::from_ccs(&longer), Err(CredentialError::Malformed));
        assert_eq!(Credential::with_key(&[0; 257], KEY), Err(CredentialError::TooLong));
    }

    #[test]
    fn weak_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        for key in [identity, minus_one, [0; 32], [2; 32]] {
            let credential = Credential::with_key(b"x", key).unwrap();
            assert_eq!(credential.verifying_key(), Err(DeriveError::InvalidPublicKey), "{key:?}");
        }
    }
}
