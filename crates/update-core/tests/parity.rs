//! The code: any k of a generation's k blocks and their symbols recover all of them, and the bytes are those
//! of docs/protocol.md.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use update_core::limits::{CAUCHY_SOURCES_MAX, CAUCHY_SYMBOLS_MAX};
use update_core::parity::cauchy::{NotSolvable, add_block, coefficient, solve};
use update_core::parity::{ErasureCode, Parity};

/// A block by its number: SHA-256 of the number's byte, repeated.
fn block(index: u8, len: usize) -> Vec<u8> {
    Sha256::digest([index]).iter().copied().cycle().take(len).collect()
}

fn symbol(number: u8, blocks: &[Vec<u8>], width: usize) -> Vec<u8> {
    let mut sum = vec![0; width];
    for (index, block) in blocks.iter().enumerate() {
        add_block(number, index as u8, block, &mut sum);
    }
    sum
}

/// Removes the present blocks from the symbols, and solves the rest in columns of this width.
fn decode(blocks: &[Vec<u8>], symbols: &[u8], missing: &[u8], width: usize, column: usize) -> Vec<Vec<u8>> {
    let mut rows: Vec<Vec<u8>> = symbols.iter().map(|number| symbol(*number, blocks, width)).collect();
    let there = (0..blocks.len() as u8).filter(|index| !missing.contains(index));
    for index in there {
        for (number, row) in symbols.iter().zip(&mut rows) {
            add_block(*number, index, &blocks[usize::from(index)], row);
        }
    }
    for start in (0..width).step_by(column) {
        let end = (start + column).min(width);
        let mut columns: Vec<u8> = rows.iter().flat_map(|row| row[start..end].to_vec()).collect();
        solve(symbols, missing, &mut columns, end - start).unwrap();
        for (row, solved) in rows.iter_mut().zip(columns.chunks(end - start)) {
            row[start..end].copy_from_slice(solved);
        }
    }
    rows
}

#[test]
fn the_specification_has_these_vectors() {
    let page = include_str!("../../../docs/protocol.md");
    let blocks: Vec<Vec<u8>> = (0..5).map(|index| block(index, if index == 4 { 5 } else { 8 })).collect();
    for (index, block) in blocks.iter().enumerate() {
        let line = format!("| block {index} | `{}` |", hex::encode(block));
        assert!(page.contains(&line), "{line}");
    }
    for (number, bytes) in
        [(0, "95aa0a605bc67b29"), (1, "54a564a643e3f9fb"), (2, "5600d500b463a18b"), (127, "7d00a9dd95c1062e")]
    {
        assert_eq!(hex::encode(symbol(number, &blocks, 8)), bytes);
        let line = format!("| symbol {number} | `{bytes}` |");
        assert!(page.contains(&line), "{line}");
    }
    let coefficients = [(0, 0, 253), (0, 1, 126), (1, 0, 126), (127, 0, 27), (0, 127, 27), (127, 127, 253)];
    for (symbol, index, expected) in coefficients {
        assert_eq!(coefficient(symbol, index), expected);
    }
}

proptest! {
    #[test]
    fn any_as_many_as_there_are_blocks_give_all_of_them(
        count in 1..=CAUCHY_SOURCES_MAX,
        short in 1_usize..=64,
        column in prop::sample::select(&[1_usize, 16, 64, 100][..]),
        seed in any::<u64>(),
        part in 0.0..=1.0_f64,
    ) {
        let width = 64;
        let mut blocks: Vec<Vec<u8>> = (0..count).map(|index| block(index as u8, width)).collect();
        blocks[count - 1].truncate(short);
        let lost = ((count as f64 * part) as usize).max(1);
        let missing = choose(seed, count, lost);
        let symbols = choose(!seed, CAUCHY_SYMBOLS_MAX, lost);
        let rows = decode(&blocks, &symbols, &missing, width, column);
        for (index, row) in missing.iter().zip(rows) {
            let block = &blocks[usize::from(*index)];
            prop_assert_eq!(&row[..block.len()], &block[..]);
            prop_assert!(row[block.len()..].iter().all(|byte| *byte == 0), "padded with zeros");
        }
    }
}

/// This many different numbers below `end`, in random order.
fn choose(seed: u64, end: usize, count: usize) -> Vec<u8> {
    let mut numbers: Vec<u8> = (0..end).map(|number| number as u8).collect();
    numbers.sort_by_key(|number| {
        let digest = Sha256::digest([&seed.to_be_bytes()[..], &[*number]].concat());
        digest.to_vec()
    });
    numbers.truncate(count);
    numbers
}

#[test]
fn what_cannot_be_solved_is_left_alone() {
    let mut rows = vec![7; 16];
    for (symbols, missing, width) in [
        (&[0, 1][..], &[0][..], 8),
        (&[0, 1], &[3, 3], 8),
        (&[4, 4], &[0, 1], 8),
        (&[0, 128], &[0, 1], 8),
        (&[0, 1], &[0, 200], 8),
        (&[0, 1], &[0, 1], 7),
        (&[0, 1], &[0, 1], 0),
    ] {
        assert_eq!(solve(symbols, missing, &mut rows, width), Err(NotSolvable));
    }
    assert_eq!(rows, [7; 16]);
    assert_eq!(solve(&[], &[], &mut [], 8), Ok(()));
}

#[test]
fn generations_have_bounds() {
    let sizes: Vec<u16> =
        (0..=300).filter(|size| Parity::new(ErasureCode::Cauchy, *size).is_some()).collect();
    assert_eq!(sizes, (8..=128).collect::<Vec<_>>());
    assert_eq!(ErasureCode::from_number(1), Some(ErasureCode::Cauchy));
    assert_eq!(ErasureCode::from_number(0), None);
}
