//! The systematic Cauchy code over GF(2^8) (protocol.md, Parity).
//!
//! Parity symbol `j` of a generation is the sum over its blocks `i` of block `i` times 1 / ((255 - j) + i).
//! The coefficients do not depend on the number of blocks or symbols. Every square submatrix of a Cauchy
//! matrix is invertible, so as many symbols as there are missing blocks recover them.
//!
//! Nothing here needs more memory than half a kilobyte of stack: symbols are built, and equations are solved,
//! in place. [`solve`] takes rows of any width, so that a device with little memory can solve one 64-byte
//! column after the other.

use super::field::{add_product, inverse, multiply, product};
use crate::limits::{CAUCHY_SOURCES_MAX, CAUCHY_SYMBOLS_MAX};

/// The symbols and blocks do not form a solvable system of equations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSolvable;

/// Adds a block of a generation to a parity symbol, which starts as zeros. A block shorter than the symbol
/// counts as padded with zeros. Adding it again removes it.
pub fn add_block(symbol: u8, index: u8, block: &[u8], sum: &mut [u8]) {
    add_product(coefficient(symbol, index), block, sum);
}

/// The coefficient of block `index` in parity symbol `symbol`.
#[must_use]
pub fn coefficient(symbol: u8, index: u8) -> u8 {
    inverse(place_of(symbol) ^ index)
}

/// Recovers the missing blocks of a generation in place.
///
/// `rows` has one row of `width` bytes for each missing block: a parity symbol from which [`add_block`] has
/// removed all present blocks, or the same columns of each. `symbols` are the symbols' numbers, and `missing`
/// the indices of the missing blocks in the generation. Afterwards row `n` is the block `missing[n]`, padded
/// with zeros.
///
/// # Errors
/// The number of symbols or rows is not that of the missing blocks, a number occurs twice, or it is not the
/// number of a symbol or a block. Nothing has changed in that case.
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

/// The field element of a symbol. The field elements of blocks are their indices, which are all lower.
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

/// The remaining coefficient matrix during elimination. It is never stored: Gaussian elimination turns a
/// Cauchy matrix into the elements `left[row] * top[column] / (row + column)`, where row and column stand for
/// their field elements.
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

    /// The element at this row and column, while neither has been a pivot.
    fn element(&self, row: usize, column: usize) -> u8 {
        product(product(self.left[row], self.top[column]), inverse(self.row(row) ^ self.missing[column]))
    }

    /// Eliminates the missing block of this pivot from all rows below.
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

    /// Recovers the missing block of this pivot, using those of all rows below.
    fn substitute(&mut self, pivot: usize, rows: &mut [u8], width: usize) {
        let (row_there, column_there) = (self.row(pivot), self.missing[pivot]);
        let (upper, lower) = rows.split_at_mut((pivot + 1) * width);
        let bytes = &mut upper[pivot * width..];
        for (column, known) in (pivot + 1..self.size()).zip(lower.chunks_exact(width)) {
            // The value before this pivot was eliminated.
            let there = self.missing[column];
            let scale = product(row_there ^ there, inverse(there ^ column_there));
            self.top[column] = product(self.top[column], scale);
            add_product(self.element(pivot, column), known, bytes);
        }
        multiply(inverse(self.element(pivot, pivot)), bytes);
    }
}
