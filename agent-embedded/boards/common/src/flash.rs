//! Shared code of the flash drivers.

use boot_stage::layout::Partition;
use embedded_storage::nor_flash::{NorFlashError, NorFlashErrorKind};

/// Errors of a flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlashError {
    /// The range is outside the flash.
    OutOfBounds,
    /// The range is not made of whole words or pages.
    NotAligned,
    /// A bit would have to be set without an erase.
    NotErased,
    /// A word cannot be read: its programming or erasing was cut.
    Unreadable,
    /// It is write-protected.
    Protected,
    /// The order of the accesses was wrong, or a word was not blank.
    Sequence,
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            Self::NotAligned => NorFlashErrorKind::NotAligned,
            Self::NotErased | Self::Unreadable | Self::Protected | Self::Sequence => NorFlashErrorKind::Other,
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

/// A partition of a flash that the processor sees at `base`.
///
/// # Safety
/// The partition is inside the flash, and nothing writes to it while the program runs.
#[must_use]
pub const unsafe fn mapped(base: usize, partition: Partition) -> &'static [u8] {
    let begin = (base + partition.offset as usize) as *const u8;
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(begin, partition.bytes as usize) }
}
