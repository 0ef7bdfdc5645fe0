//! The phases of a start, one after the other, until something runs.

use embedded_storage::nor_flash::NorFlash;
use update_core::key_set::KeySet;
use update_core::platform::RollBackCause;
use update_core::suit::Offer;

use super::{Floor, Halt, News, Runs, Start};
use crate::boot_record::{BootRecord, Phase};
use crate::exchange::{Exchange, Progress, Way};
use crate::image;
use crate::layout::{FlashLayout, LayoutError, Partition};
use crate::planted::{self, Bug};
use crate::record_log::RecordLog;
use crate::verify::Verify;

/// Resets for one exchange of the banks. A chip that has not let them change places by then never will, and
/// each try programs it once more. One reset is enough for a chip that is well, and each power cut in the
/// midst of the programming takes one more.
pub const RESETS_MAX: u16 = 8;

/// A start that goes on until something runs.
pub(super) struct Stage<'a, F, X, V> {
    pub(super) flash: &'a mut F,
    pub(super) layout: &'a FlashLayout,
    pub(super) exchange: &'a mut X,
    pub(super) verify: &'a mut V,
    pub(super) log: RecordLog,
    pub(super) record: BootRecord,
    pub(super) keys: KeySet,
}

impl<F: NorFlash, X: Exchange, V: Verify> Stage<'_, F, X, V> {
    /// Follows the table until something runs.
    pub(super) fn run(&mut self, floor: Floor) -> Result<Start, Halt<F::Error>> {
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
        if offer.sequence_number < floor.sequence_number {
            return Err(Halt::Downgrade);
        }
        image::check(self.flash, slot, &offer).map_err(Halt::Image)?;
        Ok(offer)
    }
}
