//! Updates on the real flash store and the real boot stage, with the power cut at every operation of the
//! flash.
//!
//! A device is given an update. Its power fails at one operation (depth 1), at one and at a later one (depth
//! 2), or at three random ones (depth 3). Then it is left alone. Wherever and however the cuts occur, it must
//! run exactly the old or exactly the new image, what was relied upon must stay, and the update must end as
//! it would have without them.
//!
//! There is one simplification: a signature over the same bytes with the same keys is checked only once.

mod banks;
pub mod decay;
pub mod device;
#[cfg(test)]
mod found;
mod life;
mod memo;
mod oracle;
pub mod trust;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::nor_flash::{Cut, Way};
use crate::world::Dice;
use device::Device;
use life::Lives;
pub use life::Story;
pub use oracle::Wrong;

/// The parameters of a flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Length of a page in bytes.
    pub page: u32,
    /// Length of a word in bytes.
    pub word: u32,
    /// Whether a word can be programmed again without an erase.
    pub rewritable: bool,
    /// Whether the chip swaps two banks in hardware; otherwise the slots change places page by page.
    pub banks: bool,
}

/// How many times the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Once, at each operation.
    One,
    /// Twice, at each pair of operations.
    Two,
    /// Three times, at this many random triples.
    Three(u32),
}

/// The results.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Cuts that occurred, each followed by the rest of the update.
    pub cuts: u64,
    /// Devices that ran a mixed image.
    pub mixed: u64,
    /// Devices on which nothing ran, or the update did not end.
    pub bricked: u64,
    /// Devices that lost something that had been relied upon.
    pub regressed: u64,
    /// Devices that lost a stored block.
    pub lost: u64,
    /// Devices that used their flash in a forbidden way.
    pub misused: u64,
    /// Descriptions of the first failures, for repeating them.
    pub told: Vec<String>,
    /// The first failure.
    found: Option<(Found, Wrong)>,
}

/// How many failures are described.
const TOLD_MAX: usize = 10;

impl Report {
    /// Whether everything is right.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.cuts > 0 && self.mixed + self.bricked + self.regressed + self.lost + self.misused == 0
    }

    fn add(&mut self, wrong: Wrong, told: impl FnOnce() -> String) {
        match wrong {
            Wrong::Mixed => self.mixed += 1,
            Wrong::Bricked(_) => self.bricked += 1,
            Wrong::Regressed(_) => self.regressed += 1,
            Wrong::Lost => self.lost += 1,
            Wrong::Misused => self.misused += 1,
        }
        if self.told.len() < TOLD_MAX {
            self.told.push(format!("{}: {wrong}", told()));
        }
    }

    fn merge(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.mixed += other.mixed;
        self.bricked += other.bricked;
        self.regressed += other.regressed;
        self.lost += other.lost;
        self.misused += other.misused;
        self.found = self.found.take().or(other.found);
        self.told.extend(other.told);
        self.told.truncate(TOLD_MAX);
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = if self.used { "used" } else { "fresh" };
        write!(f, "{}, {:?}, {begin}, {:?}", self.geometry, self.story, self.cuts)
    }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.rewritable { "rewritable" } else { "once" };
        let banks = if self.banks { ", two banks" } else { "" };
        write!(f, "pages of {}, words of {} ({kind}{banks})", self.page, self.word)
    }
}

impl Geometry {
    /// A chip that swaps two banks: pages of 8 KiB, words of 16 bytes with an error-correcting code.
    pub const BANKS: Self = Self { page: 8192, word: 16, rewritable: false, banks: true };

    /// Every page size with every word size, and the one with banks. Words of 4 bytes and more have an
    /// error-correcting code.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let pages = [256, 4096, 128 * 1024];
        let words =
            [(1, true), (4, true), (4, false), (8, true), (8, false), (16, false), (32, true), (32, false)];
        let of = |page| words.map(|(word, rewritable)| Self { page, word, rewritable, banks: false });
        pages.into_iter().flat_map(of).chain([Self::BANKS]).collect()
    }

    /// The small flashes on which every pair of cuts is tried: many pages per image, and many blocks per
    /// page. And the one with banks.
    #[must_use]
    pub fn small() -> [Self; 3] {
        let of = |page| Self { page, word: 32, rewritable: false, banks: false };
        [of(256), of(4096), Self::BANKS]
    }

    /// Length of the old image: more than one page if pages are small.
    const fn image_bytes(self, depth: Depth) -> u32 {
        match (self.page, depth) {
            (_, Depth::Two) => 400,
            (256, _) => 900,
            (4096, _) => 4500,
            _ => 700,
        }
    }
}

