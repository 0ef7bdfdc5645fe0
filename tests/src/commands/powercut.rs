//! `cargo xtask powercut`: a power cut at every operation of a microcontroller's flash.

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::outcome::{Outcome, rounded};
use crate::powercut::decay::{self, Decay};
use crate::powercut::{self, Depth, Geometry};

/// Arguments of `powercut`.
#[derive(Debug, Args)]
pub(super) struct PowerCut {
    /// Cuts in one update: 1 at every operation of every flash, 2 at every pair on small ones, 3 at random
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=3),
        required_unless_present_any = ["rot", "wear"])]
    depth: Option<u8>,
    /// No cuts: each bit of the records is flipped, one at a time, at every start of an update
    #[arg(long, conflicts_with = "depth")]
    rot: bool,
    /// No cuts: each operation fails once, and each page except those of the records wears out
    #[arg(long, conflicts_with_all = ["depth", "rot"])]
    wear: bool,
    /// With --rot or --wear, only every Nth of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// With depth 3, this many updates on each flash and for each course of an update
    #[arg(long, value_name = "N", required_if_eq("depth", "3"))]
    random: Option<u32>,
    /// Only flashes with pages of this many bytes
    #[arg(long, value_name = "BYTES")]
    page: Option<u32>,
    /// Only flashes with words of this many bytes
    #[arg(long, value_name = "BYTES")]
    word: Option<u32>,
    /// Number of threads
    #[arg(long, value_name = "N", default_value_t = threads())]
    threads: usize,
}

impl PowerCut {
    /// One cut, everywhere.
    pub(super) fn of_one() -> Self {
        let of = Self {
            depth: Some(1),
            rot: false,
            wear: false,
            every: 1,
            random: None,
            page: None,
            word: None,
            threads: 1,
        };
        Self { threads: threads(), ..of }
    }

    /// A small sample of the decay faults.
    pub(super) fn of_decay(decay: Decay) -> Self {
        let (rot, wear) = (decay == Decay::Rot, decay == Decay::Wear);
        Self { depth: None, rot, wear, every: if rot { 997 } else { 41 }, ..Self::of_one() }
    }

    fn decay(&self, geometries: &[Geometry], decay: Decay) -> Outcome {
        let begin = Instant::now();
        let report = decay::run(geometries, decay, self.every, self.threads);
        for line in &report.told {
            println!("{line}");
        }
        Outcome::new(report.is_ok())
            .figure("faults", report.faults)
            .figure("regressed", report.regressed)
            .figure("bricked", report.bricked)
            .figure("stays", report.stays)
            .figure("seconds", rounded(begin.elapsed().as_secs_f64()))
    }

    /// Tries them. Each problem is printed with its cuts.
    ///
    /// # Errors
    /// The arguments do not go together.
    pub(super) fn run(&self) -> Result<Outcome> {
        let (depth, mut geometries) = match (self.depth, self.random) {
            (None | Some(1), None) => (Depth::One, Geometry::all()),
            (Some(2), None) => (Depth::Two, Geometry::small().to_vec()),
            (Some(3), Some(times)) => (Depth::Three(times), Geometry::all()),
            _ => bail!("--random goes with --depth 3"),
        };
        geometries.retain(|geometry| {
            self.page.is_none_or(|page| page == geometry.page)
                && self.word.is_none_or(|word| word == geometry.word)
        });
        if self.rot || self.wear {
            return Ok(self.decay(&geometries, if self.rot { Decay::Rot } else { Decay::Wear }));
        }
        let begin = Instant::now();
        let report = powercut::run(&geometries, depth, self.threads, |line| println!("{line}"));
        for line in &report.told {
            println!("{line}");
        }
        Ok(Outcome::new(report.is_ok())
            .figure("depth", self.depth.unwrap_or(1))
            .figure("cuts", report.cuts)
            .figure("mixed", report.mixed)
            .figure("bricked", report.bricked)
            .figure("regressed", report.regressed)
            .figure("lost", report.lost)
            .figure("misused", report.misused)
            .figure("seconds", rounded(begin.elapsed().as_secs_f64())))
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
