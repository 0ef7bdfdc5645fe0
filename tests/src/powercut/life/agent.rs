//! The storage operations of an agent in one life.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use agent_embedded::store::{FlashStore, StoreError};
use group_oscore::Gid;
use update_core::device::Installed;
use update_core::limits::RECORD_BYTES_MAX;
use update_core::platform::{Area, Platform, Record, RollBackCause, Trial};
use update_core::record::{
    Allowance, CounterBounds, Outcome, UpdateRecord, decode_installed, encode_installed,
};

use super::super::banks::View;
use super::super::device::Device;
use super::super::oracle::{Image, Oracle, Wrong};
use super::{FIRST, Next, Stop, Story};
use crate::nor_flash::FlashError;

/// How many Sender Sequence Numbers are reserved at a time.
const STEP: u64 = 128;

type Store<'c, 'f, const WORD: usize, const PAGE: usize> = FlashStore<View<'c, 'f, WORD, PAGE>>;

/// What `Reception` does in one life, reduced to its storage operations.
pub(super) struct Agent<'a, 'c, 'f, const WORD: usize, const PAGE: usize> {
    pub(super) store: Store<'c, 'f, WORD, PAGE>,
    pub(super) device: &'a Device,
    pub(super) oracle: &'a mut Oracle,
    pub(super) story: Story,
    pub(super) image: Image,
    pub(super) faulty: bool,
    pub(super) ended: &'a mut Option<RollBackCause>,
    pub(super) attempt: u32,
    pub(super) outcome: Option<Outcome>,
}

