//! Laggards: agents that nobody waits for any more. They are asked individually, and fetch within the share
//! of single agents (protocol.md \[patience\]).

use super::asks::Purpose;
use super::outbox::{Sent, Slot, To};
use super::parts::Parts;
use super::{Activate, Agent};
use crate::census::{Query, State};
use crate::limits::{
    CHECK_BYTES_PER_SECOND, EVIDENCE_AGENTS_MIN, EVIDENCE_PARTS, LAGGARD_POLL, WAIT_ALONE, WAIT_MIN,
    WAIT_PART,
};
use crate::platform::Area;
use crate::target::Target;
use crate::time::{Duration, Instant};
use group_oscore::ProtectError;

/// Which laggard to ask next.
#[derive(Debug)]
pub(super) struct Laggards {
    due: Instant,
    turn: usize,
}

impl Laggards {
    pub(super) const fn new(now: Instant) -> Self {
        Self { due: now, turn: 0 }
    }
}

impl Parts {
    /// Once all expected answers are in, judges which agents have made progress.
    pub(super) fn judge_patience(&mut self, now: Instant, purpose: Purpose) {
        let Some(subject) = &self.job else { return };
        let asked = match purpose {
            Purpose::Pages => Some(Area::Pages),
            Purpose::Blocks => Some(Area::Image),
            _ => None,
        };
        let unnamed = asked.filter(|area| !subject.is_named(*area));
        let busy_max = self.wait_for_few(now);
        let ask = self.questions.last_ask();
        let others_got_on = self.nearly_all_got_on();
        for agent in self.fleet.iter_mut() {
            let has_answered = agent.has_answered(ask);
            let unnamed = unnamed.filter(|_| has_answered);
            agent.judge(now, has_answered, unnamed, busy_max, others_got_on);
        }
        let in_doubt = self.fleet.agents().iter().any(Agent::is_in_doubt);
        if let Some(subject) = &mut self.job {
            subject.decide_doubts(in_doubt);
        }
    }

    /// Whether, in a large group, a round brought nearly every agent in it on. An agent that it did not bring
    /// on then has trouble of its own, or lies.
    fn nearly_all_got_on(&self) -> bool {
        let judged = self.fleet.agents().iter().filter_map(Agent::gets_on);
        let (all, got_on) =
            judged.fold((0, 0), |(all, got_on), gets_on| (all + 1, got_on + usize::from(gets_on)));
        all >= EVIDENCE_AGENTS_MIN && (all - got_on) * EVIDENCE_PARTS <= all
    }

    /// How long the others wait for the few agents that are not done. If others wait to activate, this is a
    /// fraction of the time so far; the few are served and activated afterwards as well.
    pub(super) fn wait_for_few(&self, now: Instant) -> Duration {
        let others_wait = self.config.activate != Activate::Nobody
            && self
                .fleet
                .waited_for()
                .any(|agent| !agent.ended() && agent.laggard().is_none() && !agent.is_absent());
        if others_wait {
            return WAIT_MIN.max(now.since(self.started_at) / WAIT_PART);
        }
        let bytes = self.job.as_ref().map_or(0, |subject| subject.update.offer.layout.image_size.bytes());
        WAIT_ALONE + Duration::from_secs(u64::from(bytes) / CHECK_BYTES_PER_SECOND)
    }

    /// When to ask the next agent individually; `None` if there is none to ask.
    pub(super) fn laggards_due(&self, now: Instant) -> Option<Instant> {
        self.fleet.agents().iter().any(|agent| self.is_asked_alone(now, agent)).then_some(self.laggards.due)
    }

    /// Asks the next agent individually, and allows it to fetch while there is time for that.
    pub(super) fn ask_laggard(&mut self, slot: Slot<'_>) -> Result<Option<Sent>, ProtectError> {
        let all = self.fleet.indices(|agent| self.is_asked_alone(slot.now, agent));
        let turn = self.laggards.turn.checked_rem(all.len()).and_then(|turn| all.get(turn));
        let Some(agent) = turn.and_then(|index| self.fleet.get_mut(*index)) else { return Ok(None) };
        let Some(address) = agent.address else { return Ok(None) };
        let to = To::Agent(address, agent.id);
        agent.count_asked();
        self.laggards.turn = self.laggards.turn.wrapping_add(1);
        self.laggards.due = slot.now + LAGGARD_POLL / all.len().max(1) as u32;
        let serves = self.withdrawal.is_none();
        // Three asks may be lost by chance.
        let may_fetch = agent.laggard().is_some() || agent.hearing.is_deaf();
        // A laggard answers for itself; an agent that hears no multicast answers what the group was asked.
        let ask = if agent.laggard().is_some() { 0 } else { self.questions.last_ask() };
        let query = Query {
            target: Target::All,
            update: self.job.as_ref().map(|subject| subject.update.offer.id).filter(|_| serves),
            leisure_ms: 0,
            window: None,
            only_missing: false,
            unicast_max: if serves && may_fetch && !self.transfer_is_late(slot.now) { u32::MAX } else { 0 },
            detail: false,
            run: 0,
            generations: None,
        };
        self.questions.send(&mut self.outbox, slot, &query, ask, Duration::ZERO, to).map(Some)
    }

    /// Whether some of the agents waited for are laggards.
    pub(super) fn laggards_are_left(&self) -> bool {
        self.fleet.waited_for().any(|agent| !agent.lost && agent.laggard().is_some())
    }

    /// Whether it is a laggard that can still be served, or an agent that was heard but hears no multicast.
    fn is_asked_alone(&self, now: Instant, agent: &Agent) -> bool {
        let served = self.withdrawal.is_none() && !self.transfer_is_late(now);
        let lags = agent.laggard().is_some() && agent.address.is_some();
        (served && lags && agent.state() != Some(State::Refused)) || agent.seems_deaf()
    }
}
