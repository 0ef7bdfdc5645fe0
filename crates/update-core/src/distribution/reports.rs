//! Reports: what agents say of themselves, in answers and announcements (protocol.md \[census\]).

use super::parts::Parts;
use super::{Ending, Event};
use crate::census::{Report, State};
use crate::platform::Area;
use crate::time::Instant;
use coap_wire::Token;
use core::net::SocketAddr;

impl Parts {
    /// A response: an answer to one of the last queries, or nothing of ours.
    pub(super) fn on_response(
        &mut self,
        now: Instant,
        from: SocketAddr,
        token: Token,
        bytes: &mut [u8],
        first_ask: Option<u32>,
    ) -> Option<Ending> {
        let binding = self.questions.binding(token)?;
        let response = self.outbox.unprotect_response(bytes, binding).ok()?;
        let index = self.outbox.members().index(response.kid())?;
        let report = Report::decode(response.body().payload()).ok()?;
        let number = self.questions.answered(now, token);
        if let Some(agent) = self.fleet.get_mut(index).filter(|_| number > 0) {
            agent.count_answered();
        }
        self.take_report(index, from, number, &report, first_ask)
    }

    /// What an agent says of itself, in an answer or an announcement (number 0). What it says that it misses
    /// counts if it answers the ask that began with `first_ask`. Gives the ending that it leads to, if any.
    pub(super) fn take_report(
        &mut self,
        index: usize,
        from: SocketAddr,
        number: u32,
        report: &Report<'_>,
        first_ask: Option<u32>,
    ) -> Option<Ending> {
        let next = self.outbox.next_sequence_number();
        let agent = self.fleet.get_mut(index)?;
        agent.heard_from(from);
        if report.distributor_next > next {
            return Some(Ending::CounterBehind { agent: agent.id, expects: report.distributor_next });
        }
        let about_this = self.job.as_ref().is_none_or(|s| report.update == Some(s.update.offer.id));
        let withdrawn = self.withdrawal.as_ref().is_some_and(|withdrawal| withdrawal.asks(number));
        if !about_this && !withdrawn {
            return None;
        }
        if about_this {
            agent.take(number, report);
        } else {
            // It was asked what it holds, and that is something else or nothing.
            agent.take(
                number,
                &Report { state: State::Unknown, reason: 0, missing_pages: 0, missing_blocks: 0, ..*report },
            );
        }
        let (id, is_waited_for) = (agent.id, agent.laggard().is_none());
        self.events.push_back(Event::Report(id));
        if let (Some((window, bitmap)), Some(subject)) = (report.window, &mut self.job) {
            let needed = match window.area {
                Area::Image => &mut subject.needed_blocks,
                Area::Pages => &mut subject.needed_pages,
            };
            // Nothing is sent to the group for the sake of a laggard.
            if is_waited_for && first_ask.is_some_and(|first| number >= first) {
                needed.insert_bitmap(window.first, bitmap);
            }
        }
        None
    }
}
