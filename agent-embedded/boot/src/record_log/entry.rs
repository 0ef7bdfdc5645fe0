//! An entry of a bank: a header, its content, and the reads that decide whether it is present.

use core::ops::Range;

use crc::{CRC_32_ISO_HDLC, Crc};
use embedded_storage::nor_flash::NorFlash;

use super::LogError;
use crate::layout::Partition;
use crate::medium::{BLANK, READS, is_blank};

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 16;
/// How often something with a checksum is read until it is right: a read may fail, or go wrong, once.
const TRIES: u8 = 3;
/// How many bytes are written or read at a time; a multiple of every word length.
const PIECE_BYTES: usize = 64;
/// The first byte of entries in this format version; version 1 used 0x5a.
const MAGIC: u8 = 0x5b;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Tags of entries that belong to the log itself; records have lower tags.
pub(super) const TAG_BANK: u8 = 0xb0;
/// See [`TAG_BANK`].
pub(super) const TAG_MOVED: u8 = 0xb1;
/// See [`TAG_BANK`].
pub(super) const TAG_SEAL: u8 = 0xb2;
/// Set in the tag of the second copy of an entry.
pub(super) const COPY: u8 = 0x40;

/// The header before a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) tag: u8,
    /// Length of the content in bytes.
    pub(super) len: u16,
    /// The cell where the entry begins, so that a copy of it elsewhere does not pass for an entry.
    pub(super) cell: u32,
    /// CRC-32 of the content. In a seal, the entry that it seals: its cell, and its tag in the highest byte.
    pub(super) check: u32,
}

/// The cell of an entry, within a seal's reference to it.
const CELL_MASK: u32 = 0x00ff_ffff;

impl Header {
    /// A seal in this cell for the entry in another one.
    pub(super) const fn seal(cell: u32, entry: Sealed) -> Self {
        Self { tag: TAG_SEAL, len: 0, cell, check: (entry.tag as u32) << 24 | (entry.cell & CELL_MASK) }
    }

    /// The entry that this seal is for.
    pub(super) const fn sealed(&self) -> Sealed {
        Sealed { tag: (self.check >> 24) as u8, cell: self.check & CELL_MASK }
    }

    /// The header of the second copy, which is `cells` cells after the first one.
    pub(super) const fn copy(&self, cells: u32) -> Self {
        Self { tag: self.tag | COPY, cell: self.cell + cells, ..*self }
    }

    /// The entry itself, as a seal refers to it.
    pub(super) const fn entry(&self) -> Sealed {
        Sealed { tag: self.tag, cell: self.cell }
    }

    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = MAGIC;
        bytes[1] = self.tag;
        bytes[2..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.cell.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.check.to_le_bytes());
        let crc = CRC.checksum(&bytes[..12]);
        bytes[12..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let header = Self {
            tag: bytes[1],
            len: u16::from_le_bytes([bytes[2], bytes[3]]),
            cell: word(4),
            check: word(8),
        };
        (bytes[0] == MAGIC && word(12) == CRC.checksum(&bytes[..12])).then_some(header)
    }
}

/// What one read of a cell finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing. A word whose programming was cut may read as blank, but not each time.
    Blank,
    /// An entry begins here.
    Entry(Header),
    /// A part of an entry, or the remains of a cut.
    Other,
}

/// CRC-32 of a content in memory.
pub(super) fn checksum(content: &[u8]) -> u32 {
    CRC.checksum(content)
}

/// An entry as its seal refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) tag: u8,
    pub(super) cell: u32,
}

/// An entry with two copies, at least one of which is intact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    /// The header of the first copy.
    pub(super) header: Header,
    /// The header of an intact copy.
    pub(super) whole: Header,
    /// Whether both are intact.
    pub(super) both: bool,
}

/// One of the two banks: a range of whole cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bank {
    pub(super) place: Partition,
    pub(super) cell_bytes: u32,
}

