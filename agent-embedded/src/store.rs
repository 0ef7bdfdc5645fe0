//! What a microcontroller offers to `Reception`: records, two areas and the boot switch, in its flash.
//!
//! Records and boot state are in the boot stage's [`RecordLog`], the image and the hash pages where the
//! layout says (docs/protocol.md, \[journal\] and \[words\]). [`Platform::prepare`] erases every page of both
//! areas once. From then on they only hold whole blocks, blank words, and what a power cut left of one block.
//! Everything is durable as soon as it is written. While flash is busy, so is the processor.

mod error;

use core::future::poll_fn;
use core::task::Poll;

use boot_stage::boot_record::{BootRecord, Phase};
use boot_stage::exchange::Place;
use boot_stage::image::{self, WRITTEN_BYTES_MAX};
use boot_stage::layout::{FlashLayout, Partition, WORD_BYTES_MAX};
use boot_stage::medium::{READS, is_blank};
use boot_stage::record_log::{Kind, LogError, RecordLog};
use boot_stage::verify::{Ed25519, Trust, key_set};
use embedded_storage::nor_flash::NorFlash;
use update_core::device::Installed;
use update_core::digest::Digest;
use update_core::key_set::KeySet;
use update_core::limits::{ENVELOPE_BYTES_MAX, RECORD_BYTES_MAX};
use update_core::platform::{Area, Platform, Record, RollBackCause, Trial};
use update_core::record::{Allowance, Outcome, UpdateRecord, decode_installed, encode_installed};
use update_core::suit::Offer;

use crate::page::{self, Pages};
use crate::provisioning::PROVISIONING_BYTES_MAX;
pub use error::StoreError;

/// How many reads of a block must agree before it is believed. A block whose writing was cut may look intact.
const BLOCK_READS: u8 = 4;
/// What stands behind the provisioning of a device that has been used.
const USED: [u8; WORD_BYTES_MAX] = [0; WORD_BYTES_MAX];
/// More than the record of what is installed takes.
const INSTALLED_BYTES_MAX: usize = 64;

/// The flash of one device, as its agent uses it.
#[derive(Debug, Clone)]
pub struct FlashStore<F> {
    flash: F,
    layout: FlashLayout,
    log: RecordLog,
    boot: BootRecord,
    prepared: Prepared,
}

/// What the two areas have been erased for, in bytes; zero for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Prepared {
    image_bytes: u32,
    page_bytes: u32,
}

impl<F: NorFlash> FlashStore<F> {
    /// Opens the records, after the boot stage has run, and finishes what a power cut left undone.
    ///
    /// # Errors
    /// [`StoreError::Layout`], [`StoreError::Lost`], [`StoreError::NotKept`], [`StoreError::Flash`].
    pub fn open(mut flash: F, layout: FlashLayout) -> Result<Self, StoreError<F::Error>> {
        layout.check(&flash).map_err(StoreError::Layout)?;
        let mut log = RecordLog::open(&mut flash, layout.records)?;
        let boot = BootRecord::load(&mut flash, &log)?;
        let prepared = Prepared::load(&mut flash, &log)?;
        Pages { flash: &mut flash, layout: &layout, log: &mut log }.finish_mending()?;
        Ok(Self { flash, layout, log, boot, prepared })
    }

