//! One start of the device: what runs, and what must be done before.
//!
//! The [`BootRecord`] says how far an update has come. It is a record of the log, so a start that was cut
//! finds the phase before a change or the one after it, and never the former again once it has acted upon the
//! latter.
//!
//! | phase | written by | active slot | update slot | this start |
//! |---|---|---|---|---|
//! | settled | agent | confirmed | anything | runs the active slot |
//! | activated | agent | old | new | checks the update slot: exchanging, or rolled back |
//! | exchanging | boot stage | mixed | mixed | continues; then trial, or back if the new one is damaged |
//! | trial | boot stage | new | old | cut off: exchanging back; if the new one is installed: runs it |
//! | healthy | agent | new | old | runs the active slot |
//! | given up | agent | new | old | exchanging back |
//! | exchanging back | boot stage | mixed | mixed | continues; then rolled back, or recovering |
//! | rolled back | boot stage | old | new | runs the active slot; the agent reports, then settled |
//! | recovering | boot stage | mixed | mixed | continues; then recovered |
//! | recovered | boot stage | new | damaged | runs the active slot; the agent reports; if healthy, settled |
//! | recovering previous | boot stage | mixed | mixed | continues, back; then previous |
//! | previous | boot stage | older | damaged | runs the active slot until an update; the agent reports |
//!
//! Whatever runs has been checked in this very start: an image key of the key set in force signed its
//! envelope, its manifest sequence number is not below that of the last confirmed image, and the SHA-256 of
//! the whole image is right. If the active slot should be confirmed but fails these checks, a completely
//! received update replaces it, under the same checks. It may be one that was rolled back: with two slots
//! there is nothing else, and a device that runs it can be reached and updated. It must prove healthy before
//! it counts as confirmed, but no reset takes it away.
//!
//! Without such an update, [`Recovery`] decides. With [`Recovery::Previous`] the image that ran before the
//! confirmed one comes back, although its manifest sequence number is lower. It must be intact and signed by
//! a key in force. It is never confirmed, and the last confirmed image stays on record, so that only an
//! update that is not older than that replaces it. With [`Recovery::None`] nothing runs.

mod stage;

use embedded_storage::nor_flash::NorFlash;
use update_core::digest::Digest;
use update_core::key_set::KeySet;
use update_core::platform::RollBackCause;
use update_core::record::decode_installed;
use update_core::suit::Offer;

use crate::boot_record::BootRecord;
use crate::exchange::{Exchange, Place};
use crate::image::ImageError;
use crate::layout::{FlashLayout, LayoutError};
use crate::planted::{self, Bug};
use crate::record_log::{Kind, LogError, RecordLog};
use crate::verify::{Trust, Verify, key_set};
pub use stage::RESETS_MAX;
use stage::{Stage, whole};

/// The image in the active slot, which may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runs {
    /// Its manifest sequence number.
    pub sequence_number: u64,
    /// SHA-256 of its signed SUIT manifest.
    pub digest: Digest,
    /// What happened before.
    pub news: News,
}

/// What happened in this start, for one line on the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing: the same image runs as before.
    None,
    /// The new image begins its trial.
    Trial,
    /// The old image runs again.
    RolledBack(RollBackCause),
    /// The active slot was damaged. The intact update in the other one has replaced it, and has not proved
    /// healthy yet.
    Recovered,
    /// The confirmed image was damaged. An older one has replaced it, until an update comes.
    Previous,
    /// The records take nothing any more.
    Unrecorded,
}

/// What may run if the confirmed image is damaged and there is no update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recovery {
    /// The image before it, although it is older.
    #[default]
    Previous,
    /// Nothing.
    None,
}

/// How a start ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Jump into the active slot.
    Run(Runs),
    /// Reset: the hardware swaps the banks only then.
    Reset,
}

/// Why nothing may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt<E> {
    /// The layout does not fit the flash.
    Layout(LayoutError),
    /// The records cannot be read or written.
    Records(LogError<E>),
    /// The provisioned key set was not signed by the root key.
    KeySet,
    /// The active slot has no image that may run.
    Image(ImageError),
    /// The image in the active slot is older than the last confirmed one.
    Downgrade,
    /// The chip does not swap its banks.
    Banks,
    /// A page of the active slot does not keep what is written.
    Page,
}

impl<E> Halt<E> {
    /// Whether a reset may help: the flash has refused an operation, or did not keep what was written.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        !planted::is(Bug::NoReset) && matches!(self, Self::Records(LogError::Flash(_) | LogError::NotKept))
    }

    /// The reason in plain words.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Layout(_) => "the layout does not fit the flash",
            Self::Records(LogError::Flash(_)) => "the flash refuses",
            Self::Records(_) => "the records are lost: flash the device again",
            Self::KeySet => "the root key did not sign the key set: enroll the device again",
            Self::Image(ImageError::NotSigned) => "no image key signed what is in the active slot",
            Self::Image(ImageError::Damaged) => "the image in the active slot is damaged",
            Self::Downgrade => "the image in the active slot is older than the one confirmed last",
            Self::Banks => "the chip does not exchange its banks of flash",
            Self::Page => "a page of the active slot does not keep what is written",
        }
    }
}

