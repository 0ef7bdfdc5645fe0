//! Open questions: queries whose answers still count.

use super::outbox::{Outbox, Sent, Slot, To};
use crate::census::Query;
use crate::limits::{QUERIES_OPEN_MAX, STRAGGLE_FIRST, STRAGGLE_MAX, STRAGGLE_MIN};
use crate::time::{Duration, Instant};
use alloc::collections::VecDeque;
use coap_wire::Token;
use group_oscore::{ProtectError, SentRequest};

/// A question whose answers still count.
#[derive(Debug)]
struct Open {
    token: Token,
    binding: SentRequest,
    ask: u32,
    /// Answers are spread until then. Later ones are stragglers.
    leisure_ends: Instant,
}

/// The open questions, and how late their answers come.
#[derive(Debug)]
pub(super) struct Questions {
    open: VecDeque<Open>,
    /// The number of the last ask.
    asks: u32,
    /// How late answers come after their leisure: how long to wait for stragglers.
    straggle: Duration,
}

impl Questions {
    pub(super) const fn new() -> Self {
        Self { open: VecDeque::new(), asks: 0, straggle: STRAGGLE_FIRST }
    }

    /// The number of a new ask.
    pub(super) const fn begin_ask(&mut self) -> u32 {
        self.asks += 1;
        self.asks
    }

    /// The number of the last ask.
    pub(super) const fn last_ask(&self) -> u32 {
        self.asks
    }

    /// The number that the next ask will have.
    pub(super) const fn next_ask(&self) -> u32 {
        self.asks + 1
    }

    /// Sends a question for an ask and remembers it. Ask 0 is a question that no ask waits for.
    pub(super) fn send(
        &mut self,
        outbox: &mut Outbox,
        slot: Slot<'_>,
        query: &Query<'_>,
        ask: u32,
        leisure: Duration,
        to: To,
    ) -> Result<Sent, ProtectError> {
        let leisure_ends = slot.now + leisure;
        let (sent, token, binding) = outbox.query(slot, query, to)?;
        if self.open.len() >= QUERIES_OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back(Open { token, binding, ask, leisure_ends });
        Ok(sent)
    }

    /// Whether this is the Token of the last question sent.
    pub(super) fn is_newest(&self, token: Token) -> bool {
        self.open.back().is_some_and(|open| open.token == token)
    }

    /// The binding of the question with this Token.
    pub(super) fn binding(&self, token: Token) -> Option<&SentRequest> {
        self.open.iter().find(|open| open.token == token).map(|open| &open.binding)
    }

    /// Takes note of a valid answer to the question with this Token, and returns the number of its ask.
    pub(super) fn answered(&mut self, now: Instant, token: Token) -> u32 {
        let Some(open) = self.open.iter().find(|open| open.token == token) else { return 0 };
        let late = now.since(open.leisure_ends);
        // Stragglers get twice the time that the latest answers take beyond their leisure.
        let straggle = (self.straggle * 7 + late * 2) / 8;
        self.straggle = straggle.clamp(STRAGGLE_MIN, STRAGGLE_MAX);
        open.ask
    }

    /// How long to wait for stragglers after the leisure, given the number of earlier tries.
    pub(super) fn straggle_wait(&self, tries_before: u8) -> Duration {
        self.straggle * u32::from(1 + tries_before)
    }
}
