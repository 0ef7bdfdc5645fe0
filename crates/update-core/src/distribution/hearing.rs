//! What reaches one agent: the questions that it has answered, by which orders to it are dated (protocol.md
//! \[fresh\]), and whether it hears multicast at all.

use crate::command::Dated;
use crate::limits::{DEAF_AFTER, HEARD_QUESTIONS_MAX, ORDER_ALONE_AGAIN, ORDER_HOLDS};
use crate::time::{Duration, Instant};

/// A question that an agent has answered in time, so it was not held back in transit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) partial_iv: u64,
    pub(super) sent_at: Instant,
}

impl Heard {
    /// The date of an order that is sent now.
    pub(super) fn dated(&self, now: Instant) -> Dated {
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        Dated {
            question: self.partial_iv,
            since_ms: millis(now.since(self.sent_at)),
            holds_ms: millis(ORDER_HOLDS),
        }
    }
}

/// See the module above.
#[derive(Debug, Clone, Default)]
pub(super) struct Hearing {
    /// The last questions that it answered in time, the newest one last.
    questions: heapless::Vec<Heard, HEARD_QUESTIONS_MAX>,
    /// It has been given an order by this distribution.
    was_ordered: bool,
    /// When it was last given an order alone.
    ordered_alone_at: Option<Instant>,
    /// Asks to the group in a row that it left unanswered.
    unheard_asks: u8,
    /// How many of them these were when it then answered a question to it alone.
    answers_alone: Option<u8>,
}

impl Hearing {
    /// The newest question that it answered in time.
    pub(super) fn newest(&self) -> Option<Heard> {
        self.questions.last().copied()
    }

    /// The last questions that it answered in time, from this one on, the newest one last.
    pub(super) fn questions_from(&self, partial_iv: u64) -> &[Heard] {
        let first = self.questions.partition_point(|heard| heard.partial_iv < partial_iv);
        self.questions.get(first..).unwrap_or_default()
    }

    /// Notes that it answers a question, to the group or to it alone. `in_time` is that question if the
    /// answer shows that it was not held back.
    pub(super) fn answers(&mut self, to_group: bool, in_time: Option<Heard>) {
        if to_group {
            (self.unheard_asks, self.answers_alone) = (0, None);
        } else if self.is_poor() {
            self.answers_alone.get_or_insert(self.unheard_asks);
        }
        let known = self.newest().map(|heard| heard.partial_iv);
        if let Some(heard) = in_time.filter(|heard| Some(heard.partial_iv) > known) {
            if self.questions.is_full() {
                self.questions.remove(0);
            }
            let _ = self.questions.push(heard);
        }
    }

    /// Notes that it left an ask to the group unanswered.
    pub(super) const fn missed_an_ask(&mut self) {
        self.unheard_asks = self.unheard_asks.saturating_add(1);
    }

    /// Whether it has left several asks to the group unanswered.
    pub(super) const fn is_poor(&self) -> bool {
        self.unheard_asks >= DEAF_AFTER
    }

    /// Whether it answers individual questions, but none to the group.
    pub(super) const fn is_individual(&self) -> bool {
        self.answers_alone.is_some()
    }

    /// Whether it has answered one, and then left another ask to the group unanswered: that is hardly chance.
    pub(super) fn is_deaf(&self) -> bool {
        self.answers_alone.is_some_and(|asks| self.unheard_asks > asks)
    }

    /// Notes that it is given an order. Returns whether it should get that alone as well: it was given one
    /// before, or nothing could date one to the group for it.
    pub(super) fn is_ordered_again(&mut self) -> bool {
        let again = self.was_ordered || self.questions.is_empty();
        self.was_ordered = true;
        again
    }

    /// Whether it may be given an order alone now; then that counts as done.
    pub(super) fn may_be_ordered_alone(&mut self, now: Instant) -> bool {
        let may = self.ordered_alone_at.is_none_or(|at| now.since(at) >= ORDER_ALONE_AGAIN);
        if may {
            self.ordered_alone_at = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_alone_and_misses_one_more_ask_hears_no_multicast() {
        let mut hearing = Hearing::default();
        for _ in 0..DEAF_AFTER {
            hearing.answers(false, None);
            assert!(!hearing.is_poor() && !hearing.is_individual());
            hearing.missed_an_ask();
        }
        assert!(hearing.is_poor() && !hearing.is_individual());
        hearing.answers(false, None);
        assert!(hearing.is_individual() && !hearing.is_deaf(), "so many may be lost by chance");
        hearing.missed_an_ask();
        hearing.answers(false, None);
        assert!(hearing.is_deaf());
        hearing.answers(true, None);
        assert!(!hearing.is_poor() && !hearing.is_deaf());
    }
}
