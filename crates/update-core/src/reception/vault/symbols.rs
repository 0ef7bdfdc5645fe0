//! Parity symbols that wait until there are enough of them for a generation, and the blocks made from them
//! (protocol.md \[parity\]).
//!
//! They lie in memory that the caller lends, and are lost with it. A generation is decoded where its symbols
//! lie: the blocks that are stored are read back one by one and taken out of as many symbols as blocks are
//! missing, and then these become the missing blocks.

use crate::block::Layout;
use crate::census::LACKS_BLOCKS;
use crate::limits::{CAUCHY_SOURCES_MAX, GENERATIONS_WAITING_MAX, SPOILED_MAX};
use crate::parity::{Generations, Parity, Symbol, cauchy};

/// The bytes in which the number of a symbol is kept.
const NUMBER_BYTES: usize = 4;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Symbols<'m> {
    /// First the symbols, then their numbers.
    memory: &'m mut [u8],
    agreed: Option<Agreed>,
    /// How many symbols are held.
    len: usize,
    /// Symbols of generations before this one are taken. Where there is little room, these are repaired to
    /// their end before the next ones, as half-filled generations would take it all.
    window_end: u32,
    /// Generations that may have enough symbols.
    waiting: heapless::Vec<u32, GENERATIONS_WAITING_MAX>,
    /// There was no room for one more of them.
    overlooked: bool,
    making: Option<Making>,
    spoiled: heapless::Vec<u32, SPOILED_MAX>,
}

/// The parity of the current update.
#[derive(Debug, Clone, Copy)]
struct Agreed {
    parity: Parity,
    generations: Generations,
    /// The length of a symbol.
    bytes: usize,
    /// How many symbols fit.
    capacity: usize,
}

/// The generation that is being decoded. Its symbols are the first ones in memory.
#[derive(Debug)]
struct Making {
    generation: u32,
    /// The indices of the missing blocks in the generation.
    missing: heapless::Vec<u8, CAUCHY_SOURCES_MAX>,
    /// The index of the next block to take out.
    next: u32,
    /// The symbols have become blocks, and this many have been passed on.
    passed_on: Option<usize>,
}

impl<'m> Symbols<'m> {
    pub(super) const fn new(memory: &'m mut [u8]) -> Self {
        Self {
            memory,
            agreed: None,
            len: 0,
            window_end: u32::MAX,
            waiting: heapless::Vec::new(),
            overlooked: false,
            making: None,
            spoiled: heapless::Vec::new(),
        }
    }

    /// A new update begins: nothing is known about its parity.
    pub(super) fn forget(&mut self) {
        self.clear();
        self.agreed = None;
        self.spoiled.clear();
        self.window_end = u32::MAX;
    }

    /// Opens the window for the next symbols: all that is missing of its generations finds room.
    pub(super) fn open_window(&mut self, has: impl Fn(u32) -> bool) {
        let Some(agreed) = self.agreed else { return };
        let mut room = agreed.capacity;
        let mut generations = 0..agreed.generations.count();
        self.window_end = loop {
            let Some(generation) = generations.next() else { break u32::MAX };
            let missing = agreed.missing(generation, &has);
            if missing > room && missing <= agreed.capacity {
                break generation;
            }
            if missing <= agreed.capacity {
                room -= missing;
            }
        };
    }

