//! What the distributor asks and orders, and how the agent answers (protocol.md \[census\], [answers],
//! [attempt]).

use super::channel::Response;
use super::offers::seconds_until;
use super::{Failure, NOT_NOW, Phase, RECOVERED, Reason, Reception};
use crate::census::{GenerationWindow, Query, Report, State, Window};
use crate::digest::UpdateId;
use crate::limits::{ANSWERS_MAX, LACKS_BYTES_MAX, REPORT_BYTES_MAX, WINDOW_BLOCKS_MAX};
use crate::parity::lacks;
use crate::platform::Area;
use crate::record::Outcome;
use crate::remark::Remark;
use crate::time::{Duration, Instant};
use coap_wire::{Code, Token, Type};
use core::net::SocketAddr;
use group_oscore::{ReceivedRequest, Verified};

/// An answer that waits until it is due.
#[derive(Debug, Clone)]
struct Answer {
    due: Instant,
    to: SocketAddr,
    token: Token,
    binding: ReceivedRequest,
    /// The Message ID to acknowledge, for a Confirmable request.
    acknowledge: Option<u16>,
    content: Content,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    Report {
        about: About,
        detail: bool,
    },
    Changed,
    /// 4.01 with an Echo value.
    Challenge([u8; 8]),
}

/// What a report is about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct About {
    /// The update; `None` for the one that is held.
    update: Option<UpdateId>,
    window: Option<Window>,
    generations: Option<GenerationWindow>,
}

/// The waiting answers.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: heapless::Vec<Answer, ANSWERS_MAX>,
}

impl Answers {
    /// Adds an answer; if there are too many, it replaces the oldest.
    fn put(&mut self, answer: Answer) {
        if self.waiting.is_full() {
            self.waiting.remove(0);
        }
        let _ = self.waiting.push(answer);
    }

    /// Takes the first answer that is due.
    fn take_due(&mut self, now: Instant) -> Option<Answer> {
        let index = self.waiting.iter().position(|answer| answer.due <= now)?;
        Some(self.waiting.remove(index))
    }

    /// When the next answer is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.iter().map(|answer| answer.due).min()
    }
}

