//! The systematic Cauchy code over GF(2^8) (protocol.md, Parity).
//!
//! Parity symbol `j` of a generation is the sum over its blocks `i` of block `i` times 1 / ((255 - j) + i).
//! The coefficients do not depend on how many blocks or symbols there are. Each square part of a Cauchy
//! matrix has an inverse, so any as many symbols as blocks are missing give them.
//!
//! Nothing here needs memory of its own beyond half a kilobyte of stack: a symbol is made, and equations are
//! solved, where they lie. [`solve`] takes rows of any width, so that a device with little memory can solve
//! one column of 64 bytes after the other.

use super::field::{add_product, inverse, multiply, product};
use crate::limits::{CAUCHY_SOURCES_MAX, CAUCHY_SYMBOLS_MAX};

/// The symbols and blocks do not make equations that can be solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSolvable;

/// Adds a block of a generation to a parity symbol, which begins as zeros. A block that is shorter than the
/// symbol counts as filled up with zeros. Adding it once more takes it out again.
pub fn add_block(symbol: u8, index: u8, block: &[u8], sum: &mut [u8]) {
    add_product(coefficient(symbol, index), block, sum);
}

/// The factor of block `index` in parity symbol `symbol`.
#[must_use]
pub fn coefficient(symbol: u8, index: u8) -> u8 {
    inverse(place_of(symbol) ^ index)
}

/// Makes the missing blocks of a generation in place.
///
/// `rows` has one row of `width` bytes for each missing block: a parity symbol, of which all blocks that are
/// there have been taken out by [`add_block`], or the same columns of each. `symbols` are their numbers, and
/// `missing` the indices of the missing blocks in the generation. Afterwards row `n` is the block
/// `missing[n]`, filled up with zeros.
///
/// # Errors
/// There are not as many symbols as missing blocks, or rows for them; a number comes twice; or it is no
/// number of a symbol or of a block. Then nothing was changed.
pub fn solve(symbols: &[u8], missing: &[u8], rows: &mut [u8], width: usize) -> Result<(), NotSolvable> {
    let fits = symbols.len() == missing.len() && rows.len() == symbols.len() * width && width > 0;
    let distinct =
        all_distinct_below(symbols, CAUCHY_SYMBOLS_MAX) && all_distinct_below(missing, CAUCHY_SOURCES_MAX);
    if !fits || !distinct {
        return Err(NotSolvable);
    }
    let mut matrix = Matrix::new(symbols, missing);
    for pivot in 0..matrix.size() {
        matrix.eliminate(pivot, rows, width);
    }
    for pivot in (0..matrix.size()).rev() {
        matrix.substitute(pivot, rows, width);
    }
    Ok(())
}

/// The element of the field that stands for a symbol. Those of blocks are their indices, and all below it.
const fn place_of(symbol: u8) -> u8 {
    u8::MAX - symbol
}

fn all_distinct_below(numbers: &[u8], end: usize) -> bool {
    let mut seen = 0_u128;
    numbers.iter().all(|number| {
        let is_new = usize::from(*number) < end && seen & 1 << number == 0;
        seen |= 1_u128.checked_shl((*number).into()).unwrap_or(0);
        is_new
    })
}

/// What is left of the matrix of coefficients while it is solved. It is never written down: what Gauss's
/// elimination leaves of a Cauchy matrix has the elements `left[row] * top[column] / (row + column)`, where
/// row and column stand for their elements of the field.
struct Matrix<'a> {
    symbols: &'a [u8],
    missing: &'a [u8],
    left: [u8; CAUCHY_SYMBOLS_MAX],
    top: [u8; CAUCHY_SOURCES_MAX],
}

impl<'a> Matrix<'a> {
    const fn new(symbols: &'a [u8], missing: &'a [u8]) -> Self {
        Self { symbols, missing, left: [1; CAUCHY_SYMBOLS_MAX], top: [1; CAUCHY_SOURCES_MAX] }
    }

    const fn size(&self) -> usize {
        self.symbols.len()
    }

    fn row(&self, n: usize) -> u8 {
        place_of(self.symbols[n])
    }

    /// The element at this row and column, as long as neither was a pivot.
    fn element(&self, row: usize, column: usize) -> u8 {
        product(product(self.left[row], self.top[column]), inverse(self.row(row) ^ self.missing[column]))
    }

    /// Takes the missing block of this pivot out of all rows below.
    fn eliminate(&mut self, pivot: usize, rows: &mut [u8], width: usize) {
        let (row_there, column_there) = (self.row(pivot), self.missing[pivot]);
        let of_pivot = inverse(self.element(pivot, pivot));
        let (upper, lower) = rows.split_at_mut((pivot + 1) * width);
        let pivot_bytes = &upper[pivot * width..];
        for (row, bytes) in (pivot + 1..self.size()).zip(lower.chunks_exact_mut(width)) {
            add_product(product(self.element(row, pivot), of_pivot), pivot_bytes, bytes);
            let scale = product(self.row(row) ^ row_there, inverse(self.row(row) ^ column_there));
            self.left[row] = product(self.left[row], scale);
        }
        for column in pivot + 1..self.size() {
            let there = self.missing[column];
            let scale = product(there ^ column_there, inverse(row_there ^ there));
            self.top[column] = product(self.top[column], scale);
        }
    }

    /// Makes the missing block of this pivot, with those of all rows below.
    fn substitute(&mut self, pivot: usize, rows: &mut [u8], width: usize) {
        let (row_there, column_there) = (self.row(pivot), self.missing[pivot]);
        let (upper, lower) = rows.split_at_mut((pivot + 1) * width);
        let bytes = &mut upper[pivot * width..];
        for (column, known) in (pivot + 1..self.size()).zip(lower.chunks_exact(width)) {
            // As it was before this pivot was eliminated.
            let there = self.missing[column];
            let scale = product(row_there ^ there, inverse(there ^ column_there));
            self.top[column] = product(self.top[column], scale);
            add_product(self.element(pivot, column), known, bytes);
        }
        multiply(inverse(self.element(pivot, pivot)), bytes);
    }
}
