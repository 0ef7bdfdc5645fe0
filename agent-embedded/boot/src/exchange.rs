//! How the two slots change places.

use embedded_storage::nor_flash::NorFlash;

use crate::boot_record::BootRecord;
use crate::layout::{FlashLayout, Partition};
use crate::medium::{copy_page, is_same_page};
use crate::planted::{self, Bug};
use crate::record_log::{LogError, RecordLog};

/// The direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The image in the update slot moves into the active one.
    In,
    /// It moves back.
    Back,
}

/// Whether the slots are where they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// They are.
    Done,
    /// They will be after a reset.
    NeedsReset,
    /// The hardware refuses: the slots stay where they are.
    Refused,
}

/// How a device exchanges its slots.
pub trait Exchange {
    /// Called before anything is read from a slot: whether the slots are where the record says
    /// ([`BootRecord::exchanged`]). If hardware keeps that state as well, the record takes precedence and the
    /// hardware is set accordingly.
    fn hold(&mut self, record: &BootRecord) -> Progress;

    /// Continues the exchange from where `record` says, to its end, and saves its progress there.
    /// [`Progress::Refused`] if a page of the flash does not take what is copied to it. In that case `record`
    /// says at which step the opposite way starts, and is not saved yet.
    ///
    /// # Errors
    /// The flash's own, or the log's.
    fn go_on<F: NorFlash>(
        &mut self,
        flash: &mut F,
        layout: &FlashLayout,
        log: &mut RecordLog,
        record: &mut BootRecord,
        way: Way,
    ) -> Result<Progress, LogError<F::Error>>;

    /// The location of the image that the last exchange moved out of the active slot, if nothing has been
    /// written there since.
    fn put_out(&self, layout: &FlashLayout, page_bytes: u32, record: &BootRecord) -> Place;
}

/// The location of an image and its envelope.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// In a slot.
    Slot(Partition),
    /// In the update slot, each page in the place of the next one, as [`BySpare`] leaves it.
    OnePageUp {
        /// The layout of the device.
        layout: FlashLayout,
        /// Length of a page in bytes.
        page_bytes: u32,
        /// Pages of the image that have changed places.
        pages: u32,
    },
}

impl Place {
    /// Where this byte of the slot is in the flash. The bytes after it follow, up to the end of the page.
    pub(crate) fn at(&self, in_slot: u32) -> u32 {
        match self {
            Self::Slot(slot) => slot.offset + in_slot,
            Self::OnePageUp { layout, page_bytes, pages } => {
                // Never 0, which the compiler cannot know.
                let page_bytes = (*page_bytes).max(1);
                let moved = Pages::new(layout, page_bytes, *pages);
                moved.update(moved.index_of(in_slot / page_bytes) + 1) + in_slot % page_bytes
            }
        }
    }
}

/// Page by page through the spare page. All devices of a group run their image from the same address.
///
/// The new image's pages are `U[0]` to `U[n-1]` and the spare page is `U[n]`; the old image's are `A[0]` to
/// `A[n-1]`. From the last page to the first, `A[i]` is copied to `U[i+1]`, which is free, and then `U[i]` to
/// `A[i]`, which frees `U[i]`. Afterwards the old image is in the update slot, one page up. The way back goes
/// from the first page to the last: `A[i]` to `U[i]`, then `U[i+1]` to `A[i]`.
///
/// The source of a step does not change until the step is recorded, so a step that was cut is repeated. Only
/// pages that hold one of the images or a trailer take part.
#[derive(Debug, Clone, Copy, Default)]
pub struct BySpare;

impl Exchange for BySpare {
    fn hold(&mut self, _record: &BootRecord) -> Progress {
        Progress::Done
    }