    /// A record's content in `buffer` (at most [`RECORD_BYTES_MAX`]); `None` if it was never saved.
    ///
    /// # Errors
    /// [`StoreError::Lost`], [`StoreError::Flash`].
    pub fn load<'b>(
        &mut self,
        record: Record,
        buffer: &'b mut [u8],
    ) -> Result<Option<&'b [u8]>, StoreError<F::Error>> {
        let len = self.log.read(&mut self.flash, kind(record), buffer)?;
        Ok(len.and_then(|len| buffer.get(..len)))
    }

    /// The state of the trial, for the start of `Reception`. A roll back is reported until it is settled.
    ///
    /// # Errors
    /// [`StoreError::Lost`], [`StoreError::Flash`].
    pub fn trial(&mut self) -> Result<Trial, StoreError<F::Error>> {
        let installed = self.is_installed()?;
        Ok(match self.boot.phase {
            Phase::Healthy => Trial::Healthy,
            Phase::Trial | Phase::GivenUp(_) if installed => Trial::Healthy,
            Phase::Trial | Phase::GivenUp(_) => Trial::Running,
            Phase::RolledBack(cause) | Phase::ExchangingBack(cause) => Trial::RolledBack(cause),
            Phase::Recovered | Phase::Previous => Trial::Recovered,
            Phase::Settled
            | Phase::Activated
            | Phase::Exchanging
            | Phase::Recovering
            | Phase::RecoveringPrevious => Trial::None,
        })
    }

    /// Whether the image in the boot record belongs to this update.
    #[must_use]
    pub fn names(&self, digest: &Digest) -> bool {
        BootRecord::name_of(&digest.0) == self.boot.name
    }

    /// Whether an image older than the last confirmed one runs, because that one was damaged. It is never
    /// confirmed: what is installed stays on record.
    #[must_use]
    pub fn runs_previous(&self) -> bool {
        self.boot.phase == Phase::Previous
    }

    /// What an update must be newer than. If an older image runs, the last confirmed one may come again, and
    /// nothing before it.
    ///
    /// # Errors
    /// [`StoreError::Lost`] also for a record of another version, [`StoreError::Flash`].
    pub fn admits_above(&mut self) -> Result<Option<Installed>, StoreError<F::Error>> {
        let mut buffer = [0; INSTALLED_BYTES_MAX];
        let Some(bytes) = self.load(Record::Installed, &mut buffer)? else { return Ok(None) };
        let installed = decode_installed(bytes).map_err(|_| StoreError::Lost)?;
        Ok(Some(if self.runs_previous() {
            let sequence_number = installed.sequence_number.saturating_sub(1);
            Installed { sequence_number, digest: Digest([0; 32]) }
        } else {
            installed
        }))
    }

    /// A record of the running update, made from the signed envelope after it, for an image that the update
    /// record does not belong to.
    #[inline(never)]
    pub(crate) fn running(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let mut envelope = [0; ENVELOPE_BYTES_MAX];
        let place = Place::Slot(self.layout.active);
        let envelope = image::envelope(&mut self.flash, &self.layout, &place, &mut envelope)?;
        UpdateRecord { envelope, attempt: 0, outcome: Outcome::Open, left: Allowance::FULL }.encode(buffer)
    }

    /// Whether an image has been activated or given up. The device must then restart, after it has sent what
    /// is due and saved its exact counters.
    #[must_use]
    pub fn restart_due(&self) -> bool {
        matches!(self.boot.phase, Phase::Activated | Phase::GivenUp(_))
    }

    /// The image on trial has proved healthy: from now on no reset takes it back. Follow this with
    /// `Input::Trial(Trial::Healthy)`. Nothing happens without a trial, or if no reset takes it back anyway.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::NotKept`], [`StoreError::Flash`].
    pub fn confirm(&mut self) -> Result<(), StoreError<F::Error>> {
        if self.boot.phase == Phase::Trial { self.enter(Phase::Healthy) } else { Ok(()) }
    }

    /// Gives up the image on trial; the next start of the boot stage brings the old one back. An activated
    /// image that has not run yet never will: the old one still runs. Nothing happens without a trial.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::NotKept`], [`StoreError::Flash`].
    pub fn give_up(&mut self, cause: RollBackCause) -> Result<(), StoreError<F::Error>> {
        match self.boot.phase {
            Phase::Trial => self.enter(Phase::GivenUp(cause)),
            Phase::Activated => self.enter(Phase::RolledBack(cause)),
            _ => Ok(()),
        }
    }

    /// Saves a healthy image as installed, if a power cut came before that. It uses the envelope that the
    /// boot stage has verified, as the record of the update may be lost.
    ///
    /// # Errors
    /// [`StoreError::Lost`], [`StoreError::Full`], [`StoreError::NotKept`], [`StoreError::Flash`].
    #[inline(never)]
    pub fn note_installed(&mut self, keys: &KeySet) -> Result<(), StoreError<F::Error>> {
        if self.boot.phase != Phase::Healthy || self.is_installed()? {
            return Ok(());
        }
        self.save_running(keys, |store, offer| store.names(&offer.digest))
    }

    /// Saves the running image as installed if no record says what is. Where the records are lost, nothing
    /// older than that image may come.
    ///
    /// # Errors
    /// [`StoreError::Lost`], [`StoreError::Full`], [`StoreError::NotKept`], [`StoreError::Flash`].
    pub fn note_running(&mut self, keys: &KeySet) -> Result<(), StoreError<F::Error>> {
        let mut buffer = [0; INSTALLED_BYTES_MAX];
        if self.load(Record::Installed, &mut buffer)?.is_some() {
            return Ok(());
        }
        self.save_running(keys, |_, _| true)
    }

    /// Saves the image in the active slot as installed, if it is whole and signed, and is the one meant.
    #[inline(never)]
    fn save_running(
        &mut self,
        keys: &KeySet,
        is_meant: impl FnOnce(&Self, &Offer) -> bool,
    ) -> Result<(), StoreError<F::Error>> {
        let slot = Place::Slot(self.layout.active);
        let offer = image::offer(&mut self.flash, &self.layout, &slot, keys, &mut Ed25519).ok();
        let Some(offer) = offer.filter(|offer| is_meant(self, offer)) else { return Ok(()) };
        let installed = Installed { sequence_number: offer.sequence_number, digest: offer.digest };
        let mut buffer = [0; INSTALLED_BYTES_MAX];
        let len = encode_installed(&installed, &mut buffer).unwrap_or(0);
        Ok(self.log.append(&mut self.flash, Kind::Installed, buffer.get(..len).unwrap_or_default())?)
    }

    /// The key set in force, as the boot stage chooses it; `None` if the root key did not even sign the
    /// provisioned one.
    ///
    /// # Errors
    /// [`StoreError::Flash`].
    pub fn key_set(&mut self, trust: &Trust<'_>) -> Result<Option<KeySet>, StoreError<F::Error>> {
        Ok(key_set(&mut self.flash, &self.log, trust, &mut Ed25519)?)
    }

    /// [`Platform::settle`].
    pub(crate) fn settle_now(&mut self) -> Result<(), StoreError<F::Error>> {
        let installed = self.is_installed()?;
        match self.boot.phase {
            Phase::Settled | Phase::Previous => Ok(()),
            Phase::RolledBack(_) => self.enter(Phase::Settled),
            Phase::Trial | Phase::Healthy | Phase::Recovered if installed => {
                // From now on the old image's slot is free; its content is not an update.
                self.set_prepared(Prepared::default())?;
                self.enter(Phase::Settled)
            }
            _ => Err(StoreError::OnTrial),
        }
    }

    /// [`Platform::save`].
    pub(crate) fn save_now(&mut self, record: Record, bytes: &[u8]) -> Result<(), StoreError<F::Error>> {
        Ok(self.log.append(&mut self.flash, kind(record), bytes)?)
    }

    /// A number that differs at each start.
    #[must_use]
    pub const fn start_number(&self) -> u64 {
        self.log.position()
    }

    /// The record of the groups that the device was given to; gives its length, 0 when there is none.
    pub(crate) fn groups(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError<F::Error>> {
        Ok(self.log.read(&mut self.flash, Kind::Groups, buffer)?.unwrap_or(0))
    }

    /// Replaces that record, durably.
    pub(crate) fn keep_groups(&mut self, bytes: &[u8]) -> Result<(), StoreError<F::Error>> {
        Ok(self.log.append(&mut self.flash, Kind::Groups, bytes)?)
    }

    /// Whether the device was used with the provisioning that it has: see [`note_used`](Self::note_used).
    pub(crate) fn is_used(&mut self) -> bool {
        let Some(mark) = self.used_mark() else { return false };
        // A read may fail once.
        !(0..2).any(|_| is_blank(&mut self.flash, mark, F::WRITE_SIZE as u32, READS))
    }

    /// Leaves a mark behind the provisioning, which goes when that is written anew. Where the flash refuses
    /// that, nothing is lost but the mark.
    pub(crate) fn note_used(&mut self) {
        if let Some(mark) = self.used_mark()
            && !self.is_used()
        {
            let _ = self.flash.write(mark, &USED[..F::WRITE_SIZE]);
        }
    }

    /// Its place: the last word of the area, where that is longer than any provisioning.
    fn used_mark(&self) -> Option<u32> {
        let Partition { offset, bytes } = self.layout.provisioning;
        let mark = bytes - F::WRITE_SIZE as u32;
        (mark as usize >= PROVISIONING_BYTES_MAX).then_some(offset + mark)
    }

    /// The layout.
    #[must_use]
    pub const fn layout(&self) -> &FlashLayout {
        &self.layout
    }

    /// The flash, for inspection.
    #[must_use]
    pub const fn flash(&self) -> &F {
        &self.flash
    }

    fn enter(&mut self, phase: Phase) -> Result<(), StoreError<F::Error>> {
        let record = BootRecord { phase, ..self.boot };
        record.save(&mut self.flash, &mut self.log)?;
        self.boot = record;
        Ok(())
    }

    /// Whether the image on trial is saved as installed.
    fn is_installed(&mut self) -> Result<bool, StoreError<F::Error>> {
        let mut buffer = [0; INSTALLED_BYTES_MAX];
        let installed = self.load(Record::Installed, &mut buffer)?;
        let installed = installed.and_then(|bytes| decode_installed(bytes).ok());
        Ok(installed.is_some_and(|installed| self.names(&installed.digest)))
    }

    fn set_prepared(&mut self, prepared: Prepared) -> Result<(), StoreError<F::Error>> {
        if self.prepared != prepared {
            self.log.append(&mut self.flash, Kind::Prepared, &prepared.to_bytes())?;
            self.prepared = prepared;
        }
        Ok(())
    }

    fn not_on_trial(&self) -> Result<(), StoreError<F::Error>> {
        match self.boot.phase {
            Phase::Settled | Phase::RolledBack(_) | Phase::Recovered | Phase::Previous => Ok(()),
            _ => Err(StoreError::OnTrial),
        }
    }

    /// The prepared range of an area, and the partition that it is part of.
    fn area(&self, area: Area) -> (Partition, u32) {
        match area {
            Area::Image => (self.layout.update, self.prepared.image_bytes),
            Area::Pages => (self.layout.pages, self.prepared.page_bytes),
        }
    }

    fn pages(&mut self) -> Pages<'_, F> {
        Pages { flash: &mut self.flash, layout: &self.layout, log: &mut self.log }
    }

    /// Writes the envelope of the update after its image.
    fn write_trailer(&mut self) -> Result<(), StoreError<F::Error>> {
        let mut record = [0; RECORD_BYTES_MAX];
        let mut buffer = [0; WRITTEN_BYTES_MAX];
        let record = self.load(Record::Update, &mut record)?.ok_or(StoreError::NotTheUpdate)?;
        let update = UpdateRecord::decode(record).map_err(|_| StoreError::NotTheUpdate)?;
        let trailer = image::trailer(update.envelope, &mut buffer).ok_or(StoreError::NotTheUpdate)?;
        let place = self.layout.trailer(self.layout.update);
        self.pages().place(place.offset, trailer)
    }
}

