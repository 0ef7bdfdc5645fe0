//! Flash that loses bits (`--rot`), and flash that fails or wears out (`--wear`).
//!
//! Rot: at the start of every life of an update, each bit of the records is flipped, one at a time. Wear:
//! every operation fails once, or its page fails from then on; reads fail, or return a wrong bit, once; and
//! each page is worn out from the start. On fresh devices, and on those whose records are about to change
//! banks for the first time, and for the second.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::device::Device;
use super::life::{Lives, STAYS};
use super::{Depth, Geometry, LEFT, Story, Wrong};
use crate::nor_flash::{Fault, ReadFault, Wear};

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

/// Tries every fault of this kind on these flashes; `every` = 7 takes every seventh of them.
#[must_use]
pub fn run(geometries: &[Geometry], decay: Decay, every: u32, threads: usize) -> Report {
    let work: Vec<_> =
        geometries.iter().flat_map(|geometry| Story::ALL.map(|story| (*geometry, story))).collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((geometry, story)) = work.get(at) else { break };
                    let report = on(*geometry, *story, decay, every);
                    done.lock().expect("no thread has panicked").push((at, report));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread has panicked");
    // In the same order, whichever thread was faster.
    done.sort_by_key(|(at, _)| *at);
    let mut total = Report::default();
    done.into_iter().for_each(|(_, report)| total.merge(report));
    total
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
    let of = format!("{geometry}, {story:?}");
    let mut trial = Trial { of, story, every, turn: 0, report: Report::default() };
    // Where a bank has thousands of cells, filling it takes too long.
    let banks: &[u32] = if PAGE > 8192 { &[0] } else { &[0, 1, 2] };
    for banks in banks {
        let lives = match banks {
            0 => Ok(fresh.clone()),
            banks => fresh.clone().with_full_banks(*banks, LEFT),
        };
        match lives {
            Err(wrong) => trial.report.note(Err(wrong), || format!("{geometry}, filling {banks} banks")),
            Ok(lives) if decay == Decay::Rot => trial.rot(&lives, *banks),
            Ok(lives) => trial.wear(&lives, *banks),
        }
    }
    trial.report
}

/// All faults on one device.
struct Trial {
    of: String,
    story: Story,
    every: u32,
    turn: u32,
    report: Report,
}

/// Of the bits of a bank that is full of old entries, only each so manyth turns over, and of reads, of which
/// a life has thousands, each so manyth fails.
const SAMPLE: u32 = 61;

impl Trial {
    /// Whether this fault is one of those to be tried.
    const fn is_due(&mut self, sample: u32) -> bool {
        self.turn += 1;
        self.turn.is_multiple_of(self.every * sample)
    }

    fn note(&mut self, ended: Result<(), Wrong>, banks: u32, what: impl FnOnce() -> String) {
        let of = &self.of;
        self.report.note(ended, || format!("{of}, {banks} banks full, {}", what()));
    }

    fn rot<const WORD: usize, const PAGE: usize>(&mut self, fresh: &Lives<WORD, PAGE>, banks: u32) {
        let lives = match fresh.lives_to_come() {
            Ok(lives) => lives,
            Err(wrong) => return self.note(Err(wrong), banks, String::new),
        };
        let sample = if banks == 0 { 1 } else { SAMPLE };
        for (number, life) in lives.iter().enumerate().skip(usize::from(banks == 0)) {
            let records = life.device.layout.records;
            for offset in records.offset..records.offset + records.bytes {
                if life.flash.steady(offset, 1) == Some(&[0xff]) {
                    continue;
                }
                for bit in 0..8 {
                    if self.is_due(sample) {
                        let mut flipped = life.clone();
                        flipped.flash.flip(offset, bit);
                        self.note(flipped.run_to_end(), banks, || {
                            format!("life {number}, offset {}, bit {bit}", offset - records.offset)
                        });
                    }
                }
            }
        }
    }

    fn wear<const WORD: usize, const PAGE: usize>(&mut self, fresh: &Lives<WORD, PAGE>, banks: u32) {
        let mut end = fresh.clone();
        if let Err(wrong) = end.run_to_end() {
            return self.note(Err(wrong), banks, String::new);
        }
        for after in 0..(end.flash.operations() - fresh.flash.operations()) as u32 {
            for for_good in [false, true] {
                if self.may_be(for_good) && self.is_due(1) {
                    let mut failing = fresh.clone();
                    failing.flash.fail(Fault { after, for_good });
                    let how = if for_good { "for good" } else { "once" };
                    self.note(failing.survive(for_good), banks, || format!("operation {after} fails {how}"));
                }
            }
        }
        for after in 0..end.flash.reads() - fresh.flash.reads() {
            for wrong in [false, true] {
                if self.is_due(SAMPLE) {
                    let mut failing = fresh.clone();
                    failing.flash.fail_read(ReadFault { after, wrong });
                    let how = if wrong { "is wrong" } else { "fails" };
                    self.note(failing.survive(false), banks, || format!("read {after} {how} once"));
                }
            }
        }
        if self.may_be(true) {
            self.worn_pages(fresh, banks);
        }
    }

    /// A damaged image and a page that takes nothing for good are two faults, and too many.
    const fn may_be(&self, for_good: bool) -> bool {
        !for_good || !self.story.has_damage()
    }

    fn worn_pages<const WORD: usize, const PAGE: usize>(&mut self, fresh: &Lives<WORD, PAGE>, banks: u32) {
        let layout = &fresh.device.layout;
        for partition in [layout.active, layout.update, layout.spare, layout.pages, layout.records] {
            for page in (partition.offset..partition.offset + partition.bytes).step_by(PAGE) {
                for wear in [Wear::Refuses, Wear::Erase, Wear::KeepsBits] {
                    if self.is_due(1) {
                        let mut worn = fresh.clone();
                        worn.flash.wear_out(page, wear);
                        self.note(worn.survive(true), banks, || format!("page at {page:#x}: {wear:?}"));
                    }
                }
            }
        }
    }
}
