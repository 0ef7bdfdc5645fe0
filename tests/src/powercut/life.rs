//! The lives of one device: each from power-on to the end of the update, a planned reset, or a cut.

mod agent;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use agent_embedded::store::{FlashStore, StoreError};
use boot_stage::banks::ByBanks;
use boot_stage::board::RETRIES_MAX;
use boot_stage::exchange::BySpare;
use boot_stage::start::{self, News, Recovery, Start};
use boot_stage::verify::Trust;
use update_core::platform::{Platform, Record, RollBackCause};

use super::banks::{OptionWord, Shared, take_over, view};
use super::device::Device;
use super::memo::Memo;
use super::oracle::{Image, Oracle, Wrong};
use super::seed;
use crate::nor_flash::{Cut, SimulatedFlash, Way};
use agent::{Agent, counters, now};

/// The course of the update, apart from the cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// The new image proves healthy.
    Confirmed,
    /// It gives itself up.
    GivenUp,
    /// It is never confirmed, and reset.
    Silent,
    /// Like the previous one; after that a bit of the old image is flipped.
    Damaged,
    /// The new image proves healthy, and then a bit of each copy of it is flipped.
    Previous,
}

impl Story {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Confirmed, Self::Silent, Self::GivenUp, Self::Damaged, Self::Previous];

    /// Whether a bit is flipped when the update has ended.
    pub(super) const fn has_damage(self) -> bool {
        matches!(self, Self::Damaged | Self::Previous)
    }

    /// Whether the update is confirmed, however often the operator must retry.
    const fn is_confirmed(self) -> bool {
        matches!(self, Self::Confirmed | Self::Previous)
    }
}

/// How many lives an update may take without further cuts.
const LIVES_MAX: u32 = 12;
/// The boot stage stays stopped.
pub(super) const STAYS: &str = "nothing may run";
/// The first Sender Sequence Number, so large that all take the same number of bytes.
const FIRST: u64 = 1 << 33;

/// A device and all that is known about it.
#[derive(Clone)]
pub(super) struct Lives<const WORD: usize, const PAGE: usize> {
    /// The device.
    pub(super) device: Arc<Device>,
    /// Its flash.
    pub(super) flash: SimulatedFlash<WORD, PAGE>,
    oracle: Oracle,
    story: Story,
    memo: Rc<RefCell<Memo>>,
    ended: Option<RollBackCause>,
    damaged: bool,
    /// The bank state since the last reset.
    exchanged: bool,
    /// Whether the flash loses bits or fails: the device may then reset on its own.
    pub(super) faulty: bool,
    /// How many starts of the boot stage in a row have failed because of the flash.
    retries: u32,
    /// Whether the chip refuses to change the bank state.
    pub(super) locked: bool,
}

/// Why a life ends early.
enum Stop {
    Off,
    /// The flash has failed: the device resets.
    Failed,
    Wrong(Wrong),
}

impl From<Wrong> for Stop {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

/// How a life ends otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Reset,
    Done,
}

impl<const WORD: usize, const PAGE: usize> Lives<WORD, PAGE> {
    /// A device from the factory.
    #[must_use]
    pub(super) fn new(device: Arc<Device>, story: Story) -> Self {
        let flash = device.flash();
        Self {
            device,
            flash,
            oracle: Oracle { reserved_end: FIRST, ..Oracle::default() },
            story,
            memo: Rc::default(),
            ended: None,
            damaged: false,
            exchanged: false,
            faulty: false,
            retries: 0,
            locked: false,
        }
    }

    /// The same device, in a bank of records that only has room for this many counters.
    ///
    /// # Errors
    /// [`Wrong`].
    pub(super) fn with_full_bank(self, left: u32) -> Result<Self, Wrong> {
        self.with_full_banks(1, left)
    }

    /// The same device after so many banks of records; in the last one there is room for so many counters
    /// only.
    ///
    /// # Errors
    /// [`Wrong`].
    pub(super) fn with_full_banks(mut self, banks: u32, left: u32) -> Result<Self, Wrong> {
        let cell = WORD.max(16) as u32;
        let content = counters(FIRST);
        let taken = 2 * (16 + content.len() as u32).div_ceil(cell) + 1;
        let room = self.device.layout.records.bytes / 2 / cell - 40;
        let flash = Shared::new(&mut self.flash);
        let mut store = FlashStore::open(view(&flash, &self.device, false), self.device.layout)
            .map_err(|_| Wrong::Bricked("the store does not open"))?;
        for _ in left..banks * (room / taken) {
            now(store.save(Record::Counters, &content))
                .map_err(|_| Wrong::Bricked("nothing can be saved"))?;
        }
        Ok(self)
    }

    /// Lives on until the update has ended or the device is off for good.
    ///
    /// # Errors
    /// [`Wrong`]: what did not hold.
    pub(super) fn run_to_end(&mut self) -> Result<(), Wrong> {
        for _ in 0..LIVES_MAX {
            if self.life()? == Some(Next::Done) {
                return self.check_end();
            }
        }
        Err(Wrong::Bricked("the update does not end"))
    }