/// The source of an entry's content while it is written.
pub(super) trait Content<F: NorFlash> {
    /// Fills `piece` with the content from `offset` on; `false` if it cannot be read.
    fn fill(&mut self, flash: &mut F, offset: usize, piece: &mut [u8]) -> bool;
}

/// Content in memory.
pub(super) struct InMemory<'a>(pub(super) &'a [u8]);

impl<F: NorFlash> Content<F> for InMemory<'_> {
    fn fill(&mut self, _flash: &mut F, offset: usize, piece: &mut [u8]) -> bool {
        let bytes = self.0.get(offset..offset + piece.len());
        bytes.is_some_and(|bytes| {
            piece.copy_from_slice(bytes);
            true
        })
    }
}

/// The content of an entry elsewhere in flash.
pub(super) struct InFlash {
    /// Offset of its first byte in the flash.
    pub(super) offset: u32,
}

impl<F: NorFlash> Content<F> for InFlash {
    fn fill(&mut self, flash: &mut F, offset: usize, piece: &mut [u8]) -> bool {
        flash.read(self.offset + offset as u32, piece).is_ok()
    }
}

impl Bank {
    pub(super) fn cells(&self) -> u32 {
        self.place.bytes / self.cell_bytes.max(1)
    }

    /// How many cells an entry with this many bytes of content takes.
    pub(super) fn cells_of(&self, len: usize) -> u32 {
        (HEADER_BYTES as u32 + len as u32).div_ceil(self.cell_bytes.max(1))
    }

    /// How many cells both copies of such an entry take.
    pub(super) fn cells_of_pair(&self, len: usize) -> u32 {
        2 * self.cells_of(len)
    }

    /// The entry whose first copy has this header, if one of its copies is intact.
    pub(super) fn pair<F: NorFlash>(&self, flash: &mut F, header: &Header) -> Option<Pair> {
        let copy = header.copy(self.cells_of(header.len.into()));
        let [first, second] = [*header, copy]
            .map(|header| self.header(flash, header.cell) == Some(header) && self.is_whole(flash, &header));
        let whole = if first { *header } else { copy };
        (first || second).then_some(Pair { header: *header, whole, both: first && second })
    }

    /// Offset in the flash of the content of the entry that begins with this cell.
    pub(super) const fn content_offset(&self, cell: u32) -> u32 {
        self.offset(cell) + HEADER_BYTES as u32
    }

    const fn offset(&self, cell: u32) -> u32 {
        self.place.offset + cell * self.cell_bytes
    }

    /// What is in a cell. It is read twice if need be: a read may fail, or go wrong, once.
    pub(super) fn look<F: NorFlash>(&self, flash: &mut F, cell: u32) -> Look {
        match self.look_once(flash, cell) {
            Look::Other => self.look_once(flash, cell),
            look => look,
        }
    }

    fn look_once<F: NorFlash>(&self, flash: &mut F, cell: u32) -> Look {
        let mut bytes = [0; HEADER_BYTES];
        let offset = self.offset(cell);
        if flash.read(offset, &mut bytes).is_err() {
            return Look::Other;
        }
        if bytes == [BLANK; HEADER_BYTES] {
            let head = HEADER_BYTES as u32;
            let blank = is_blank(flash, offset + head, self.cell_bytes.saturating_sub(head), 1);
            return if blank { Look::Blank } else { Look::Other };
        }
        let fits =
            |header: &Header| header.cell == cell && cell + self.cells_of(header.len.into()) <= self.cells();
        Header::from_bytes(&bytes).filter(fits).map_or(Look::Other, Look::Entry)
    }

    /// The header of the entry that begins in this cell; `None` if none does.
    pub(super) fn header<F: NorFlash>(&self, flash: &mut F, cell: u32) -> Option<Header> {
        match self.look(flash, cell) {
            Look::Entry(header) => Some(header),
            Look::Blank | Look::Other => None,
        }
    }

