//! Facts that wait to be told.

use super::Event;
use crate::limits::EVENTS_MAX;

/// The facts, oldest first; of more than [`EVENTS_MAX`] the oldest go.
#[derive(Debug, Default)]
pub(super) struct Events(heapless::Deque<Event, EVENTS_MAX>);

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        if self.0.is_full() {
            // The oldest is the least interesting, and what it tells is counted.
            let _ = self.0.pop_front();
        }
        let _ = self.0.push_back(event);
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        self.0.pop_front()
    }
}
