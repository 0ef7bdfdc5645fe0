//! The three AEAD algorithms (RFC 9053 section 4), applied in place.

use crate::{
    key::Key,
    limits::{NONCE_BYTES_MAX, TAG_BYTES_MAX},
    nonce::Nonce,
};
use aes::Aes128Enc;
use aes_gcm::{
    AesGcm,
    aead::{
        AeadInOut, KeyInit,
        consts::{U8, U12, U13},
    },
};
use ccm::Ccm;
use chacha20poly1305::ChaCha20Poly1305;

// Neither mode decrypts with the block cipher, so the key schedule is only half as long.
type Aes128Gcm = AesGcm<Aes128Enc, U12>;
type AesCcm16_64_128 = Ccm<Aes128Enc, U8, U13>;

/// An AEAD algorithm, for pairwise mode and plain OSCORE or as Group Encryption Algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AeadAlgorithm {
    /// AES-GCM with a 128-bit key and a 128-bit tag: COSE 1.
    A128Gcm,
    /// AES-CCM with a 128-bit key, a 64-bit tag and a 13-byte nonce: COSE 10, which every implementation has.
    AesCcm16_64_128,
    /// ChaCha20/Poly1305 with a 256-bit key and a 128-bit tag: COSE 24.
    ChaCha20Poly1305,
}

/// The tag does not match the key, nonce, associated data and ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagError;

impl AeadAlgorithm {
    /// All three.
    pub const ALL: [Self; 3] = [Self::A128Gcm, Self::AesCcm16_64_128, Self::ChaCha20Poly1305];

    /// The number in the registry of COSE algorithms.
    pub const fn cose(self) -> i64 {
        match self {
            Self::A128Gcm => 1,
            Self::AesCcm16_64_128 => 10,
            Self::ChaCha20Poly1305 => 24,
        }
    }

    /// The algorithm with this number, if it is one of the three.
    pub const fn from_cose(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::A128Gcm),
            10 => Some(Self::AesCcm16_64_128),
            24 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// The length of a key in bytes.
    pub const fn key_length(self) -> usize {
        match self {
            Self::A128Gcm | Self::AesCcm16_64_128 => 16,
            Self::ChaCha20Poly1305 => 32,
        }
    }

    /// The length of a nonce in bytes.
    pub const fn nonce_length(self) -> usize {
        match self {
            Self::A128Gcm | Self::ChaCha20Poly1305 => 12,
            Self::AesCcm16_64_128 => NONCE_BYTES_MAX,
        }
    }

    /// The length of a tag in bytes.
    pub const fn tag_length(self) -> usize {
        match self {
            Self::A128Gcm | Self::ChaCha20Poly1305 => TAG_BYTES_MAX,
            Self::AesCcm16_64_128 => 8,
        }
    }

    /// Encrypts the first `length` bytes of `buffer` in place and appends the tag. Returns the total length,
    /// or `None` if the tag does not fit.
    pub(crate) fn seal(
        self,
        key: &Key,
        nonce: &Nonce,
        associated_data: &[u8],
        buffer: &mut [u8],
        length: usize,
    ) -> Option<usize> {
        let sealed_length = length + self.tag_length();
        let (plaintext, tag) = buffer.get_mut(..sealed_length)?.split_at_mut_checked(length)?;
        match self {
            Self::A128Gcm => seal_with::<Aes128Gcm>(key, nonce, associated_data, plaintext, tag),
            Self::AesCcm16_64_128 => {
                seal_with::<AesCcm16_64_128>(key, nonce, associated_data, plaintext, tag)
            }
            Self::ChaCha20Poly1305 => {
                seal_with::<ChaCha20Poly1305>(key, nonce, associated_data, plaintext, tag)
            }
        }?;
        Some(sealed_length)
    }

    /// Decrypts ciphertext and tag in place and returns the plaintext.
    pub(crate) fn open<'b>(
        self,
        key: &Key,
        nonce: &Nonce,
        associated_data: &[u8],
        sealed: &'b mut [u8],
    ) -> Result<&'b [u8], TagError> {
        let length = sealed.len().checked_sub(self.tag_length()).ok_or(TagError)?;
        let (text, tag) = sealed.split_at_mut_checked(length).ok_or(TagError)?;
        match self {
            Self::A128Gcm => open_with::<Aes128Gcm>(key, nonce, associated_data, text, tag),
            Self::AesCcm16_64_128 => open_with::<AesCcm16_64_128>(key, nonce, associated_data, text, tag),
            Self::ChaCha20Poly1305 => open_with::<ChaCha20Poly1305>(key, nonce, associated_data, text, tag),
        }
        .ok_or(TagError)?;
        Ok(text)
    }
}

fn seal_with<A: AeadInOut + KeyInit>(
    key: &Key,
    nonce: &Nonce,
    associated_data: &[u8],
    plaintext: &mut [u8],
    tag_place: &mut [u8],
) -> Option<()> {
    let cipher = A::new_from_slice(key.as_bytes()).ok()?;
    let nonce = nonce.as_bytes().try_into().ok()?;
    let tag = cipher.encrypt_inout_detached(nonce, associated_data, plaintext.into()).ok()?;
    tag_place.copy_from_slice(tag.get(..tag_place.len())?);
    Some(())
}

fn open_with<A: AeadInOut + KeyInit>(
    key: &Key,
    nonce: &Nonce,
    associated_data: &[u8],
    ciphertext: &mut [u8],
    tag: &[u8],
) -> Option<()> {
    let cipher = A::new_from_slice(key.as_bytes()).ok()?;
    let nonce = nonce.as_bytes().try_into().ok()?;
    let tag = tag.try_into().ok()?;
    cipher.decrypt_inout_detached(nonce, associated_data, ciphertext.into(), tag).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemberId, PartialIv};

    #[test]
    fn numbers_come_back() {
        for algorithm in AeadAlgorithm::ALL {
            assert_eq!(AeadAlgorithm::from_cose(algorithm.cose()), Some(algorithm));
        }
        assert_eq!(AeadAlgorithm::from_cose(2), None);
    }

    #[test]
    fn what_was_sealed_opens_and_nothing_else() {
        for algorithm in AeadAlgorithm::ALL {
            let key = Key::new(&[7; 32][..algorithm.key_length()]).unwrap();
            let piv = PartialIv::new(9).unwrap();
            let nonce = Nonce::new(algorithm, &[3; NONCE_BYTES_MAX], MemberId::EMPTY, piv);
            let mut buffer = [0x55; 64];
            let length = algorithm.seal(&key, &nonce, b"aad", &mut buffer, 10).unwrap();
            assert_eq!(length, 10 + algorithm.tag_length());
            for broken in 0..length {
                let mut copy = buffer;
                copy[broken] ^= 1;
                assert_eq!(algorithm.open(&key, &nonce, b"aad", &mut copy[..length]), Err(TagError));
            }
            assert_eq!(algorithm.open(&key, &nonce, b"other", &mut { buffer }[..length]), Err(TagError));
            assert_eq!(algorithm.open(&key, &nonce, b"aad", &mut buffer[..length]), Ok(&[0x55; 10][..]));
            assert_eq!(algorithm.open(&key, &nonce, b"aad", &mut [0; 7]), Err(TagError));
            assert_eq!(algorithm.seal(&key, &nonce, b"aad", &mut [0; 16], 10), None);
        }
    }
}
