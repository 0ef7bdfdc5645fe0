//! Whether an order is recent (protocol.md \[fresh\]). A message that is held back in transit stays
//! authentic, so an order says how long after an earlier question it was sent. An agent that heard that
//! question checks the order with its own monotonic clock. Any other agent needs the order by unicast, with
//! an Echo value.

use crate::command::Dated;
use crate::limits::{ECHO_WITHIN, QUESTIONS_HEARD_MAX};
use crate::random::Random;
use crate::time::{Duration, Instant};

/// The last questions heard, and the Echo value that an order must return.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// Partial IV and time of each question, oldest first.
    heard: heapless::Vec<(u64, Instant), QUESTIONS_HEARD_MAX>,
    challenge: Option<([u8; 8], Instant)>,
}

impl Freshness {
    /// A question of the distributor has arrived, for whichever agents.
    pub(super) fn heard(&mut self, now: Instant, partial_iv: u64) {
        if self.heard.is_full() {
            self.heard.remove(0);
        }
        let _ = self.heard.push((partial_iv, now));
    }

    /// When an order was sent, if the question that it names was heard here and the order is still valid.
    pub(super) fn sent_at(&self, now: Instant, dated: &Dated) -> Option<Instant> {
        let (_, heard_at) = self.heard.iter().find(|(partial_iv, _)| *partial_iv == dated.question)?;
        let sent_at = *heard_at + Duration::from_millis(u64::from(dated.since_ms));
        let holds = Duration::from_millis(u64::from(dated.holds_ms));
        (now <= sent_at + holds).then_some(sent_at)
    }

    /// The value that the order must return. It stays the same for a while: otherwise a repeated order would
    /// make the answer to the first one late.
    pub(super) fn challenge(&mut self, now: Instant, random: &mut Random) -> [u8; 8] {
        let open = self.challenge.filter(|(_, at)| now.since(*at) < ECHO_WITHIN);
        let (value, _) =
            *self.challenge.insert(open.unwrap_or_else(|| (random.next_u64().to_be_bytes(), now)));
        value
    }

    /// Whether this is the value that was sent a short while ago. A used value is no longer valid.
    pub(super) fn is_proved_by(&mut self, now: Instant, echo: &[u8]) -> bool {
        self.challenge.take_if(|(value, at)| value == echo && now.since(*at) < ECHO_WITHIN).is_some()
    }
}