    /// The device at the beginning of each life that is still to come, without any cuts.
    ///
    /// # Errors
    /// [`Wrong`]: what did not hold.
    pub(super) fn lives_to_come(&self) -> Result<Vec<Self>, Wrong> {
        let mut lives = vec![self.clone()];
        loop {
            let mut next = lives[lives.len() - 1].clone();
            match next.life()? {
                Some(Next::Reset) if (lives.len() as u32) < LIVES_MAX => lives.push(next),
                Some(Next::Done) => {
                    next.check_end()?;
                    return Ok(lives);
                }
                _ => return Err(Wrong::Bricked("the update does not end")),
            }
        }
    }

    /// Applies the cuts, each counted from the previous one, and then runs the update to its end.
    ///
    /// # Errors
    /// [`Wrong`]: what did not hold.
    pub(super) fn after(mut self, cuts: &[Cut]) -> Result<(), Wrong> {
        for (index, cut) in cuts.iter().enumerate() {
            let begin = self.flash.operations();
            let done = |lives: &Self| (lives.flash.operations() - begin) as u32;
            let to_come = self.lives_to_come()?;
            self = to_come.into_iter().rfind(|lives| done(lives) <= cut.after).expect("the first one is so");
            self.flash.cut(Cut { after: cut.after - done(&self), way: Way::Before }, 0);
            self.run_to_cut()?;
            self.flash.cut_otherwise(cut.way, seed(&cuts[..=index]));
        }
        self.run_to_end()
    }

    /// One life, in which the power is cut; `false` if it ended before.
    ///
    /// # Errors
    /// [`Wrong`]: what did not hold.
    pub(super) fn run_to_cut(&mut self) -> Result<bool, Wrong> {
        Ok(self.life()?.is_none())
    }

    /// One life; `None` if it was cut.
    fn life(&mut self) -> Result<Option<Next>, Wrong> {
        let ended = match self.boot() {
            Ok(Some(image)) => self.agent(image),
            Ok(None) => Ok(Next::Reset),
            Err(stop) => Err(stop),
        };
        // A page that keeps its bits is used in a forbidden way until that is noticed.
        if self.flash.violations() > 0 && !self.faulty {
            return Err(Wrong::Misused);
        }
        match ended {
            Ok(Next::Done) if self.story.has_damage() && !self.damaged => {
                self.damage();
                (self.damaged, self.ended) = (true, None);
                self.oracle.older_may_run = self.story == Story::Previous;
                Ok(Some(Next::Reset))
            }
            Ok(next) => Ok(Some(next)),
            Err(Stop::Failed) => Ok(Some(Next::Reset)),
            Err(Stop::Off) => Ok(None),
            Err(Stop::Wrong(wrong)) => Err(wrong),
        }
    }

    /// Flips a bit of the image that has won. For the previous one to come back, also a bit of what the
    /// exchange has left of it in the update slot: all of it, if a page holds the whole image.
    fn damage(&mut self) {
        self.flash.flip(self.device.active(self.exchanged), 0);
        if self.story == Story::Previous && self.device.bank_bytes.is_none() {
            self.flash.flip(self.device.layout.update.offset, 0);
        }
    }

    /// Lives on with a failing flash. If it fails once, the update ends as usual. If it fails for good, some
    /// image runs in the end.
    ///
    /// # Errors
    /// [`Wrong`]: what did not hold.
    pub(super) fn survive(mut self, for_good: bool) -> Result<(), Wrong> {
        self.faulty = true;
        if !for_good {
            return self.run_to_end();
        }
        for _ in 0..LIVES_MAX {
            match self.life() {
                Ok(Some(Next::Done)) => break,
                // A worn page loses its blocks, and the update ends with that reason.
                Ok(_) | Err(Wrong::Lost) => {}
                Err(Wrong::Bricked(what)) if what.starts_with("the image never") => {}
                Err(Wrong::Bricked(STAYS)) if self.cannot_run() => return Ok(()),
                Err(wrong) => return Err(wrong),
            }
        }
        for _ in 0..LIVES_MAX {
            match self.boot() {
                Ok(Some(_)) => return Ok(()),
                Ok(None) | Err(Stop::Off | Stop::Failed) => {}
                Err(Stop::Wrong(Wrong::Bricked(STAYS))) if self.cannot_run() => return Ok(()),
                Err(Stop::Wrong(wrong)) => return Err(wrong),
            }
        }
        Err(Wrong::Bricked("it resets for ever"))
    }

