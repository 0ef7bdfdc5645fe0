//! What the agents lack of each generation, and how many parity symbols that takes (protocol.md \[parity\]).

use crate::limits::{ALONE_PARTS, ALONE_SYMBOLS_MIN, ENDS_PARTS, PARITY_LOSS_MAX, SEVERAL_PARTS};
use crate::parity::{Generations, LACKS_BLOCKS};
use alloc::vec;
use alloc::vec::Vec;

/// What was reported in the last ask.
#[derive(Debug)]
pub(super) struct Lacks {
    generations: Generations,
    /// The most symbols that a generation can need.
    most: usize,
    /// For each generation, how many agents need 0, 1, 2 ... symbols.
    counts: Vec<u16>,
    /// How many blocks the image has.
    blocks: u32,
    /// Of each agent that has room for a few generations at a time only: where these end.
    ends: Vec<u32>,
}

impl Lacks {
    pub(super) fn none_of(generations: Generations) -> Self {
        let most = generations.blocks_in(0).min(generations.symbols()) as usize;
        let counts = vec![0; generations.count() as usize * (most + 1)];
        let blocks = (0..generations.count()).map(|generation| generations.blocks_in(generation)).sum();
        Self { generations, most, counts, blocks, ends: Vec::new() }
    }

    /// Forgets what generations lack.
    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
        self.ends.clear();
    }

    /// An agent reports what these generations lack. It loses so many of a thousand datagrams, so that it
    /// needs a few more symbols than it lacks. Returns how many it lacks, and whether it needs blocks.
    pub(super) fn add(&mut self, first: u32, lacks: impl Iterator<Item = u16>, loss: u32) -> (u32, bool) {
        let (mut sum, mut needs_blocks) = (0_u32, false);
        for (generation, lack) in (first..self.generations.count()).zip(lacks) {
            if lack == LACKS_BLOCKS {
                needs_blocks = true;
                continue;
            }
            sum += u32::from(lack);
            let needed = u32::from(lack) * 1000 / (1000 - loss.min(PARITY_LOSS_MAX));
            let place = (needed as usize).max(usize::from(lack)).min(self.most);
            if let Some(count) = self.counts.get_mut(generation as usize * (self.most + 1) + place) {
                *count = count.saturating_add(1);
            }
        }
        (sum, needs_blocks)
    }

    /// An agent has room for the generations before this one only.
    pub(super) fn ends_at(&mut self, generation: u32) {
        self.ends.push(generation);
    }

    /// Where the first generations end for which several of so many agents have room, if that is not all.
    pub(super) fn end(&mut self, agents: usize) -> Option<u32> {
        self.ends.sort_unstable();
        let end = self.ends.get(several(agents) - 1).copied()?;
        Some(end.max(self.generations.count().div_ceil(ENDS_PARTS)))
            .filter(|end| *end < self.generations.count())
    }

    /// Whether no agent lacks anything.
    pub(super) fn are_none(&self) -> bool {
        self.counts.chunks_exact(self.most + 1).all(|counts| counts.iter().skip(1).all(|count| *count == 0))
    }

    /// How many symbols each generation is to be sent, if so many agents take part: what several of them
    /// need, and within a share what single ones need beyond. \[evidence\]
    pub(super) fn plan(&self, agents: usize) -> Vec<u16> {
        let several = several(agents);
        let needs = |voices: usize| {
            let rows = self.counts.chunks_exact(self.most + 1);
            rows.map(|counts| needed_by(counts, voices)).collect::<Vec<u16>>()
        };
        let (mut planned, most) = (needs(several), needs(1));
        let sum: u32 = planned.iter().map(|count| u32::from(*count)).sum();
        let mut left = (sum.max(self.blocks) / ALONE_PARTS).max(ALONE_SYMBOLS_MIN);
        // Evenly, so that a single agent that claims much does not take it all for one generation.
        while left > 0 {
            let before = left;
            for (planned, most) in planned.iter_mut().zip(&most) {
                if *planned < *most && left > 0 {
                    *planned += 1;
                    left -= 1;
                }
            }
            if left == before {
                break;
            }
        }
        planned
    }
}

/// How many of so many agents count as several.
fn several(agents: usize) -> usize {
    agents.div_ceil(SEVERAL_PARTS).max(2).min(agents.max(1))
}

/// The most symbols that at least so many agents need.
fn needed_by(counts: &[u16], voices: usize) -> u16 {
    let mut heard = 0;
    for (needed, count) in counts.iter().enumerate().rev() {
        heard += usize::from(*count);
        if heard >= voices && needed > 0 {
            return needed as u16;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parity::{ErasureCode, Parity};

    fn add(lacks: &mut Lacks, first: u32, of_each: &[u16], loss: u32) -> (u32, bool) {
        lacks.add(first, of_each.iter().copied(), loss)
    }

    fn lacks(blocks: u32) -> Lacks {
        Lacks::none_of(Generations::new(Parity::new(ErasureCode::Cauchy, 64).unwrap(), blocks))
    }

    #[test]
    fn what_several_need_is_sent_and_of_single_ones_a_share() {
        let mut lacks = lacks(256);
        assert_eq!(add(&mut lacks, 0, &[5, 0, 3, 0], 0), (8, false));
        assert_eq!(add(&mut lacks, 0, &[4, 2, 0, 0], 0), (6, false));
        assert_eq!(lacks.plan(8), [5, 2, 3, 0]);
        // One that claims to have nothing gets an eighth of the image's blocks beyond that.
        assert_eq!(add(&mut lacks, 0, &[64; 4], 0), (256, false));
        let planned = lacks.plan(8);
        let beyond: u16 = planned.iter().sum::<u16>() - (5 + 2 + 3);
        assert_eq!(u32::from(beyond), 256 / ALONE_PARTS);
        assert!(planned.iter().all(|count| *count < 20), "{planned:?}");
    }

    #[test]
    fn a_single_agent_gets_all_that_it_needs() {
        let mut lacks = lacks(256);
        add(&mut lacks, 0, &[60; 4], 0);
        assert_eq!(lacks.plan(1), [60; 4]);
    }

    #[test]
    fn a_few_of_many_do_not_speak_for_all() {
        let mut lacks = lacks(256);
        for _ in 0..10 {
            add(&mut lacks, 0, &[64; 4], 0);
        }
        for _ in 0..500 {
            add(&mut lacks, 0, &[1; 4], 0);
        }
        let planned = lacks.plan(1000);
        assert_eq!(planned.iter().map(|count| u32::from(*count)).sum::<u32>(), 4 + 256 / ALONE_PARTS);
    }

    #[test]
    fn loss_makes_it_more() {
        let mut lacks = lacks(256);
        add(&mut lacks, 2, &[8, LACKS_BLOCKS], 200);
        assert_eq!(lacks.plan(1), [0, 0, 10, 0]);
        lacks.clear();
        add(&mut lacks, 0, &[40], 990);
        assert_eq!(lacks.plan(1)[0], 64, "no more than there are blocks");
        assert_eq!(add(&mut lacks, 3, &[1, 1, 1], 0), (1, false), "generations that there are not");
    }
}