    /// Drops all symbols.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.waiting.clear();
        self.overlooked = false;
        self.making = None;
    }

    /// The distributor tells of the parity of the current update.
    pub(super) fn agree(&mut self, parity: Parity, layout: Layout) {
        if self.agreed.is_some_and(|agreed| agreed.parity == parity) || self.spoiled.is_full() {
            return;
        }
        self.forget();
        let bytes = layout.block_size.bytes() as usize;
        let capacity = self.memory.len() / (bytes + NUMBER_BYTES);
        let generations = Generations::new(parity, layout.block_count());
        self.agreed = Some(Agreed { parity, generations, bytes, capacity }).filter(|_| capacity > 0);
    }

    /// How many symbols are held; `None` if none are taken.
    pub(super) fn held_in_all(&self) -> Option<u32> {
        self.agreed.map(|_| self.len as u32)
    }

    /// Takes the symbol with this number if it may be of use; `false` if it is no symbol of this update.
    /// `has` tells which blocks are stored.
    pub(super) fn take(&mut self, number: u32, payload: &[u8], has: impl Fn(u32) -> bool) -> bool {
        let Some(agreed) = self.agreed else { return true };
        let symbol = agreed.generations.symbol(number).filter(|_| payload.len() == agreed.bytes);
        let Some(Symbol { generation, .. }) = symbol else { return false };
        let (missing, held) = (agreed.missing(generation, has), self.held(generation));
        let is_useful = held < missing
            && generation < self.window_end
            && missing <= agreed.capacity
            && !self.spoiled.contains(&generation)
            && !self.is_making_of(generation)
            && !self.numbers().any(|held| held == number);
        if !is_useful || self.len >= agreed.capacity {
            return true;
        }
        let (place, number_place) = (agreed.place(self.len), agreed.number_place(self.len));
        if let Some(target) = self.memory.get_mut(place) {
            target.copy_from_slice(payload);
        }
        if let Some(target) = self.memory.get_mut(number_place) {
            target.copy_from_slice(&number.to_be_bytes());
        }
        self.len += 1;
        if held + 1 >= missing {
            self.look_at(generation);
        }
        true
    }

    /// A block has been stored: the symbols of its generation may be enough now, or useless.
    pub(super) fn block_stored(&mut self, block: u32, has: impl Fn(u32) -> bool) {
        let Some(agreed) = self.agreed.filter(|_| self.len > 0) else { return };
        let (generation, _) = agreed.generations.place_of(block);
        if self.is_making_of(generation) {
            return;
        }
        let held = self.held(generation);
        if held > 0 && held >= agreed.missing(generation, has) {
            self.look_at(generation);
        }
    }

    /// Writes what each of these generations lacks. Those that have to wait lack nothing yet.
    pub(super) fn write_lacks(&self, first: u32, out: &mut [u8], has: impl Fn(u32) -> bool) {
        out.fill(0);
        let Some(agreed) = self.agreed else { return };
        for (generation, lack) in (first..).zip(out.iter_mut()) {
            let missing = agreed.missing(generation, &has);
            let by_blocks = missing > agreed.capacity || self.spoiled.contains(&generation);
            *lack = match missing {
                0 => 0,
                _ if by_blocks => LACKS_BLOCKS,
                _ if generation >= self.window_end => 0,
                _ => missing as u8,
            };
        }
        for number in self.numbers() {
            let place = (number % agreed.generations.count()).checked_sub(first);
            let lack = place.and_then(|place| out.get_mut(place as usize));
            if let Some(lack) = lack.filter(|lack| **lack != LACKS_BLOCKS) {
                *lack = lack.saturating_sub(1);
            }
        }
    }
}

