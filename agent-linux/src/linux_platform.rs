//! The [`Platform`] that a Linux device offers to `Reception`: files, slots and the trial of an image.

use update_core::digest::Digest;
use update_core::platform::{Area, Platform, Record, Trial};
use update_core::remark::Remark;

use crate::boot_record::{Phase, Prepared};
use crate::command::Launcher;
use crate::disk::Disk;
use crate::file_store::{FileStore, StoreError, While};
use crate::slots::{OpenError, Slots};
use crate::trial::{Runner, TrialSettings, trial_in};

/// The storage and the boot switch of one Linux device.
#[derive(Debug)]
pub struct LinuxPlatform {
    files: FileStore,
    slots: Slots,
    runner: Runner,
}

/// Why the platform could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The boot record.
    #[error(transparent)]
    Slots(OpenError),
    /// The records or areas.
    #[error(transparent)]
    Files(StoreError),
}

impl LinuxPlatform {
    /// Opens the state folder and, if an image is on trial, counts this start.
    ///
    /// # Errors
    /// [`PlatformError`]; then nothing may be received or booted.
    pub fn open(disk: Disk, settings: TrialSettings, launcher: Launcher) -> Result<Self, PlatformError> {
        let mut slots = Slots::open(disk.clone(), settings.switch()).map_err(PlatformError::Slots)?;
        let mut runner = Runner::new(settings, launcher);
        runner.resume(&mut slots).map_err(|error| PlatformError::Slots(error.into()))?;
        let files = FileStore::open(disk, slots.image_slot(), slots.record().prepared)
            .map_err(PlatformError::Files)?;
        Ok(Self { files, slots, runner })
    }

    /// A record's content; `None` when it was never saved.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn load(&self, record: Record) -> Result<Option<Vec<u8>>, StoreError> {
        self.files.load(record)
    }

    /// The state of the last trial, for the start of `Reception`. A rollback is reported until it is settled
    /// or another update begins.
    #[must_use]
    pub fn trial(&self) -> Trial {
        trial_in(&self.slots)
    }

    /// Why the last trial stands as it does.
    #[must_use]
    pub fn remark(&self) -> Remark {
        self.slots.remark()
    }

    /// The SHA-256 of the signed manifest that [`trial`](Self::trial) is about.
    #[must_use]
    pub fn trial_digest(&self) -> Option<[u8; 32]> {
        let record = self.slots.record();
        let rolled_back = record.rolled_back.map(|rolled_back| *rolled_back.digest);
        record.trial.map(|trial| *trial.digest).or(rolled_back)
    }

    /// The state of the trial of the update with this digest; [`Trial::None`] if there is none.
    #[must_use]
    pub fn trial_of(&self, digest: &Digest) -> Trial {
        if self.trial_digest() == Some(digest.0) { self.trial() } else { Trial::None }
    }

    /// Ends a trial of any update except this one, which is on record: the trial could no longer be judged or
    /// reported. An image that is recorded as installed stays; any other is rolled back.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn end_other_trial(
        &mut self,
        update: Option<Digest>,
        installed: Option<Digest>,
    ) -> Result<(), StoreError> {
        let Some(trial) = self.slots.record().trial else { return Ok(()) };
        let on_trial = Digest(*trial.digest);
        if update == Some(on_trial) {
            return Ok(());
        }
        tracing::error!(digest = ?on_trial, "an image is on trial, but its update is no longer on record");
        if trial.phase == Phase::Healthy && installed == Some(on_trial) {
            self.slots.settle().while_doing("saving the boot record")?;
            self.files.close();
            return Ok(());
        }
        self.runner.give_up(&mut self.slots).while_doing("saving the boot record")
    }

    /// Continues a trial and returns its next news: that the device defers it, that it runs, that the old
    /// image cannot be brought back, or the verdict. Waits forever if there is none. Can be dropped and
    /// called again without losing anything, as in `select!`.
    pub async fn news(&mut self) -> Trial {
        self.runner.news(&mut self.slots).await
    }

    /// The boot record and its slots.
    #[must_use]
    pub const fn slots(&self) -> &Slots {
        &self.slots
    }
}

impl Platform for LinuxPlatform {
    type Error = StoreError;

    async fn save(&mut self, record: Record, bytes: &[u8]) -> Result<(), StoreError> {
        self.files.save(record, bytes)?;
        // After the record: a cut in between leaves an unexpected record, which is harmless, instead of a
        // missing one.
        match record {
            Record::Counters => self.slots.set_counted(),
            Record::Installed => self.slots.set_installed(),
            Record::Update | Record::Membership => Ok(()),
        }
        .while_doing("saving the boot record")
    }

    async fn prepare(&mut self, image_bytes: u32, page_bytes: u32) -> Result<(), StoreError> {
        self.not_on_trial()?;
        self.files.close();
        let sizes = Prepared { image_bytes, page_bytes };
        self.slots.forget_update().while_doing("saving the boot record")?;
        self.files.prepare(self.slots.image_slot(), sizes)?;
        self.slots.set_prepared(sizes).while_doing("saving the boot record")
    }

    async fn write(&mut self, area: Area, offset: u32, data: &[u8]) -> Result<(), StoreError> {
        self.not_on_trial()?;
        self.files.write(area, offset, data)
    }

    async fn read(&mut self, area: Area, offset: u32, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.files.read(area, offset, buffer)
    }

    async fn sync(&mut self) -> Result<(), StoreError> {
        self.files.sync()
    }

    /// The decision is durable on return; [`LinuxPlatform::news`] carries it out.
    async fn activate(&mut self, image_bytes: u32, digest: &[u8; 32]) -> Result<(), StoreError> {
        if let Some(trial) = self.slots.record().trial {
            let same = *trial.digest == *digest && trial.image_bytes == image_bytes;
            return if same { Ok(()) } else { Err(StoreError::OnTrial) };
        }
        let prepared = self.slots.record().prepared.ok_or(StoreError::NotPrepared)?;
        if prepared.image_bytes != image_bytes {
            return Err(StoreError::OtherLength);
        }
        self.files.sync()?;
        self.slots
            .begin_trial(digest, image_bytes, self.runner.first_phase())
            .while_doing("saving the boot record")?;
        tracing::info!(slot = %self.slots.image_slot(), image_bytes, "activating on trial");
        Ok(())
    }

    /// The decision is durable on return; [`LinuxPlatform::news`] carries it out.
    async fn roll_back(&mut self) -> Result<(), StoreError> {
        self.runner.order_back(&mut self.slots).while_doing("saving the boot record")
    }

    /// Also for a rollback that has been acknowledged.
    async fn settle(&mut self) -> Result<(), StoreError> {
        match self.slots.phase() {
            None => self.slots.forget_roll_back().while_doing("saving the boot record"),
            Some(Phase::Healthy) => {
                self.slots.settle().while_doing("saving the boot record")?;
                self.files.close();
                tracing::info!(slot = %self.slots.record().confirmed, "the new image is confirmed");
                Ok(())
            }
            Some(_) => Err(StoreError::OnTrial),
        }
    }
}

impl LinuxPlatform {
    fn not_on_trial(&self) -> Result<(), StoreError> {
        if self.slots.record().trial.is_some() { Err(StoreError::OnTrial) } else { Ok(()) }
    }
}
