//! One start of the device: what runs, and what has to be done before.
//!
//! The [`BootRecord`] says how far an update has come. It is a record of the log, so a start that was cut
//! finds the phase before a change or the one after it, and never the former again once it has acted upon
//! the latter.
//!
//! | phase | written by | active slot | update slot | this start |
//! |---|---|---|---|---|
//! | settled | agent | confirmed | anything | runs the active slot |
//! | activated | agent | old | new | checks the update slot: exchanging, or rolled back |
//! | exchanging | boot stage | mixed | mixed | goes on; then trial, or back if the new one is damaged |
//! | trial | boot stage | new | old | cut off: exchanging back; if the new one is installed: runs it |
//! | healthy | agent | new | old | runs the active slot |
//! | given up | agent | new | old | exchanging back |
//! | exchanging back | boot stage | mixed | mixed | goes on; then rolled back |
//! | rolled back | boot stage | old | new | runs the active slot; the agent reports, then settled |
//! | recovering | boot stage | mixed | mixed | goes on; then recovered |
//! | recovered | boot stage | new | damaged | runs the active slot; the agent reports; if healthy, settled |
//!
//! Whatever runs has been checked in this very start: an image key from the key set in force signed its
//! envelope, its manifest sequence number is not below that of the image confirmed last, and the SHA-256 of
//! the whole image is right. When the active slot fails that while it should be confirmed, an update that
//! was received whole takes its place, under the same checks; otherwise nothing runs. It may be one that was
//! rolled back: with two slots there is nothing else, and a device that runs it can be reached and updated.
//! It has to prove healthy before it counts as confirmed, but no reset takes it away.

use embedded_storage::nor_flash::NorFlash;
use update_core::digest::Digest;
use update_core::key_set::KeySet;
use update_core::platform::RollBackCause;
use update_core::record::decode_installed;
use update_core::suit::Offer;

use crate::boot_record::{BootRecord, Phase};
use crate::exchange::{Exchange, Progress, Way};
use crate::image::{self, ImageError};
use crate::layout::{FlashLayout, LayoutError, Partition};
use crate::planted::{self, Bug};
use crate::record_log::{Kind, LogError, RecordLog};
use crate::verify::{Trust, Verify, key_set};

/// Resets for one exchange of the banks. A chip that has not let them change places by then never will, and
/// each try programs it once more. One reset is enough for a chip that is well, and each power cut in the
/// midst of the programming takes one more.
pub const RESETS_MAX: u16 = 8;

/// The image in the active slot that may run.
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
    /// Nothing: the image that ran before runs.
    None,
    /// The new image begins its trial.
    Trial,
    /// The old image runs again.
    RolledBack(RollBackCause),
    /// The active slot was damaged; the whole update in the other one took its place, and has not proved
    /// healthy yet.
    Recovered,
}

/// How a start ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Jump into the active slot.
    Run(Runs),
    /// Reset: the hardware exchanges the banks only then.
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
    /// The image in the active slot is older than the one confirmed last.
    Downgrade,
    /// The chip does not exchange its banks.
    Banks,
    /// A page of the active slot does not take what is written.
    Page,
}

impl<E> Halt<E> {
    /// Whether a reset may help: the flash has refused an operation, or did not keep it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        !planted::is(Bug::NoReset) && matches!(self, Self::Records(LogError::Flash(_) | LogError::NotKept))
    }

    /// In plain words.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Layout(_) => "the layout does not fit the flash",
            Self::Records(LogError::Flash(_)) => "the flash refuses",
            Self::Records(_) => "the records are lost: write the device anew",
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

/// Carries one start out, from wherever the last one was cut.
///
/// # Errors
/// [`Halt`]: nothing may run.
pub fn start<F: NorFlash, X: Exchange, V: Verify>(
    flash: &mut F,
    layout: &FlashLayout,
    exchange: &mut X,
    trust: &Trust<'_>,
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
        Err(LogError::Lost) => return without_records(flash, layout, verify, &keys, floor.sequence_number),
        record => record?,
    };
    Stage { flash, layout, exchange, verify, log, record, keys }.run(floor)
}