    /// Whether the content of this entry matches its header. Seals have no content.
    pub(super) fn is_whole<F: NorFlash>(&self, flash: &mut F, header: &Header) -> bool {
        let mut digest = CRC.digest();
        for piece in pieces(header.len.into()) {
            let mut buffer = [0; PIECE_BYTES];
            let Some(bytes) = buffer.get_mut(..piece.len()) else { return false };
            if flash.read(self.content_offset(header.cell) + piece.start as u32, bytes).is_err() {
                return false;
            }
            digest.update(bytes);
        }
        header.tag == TAG_SEAL || digest.finalize() == header.check
    }

    /// The first cell, from this one on, that begins this many untouched cells; the one after the last if
    /// there is none.
    pub(super) fn free<F: NorFlash>(&self, flash: &mut F, from: u32, cells: u32) -> u32 {
        let mut first = from;
        let mut cell = from;
        while cell < self.cells() && cell < first + cells {
            if !is_blank(flash, self.offset(cell), self.cell_bytes, READS) {
                first = cell + 1;
            }
            cell += 1;
        }
        if cell < first + cells { self.cells() } else { first }
    }

    /// Whether a header reads the same repeatedly.
    pub(super) fn is_steady<F: NorFlash>(&self, flash: &mut F, header: &Header) -> bool {
        (1..READS).all(|_| self.header(flash, header.cell) == Some(*header))
    }

    /// The number in a content of 4 bytes, each of which was checked.
    pub(super) fn number<F: NorFlash>(&self, flash: &mut F, header: &Header) -> Option<u32> {
        let mut bytes = [0; 4];
        let read = header.len == 4 && self.read(flash, header, &mut bytes).is_ok();
        read.then_some(u32::from_le_bytes(bytes))
    }

    /// Reads a content, which `bytes` are as long as, and checks it.
    pub(super) fn read<F: NorFlash>(
        &self,
        flash: &mut F,
        header: &Header,
        bytes: &mut [u8],
    ) -> Result<(), LogError<F::Error>> {
        let mut ended = Err(LogError::Lost);
        for _ in 0..TRIES {
            ended = match flash.read(self.content_offset(header.cell), bytes) {
                Ok(()) if checksum(bytes) == header.check => return Ok(()),
                Ok(()) => Err(LogError::Lost),
                Err(error) => Err(LogError::Flash(error)),
            };
        }
        ended
    }

    /// Writes an entry whose header gives its first cell; [`LogError::Lost`] if its content cannot be read
    /// from its source.
    pub(super) fn write<F: NorFlash>(
        &self,
        flash: &mut F,
        header: &Header,
        content: &mut impl Content<F>,
    ) -> Result<(), LogError<F::Error>> {
        let len = usize::from(header.len);
        let whole = (self.cells_of(len) * self.cell_bytes) as usize;
        for piece in pieces(whole) {
            let mut buffer = [BLANK; PIECE_BYTES];
            // Anything left out here is noticed when the entry is read back.
            let Some(bytes) = buffer.get_mut(..piece.len()) else { break };
            // The content is shifted by the header before it.
            let from = if piece.start == 0 { HEADER_BYTES } else { 0 };
            if let Some(head) = bytes.first_chunk_mut().filter(|_| piece.start == 0) {
                *head = header.to_bytes();
            }
            let begin = piece.start + from - HEADER_BYTES;
            let end = (piece.end - HEADER_BYTES).min(len);
            if begin < end
                && let Some(bytes) = bytes.get_mut(from..from + end - begin)
                && !content.fill(flash, begin, bytes)
            {
                return Err(LogError::Lost);
            }
            flash.write(self.offset(header.cell) + piece.start as u32, bytes).map_err(LogError::Flash)?;
        }
        Ok(())
    }
}

fn pieces(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(PIECE_BYTES).map(move |start| start..(start + PIECE_BYTES).min(len))
}
