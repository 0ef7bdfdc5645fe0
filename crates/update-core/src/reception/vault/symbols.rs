//! Parity symbols that wait until there are enough of them for a generation (protocol.md \[parity\]).
//!
//! They lie in memory that the caller lends, and are lost with it. While pages of the hash tree are missing,
//! they are those of the pages, afterwards those of the image. [`making`](super::making) makes blocks of
//! them.

use super::making::Making;
use crate::block_set::BlockSet;
use crate::census::Window;
use crate::limits::{GENERATIONS_WAITING_MAX, SPOILED_MAX};
use crate::parity::{Generations, LACKS_BLOCKS, Parity, Symbol, lacks};
use crate::platform::Area;
use crate::tree::TreeShape;

/// The bytes in which the number of a symbol is kept.
const NUMBER_BYTES: usize = 4;
/// The bytes in which it is kept how many symbols of a generation are held, and the index above all of them.
const HELD_BYTES: usize = 4;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Symbols<'m> {
    /// First the symbols, then their numbers, then what is held of each generation.
    pub(super) memory: &'m mut [u8],
    /// What the distributor told last.
    told: Option<Parity>,
    /// `None` if no symbols are taken.
    pub(super) agreed: Option<Agreed>,
    /// How many symbols are held.
    pub(super) len: usize,
    /// Generations that may have enough symbols.
    pub(super) waiting: heapless::Vec<u32, GENERATIONS_WAITING_MAX>,
    /// There was no room for one more of them.
    pub(super) overlooked: bool,
    pub(super) making: Option<Making>,
    spoiled: heapless::Vec<u32, SPOILED_MAX>,
}

/// The parity of the current update.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreed {
    pub(super) parity: Parity,
    pub(super) area: Area,
    pub(super) generations: Generations,
    /// The length of a symbol.
    pub(super) bytes: usize,
    /// How many symbols fit.
    capacity: usize,
    /// How many blocks the image has.
    image_blocks: u32,
}

impl<'m> Symbols<'m> {
    pub(super) const fn new(memory: &'m mut [u8]) -> Self {
        Self {
            memory,
            told: None,
            agreed: None,
            len: 0,
            waiting: heapless::Vec::new(),
            overlooked: false,
            making: None,
            spoiled: heapless::Vec::new(),
        }
    }

    /// A new update begins: nothing is known about its parity.
    pub(super) fn forget(&mut self) {
        (self.told, self.agreed) = (None, None);
        self.begin_anew();
    }

    fn begin_anew(&mut self) {
        self.clear();
        self.spoiled.clear();
    }

    /// The distributor tells of the parity of the current update. `has_pages`: no page is missing.
    pub(super) fn agree(&mut self, parity: Parity, shape: &TreeShape, has_pages: bool) {
        if self.told == Some(parity) {
            return;
        }
        self.told = Some(parity);
        let area = if has_pages { Area::Image } else { Area::Pages };
        let bytes = shape.layout().block_size.bytes() as usize;
        let image_blocks = shape.layout().block_count();
        self.agreed = Agreed::new(parity, area, shape.count_of(area), bytes, image_blocks, self.memory.len());
        self.begin_anew();
    }

    /// No page is missing any more: the symbols are those of the image from now on.
    pub(super) fn has_pages(&mut self) {
        let Some(agreed) = self.agreed.filter(|agreed| agreed.area == Area::Pages) else { return };
        let Agreed { parity, bytes, image_blocks, .. } = agreed;
        self.agreed = Agreed::new(parity, Area::Image, image_blocks, bytes, image_blocks, self.memory.len());
        self.begin_anew();
    }

    /// Whose symbols are taken, if any.
    pub(super) fn area(&self) -> Option<Area> {
        self.agreed.map(|agreed| agreed.area)
    }

