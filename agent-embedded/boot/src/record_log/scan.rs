//! The contents of a bank.

use embedded_storage::nor_flash::NorFlash;

use super::entry::{Bank, COPY, Header, Look, Pair, Sealed, TAG_BANK, TAG_MOVED, TAG_SEAL};
use super::{Kinds, RECORDS};
use crate::planted::{self, Bug};

/// Consecutive blank cells after which nothing follows: more than there are in the content of an entry that
/// was never finished.
const BLANK_CELLS_MAX: u32 = 512;

/// The result of one pass over a bank.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan {
    /// The last sealed entry of each record.
    pub(super) live: [Option<Header>; RECORDS],
    /// Bit n: a sealed entry of record n is damaged, and none follows.
    pub(super) damaged: Kinds,
    /// Bit n: the last sealed entry of record n has lost a copy or its seal, and must be rewritten.
    pub(super) weak: Kinds,
    /// The entry that marks the bank as in use has lost a copy.
    pub(super) bank_is_weak: bool,
    /// The last sealed entry overall.
    pub(super) last: Option<Sealed>,
    /// The last entry, if no seal follows it: the power was cut during or just after writing it, or the flash
    /// has lost the seal.
    pub(super) unsealed: Option<Pair>,
    /// The generation of the bank, once it is in use.
    pub(super) generation: Option<u32>,
    /// Whether the other bank is in use since.
    pub(super) moved: bool,
    /// The first cell that may be free.
    pub(super) tail: u32,
    /// Intact entries with something unreadable in the cell of their seal. They count as sealed unless a
    /// later seal refers to an entry before them.
    implied: [Option<Pair>; RECORDS],
}

impl Scan {
    /// Makes one pass.
    pub(super) fn of<F: NorFlash>(flash: &mut F, bank: &Bank) -> Self {
        let mut scan = Self {
            live: [None; RECORDS],
            damaged: 0,
            weak: 0,
            bank_is_weak: false,
            last: None,
            unsealed: None,
            generation: None,
            moved: false,
            tail: 0,
            implied: [None; RECORDS],
        };
        let (mut cell, cells) = (0, bank.cells());
        while cell < cells && cell < scan.tail + BLANK_CELLS_MAX {
            match bank.look(flash, cell) {
                Look::Entry(header) => cell = scan.entry(flash, bank, &header),
                Look::Blank => {
                    cell += 1;
                    continue;
                }
                Look::Other => cell += 1,
            }
            scan.tail = scan.tail.max(cell);
        }
        scan.imply(u32::MAX);
        scan
    }

    /// Whether the flash has lost the seal of the last entry.
    pub(super) fn has_lost_seal(&self) -> bool {
        let live = |pair: Pair| self.live.get(usize::from(pair.header.tag)).copied().flatten();
        self.unsealed.is_some_and(|pair| live(pair) == Some(pair.whole))
    }

    /// Handles an entry that begins with this header; returns the cell to look at next.
    fn entry<F: NorFlash>(&mut self, flash: &mut F, bank: &Bank, header: &Header) -> u32 {
        let cells = bank.cells_of(header.len.into());
        if header.tag == TAG_SEAL {
            self.seal(flash, bank, header);
            return header.cell + cells;
        }
        // The scan comes upon a second copy only if the first one has lost its header.
        let first = if header.tag & COPY == 0 {
            Some(*header)
        } else {
            let cell = header.cell.checked_sub(cells);
            cell.map(|cell| Header { tag: header.tag & !COPY, cell, ..*header })
        };
        let pair = first.and_then(|first| bank.pair(flash, &first));
        let end = first.map_or(header.cell, |first| first.cell + 2 * cells);
        let Some(pair) = pair else {
            // If the header is complete, cells of its content that read as blank may have been programmed.
            let touched = if bank.is_steady(flash, header) { end } else { header.cell + 1 };
            self.tail = self.tail.max(touched.min(bank.cells()));
            // What follows may have been written where this one was never finished.
            return header.cell + 1;
        };
        self.unsealed = Some(pair);
        self.note(flash, bank, &pair);
        let is_sealed = |look| match look {
            Look::Other => true,
            // It may be unreadable by the time that the scan comes to it.
            Look::Entry(seal) => seal.tag == TAG_SEAL && seal.sealed() == pair.header.entry(),
            Look::Blank => false,
        };
        if pair.both
            && end < bank.cells()
            && is_sealed(bank.look(flash, end))
            && let Some(implied) = self.implied.get_mut(usize::from(pair.header.tag))
        {
            *implied = Some(pair);
        }
        if pair.both || pair.whole.cell != pair.header.cell {
            return end;
        }
        // If the second copy was never finished, something else may follow the first one.
        let touched = if bank.is_steady(flash, header) { end } else { header.cell + cells };
        self.tail = self.tail.max(touched.min(bank.cells()));
        header.cell + cells
    }

    /// Handles a seal: the entry that it refers to is good, and everything unsealed between the two is not.
    /// It may refer to an entry that is not the last one before it: what came in between was never finished,
    /// and may look intact this time.
    fn seal<F: NorFlash>(&mut self, flash: &mut F, bank: &Bank, seal: &Header) {
        let sealed = seal.sealed();
        if !planted::is(Bug::SealForgotten) {
            self.imply(sealed.cell);
        }
        self.implied = [None; RECORDS];
        match self.unsealed.take() {
            Some(pair) if pair.header.entry() == sealed => self.keep(&pair),
            _ if self.last == Some(sealed) => {}
            _ => {
                let header = bank.header(flash, sealed.cell).filter(|header| header.entry() == sealed);
                match header.and_then(|header| bank.pair(flash, &header)) {
                    Some(pair) => self.keep(&pair),
                    // It is not what was sealed: the flash has lost it. An older one does not replace it.
                    None => self.damage(sealed.tag),
                }
            }
        }
    }

    /// Entries before this cell count as sealed if the flash has lost their seals.
    fn imply(&mut self, before: u32) {
        for pair in self.implied.into_iter().flatten().filter(|pair| pair.header.cell < before) {
            let tag = usize::from(pair.header.tag);
            if let Some(live) = self.live.get_mut(tag) {
                *live = Some(pair.whole);
                self.damaged &= !(1 << tag);
                self.weak |= 1 << tag;
            }
        }
    }

    fn keep(&mut self, pair: &Pair) {
        let tag = pair.header.tag;
        self.last = Some(pair.header.entry());
        self.moved = tag == TAG_MOVED;
        if tag == TAG_BANK {
            self.bank_is_weak = !pair.both;
        }
        if let Some(live) = self.live.get_mut(usize::from(tag)) {
            *live = Some(pair.whole);
            self.damaged &= !(1 << tag);
            self.weak = self.weak & !(1 << tag) | Kinds::from(!pair.both) << tag;
        }
    }

    /// Entries of the log itself hold no record. The seal alone shows that a bank is in use; an entry with
    /// its generation precedes it.
    fn damage(&mut self, tag: u8) {
        if tag == TAG_BANK {
            self.generation.get_or_insert(0);
        }
        if let Some(live) = self.live.get_mut(usize::from(tag)) {
            *live = None;
            self.damaged |= 1 << tag;
            self.weak &= !(1 << tag);
        }
    }

    /// A bank is in use as soon as it is marked so, sealed or not: before the mark is written, the other bank
    /// has been marked as left.
    fn note<F: NorFlash>(&mut self, flash: &mut F, bank: &Bank, pair: &Pair) {
        if pair.header.tag == TAG_BANK {
            self.generation = bank.number(flash, &pair.whole).or(self.generation);
        }
    }
}
