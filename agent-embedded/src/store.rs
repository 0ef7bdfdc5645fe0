//! What a microcontroller offers to `Reception`: records, two areas and the boot switch, in its flash.

use boot_stage::layout::FlashLayout;
use boot_stage::layout::LayoutError;
use embedded_storage::nor_flash::NorFlash;
use update_core::key_set::KeySet;
use update_core::platform::{Area, Platform, Record, RollBackCause, Trial};

/// The flash of one device, as its agent uses it.
#[derive(Debug, Clone)]
pub struct FlashStore<F> {
    flash: F,
    layout: FlashLayout,
}

/// Why storage did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError<E> {
    /// The flash refused.
    Flash(E),
    /// The layout does not fit the flash.
    Layout(LayoutError),
    /// The records are lost: nothing may be sent or accepted (DESIGN \[bound\]).
    Lost,
    /// The records area is full, or the record too long.
    Full,
    /// The bytes do not lie inside of the area.
    OutOfRange,
    /// The area has not been prepared.
    NotPrepared,
    /// Both slots are needed until the image on trial is confirmed or rolled back.
    OnTrial,
    /// The image to be activated has not the length that was prepared, or no envelope.
    NotTheUpdate,
}

impl<F: NorFlash> FlashStore<F> {
    /// Opens the records, after the boot stage has run.
    ///
    /// # Errors
    /// [`StoreError::Layout`], [`StoreError::Lost`], [`StoreError::Flash`].
    pub fn open(flash: F, layout: FlashLayout) -> Result<Self, StoreError<F::Error>> {
        Ok(Self { flash, layout })
    }

    /// A record's content in `buffer` (at most
    /// [`RECORD_BYTES_MAX`](update_core::limits::RECORD_BYTES_MAX)); `None` when it was never saved.
    ///
    /// # Errors
    /// [`StoreError::Flash`].
    pub fn load<'b>(
        &mut self,
        record: Record,
        buffer: &'b mut [u8],
    ) -> Result<Option<&'b [u8]>, StoreError<F::Error>> {
        todo!("{record:?} {buffer:?}")
    }

    /// How the trial stands, for the start of `Reception`.
    #[must_use]
    pub fn trial(&self) -> Trial {
        todo!()
    }

    /// Whether an image has been activated: the device has to start its boot stage anew, after it has sent what
    /// is due and saved its exact counters.
    #[must_use]
    pub fn restart_due(&self) -> bool {
        todo!()
    }

    /// The image on trial has proved healthy: no reset takes it back any more. To be followed by
    /// `Input::Trial(Trial::Healthy)`.
    ///
    /// # Errors
    /// [`StoreError::Flash`], [`StoreError::Full`].
    pub fn confirm(&mut self) -> Result<(), StoreError<F::Error>> {
        todo!()
    }

    /// The image on trial is given up; the next start of the boot stage brings the old one back.
    ///
    /// # Errors
    /// [`StoreError::Flash`], [`StoreError::Full`].
    pub fn give_up(&mut self, cause: RollBackCause) -> Result<(), StoreError<F::Error>> {
        todo!("{cause:?}")
    }

    /// The stored key set where it supersedes the provisioned one, verified.
    ///
    /// # Errors
    /// [`StoreError::Flash`].
    pub fn key_set(&mut self, root: &[u8; 32]) -> Result<Option<KeySet>, StoreError<F::Error>> {
        todo!("{root:?}")
    }

    /// Stores a key set that has been verified and supersedes the present one.
    ///
    /// # Errors
    /// [`StoreError::Flash`], [`StoreError::Full`].
    pub fn save_key_set(&mut self, signed: &[u8]) -> Result<(), StoreError<F::Error>> {
        todo!("{signed:?}")
    }

    /// Reads the beginning of the provisioning area.
    ///
    /// # Errors
    /// [`StoreError::Flash`].
    pub fn read_provisioning(&mut self, buffer: &mut [u8]) -> Result<(), StoreError<F::Error>> {
        todo!("{buffer:?}")
    }

    /// The layout.
    #[must_use]
    pub const fn layout(&self) -> &FlashLayout {
        &self.layout
    }

    /// The flash itself.
    #[must_use]
    pub fn into_flash(self) -> F {
        self.flash
    }
}

impl<F: NorFlash> Platform for FlashStore<F> {
    type Error = StoreError<F::Error>;

    async fn save(&mut self, _record: Record, _bytes: &[u8]) -> Result<(), Self::Error> {
        todo!()
    }

    async fn prepare(&mut self, _image_bytes: u32, _page_bytes: u32) -> Result<(), Self::Error> {
        todo!()
    }

    async fn write(&mut self, _area: Area, _offset: u32, _data: &[u8]) -> Result<(), Self::Error> {
        todo!()
    }

    async fn read(&mut self, _area: Area, _offset: u32, _buffer: &mut [u8]) -> Result<(), Self::Error> {
        todo!()
    }

    async fn sync(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn activate(&mut self, _image_bytes: u32, _digest: &[u8; 32]) -> Result<(), Self::Error> {
        todo!()
    }

    async fn settle(&mut self) -> Result<(), Self::Error> {
        todo!()
    }
}