    /// Drops all symbols.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.waiting.clear();
        self.overlooked = false;
        self.making = None;
        if let Some(agreed) = self.agreed {
            let from = agreed.held_place(0).start;
            let to = agreed.held_place(agreed.generations.count()).start;
            self.memory.get_mut(from..to).unwrap_or_default().fill(0);
        }
    }

    /// How many symbols are held; `None` if none of this area are taken.
    pub(super) fn held_in_all(&self, area: Area) -> Option<u32> {
        self.agreed.filter(|agreed| agreed.area == area).map(|_| self.len as u32)
    }

    /// Takes the symbol with this number if it may be of use; `false` if it is no symbol of this update.
    /// `blocks` are those that are stored.
    pub(super) fn take(&mut self, number: u32, payload: &[u8], blocks: &BlockSet<'_>) -> bool {
        let Some(agreed) = self.agreed else { return true };
        let symbol = agreed.generations.symbol(number).filter(|_| payload.len() == agreed.bytes);
        let Some(Symbol { generation, index }) = symbol else { return false };
        let (missing, (held, above)) = (agreed.missing(generation, blocks), self.held(generation));
        let is_useful = held < missing
            && missing <= agreed.capacity
            && !self.spoiled.contains(&generation)
            && !self.is_making_of(generation)
            && (index >= above || !self.numbers().any(|held| held == number));
        if !is_useful || !self.make_room(generation, blocks) {
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
        self.set_held(generation, held + 1, above.max(index + 1));
        if held + 1 >= missing {
            self.look_at(generation);
        }
        true
    }

    /// A block has been stored: the symbols of its generation may be enough now, or useless.
    pub(super) fn block_stored(&mut self, area: Area, block: u32, blocks: &BlockSet<'_>) {
        let Some(agreed) = self.agreed.filter(|agreed| self.len > 0 && agreed.area == area) else { return };
        let (generation, _) = agreed.generations.place_of(block);
        if self.is_making_of(generation) {
            return;
        }
        let (held, _) = self.held(generation);
        if held > 0 && held >= agreed.missing(generation, blocks) {
            self.look_at(generation);
        }
    }

    /// How many symbols there is room for, if that is less than what is missing.
    pub(super) fn room(&self, blocks: &BlockSet<'_>) -> Option<u32> {
        let room = self.agreed?.capacity as u32;
        Some(room).filter(|room| *room < blocks.count() - blocks.len())
    }

    /// Whether symbols alone cannot repair every generation.
    pub(super) fn needs_blocks(&self, blocks: &BlockSet<'_>) -> bool {
        let Some(agreed) = self.agreed else { return true };
        (0..agreed.generations.count())
            .any(|generation| self.needs_blocks_of(&agreed, generation, blocks) > 0)
    }

    /// Writes which blocks of a window are needed because symbols cannot repair their generations.
    pub(super) fn write_needed(&self, window: Window, out: &mut [u8], blocks: &BlockSet<'_>) {
        let Some(agreed) = self.agreed else { return };
        out.fill(0);
        for generation in 0..agreed.generations.count() {
            let needed = self.needs_blocks_of(&agreed, generation, blocks);
            let missing = agreed.blocks_of(generation).filter(|block| !blocks.contains(*block));
            for place in missing.take(needed).filter_map(|block| block.checked_sub(window.first)) {
                if place < window.count
                    && let Some(byte) = out.get_mut(place as usize / 8)
                {
                    *byte |= 0x80 >> (place % 8);
                }
            }
        }
    }

    /// How many missing blocks of a generation have to come as such: all where symbols made a wrong one, or
    /// so many that there will be room for the rest, and a few more as some are lost.
    fn needs_blocks_of(&self, agreed: &Agreed, generation: u32, blocks: &BlockSet<'_>) -> usize {
        let missing = agreed.missing(generation, blocks);
        match missing.saturating_sub(agreed.capacity) {
            _ if self.spoiled.contains(&generation) => missing,
            0 => 0,
            beyond => missing.min(beyond + beyond / 2 + 1),
        }
    }

    /// Writes what each of these generations lacks, as many as there is room for. `false` if that is in terms
    /// of another parity.
    pub(super) fn write_lacks(
        &self,
        parity: Parity,
        first: u32,
        out: &mut [u8],
        blocks: &BlockSet<'_>,
    ) -> bool {
        let Some(agreed) = self.agreed.filter(|agreed| agreed.parity == parity) else { return false };
        let generations = (first..).map_while(|generation| {
            let is_one = generation < agreed.generations.count();
            is_one.then(|| self.lack(&agreed, generation, blocks))
        });
        out.fill(0);
        lacks::write(parity, generations, out);
        true
    }

    fn lack(&self, agreed: &Agreed, generation: u32, blocks: &BlockSet<'_>) -> u16 {
        match agreed.missing(generation, blocks) {
            0 => 0,
            _ if self.spoiled.contains(&generation) => LACKS_BLOCKS,
            missing => missing.saturating_sub(self.held(generation).0) as u16,
        }
    }

    /// This block was made wrong: a symbol or a stored block was. No more symbols of its generation are
    /// taken; after a few such generations none at all.
    pub(super) fn spoil(&mut self, block: u32) {
        let Some(agreed) = self.agreed else { return };
        let (generation, _) = agreed.generations.place_of(block);
        self.making.take_if(|making| making.is_of(generation));
        self.purge(generation);
        if !self.spoiled.contains(&generation) && self.spoiled.push(generation).is_err() {
            self.clear();
            self.agreed = None;
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
        self.making.as_ref().is_some_and(|making| making.is_of(generation))
    }

    /// Whether there is room for one more symbol of this generation. Symbols of other generations make way:
    /// where room is short, generations are sent one after another, and these have had their turn in vain.
    fn make_room(&mut self, generation: u32, blocks: &BlockSet<'_>) -> bool {
        let Some(agreed) = self.agreed else { return false };
        if self.len < agreed.capacity {
            return true;
        }
        let in_vain = (0..self.len).filter_map(|place| self.generation_at(place)).find(|other| {
            let is_complete = self.held(*other).0 >= agreed.missing(*other, blocks);
            *other != generation && !self.is_making_of(*other) && !is_complete
        });
        in_vain.inspect(|other| self.purge(*other)).is_some()
    }

    /// The number of the symbol at this place.
    pub(super) fn number(&self, place: usize) -> Option<u32> {
        let agreed = self.agreed.filter(|_| place < self.len)?;
        let bytes = self.memory.get(agreed.number_place(place))?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len).filter_map(|place| self.number(place))
    }

    pub(super) fn generation_at(&self, place: usize) -> Option<u32> {
        Some(self.number(place)? % self.agreed?.generations.count())
    }

    /// How many symbols of this generation are held, and the index above all of them.
    pub(super) fn held(&self, generation: u32) -> (usize, u32) {
        let place = self.agreed.and_then(|agreed| self.memory.get(agreed.held_place(generation)));
        match place {
            Some(&[high, low, above_high, above_low]) => {
                (u16::from_be_bytes([high, low]).into(), u16::from_be_bytes([above_high, above_low]).into())
            }
            _ => (0, 0),
        }
    }

    fn set_held(&mut self, generation: u32, held: usize, above: u32) {
        let Some(agreed) = self.agreed else { return };
        if let Some(place) = self.memory.get_mut(agreed.held_place(generation)) {
            let ([high, low], [above_high, above_low]) =
                ((held as u16).to_be_bytes(), (above as u16).to_be_bytes());
            place.copy_from_slice(&[high, low, above_high, above_low]);
        }
    }

    /// Drops the symbols of this generation.
    pub(super) fn purge(&mut self, generation: u32) {
        for place in (0..self.len).rev() {
            if self.generation_at(place) == Some(generation) {
                self.copy(self.len - 1, place);
                self.len -= 1;
            }
        }
        self.set_held(generation, 0, 0);
    }

    fn copy(&mut self, from: usize, to: usize) {
        let Some(agreed) = self.agreed.filter(|_| from != to) else { return };
        self.memory.copy_within(agreed.place(from), agreed.place(to).start);
        self.memory.copy_within(agreed.number_place(from), agreed.number_place(to).start);
    }

    pub(super) fn swap(&mut self, one: usize, other: usize) {
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
    /// `None` if so much memory takes no symbol.
    fn new(
        parity: Parity,
        area: Area,
        blocks: u32,
        bytes: usize,
        image_blocks: u32,
        memory: usize,
    ) -> Option<Self> {
        let generations = Generations::new(parity, blocks);
        let room = memory.saturating_sub(generations.count() as usize * HELD_BYTES);
        let capacity = room / (bytes + NUMBER_BYTES);
        Some(Self { parity, area, generations, bytes, capacity, image_blocks }).filter(|_| capacity > 0)
    }

    /// Where the symbol at this place lies in memory.
    pub(super) const fn place(&self, place: usize) -> core::ops::Range<usize> {
        place * self.bytes..(place + 1) * self.bytes
    }

    /// Where its number lies.
    const fn number_place(&self, place: usize) -> core::ops::Range<usize> {
        let start = self.capacity * self.bytes + place * NUMBER_BYTES;
        start..start + NUMBER_BYTES
    }

    /// Where it stands what is held of this generation.
    const fn held_place(&self, generation: u32) -> core::ops::Range<usize> {
        let start = self.capacity * (self.bytes + NUMBER_BYTES) + generation as usize * HELD_BYTES;
        start..start + HELD_BYTES
    }

    /// How many blocks of this generation are missing.
    pub(super) fn missing(&self, generation: u32, blocks: &BlockSet<'_>) -> usize {
        if self.generations.count() == 1 {
            return (blocks.count() - blocks.len()) as usize;
        }
        self.blocks_of(generation).filter(|block| !blocks.contains(*block)).count()
    }

    /// The blocks of this generation.
    fn blocks_of(&self, generation: u32) -> impl Iterator<Item = u32> {
        let generations = self.generations;
        let indices = 0..generations.blocks_in(generation);
        indices.filter_map(move |index| generations.block(generation, index))
    }
}
