//! A NOR flash in memory whose power can be cut at every single operation.
//!
//! Erasing sets the bits of a page, programming a word only clears bits. Words with an error-correcting code
//! can be programmed only once. An operation is one programmed word or one erased page. What a cut leaves
//! behind is worse than with most chips: see [`Way`].

mod faults;

use std::collections::BTreeMap;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

use crate::world::Dice;
pub use faults::{Fault, ReadFault, Wear};

/// How the current operation ends when the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It has not begun.
    Before,
    /// The first half of the word or page is done.
    Half,
    /// Random bits are done.
    Random,
    /// It is done.
    After,
    /// The words cannot be read until they are programmed or erased again.
    Unreadable,
    /// The words read differently each time until they are programmed or erased again: as before, as after,
    /// as anything between, or not at all.
    Unstable,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Before, Self::Half, Self::Random, Self::Unreadable, Self::Unstable, Self::After];

    /// The ways that leave a different flash behind than a cut before the next operation.
    pub const DISTINCT: [Self; 5] =
        [Self::Before, Self::Half, Self::Random, Self::Unreadable, Self::Unstable];
}

/// When and how the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// How many operations are completed before.
    pub after: u32,
    /// How the next operation ends.
    pub way: Way,
}

/// Why the flash refuses an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlashError {
    /// There is no power.
    Off,
    /// A word cannot be read.
    Unreadable,
    /// The range is outside the flash.
    OutOfBounds,
    /// The range is not made of whole words or pages.
    NotAligned,
    /// The word was programmed before, or its page was not erased completely.
    NotErased,
    /// The operation has failed without any change.
    Failed,
}

/// A word that a cut has left undefined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Doubtful {
    /// The bits that are neither set nor cleared. They are set in `bytes`.
    bits: [u8; 32],
    unreadable: bool,
}

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Program { word: usize, data: [u8; 32] },
    Erase { page: usize },
}

/// The flash. `WORD` and `PAGE` are bytes; a word has at most 32.
#[derive(Debug, Clone)]
pub struct SimulatedFlash<const WORD: usize, const PAGE: usize> {
    bytes: Vec<u8>,
    doubtful: BTreeMap<u32, Doubtful>,
    /// For each word: whether it was programmed since the last erase.
    programmed: Vec<bool>,
    /// For each page: whether its last erase was cut.
    half_erased: Vec<bool>,
    /// For each page: the number of erases.
    erases: Vec<u32>,
    rewritable: bool,
    dice: Dice,
    cut: Option<Cut>,
    off: bool,
    /// The operation that a cut [`Way::Before`] has prevented.
    pending: Option<Pending>,
    operations: u64,
    reads: u64,
    fault: Option<Fault>,
    read_fault: Option<ReadFault>,
    /// The page that a permanent fault has worn out.
    worn: Option<(usize, Wear)>,
    /// Forbidden accesses: a word programmed twice that cannot be, a bit set without an erase, a page used
    /// whose erase was cut.
    violations: u32,
}

impl<const WORD: usize, const PAGE: usize> SimulatedFlash<WORD, PAGE> {
    /// A blank flash of this many bytes. `rewritable`: words can be programmed again without an erase.
    #[must_use]
    pub fn new(bytes: usize, rewritable: bool) -> Self {
        Self {
            bytes: vec![0xff; bytes],
            doubtful: BTreeMap::new(),
            programmed: vec![false; bytes / WORD],
            half_erased: vec![false; bytes / PAGE],
            erases: vec![0; bytes / PAGE],
            rewritable,
            dice: Dice::new(0, 0),
            cut: None,
            off: false,
            pending: None,
            operations: 0,
            reads: 0,
            fault: None,
            read_fault: None,
            worn: None,
            violations: 0,
        }
    }

    /// Cuts the power at that point. `seed` decides everything random from then on.
    pub fn cut(&mut self, cut: Cut, seed: u64) {
        self.cut = Some(cut);
        self.dice = Dice::new(seed, 0);
    }