/// Tries every cut of this depth on these flashes, on this many threads. `tell` is called when a flash is
/// done.
#[must_use]
pub fn run(geometries: &[Geometry], depth: Depth, threads: usize, tell: impl Fn(String) + Sync) -> Report {
    // For the flash, an image that gives itself up is just one more record than a silent one.
    let stories = if depth == Depth::Two { &Story::ALL[..2] } else { &Story::ALL[..] };
    let work: Vec<(Geometry, Story)> =
        geometries.iter().flat_map(|geometry| stories.iter().map(|story| (*geometry, *story))).collect();
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((geometry, story)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = on(*geometry, *story, depth, Task::All);
                    tell(format!("{geometry}, {story:?}: {} cuts", report.cuts));
                    total.lock().expect("no thread has panicked").merge(report);
                }
            });
        }
    });
    total.into_inner().expect("no thread has panicked")
}

/// A failed device: how it began, and its cuts.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its flash.
    pub geometry: Geometry,
    /// The course of its update.
    pub story: Story,
    /// The depth of cuts that it was made for.
    pub depth: Depth,
    /// Whether a bank of its records is nearly full.
    pub used: bool,
    /// When and how the power failed, each counted from the previous one.
    pub cuts: Vec<Cut>,
}

/// The first cut of this depth that reveals a failure.
#[must_use]
pub fn finds(geometry: Geometry, story: Story, depth: Depth) -> Option<Found> {
    on(geometry, story, depth, Task::First).found.map(|(found, _)| found)
}

/// Repeats the same cuts.
///
/// # Errors
/// [`Wrong`]: the failure that they reveal.
pub fn again(found: &Found) -> Result<(), Wrong> {
    let report = on(found.geometry, found.story, found.depth, Task::Again(found));
    report.found.map_or(Ok(()), |(_, wrong)| Err(wrong))
}

/// What to do on a flash.
#[derive(Debug, Clone, Copy)]
enum Task<'f> {
    /// Every cut.
    All,
    /// Every cut, until one reveals a failure.
    First,
    /// These.
    Again(&'f Found),
}

/// One flash and one story.
fn on(geometry: Geometry, story: Story, depth: Depth, task: Task<'_>) -> Report {
    match (geometry.page, geometry.word) {
        (8192, 16) => Campaign::<16, 8192>::run(geometry, story, depth, task),
        (256, 1) => Campaign::<1, 256>::run(geometry, story, depth, task),
        (256, 4) => Campaign::<4, 256>::run(geometry, story, depth, task),
        (256, 16) => Campaign::<16, 256>::run(geometry, story, depth, task),
        (256, 8) => Campaign::<8, 256>::run(geometry, story, depth, task),
        (256, _) => Campaign::<32, 256>::run(geometry, story, depth, task),
        (4096, 1) => Campaign::<1, 4096>::run(geometry, story, depth, task),
        (4096, 4) => Campaign::<4, 4096>::run(geometry, story, depth, task),
        (4096, 16) => Campaign::<16, 4096>::run(geometry, story, depth, task),
        (4096, 8) => Campaign::<8, 4096>::run(geometry, story, depth, task),
        (4096, _) => Campaign::<32, 4096>::run(geometry, story, depth, task),
        (_, 1) => Campaign::<1, 131_072>::run(geometry, story, depth, task),
        (_, 4) => Campaign::<4, 131_072>::run(geometry, story, depth, task),
        (_, 16) => Campaign::<16, 131_072>::run(geometry, story, depth, task),
        (_, 8) => Campaign::<8, 131_072>::run(geometry, story, depth, task),
        (_, _) => Campaign::<32, 131_072>::run(geometry, story, depth, task),
    }
}

/// All cuts on one flash.
struct Campaign<'f, const WORD: usize, const PAGE: usize> {
    geometry: Geometry,
    story: Story,
    depth: Depth,
    task: Task<'f>,
    /// Whether a bank of the device's records is nearly full.
    used: bool,
    report: Report,
}

