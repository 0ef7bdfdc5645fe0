//! The Reed-Solomon code over GF(2^16) (protocol.md, Parity), by the package `reed-solomon-simd`.
//!
//! A generation of k blocks has a polynomial of a degree below S for each 16-bit element: its values at S,
//! S + 1, ... are the blocks, then zeros. Its values at 0, 1, ... are the symbols. S, the [`width`], is a
//! power of two that depends only on the size of the generation, so that it does not matter how many are
//! sent.

use crate::limits::{BLOCK_BYTES_MAX, RS16_SYMBOLS_MIN};
use core::fmt;
use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{HighRateDecoder, HighRateEncoder, RateDecoder, RateEncoder};

/// The blocks and symbols do not fit the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotCoded;

impl From<reed_solomon_simd::Error> for NotCoded {
    fn from(_: reed_solomon_simd::Error) -> Self {
        Self
    }
}

/// How many symbols a generation has, if the largest one has so many blocks.
#[must_use]
pub const fn width(blocks: u32) -> u32 {
    let least = RS16_SYMBOLS_MIN as u32;
    if blocks < least { least } else { blocks.next_power_of_two() }
}

/// Makes the symbols of one generation.
pub struct Encoder {
    inner: HighRateEncoder<DefaultEngine>,
    bytes: usize,
}

impl Encoder {
    /// For a generation with so many blocks, and symbols of so many bytes.
    ///
    /// # Errors
    /// There are no blocks, or more than the width, or the code does not take such symbols.
    pub fn new(blocks: u32, width: u32, bytes: usize) -> Result<Self, NotCoded> {
        if blocks > width {
            return Err(NotCoded);
        }
        let inner = HighRateEncoder::new(blocks as usize, width as usize, bytes, DefaultEngine::new(), None)?;
        Ok(Self { inner, bytes })
    }

    /// Adds the next block. One that is shorter than a symbol counts as padded with zeros.
    ///
    /// # Errors
    /// It is too long, or there are too many.
    pub fn add_block(&mut self, block: &[u8]) -> Result<(), NotCoded> {
        with_padding(block, self.bytes, |block| Ok(self.inner.add_original_shard(block)?))
    }

    /// Makes all symbols once all blocks have been added, and passes on those with these indices.
    ///
    /// # Errors
    /// Blocks are missing.
    pub fn encode(
        mut self,
        indices: impl Iterator<Item = u32>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), NotCoded> {
        let symbols = self.inner.encode()?;
        for index in indices {
            take(symbols.recovery(index as usize).ok_or(NotCoded)?);
        }
        Ok(())
    }
}

/// Recovers the missing blocks of one generation.
pub struct Decoder {
    inner: HighRateDecoder<DefaultEngine>,
    bytes: usize,
}

impl Decoder {
    /// For a generation with so many blocks, and symbols of so many bytes.
    ///
    /// # Errors
    /// There are no blocks, or more than the width, or the code does not take such symbols.
    pub fn new(blocks: u32, width: u32, bytes: usize) -> Result<Self, NotCoded> {
        if blocks > width {
            return Err(NotCoded);
        }
        let inner = HighRateDecoder::new(blocks as usize, width as usize, bytes, DefaultEngine::new(), None)?;
        Ok(Self { inner, bytes })
    }

    /// Adds a block that is present. One that is shorter than a symbol counts as padded with zeros.
    ///
    /// # Errors
    /// It does not fit, or was added before.
    pub fn add_block(&mut self, index: u32, block: &[u8]) -> Result<(), NotCoded> {
        with_padding(block, self.bytes, |block| Ok(self.inner.add_original_shard(index as usize, block)?))
    }

    /// Adds a symbol.
    ///
    /// # Errors
    /// It does not fit, or was added before.
    pub fn add_symbol(&mut self, index: u32, symbol: &[u8]) -> Result<(), NotCoded> {
        Ok(self.inner.add_recovery_shard(index as usize, symbol)?)
    }

    /// Recovers the missing blocks, once there are as many symbols, and passes them on in their order, padded
    /// with zeros.
    ///
    /// # Errors
    /// There are too few symbols.
    pub fn decode(mut self, mut take: impl FnMut(u32, &[u8])) -> Result<(), NotCoded> {
        for (index, block) in self.inner.decode()?.restored_original_iter() {
            take(index as u32, block);
        }
        Ok(())
    }
}

fn with_padding(
    block: &[u8],
    bytes: usize,
    add: impl FnOnce(&[u8]) -> Result<(), NotCoded>,
) -> Result<(), NotCoded> {
    if block.len() == bytes {
        return add(block);
    }
    let mut padded = [0; BLOCK_BYTES_MAX as usize];
    padded.get_mut(..block.len()).ok_or(NotCoded)?.copy_from_slice(block);
    add(padded.get(..bytes).filter(|_| block.len() < bytes).ok_or(NotCoded)?)
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}
