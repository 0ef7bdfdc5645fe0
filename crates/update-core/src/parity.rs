//! Parity: symbols from which an agent makes blocks that it has missed (protocol.md, Parity).
//!
//! The blocks of an image are dealt out to generations of at most so many blocks, one after the other, so
//! that blocks that follow one another on the network belong to different generations and a burst of loss
//! hits each of them a little. A parity symbol is as long as a block. Of a generation's blocks and symbols
//! any as many as it has blocks give all of its blocks. What comes out is compared with the hash tree like
//! any other block, so that a wrong symbol costs time and nothing else.
//!
//! [`cauchy`] is the code, [`generations`] says which block and which symbol belongs where.

pub mod cauchy;
mod field;
pub mod generations;

pub use generations::{Generations, Symbol};

use crate::limits::{CAUCHY_SOURCES_MAX, GENERATION_BLOCKS_MIN};

/// How the symbols are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ErasureCode {
    /// The systematic Cauchy code over GF(2^8): see [`cauchy`].
    Cauchy = 1,
}

impl ErasureCode {
    /// The code with this number in offers and questions.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Cauchy),
            _ => None,
        }
    }

    /// Its number in offers and questions.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The most blocks in a generation.
    #[must_use]
    pub const fn generation_max(self) -> u16 {
        match self {
            Self::Cauchy => CAUCHY_SOURCES_MAX as u16,
        }
    }
}

/// The parity of an update: the code, and how many blocks a generation has at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parity {
    code: ErasureCode,
    generation: u16,
}

impl Parity {
    /// `None` for generations that the code cannot have, or of less than
    /// [`GENERATION_BLOCKS_MIN`] blocks.
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

    /// The most blocks in a generation.
    #[must_use]
    pub const fn generation(self) -> u16 {
        self.generation
    }
}
