//! Open questions: queries whose answers still count.

use super::Agent;
use super::hearing::Heard;
use super::outbox::{Outbox, Sent, Slot, To};
use crate::census::Query;
use crate::limits::{
    ANSWERED_WITHIN, QUERIES_OPEN_MAX, QUESTIONS_HEARD_MAX, STRAGGLE_FIRST, STRAGGLE_MAX, STRAGGLE_MIN,
};
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
    /// When it was sent.
    sent_at: Instant,
    /// Answers are spread until then. Later ones are stragglers.
    leisure_ends: Instant,
    to_group: bool,
    /// If it is an order: the agent that may need it again with its Echo value.
    order: Option<Option<usize>>,
}

/// The open questions, and how late their answers come.
#[derive(Debug)]
pub(super) struct Questions {
    open: VecDeque<Open>,
    /// How many were sent.
    sent: u64,
    /// The number of the last ask.
    asks: u32,
    /// How late answers come after their leisure: how long to wait for stragglers.
    straggle: Duration,
}

impl Questions {
    pub(super) const fn new() -> Self {
        Self { open: VecDeque::new(), sent: 0, asks: 0, straggle: STRAGGLE_FIRST }
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
        let slot_now = slot.now;
        let leisure_ends = slot_now + leisure;
        let (sent, token, binding) = outbox.query(slot, query, to)?;
        self.make_room();
        let to_group = matches!(to, To::Group);
        self.open.push_back(Open {
            token,
            binding,
            ask,
            sent_at: slot_now,
            leisure_ends,
            to_group,
            order: None,
        });
        Ok(sent)
    }

    /// Remembers an order to one agent. With an index, that agent may need it again with an Echo value.
    pub(super) fn ordered(
        &mut self,
        now: Instant,
        token: Token,
        binding: SentRequest,
        wants_echo: Option<usize>,
    ) {
        self.make_room();
        let (sent_at, leisure_ends) = (now, now);
        let order = Some(wants_echo);
        self.open.push_back(Open { token, binding, ask: 0, sent_at, leisure_ends, to_group: false, order });
    }

    /// How many questions and orders were sent: the number of the newest one.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    fn make_room(&mut self) {
        self.sent += 1;
        if self.open.len() >= QUERIES_OPEN_MAX {
            self.open.pop_front();
        }
    }

    /// Whether this is the Token of the last question sent.
    pub(super) fn is_newest(&self, token: Token) -> bool {
        self.open.back().is_some_and(|open| open.token == token)
    }

    /// If the message with this Token was an order: the agent that may need it again.
    pub(super) fn order(&self, token: Token) -> Option<Option<usize>> {
        self.open.iter().find(|open| open.token == token)?.order
    }

    /// Whether the question with this Token went to the group.
    pub(super) fn was_to_group(&self, token: Token) -> bool {
        self.open.iter().any(|open| open.token == token && open.to_group)
    }

    /// The question with this Token, if an answer that arrives now is in time (protocol.md \[fresh\]).
    pub(super) fn heard_in_time(&self, now: Instant, token: Token) -> Option<Heard> {
        let open = self.open.iter().find(|open| open.token == token)?;
        let in_time = now.since(open.leisure_ends) <= ANSWERED_WITHIN;
        let partial_iv = open.binding.partial_iv().value();
        in_time.then_some(Heard { partial_iv, sent_at: open.sent_at })
    }

    /// The Partial IV of the oldest one of the last questions to the group, so many of them.
    fn oldest_of_last(&self, count: usize) -> u64 {
        let to_group = self.open.iter().rev().filter(|open| open.to_group);
        to_group.take(count).last().map_or(0, |open| open.binding.partial_iv().value())
    }

    /// The Partial IV of the oldest question that an agent still remembers, if it has heard all since then.
    pub(super) fn remembered_from(&self) -> u64 {
        self.oldest_of_last(QUESTIONS_HEARD_MAX)
    }

    /// Whether an agent has answered one of the last questions to the group, and will remember it for a few
    /// more: orders are dated by questions.
    pub(super) fn was_answered_of_late(&self, agent: &Agent) -> bool {
        let oldest = self.oldest_of_last(QUESTIONS_HEARD_MAX / 2);
        agent.hearing.newest().is_some_and(|heard| heard.partial_iv >= oldest)
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
        self.straggle * u32::from(1 + tries_before / 3)
    }
}
