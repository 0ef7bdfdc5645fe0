//! Storage errors.

use boot_stage::layout::LayoutError;
use boot_stage::record_log::LogError;
use embedded_storage::nor_flash::{NorFlashError, NorFlashErrorKind};

/// Why storage did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError<E> {
    /// The flash refused.
    Flash(E),
    /// The layout does not fit the flash.
    Layout(LayoutError),
    /// It was saved once and can no longer be read. Without its counters a device neither sends nor accepts
    /// (docs/protocol.md, \[bound\]).
    Lost,
    /// The records area is full, or the record too long.
    Full,
    /// The flash does not keep what is written.
    NotKept,
    /// The bytes are not inside the area.
    OutOfRange,
    /// The area has not been prepared.
    NotPrepared,
    /// Both slots are needed until the image on trial is confirmed or rolled back.
    OnTrial,
    /// The image to be activated does not have the length that was prepared, or its envelope is missing.
    NotTheUpdate,
}

impl<E> From<LogError<E>> for StoreError<E> {
    fn from(error: LogError<E>) -> Self {
        match error {
            LogError::Flash(error) => Self::Flash(error),
            LogError::Lost => Self::Lost,
            LogError::Full => Self::Full,
            LogError::NotKept => Self::NotKept,
        }
    }
}

impl<E: NorFlashError> StoreError<E> {
    /// The same error, reduced to what all flash memories have in common.
    #[must_use]
    pub fn kind(&self) -> StoreError<NorFlashErrorKind> {
        match self {
            Self::Flash(error) => StoreError::Flash(error.kind()),
            Self::Layout(error) => StoreError::Layout(*error),
            Self::Lost => StoreError::Lost,
            Self::Full => StoreError::Full,
            Self::NotKept => StoreError::NotKept,
            Self::OutOfRange => StoreError::OutOfRange,
            Self::NotPrepared => StoreError::NotPrepared,
            Self::OnTrial => StoreError::OnTrial,
            Self::NotTheUpdate => StoreError::NotTheUpdate,
        }
    }
}
