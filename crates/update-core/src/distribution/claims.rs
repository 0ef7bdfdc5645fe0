//! Claims: an agent says that it has seen a higher number of ours than the next one (protocol.md
//! \[evidence\]).
//!
//! Perhaps this machine came back from an old copy, and perhaps the agent lies. Numbers are cheap: once for
//! each agent they are passed over up to its claim. What stops the group is only evidence, a request with our
//! own countersignature under a number that we never used. Who claims too much, or again, is quarantined.

use super::parts::Parts;
use super::{Ending, Event};
use crate::census::Report;
use crate::limits::{CLAIM_AHEAD_MAX, EVIDENCE_BYTES_MAX};
use alloc::vec::Vec;
use core::ops::Range;

/// What is remembered of an agent's conduct from one distribution to the next, for as long as the group has
/// its Gid. Later is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Conduct {
    /// Nothing.
    #[default]
    Good,
    /// It has claimed once that our numbers are behind.
    Claimed,
    /// Its reports count for nothing and its requests get no answer.
    Quarantined,
}

/// Numbers that were passed over because of a claim: whoever can show one of them has it from somewhere else.
#[derive(Debug, Default)]
pub(super) struct Claims {
    // One for each agent at most.
    passed_over: Vec<Range<u64>>,
}

/// What a claim leads to.
#[derive(Debug)]
pub(super) enum Consequence {
    /// It is no claim, or it costs nothing but numbers.
    Taken {
        /// The agent is asked for its evidence.
        asked: bool,
    },
    /// The agent is quarantined.
    Ignored,
    /// Our counter is behind.
    Stop(Ending),
}

impl Parts {
    /// Looks at what a report says of our own numbers, before anything else of it counts.
    pub(super) fn on_claim(&mut self, index: usize, report: &Report<'_>) -> Consequence {
        if let Some(evidence) = report.evidence {
            return self.on_evidence(index, evidence);
        }
        let next = self.outbox.next_sequence_number();
        let Some(ahead) = report.distributor_next.checked_sub(next).filter(|ahead| *ahead > 0) else {
            return Consequence::Taken { asked: false };
        };
        let Some(agent) = self.fleet.get_mut(index) else { return Consequence::Ignored };
        if agent.conduct() > Conduct::Good || ahead > CLAIM_AHEAD_MAX {
            self.quarantine(index);
            return Consequence::Ignored;
        }
        agent.set_conduct(Conduct::Claimed);
        self.fleet.conduct_changed();
        self.outbox.skip_to(report.distributor_next);
        self.claims.passed_over.push(next..report.distributor_next);
        Consequence::Taken { asked: true }
    }

    /// A request that the agent keeps as it came: is it our own, with a number that we have not used?
    fn on_evidence(&mut self, index: usize, evidence: &[u8]) -> Consequence {
        let mut bytes = [0; EVIDENCE_BYTES_MAX];
        // It is decrypted in place.
        let copy = bytes.get_mut(..evidence.len());
        let piv = copy.and_then(|copy| {
            copy.copy_from_slice(evidence);
            self.outbox.own_request(copy)
        });
        let next = self.outbox.next_sequence_number();
        let is_proof =
            |piv: &u64| *piv >= next || self.claims.passed_over.iter().any(|range| range.contains(piv));
        match (piv.filter(is_proof), self.fleet.get(index)) {
            (Some(piv), Some(agent)) => {
                Consequence::Stop(Ending::CounterBehind { agent: agent.id, expects: piv + 1 })
            }
            // It is ours, and old: the agent had nothing better to show.
            _ if piv.is_some() => Consequence::Taken { asked: false },
            _ => {
                self.quarantine(index);
                Consequence::Ignored
            }
        }
    }

    fn quarantine(&mut self, index: usize) {
        let Some(agent) = self.fleet.get_mut(index) else { return };
        agent.set_conduct(Conduct::Quarantined);
        self.events.push_back(Event::Quarantined(agent.id));
        self.replies.forget(index);
        self.fleet.conduct_changed();
    }
}
