//! Which block belongs to which generation, and the numbers of parity symbols.

#[cfg(feature = "rs16")]
use super::rs16;
use super::{ErasureCode, Parity};
use crate::limits::{CAUCHY_SYMBOLS_MAX, PARITY_NUMBERS_MAX};

/// How the blocks of an image are divided: block `n` is block `n / count` of generation `n % count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generations {
    code: ErasureCode,
    blocks: u32,
    count: u32,
    symbols: u32,
}

/// A parity symbol of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Symbol {
    /// The generation.
    pub generation: u32,
    /// The index of the symbol in the generation.
    pub index: u32,
}

impl Generations {
    /// The generations of an image with this many blocks.
    #[must_use]
    pub const fn new(parity: Parity, blocks: u32) -> Self {
        let least = blocks.div_ceil(parity.generation as u32);
        let count = if least == 0 { 1 } else { least };
        let most = match parity.code {
            ErasureCode::Cauchy => CAUCHY_SYMBOLS_MAX as u32,
            #[cfg(feature = "rs16")]
            ErasureCode::Rs16 => rs16::width(blocks.div_ceil(count)),
        };
        let numbers = PARITY_NUMBERS_MAX / count;
        let symbols = if numbers < most { numbers } else { most };
        Self { code: parity.code, blocks, count, symbols }
    }

    /// How the symbols are made.
    #[must_use]
    pub const fn code(self) -> ErasureCode {
        self.code
    }

    /// The number of generations.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The number of parity symbols in each generation.
    #[must_use]
    pub const fn symbols(self) -> u32 {
        self.symbols
    }

    /// The generation of a block, and its index in the generation.
    #[must_use]
    pub const fn place_of(self, block: u32) -> (u32, u32) {
        (block % self.count, block / self.count)
    }

    /// The number of blocks in a generation; zero for a generation that does not exist.
    #[must_use]
    pub const fn blocks_in(self, generation: u32) -> u32 {
        if generation >= self.count || generation >= self.blocks {
            return 0;
        }
        (self.blocks - generation).div_ceil(self.count)
    }

    /// The number of a block of a generation; `None` if there is no such block.
    #[must_use]
    pub const fn block(self, generation: u32, index: u32) -> Option<u32> {
        if index < self.blocks_in(generation) { Some(index * self.count + generation) } else { None }
    }

    /// The Block1 number of a symbol; `None` if there is no such symbol.
    #[must_use]
    pub const fn number_of(self, symbol: Symbol) -> Option<u32> {
        if symbol.index >= self.symbols || symbol.generation >= self.count {
            return None;
        }
        Some(symbol.index * self.count + symbol.generation)
    }

    /// The symbol with this Block1 number.
    #[must_use]
    pub const fn symbol(self, number: u32) -> Option<Symbol> {
        let symbol = Symbol { generation: number % self.count, index: number / self.count };
        if symbol.index < self.symbols { Some(symbol) } else { None }
    }

    /// Whether this is the last number of a symbol, whose request carries `M=0`.
    #[must_use]
    pub const fn is_last(self, number: u32) -> bool {
        number + 1 == self.count * self.symbols
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{GENERATION_BLOCKS_MIN, IMAGE_BYTES_MAX};

    fn generations(size: u16, blocks: u32) -> Generations {
        let code = if size <= 128 { ErasureCode::Cauchy } else { ErasureCode::Rs16 };
        Generations::new(Parity::new(code, size).unwrap(), blocks)
    }

    #[test]
    fn each_block_has_one_place_and_generations_are_alike() {
        for size in [8, 32, 64, 100, 128, 1000, 4096] {
            for blocks in [1, 7, 8, 9, 63, 64, 65, 129, 1000, 4096] {
                let generations = generations(size, blocks);
                let mut seen = 0;
                for generation in 0..generations.count() {
                    let count = generations.blocks_in(generation);
                    assert!(
                        count <= u32::from(size) && count >= generations.blocks_in(generations.count() - 1)
                    );
                    assert!(generations.blocks_in(0) - count <= 1);
                    for index in 0..count {
                        let block = generations.block(generation, index).unwrap();
                        assert_eq!(generations.place_of(block), (generation, index));
                        seen += 1;
                    }
                    assert_eq!(generations.block(generation, count), None);
                }
                assert_eq!(seen, blocks);
                assert_eq!(generations.blocks_in(generations.count()), 0);
            }
        }
    }

    #[test]
    fn symbols_have_numbers_that_fit_a_block_option() {
        let rows = [
            (64, 4096, 128),
            (64, 1, 128),
            (GENERATION_BLOCKS_MIN, IMAGE_BYTES_MAX / 256, 32),
            (4096, 1, 128),
            (4096, 129, 256),
            (4096, 4096, 4096),
            (4096, 4097, 4096),
            (4096, 1 << 20, 4096),
        ];
        for (size, blocks, symbols) in rows {
            let generations = generations(size, blocks);
            assert_eq!(generations.symbols(), symbols);
            let mut numbers = alloc::collections::BTreeSet::new();
            for index in [0, 1, symbols - 1] {
                for generation in [0, generations.count() - 1] {
                    let symbol = Symbol { generation, index };
                    let number = generations.number_of(symbol).unwrap();
                    assert!(number < 1 << 20);
                    assert_eq!(generations.symbol(number), Some(symbol));
                    numbers.insert(number);
                }
            }
            let last = *numbers.last().unwrap();
            assert!(generations.is_last(last) && !generations.is_last(last - 1));
            assert_eq!(generations.symbol(last + 1), None);
            assert_eq!(generations.number_of(Symbol { generation: 0, index: symbols }), None);
            assert_eq!(generations.number_of(Symbol { generation: generations.count(), index: 0 }), None);
        }
    }
}
