//! Parity: symbols from which an agent recovers blocks that it has missed (protocol.md, Parity).
//!
//! The blocks of an image are divided among generations of at most a given number of blocks, in turn. So
//! consecutive blocks on the network belong to different generations, and a burst of loss affects each of
//! them only a little. A parity symbol is as long as a block. A generation of k blocks can be recovered from
//! any k of its blocks and symbols. A recovered block is compared with the hash tree like any other, so a
//! wrong symbol only costs time.
//!
//! [`cauchy`] is the code for small generations, `rs16` (feature `rs16`) that for large ones.
//! [`generations`] says which block and which symbol belongs to which generation, [`lacks`] how it is written
//! what generations lack.

pub mod cauchy;
mod field;
pub mod generations;
pub mod lacks;
#[cfg(feature = "rs16")]
pub mod rs16;

pub use generations::{Generations, Symbol};
pub use lacks::LACKS_BLOCKS;

use crate::codec::write_into;
#[cfg(feature = "rs16")]
use crate::limits::RS16_SOURCES_MAX;
use crate::limits::{CAUCHY_SOURCES_MAX, GENERATION_BLOCKS_MIN};
use minicbor::Decoder;

/// The prefix of an offer's Uri-Query that describes its parity.
const QUERY_PREFIX: &[u8] = b"p=";
/// The longest CBOR of code and generation size.
const QUERY_CBOR_MAX: usize = 6;
/// The longest Uri-Query that describes parity.
#[cfg(feature = "alloc")]
pub(crate) const QUERY_BYTES_MAX: usize = QUERY_PREFIX.len() + 2 * QUERY_CBOR_MAX;

/// How the symbols are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ErasureCode {
    /// The systematic Cauchy code over GF(2^8): see [`cauchy`].
    Cauchy = 1,
    /// The Reed-Solomon code over GF(2^16): see [`rs16`].
    #[cfg(feature = "rs16")]
    Rs16 = 2,
}

impl ErasureCode {
    /// The code with this number in offers and questions.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Cauchy),
            #[cfg(feature = "rs16")]
            2 => Some(Self::Rs16),
            _ => None,
        }
    }

    /// Its number in offers and questions.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The maximum number of blocks in a generation.
    #[must_use]
    pub const fn generation_max(self) -> u16 {
        match self {
            Self::Cauchy => CAUCHY_SOURCES_MAX as u16,
            #[cfg(feature = "rs16")]
            Self::Rs16 => RS16_SOURCES_MAX as u16,
        }
    }
}

/// The parity of an update: the code, and the maximum number of blocks in a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parity {
    code: ErasureCode,
    generation: u16,
}

impl Parity {
    /// `None` for generations that the code cannot have, or of fewer than [`GENERATION_BLOCKS_MIN`] blocks.
    #[must_use]
    pub const fn new(code: ErasureCode, generation: u16) -> Option<Self> {
        if generation < GENERATION_BLOCKS_MIN || generation > code.generation_max() {
            return None;
        }
        Some(Self { code, generation })
    }

    /// The code.
    #[must_use]
    pub const fn code(self) -> ErasureCode {
        self.code
    }

    /// The maximum number of blocks in a generation.
    #[must_use]
    pub const fn generation(self) -> u16 {
        self.generation
    }

    /// Writes it as the value of an offer's Uri-Query option: `p=` and the CBOR of code and generation size
    /// in hexadecimal. `None` if it does not fit.
    #[must_use]
    pub fn to_query(self, out: &mut [u8]) -> Option<usize> {
        let mut cbor = [0; QUERY_CBOR_MAX];
        let len = write_into(&mut cbor, |writer| {
            writer.array(2)?.u8(self.code.number())?.u16(self.generation)?;
            Ok(())
        })?;
        out.get_mut(..2)?.copy_from_slice(QUERY_PREFIX);
        hex::encode_to_slice(&cbor[..len], out.get_mut(2..2 + 2 * len)?).ok()?;
        Some(2 + 2 * len)
    }

    /// Reads what [`Self::to_query`] wrote; `None` for any other query, and for a parity that is unknown
    /// here.
    #[must_use]
    pub fn from_query(value: &[u8]) -> Option<Self> {
        let digits = value.strip_prefix(QUERY_PREFIX)?;
        let mut cbor = [0; QUERY_CBOR_MAX];
        let cbor = cbor.get_mut(..digits.len() / 2)?;
        hex::decode_to_slice(digits, cbor).ok()?;
        let mut decoder = Decoder::new(cbor);
        let length = decoder.array().ok()??;
        let (code, generation) = (decoder.u8().ok()?, decoder.u16().ok()?);
        let is_whole = length == 2 && decoder.position() == cbor.len();
        Self::new(ErasureCode::from_number(code)?, generation).filter(|_| is_whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parity_of_an_offer_travels_as_a_query() {
        let mut query = [0; QUERY_BYTES_MAX];
        for (code, size, text) in [
            (ErasureCode::Cauchy, 8, "p=820108"),
            (ErasureCode::Cauchy, 23, "p=820117"),
            (ErasureCode::Cauchy, 24, "p=82011818"),
            (ErasureCode::Cauchy, 128, "p=82011880"),
            (ErasureCode::Rs16, 64, "p=82021840"),
            (ErasureCode::Rs16, 4096, "p=8202191000"),
        ] {
            let parity = Parity::new(code, size).unwrap();
            let len = parity.to_query(&mut query).unwrap();
            assert_eq!(&query[..len], text.as_bytes());
            assert_eq!(Parity::from_query(&query[..len]), Some(parity));
        }
        let others: [&[u8]; 9] = [
            b"",
            b"p",
            b"p=",
            b"t=f6",
            b"p=8201",
            b"p=82031840",
            b"p=820107",
            b"p=8201188000",
            b"p=8202191001",
        ];
        for other in others {
            assert_eq!(Parity::from_query(other), None, "{other:?}");
        }
    }
}