impl<F: NorFlash> Platform for FlashStore<F> {
    type Error = StoreError<F::Error>;

    async fn save(&mut self, record: Record, bytes: &[u8]) -> Result<(), Self::Error> {
        self.save_now(record, bytes)
    }

    async fn prepare(&mut self, image_bytes: u32, page_bytes: u32) -> Result<(), Self::Error> {
        self.not_on_trial()?;
        if image_bytes > self.layout.image_bytes_max() || page_bytes > self.layout.pages.bytes {
            return Err(StoreError::OutOfRange);
        }
        self.set_prepared(Prepared::default())?;
        let trailer = self.layout.trailer(self.layout.update);
        let page = F::ERASE_SIZE as u32;
        let of_image = (0..image_bytes).step_by(F::ERASE_SIZE).map(|at| self.layout.update.offset + at);
        let behind_image = self.layout.update.offset + image_bytes.next_multiple_of(page);
        let first_of_trailer = trailer.offset / page * page;
        let of_trailer =
            (first_of_trailer.max(behind_image)..trailer.offset + trailer.bytes).step_by(F::ERASE_SIZE);
        let of_pages = (0..page_bytes).step_by(F::ERASE_SIZE).map(|at| self.layout.pages.offset + at);
        for offset in of_image.chain(of_trailer).chain(of_pages) {
            self.flash.erase(offset, offset + page).map_err(StoreError::Flash)?;
            give_way().await;
        }
        self.set_prepared(Prepared { image_bytes, page_bytes })
    }