impl Reception<'_> {
    /// A FETCH of `/fw/status`.
    pub(super) fn on_query(
        &mut self,
        now: Instant,
        from: SocketAddr,
        request: &mut Verified<'_>,
        multicast: bool,
    ) {
        let Ok(query) = Query::decode(request.body().payload()) else {
            return self.counted.unknown_content();
        };
        if let Some(piv) = request.partial_iv() {
            self.freshness.heard(now, piv.value());
        }
        if !query.target.matches(self.channel.own_id(), &self.config.name) {
            return;
        }
        if query.update.is_some() && query.update == self.received.id() && self.received.asked_in(query.run) {
            self.begin_anew(now);
        }
        if let Some(id) =
            query.update.filter(|id| !self.knows(now, *id) && (multicast || query.unicast_max > 0))
        {
            self.fetch.want_offer(id);
        }
        let leisure = Duration::from_millis(u64::from(query.leisure_ms)).min(crate::limits::LEISURE_MAX);
        if multicast {
            self.received.heard_until(now + leisure);
        }
        if let (Some(id), Some(generations)) = (query.update, query.generations) {
            self.agree(id, Some(generations.parity));
        }
        self.grant(now, &query);
        if query.only_missing && !self.misses_something(now, &query) {
            return;
        }
        let due = if multicast { now + self.random.up_to(leisure) } else { now };
        let Query { update, window, generations, detail, .. } = query;
        let content = Content::Report { about: About { update, window, generations }, detail };
        self.answer(from, request, due, content, multicast);
    }

    pub(super) fn answer(
        &mut self,
        from: SocketAddr,
        request: &mut Verified<'_>,
        due: Instant,
        content: Content,
        multicast: bool,
    ) {
        // [answers]: only to the distributor's known address. A zone identifier is local to this machine.
        let provisioned = self.config.distributor_address;
        if multicast && (from.ip(), from.port()) != (provisioned.ip(), provisioned.port()) {
            return self.counted.not_for_us();
        }
        let confirmable = request.ty() == Type::Confirmable;
        self.answers.put(Answer {
            due,
            to: from,
            token: request.token(),
            binding: request.take_binding(),
            acknowledge: confirmable.then(|| request.message_id()),
            content,
        });
    }

    fn misses_something(&self, now: Instant, query: &Query<'_>) -> bool {
        if query.update.is_some() && query.update != self.received.id() {
            return !query.update.is_some_and(|id| self.knows(now, id));
        }
        match (self.received.phase(), query.window) {
            (Phase::Recovering(_), _) => true,
            (Phase::Receiving, None) => true,
            (Phase::Receiving, Some(window)) if window.area == Area::Image && query.generations.is_some() => {
                self.vault.needs_blocks(window.area)
            }
            (Phase::Receiving, Some(window)) => self.vault.misses_in(window),
            _ => false,
        }
    }

    /// Sends the first answer that is due. Everything it reports is durable: see `sync_due`.
    pub(super) fn next_answer(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let mut answer = self.answers.take_due(now)?;
        let mut payload = [0; REPORT_BYTES_MAX];
        let mut echo = None;
        let (code, len) = match answer.content {
            Content::Changed => (Code::CHANGED, 0),
            Content::Challenge(value) => {
                echo = Some(value);
                (Code::UNAUTHORIZED, 0)
            }
            Content::Report { about, detail } => {
                (Code::CONTENT, self.report(now, &about, detail, false, &mut payload)?)
            }
        };
        let payload = payload.get(..len)?;
        let Answer { token, acknowledge, binding, .. } = &mut answer;
        let response = Response { code, token: *token, acknowledge: *acknowledge, echo: &echo, payload };
        let sent = self.channel.respond(now, &response, binding, buffer);
        let len = self.sent(sent)?;
        Some((answer.to, len))
    }

    /// Writes the report about an update.
    pub(super) fn report(
        &self,
        now: Instant,
        about: &About,
        detail: bool,
        evidence: bool,
        out: &mut [u8],
    ) -> Option<usize> {
        let (asked, held) = (about.update, self.received.id());
        let mut bitmap = [0; WINDOW_BLOCKS_MAX as usize / 8];
        let mut report = Report::new(self.state());
        report.update = asked.or(held);
        report.distributor_next = self.channel.distributor_next();
        report.installed = self.config.device.installed.map_or(0, |installed| installed.sequence_number);
        report.counters = detail.then_some(self.counters());
        report.evidence = self.channel.evidence().filter(|_| evidence);
        match asked {
            Some(id) if !self.received.knows(now, id) && self.offers.describe(id, &mut report, now) => {
                report.remark = self.in_the_way_of(report.reason);
            }
            Some(id) if held != Some(id) => {
                report.state = State::Unknown;
                report.reason = self.obstacle_code();
            }
            _ => self.describe(&mut report, now),
        }
        let is_receiving = matches!(report.state, State::Pages | State::Blocks);
        // An answer is about generations or about a window.
        let mut lacks = [0; LACKS_BYTES_MAX];
        if let Some(window) = about.generations.filter(|_| is_receiving && !self.needs_window(about)) {
            let bytes = window.count as usize * lacks::bytes_each(window.parity);
            let lacks = self.vault.write_lacks(window, lacks.get_mut(..bytes)?);
            report.lacks = lacks.map(|lacks| (window.area, window.first, lacks));
            report.room = self.vault.room(window.area).filter(|_| report.lacks.is_some());
        }
        if let Some(window) = about.window.filter(|_| is_receiving && report.lacks.is_none()) {
            let len = (window.count as usize).div_ceil(8);
            let missing = bitmap.get_mut(..len)?;
            match about.generations {
                Some(_) => self.vault.write_needed(window, missing),
                None => self.vault.write_missing(window, missing),
            }
            report.window = Some((window, missing));
        }
        report.encode(out)
    }

    /// Whether a question about a window and generations is answered by the window: because parity does not
    /// help all generations, or because the question is which blocks of the image are needed in spite of it.
    fn needs_window(&self, about: &About) -> bool {
        about.window.is_some_and(|window| window.area == Area::Image || self.vault.needs_blocks(window.area))
    }

    /// Fills in the part of a report that is about the current update.
    fn describe(&self, report: &mut Report<'_>, now: Instant) {
        let Some(update) = self.received.update() else { return };
        report.attempt = update.attempt();
        report.remark = self.received.remark();
        report.digest = Some(update.offer().digest).filter(|_| report.state.decides());
        report.reason = match (self.received.phase(), update.outcome()) {
            (Phase::Ended, Outcome::RolledBack(reason) | Outcome::Failed(reason)) => reason,
            (Phase::Trial, _) if self.received.is_recovered() => RECOVERED,
            (Phase::Trial, _) if report.state == State::Deferred => NOT_NOW,
            (Phase::Trial, _) if report.state == State::Failed => Failure::Stuck as u8,
            (Phase::Ended, Outcome::Recovered) => RECOVERED,
            (Phase::Receiving, _) => self.obstacle_code(),
            _ => 0,
        };
        let waits = matches!(report.state, State::Ready | State::Trial);
        if let Some(until) = self.allowances.order_waits_until(now).filter(|_| waits) {
            (report.reason, report.busy_seconds) = (Reason::BUSY, seconds_until(now, Some(until)));
        }
        if self.received.is_receiving() {
            report.missing_pages = self.vault.missing(Area::Pages);
            report.missing_blocks = self.vault.missing(Area::Image);
            report.lacking = self.vault.lacking();
        }
    }

    /// Which update an offer that was refused as busy has to wait for.
    fn in_the_way_of(&self, reason: u8) -> Remark {
        let held = self.received.update().filter(|_| reason == Reason::BUSY);
        held.map_or(Remark::NONE, |held| {
            let (id, number) = (held.offer().id, held.offer().sequence_number);
            Remark::of(format_args!("it holds update {id} (manifest sequence number {number})"))
        })
    }

    /// Why fetching leads nowhere; 0 where it does not, or nothing is fetched.
    fn obstacle_code(&self) -> u8 {
        self.fetch.obstacle().map_or(0, |obstacle| obstacle as u8)
    }
}
