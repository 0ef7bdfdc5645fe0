//! The phases of a start, one after the other, until something runs.

use embedded_storage::nor_flash::NorFlash;
use update_core::key_set::KeySet;
use update_core::platform::RollBackCause;
use update_core::suit::Offer;

use super::{Floor, Halt, News, Recovery, Runs, Start};
use crate::boot_record::{BootRecord, Phase};
use crate::exchange::{Exchange, Place, Progress, Way};
use crate::image;
use crate::layout::{FlashLayout, LayoutError, TRAILER_BYTES};
use crate::planted::{self, Bug};
use crate::record_log::RecordLog;
use crate::verify::Verify;

/// The maximum number of resets for one exchange of the banks. A chip that has not swapped them by then never
/// will, and each try programs it once more. One reset is enough for a healthy chip, and each power cut
/// during the programming takes one more.
pub const RESETS_MAX: u16 = 8;

/// A start that continues until something runs.
pub(super) struct Stage<'a, F, X, V> {
    pub(super) flash: &'a mut F,
    pub(super) layout: &'a FlashLayout,
    pub(super) exchange: &'a mut X,
    pub(super) verify: &'a mut V,
    pub(super) log: RecordLog,
    pub(super) record: BootRecord,
    pub(super) keys: KeySet,
    pub(super) floor: Floor,
    pub(super) recovery: Recovery,
}

