//! Patience: how long the group waits for one agent (protocol.md \[patience\]).
//!
//! An agent that makes no progress, or says so, becomes a laggard after a few rounds: nobody waits for it any
//! more, and nothing is sent to the group for its sake. It is asked individually, and fetches what it misses
//! within the share of single agents ([`Shares`](super::shares::Shares)). Once it has the image, it is waited
//! for again.

use crate::limits::{
    LAG_BLOCKS_ASKED, LAG_BLOCKS_IN_VAIN, LAG_OFFERS, LAG_PAGE_ROUNDS_IN_VAIN, LAG_PAGES_ASKED, LAG_ROUNDS,
    LAG_ROUNDS_IN_VAIN, LAG_VAGUE,
};
use crate::platform::Area;
use crate::time::{Duration, Instant};

/// Why nobody waits for an agent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// It does not take up the offer.
    Offer,
    /// It does not get the pages of the hash tree.
    Pages,
    /// It does not get the image blocks.
    Blocks,
    /// It reads back or checks what it has, and does not finish.
    Busy,
}

impl Lag {
    const fn of(area: Area) -> Self {
        match area {
            Area::Pages => Self::Pages,
            Area::Image => Self::Blocks,
        }
    }

    /// A phrase that completes "the agent ...".
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Offer => "does not take up the offer",
            Self::Pages => "does not get the pages of the hash tree",
            Self::Blocks => "does not get the image blocks",
            Self::Busy => "does not finish checking what it has",
        }
    }
}

/// What an agent misses of an area when a round begins, and how much of it the round sends.
#[derive(Debug, Clone, Copy)]
struct Missed {
    area: Area,
    misses: u32,
    sent: u32,
    /// It sends all of it.
    is_whole: bool,
    unit: Unit,
}

impl Missed {
    /// Whether the round was of use, with so much missing now: it brought a quarter of what it sent.
    const fn gets_on(self, misses: u32) -> bool {
        misses <= self.misses - self.sent.div_ceil(4)
    }
}

/// What is counted: an agent that says what it lacks with parity, says what it misses as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Pages or blocks that are missing.
    Missing,
    /// Blocks or parity symbols that are lacking.
    Lacking,
}

/// The patience with one agent.
#[derive(Debug, Clone, Default)]
pub(super) struct Patience {
    /// What it missed when the current round began.
    before: Option<Missed>,
    /// Rounds in which it missed something.
    rounds: u8,
    /// Consecutive rounds without progress.
    in_vain: u8,
    /// How many blocks it missed in these rounds, summed.
    blocks_in_vain: u32,
    /// Pages that it has named as missing, summed over the asks.
    pages_named: u32,
    /// The same for image blocks.
    blocks_named: u32,
    /// Rounds of offers that it did not take up.
    offers: u8,
    /// Questions to which it answered that it misses something, without saying what.
    vague: u8,
    /// Since when it has been recovering or checking.
    busy_since: Option<Instant>,
    /// The pages or blocks that it missed when it last said that it has enough symbols for them.
    making: Option<(Area, u32)>,
    lag: Option<Lag>,
    /// The last round brought it something.
    brought: bool,
}

impl Patience {
    /// Why patience has run out.
    pub(super) const fn lag(&self) -> Option<Lag> {
        self.lag
    }

    /// Begins a round over this area that sends this much, of which the agent misses or lacks so many blocks.
    pub(super) fn begin_round_of(&mut self, area: Area, misses: u32, sent: u32, unit: Unit) {
        let (is_whole, sent) = (sent >= misses, sent.min(misses));
        self.before = (misses > 0).then_some(Missed { area, misses, sent, is_whole, unit });
    }

    /// Whether the round in progress was of use, given what the agent misses now; `None` if it is in none.
    pub(super) fn gets_on(&self, misses: impl Fn(Area, Unit) -> Option<u32>) -> Option<bool> {
        self.before.map(|missed| missed.gets_on(misses(missed.area, missed.unit).unwrap_or(missed.misses)))
    }

    /// Whether the round in progress over this area brought it nothing, though it missed a good deal.
    pub(super) fn gets_nowhere(&self, area: Area, misses: u32) -> bool {
        let before = self.before.filter(|missed| missed.area == area && missed.unit == Unit::Missing);
        before.is_some_and(|missed| missed.misses >= LAG_BLOCKS_IN_VAIN && !missed.gets_on(misses))
    }

    /// Whether it made no progress in the last round, and is still waited for.
    pub(super) const fn is_in_doubt(&self) -> bool {
        self.in_vain > 0 && self.lag.is_none()
    }

