//! Nonces (RFC 8613 section 5.2, RFC 10021 section 3.3).

use crate::{
    AeadAlgorithm, MemberId, PartialIv,
    limits::{NONCE_BYTES_MAX, PARTIAL_IV_BYTES_MAX},
};

/// The nonce of one message under one algorithm.
#[derive(Clone, Copy)]
pub(crate) struct Nonce {
    bytes: [u8; NONCE_BYTES_MAX],
    length: usize,
}

impl Nonce {
    /// The length of the ID, the ID padded to N - 6 bytes and the Partial IV padded to 5, XORed with the
    /// first N bytes of the Common IV. `generator` is the Sender ID of the member that generated the Partial
    /// IV. Deriving a context checks that it fits; here a longer one would lose its first bytes.
    pub(crate) fn new(
        algorithm: AeadAlgorithm,
        common_iv: &[u8; NONCE_BYTES_MAX],
        generator: MemberId,
        piv: PartialIv,
    ) -> Self {
        let length = algorithm.nonce_length();
        let id = generator.as_bytes();
        let mut bytes = [0; NONCE_BYTES_MAX];
        let [size, rest @ ..] = &mut bytes;
        *size = id.len() as u8;
        let id_and_piv = id.iter().rev().zip(PARTIAL_IV_BYTES_MAX..);
        let padded = piv.padded();
        let places = padded.iter().rev().zip(0..).chain(id_and_piv);
        for (byte, from_end) in places {
            if let Some(place) = (length - 1).checked_sub(from_end + 1).and_then(|at| rest.get_mut(at)) {
                *place = *byte;
            }
        }
        bytes.iter_mut().zip(common_iv).take(length).for_each(|(byte, iv)| *byte ^= iv);
        Self { bytes, length }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8613 section 5.2, figure 5: the layout before the XOR.
    #[test]
    fn parts_are_padded_on_the_left() {
        let id = MemberId::new(&[0xa1, 0xa2]).unwrap();
        let piv = PartialIv::new(0x0123).unwrap();
        let nonce = |algorithm| Nonce::new(algorithm, &[0; NONCE_BYTES_MAX], id, piv);
        let ccm = nonce(AeadAlgorithm::AesCcm16_64_128);
        assert_eq!(ccm.as_bytes(), [2, 0, 0, 0, 0, 0, 0xa1, 0xa2, 0, 0, 0, 1, 0x23]);
        let gcm = nonce(AeadAlgorithm::A128Gcm);
        assert_eq!(gcm.as_bytes(), [2, 0, 0, 0, 0, 0xa1, 0xa2, 0, 0, 0, 1, 0x23]);
    }

    // RFC 10021 section 3.3: the first N bytes of the Common IV.
    #[test]
    fn the_first_bytes_of_the_common_iv_count() {
        let iv = core::array::from_fn(|index| index as u8);
        let nonce = Nonce::new(AeadAlgorithm::A128Gcm, &iv, MemberId::EMPTY, PartialIv::new(0).unwrap());
        assert_eq!(nonce.as_bytes(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    }
}