    /// Whether a page of the active slot takes nothing since it was erased: no image could run without it.
    fn cannot_run(&self) -> bool {
        let active = &self.device.layout.active;
        let worn = self.flash.worn_out().filter(|_| self.device.bank_bytes.is_none());
        worn.is_some_and(|page| {
            (active.offset..active.offset + active.bytes).contains(&page)
                && self.flash.steady(page, PAGE).is_some_and(|bytes| bytes.ends_with(&[0xff; WORD]))
        })
    }

    /// One start of the boot stage; `None` if it requests a reset.
    fn boot(&mut self) -> Result<Option<Image>, Stop> {
        let Device { layout, root_key, key_set, bank_bytes, .. } = &*self.device;
        self.flash.power_on();
        let option_word = bank_bytes.map(|bytes| 2 * bytes);
        self.exchanged = option_word.is_some_and(|offset| take_over(&mut self.flash, offset));
        let exchanged = self.exchanged;
        let flash = Shared::new(&mut self.flash);
        let mut seen = view(&flash, &self.device, exchanged);
        let trust = Trust { root_key, key_set };
        let verify = &mut *self.memo.borrow_mut();
        let started = match option_word {
            None => start::start(&mut seen, layout, &mut BySpare, &trust, Recovery::Previous, verify),
            Some(offset) => {
                let chip = OptionWord { flash: &flash, offset, exchanged, locked: self.locked };
                start::start(&mut seen, layout, &mut ByBanks(chip), &trust, Recovery::Previous, verify)
            }
        };
        let started = match started {
            Err(halt) if halt.may_pass() && self.retries >= RETRIES_MAX => {
                let runs = start::start_unrecorded(&mut seen, layout, &trust, Recovery::Previous, verify);
                runs.map_or(Err(halt), |runs| Ok(Start::Run(runs)))
            }
            started => started,
        };
        self.retries = match &started {
            Err(halt) if halt.may_pass() => self.retries + 1,
            Ok(Start::Run(runs)) if runs.news == News::Unrecorded => self.retries,
            _ => 0,
        };
        match started {
            _ if self.flash.is_off() => Err(Stop::Off),
            Ok(Start::Run(_)) => Ok(Some(self.oracle.ran(&self.device, &self.flash, self.exchanged)?)),
            Ok(Start::Reset) if option_word.is_some() => Ok(None),
            Ok(Start::Reset) => Err(Stop::Wrong(Wrong::Bricked("a reset without need"))),
            Err(halt) if self.faulty && halt.may_pass() => Err(Stop::Failed),
            Err(_) => Err(Stop::Wrong(Wrong::Bricked(STAYS))),
        }
    }

    fn agent(&mut self, image: Image) -> Result<Next, Stop> {
        let flash = Shared::new(&mut self.flash);
        let opened = FlashStore::open(view(&flash, &self.device, self.exchanged), self.device.layout);
        let store = match opened {
            Ok(store) => store,
            Err(_) if flash.borrow().is_off() => return Err(Stop::Off),
            Err(StoreError::Flash(_) | StoreError::NotKept) if self.faulty => return Err(Stop::Failed),
            Err(_) => return Err(Stop::Wrong(Wrong::Bricked("the store does not open"))),
        };
        let agent = Agent {
            store,
            device: &self.device,
            oracle: &mut self.oracle,
            story: self.story,
            image,
            faulty: self.faulty,
            ended: &mut self.ended,
            attempt: 0,
            outcome: None,
        };
        agent.run()
    }

    /// The update has ended: checks that the right image runs, also after one more start.
    fn check_end(&mut self) -> Result<(), Wrong> {
        self.flash.spare();
        let image = loop {
            match self.boot() {
                Ok(Some(image)) => break image,
                // The chip's word was not stable yet; now it is.
                Ok(None) => {}
                Err(Stop::Wrong(wrong)) => return Err(wrong),
                Err(Stop::Failed) => {}
                Err(Stop::Off) => return Err(Wrong::Bricked("off without a cut")),
            }
        };
        match (self.story, image, self.ended) {
            (Story::Confirmed | Story::Damaged, Image::New, None) => Ok(()),
            (Story::GivenUp | Story::Silent, Image::Old, Some(_)) => Ok(()),
            (Story::Previous, Image::Old, None) if self.damaged => Ok(()),
            (Story::Previous, Image::New, None) if !self.damaged => Ok(()),
            _ => Err(Wrong::Bricked("the wrong image runs at the end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Depth, Geometry};
    use super::*;

    #[test]
    fn where_a_page_holds_the_whole_image_a_damaged_one_comes_back_from_the_copy_beside_it() {
        let geometry = Geometry { page: 131_072, word: 32, rewritable: false, banks: false };
        let device = Device::new(geometry.page, geometry.image_bytes(Depth::Two), false, false);
        let mut lives = Lives::<32, 131_072>::new(Arc::new(device), Story::Confirmed);
        lives.run_to_end().unwrap();
        lives.flash.flip(lives.device.layout.active.offset, 0);
        assert!(matches!(lives.boot(), Ok(Some(Image::New))));
    }
}
