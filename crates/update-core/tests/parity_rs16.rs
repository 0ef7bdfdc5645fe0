//! The code rs16: any k of a generation's k blocks and its symbols recover all of them, and the bytes are
//! those of docs/protocol.md and of the definition there.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use update_core::limits::RS16_SOURCES_MAX;
use update_core::parity::rs16::{Decoder, Encoder, NotCoded, width};
use update_core::parity::{ErasureCode, Generations, Parity};

const BYTES: usize = 64;

/// A block by its index: SHA-256 of the index as two bytes and 0, then of the index and 1.
fn block(index: u16, len: usize) -> Vec<u8> {
    let [high, low] = index.to_be_bytes();
    [0, 1].into_iter().flat_map(|part| Sha256::digest([high, low, part]).to_vec()).take(len).collect()
}

fn symbols(blocks: &[Vec<u8>], width: u32, indices: &[u32]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(blocks.len() as u32, width, BYTES).unwrap();
    blocks.iter().for_each(|block| encoder.add_block(block).unwrap());
    let mut symbols = Vec::new();
    encoder.encode(indices.iter().copied(), |symbol| symbols.push(symbol.to_vec())).unwrap();
    symbols
}

#[test]
fn the_specification_has_these_vectors() {
    let page = include_str!("../../../docs/protocol.md");
    // One row of the page: the first four elements, each as the byte of its lower half and that of its upper.
    let elements = |bytes: &[u8]| {
        let shown = (0..4).map(|n| format!("{:02x}{:02x}", bytes[n + 32], bytes[n]));
        shown.collect::<Vec<_>>().join(" ")
    };
    let mut blocks: Vec<Vec<u8>> = (0..5).map(|index| block(index, BYTES)).collect();
    blocks[4].truncate(34);
    for (index, bytes) in blocks.iter().enumerate() {
        let padded: Vec<u8> = bytes.iter().copied().chain([0; BYTES]).take(BYTES).collect();
        let line = format!("| block {index} | `{}` |", elements(&padded));
        assert!(page.contains(&line), "{line}");
    }
    for index in [0, 1, 2, 127] {
        let symbol = symbols(&blocks, width(5), &[index]).remove(0);
        let line = format!("| symbol {index} | `{}` |", elements(&symbol));
        assert!(page.contains(&line), "{line}");
    }
    for (a, b) in [(0x0002, 0x0002), (0x1234, 0xabcd), (0xffff, 0xffff)] {
        let line = format!("{a:04x} times {b:04x} is {:04x}", Field::new().times(a, b));
        assert!(page.contains(&line), "{line}");
    }
}

/// GF(2^16) as the specification has it: the bits of an element are its coordinates in this basis, and
/// products are those of polynomials modulo x^16 + x^5 + x^3 + x^2 + 1.
struct Field {
    to_polynomial: Vec<u16>,
    from_polynomial: BTreeMap<u16, u16>,
}

const BASIS: [u16; 16] = [
    0x0001, 0xacca, 0x3c0e, 0x163e, 0xc582, 0xed2e, 0x914c, 0x4012, 0x6c98, 0x10d8, 0x6a72, 0xb900, 0xfdb8,
    0xfb34, 0xff38, 0x991e,
];

impl Field {
    fn new() -> Self {
        let sum =
            |element: u32| (0..16).filter(|bit| element >> bit & 1 == 1).fold(0, |sum, bit| sum ^ BASIS[bit]);
        let to_polynomial: Vec<u16> = (0..=0xffff).map(sum).collect();
        let from_polynomial = to_polynomial.iter().enumerate().map(|(n, p)| (*p, n as u16)).collect();
        Self { to_polynomial, from_polynomial }
    }

    fn times(&self, a: u16, b: u16) -> u16 {
        let (mut shifted, b) =
            (u32::from(self.to_polynomial[usize::from(a)]), self.to_polynomial[usize::from(b)]);
        let mut product = 0;
        for bit in 0..16 {
            if b >> bit & 1 == 1 {
                product ^= shifted;
            }
            shifted <<= 1;
            shifted ^= if shifted > 0xffff { 0x1_002d } else { 0 };
        }
        self.from_polynomial[&(product as u16)]
    }

    fn inverse(&self, a: u16) -> u16 {
        // The power 2^16 - 2.
        let (mut power, mut square) = (1, a);
        for _ in 1..16 {
            square = self.times(square, square);
            power = self.times(power, square);
        }
        power
    }

    /// The coefficient of the value at `point` in the value at `at`, for the points `from..2 * from`.
    fn lagrange(&self, from: u16, point: u16, at: u16) -> u16 {
        let others = (from..2 * from).filter(|other| *other != point);
        let (mut upper, mut lower) = (1, 1);
        for other in others {
            upper = self.times(upper, at ^ other);
            lower = self.times(lower, point ^ other);
        }
        self.times(upper, self.inverse(lower))
    }
}

