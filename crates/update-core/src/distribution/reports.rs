//! Reports: what agents say about themselves, in answers and announcements (protocol.md \[census\]).

use super::claims::Consequence;
use super::lacks::Lacking;
use super::parts::Parts;
use super::{Ending, Event};
use crate::census::{Report, State, Window};
use crate::platform::Area;
use crate::time::Instant;
use coap_wire::{Code, Token, Type, option};
use core::net::SocketAddr;
use group_oscore::MessageMode;

impl Parts {
    /// Takes a response: an answer to one of the open queries, or something unrelated.
    pub(super) fn on_response(
        &mut self,
        now: Instant,
        from: SocketAddr,
        token: Token,
        bytes: &mut [u8],
        first_ask: Option<u32>,
    ) -> Option<Ending> {
        let mark = *bytes.last_chunk()?;
        let binding = self.questions.binding(token)?;
        let response = self.outbox.unprotect_response(bytes, binding).ok()?;
        if response.mode() != MessageMode::Pairwise {
            return None;
        }
        let index = self.outbox.members().index(response.kid())?;
        let agent = self.fleet.get_mut(index).filter(|agent| !agent.is_quarantined())?;
        // Agents answer with their own Partial IVs: an answer not above the last one may be a replay.
        let piv = response.partial_iv()?.value();
        let newest = self.questions.sent();
        let to_newest = self.questions.is_newest(token);
        if agent.numbers.is_used_again(piv, mark, to_newest.then_some(newest)) {
            self.note_rewind(index, from);
            // It may miss nothing, and then it asks for nothing and gets no 4.03.
            self.replies.tell_rewind(index, from);
            return None;
        }
        if agent.rewind().is_some() {
            return None;
        }
        if !agent.numbers.reports_under(piv, Some(mark), newest) {
            if agent.numbers.is_last(piv, mark) {
                agent.repeated_from(from);
                // Its acknowledgement was lost.
                if response.ty() == Type::Confirmable {
                    self.replies.acknowledge(index, from, response.message_id());
                }
            }
            return None;
        }
        if response.ty() == Type::Confirmable {
            self.replies.acknowledge(index, from, response.message_id());
        }
        agent.shows_itself(now);
        let body = response.body();
        if let Some(wants_echo) = self.questions.order(token) {
            let echo = body.option(option::ECHO).filter(|_| body.code() == Code::UNAUTHORIZED);
            if let Some(echo) = echo.filter(|_| wants_echo == Some(index)) {
                self.singles.prove(index, echo);
            }
            return None;
        }
        let report = Report::decode(body.payload()).ok().filter(|_| body.code() == Code::CONTENT);
        let Some(report) = report else {
            agent.count_unreadable();
            return None;
        };
        // Only an answer to the newest question moves an address: earlier answers may have been held back.
        if to_newest || agent.address.is_none() {
            agent.heard_from(from);
        }
        agent.hearing.answers(self.questions.was_to_group(token), self.questions.heard_in_time(now, token));
        let number = self.questions.answered(now, token);
        if number > 0 {
            agent.count_answered();
        }
        match self.on_claim(index, &report) {
            Consequence::Stop(ending) => return Some(ending),
            Consequence::Ignored => return None,
            Consequence::Taken { .. } => {}
        }
        self.take_report(index, number, &report, first_ask);
        None
    }

    /// Takes the report of an announcement under this Partial IV of the agent.
    pub(super) fn take_announcement(
        &mut self,
        now: Instant,
        index: usize,
        own_piv: u64,
        report: &Report<'_>,
    ) {
        let newest = self.questions.sent();
        let Some(agent) = self.fleet.get_mut(index) else { return };
        if agent.may_announce(now) && agent.numbers.reports_under(own_piv, None, newest) {
            self.take_report(index, 0, report, None);
        }
    }

    /// Takes a report, from an answer or from an announcement (number 0). What it reports as missing counts
    /// if it answers the ask that began with `first_ask`.
    pub(super) fn take_report(
        &mut self,
        index: usize,
        number: u32,
        report: &Report<'_>,
        first_ask: Option<u32>,
    ) {
        let Some(agent) = self.fleet.get_mut(index) else { return };
        let about_this = self.job.as_ref().is_none_or(|subject| report.counts_for(&subject.digest()));
        // Under the same identifier it holds something else, or does not say what.
        let mistaken =
            self.job.as_ref().is_some_and(|subject| report.update == Some(subject.update.offer.id));
        let withdrawn = self.withdrawal.as_ref().is_some_and(|withdrawal| withdrawal.asks(number));
        if !about_this && !withdrawn && !mistaken {
            return;
        }
        let is_first = !agent.has_answered(number);
        if about_this {
            // What it knows of parity from another distribution is of no use in this one.
            let uses_parity = self.job.as_ref().is_some_and(|subject| subject.mending.is_some());
            let lacking = report.lacking.filter(|_| uses_parity);
            agent.take(number, &Report { lacking, ..*report });
        } else {
            // It was asked what it holds, which is another update or none.
            agent.take(
                number,
                &Report { state: State::Unknown, reason: 0, missing_pages: 0, missing_blocks: 0, ..*report },
            );
        }
        let (id, is_waited_for) = (agent.id, agent.laggard().is_none());
        let in_doubt = report.window.is_some_and(|(window, _)| agent.gets_nowhere(window.area));
        self.note_deadline(index);
        self.events.push_back(Event::Report(id));
        // Nothing is sent to the group for the sake of a laggard.
        let counts = is_waited_for && first_ask.is_some_and(|first| number >= first);
        if let Some((area, first, lacks)) = report.lacks.filter(|_| counts && is_first) {
            self.take_lacks(index, area, first, lacks, report.room);
        }
        let names = report.window.filter(|(window, _)| counts && !self.lacks_pages(index, window));
        if let (Some((window, bitmap)), Some(subject)) = (names, &mut self.job) {
            let named = bitmap.iter().map(|byte| byte.count_ones()).sum();
            let of = subject.name(window.area, window.first, bitmap, in_doubt);
            if let Some(agent) = self.fleet.get_mut(index).filter(|_| is_first) {
                agent.names_blocks(&window, named, of);
            }
        }
    }

    /// Takes what an agent says that generations of an area lack, from this one on.
    fn take_lacks(&mut self, index: usize, area: Area, first: u32, lacks: &[u8], room: Option<u32>) {
        let Some(agent) = self.fleet.get_mut(index) else { return };
        let Some(subject) = &mut self.job else { return };
        let Some(mending) = &mut subject.mending else { return };
        agent.measure_loss();
        let lacking = Lacking { loss: agent.loss(), room };
        let (sum, needs_blocks) = mending.take_lacks(area, first, lacks, lacking);
        agent.says_lacks(area, first, sum, needs_blocks);
        agent.names(area, sum, subject.shape.count_of(area));
    }

    /// Whether an agent has said what it lacks of the pages, before it was asked about this window: then it
    /// needs none of them. An answer about the first window says it anew.
    fn lacks_pages(&mut self, index: usize, window: &Window) -> bool {
        let Some(agent) = self.fleet.get_mut(index).filter(|_| window.area == Area::Pages) else {
            return false;
        };
        if window.first == 0 {
            agent.names_pages();
        }
        agent.lacks(Area::Pages).is_some()
    }
}
