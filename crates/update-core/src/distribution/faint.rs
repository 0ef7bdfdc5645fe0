//! Agents that are hardly heard, because their link loses nearly everything (protocol.md \[patience\]).
//!
//! Once nobody else misses anything, an agent that was heard a short time ago is served without its answers:
//! it is sent everything that it may miss, again and again, and asked in between.

use super::Agent;
use super::parts::Parts;
use super::phase::Phase;
use crate::limits::{ASK_SILENT_MAX, FAINT_OFFER_COPIES};
use crate::platform::Area;
use crate::time::{Duration, Instant};

impl Parts {
    /// Once nobody else is waited for, waits again for agents that are hardly heard, while they have time.
    pub(super) fn call_back_faint(&mut self, now: Instant) {
        let others = self.fleet.waited_for().any(|agent| {
            agent.awaited() && !agent.has_all() && agent.silence() == 0 && agent.status.is_some()
        });
        let some = self.job.is_some() && self.fleet.agents().iter().any(|agent| agent.is_faint(now));
        self.turns.serve_only_faint(some && !others);
        if self.turns.serves_only_faint() && !self.faint_are_late(now) {
            self.fleet.iter_mut().filter(|agent| agent.is_faint(now)).for_each(Agent::call_back);
        }
    }

    /// How long to wait until silent agents are asked again: not long, if they were heard a short time ago.
    pub(super) fn pause_for_silent(&mut self, now: Instant) -> Duration {
        if self.turns.serves_only_faint() {
            self.pause(now)
        } else {
            self.turns.wait_up_to(ASK_SILENT_MAX, Duration::ZERO)
        }
    }

    /// The phase that sends what agents that are hardly heard may miss; `None` if there are none, or others
    /// come first.
    pub(super) fn serve_faint(&mut self, now: Instant) -> Option<Phase> {
        let may_be_served =
            self.turns.serves_only_faint() && !self.transfer_is_late(now) && !self.faint_are_late(now);
        if !may_be_served || !self.fleet.waiting().is_empty() {
            return None;
        }
        let faint = |holds: fn(&Agent) -> bool| {
            self.fleet.agents().iter().any(|agent| agent.is_faint(now) && holds(agent))
        };
        let (any, offer) = (faint(|_| true), faint(Agent::is_without_update));
        let pages = faint(Agent::may_miss_pages);
        let is_alone = self.fleet.agents().iter().filter(|agent| agent.is_faint(now)).count() == 1;
        let subject = self.job.as_mut().filter(|_| any)?;
        match self.turns.faint_turn() {
            0 if offer => Some(self.offer(FAINT_OFFER_COPIES)),
            0 | 1 if pages => {
                subject.needed_pages.insert_all();
                Some(self.send_round(Area::Pages))
            }
            turn => {
                // One alone misses at most what it named last.
                let is_named = subject.last_blocks.len() > 0 && !pages && (turn > 0 || is_alone);
                if is_named {
                    subject.needed_blocks.insert_all_of(&subject.last_blocks);
                } else {
                    subject.needed_blocks.insert_all();
                }
                Some(self.send_round(Area::Image))
            }
        }
    }
}
