//! Parity: symbols from which an agent recovers blocks that it has missed (protocol.md, Parity).
//!
//! The blocks of an image are divided among generations of at most a given number of blocks, in turn. So
//! consecutive blocks on the network belong to different generations, and a burst of loss affects each of
//! them only a little. A parity symbol is as long as a block. A generation of k blocks can be recovered from
//! any k of its blocks and symbols. A recovered block is compared with the hash tree like any other, so a
//! wrong symbol only costs time.
//!
//! [`cauchy`] is the code; [`generations`] says which block and which symbol belongs to which generation.

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

    /// The maximum number of blocks in a generation.
    #[must_use]
    pub const fn generation_max(self) -> u16 {
        match self {
            Self::Cauchy => CAUCHY_SOURCES_MAX as u16,
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
}
