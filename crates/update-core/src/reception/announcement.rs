//! Announcements: reports that an agent sends without being asked (protocol.md \[bound\], [probe]).

use super::answers::About;
use super::{Reception, channel};
use crate::limits::{ANNOUNCE_AGAIN, ANNOUNCE_TRIES_MAX, PROBE_AGAIN_MAX, REPORT_BYTES_MAX};
use crate::resource::Resource;
use crate::time::{Duration, Instant};
use coap_wire::{Code, Token, option};
use core::net::SocketAddr;
use group_oscore::SentRequest;

/// A report to the distributor, repeated until it is answered.
#[derive(Debug)]
pub(super) struct Announcement {
    occasion: Occasion,
    due: Instant,
    tries: u8,
    /// The distributor has asked for evidence of the numbers that this agent has seen.
    evidence_wanted: bool,
    request: Option<(Token, SentRequest)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// The agent has booted. After a few tries it waits to be asked.
    Boot,
    /// The agent misses something and hears nothing: is the distributor there? It keeps asking, less and less
    /// often.
    Silence,
}

impl Announcement {
    /// The announcement of a boot.
    pub(super) const fn of_boot(due: Instant) -> Self {
        Self { occasion: Occasion::Boot, due, tries: 0, evidence_wanted: false, request: None }
    }

    /// A probe, because nothing is heard.
    pub(super) const fn probe(due: Instant) -> Self {
        Self { occasion: Occasion::Silence, ..Self::of_boot(due) }
    }

    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Whether it is a probe.
    pub(super) fn is_probe(&self) -> bool {
        self.occasion == Occasion::Silence
    }

    /// Whether it is a probe that was repeated and not answered.
    pub(super) fn is_probe_in_vain(&self) -> bool {
        self.is_probe() && self.tries >= 3
    }

    /// What was sent under other keys gets no answer.
    pub(super) fn forget_request(&mut self) {
        self.request = None;
    }

    /// Begins the next try; `false` when there is none.
    fn try_again(&mut self, now: Instant, jitter: impl FnOnce(Duration) -> Duration) -> bool {
        self.tries = self.tries.saturating_add(1);
        let pause = (ANNOUNCE_AGAIN * (1 << self.tries.min(8))).min(PROBE_AGAIN_MAX);
        self.due = now + pause + jitter(pause / 4);
        self.is_probe() || self.tries <= ANNOUNCE_TRIES_MAX
    }
}

impl Reception<'_> {
    /// The announcement to send now.
    pub(super) fn next_announcement(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
        let announcement = self.announcement.as_mut().filter(|announcement| announcement.due <= now)?;
        if !announcement.try_again(now, |spread| self.random.up_to(spread)) {
            self.announcement = None;
            return None;
        }
        let shows = announcement.evidence_wanted;
        let mut payload = [0; REPORT_BYTES_MAX];
        let len = self.report(now, &About::default(), false, shows, &mut payload)?;
        let payload = payload.get(..len)?;
        let request = channel::Request { code: Code::POST, resource: Resource::Boot, block: None, payload };
        let sent = self.channel.request(now, &mut self.random, &request, buffer);
        let (len, token, binding) = self.sent(sent)?;
        self.announcement.as_mut()?.request = Some((token, binding));
        Some(len)
    }

    /// Takes a datagram that may answer the announcement; `false` if its Token belongs to another request.
    pub(super) fn on_announced(
        &mut self,
        now: Instant,
        from: SocketAddr,
        token: Token,
        bytes: &mut [u8],
    ) -> bool {
        let sent = self.announcement.as_ref().and_then(|announcement| announcement.request.as_ref());
        let is_answer = sent.is_some_and(|(sent, _)| *sent == token);
        if is_answer {
            self.on_announcement_answered(now, from, bytes);
        }
        is_answer
    }

    fn on_announcement_answered(&mut self, now: Instant, from: SocketAddr, bytes: &mut [u8]) {
        let Some(announcement) = &mut self.announcement else { return };
        let Some((_, binding)) = &announcement.request else { return };
        let Some(response) = self.channel.open_response(from, bytes, binding) else { return };
        let body = response.body();
        if let Some(echo) = body.option(option::ECHO) {
            self.channel.echo_next(echo);
            announcement.due = now;
            return;
        }
        if body.code() == Code::FORBIDDEN {
            self.announcement = None;
            return self.is_rewound();
        }
        // Only once: an agent without evidence has already said all that it can.
        let is_asked = body.code() == Code::CONFLICT && !announcement.evidence_wanted;
        if is_asked && self.channel.evidence().is_some() {
            announcement.evidence_wanted = true;
            announcement.due = now;
            return;
        }
        self.announcement = None;
        self.fetch.distributor_answered();
    }

    /// Something is missing and nothing is heard: asks whether the distributor is there, before any fetch.
    pub(super) fn probe_silence(&mut self, now: Instant) {
        if self.announcement.is_none() && self.fetch.is_cut_off(self.is_quiet(now)) && self.wants(now) {
            let due = now + self.random.up_to(self.config.announce_spread);
            self.announcement = Some(Announcement::probe(due));
        }
    }
}