    /// After a cut [`Way::Before`]: the operation had begun, and ended in this other way.
    pub fn cut_otherwise(&mut self, way: Way, seed: u64) {
        self.dice = Dice::new(seed, 0);
        match self.pending.take() {
            Some(Pending::Program { word, data }) => self.program(word, &data[..WORD], Some(way)),
            Some(Pending::Erase { page }) => self.erase_in(page, Some(way)),
            None => {}
        }
    }

    /// Switches the power on again; returns whether it was off.
    pub fn power_on(&mut self) -> bool {
        std::mem::take(&mut self.off)
    }

    /// Whether the power is off.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.off
    }

    /// Cancels the cut that is still to come; returns whether there was one.
    pub fn spare(&mut self) -> bool {
        self.cut.take().is_some()
    }

    /// The number of operations so far.
    #[must_use]
    pub const fn operations(&self) -> u64 {
        self.operations
    }

    /// The number of forbidden accesses.
    #[must_use]
    pub const fn violations(&self) -> u32 {
        self.violations
    }

    /// How often the page at this offset was erased.
    #[must_use]
    pub fn erases(&self, offset: u32) -> u32 {
        self.erases[offset as usize / PAGE]
    }

    /// A range, if each of its words always reads like this.
    #[must_use]
    pub fn steady(&self, offset: u32, len: usize) -> Option<&[u8]> {
        let words = offset / WORD as u32..(offset + len as u32).div_ceil(WORD as u32);
        let bytes = &self.bytes[offset as usize..offset as usize + len];
        self.doubtful.range(words).next().is_none().then_some(bytes)
    }

    /// Flips a bit, as ageing does.
    pub fn flip(&mut self, offset: u32, bit: u8) {
        self.bytes[offset as usize] ^= 1 << bit;
    }

    /// Counts an operation; returns how it ends if the power fails now.
    fn next(&mut self) -> Option<Way> {
        self.operations += 1;
        let cut = self.cut.as_mut()?;
        if cut.after > 0 {
            cut.after -= 1;
            return None;
        }
        let way = cut.way;
        self.cut = None;
        self.off = true;
        Some(way)
    }

    fn program_word(&mut self, word: usize, data: &[u8]) -> Result<(), FlashError> {
        let at = word * WORD;
        if self.fails(at / PAGE, false) {
            return Err(FlashError::Failed);
        }
        let in_doubt = self.bits_in_doubt(word);
        let old = &self.bytes[at..at + WORD];
        let sets_a_bit =
            old.iter().zip(data).zip(in_doubt).any(|((old, new), doubt)| !old & new & !doubt != 0);
        if self.half_erased[at / PAGE] || sets_a_bit || (self.programmed[word] && !self.rewritable) {
            self.violations += 1;
            return Err(FlashError::NotErased);
        }
        let way = self.next();
        if way == Some(Way::Before) {
            let mut padded = [0; 32];
            padded[..WORD].copy_from_slice(data);
            self.pending = Some(Pending::Program { word, data: padded });
        } else {
            self.program(word, data, way);
        }
        if way.is_some() { Err(FlashError::Off) } else { Ok(()) }
    }

    fn program(&mut self, word: usize, data: &[u8], way: Option<Way>) {
        let at = word * WORD;
        if way.is_none() && self.doubtful.is_empty() {
            self.programmed[word] = true;
            self.bytes[at..at + WORD].iter_mut().zip(data).for_each(|(byte, new)| *byte &= new);
            return;
        }
        let in_doubt = self.bits_in_doubt(word);
        let mut changing = [0; 32];
        for (index, (old, new)) in self.bytes[at..at + WORD].iter().zip(data).enumerate() {
            changing[index] = (old | in_doubt[index]) & !new;
        }
        let (cleared, doubt) = match way {
            Some(Way::Before) => return,
            None | Some(Way::After) => (changing, [0; 32]),
            Some(Way::Half) => (half(changing, WORD), [0; 32]),
            Some(Way::Random) => (self.some_of(changing), [0; 32]),
            Some(Way::Unreadable | Way::Unstable) => ([0; 32], changing),
        };
        let mut left = [0; 32];
        for index in 0..WORD {
            self.bytes[at + index] &= !cleared[index];
            left[index] = (in_doubt[index] & !cleared[index]) | doubt[index];
        }
        // Random bits may be none at all.
        self.programmed[word] |= way.is_none() || left != [0; 32] || cleared != [0; 32];
        self.doubt(word, left, way == Some(Way::Unreadable));
    }

    fn erase_page(&mut self, page: usize) -> Result<(), FlashError> {
        if self.fails(page, true) {
            return Err(FlashError::Failed);
        }
        if self.worn == Some((page, Wear::KeepsBits)) {
            // It reports success without having erased.
            self.operations += 1;
            return Ok(());
        }
        let way = self.next();
        if way == Some(Way::Before) {
            self.pending = Some(Pending::Erase { page });
        } else {
            self.erase_in(page, way);
        }
        if way.is_some() { Err(FlashError::Off) } else { Ok(()) }
    }

    fn erase_in(&mut self, page: usize, way: Option<Way>) {
        let range = page * PAGE..(page + 1) * PAGE;
        let words = (page * PAGE / WORD) as u32..((page + 1) * PAGE / WORD) as u32;
        match way {
            Some(Way::Before) => {}
            None | Some(Way::After) => {
                self.bytes[range].fill(0xff);
                self.programmed[words.start as usize..words.end as usize].fill(false);
                self.half_erased[page] = false;
                self.erases[page] += 1;
                self.doubtful.retain(|word, _| !words.contains(word));
            }
            Some(Way::Half) => {
                self.half_erased[page] = true;
                self.bytes[range.start..range.start + PAGE / 2].fill(0xff);
                let half = words.start..words.start + (words.end - words.start) / 2;
                self.doubtful.retain(|word, _| !half.contains(word));
            }
            Some(Way::Random) => {
                self.half_erased[page] = true;
                for byte in self.bytes[range].iter_mut().filter(|byte| **byte != 0xff) {
                    *byte |= self.dice.below(256) as u8;
                }
            }
            Some(way @ (Way::Unreadable | Way::Unstable)) => {
                self.half_erased[page] = true;
                for word in words {
                    let at = word as usize * WORD;
                    let in_doubt = self.doubtful.get(&word).map(|doubtful| doubtful.bits);
                    let bytes = &mut self.bytes[at..at + WORD];
                    if in_doubt.is_none() && bytes.iter().all(|byte| *byte == 0xff) {
                        continue;
                    }
                    let mut bits = in_doubt.unwrap_or([0; 32]);
                    for (bit, byte) in bits.iter_mut().zip(bytes) {
                        *bit |= !*byte;
                        *byte = 0xff;
                    }
                    self.doubt(word as usize, bits, way == Way::Unreadable);
                }
            }
        }
    }

    fn bits_in_doubt(&self, word: usize) -> [u8; 32] {
        self.doubtful.get(&(word as u32)).map_or([0; 32], |doubtful| doubtful.bits)
    }

    fn doubt(&mut self, word: usize, bits: [u8; 32], unreadable: bool) {
        if bits == [0; 32] {
            self.doubtful.remove(&(word as u32));
        } else {
            self.doubtful.insert(word as u32, Doubtful { bits, unreadable });
        }
    }

    fn some_of(&mut self, bits: [u8; 32]) -> [u8; 32] {
        bits.map(|byte| if byte == 0 { 0 } else { byte & self.dice.below(256) as u8 })
    }
}

