//! What an agent is asked, and whether it answers.

use super::Agent;

impl Agent {
    /// Queries that it was meant to answer. Together with [`Self::answered`] it measures the round-trip loss.
    #[must_use]
    pub const fn asked(&self) -> u32 {
        self.asked
    }

    /// Answers that came.
    #[must_use]
    pub const fn answered(&self) -> u32 {
        self.answered
    }

    /// Notes that it is asked something.
    pub(in crate::distribution) const fn count_asked(&mut self) {
        self.asked += 1;
    }

    /// Notes that it is meant to answer this ask.
    pub(in crate::distribution) const fn is_asked_in(&mut self, ask: u32) {
        self.asked += 1;
        self.asked_in = ask;
    }

    /// Whether it has answered the last ask that was meant for it.
    pub(in crate::distribution) const fn has_answered_last(&self) -> bool {
        self.heard_in >= self.asked_in
    }

    /// Notes that it has answered a question.
    pub(in crate::distribution) const fn count_answered(&mut self) {
        self.answered += 1;
    }

    /// Whether it has answered this ask or a later one.
    pub(in crate::distribution) const fn has_answered(&self, ask: u32) -> bool {
        self.heard_in >= ask
    }

    /// Notes that it stayed silent in an ask.
    pub(in crate::distribution) const fn missed_an_ask(&mut self) {
        self.silent = self.silent.saturating_add(1);
        self.hearing.missed_an_ask();
    }

    /// Notes that it stayed silent in an ask that only agents that miss something must answer. It may be
    /// complete, or it may be gone: the last asks find out.
    pub(in crate::distribution) const fn had_no_reason_to_answer(&mut self) {
        self.silent = 1;
    }

    /// How many asks in a row it has not answered.
    pub(in crate::distribution) const fn silence(&self) -> u8 {
        self.silent
    }

    /// Waits for it again, however often it stayed silent.
    pub(in crate::distribution) const fn forgive_silence(&mut self) {
        self.silent = 0;
    }
}
