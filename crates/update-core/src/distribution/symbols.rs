//! Making parity symbols, a few at a time, out of the image's blocks (protocol.md \[parity\]).

use crate::limits::SYMBOLS_AT_A_TIME;
use crate::parity::{ErasureCode, Generations, Symbol, cauchy, rs16};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

/// The symbols of one round. While some are sent, the next ones are made.
#[derive(Debug)]
pub(super) struct Symbols {
    generations: Generations,
    bytes: usize,
    /// Whether generations take turns. Otherwise each is sent to its end before the next.
    take_turns: bool,
    /// What is still to be made: the generation, its first symbol, and how many.
    planned: VecDeque<(u32, u32, u32)>,
    making: Batch,
    /// Takes the blocks of one generation, where the code makes all of its symbols at once.
    encoder: Option<rs16::Encoder>,
    /// For the block to read next: the place of its generation in the batch, and its index there.
    next: (usize, u32),
    /// Made and not yet sent, in the order of sending.
    ready: VecDeque<u32>,
    made: Batch,
}

/// Symbols that are made together.
#[derive(Debug, Default)]
struct Batch {
    /// The generation, its first symbol, how many, and the place of the first.
    parts: Vec<(u32, u32, u32, usize)>,
    bytes: Vec<u8>,
}

impl Symbols {
    /// The symbols with these indices, for each generation of which there are to be any.
    pub(super) fn new(
        generations: Generations,
        bytes: usize,
        planned: impl Iterator<Item = (u32, u32, u32)>,
        take_turns: bool,
    ) -> Self {
        let planned = planned.filter(|(_, _, count)| *count > 0).collect();
        let (making, made) = (Batch::default(), Batch::default());
        let mut symbols = Self {
            generations,
            bytes,
            take_turns,
            planned,
            making,
            encoder: None,
            next: (0, 0),
            ready: VecDeque::new(),
            made,
        };
        symbols.begin_batch();
        symbols
    }

    /// Whether all have been sent.
    pub(super) fn are_sent(&self) -> bool {
        self.ready.is_empty() && self.making.parts.is_empty()
    }

    /// Whether one can be sent now.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The block that is needed next to make more.
    pub(super) fn block_wanted(&self) -> Option<u32> {
        let (generation, ..) = self.making.parts.get(self.next.0)?;
        self.generations.block(*generation, self.next.1)
    }

    /// Takes the block that was wanted.
    pub(super) fn take_block(&mut self, block: &[u8]) {
        let Some(&(generation, first, count, place)) = self.making.parts.get(self.next.0) else { return };
        let symbols = self.generations.symbols();
        let indices = (first..first + count).map(|index| index % symbols);
        let mut rows = self.making.bytes.chunks_exact_mut(self.bytes).skip(place);
        let is_last = self.next.1 + 1 >= self.generations.blocks_in(generation);
        match self.generations.code() {
            ErasureCode::Cauchy => {
                for (symbol, row) in indices.zip(rows) {
                    cauchy::add_block(symbol as u8, self.next.1 as u8, block, row);
                }
            }
            ErasureCode::Rs16 => {
                if self.next.1 == 0 {
                    let blocks = self.generations.blocks_in(generation);
                    let width = rs16::width(self.generations.blocks_in(0));
                    self.encoder = rs16::Encoder::new(blocks, width, self.bytes).ok();
                }
                // Generations have sizes that the code takes, so that none of this fails.
                if let Some(encoder) = &mut self.encoder {
                    let _ = encoder.add_block(block);
                }
                if is_last && let Some(encoder) = self.encoder.take() {
                    let _ = encoder.encode(indices, |symbol| {
                        if let Some(row) = rows.next() {
                            row.copy_from_slice(symbol);
                        }
                    });
                }
            }
        }
        self.next = if is_last { (self.next.0 + 1, 0) } else { (self.next.0, self.next.1 + 1) };
        self.hand_over();
    }

    /// The number of the next symbol to send, and its bytes.
    pub(super) fn next_ready(&self) -> Option<(u32, &[u8])> {
        let number = *self.ready.front()?;
        let symbol = self.generations.symbol(number)?;
        let part = self.made.parts.iter().find(|(generation, ..)| *generation == symbol.generation)?;
        let &(_, first, _, place) = part;
        let of_first = first % self.generations.symbols();
        let after = (symbol.index + self.generations.symbols() - of_first) % self.generations.symbols();
        let start = (place + after as usize) * self.bytes;
        Some((number, self.made.bytes.get(start..start + self.bytes)?))
    }

    /// That symbol has been sent.
    pub(super) fn sent(&mut self) {
        self.ready.pop_front();
        self.hand_over();
    }

    /// When all of a batch are made and all of the one before are sent, the next batch begins.
    fn hand_over(&mut self) {
        if !self.ready.is_empty() || self.making.parts.is_empty() || self.next.0 < self.making.parts.len() {
            return;
        }
        self.made = core::mem::take(&mut self.making);
        let parts = self.made.parts.iter();
        let symbols = parts.flat_map(|(generation, first, count, _)| {
            (0..*count).map(move |turn| (turn, Symbol { generation: *generation, index: first + turn }))
        });
        let mut symbols: Vec<(u32, Symbol)> = symbols.collect();
        if self.take_turns {
            // So that a burst of loss hits each generation a little.
            symbols.sort_by_key(|(turn, _)| *turn);
        }
        let numbers = symbols.into_iter().filter_map(|(_, Symbol { generation, index })| {
            let index = index % self.generations.symbols();
            self.generations.number_of(Symbol { generation, index })
        });
        self.ready.extend(numbers);
        self.begin_batch();
    }

    fn begin_batch(&mut self) {
        let mut place = 0;
        while let Some((generation, first, count)) = self.planned.pop_front() {
            self.making.parts.push((generation, first, count, place as usize));
            place += count;
            if place >= SYMBOLS_AT_A_TIME {
                break;
            }
        }
        self.making.bytes = vec![0; place as usize * self.bytes];
        self.next = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parity::{ErasureCode, Parity};

    #[test]
    fn each_symbol_is_made_once_of_all_its_blocks_and_generations_take_turns() {
        let generations = Generations::new(Parity::new(ErasureCode::Cauchy, 16).unwrap(), 160);
        let planned = (0..10).map(|generation| (generation, 120, if generation == 3 { 0 } else { 20 }));
        let mut symbols = Symbols::new(generations, 64, planned, true);
        let block = |number: u32| [number as u8; 64];
        let mut numbers = Vec::new();
        while !symbols.are_sent() {
            if let Some(number) = symbols.block_wanted() {
                symbols.take_block(&block(number));
            }
            while let Some((number, bytes)) = symbols.next_ready() {
                let symbol = generations.symbol(number).unwrap();
                let mut expected = vec![0; 64];
                for index in 0..generations.blocks_in(symbol.generation) {
                    let source = generations.block(symbol.generation, index).unwrap();
                    cauchy::add_block(symbol.index as u8, index as u8, &block(source), &mut expected);
                }
                assert_eq!(bytes, expected);
                numbers.push(symbol);
                symbols.sent();
            }
        }
        assert_eq!(numbers.len(), 9 * 20);
        assert!(numbers.windows(2).all(|pair| pair[0].generation != pair[1].generation));
        for generation in (0..10).filter(|generation| *generation != 3) {
            let mut own: Vec<u32> =
                numbers.iter().filter(|s| s.generation == generation).map(|s| s.index).collect();
            own.sort_unstable();
            assert_eq!(own, (0..12).chain(120..128).collect::<Vec<_>>());
        }
    }
}
