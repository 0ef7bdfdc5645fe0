//! The image in a slot: the signed envelope after it, and the check against what was signed.
//!
//! A trailer is the four bytes `fwe1`, the envelope's length in 4 bytes, little-endian, blank bytes up to 32,
//! then the envelope. It needs no checksum of its own: the envelope is signed.

use embedded_storage::nor_flash::NorFlash;
use update_core::digest::Hasher;
use update_core::key_set::KeySet;
use update_core::limits::ENVELOPE_BYTES_MAX;
use update_core::suit::Offer;

use crate::exchange::Place;
use crate::layout::FlashLayout;
use crate::medium::{BLANK, CHUNK_BYTES, chunks, read_steady};
use crate::verify::Verify;

const MAGIC: [u8; 4] = *b"fwe1";
/// Bytes before the envelope: whole words of any flash.
const HEADER_BYTES: usize = 32;
/// The longest trailer that is actually written, in whole words of any flash.
pub const WRITTEN_BYTES_MAX: usize = HEADER_BYTES + ENVELOPE_BYTES_MAX;
/// How many reads of each chunk of an image must agree while it is hashed.
const HASH_READS: u8 = 4;

/// Why an image may not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageError {
    /// There is no envelope signed by an image key.
    NotSigned,
    /// The image is not the signed one, or does not read the same each time.
    Damaged,
}

/// Assembles a trailer and returns the bytes to write. `None` if the envelope is too long.
#[must_use]
pub fn trailer<'b>(envelope: &[u8], buffer: &'b mut [u8; WRITTEN_BYTES_MAX]) -> Option<&'b [u8]> {
    buffer.fill(BLANK);
    buffer[..4].copy_from_slice(&MAGIC);
    buffer[4..8].copy_from_slice(&u32::try_from(envelope.len()).ok()?.to_le_bytes());
    buffer.get_mut(HEADER_BYTES..HEADER_BYTES + envelope.len())?.copy_from_slice(envelope);
    let whole = (HEADER_BYTES + envelope.len()).next_multiple_of(HEADER_BYTES);
    buffer.get(..whole)
}

/// Reads the envelope after an image.
pub fn envelope<'b, F: NorFlash>(
    flash: &mut F,
    layout: &FlashLayout,
    place: &Place,
    buffer: &'b mut [u8; ENVELOPE_BYTES_MAX],
) -> Option<&'b [u8]> {
    let trailer = layout.image_bytes_max();
    let mut header = [0; 8];
    if !read_placed(flash, place, trailer, &mut header) {
        return None;
    }
    let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
    let envelope = buffer.get_mut(..len).filter(|_| header[..4] == MAGIC)?;
    read_placed(flash, place, trailer + HEADER_BYTES as u32, envelope).then_some(envelope)
}

/// The offer in the envelope after an image, if one of the keys signed it.
///
/// # Errors
/// [`ImageError::NotSigned`].
pub fn offer<F: NorFlash>(
    flash: &mut F,
    layout: &FlashLayout,
    place: &Place,
    keys: &KeySet,
    verify: &mut impl Verify,
) -> Result<Offer, ImageError> {
    let mut buffer = [0; ENVELOPE_BYTES_MAX];
    let envelope = envelope(flash, layout, place, &mut buffer).ok_or(ImageError::NotSigned)?;
    let offer = verify.offer(envelope, keys).ok_or(ImageError::NotSigned)?;
    let fits = offer.layout.image_size.bytes() <= layout.image_bytes_max();
    fits.then_some(offer).ok_or(ImageError::NotSigned)
}

/// Compares a whole image with what was signed.
///
/// # Errors
/// [`ImageError::Damaged`].
pub fn check<F: NorFlash>(flash: &mut F, place: &Place, offer: &Offer) -> Result<(), ImageError> {
    let mut hasher = Hasher::new();
    let mut buffer = [0; CHUNK_BYTES];
    for (in_slot, len) in chunks(0, offer.layout.image_size.bytes()) {
        let bytes = &mut buffer[..len];
        if !read_placed(flash, place, in_slot, bytes) {
            return Err(ImageError::Damaged);
        }
        hasher.update(bytes);
    }
    if hasher.finish() == offer.image_digest { Ok(()) } else { Err(ImageError::Damaged) }
}

/// Reads bytes of a slot repeatedly, page by page; `false` if they cannot be read or differ.
fn read_placed<F: NorFlash>(flash: &mut F, place: &Place, in_slot: u32, bytes: &mut [u8]) -> bool {
    let page_bytes = F::ERASE_SIZE as u32;
    let (mut at, mut rest) = (in_slot, bytes);
    while !rest.is_empty() {
        let left = (page_bytes - at % page_bytes) as usize;
        let (piece, behind) = rest.split_at_mut(left.min(rest.len()));
        if !read_steady(flash, place.at(at), piece, HASH_READS) {
            return false;
        }
        at += piece.len() as u32;
        rest = behind;
    }
    true
}