/// Decoding.
impl Symbols<'_> {
    pub(super) const fn is_making(&self) -> bool {
        self.making.is_some()
    }

    /// Whether a generation is being decoded, from now on at the latest.
    pub(super) fn begin(&mut self, has: impl Fn(u32) -> bool) -> bool {
        while self.making.is_none()
            && let Some(generation) = self.waiting.pop()
        {
            self.begin_with(generation, &has);
        }
        if self.making.is_none() && core::mem::take(&mut self.overlooked) {
            let mut place = 0;
            while self.making.is_none()
                && let Some(number) = self.number(place)
            {
                let count = self.agreed.map_or(1, |agreed| agreed.generations.count());
                self.begin_with(number % count, &has);
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
        while making.missing.iter().any(|index| u32::from(*index) == making.next) {
            making.next += 1;
        }
        let block = agreed.generations.block(making.generation, making.next);
        if block.is_none() && making.passed_on.is_none() {
            self.solve();
        }
        block
    }

    /// Takes out the block that was to be read.
    pub(super) fn take_out(&mut self, block: &[u8]) {
        let (Some(agreed), Some(making)) = (self.agreed, self.making.as_mut()) else { return };
        let (index, rows) = (making.next as u8, making.missing.len());
        making.next += 1;
        for row in 0..rows {
            let Some(symbol) = self.symbol_of(row) else { return };
            if let Some(bytes) = self.memory.get_mut(agreed.place(row)) {
                cauchy::add_block(symbol, index, block, bytes);
            }
        }
    }

    /// The next block that was made: its number and bytes, filled up with zeros to the block size.
    pub(super) fn next_made(&self) -> Option<(u32, &[u8])> {
        let (agreed, making) = (self.agreed?, self.making.as_ref()?);
        let row = making.passed_on?;
        let index = making.missing.get(row)?;
        let block = agreed.generations.block(making.generation, (*index).into())?;
        Some((block, self.memory.get(agreed.place(row))?))
    }

    /// That block has been passed on. With the last one, its generation is done with.
    pub(super) fn pass_on(&mut self) {
        let Some(making) = &mut self.making else { return };
        let passed_on = making.passed_on.map_or(0, |count| count + 1);
        making.passed_on = Some(passed_on);
        if passed_on >= making.missing.len() {
            self.end_making();
        }
    }

    /// What is being decoded cannot be read back, or has been passed on.
    pub(super) fn end_making(&mut self) {
        if let Some(making) = self.making.take() {
            self.purge(making.generation);
        }
    }

    /// This block was made wrong: a symbol or a stored block was. No more symbols of its generation are
    /// taken; after a few such generations none at all.
    pub(super) fn spoil(&mut self, block: u32) {
        let Some(agreed) = self.agreed else { return };
        let (generation, _) = agreed.generations.place_of(block);
        self.making.take_if(|making| making.generation == generation);
        self.purge(generation);
        if !self.spoiled.contains(&generation) && self.spoiled.push(generation).is_err() {
            self.clear();
            self.agreed = None;
        }
    }

    fn begin_with(&mut self, generation: u32, has: impl Fn(u32) -> bool) {
        let Some(agreed) = self.agreed else { return };
        let mut missing = heapless::Vec::new();
        for index in 0..agreed.generations.blocks_in(generation) {
            if agreed.generations.block(generation, index).is_some_and(|block| !has(block)) {
                let _ = missing.push(index as u8);
            }
        }
        if missing.is_empty() {
            return self.purge(generation);
        }
        if self.held(generation) < missing.len() {
            return;
        }
        let mut front = 0;
        for place in 0..self.len {
            if front < missing.len() && self.generation_at(place) == Some(generation) {
                self.swap(front, place);
                front += 1;
            }
        }
        self.making = Some(Making { generation, missing, next: 0, passed_on: None });
    }

    fn solve(&mut self) {
        let (Some(agreed), Some(making)) = (self.agreed, self.making.as_ref()) else { return };
        let rows = making.missing.len();
        let symbols: heapless::Vec<u8, CAUCHY_SOURCES_MAX> =
            (0..rows).filter_map(|row| self.symbol_of(row)).collect();
        let memory = self.memory.get_mut(..rows * agreed.bytes).unwrap_or_default();
        match cauchy::solve(&symbols, &making.missing, memory, agreed.bytes) {
            Ok(()) => {
                if let Some(making) = &mut self.making {
                    making.passed_on = Some(0);
                }
            }
            Err(cauchy::NotSolvable) => self.end_making(),
        }
    }
}

/// The memory.
impl Symbols<'_> {
    fn look_at(&mut self, generation: u32) {
        if !self.waiting.contains(&generation) && self.waiting.push(generation).is_err() {
            self.overlooked = true;
        }
    }

    fn is_making_of(&self, generation: u32) -> bool {
        self.making.as_ref().is_some_and(|making| making.generation == generation)
    }

    /// The number of the symbol at this place.
    fn number(&self, place: usize) -> Option<u32> {
        let agreed = self.agreed.filter(|_| place < self.len)?;
        let bytes = self.memory.get(agreed.number_place(place))?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len).filter_map(|place| self.number(place))
    }

    fn generation_at(&self, place: usize) -> Option<u32> {
        Some(self.number(place)? % self.agreed?.generations.count())
    }

    /// Which of its generation's symbols is at this place.
    fn symbol_of(&self, place: usize) -> Option<u8> {
        let symbol = self.agreed?.generations.symbol(self.number(place)?)?;
        u8::try_from(symbol.index).ok()
    }

    /// How many symbols of this generation are held.
    fn held(&self, generation: u32) -> usize {
        let count = self.agreed.map_or(1, |agreed| agreed.generations.count());
        self.numbers().filter(|number| number % count == generation).count()
    }

    /// Drops the symbols of this generation.
    fn purge(&mut self, generation: u32) {
        for place in (0..self.len).rev() {
            if self.generation_at(place) == Some(generation) {
                self.copy(self.len - 1, place);
                self.len -= 1;
            }
        }
    }

    fn copy(&mut self, from: usize, to: usize) {
        let Some(agreed) = self.agreed.filter(|_| from != to) else { return };
        self.memory.copy_within(agreed.place(from), agreed.place(to).start);
        self.memory.copy_within(agreed.number_place(from), agreed.number_place(to).start);
    }

    fn swap(&mut self, one: usize, other: usize) {
        let Some(agreed) = self.agreed.filter(|_| one < other) else { return };
        for (one, other) in
            [(agreed.place(one), agreed.place(other)), (agreed.number_place(one), agreed.number_place(other))]
        {
            let (left, right) = self.memory.split_at_mut(other.start);
            if let (Some(left), Some(right)) = (left.get_mut(one), right.get_mut(..other.len())) {
                left.swap_with_slice(right);
            }
        }
    }
}

impl Agreed {
    /// Where the symbol at this place lies in memory.
    const fn place(&self, place: usize) -> core::ops::Range<usize> {
        place * self.bytes..(place + 1) * self.bytes
    }

    /// Where its number lies.
    const fn number_place(&self, place: usize) -> core::ops::Range<usize> {
        let start = self.capacity * self.bytes + place * NUMBER_BYTES;
        start..start + NUMBER_BYTES
    }

    /// How many blocks of this generation are missing.
    fn missing(&self, generation: u32, has: impl Fn(u32) -> bool) -> usize {
        let indices = 0..self.generations.blocks_in(generation);
        let blocks = indices.filter_map(|index| self.generations.block(generation, index));
        blocks.filter(|block| !has(*block)).count()
    }
}
