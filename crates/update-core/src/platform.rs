//! The interface that a device offers to `Reception`: records, two storage areas and a boot switch.
//!
//! `Reception` never touches storage itself. It hands out one [`Task`] at a time. [`carry_out`] runs it on
//! the device's [`Platform`] and returns the result for `Reception` ([`Done`]).

use core::fmt::Debug;

/// A small record that survives a power cut intact: the new one or the old one, never a mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// The two counters' bounds: Sender Sequence Numbers reserved and the floor of the replay window, with
    /// their Gid.
    Counters,
    /// The update being received or tried: its signed envelope, attempt number and outcome.
    Update,
    /// What runs and is confirmed: its manifest sequence number and digest.
    Installed,
    /// The key material that the Group Manager gave last. `Reception` does not know it.
    Membership,
}

/// Where the bytes of an update are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// The slot that does not run. Offsets count from the first byte of the image.
    Image,
    /// The verified pages of the hash tree, in order, each one block size long.
    Pages,
}

/// A task from `Reception`. The next one comes only after [`Done`] has been handed in.
#[derive(Debug, PartialEq, Eq)]
pub enum Task<'a> {
    /// Replace a record with these bytes (at most [`RECORD_BYTES_MAX`](crate::limits::RECORD_BYTES_MAX)). It
    /// must be durable before the task is done.
    Save {
        /// Which one.
        record: Record,
        /// Its new content.
        bytes: &'a [u8],
    },
    /// A new update begins: make room in both areas. What they held before is worthless from now on. Must be
    /// durable before the task is done.
    Prepare {
        /// Bytes that the image area must hold.
        image_bytes: u32,
        /// Bytes that the pages area must hold.
        page_bytes: u32,
    },
    /// Write at this offset. Each byte is written once between two `Prepare`s, unless there was a power cut
    /// in between. The bytes need not be durable before the next [`Task::Sync`].
    Write {
        /// Which area.
        area: Area,
        /// Byte offset in it.
        offset: u32,
        /// What to write: a whole block or page.
        data: &'a [u8],
    },
    /// Read `len` bytes (at most 1,024) into the buffer that `poll` was given.
    Read {
        /// Which area.
        area: Area,
        /// Byte offset in it.
        offset: u32,
        /// How many bytes.
        len: usize,
    },
    /// Make everything written so far durable.
    Sync,
    /// Boot the image in the image area next, on trial: the old one comes back unless it is confirmed.
    Activate {
        /// Length of the image in bytes.
        image_bytes: u32,
        /// SHA-256 of the signed manifest of the update that goes on trial.
        digest: &'a [u8; 32],
    },
    /// Take back the image on trial, by order of the distributor. The old one comes back, and
    /// [`Trial::RolledBack`] tells when it has. Do nothing if there is no trial, or if the image has proved
    /// healthy.
    RollBack,
    /// The trial has ended well and [`Record::Installed`] is saved: the old image may no longer come back.
    Settle,
}

/// The medium failed to write, read or make durable. The platform logs the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageFailed;

/// How a [`Task`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It was carried out.
    Carried,
    /// A [`Task::Read`] was carried out: this many bytes are in the buffer.
    Read(usize),
    /// It failed.
    Failed(StorageFailed),
}

/// The storage and the boot switch of one device.
///
/// One async trait for all platforms: a file store simply never awaits.
#[allow(async_fn_in_trait, reason = "each program drives it from one task; no Send bound is wanted")]
pub trait Platform {
    /// What can go wrong. The platform's own program logs it.
    type Error: Debug;

    /// See [`Task::Save`].
    async fn save(&mut self, record: Record, bytes: &[u8]) -> Result<(), Self::Error>;
    /// See [`Task::Prepare`].
    async fn prepare(&mut self, image_bytes: u32, page_bytes: u32) -> Result<(), Self::Error>;
    /// See [`Task::Write`].
    async fn write(&mut self, area: Area, offset: u32, data: &[u8]) -> Result<(), Self::Error>;
    /// See [`Task::Read`]. Bytes never written may read as anything.
    async fn read(&mut self, area: Area, offset: u32, buffer: &mut [u8]) -> Result<(), Self::Error>;
    /// See [`Task::Sync`].
    async fn sync(&mut self) -> Result<(), Self::Error>;
    /// See [`Task::Activate`]. On return the switch is durable; the trial may end in a reset at any moment.
    async fn activate(&mut self, image_bytes: u32, digest: &[u8; 32]) -> Result<(), Self::Error>;
    /// See [`Task::RollBack`]. On return the decision is durable.
    async fn roll_back(&mut self) -> Result<(), Self::Error>;
    /// See [`Task::Settle`].
    async fn settle(&mut self) -> Result<(), Self::Error>;
}

/// Carries out one task on a platform; `buffer` is where a [`Task::Read`] leaves its bytes.
///
/// Errors become [`Done::Failed`]. `on_error` gets each one first, to log or count it.
pub async fn carry_out<P: Platform>(
    task: Task<'_>,
    platform: &mut P,
    buffer: &mut [u8],
    on_error: impl FnOnce(P::Error),
) -> Done {
    let result = match task {
        Task::Save { record, bytes } => platform.save(record, bytes).await,
        Task::Prepare { image_bytes, page_bytes } => platform.prepare(image_bytes, page_bytes).await,
        Task::Write { area, offset, data } => platform.write(area, offset, data).await,
        Task::Read { area, offset, len } => {
            let Some(target) = buffer.get_mut(..len) else {
                return Done::Failed(StorageFailed);
            };
            match platform.read(area, offset, target).await {
                Ok(()) => return Done::Read(len),
                Err(error) => Err(error),
            }
        }
        Task::Sync => platform.sync().await,
        Task::Activate { image_bytes, digest } => platform.activate(image_bytes, digest).await,
        Task::RollBack => platform.roll_back().await,
        Task::Settle => platform.settle().await,
    };
    match result {
        Ok(()) => Done::Carried,
        Err(error) => {
            on_error(error);
            Done::Failed(StorageFailed)
        }
    }
}

/// The state of the trial of an activated image, as the platform knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// No trial since the last settled image.
    None,
    /// The new image runs on trial and has not been judged yet.
    Running,
    /// The new image has proved healthy. `Reception` saves it as installed and then settles.
    Healthy,
    /// The old image runs again.
    RolledBack(RollBackCause),
    /// The image should go on trial, but the device cannot do so now; it still may later.
    Deferred,
    /// The image should be rolled back, but the old one cannot be brought back; the platform may still try.
    Stuck,
    /// The previous image was damaged, and the update runs in its place. It is unproven, and there is nothing
    /// to go back to. Nobody ordered this, and the update may have been rolled back before.
    Recovered,
}

/// Why an image on trial was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RollBackCause {
    /// The health check failed, or did not succeed before its deadline.
    Unhealthy = 1,
    /// The activation itself failed.
    ActivationFailed = 2,
    /// The device was reset before the image was confirmed.
    Reset = 3,
    /// The distributor ordered it.
    Ordered = 4,
    /// The device was not ready for it before a deadline: the image has never run.
    NotReady = 5,
}

impl RollBackCause {
    /// The cause with this number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Unhealthy),
            2 => Some(Self::ActivationFailed),
            3 => Some(Self::Reset),
            4 => Some(Self::Ordered),
            5 => Some(Self::NotReady),
            _ => None,
        }
    }
}