impl<const WORD: usize, const PAGE: usize> Agent<'_, '_, '_, WORD, PAGE> {
    pub(super) fn run(mut self) -> Result<Next, Stop> {
        self.load()?;
        let trial = self.store.trial();
        let trial = self.done(trial, "the boot state cannot be read")?;
        self.save_counters()?;
        match trial {
            Trial::Running => self.judge(),
            Trial::Healthy => self.settle_new(Outcome::Confirmed),
            Trial::Recovered if self.image == Image::New => self.settle_new(Outcome::Recovered),
            // It runs for good, and the last confirmed image stays on record.
            Trial::Recovered if self.story == Story::Previous && self.store.runs_previous() => Ok(Next::Done),
            Trial::Recovered => Err(Stop::Wrong(Wrong::Bricked("recovered, and the old image runs"))),
            Trial::Deferred | Trial::Stuck => Err(Stop::Wrong(Wrong::Bricked("a trial as on Linux"))),
            Trial::RolledBack(cause) => self.note_roll_back(cause),
            Trial::None => match self.outcome {
                Some(Outcome::Confirmed | Outcome::Recovered) => Ok(Next::Done),
                Some(Outcome::RolledBack(_)) => self.after_roll_back(),
                _ => self.receive(),
            },
        }
    }

    /// Checks that records never become older than what was relied upon.
    fn load(&mut self) -> Result<(), Stop> {
        let mut buffer = [0; RECORD_BYTES_MAX];
        let bytes = self.store.load(Record::Installed, &mut buffer).map(|bytes| bytes.map(decode_installed));
        let installed = self.done(bytes, "the installed record cannot be read")?;
        let number =
            installed.map_or(0, |installed| installed.map_or(0, |installed| installed.sequence_number));
        Oracle::rises(&mut self.oracle.installed, number, "the manifest sequence number")?;
        let bytes = self.store.load(Record::Counters, &mut buffer);
        let bounds = bytes.map(|bytes| bytes.map(CounterBounds::decode));
        let bounds = self.done(bounds, "the counters cannot be read")?;
        let end = bounds.map_or(FIRST, |bounds| bounds.map_or(0, |bounds| bounds.reserved_end));
        Oracle::rises(&mut self.oracle.reserved_end, end, "the counters")?;
        let bytes = self.store.load(Record::Update, &mut buffer);
        let update = bytes.map(|bytes| {
            bytes.map(|bytes| UpdateRecord::decode(bytes).map(|update| (update.attempt, update.outcome)))
        });
        let update = self.done(update, "the update cannot be read")?;
        let found = update.is_some();
        if let Some(Ok((attempt, outcome))) = update {
            (self.attempt, self.outcome) = (attempt, Some(outcome));
        }
        Oracle::rises(&mut self.oracle.attempt, self.attempt, "the attempt")?;
        Ok(Oracle::rises(&mut self.oracle.accepted, found, "the accepted update")?)
    }

    fn save_counters(&mut self) -> Result<(), Stop> {
        let end = self.oracle.reserved_end + STEP;
        let saved = now(self.store.save(Record::Counters, &counters(end)));
        self.done(saved, "the counters cannot be saved")?;
        self.oracle.reserved_end = end;
        Ok(())
    }

    fn save_update(&mut self, outcome: Outcome) -> Result<(), Stop> {
        let mut buffer = [0; RECORD_BYTES_MAX];
        let record = UpdateRecord {
            envelope: &self.device.new.envelope,
            attempt: self.attempt,
            outcome,
            left: Allowance::FULL,
        };
        let len = record.encode(&mut buffer).expect("the buffer is long enough");
        let saved = now(self.store.save(Record::Update, &buffer[..len]));
        self.done(saved, "the update cannot be saved")?;
        self.outcome = Some(outcome);
        self.oracle.accepted = true;
        Oracle::rises(&mut self.oracle.attempt, self.attempt, "the attempt")?;
        Ok(())
    }

    fn receive(&mut self) -> Result<Next, Stop> {
        if self.outcome.is_none() {
            self.save_update(Outcome::Open)?;
            self.prepare()?;
        }
        for _ in 0..3 {
            if !self.present(Area::Pages, 0)? {
                self.prepare()?;
            }
            for area in [Area::Pages, Area::Image] {
                for number in 0..self.device.new.count(area) {
                    if !self.present(area, number)? {
                        self.write(area, number)?;
                    }
                    if number % 2 == 1 {
                        self.save_counters()?;
                    }
                }
            }
            if self.is_whole()? {
                return self.activate();
            }
        }
        Err(Stop::Wrong(Wrong::Bricked("the image never becomes whole")))
    }

    fn prepare(&mut self) -> Result<(), Stop> {
        self.oracle.stored.clear();
        let new = &self.device.new;
        let prepared = now(self.store.prepare(new.image.len() as u32, new.pages.len() as u32));
        self.done(prepared, "the areas cannot be prepared")
    }

    fn present(&mut self, area: Area, number: u32) -> Result<bool, Stop> {
        let (offset, expected) = self.device.new.block(area, number).expect("a block of the update");
        let mut bytes = vec![0; expected.len()];
        let read = now(self.store.read(area, offset as u32, &mut bytes));
        self.done(read, "a block cannot be read")?;
        let present = bytes == expected;
        self.oracle.found(area, number, present)?;
        Ok(present)
    }

    fn write(&mut self, area: Area, number: u32) -> Result<(), Stop> {
        let (offset, bytes) = self.device.new.block(area, number).expect("a block of the update");
        let written = now(self.store.write(area, offset as u32, bytes));
        self.done(written, "a block cannot be written")?;
        self.oracle.store(area, number);
        Ok(())
    }

    fn is_whole(&mut self) -> Result<bool, Stop> {
        (0..self.device.new.count(Area::Image)).try_fold(true, |whole, number| {
            let present = self.present(Area::Image, number)?;
            Ok(whole && present)
        })
    }

    fn activate(&mut self) -> Result<Next, Stop> {
        self.attempt += 1;
        self.save_update(Outcome::Open)?;
        let new = &self.device.new;
        let activated = now(self.store.activate(new.image.len() as u32, &new.digest().0));
        self.done(activated, "the image cannot be activated")?;
        Ok(Next::Reset)
    }

    fn judge(&mut self) -> Result<Next, Stop> {
        if self.image != Image::New {
            return Err(Stop::Wrong(Wrong::Bricked("the old image is on trial")));
        }
        match self.story {
            Story::Confirmed | Story::Previous => {
                let confirmed = self.store.confirm();
                self.done(confirmed, "the image cannot be confirmed")?;
                self.settle_new(Outcome::Confirmed)
            }
            Story::GivenUp => {
                let given_up = self.store.give_up(RollBackCause::Unhealthy);
                self.done(given_up, "the image cannot be given up")?;
                Ok(Next::Reset)
            }
            Story::Silent | Story::Damaged => Ok(Next::Reset),
        }
    }

    fn settle_new(&mut self, outcome: Outcome) -> Result<Next, Stop> {
        let offer = &self.device.new.offer;
        let installed = Installed { sequence_number: offer.sequence_number, digest: offer.digest };
        let mut buffer = [0; 64];
        let len = encode_installed(&installed, &mut buffer).expect("the buffer is long enough");
        let saved = now(self.store.save(Record::Installed, &buffer[..len]));
        self.done(saved, "what is installed cannot be saved")?;
        self.oracle.installed = offer.sequence_number;
        self.save_update(outcome)?;
        self.settle()?;
        Ok(Next::Done)
    }

    fn note_roll_back(&mut self, cause: RollBackCause) -> Result<Next, Stop> {
        if self.image != Image::Old {
            return Err(Stop::Wrong(Wrong::Bricked("rolled back, and the new image runs")));
        }
        self.save_update(Outcome::RolledBack(cause as u8))?;
        self.settle()?;
        self.after_roll_back()
    }

    /// The operator retries if a cut was to blame.
    fn after_roll_back(&mut self) -> Result<Next, Stop> {
        if self.story.is_confirmed() {
            return self.receive();
        }
        *self.ended = Some(RollBackCause::Reset);
        Ok(Next::Done)
    }

    fn settle(&mut self) -> Result<(), Stop> {
        let settled = now(self.store.settle());
        self.done(settled, "the trial cannot be settled")
    }

    fn done<T>(&self, result: Result<T, StoreError<FlashError>>, what: &'static str) -> Result<T, Stop> {
        match result {
            Ok(value) => Ok(value),
            Err(_) if self.store.flash().flash().is_off() => Err(Stop::Off),
            Err(StoreError::Flash(_) | StoreError::NotKept) if self.faulty => Err(Stop::Failed),
            Err(_) => Err(Stop::Wrong(Wrong::Bricked(what))),
        }
    }
}

pub(super) fn counters(reserved_end: u64) -> Vec<u8> {
    let gid = Gid::new(&[1, 2, 3, 4]).expect("4 bytes are a Gid");
    let mut buffer = [0; 64];
    let bounds = CounterBounds { gid, reserved_end, floor: reserved_end };
    let len = bounds.encode(&mut buffer).expect("the buffer is long enough");
    buffer[..len].to_vec()
}

/// Flash in memory never waits.
pub(super) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
