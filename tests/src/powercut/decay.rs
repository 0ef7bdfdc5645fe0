//! Flash that loses bits (`--rot`), and flash that fails or wears out (`--wear`).
//!
//! Rot: at the start of every life of an update, each bit of the records is flipped, one at a time. Wear:
//! every operation fails once, or its page fails for good; and each page of the slots, the spare page and the
//! hash pages is worn out from the start.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::device::Device;
use super::life::{Lives, STAYS};
use super::{Depth, Geometry, Story, Wrong};
use crate::nor_flash::{Fault, Wear};

/// What decays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decay {
    /// Bits of the records.
    Rot,
    /// Operations and pages.
    Wear,
}

/// The results.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Faults, each followed by the rest of the update.
    pub faults: u64,
    /// Devices that lost something that had been relied upon, or ran a mixed image.
    pub regressed: u64,
    /// Devices whose update did not end, or that reset for ever.
    pub bricked: u64,
    /// Devices whose boot stage stays stopped.
    pub stays: u64,
    /// Descriptions of the first few.
    pub told: Vec<String>,
}

const TOLD_MAX: usize = 10;

impl Report {
    /// Whether everything is right.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.faults > 0 && self.regressed + self.bricked + self.stays == 0
    }

    fn note(&mut self, ended: Result<(), Wrong>, what: impl FnOnce() -> String) {
        self.faults += 1;
        let Err(wrong) = ended else { return };
        match wrong {
            Wrong::Bricked(STAYS) => self.stays += 1,
            Wrong::Bricked(_) | Wrong::Lost => self.bricked += 1,
            Wrong::Mixed | Wrong::Regressed(_) | Wrong::Misused => self.regressed += 1,
        }
        if self.told.len() < TOLD_MAX {
            self.told.push(format!("{}: {wrong}", what()));
        }
    }

    fn merge(&mut self, other: Self) {
        self.faults += other.faults;
        self.regressed += other.regressed;
        self.bricked += other.bricked;
        self.stays += other.stays;
        self.told.extend(other.told);
        self.told.truncate(TOLD_MAX);
    }
}

/// Tries every fault of this kind on these flashes; `every` = 7 takes every seventh bit or operation.
#[must_use]
pub fn run(geometries: &[Geometry], decay: Decay, every: u32, threads: usize) -> Report {
    let stories = [Story::Confirmed, Story::Silent];
    let work: Vec<_> =
        geometries.iter().flat_map(|geometry| stories.map(|story| (*geometry, story))).collect();
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((geometry, story)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = on(*geometry, *story, decay, every);
                    total.lock().expect("no thread has panicked").merge(report);
                }
            });
        }
    });
    total.into_inner().expect("no thread has panicked")
}

fn on(geometry: Geometry, story: Story, decay: Decay, every: u32) -> Report {
    match (geometry.page, geometry.word) {
        (8192, 16) => each::<16, 8192>(geometry, story, decay, every),
        (256, 1) => each::<1, 256>(geometry, story, decay, every),
        (256, 4) => each::<4, 256>(geometry, story, decay, every),
        (256, 8) => each::<8, 256>(geometry, story, decay, every),
        (256, 16) => each::<16, 256>(geometry, story, decay, every),
        (256, _) => each::<32, 256>(geometry, story, decay, every),
        (4096, 1) => each::<1, 4096>(geometry, story, decay, every),
        (4096, 4) => each::<4, 4096>(geometry, story, decay, every),
        (4096, 8) => each::<8, 4096>(geometry, story, decay, every),
        (4096, 16) => each::<16, 4096>(geometry, story, decay, every),
        (4096, _) => each::<32, 4096>(geometry, story, decay, every),
        (_, 1) => each::<1, 131_072>(geometry, story, decay, every),
        (_, 4) => each::<4, 131_072>(geometry, story, decay, every),
        (_, 8) => each::<8, 131_072>(geometry, story, decay, every),
        (_, 16) => each::<16, 131_072>(geometry, story, decay, every),
        (_, _) => each::<32, 131_072>(geometry, story, decay, every),
    }
}

fn each<const WORD: usize, const PAGE: usize>(
    geometry: Geometry,
    story: Story,
    decay: Decay,
    every: u32,
) -> Report {
    let device =
        Device::new(geometry.page, geometry.image_bytes(Depth::Two), geometry.rewritable, geometry.banks);
    let fresh = Lives::<WORD, PAGE>::new(Arc::new(device), story);
    let mut report = Report::default();
    match decay {
        Decay::Rot => rot(&fresh, geometry, story, every, &mut report),
        Decay::Wear => wear(&fresh, geometry, story, every, &mut report),
    }
    report
}

fn rot<const WORD: usize, const PAGE: usize>(
    fresh: &Lives<WORD, PAGE>,
    geometry: Geometry,
    story: Story,
    every: u32,
    report: &mut Report,
) {
    let lives = match fresh.lives_to_come() {
        Ok(lives) => lives,
        Err(wrong) => return report.note(Err(wrong), || format!("{geometry}, {story:?}")),
    };
    let mut turn = 0;
    for (number, life) in lives.iter().enumerate().skip(1) {
        let records = life.device.layout.records;
        for offset in records.offset..records.offset + records.bytes {
            if life.flash.steady(offset, 1) == Some(&[0xff]) {
                continue;
            }
            for bit in 0..8 {
                turn += 1;
                if turn % every != 0 {
                    continue;
                }
                let mut flipped = life.clone();
                flipped.flash.flip(offset, bit);
                report.note(flipped.run_to_end(), || {
                    format!(
                        "{geometry}, {story:?}, life {number}, offset {}, bit {bit}",
                        offset - records.offset
                    )
                });
            }
        }
    }
}

fn wear<const WORD: usize, const PAGE: usize>(
    fresh: &Lives<WORD, PAGE>,
    geometry: Geometry,
    story: Story,
    every: u32,
    report: &mut Report,
) {
    let mut end = fresh.clone();
    if let Err(wrong) = end.run_to_end() {
        return report.note(Err(wrong), || format!("{geometry}, {story:?}"));
    }
    let operations = (end.flash.operations() - fresh.flash.operations()) as u32;
    for after in (0..operations).step_by(every as usize) {
        let mut failing = fresh.clone();
        failing.flash.fail(Fault { after, for_good: false });
        report
            .note(failing.survive(false), || format!("{geometry}, {story:?}, operation {after} fails once"));
    }
    let layout = &fresh.device.layout;
    for partition in [layout.active, layout.update, layout.spare, layout.pages] {
        for page in (partition.offset..partition.offset + partition.bytes).step_by(PAGE) {
            for wear in [Wear::Refuses, Wear::Erase, Wear::KeepsBits] {
                let mut worn = fresh.clone();
                worn.flash.wear_out(page, wear);
                report.note(worn.survive(true), || {
                    format!("{geometry}, {story:?}, page at {page:#x}: {wear:?}")
                });
            }
        }
    }
}