    /// Ends the round, after the agent has said what it misses now. A round counts as progress if the agent
    /// got a quarter of what it missed and was sent.
    ///
    /// `others_got_on`: in a large group nearly all others did. Then one round in vain is enough.
    pub(super) fn end_round(&mut self, misses: impl Fn(Area, Unit) -> Option<u32>, others_got_on: bool) {
        let Some(missed) = self.before.take() else { return };
        let Missed { area, misses: before, sent, is_whole, unit } = missed;
        // An agent that reports nothing about it has got nothing.
        let misses = misses(area, unit).unwrap_or(before);
        self.brought = misses < before;
        let was_of_use = missed.gets_on(misses);
        // A round that sends a part is one of many: what an agent asks for in all is counted as well.
        self.rounds = self.rounds.saturating_add(u8::from(is_whole || !was_of_use));
        if was_of_use {
            (self.in_vain, self.blocks_in_vain) = (0, 0);
        } else {
            self.in_vain = self.in_vain.saturating_add(1);
            self.blocks_in_vain = self.blocks_in_vain.saturating_add(sent);
        }
        let in_vain = match area {
            _ if others_got_on && self.in_vain > 0 && before >= LAG_BLOCKS_IN_VAIN => true,
            Area::Pages => self.in_vain >= LAG_PAGE_ROUNDS_IN_VAIN,
            Area::Image => self.in_vain >= LAG_ROUNDS_IN_VAIN && self.blocks_in_vain >= LAG_BLOCKS_IN_VAIN,
        };
        if in_vain || (self.rounds >= LAG_ROUNDS && misses > 0) {
            self.lag = Some(Lag::of(area));
        }
    }

    /// Notes that it names this many of the area's blocks, to be sent to the group.
    pub(super) const fn names(&mut self, area: Area, named: u32, of: u32) {
        let (sum, times) = match area {
            Area::Pages => (&mut self.pages_named, LAG_PAGES_ASKED),
            Area::Image => (&mut self.blocks_named, LAG_BLOCKS_ASKED),
        };
        *sum = sum.saturating_add(named);
        if *sum > of.saturating_mul(times).saturating_add(LAG_BLOCKS_IN_VAIN) {
            self.lag = Some(Lag::of(area));
        }
    }

    /// Notes that it misses something in this area but does not say what.
    pub(super) const fn names_nothing(&mut self, area: Area) {
        self.vague = self.vague.saturating_add(1);
        if self.vague >= LAG_VAGUE {
            self.lag = Some(Lag::of(area));
        }
    }

    /// It has enough symbols for all of an area, and misses this many: in time it makes some of them.
    pub(super) fn makes(&mut self, area: Area, misses: u32) {
        if self.making.replace((area, misses)) == Some((area, misses)) {
            self.names_nothing(area);
        }
    }

    /// Whether the last round brought it something, if perhaps too little.
    pub(super) const fn brings_something(&self) -> bool {
        self.brought
    }

    /// Nobody else is waited for: what it has made the others wait for counts no longer.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }

    /// It has caught up with what it lagged behind in: it is waited for again, unless it has used up all
    /// rounds.
    pub(super) const fn got_over(&mut self) {
        if self.rounds < LAG_ROUNDS {
            self.lag = None;
            (self.in_vain, self.blocks_in_vain, self.before) = (0, 0, None);
        }
    }

    /// Notes that it was offered the update once more, because it had not taken it up.
    pub(super) const fn offered(&mut self) {
        self.offers = self.offers.saturating_add(1);
        if self.offers >= LAG_OFFERS {
            self.lag = Some(Lag::Offer);
        }
    }

    /// Notes whether it is recovering or checking. The others wait at most this long for that.
    pub(super) fn says(&mut self, now: Instant, is_busy: bool, at_most: Duration) {
        if !is_busy {
            self.busy_since = None;
            return;
        }
        let since = *self.busy_since.get_or_insert(now);
        if now.since(since) >= at_most {
            self.lag = Some(Lag::Busy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(misses: impl IntoIterator<Item = u32>) -> (usize, Option<Lag>) {
        let mut patience = Patience::default();
        let mut before = 1000;
        for (number, misses) in misses.into_iter().enumerate() {
            patience.begin_round_of(Area::Image, before, u32::MAX, Unit::Missing);
            patience.end_round(|_, _| Some(misses), false);
            before = misses;
            if let Some(lag) = patience.lag() {
                return (number + 1, Some(lag));
            }
        }
        (0, None)
    }

    #[test]
    fn who_gets_on_is_waited_for() {
        assert_eq!(rounds([700, 490, 343, 240, 168, 118, 82, 57, 40, 28, 14, 0]), (0, None));
        assert_eq!(rounds([1000, 500, 500, 250, 250, 0]), (0, None));
    }

    #[test]
    fn who_gets_nowhere_is_not() {
        assert_eq!(rounds([1000, 1000]), (2, Some(Lag::Blocks)));
        assert_eq!(rounds([500, 450, 400]), (3, Some(Lag::Blocks)));
        // Slow progress that never ends.
        let slowly = core::iter::successors(Some(750), |misses| Some(misses * 3 / 4 + 1));
        assert_eq!(rounds(slowly.take(100)).1, Some(Lag::Blocks));
    }

    #[test]
    fn being_busy_has_an_end() {
        let at_most = Duration::from_secs(6);
        let mut patience = Patience::default();
        patience.says(Instant::from_micros(0), true, at_most);
        patience.says(Instant::from_micros(5_999_999), true, at_most);
        assert_eq!(patience.lag(), None);
        patience.says(Instant::from_micros(6_000_000), true, at_most);
        assert_eq!(patience.lag(), Some(Lag::Busy));
    }
}