    async fn write(&mut self, area: Area, offset: u32, data: &[u8]) -> Result<(), Self::Error> {
        self.not_on_trial()?;
        let (partition, prepared) = self.area(area);
        if prepared == 0 {
            return Err(StoreError::NotPrepared);
        }
        let place = inside(partition, prepared, offset, data.len())?;
        self.pages().place(place, data)
    }

    /// Bytes that were never written read as anything, and so do bytes that do not read the same each time.
    async fn read(&mut self, area: Area, offset: u32, buffer: &mut [u8]) -> Result<(), Self::Error> {
        let (partition, prepared) = self.area(area);
        match inside::<F::Error>(partition, prepared, offset, buffer.len()) {
            Ok(place) => page::read(&mut self.flash, place, buffer, BLOCK_READS),
            Err(_) => buffer.fill(0),
        }
        Ok(())
    }

    /// Nothing is left to do: what was written is durable.
    async fn sync(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The decision is durable on return; the next start of the boot stage carries it out.
    async fn activate(&mut self, image_bytes: u32, digest: &[u8; 32]) -> Result<(), Self::Error> {
        let name = BootRecord::name_of(digest);
        if self.boot.phase == Phase::Activated && self.boot.name == name {
            return Ok(());
        }
        self.not_on_trial()?;
        if image_bytes == 0 || self.prepared.image_bytes != image_bytes {
            return Err(StoreError::NotTheUpdate);
        }
        self.write_trailer()?;
        let exchanged = self.boot.exchanged;
        let record = BootRecord { phase: Phase::Activated, name, exchanged, ..BootRecord::SETTLED };
        record.save(&mut self.flash, &mut self.log)?;
        self.boot = record;
        Ok(())
    }

    /// The decision is durable on return; the next start of the boot stage brings the old image back.
    async fn roll_back(&mut self) -> Result<(), Self::Error> {
        self.give_up(RollBackCause::Ordered)
    }

    /// Also for a roll back that has been acknowledged.
    async fn settle(&mut self) -> Result<(), Self::Error> {
        self.settle_now()
    }
}

impl Prepared {
    fn load<F: NorFlash>(flash: &mut F, log: &RecordLog) -> Result<Self, StoreError<F::Error>> {
        let mut bytes = [0; 8];
        let [a, b, c, d, e, f, g, h] = match log.read(flash, Kind::Prepared, &mut bytes) {
            Ok(Some(8)) => bytes,
            // The areas are then prepared again.
            Ok(_) | Err(LogError::Lost | LogError::Full) => return Ok(Self::default()),
            Err(error) => return Err(error.into()),
        };
        let (image_bytes, page_bytes) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        Ok(Self { image_bytes, page_bytes })
    }

    fn to_bytes(self) -> [u8; 8] {
        let ([a, b, c, d], [e, f, g, h]) = (self.image_bytes.to_le_bytes(), self.page_bytes.to_le_bytes());
        [a, b, c, d, e, f, g, h]
    }
}

/// Where a record stands.
const fn kind(record: Record) -> Kind {
    match record {
        Record::Counters => Kind::Counters,
        Record::Update => Kind::Update,
        Record::Installed => Kind::Installed,
        Record::Membership => Kind::Membership,
    }
}

/// Where these bytes of a partition are in flash, if they are in its first `bytes` bytes.
fn inside<E>(partition: Partition, bytes: u32, offset: u32, len: usize) -> Result<u32, StoreError<E>> {
    let end = u32::try_from(len).ok().and_then(|len| offset.checked_add(len));
    if end.is_some_and(|end| end <= bytes) {
        Ok(partition.offset + offset)
    } else {
        Err(StoreError::OutOfRange)
    }
}

/// Lets other tasks run once, so that the network is served between two erases.
async fn give_way() {
    let mut given = false;
    poll_fn(|context| {
        if core::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Reading a block takes fewer reads than deciding that a place is blank.
const _: () = assert!(BLOCK_READS < READS);