impl<const WORD: usize, const PAGE: usize> Campaign<'_, WORD, PAGE> {
    fn run(geometry: Geometry, story: Story, depth: Depth, task: Task<'_>) -> Report {
        let mut campaign = Campaign { geometry, story, depth, task, used: false, report: Report::default() };
        let device =
            Device::new(geometry.page, geometry.image_bytes(depth), geometry.rewritable, geometry.banks);
        let device = Arc::new(device);
        let fresh = Lives::<WORD, PAGE>::new(device, story);
        // Room for a few more records, so that the change to the other bank occurs in the middle of the
        // update. If a bank has thousands of cells, this is done once.
        let huge = PAGE > 8192 && (WORD < 32 || geometry.rewritable);
        let used = if huge { Ok(fresh.clone()) } else { fresh.clone().with_full_bank(LEFT) };
        match used {
            Err(wrong) => campaign.report.add(wrong, || format!("{geometry}, filling a bank")),
            Ok(used) => campaign.on([fresh, used], huge),
        }
        campaign.report
    }

    /// On a new device and a used one; `same` if they are the same.
    fn on(&mut self, [fresh, used]: [Lives<WORD, PAGE>; 2], same: bool) {
        if let Task::Again(found) = self.task {
            self.used = found.used;
            let device = if found.used { used } else { fresh };
            return device.after(&found.cuts).unwrap_or_else(|wrong| self.tell(wrong, &found.cuts));
        }
        match self.depth {
            Depth::One => {
                self.cut_once(&fresh);
                self.used = true;
                if !same {
                    self.cut_once(&used);
                }
            }
            Depth::Two => {
                if self.story == Story::Confirmed {
                    self.cut_twice(&fresh);
                }
                self.used = true;
                self.cut_twice(&used);
            }
            Depth::Three(times) => self.cut_by_chance([fresh, used], times),
        }
    }

    fn cut_once(&mut self, lives: &Lives<WORD, PAGE>) {
        self.each_cut(lives, &[], &mut |campaign, mut lives, cuts| {
            campaign.report.cuts += 1;
            if let Err(wrong) = lives.run_to_end() {
                campaign.tell(wrong, cuts);
            }
        });
    }

    fn cut_twice(&mut self, lives: &Lives<WORD, PAGE>) {
        self.each_cut(lives, &[], &mut |campaign, lives, first| {
            campaign.each_cut(&lives, first, &mut |campaign, mut lives, cuts| {
                campaign.report.cuts += 1;
                if let Err(wrong) = lives.run_to_end() {
                    campaign.tell(wrong, cuts);
                }
            });
        });
    }

    /// Passes on the device after each possible next cut.
    fn each_cut(
        &mut self,
        lives: &Lives<WORD, PAGE>,
        before: &[Cut],
        then: &mut dyn FnMut(&mut Self, Lives<WORD, PAGE>, &[Cut]),
    ) {
        let to_come = match lives.lives_to_come() {
            Ok(to_come) => to_come,
            Err(wrong) => return self.tell(wrong, before),
        };
        let mut cuts = before.to_vec();
        let begin = lives.flash.operations();
        for life in to_come {
            let earlier = (life.flash.operations() - begin) as u32;
            for after in 0.. {
                // A cut after this operation is one before the next operation; after the last one there is
                // nothing to cut.
                let mut cut = life.clone();
                cut.flash.cut(Cut { after, way: Way::Before }, 0);
                match cut.run_to_cut() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(wrong) => {
                        self.tell(wrong, before);
                        break;
                    }
                }
                for way in Way::DISTINCT {
                    if self.is_enough() {
                        return;
                    }
                    cuts.truncate(before.len());
                    cuts.push(Cut { after: earlier + after, way });
                    let mut cut = cut.clone();
                    cut.flash.cut_otherwise(way, seed(&cuts));
                    then(self, cut, &cuts);
                }
            }
        }
    }

    fn cut_by_chance(&mut self, devices: [Lives<WORD, PAGE>; 2], times: u32) {
        let mut dice = Dice::new(3, u64::from(self.geometry.word) << 32 | u64::from(self.geometry.page));
        for _ in 0..times {
            if self.is_enough() {
                return;
            }
            let device = dice.below(devices.len() as u64) as usize;
            self.used = device == 1;
            let mut lives = devices[device].clone();
            let mut cuts = Vec::new();
            if let Err(wrong) = Self::three_cuts(&mut lives, &mut cuts, &mut dice, &mut self.report.cuts) {
                self.tell(wrong, &cuts);
            }
        }
    }

    fn three_cuts(
        lives: &mut Lives<WORD, PAGE>,
        cuts: &mut Vec<Cut>,
        dice: &mut Dice,
        count: &mut u64,
    ) -> Result<(), Wrong> {
        while cuts.len() < 3 {
            // The number of remaining operations is only known when they are done.
            let mut to_come = lives.lives_to_come()?;
            let mut end = to_come[to_come.len() - 1].clone();
            end.run_to_end()?;
            let begin = lives.flash.operations();
            let after = dice.below(end.flash.operations() - begin) as u32;
            let cut = Cut { after, way: dice.pick(&Way::ALL) };
            cuts.push(cut);
            while to_come.len() > 1
                && to_come[to_come.len() - 1].flash.operations() - begin > u64::from(after)
            {
                to_come.pop();
            }
            *lives = to_come.pop().expect("there is at least one");
            let after = after - (lives.flash.operations() - begin) as u32;
            lives.flash.cut(Cut { after, ..cut }, seed(cuts));
            lives.run_to_cut()?;
            // A cut planned for the start that only checks the result does not occur.
            *count += u64::from(!lives.flash.spare());
        }
        lives.run_to_end()
    }

    const fn is_enough(&self) -> bool {
        matches!(self.task, Task::First) && self.report.found.is_some()
    }

    fn tell(&mut self, wrong: Wrong, cuts: &[Cut]) {
        let Self { geometry, story, depth, used, .. } = *self;
        let found = Found { geometry, story, depth, used, cuts: cuts.to_vec() };
        self.report.add(wrong, || found.to_string());
        self.report.found.get_or_insert((found, wrong));
    }
}

/// How many counters fit a bank before it is changed.
const LEFT: u32 = 20;

fn seed(cuts: &[Cut]) -> u64 {
    cuts.iter().fold(1, |seed, cut| (seed * 0x0100_0193) ^ (u64::from(cut.after) * 8 + cut.way as u64 + 1))
}
