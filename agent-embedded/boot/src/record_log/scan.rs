//! What is in a bank.

use embedded_storage::nor_flash::NorFlash;

use super::RECORDS;
use super::entry::{Bank, COPY, Header, Look, Pair, Sealed, TAG_BANK, TAG_MOVED, TAG_SEAL};
use crate::planted::{self, Bug};

/// Blank cells in a row after which nothing more comes: more than the blank ones in the content of an entry
/// that was never finished.
const BLANK_CELLS_MAX: u32 = 512;

/// What one pass over a bank has found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan {
    /// The last sealed entry of each record.
    pub(super) live: [Option<Header>; RECORDS],
    /// Bit n: a sealed entry of record n is damaged, and none follows.
    pub(super) damaged: u8,
    /// Bit n: the last sealed entry of record n has lost a copy or its seal, and has to be written anew.
    pub(super) weak: u8,
    /// The entry that says that the bank is in use has lost a copy.
    pub(super) bank_is_weak: bool,
    /// The last sealed entry of all.
    pub(super) last: Option<Sealed>,
    /// The last entry, if no seal follows it: the power was cut while it was written, or just after, or the
    /// flash has forgotten the seal.
    pub(super) unsealed: Option<Pair>,
    /// The generation of the bank, once it is in use.
    pub(super) generation: Option<u32>,
    /// The other bank is in use since.
    pub(super) moved: bool,
    /// The first cell that may be free.
    pub(super) tail: u32,
    /// Entries that are whole and have something unreadable in the cell of their seal. They count as sealed
    /// unless a later seal names an entry before them.
    implied: [Option<Pair>; RECORDS],
}

impl Scan {
    /// One pass.
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

    /// Whether the flash has forgotten the seal of the last entry.
    pub(super) fn has_lost_seal(&self) -> bool {
        let live = |pair: Pair| self.live.get(usize::from(pair.header.tag)).copied().flatten();
        self.unsealed.is_some_and(|pair| live(pair) == Some(pair.whole))
    }

    /// An entry begins with this header; gives the cell to look at next.
    fn entry<F: NorFlash>(&mut self, flash: &mut F, bank: &Bank, header: &Header) -> u32 {
        let cells = bank.cells_of(header.len.into());
        if header.tag == TAG_SEAL {
            self.seal(flash, bank, header);
            return header.cell + cells;
        }
        // A second copy comes up here only if the first one has lost its header.
        let first = if header.tag & COPY == 0 {
            Some(*header)
        } else {
            let cell = header.cell.checked_sub(cells);
            cell.map(|cell| Header { tag: header.tag & !COPY, cell, ..*header })
        };
        let pair = first.and_then(|first| bank.pair(flash, &first));
        let end = first.map_or(header.cell, |first| first.cell + 2 * cells);
        let Some(pair) = pair else {
            // Once the header stands, cells of its content may be programmed that read as blank.
            let touched = if bank.is_steady(flash, header) { end } else { header.cell + 1 };
            self.tail = self.tail.max(touched.min(bank.cells()));
            // What follows may have been written where this one was never finished.
            return header.cell + 1;
        };
        self.unsealed = Some(pair);
        self.note(flash, bank, &pair);
        if pair.both
            && end < bank.cells()
            && bank.look(flash, end) == Look::Other
            && let Some(implied) = self.implied.get_mut(usize::from(pair.header.tag))
        {
            *implied = Some(pair);
        }
        if pair.both || pair.whole.cell != pair.header.cell {
            return end;
        }
        // Where the second copy was never finished, something else may follow the first one.
        let touched = if bank.is_steady(flash, header) { end } else { header.cell + cells };
        self.tail = self.tail.max(touched.min(bank.cells()));
        header.cell + cells
    }

    /// A seal: the entry that it names is good, and everything unsealed between the two is not. It may name
    /// one that is not the last before it: what came in between was never finished, and may look whole this
    /// once.
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
                    // It is not what was sealed: flash has forgotten it. An older
                    // one does not take its place.
                    None => self.damage(sealed.tag),
                }
            }
        }
    }

    /// Entries before this cell count as sealed where the flash has forgotten their seals.
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
            self.weak = self.weak & !(1 << tag) | u8::from(!pair.both) << tag;
        }
    }

    /// An entry of the log itself holds no record. That a bank is in use is known by the seal alone; one that
    /// says by which generation goes before it.
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

    /// A bank is in use as soon as it says so, sealed or not: before it is written, the other one has said
    /// it.
    fn note<F: NorFlash>(&mut self, flash: &mut F, bank: &Bank, pair: &Pair) {
        if pair.header.tag == TAG_BANK {
            self.generation = bank.number(flash, &pair.whole).or(self.generation);
        }
    }
}