/// Nobody knows how far an update has come: what is whole and signed in the active slot runs, and nothing is
/// changed. Its agent says that the records are lost.
fn without_records<F: NorFlash>(
    flash: &mut F,
    layout: &FlashLayout,
    verify: &mut impl Verify,
    keys: &KeySet,
    floor: u64,
) -> Result<Start, Halt<F::Error>> {
    let offer = image::offer(flash, layout, layout.active, keys, verify).map_err(Halt::Image)?;
    if offer.sequence_number < floor {
        return Err(Halt::Downgrade);
    }
    image::check(flash, layout.active, &offer).map_err(Halt::Image)?;
    Ok(Start::Run(Runs::new(&offer, News::None)))
}

/// What is installed, as far as the boot stage needs it.
#[derive(Debug, Clone, Copy)]
struct Floor {
    sequence_number: u64,
    name: Option<[u8; crate::boot_record::NAME_BYTES]>,
    /// It was saved once and cannot be read any more: then nothing but the active slot begins to run.
    lost: bool,
}

impl Floor {
    fn load<F: NorFlash>(flash: &mut F, log: &RecordLog) -> Result<Self, LogError<F::Error>> {
        let mut bytes = [0; 64];
        let len = match log.read(flash, Kind::Installed, &mut bytes) {
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
}

struct Stage<'a, F, X, V> {
    flash: &'a mut F,
    layout: &'a FlashLayout,
    exchange: &'a mut X,
    verify: &'a mut V,
    log: RecordLog,
    record: BootRecord,
    keys: KeySet,
}

impl<F: NorFlash, X: Exchange, V: Verify> Stage<'_, F, X, V> {
    /// Follows the table until something runs.
    fn run(&mut self, floor: Floor) -> Result<Start, Halt<F::Error>> {
        let mut news = News::None;
        loop {
            let phase = self.record.phase;
            match self.exchange.hold(&self.record) {
                Progress::Done => {}
                _ if planted::is(Bug::BanksBelieved) && !phase.is_exchange() => {}
                Progress::NeedsReset if self.record.step < RESETS_MAX => {
                    self.record.step += 1;
                    self.enter(phase)?;
                    return Ok(Start::Reset);
                }
                // It may refuse only once. Where the old image is still in its place, nothing hangs on that.
                Progress::Refused if phase != Phase::Exchanging && self.record.step < RESETS_MAX => {
                    self.record.step += 1;
                    self.enter(phase)?;
                    return Ok(Start::Reset);
                }
                Progress::NeedsReset | Progress::Refused => self.stay()?,
            }
            match self.record.phase {
                Phase::Settled | Phase::Healthy | Phase::RolledBack(_) | Phase::Recovered => {
                    if self.record.phase == Phase::Recovered {
                        news = News::Recovered;
                    }
                    match self.active(floor) {
                        Ok(offer) => return Ok(Start::Run(Runs::new(&offer, news))),
                        Err(halt) => self.recover(floor).ok_or(halt)??,
                    }
                }
                Phase::Trial if floor.name == Some(self.record.name) => self.enter(Phase::Healthy)?,
                Phase::Trial => self.go_back(RollBackCause::Reset)?,
                Phase::GivenUp(cause) => self.go_back(cause)?,
                Phase::Activated => self.activate(floor)?,
                Phase::Exchanging => {
                    if self.exchange(Way::In)? == Progress::Refused {
                        self.record.exchanged = !self.record.exchanged;
                        self.enter(Phase::ExchangingBack(RollBackCause::ActivationFailed))?;
                        continue;
                    }
                    match self.active(floor) {
                        Ok(offer) => {
                            if !planted::is(Bug::TrialNotRecorded) {
                                self.enter(Phase::Trial)?;
                            }
                            return Ok(Start::Run(Runs::new(&offer, News::Trial)));
                        }
                        Err(_) => self.go_back(RollBackCause::ActivationFailed)?,
                    }
                }
                Phase::ExchangingBack(cause) => {
                    if self.exchange(Way::Back)? == Progress::Refused {
                        return Err(Halt::Page);
                    }
                    self.enter(Phase::RolledBack(cause))?;
                    news = News::RolledBack(cause);
                }
                Phase::Recovering => {
                    if self.exchange(Way::In)? == Progress::Refused {
                        return Err(Halt::Page);
                    }
                    self.enter(Phase::Recovered)?;
                }
            }
        }
    }