    fn go_on<F: NorFlash>(
        &mut self,
        flash: &mut F,
        layout: &FlashLayout,
        log: &mut RecordLog,
        record: &mut BootRecord,
        way: Way,
    ) -> Result<Progress, LogError<F::Error>> {
        let pages = Pages::new(layout, F::ERASE_SIZE as u32, record.pages.into());
        if planted::is(Bug::ExchangeBegunAnew) {
            record.step = 0;
        }
        while u32::from(record.step) < 2 * pages.count() {
            let (from, to) = pages.step(way, record.step.into());
            record.step += 1;
            if planted::is(Bug::StepBeforeCopy) {
                record.save(flash, log)?;
            }
            // On the way back, a page that already has its content may be one that cannot be erased.
            let kept = (way == Way::Back && is_same_page(flash, from, to)) || copy_page(flash, from, to);
            match way {
                _ if kept => {}
                Way::In => {
                    // The pages before this one have not moved. This one must also go back if its old content
                    // has been copied.
                    let done = u32::from(record.step) - 1;
                    let first = pages.count() - 1 - done / 2 + u32::from(done.is_multiple_of(2));
                    record.step = u16::try_from(2 * first).unwrap_or(u16::MAX);
                    return Ok(Progress::Refused);
                }
                // The update is lost by that; the image that goes back only needs the second step.
                Way::Back if record.step % 2 == 1 => {}
                // The pages before this one hold the old image, and the new one of each lies beside it.
                Way::Back => {
                    let first = pages.count() + 1 - u32::from(record.step) / 2;
                    record.step = u16::try_from(2 * first).unwrap_or(u16::MAX);
                    return Ok(Progress::Refused);
                }
            }
            if planted::is(Bug::ErasedBeforeStep) && record.step % 2 == 1 {
                flash.erase(from, from + F::ERASE_SIZE as u32).map_err(LogError::Flash)?;
            }
            record.save(flash, log)?;
        }
        Ok(Progress::Done)
    }

    fn put_out(&self, layout: &FlashLayout, page_bytes: u32, record: &BootRecord) -> Place {
        Place::OnePageUp { layout: *layout, page_bytes, pages: record.pages.into() }
    }
}

/// The pages that take part in an exchange: those of the images, then those of the trailer.
#[derive(Debug, Clone, Copy)]
struct Pages<'a> {
    layout: &'a FlashLayout,
    page_bytes: u32,
    of_images: u32,
    /// The first page of the trailer, counted from the beginning of the slot.
    trailer: u32,
    in_slot: u32,
}

impl<'a> Pages<'a> {
    fn new(layout: &'a FlashLayout, page_bytes: u32, of_images: u32) -> Self {
        let trailer = layout.image_bytes_max() / page_bytes;
        let in_slot = layout.active.bytes / page_bytes;
        Self { layout, page_bytes, of_images: of_images.min(trailer), trailer, in_slot }
    }

    const fn count(&self) -> u32 {
        self.of_images + self.in_slot - self.trailer
    }

    /// The source and destination of this step.
    fn step(&self, way: Way, step: u32) -> (u32, u32) {
        let half = step / 2;
        let index = match way {
            Way::In => self.count() - 1 - half,
            Way::Back => half,
        };
        match (way, step % 2) {
            (Way::In, 0) => (self.active(index), self.update(index + 1)),
            (Way::In, _) => (self.update(index), self.active(index)),
            (Way::Back, 0) => (self.active(index), self.update(index)),
            (Way::Back, _) => (self.update(index + 1), self.active(index)),
        }
    }

    fn active(&self, index: u32) -> u32 {
        self.layout.active.offset + self.in_slot_at(index)
    }

    fn update(&self, index: u32) -> u32 {
        if index == self.count() {
            self.layout.spare.offset
        } else {
            self.layout.update.offset + self.in_slot_at(index)
        }
    }

    /// The index of the slot's page with this number.
    const fn index_of(&self, page: u32) -> u32 {
        if page < self.trailer { page } else { self.of_images + page - self.trailer }
    }

    fn in_slot_at(&self, index: u32) -> u32 {
        let page = if index < self.of_images || planted::is(Bug::EnvelopeBehindImage) {
            index
        } else {
            self.trailer + index - self.of_images
        };
        page * self.page_bytes
    }
}
