//! Blocks in pages: writing and reading a block where a power cut may have left something.
//!
//! The pages that must be written also hold other intact blocks (docs/protocol.md, \[words\]):
//!
//! 1. If every word of the place reads as blank, each time, it is programmed.
//! 2. If the flash allows it, a place where bits only need to be cleared is programmed again.
//! 3. Otherwise the page is repaired: its other words and the new ones are copied to the spare page, the log
//!    records that the page is being repaired, it is erased and filled from the spare page, and the log
//!    records that it is intact. This is done even if the data fills the page alone: a page whose erase was
//!    cut must not be taken for a blank one.
//!
//! | the log says | page | spare page | a start |
//! |---|---|---|---|
//! | nothing | as it was | torn or whole | leaves it; the block is fetched again |
//! | being repaired | torn | whole | erases the page, fills it, records that |
//! | nothing | whole | whole | continues |

use boot_stage::layout::{FlashLayout, WORD_BYTES_MAX};
use boot_stage::medium::{
    BLANK, CHUNK_BYTES, READS, chunks, copy_page, is_blank, program, read_steady, read_what_can_be_read,
};
use boot_stage::planted::{self, Bug};
use boot_stage::record_log::{Kind, LogError, RecordLog};
use embedded_storage::nor_flash::NorFlash;

use crate::store::StoreError;

/// No page.
const NONE: u32 = u32::MAX;

/// The flash with what is needed to repair a page.
pub(crate) struct Pages<'a, F> {
    pub(crate) flash: &'a mut F,
    pub(crate) layout: &'a FlashLayout,
    pub(crate) log: &'a mut RecordLog,
}

/// Reads bytes that must read the same each time. Those that do not come out as zeros, which have no right
/// hash.
pub(crate) fn read<F: NorFlash>(flash: &mut F, offset: u32, buffer: &mut [u8], times: u8) {
    for ((offset, _), bytes) in chunks(offset, buffer.len() as u32).zip(buffer.chunks_mut(CHUNK_BYTES)) {
        if !read_steady(flash, offset, bytes, times) {
            bytes.fill(0);
        }
    }
}

impl<F: NorFlash> Pages<'_, F> {
    /// Writes `data`, which begins at a word, and fills its last word with blanks.
    ///
    /// # Errors
    /// [`StoreError::NotKept`], [`StoreError::Full`], [`StoreError::Flash`].
    pub(crate) fn place(&mut self, offset: u32, data: &[u8]) -> Result<(), StoreError<F::Error>> {
        let page_bytes = F::ERASE_SIZE as u32;
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let left = (page_bytes - at % page_bytes) as usize;
            let (piece, behind) = rest.split_at(left.min(rest.len()));
            self.place_in_page(at, piece)?;
            at += piece.len() as u32;
            rest = behind;
        }
        Ok(())
    }

    /// Finishes a page that was being repaired when the power failed.
    ///
    /// # Errors
    /// The same as for [`Self::place`].
    pub(crate) fn finish_mending(&mut self) -> Result<(), StoreError<F::Error>> {
        let mut bytes = [0; 4];
        let page = match self.log.read(self.flash, Kind::Mending, &mut bytes) {
            Ok(Some(4)) => u32::from_le_bytes(bytes),
            Ok(_) | Err(LogError::Lost) => NONE,
            Err(error) => return Err(error.into()),
        };
        if page == NONE { Ok(()) } else { self.fill_from_spare(page) }
    }

    fn place_in_page(&mut self, offset: u32, data: &[u8]) -> Result<(), StoreError<F::Error>> {
        let words = data.len().next_multiple_of(F::WRITE_SIZE) as u32;
        if self.is_kept(offset, data) {
            return Ok(());
        }
        if is_blank(self.flash, offset, words, READS)
            || (self.layout.rewritable && self.only_clears_bits(offset, data))
        {
            self.program(offset, data)?;
            if self.is_kept(offset, data) {
                return Ok(());
            }
        }
        self.mend(offset - offset % F::ERASE_SIZE as u32, offset, data)?;
        if self.is_kept(offset, data) { Ok(()) } else { Err(StoreError::NotKept) }
    }

    /// Copies the page to the spare page with `data` in its place, and back.
    fn mend(&mut self, page: u32, offset: u32, data: &[u8]) -> Result<(), StoreError<F::Error>> {
        let page_bytes = F::ERASE_SIZE as u32;
        if planted::is(Bug::ErasedInPlace) {
            self.flash.erase(page, page + page_bytes).map_err(StoreError::Flash)?;
            return self.program(offset, data);
        }
        let spare = self.layout.spare.offset;
        self.flash.erase(spare, spare + page_bytes).map_err(StoreError::Flash)?;
        let end = offset + data.len().next_multiple_of(F::WRITE_SIZE) as u32;
        let mut buffer = [0; CHUNK_BYTES];
        for (from, len) in chunks(page, page_bytes) {
            let bytes = &mut buffer[..len];
            read_what_can_be_read(self.flash, from, bytes);
            for (at, byte) in (from..).zip(bytes.iter_mut()).filter(|(at, _)| (offset..end).contains(at)) {
                *byte = data.get((at - offset) as usize).copied().unwrap_or(BLANK);
            }
            program(self.flash, spare + (from - page), bytes).map_err(StoreError::Flash)?;
        }
        if !planted::is(Bug::MendingNotRecorded) {
            self.log.append(self.flash, Kind::Mending, &page.to_le_bytes())?;
        }
        self.fill_from_spare(page)
    }

    fn fill_from_spare(&mut self, page: u32) -> Result<(), StoreError<F::Error>> {
        if !copy_page(self.flash, self.layout.spare.offset, page) {
            // The page is worn out. Its content is fetched again, or the update ends with that reason.
            self.log.append(self.flash, Kind::Mending, &NONE.to_le_bytes())?;
            return Err(StoreError::NotKept);
        }
        Ok(self.log.append(self.flash, Kind::Mending, &NONE.to_le_bytes())?)
    }

    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), StoreError<F::Error>> {
        let whole = data.len() / F::WRITE_SIZE * F::WRITE_SIZE;
        let (words, rest) = data.split_at(whole);
        program(self.flash, offset, words).map_err(StoreError::Flash)?;
        if !rest.is_empty() {
            let mut last = [BLANK; WORD_BYTES_MAX];
            last[..rest.len()].copy_from_slice(rest);
            program(self.flash, offset + whole as u32, &last[..F::WRITE_SIZE]).map_err(StoreError::Flash)?;
        }
        Ok(())
    }

    fn only_clears_bits(&mut self, offset: u32, data: &[u8]) -> bool {
        let mut buffer = [0; CHUNK_BYTES];
        chunks(offset, data.len() as u32).zip(data.chunks(CHUNK_BYTES)).all(|((offset, len), new)| {
            let old = &mut buffer[..len];
            self.flash.read(offset, old).is_ok() && old.iter().zip(new).all(|(old, new)| old & new == *new)
        })
    }

    fn is_kept(&mut self, offset: u32, data: &[u8]) -> bool {
        let mut buffer = [0; CHUNK_BYTES];
        chunks(offset, data.len() as u32).zip(data.chunks(CHUNK_BYTES)).all(|((offset, len), expected)| {
            let bytes = &mut buffer[..len];
            (0..READS).all(|_| self.flash.read(offset, bytes).is_ok() && *bytes == *expected)
        })
    }
}
