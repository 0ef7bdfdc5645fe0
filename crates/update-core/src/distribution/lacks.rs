//! What the agents lack of each generation, and how many parity symbols that takes (protocol.md \[parity\]).

use crate::limits::{ALONE_PARTS, ALONE_SYMBOLS_MIN, PARITY_LOSS_MAX, SEVERAL_PARTS, SHORT_OF_ROOM_SIGMAS};
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
    /// Some agent has had no room for all that it lacked.
    room_is_short: bool,
}

/// An agent that says what generations lack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lacking {
    /// It loses so many of a thousand datagrams.
    pub(super) loss: u32,
    /// How many symbols it has room for, if that is not enough for all.
    pub(super) room: Option<u32>,
}

impl Lacking {
    /// How many symbols are sent for it if it lacks so many: a few more, as some are lost.
    ///
    /// An agent that has room for all keeps those that come, and gets the rest in the next round. Otherwise
    /// they make way for the next generation's. Then it costs less to send so many that they are nearly
    /// always enough: by two standard deviations more.
    fn needs(self, lack: u16) -> u32 {
        let (lack, loss) = (u32::from(lack), self.loss.min(PARITY_LOSS_MAX));
        let spread = self.room.map_or(0, |_| (lack * loss * 1000).isqrt());
        ((lack * 1000 + SHORT_OF_ROOM_SIGMAS * spread) / (1000 - loss)).max(lack)
    }
}

impl Lacks {
    pub(super) fn none_of(generations: Generations) -> Self {
        let most = generations.blocks_in(0).min(generations.symbols()) as usize;
        let counts = vec![0; generations.count() as usize * (most + 1)];
        let blocks = (0..generations.count()).map(|generation| generations.blocks_in(generation)).sum();
        Self { generations, most, counts, blocks, room_is_short: false }
    }

    /// Forgets what generations lack.
    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
    }

    /// An agent reports what these generations lack. Returns how many symbols it lacks, and whether it needs
    /// blocks: if it has no room for the symbols of a generation, they are of no use to it.
    pub(super) fn add(
        &mut self,
        first: u32,
        lacks: impl Iterator<Item = u16>,
        agent: Lacking,
    ) -> (u32, bool) {
        let (mut sum, mut needs_blocks) = (0_u32, false);
        self.room_is_short |= agent.room.is_some();
        for (generation, lack) in (first..self.generations.count()).zip(lacks) {
            if lack == LACKS_BLOCKS || agent.room.is_some_and(|room| u32::from(lack) > room) {
                needs_blocks = true;
                continue;
            }
            sum += u32::from(lack);
            let place = (agent.needs(lack) as usize).min(self.most);
            if let Some(count) = self.counts.get_mut(generation as usize * (self.most + 1) + place) {
                *count = count.saturating_add(1);
            }
        }
        (sum, needs_blocks)
    }

    /// Whether some agent has had no room for all that it lacked, so that generations do not take turns.
    pub(super) const fn room_is_short(&self) -> bool {
        self.room_is_short
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
        lacks.add(first, of_each.iter().copied(), Lacking { loss, room: None })
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

    #[test]
    fn who_has_little_room_gets_more_at_once_and_blocks_where_that_is_too_little() {
        let mut lacks = lacks(256);
        assert!(!lacks.room_is_short());
        let agent = Lacking { loss: 200, room: Some(14) };
        assert_eq!(lacks.add(0, [14, 15, 8, 0].into_iter(), agent), (22, true));
        // 14 / 0.8 is 17.5, and one standard deviation of what is lost is 2.1.
        assert_eq!(lacks.plan(1), [21, 0, 13, 0]);
        assert!(lacks.room_is_short());
    }
}
