//! What an agent lacks that uses parity (protocol.md \[parity\]).

use super::super::patience::Unit;
use super::super::status::Status;
use super::Agent;
use crate::census::State;
use crate::platform::Area;

impl Agent {
    /// Begins a round over so many parity symbols, for an agent that has said what it lacks.
    pub(in crate::distribution) fn begin_parity_round(&mut self, area: Area, symbols: u32) {
        self.missed_before = None;
        let is_in_it = self.awaited() && self.has_answered_last();
        let lacking = self.lacks(area).filter(|_| is_in_it);
        if let Some(lacking) = lacking {
            self.patience.begin_round_of(area, lacking, symbols.min(self.takes), Unit::Lacking);
        }
    }

    /// How many blocks or pages, or parity symbols instead, it needs of an area, if it uses parity.
    pub(in crate::distribution) fn lacks(&self, area: Area) -> Option<u32> {
        match area {
            Area::Image => self.misses().and(self.status?.lacking),
            Area::Pages => Some(self.misses_of(area)?.min(self.page_lacks?)),
        }
    }

    /// It says what the generations of an area lack, from this one on, and lacks so many symbols in sum.
    pub(in crate::distribution) const fn says_lacks(
        &mut self,
        area: Area,
        from: u32,
        sum: u32,
        needs_blocks: bool,
    ) {
        self.takes = if from == 0 { sum } else { self.takes.saturating_add(sum) };
        match area {
            Area::Image => self.needs_blocks = needs_blocks || (from > 0 && self.needs_blocks),
            Area::Pages => self.page_lacks = Some(self.takes),
        }
    }

    /// It says which pages it misses, and not what their generations lack.
    pub(in crate::distribution) const fn names_pages(&mut self) {
        self.page_lacks = None;
    }

    /// Whether it has to be asked which blocks it misses, because parity alone does not help it.
    pub(in crate::distribution) fn lives_on_blocks(&self) -> bool {
        self.needs_blocks || !self.uses_parity()
    }

    /// Whether it has said that it uses parity.
    pub(in crate::distribution) const fn uses_parity(&self) -> bool {
        matches!(self.status, Some(Status { lacking: Some(_), .. }))
    }

    /// Whether it makes what it misses of this area out of the parity symbols that it holds.
    pub(in crate::distribution) fn makes(&self, area: Area) -> bool {
        let state = if area == Area::Pages { State::Pages } else { State::Blocks };
        self.state() == Some(state) && self.lacks(area) == Some(0) && self.misses_of(area) > Some(0)
    }
}
