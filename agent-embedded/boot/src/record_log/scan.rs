//! What is in a bank.

use embedded_storage::nor_flash::NorFlash;

use super::RECORDS;
use super::entry::{Bank, Header, Look, Sealed, TAG_BANK, TAG_MOVED, TAG_SEAL};

/// Blank cells in a row after which nothing more comes: more than the blank ones in the content of an entry
/// that was never finished.
const BLANK_CELLS_MAX: u32 = 512;

/// What one pass over a bank has found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan {
    /// The last sealed entry of each record.
    pub(super) live: [Option<u32>; RECORDS],
    /// Bit n: a sealed entry of record n is damaged, and none follows.
    pub(super) damaged: u8,
    /// The last sealed entry of all.
    pub(super) last: Option<Sealed>,
    /// The last entry, if no seal follows it: the power was cut while it was written, or just after.
    pub(super) unsealed: Option<Header>,
    /// The generation of the bank, once it is in use.
    pub(super) generation: Option<u32>,
    /// The other bank is in use since.
    pub(super) moved: bool,
    /// The first cell that may be free.
    pub(super) tail: u32,
}

impl Scan {
    /// One pass.
    pub(super) fn of<F: NorFlash>(flash: &mut F, bank: &Bank) -> Self {
        let mut scan = Self {
            live: [None; RECORDS],
            damaged: 0,
            last: None,
            unsealed: None,
            generation: None,
            moved: false,
            tail: 0,
        };
        let (mut cell, cells) = (0, bank.cells());
        while cell < cells && cell < scan.tail + BLANK_CELLS_MAX {
            let header = match bank.look(flash, cell) {
                Look::Entry(header) => header,
                Look::Blank => {
                    cell += 1;
                    continue;
                }
                Look::Other => {
                    cell += 1;
                    scan.tail = scan.tail.max(cell);
                    continue;
                }
            };
            let end = cell + bank.cells_of(header.len.into());
            if header.tag == TAG_SEAL {
                scan.seal(flash, bank, &header);
                cell = end;
            } else if bank.is_whole(flash, &header) {
                scan.unsealed = Some(header);
                scan.note(flash, bank, &header);
                cell = end;
            } else {
                // Once the header stands, cells of its content may be programmed that read as blank.
                let touched = if bank.is_steady(flash, &header) { end } else { cell + 1 };
                scan.tail = scan.tail.max(touched);
                // What follows may have been written where this one was never finished.
                cell += 1;
            }
            scan.tail = scan.tail.max(cell);
        }
        scan
    }

    /// A seal: the entry that it names is good, and everything unsealed before it is not. It may name one
    /// that is not the last before it: what came in between was never finished, and may look whole this once.
    fn seal<F: NorFlash>(&mut self, flash: &mut F, bank: &Bank, seal: &Header) {
        let sealed = seal.sealed();
        match self.unsealed.take() {
            Some(header) if header.entry() == sealed => self.keep(&header),
            _ if self.last == Some(sealed) => {}
            _ => match bank.header(flash, sealed.cell) {
                Some(header) if header.entry() == sealed && bank.is_whole(flash, &header) => {
                    self.keep(&header);
                }
                // It is not what was sealed: flash has forgotten it. An older one does not take its place.
                _ => self.damage(sealed.tag),
            },
        }
    }

    fn keep(&mut self, header: &Header) {
        self.last = Some(header.entry());
        self.moved = header.tag == TAG_MOVED;
        if let Some(live) = self.live.get_mut(usize::from(header.tag)) {
            *live = Some(header.cell);
            self.damaged &= !(1 << header.tag);
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
        }
    }

    /// A bank is in use as soon as it says so, sealed or not: before it is written, the other one has said
    /// it.
    fn note<F: NorFlash>(&mut self, flash: &mut F, bank: &Bank, header: &Header) {
        if header.tag == TAG_BANK {
            self.generation = bank.number(flash, header).or(self.generation);
        }
    }
}
