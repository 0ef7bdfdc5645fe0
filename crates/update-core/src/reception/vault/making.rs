//! Making the missing blocks of a generation out of its parity symbols (protocol.md \[parity\]).
//!
//! The blocks that are stored are read back one by one and taken out of as many symbols as blocks are
//! missing, and then these become the missing blocks, where the symbols lie. The code rs16 does that in
//! memory of its own.

use super::symbols::Symbols;
use crate::block_set::BlockSet;
use crate::limits::{CAUCHY_SOURCES_MAX, SOURCES_MAX};
#[cfg(feature = "rs16")]
use crate::parity::rs16;
use crate::parity::{ErasureCode, Symbol, cauchy};

/// The generation that is being decoded. Its symbols are the first ones in memory.
#[derive(Debug)]
pub(super) struct Making {
    generation: u32,
    missing: Missing,
    /// The index of the next block to take out.
    next: u32,
    /// The symbols have become blocks: how many have been passed on, and the index of the next one.
    made: Option<(usize, u32)>,
    code: Code,
}

/// What the present blocks are taken out of.
#[derive(Debug)]
enum Code {
    /// The symbols, where they lie.
    Cauchy,
    #[cfg(feature = "rs16")]
    Rs16(rs16::Decoder),
}

/// The indices of the missing blocks in the generation: a bit for each.
#[derive(Debug)]
struct Missing {
    bits: [u8; SOURCES_MAX.div_ceil(8)],
    len: usize,
}

impl Missing {
    const fn none() -> Self {
        Self { bits: [0; SOURCES_MAX.div_ceil(8)], len: 0 }
    }

    fn insert(&mut self, index: u32) {
        if let Some(byte) = self.bits.get_mut(index as usize / 8) {
            *byte |= 1 << (index % 8);
            self.len += 1;
        }
    }

