//! The behaviour of flash after a power cut, and reads and writes that allow for it.
//!
//! A word whose programming was cut, and a page whose erase was cut, may read differently each time, or not
//! at all. Such a word can look blank or right in one read, but not in all of [`READS`] reads.

use embedded_storage::nor_flash::NorFlash;

use crate::layout::Partition;
use crate::planted::{self, Bug};

/// An erased byte.
pub const BLANK: u8 = 0xff;
/// How many reads must agree before a value is accepted that nothing else confirms.
pub const READS: u8 = 16;
/// How many bytes are handled at a time; a multiple of every word length.
pub const CHUNK_BYTES: usize = 256;
/// How often a page is copied or erased if it does not take that.
const COPY_TRIES: u8 = 3;

/// Whether a range reads as blank this many times in a row.
pub fn is_blank<F: NorFlash>(flash: &mut F, offset: u32, bytes: u32, times: u8) -> bool {
    let mut buffer = [0; CHUNK_BYTES];
    let times = if planted::is(Bug::BlankAtOnce) { 1 } else { times };
    chunks(offset, bytes).all(|(offset, len)| {
        let buffer = &mut buffer[..len];
        (0..times).all(|_| flash.read(offset, buffer).is_ok() && buffer.iter().all(|byte| *byte == BLANK))
    })
}

/// Reads a range repeatedly; `false` if it cannot be read or two reads differ, on a second try too. `bytes`
/// is then meaningless.
///
/// A read may fail just once, so there is a second try. It takes [`READS`] reads, which no word passes that a
/// cut has left in doubt.
pub fn read_steady<F: NorFlash>(flash: &mut F, offset: u32, bytes: &mut [u8], times: u8) -> bool {
    reads_alike(flash, offset, bytes, times) || reads_alike(flash, offset, bytes, READS)
}

fn reads_alike<F: NorFlash>(flash: &mut F, offset: u32, bytes: &mut [u8], times: u8) -> bool {
    if flash.read(offset, bytes).is_err() {
        return false;
    }
    let mut buffer = [0; CHUNK_BYTES];
    let mut at = offset;
    bytes.chunks(CHUNK_BYTES).all(|expected| {
        let again = &mut buffer[..expected.len()];
        let same = (1..times).all(|_| flash.read(at, again).is_ok() && *again == *expected);
        at += expected.len() as u32;
        same
    })
}

/// Programs the words of `bytes` that are not blank. `offset` and length are multiples of a word.
///
/// # Errors
/// The flash's own.
pub fn program<F: NorFlash>(flash: &mut F, offset: u32, bytes: &[u8]) -> Result<(), F::Error> {
    if bytes.iter().all(|byte| *byte == BLANK) {
        return Ok(());
    }
    let word = F::WRITE_SIZE;
    let mut run = 0..0;
    for (at, bytes_of_word) in (0..).step_by(word).zip(bytes.chunks(word)) {
        if bytes_of_word.iter().all(|byte| *byte == BLANK) {
            flush(flash, offset, bytes, &run)?;
            run = at + word..at + word;
        } else {
            run.end = at + word;
        }
    }
    flush(flash, offset, bytes, &run)
}

/// Erases the page of `to`, copies the page of `from` there and reads it back. Words that cannot be read are
/// left blank. `false` if the page does not take the content, even after retries.
pub fn copy_page<F: NorFlash>(flash: &mut F, from: u32, to: u32) -> bool {
    (0..COPY_TRIES).any(|_| copy_once(flash, from, to))
}

/// Whether two pages read the same.
pub fn is_same_page<F: NorFlash>(flash: &mut F, one: u32, other: u32) -> bool {
    let mut buffer = [0; CHUNK_BYTES];
    chunks(0, F::ERASE_SIZE as u32).all(|(at, len)| {
        read_steady(flash, one + at, &mut buffer[..len], READS)
            && (0..READS).all(|_| reads_as(flash, other + at, &buffer[..len]))
    })
}

/// A page that is not blank after its erase is left as it is: its old content may still be intact.
fn copy_once<F: NorFlash>(flash: &mut F, from: u32, to: u32) -> bool {
    let page = F::ERASE_SIZE as u32;
    let checked = !planted::is(Bug::CopyBelieved);
    if flash.erase(to, to + page).is_err() || (checked && !is_blank(flash, to, page, 1)) {
        return false;
    }
    let mut buffer = [0; CHUNK_BYTES];
    chunks(0, page).all(|(at, len)| {
        let bytes = &mut buffer[..len];
        // What comes out wrong only once is not copied.
        if !read_steady(flash, from + at, bytes, 2) {
            read_what_can_be_read(flash, from + at, bytes);
        }
        let written = program(flash, to + at, bytes).is_ok();
        !checked || (written && reads_as(flash, to + at, bytes))
    })
}

fn reads_as<F: NorFlash>(flash: &mut F, offset: u32, expected: &[u8]) -> bool {
    let mut buffer = [0; CHUNK_BYTES];
    let bytes = &mut buffer[..expected.len()];
    flash.read(offset, bytes).is_ok() && *bytes == *expected
}

/// Reads a range of whole words; unreadable words come out blank.
pub fn read_what_can_be_read<F: NorFlash>(flash: &mut F, offset: u32, bytes: &mut [u8]) {
    if flash.read(offset, bytes).is_ok() {
        return;
    }
    for (at, word) in (offset..).step_by(F::WRITE_SIZE).zip(bytes.chunks_mut(F::WRITE_SIZE)) {
        if flash.read(at, word).is_err() {
            word.fill(BLANK);
        }
    }
}

/// Erases a partition; `false` when it does not come out blank, also not when that is tried again.
pub fn erase<F: NorFlash>(flash: &mut F, partition: Partition) -> bool {
    let Partition { offset, bytes } = partition;
    (0..COPY_TRIES).any(|_| flash.erase(offset, offset + bytes).is_ok() && is_blank(flash, offset, bytes, 1))
}

/// A range in pieces of at most [`CHUNK_BYTES`]: offset and length of each.
pub fn chunks(offset: u32, bytes: u32) -> impl Iterator<Item = (u32, usize)> {
    (0..bytes).step_by(CHUNK_BYTES).map(move |at| (offset + at, ((bytes - at) as usize).min(CHUNK_BYTES)))
}

fn flush<F: NorFlash>(
    flash: &mut F,
    offset: u32,
    bytes: &[u8],
    run: &core::ops::Range<usize>,
) -> Result<(), F::Error> {
    match bytes.get(run.clone()) {
        Some(words) if !words.is_empty() => flash.write(offset + run.start as u32, words),
        _ => Ok(()),
    }
}