impl<E> From<LogError<E>> for Halt<E> {
    fn from(error: LogError<E>) -> Self {
        Self::Records(error)
    }
}

/// Carries out one start, from wherever the last one was cut.
///
/// # Errors
/// [`Halt`]: nothing may run.
pub fn start<F: NorFlash, X: Exchange, V: Verify>(
    flash: &mut F,
    layout: &FlashLayout,
    exchange: &mut X,
    trust: &Trust<'_>,
    recovery: Recovery,
    verify: &mut V,
) -> Result<Start, Halt<F::Error>> {
    layout.check(flash).map_err(Halt::Layout)?;
    let log = match RecordLog::open(flash, layout.records) {
        Err(LogError::Lost) => {
            let keys = verify.key_set(trust.key_set, trust.root_key).ok_or(Halt::KeySet)?;
            return without_records(flash, layout, verify, &keys, 0);
        }
        log => log?,
    };
    let keys = key_set(flash, &log, trust, verify)?.ok_or(Halt::KeySet)?;
    let floor = Floor::load(flash, &log)?;
    let record = match BootRecord::load(flash, &log) {
        Err(LogError::Lost) => return without_records(flash, layout, verify, &keys, floor.least(recovery)),
        record => record?,
    };
    Stage { flash, layout, exchange, verify, log, record, keys, floor, recovery }.run()
}

/// The records take nothing any more, even after several resets: what is intact and signed in the active slot
/// runs, according to the records as they read, and nothing is changed. Its agent finds and reports the same.
///
/// # Errors
/// [`Halt`]: nothing may run.
pub fn start_unrecorded<F: NorFlash>(
    flash: &mut F,
    layout: &FlashLayout,
    trust: &Trust<'_>,
    recovery: Recovery,
    verify: &mut impl Verify,
) -> Result<Runs, Halt<F::Error>> {
    let (mut keys, mut least) = (verify.key_set(trust.key_set, trust.root_key), 0);
    if let Some(log) = RecordLog::read_only(flash, layout.records) {
        keys = key_set(flash, &log, trust, verify)?;
        least = Floor::load(flash, &log)?.least(recovery);
    }
    let keys = keys.ok_or(Halt::KeySet)?;
    let offer = whole(flash, layout, &Place::Slot(layout.active), (&keys, least), verify)?;
    Ok(Runs::new(&offer, News::Unrecorded))
}

/// The progress of an update is unknown: what is intact and signed in the active slot runs, and nothing is
/// changed. Its agent reports that the records are lost.
fn without_records<F: NorFlash>(
    flash: &mut F,
    layout: &FlashLayout,
    verify: &mut impl Verify,
    keys: &KeySet,
    least: u64,
) -> Result<Start, Halt<F::Error>> {
    let offer = whole(flash, layout, &Place::Slot(layout.active), (keys, least), verify)?;
    Ok(Start::Run(Runs::new(&offer, News::None)))
}

/// What is installed, as far as the boot stage needs to know.
#[derive(Debug, Clone, Copy)]
struct Floor {
    sequence_number: u64,
    name: Option<[u8; crate::boot_record::NAME_BYTES]>,
    /// It was saved once and can no longer be read: then only the active slot may run.
    lost: bool,
}

impl Floor {
    fn load<F: NorFlash>(flash: &mut F, log: &RecordLog) -> Result<Self, LogError<F::Error>> {
        let mut bytes = [0; 64];
        let len = match log.read(flash, Kind::Installed, &mut bytes) {
            // A longer record is of another version.
            Err(LogError::Lost | LogError::Full) => {
                return Ok(Self { sequence_number: 0, name: None, lost: true });
            }
            len => len?,
        };
        let Some(len) = len else { return Ok(Self { sequence_number: 0, name: None, lost: false }) };
        let installed = bytes.get(..len).and_then(|bytes| decode_installed(bytes).ok());
        Ok(Self {
            sequence_number: installed.map_or(0, |installed| installed.sequence_number),
            name: installed.map(|installed| BootRecord::name_of(&installed.digest.0)),
            lost: installed.is_none(),
        })
    }

    /// The lowest manifest sequence number that may run if nothing has activated it.
    const fn least(&self, recovery: Recovery) -> u64 {
        match recovery {
            Recovery::Previous => 0,
            Recovery::None => self.sequence_number,
        }
    }
}

impl Runs {
    const fn new(offer: &Offer, news: News) -> Self {
        Self { sequence_number: offer.sequence_number, digest: offer.digest, news }
    }
}