impl<const WORD: usize, const PAGE: usize> ReadNorFlash for SimulatedFlash<WORD, PAGE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len())?;
        if self.off {
            return Err(FlashError::Off);
        }
        let begin = offset as usize;
        bytes.copy_from_slice(&self.bytes[begin..begin + bytes.len()]);
        self.disturb(bytes)?;
        let words = offset / WORD as u32..(offset + bytes.len() as u32).div_ceil(WORD as u32);
        if words.is_empty() || self.doubtful.is_empty() {
            return Ok(());
        }
        for (word, doubtful) in self.doubtful.range(words) {
            if doubtful.unreadable {
                return Err(FlashError::Unreadable);
            }
            let way = self.dice.below(4);
            if way == 3 {
                return Err(FlashError::Unreadable);
            }
            for (index, bits) in doubtful.bits[..WORD].iter().enumerate() {
                let Some(byte) = (*word as usize * WORD + index).checked_sub(begin) else { continue };
                let Some(byte) = bytes.get_mut(byte) else { continue };
                *byte &= !match way {
                    0 => 0,
                    1 => *bits,
                    _ => bits & self.dice.below(256) as u8,
                };
            }
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WORD: usize, const PAGE: usize> NorFlash for SimulatedFlash<WORD, PAGE> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        check_erase(self, from, to)?;
        if self.off {
            return Err(FlashError::Off);
        }
        (from as usize / PAGE..to as usize / PAGE).try_for_each(|page| self.erase_page(page))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len())?;
        if self.off {
            return Err(FlashError::Off);
        }
        let words = offset as usize / WORD..;
        words.zip(bytes.chunks(WORD)).try_for_each(|(word, data)| self.program_word(word, data))
    }
}