#[test]
fn symbols_are_values_of_the_polynomial_through_the_blocks() {
    let field = Field::new();
    let blocks: Vec<Vec<u8>> = (0..5).map(|index| block(index, BYTES)).collect();
    let width = width(5);
    for index in [0, 1, 127] {
        let symbol = symbols(&blocks, width, &[index]).remove(0);
        for place in [0, 31] {
            let element = |bytes: &[u8]| u16::from_be_bytes([bytes[place + 32], bytes[place]]);
            let value = blocks.iter().enumerate().fold(0, |sum, (number, block)| {
                let point = width as u16 + number as u16;
                sum ^ field.times(element(block), field.lagrange(width as u16, point, index as u16))
            });
            assert_eq!(element(&symbol), value, "symbol {index}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_as_many_as_there_are_blocks_give_all_of_them(
        count in 1_u32..=600,
        short in 1_usize..=BYTES,
        seed in any::<u64>(),
        part in 0.0..=1.0_f64,
    ) {
        let mut blocks: Vec<Vec<u8>> = (0..count).map(|index| block(index as u16, BYTES)).collect();
        blocks[count as usize - 1].truncate(short);
        let lost = ((f64::from(count) * part) as usize).max(1);
        let missing = choose(seed, count, lost);
        let indices = choose(!seed, width(count), lost);
        let mut decoder = Decoder::new(count, width(count), BYTES).unwrap();
        for index in (0..count).filter(|index| !missing.contains(index)) {
            decoder.add_block(index, &blocks[index as usize]).unwrap();
        }
        for (index, symbol) in indices.iter().zip(symbols(&blocks, width(count), &indices)) {
            decoder.add_symbol(*index, &symbol).unwrap();
        }
        let mut made = BTreeMap::new();
        decoder.decode(|index, bytes| drop(made.insert(index, bytes.to_vec()))).unwrap();
        let in_order: BTreeSet<u32> = missing.iter().copied().collect();
        prop_assert!(made.keys().copied().eq(in_order));
        for (index, bytes) in made {
            let block = &blocks[index as usize];
            prop_assert_eq!(&bytes[..block.len()], &block[..]);
            prop_assert!(bytes[block.len()..].iter().all(|byte| *byte == 0), "padded with zeros");
        }
    }
}

/// This many different numbers below `end`, in random order.
fn choose(seed: u64, end: u32, count: usize) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..end).collect();
    numbers.sort_by_key(|number| {
        Sha256::digest([&seed.to_be_bytes()[..], &number.to_be_bytes()[..]].concat()).to_vec()
    });
    numbers.truncate(count);
    numbers
}

#[test]
fn a_generation_of_the_largest_size_is_recovered_from_symbols_alone() {
    let count = RS16_SOURCES_MAX as u32;
    let blocks: Vec<Vec<u8>> = (0..count).map(|index| block(index as u16, BYTES)).collect();
    let indices: Vec<u32> = (0..count).collect();
    let mut decoder = Decoder::new(count, count, BYTES).unwrap();
    for (index, symbol) in indices.iter().zip(symbols(&blocks, count, &indices)) {
        decoder.add_symbol(*index, &symbol).unwrap();
    }
    let mut made = 0;
    decoder
        .decode(|index, bytes| {
            assert_eq!(bytes, blocks[index as usize]);
            made += 1;
        })
        .unwrap();
    assert_eq!(made, count);
}

#[test]
fn what_does_not_fit_is_refused() {
    assert_eq!(Encoder::new(0, 128, BYTES).err(), Some(NotCoded));
    assert_eq!(Encoder::new(129, 128, BYTES).err(), Some(NotCoded));
    assert_eq!(Decoder::new(129, 128, BYTES).err(), Some(NotCoded));
    let mut encoder = Encoder::new(1, 128, BYTES).unwrap();
    assert_eq!(encoder.add_block(&[0; BYTES + 1]), Err(NotCoded));
    assert_eq!(encoder.encode([0].into_iter(), |_| ()), Err(NotCoded), "no block was added");
    let mut decoder = Decoder::new(2, 128, BYTES).unwrap();
    assert_eq!(decoder.add_block(2, &[0; BYTES]), Err(NotCoded));
    decoder.add_symbol(0, &[0; BYTES]).unwrap();
    assert_eq!(decoder.add_symbol(0, &[0; BYTES]), Err(NotCoded), "the same one");
    assert_eq!(decoder.decode(|_, _| ()), Err(NotCoded), "too few");
}

#[test]
fn generations_have_bounds() {
    let bounds: Vec<u16> = [7, 8, 4096, 4097]
        .into_iter()
        .filter(|size| Parity::new(ErasureCode::Rs16, *size).is_some())
        .collect();
    assert_eq!(bounds, [8, 4096]);
    assert_eq!(ErasureCode::from_number(2), Some(ErasureCode::Rs16));
    let generations = Generations::new(Parity::new(ErasureCode::Rs16, 4096).unwrap(), 5000);
    assert_eq!((generations.count(), generations.blocks_in(0), generations.symbols()), (2, 2500, 4096));
}
