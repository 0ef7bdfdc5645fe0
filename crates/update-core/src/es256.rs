//! SUIT envelopes that other tools signed with ECDSA P-256. Only for hosts: agents accept Ed25519 only.

use p256::PublicKey;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};

use crate::cose::Sign1;
use crate::digest::Digest;
use crate::suit::envelope::Envelope;
use crate::suit::{self, Offer, SuitError};

/// ES256, which leaves the curve to the key (RFC 9053 section 2.1), and ESP256 (RFC 9864 section 2.1).
const ALGORITHMS: [i64; 2] = [-7, -9];

/// A P-256 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Es256Key(VerifyingKey);

impl Es256Key {
    /// Reads an encoded point (SEC 1 section 2.3.3), compressed or not.
    #[must_use]
    pub fn from_sec1(point: &[u8]) -> Option<Self> {
        VerifyingKey::from_sec1_bytes(point).ok().map(Self)
    }

    /// Reads a PEM file (`BEGIN PUBLIC KEY`).
    #[must_use]
    pub fn from_pem(pem: &str) -> Option<Self> {
        let key: PublicKey = pem.parse().ok()?;
        Some(Self(key.into()))
    }

    /// Verifies the digest and the signature of a SUIT envelope, whatever its manifest says.
    ///
    /// # Errors
    /// What is wrong with the envelope, digest, algorithm or signature.
    pub fn authenticate(&self, envelope: &[u8]) -> Result<Digest, SuitError> {
        let envelope = Envelope::parse(envelope)?;
        Ok(envelope.authenticate(&ALGORITHMS, |sign1, payload| self.made(sign1, payload))?.digest)
    }

    /// Verifies a SUIT envelope and reads the offer in it, like [`suit::verify`].
    ///
    /// # Errors
    /// The same as for [`suit::verify`]. A SUIT manifest written by others is rarely an offer.
    pub fn verify(&self, envelope: &[u8]) -> Result<Offer, SuitError> {
        suit::verify_with(envelope, &ALGORITHMS, |sign1, payload| self.made(sign1, payload))
    }

    fn made(&self, sign1: &Sign1<'_>, payload: &[u8]) -> bool {
        let Ok(signature) = Signature::from_slice(sign1.signature) else {
            return false;
        };
        sign1.sig_structure(payload).is_some_and(|signed| self.0.verify(signed.bytes(), &signature).is_ok())
    }
}