impl<const WORD: usize, const PAGE: usize> ErrorType for SimulatedFlash<WORD, PAGE> {
    type Error = FlashError;
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            Self::NotAligned => NorFlashErrorKind::NotAligned,
            Self::Off | Self::Unreadable | Self::NotErased | Self::Failed => NorFlashErrorKind::Other,
        }
    }
}

impl From<NorFlashErrorKind> for FlashError {
    fn from(kind: NorFlashErrorKind) -> Self {
        match kind {
            NorFlashErrorKind::NotAligned => Self::NotAligned,
            _ => Self::OutOfBounds,
        }
    }
}

/// The first half of the bits that change: the first bytes of a word, or the upper bits of a word of one
/// byte.
fn half(mut bits: [u8; 32], word: usize) -> [u8; 32] {
    if word == 1 {
        bits[0] &= 0xf0;
    } else {
        bits[word / 2..].fill(0);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    type Small = SimulatedFlash<4, 64>;

    fn programmed() -> Small {
        let mut flash = Small::new(256, true);
        flash.write(0, &[0x0f; 8]).unwrap();
        flash
    }

    fn read(flash: &mut Small, offset: u32) -> Result<[u8; 4], FlashError> {
        let mut bytes = [0; 4];
        flash.read(offset, &mut bytes).map(|()| bytes)
    }

    #[test]
    fn programming_clears_bits_and_erasing_sets_them() {
        let mut flash = programmed();
        flash.write(0, &[0x03; 4]).unwrap();
        assert_eq!(read(&mut flash, 0), Ok([3; 4]));
        assert_eq!(flash.write(0, &[0x0f; 4]), Err(FlashError::NotErased));
        assert_eq!(flash.violations(), 1);
        flash.erase(0, 64).unwrap();
        assert_eq!(read(&mut flash, 0), Ok([0xff; 4]));
        assert_eq!(flash.write(1, &[0; 4]), Err(FlashError::NotAligned));
        assert_eq!(flash.erase(0, 32), Err(FlashError::NotAligned));
        assert_eq!(flash.write(256, &[0; 4]), Err(FlashError::OutOfBounds));
    }

    #[test]
    fn a_read_fails_or_goes_wrong_once() {
        let mut flash = programmed();
        flash.fail_read(ReadFault { after: 1, wrong: false });
        assert_eq!(read(&mut flash, 0), Ok([0x0f; 4]));
        assert_eq!(read(&mut flash, 0), Err(FlashError::Failed));
        assert_eq!(read(&mut flash, 0), Ok([0x0f; 4]));
        flash.fail_read(ReadFault { after: 0, wrong: true });
        assert_eq!(read(&mut flash, 0), Ok([0x1f, 0x0f, 0x0f, 0x0f]));
        assert_eq!(read(&mut flash, 0), Ok([0x0f; 4]));
    }

    #[test]
    fn a_word_with_a_code_is_programmed_once() {
        let mut flash = Small::new(256, false);
        flash.write(4, &[0x0f; 4]).unwrap();
        assert_eq!(flash.write(4, &[0x0f; 4]), Err(FlashError::NotErased));
        flash.write(8, &[0xff; 4]).unwrap();
        assert_eq!(flash.write(8, &[0x0f; 4]), Err(FlashError::NotErased));
        assert_eq!(flash.violations(), 2);
    }

    #[test]
    fn a_cut_program_leaves_what_its_way_says() {
        for way in Way::ALL {
            let mut flash = Small::new(256, true);
            let mut other = flash.clone();
            flash.cut(Cut { after: 1, way }, 1);
            assert_eq!(flash.write(0, &[0; 12]), Err(FlashError::Off));
            other.cut(Cut { after: 1, way: Way::Before }, 0);
            assert_eq!(other.write(0, &[0; 12]), Err(FlashError::Off));
            other.cut_otherwise(way, 1);
            assert_eq!(flash.bytes, other.bytes);
            assert_eq!((&flash.doubtful, &flash.programmed), (&other.doubtful, &other.programmed));
            assert_eq!(read(&mut flash, 0), Err(FlashError::Off));
            assert!(flash.power_on());
            assert_eq!(read(&mut flash, 0), Ok([0; 4]));
            assert_eq!(read(&mut flash, 8), Ok([0xff; 4]));
            let seen: Vec<_> = (0..50).map(|_| read(&mut flash, 4)).collect();
            let once = seen.iter().all(|other| *other == seen[0]);
            match way {
                Way::Before => assert!(once && seen[0] == Ok([0xff; 4])),
                Way::Half => assert!(once && seen[0] == Ok([0, 0, 0xff, 0xff])),
                Way::Random => assert!(once && !matches!(seen[0], Ok([0 | 0xff, ..]))),
                Way::After => assert!(once && seen[0] == Ok([0; 4])),
                Way::Unreadable => assert!(once && seen[0] == Err(FlashError::Unreadable)),
                Way::Unstable => {
                    assert!(seen.contains(&Ok([0; 4])) && seen.contains(&Ok([0xff; 4])));
                }
            }
            assert_eq!(flash.steady(4, 4).is_some(), once && way != Way::Unreadable);
            flash.write(4, &[0; 4]).unwrap();
            assert_eq!(flash.steady(4, 4), Some(&[0; 4][..]));
        }
    }

    #[test]
    fn a_page_whose_erase_was_cut_has_to_be_erased_again() {
        for way in [Way::Half, Way::Random, Way::Unreadable, Way::Unstable] {
            let mut flash = programmed();
            flash.cut(Cut { after: 0, way }, 1);
            assert_eq!(flash.erase(0, 64), Err(FlashError::Off));
            flash.power_on();
            assert_eq!(flash.write(32, &[0; 4]), Err(FlashError::NotErased));
            assert_eq!(flash.violations(), 1);
            flash.erase(0, 64).unwrap();
            flash.write(32, &[0; 4]).unwrap();
            assert_eq!(flash.steady(0, 4), Some(&[0xff; 4][..]));
        }
    }

    #[test]
    fn bits_in_doubt_stay_so_where_the_new_word_does_not_clear_them() {
        let mut flash = Small::new(256, true);
        flash.cut(Cut { after: 0, way: Way::Unstable }, 1);
        assert_eq!(flash.write(0, &[0; 4]), Err(FlashError::Off));
        flash.power_on();
        flash.write(0, &[0xf0; 4]).unwrap();
        assert_eq!(flash.steady(0, 4), None);
        flash.write(0, &[0; 4]).unwrap();
        assert_eq!(flash.steady(0, 4), Some(&[0; 4][..]));
    }
}