    /// The agent has asked for the image in the update slot.
    fn activate(&mut self, floor: Floor) -> Result<(), Halt<F::Error>> {
        let wanted = self.record.name;
        let offer = self.whole(self.layout.update, floor).ok().filter(|_| !floor.lost);
        match offer.filter(|offer| BootRecord::name_of(&offer.digest.0) == wanted) {
            Some(offer) => self.go(Phase::Exchanging, &offer),
            None => self.enter(Phase::RolledBack(RollBackCause::ActivationFailed)),
        }
    }

    /// The active slot cannot run: an update that was received whole takes its place. `None` without one.
    fn recover(&mut self, floor: Floor) -> Option<Result<(), Halt<F::Error>>> {
        let offer = self.whole(self.layout.update, floor).ok().filter(|_| !floor.lost)?;
        self.record.name = BootRecord::name_of(&offer.digest.0);
        Some(self.go(Phase::Recovering, &offer))
    }

    /// Begins an exchange with this image in the update slot.
    fn go(&mut self, phase: Phase, new: &Offer) -> Result<(), Halt<F::Error>> {
        let old = image::offer(self.flash, self.layout, self.layout.active, &self.keys, self.verify);
        // The length of an old image without an envelope is unknown.
        let old_bytes = old.map_or(self.layout.image_bytes_max(), |offer| offer.layout.image_size.bytes());
        let bytes = old_bytes.max(new.layout.image_size.bytes());
        let pages = bytes.div_ceil(F::ERASE_SIZE as u32);
        self.record.pages = u16::try_from(pages).map_err(|_| Halt::Layout(LayoutError::Slots))?;
        self.record.step = 0;
        self.record.exchanged = !self.record.exchanged;
        self.enter(phase)
    }

    fn go_back(&mut self, cause: RollBackCause) -> Result<(), Halt<F::Error>> {
        self.record.step = 0;
        self.record.exchanged = !self.record.exchanged;
        self.enter(Phase::ExchangingBack(cause))
    }

    fn exchange(&mut self, way: Way) -> Result<Progress, Halt<F::Error>> {
        Ok(self.exchange.go_on(self.flash, self.layout, &mut self.log, &mut self.record, way)?)
    }

    /// The chip does not let the slots change places: the old image stays, if it is still in its place.
    fn stay(&mut self) -> Result<(), Halt<F::Error>> {
        // If the chip recovers, the tries are counted from zero.
        self.record.step = 0;
        if self.record.phase != Phase::Exchanging {
            self.enter(self.record.phase)?;
            return Err(Halt::Banks);
        }
        self.record.exchanged = !self.record.exchanged;
        self.enter(Phase::RolledBack(RollBackCause::ActivationFailed))
    }

    fn enter(&mut self, phase: Phase) -> Result<(), Halt<F::Error>> {
        self.record.phase = phase;
        Ok(self.record.save(self.flash, &mut self.log)?)
    }

    fn active(&mut self, floor: Floor) -> Result<Offer, Halt<F::Error>> {
        self.whole(self.layout.active, floor)
    }

    /// Signature, manifest sequence number, hash: in this order.
    fn whole(&mut self, slot: Partition, floor: Floor) -> Result<Offer, Halt<F::Error>> {
        let offer = image::offer(self.flash, self.layout, slot, &self.keys, self.verify);
        let offer = offer.map_err(Halt::Image)?;
        if offer.sequence_number < floor.sequence_number && !planted::is(Bug::FloorIgnored) {
            return Err(Halt::Downgrade);
        }
        image::check(self.flash, slot, &offer).map_err(Halt::Image)?;
        Ok(offer)
    }
}

impl Runs {
    const fn new(offer: &Offer, news: News) -> Self {
        Self { sequence_number: offer.sequence_number, digest: offer.digest, news }
    }
}