    fn contains(&self, index: u32) -> bool {
        self.bits.get(index as usize / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    fn next_from(&self, index: u32) -> Option<u32> {
        (index..SOURCES_MAX as u32).find(|index| self.contains(*index))
    }
}

impl Making {
    pub(super) const fn is_of(&self, generation: u32) -> bool {
        self.generation == generation
    }
}

impl Symbols<'_> {
    pub(super) const fn is_making(&self) -> bool {
        self.making.is_some()
    }

    /// Whether a generation is being decoded, from now on at the latest.
    pub(super) fn begin(&mut self, blocks: &BlockSet<'_>) -> bool {
        while self.making.is_none()
            && let Some(generation) = self.waiting.pop()
        {
            self.begin_with(generation, blocks);
        }
        if self.making.is_none() && core::mem::take(&mut self.overlooked) {
            let mut place = 0;
            while self.making.is_none()
                && let Some(generation) = self.generation_at(place)
            {
                self.begin_with(generation, blocks);
                place += 1;
            }
            self.overlooked = self.making.is_some();
        }
        self.making.is_some()
    }

    /// The block to read next, in order to take it out; `None` when all have been taken out. Then the missing
    /// blocks are made.
    pub(super) fn next_to_take_out(&mut self) -> Option<u32> {
        let (agreed, making) = (self.agreed?, self.making.as_mut()?);
        while making.missing.contains(making.next) {
            making.next += 1;
        }
        let block = agreed.generations.block(making.generation, making.next);
        if block.is_none() && making.made.is_none() {
            self.solve();
        }
        block
    }

    /// Takes out the block that was to be read.
    pub(super) fn take_out(&mut self, block: &[u8]) {
        let (Some(agreed), Some(making)) = (self.agreed, self.making.as_mut()) else { return };
        let index = making.next;
        making.next += 1;
        match &mut making.code {
            Code::Cauchy => {
                for row in 0..making.missing.len {
                    let Some(symbol) = self.symbol_of(row) else { return };
                    if let Some(bytes) = self.memory.get_mut(agreed.place(row)) {
                        cauchy::add_block(symbol as u8, index as u8, block, bytes);
                    }
                }
            }
            #[cfg(feature = "rs16")]
            Code::Rs16(decoder) => {
                if decoder.add_block(index, block).is_err() {
                    self.end_making();
                }
            }
        }
    }

    /// The next block that was made: its number and bytes, filled up with zeros to the block size.
    pub(super) fn next_made(&self) -> Option<(u32, &[u8])> {
        let (agreed, making) = (self.agreed?, self.making.as_ref()?);
        let (row, index) = making.made?;
        let block = agreed.generations.block(making.generation, index)?;
        Some((block, self.memory.get(agreed.place(row))?))
    }

    /// That block has been passed on. With the last one, its generation is done with.
    pub(super) fn pass_on(&mut self) {
        let Some(making) = &mut self.making else { return };
        let Some((row, index)) = making.made else { return };
        match making.missing.next_from(index + 1) {
            Some(next) => making.made = Some((row + 1, next)),
            None => self.end_making(),
        }
    }

    /// What is being decoded cannot be read back, or has been passed on.
    pub(super) fn end_making(&mut self) {
        if let Some(making) = self.making.take() {
            self.purge(making.generation);
        }
    }

    fn begin_with(&mut self, generation: u32, blocks: &BlockSet<'_>) {
        let Some(agreed) = self.agreed else { return };
        let mut missing = Missing::none();
        for index in 0..agreed.generations.blocks_in(generation) {
            if agreed.generations.block(generation, index).is_some_and(|block| !blocks.contains(block)) {
                missing.insert(index);
            }
        }
        if missing.len == 0 {
            return self.purge(generation);
        }
        if self.held(generation).0 < missing.len {
            return;
        }
        let code = match agreed.parity.code() {
            ErasureCode::Cauchy => Code::Cauchy,
            #[cfg(feature = "rs16")]
            ErasureCode::Rs16 => {
                let width = rs16::width(agreed.generations.blocks_in(0));
                let blocks = agreed.generations.blocks_in(generation);
                match rs16::Decoder::new(blocks, width, agreed.bytes) {
                    Ok(decoder) => Code::Rs16(decoder),
                    Err(rs16::NotCoded) => return self.purge(generation),
                }
            }
        };
        let mut front = 0;
        for place in 0..self.len {
            if front < missing.len && self.generation_at(place) == Some(generation) {
                self.swap(front, place);
                front += 1;
            }
        }
        self.making = Some(Making { generation, missing, next: 0, made: None, code });
    }

    /// All present blocks have been taken out: the symbols become the missing blocks.
    fn solve(&mut self) {
        let Some(mut making) = self.making.take() else { return };
        let (generation, code) = (making.generation, core::mem::replace(&mut making.code, Code::Cauchy));
        let is_solved = match code {
            Code::Cauchy => self.solve_in_place(&making.missing),
            #[cfg(feature = "rs16")]
            Code::Rs16(decoder) => self.solve_apart(decoder, making.missing.len),
        };
        match making.missing.next_from(0).filter(|_| is_solved.is_some()) {
            Some(first) => {
                making.made = Some((0, first));
                self.making = Some(making);
            }
            None => self.purge(generation),
        }
    }

    fn solve_in_place(&mut self, missing: &Missing) -> Option<()> {
        let agreed = self.agreed?;
        let symbols: heapless::Vec<u8, CAUCHY_SOURCES_MAX> =
            (0..missing.len).filter_map(|row| self.symbol_of(row)).map(|index| index as u8).collect();
        let indices: heapless::Vec<u8, CAUCHY_SOURCES_MAX> =
            (0..CAUCHY_SOURCES_MAX as u8).filter(|index| missing.contains((*index).into())).collect();
        let rows = self.memory.get_mut(..missing.len * agreed.bytes)?;
        cauchy::solve(&symbols, &indices, rows, agreed.bytes).ok()
    }

    #[cfg(feature = "rs16")]
    fn solve_apart(&mut self, mut decoder: rs16::Decoder, rows: usize) -> Option<()> {
        let agreed = self.agreed?;
        for row in 0..rows {
            decoder.add_symbol(self.symbol_of(row)?, self.memory.get(agreed.place(row))?).ok()?;
        }
        let memory = self.memory.get_mut(..rows * agreed.bytes)?;
        let mut places = memory.chunks_exact_mut(agreed.bytes);
        let made = |_, block: &[u8]| {
            if let Some(place) = places.next() {
                place.copy_from_slice(block);
            }
        };
        decoder.decode(made).ok()
    }

    /// Which of its generation's symbols is at this place.
    fn symbol_of(&self, place: usize) -> Option<u32> {
        let Symbol { index, .. } = self.agreed?.generations.symbol(self.number(place)?)?;
        Some(index)
    }
}
