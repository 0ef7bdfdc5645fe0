//! Events that wait to be handed out.

use super::Event;
use crate::limits::EVENTS_MAX;

/// The events, oldest first. If there are more than [`EVENTS_MAX`], the oldest are dropped.
#[derive(Debug, Default)]
pub(super) struct Events(heapless::Deque<Event, EVENTS_MAX>);

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        if self.0.is_full() {
            // The oldest event is the least interesting, and a counter already covers it.
            let _ = self.0.pop_front();
        }
        let _ = self.0.push_back(event);
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        self.0.pop_front()
    }
}