impl<F: NorFlash, X: Exchange, V: Verify> Stage<'_, F, X, V> {
    /// Follows the table until something runs.
    pub(super) fn run(&mut self) -> Result<Start, Halt<F::Error>> {
        let mut news = News::None;
        loop {
            if self.hold()? == Progress::NeedsReset {
                return Ok(Start::Reset);
            }
            match self.record.phase {
                Phase::Settled
                | Phase::Healthy
                | Phase::RolledBack(_)
                | Phase::Recovered
                | Phase::Previous => match self.active() {
                    Ok(offer) => return Ok(Start::Run(Runs::new(&offer, self.news(news)))),
                    Err(halt) => {
                        if !self.recover()? {
                            return Err(halt);
                        }
                    }
                },
                Phase::Trial if self.floor.name == Some(self.record.name) => self.enter(Phase::Healthy)?,
                Phase::Trial => self.go_back(Phase::ExchangingBack(RollBackCause::Reset))?,
                Phase::GivenUp(cause) => self.go_back(Phase::ExchangingBack(cause))?,
                Phase::Activated => self.activate()?,
                Phase::Exchanging => {
                    if let Some(offer) = self.go_in()? {
                        return Ok(Start::Run(Runs::new(&offer, News::Trial)));
                    }
                }
                Phase::ExchangingBack(cause) => {
                    if self.try_exchange(Way::Back)? == Progress::Refused {
                        // A page that cannot be erased keeps the new image, which is whole when the others
                        // have gone in again. Nothing else can run there.
                        self.record.exchanged = !self.record.exchanged;
                        self.enter(Phase::Recovering)?;
                        continue;
                    }
                    self.enter(Phase::RolledBack(cause))?;
                    news = News::RolledBack(cause);
                }
                Phase::Recovering => {
                    self.exchange(Way::In)?;
                    self.enter(Phase::Recovered)?;
                }
                Phase::RecoveringPrevious => {
                    self.exchange(Way::Back)?;
                    self.enter(Phase::Recovered)?;
                }
            }
        }
    }

    /// Makes sure that the slots are where the record says, and counts the resets that this takes.
    fn hold(&mut self) -> Result<Progress, Halt<F::Error>> {
        let phase = self.record.phase;
        let wants_reset = match self.exchange.hold(&self.record) {
            Progress::Done => return Ok(Progress::Done),
            _ if planted::is(Bug::BanksBelieved) && !phase.is_exchange() => return Ok(Progress::Done),
            Progress::NeedsReset => true,
            // It may refuse only once. If the old image is still in its place, nothing depends on it.
            Progress::Refused => phase != Phase::Exchanging,
        };
        if wants_reset && self.record.step < RESETS_MAX {
            self.record.step += 1;
            self.enter(phase)?;
            return Ok(Progress::NeedsReset);
        }
        self.stay()?;
        Ok(Progress::Done)
    }

    /// Exchanges the slots. Then the new image is on trial, or it goes back.
    fn go_in(&mut self) -> Result<Option<Offer>, Halt<F::Error>> {
        if self.try_exchange(Way::In)? == Progress::Refused {
            self.record.exchanged = !self.record.exchanged;
            self.enter(Phase::ExchangingBack(RollBackCause::ActivationFailed))?;
            return Ok(None);
        }
        let Ok(offer) = self.whole(&Place::Slot(self.layout.active), self.floor.sequence_number) else {
            self.go_back(Phase::ExchangingBack(RollBackCause::ActivationFailed))?;
            return Ok(None);
        };
        if !planted::is(Bug::TrialNotRecorded) {
            self.enter(Phase::Trial)?;
        }
        Ok(Some(offer))
    }

    const fn news(&self, before: News) -> News {
        match self.record.phase {
            Phase::Recovered => News::Recovered,
            Phase::Previous => News::Previous,
            _ => before,
        }
    }

    /// The agent has activated the image in the update slot.
    fn activate(&mut self) -> Result<(), Halt<F::Error>> {
        let wanted = self.record.name;
        let (place, floor) = (Place::Slot(self.layout.update), self.floor);
        let offer = self.whole(&place, floor.sequence_number).ok().filter(|_| !floor.lost);
        match offer.filter(|offer| BootRecord::name_of(&offer.digest.0) == wanted) {
            Some(offer) => self.go(Phase::Exchanging, &offer),
            None => self.enter(Phase::RolledBack(RollBackCause::ActivationFailed)),
        }
    }

    /// The image in the active slot, if it may run. An image older than the last confirmed one is noted as
    /// such, unless an update has just been rolled back to it: that is reported first.
    fn active(&mut self) -> Result<Offer, Halt<F::Error>> {
        let least = self.floor.least(self.recovery);
        let offer = self.whole(&Place::Slot(self.layout.active), least)?;
        let is_older = offer.sequence_number < self.floor.sequence_number;
        if is_older && !matches!(self.record.phase, Phase::Previous | Phase::RolledBack(_)) {
            self.record.name = BootRecord::name_of(&offer.digest.0);
            self.enter(Phase::Previous)?;
        }
        Ok(offer)
    }

    /// The active slot cannot run: a completely received update replaces it, else the previous image. `false`
    /// if there is neither.
    fn recover(&mut self) -> Result<bool, Halt<F::Error>> {
        let floor = self.floor;
        if floor.lost {
            return Ok(false);
        }
        if let Ok(offer) = self.whole(&Place::Slot(self.layout.update), floor.sequence_number) {
            self.record.name = BootRecord::name_of(&offer.digest.0);
            self.go(Phase::Recovering, &offer)?;
            return Ok(true);
        }
        let before = self.exchange.put_out(self.layout, F::ERASE_SIZE as u32, &self.record);
        let Ok(offer) = self.whole(&before, floor.least(self.recovery)) else { return Ok(false) };
        self.record.name = BootRecord::name_of(&offer.digest.0);
        self.go_back(Phase::RecoveringPrevious)?;
        Ok(true)
    }

    /// Begins an exchange with this image in the update slot.
    fn go(&mut self, phase: Phase, new: &Offer) -> Result<(), Halt<F::Error>> {
        let active = Place::Slot(self.layout.active);
        let old = image::offer(self.flash, self.layout, &active, &self.keys, self.verify);
        // The length of an old image without an envelope is unknown.
        let old_bytes = old.map_or(self.layout.image_bytes_max(), |offer| offer.layout.image_size.bytes());
        let bytes = old_bytes.max(new.layout.image_size.bytes());
        let pages = bytes.div_ceil(F::ERASE_SIZE as u32);
        self.record.pages = u16::try_from(pages).map_err(|_| Halt::Layout(LayoutError::Slots))?;
        // Once it has begun there is no other way than to its end: the records have to take all steps.
        let pages = pages + TRAILER_BYTES.div_ceil(F::ERASE_SIZE as u32) + 1;
        let has_room = self.log.make_room(self.flash, 2 * pages, BootRecord::BYTES).is_ok();
        if phase == Phase::Exchanging && !has_room {
            return self.enter(Phase::RolledBack(RollBackCause::ActivationFailed));
        }
        self.record.step = 0;
        self.record.exchanged = !self.record.exchanged;
        self.enter(phase)
    }

    /// Begins an exchange the other way.
    fn go_back(&mut self, phase: Phase) -> Result<(), Halt<F::Error>> {
        self.record.step = 0;
        self.record.exchanged = !self.record.exchanged;
        self.enter(phase)
    }

    /// Continues an exchange that must be completed: no other image can run.
    fn exchange(&mut self, way: Way) -> Result<(), Halt<F::Error>> {
        match self.try_exchange(way)? {
            Progress::Refused => Err(Halt::Page),
            Progress::Done | Progress::NeedsReset => Ok(()),
        }
    }

    fn try_exchange(&mut self, way: Way) -> Result<Progress, Halt<F::Error>> {
        Ok(self.exchange.go_on(self.flash, self.layout, &mut self.log, &mut self.record, way)?)
    }

    /// The chip does not exchange the slots: what is in the active one stays, if it is the old image, or the
    /// new one that was to go back. Nothing else can run there.
    fn stay(&mut self) -> Result<(), Halt<F::Error>> {
        // If the chip recovers, the tries are counted from zero.
        self.record.step = 0;
        let phase = match self.record.phase {
            Phase::Exchanging => Phase::RolledBack(RollBackCause::ActivationFailed),
            Phase::ExchangingBack(_) => Phase::Recovered,
            phase => {
                self.enter(phase)?;
                return Err(Halt::Banks);
            }
        };
        self.record.exchanged = !self.record.exchanged;
        self.enter(phase)
    }

    fn enter(&mut self, phase: Phase) -> Result<(), Halt<F::Error>> {
        self.record.phase = phase;
        Ok(self.record.save(self.flash, &mut self.log)?)
    }

    /// Checks signature, manifest sequence number and hash, in this order.
    fn whole(&mut self, place: &Place, least: u64) -> Result<Offer, Halt<F::Error>> {
        whole(self.flash, self.layout, place, (&self.keys, least), self.verify)
    }
}

/// The offer of an intact image that one of the keys has signed, and whose manifest sequence number is not
/// below `least`.
///
/// # Errors
/// [`Halt::Image`], [`Halt::Downgrade`].
pub(super) fn whole<F: NorFlash>(
    flash: &mut F,
    layout: &FlashLayout,
    place: &Place,
    (keys, least): (&KeySet, u64),
    verify: &mut impl Verify,
) -> Result<Offer, Halt<F::Error>> {
    let offer = image::offer(flash, layout, place, keys, verify).map_err(Halt::Image)?;
    if offer.sequence_number < least && !planted::is(Bug::Downgrade) {
        return Err(Halt::Downgrade);
    }
    image::check(flash, place, &offer).map_err(Halt::Image)?;
    Ok(offer)
}
