//! Claims: an agent says that it has seen a number of ours that is above our next one (protocol.md
//! \[evidence\]).
//!
//! Either this machine was restored from an old copy, or the agent lies. Numbers are cheap, so once for each
//! agent all numbers below its claim are skipped. Only evidence stops the group: a request with our own
//! countersignature under a number that we never used. An agent that claims too much, or a second time, is
//! quarantined.

use super::parts::Parts;
use super::{Ending, Event};
use crate::census::Report;
use crate::limits::{CLAIM_AHEAD_MAX, EVIDENCE_BYTES_MAX};
use alloc::vec::Vec;
use core::ops::Range;

/// What is remembered of an agent's conduct from one distribution to the next, for as long as the group keeps
/// its Gid. Later variants are worse.
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

/// Numbers skipped because of a claim. Whoever can show one of them got it from another sender.
#[derive(Debug, Default)]
pub(super) struct Claims {
    // At most one range for each agent.
    passed_over: Vec<Range<u64>>,
}

/// What follows from a claim.
#[derive(Debug)]
pub(super) enum Consequence {
    /// It is no claim, or it costs only numbers.
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
    /// Checks what a report says about our own numbers, before anything else in it counts.
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

    /// Checks the request that the agent kept as received: is it ours, with a number that we have not used?
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
            // It is ours and old: the agent had nothing better to show.
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
