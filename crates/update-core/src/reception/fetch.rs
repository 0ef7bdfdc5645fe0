//! Unicast repair: what the agent fetches on its own, one request at a time (protocol.md \[repair\]).

use super::datagrams::block_option;
use super::vault::Way;
use super::{Obstacle, Reception, channel};
use crate::census::Query;
use crate::digest::UpdateId;
use crate::limits::{
    FETCH_FIRST_WITHIN, FETCH_RETRY_FIRST, FETCH_RETRY_HEARD_MAX, FETCH_RETRY_MAX, FETCH_RETRY_MIN,
    FETCHES_IN_VAIN_MAX, FETCHES_UNANSWERED_MAX, OBSTACLE_AFTER, PAGES_FETCHED_MAX,
};
use crate::platform::Area;
use crate::resource::Resource;
use crate::time::{Duration, Instant};
use coap_wire::{Block, Code, Token, option};
use core::net::SocketAddr;
use group_oscore::SentRequest;

/// The state of the unicast repair.
#[derive(Debug)]
pub(super) struct Fetch {
    /// A census allows agents that miss at most this many to fetch.
    allowance: u32,
    /// An image block needed a page that is missing.
    page_wanted: bool,
    /// A census asked about an update whose offer this agent missed.
    offer_wanted: Option<UpdateId>,
    /// The pending request.
    request: Option<Request>,
    /// Send nothing before this moment: jitter, or the pause after a failure.
    not_before: Option<Instant>,
    /// How long the pending or next request waits for its answer.
    retry: Duration,
    /// How long it waits before anything is lost: four times as long as the last answer took.
    usual: Duration,
    /// Consecutive useless answers, and why the last one was useless.
    in_vain: u8,
    obstacle: Option<Obstacle>,
    /// The distributor has answered since it was last heard.
    answered: bool,
    /// Consecutive requests without an answer.
    unanswered: u8,
}

#[derive(Debug, Clone)]
struct Request {
    token: Token,
    binding: SentRequest,
    wanted: Wanted,
    sent: Instant,
    expires: Instant,
}

/// A block of one of the distributor's resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// With the SZX of its blocks, once one has arrived.
    Offer(UpdateId, u32, Option<u8>),
    Block(Area, u32),
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            allowance: 0,
            page_wanted: false,
            offer_wanted: None,
            request: None,
            not_before: None,
            retry: FETCH_RETRY_FIRST,
            usual: FETCH_RETRY_FIRST,
            in_vain: 0,
            obstacle: None,
            answered: false,
            unanswered: 0,
        }
    }
}

impl Fetch {
    /// A new update begins: nothing of the old one is wanted any more.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// What was sent under other keys gets no answer.
    pub(super) fn forget_request(&mut self) {
        self.request = None;
    }

    /// An image block needed a page that is missing.
    pub(super) const fn want_pages(&mut self) {
        self.page_wanted = true;
    }

    /// A census asked about an update whose offer this agent missed.
    pub(super) const fn want_offer(&mut self, id: UpdateId) {
        self.offer_wanted = Some(id);
    }

    /// The wanted offer has arrived or is unobtainable.
    pub(super) const fn offer_settled(&mut self) {
        self.offer_wanted = None;
    }

    /// The distributor was heard: its earlier answers say nothing about the next silence.
    pub(super) const fn distributor_heard(&mut self) {
        (self.answered, self.unanswered) = (false, 0);
    }

    /// The distributor has answered, so it is there even if nothing else is heard.
    pub(super) const fn distributor_answered(&mut self) {
        (self.answered, self.unanswered) = (true, 0);
    }

    /// A request got no answer: waits longer each time, but only a little longer while the distributor is
    /// heard, since then the datagram was lost on the way. After a few in a row the distributor may be gone.
    fn had_no_answer(&mut self, is_heard: bool) {
        self.request = None;
        let max = if is_heard { self.usual.max(FETCH_RETRY_HEARD_MAX) } else { FETCH_RETRY_MAX };
        self.retry = (self.retry * 2).min(max);
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered >= FETCHES_UNANSWERED_MAX {
            self.answered = false;
        }
    }

    /// A question of the distributor has arrived: what was lost before says nothing about what comes now.
    fn begin_anew(&mut self, now: Instant) {
        self.retry = self.usual;
        if let Some(request) = &mut self.request {
            request.expires = request.expires.min(now + self.usual);
        }
    }

    /// Whether nothing may be fetched because the distributor may be gone.
    pub(super) const fn is_cut_off(&self, quiet: bool) -> bool {
        quiet && !self.answered
    }

    /// What was fetched is now stored.
    pub(super) const fn was_of_use(&mut self) {
        (self.in_vain, self.obstacle) = (0, None);
    }

    /// An answer was useless: the next request waits, longer each time. `true` if this happens repeatedly.
    pub(super) fn was_in_vain(&mut self, now: Instant, obstacle: Obstacle) -> bool {
        self.not_before = Some(now + FETCH_RETRY_FIRST * (1 << self.in_vain.min(6)));
        self.in_vain = self.in_vain.saturating_add(1);
        self.obstacle = Some(obstacle);
        self.in_vain.is_multiple_of(FETCHES_IN_VAIN_MAX)
    }

    /// The distributor wants proof that the request is fresh. The first time, the proof follows at once.
    fn was_challenged(&mut self, now: Instant) {
        let is_first = self.in_vain == 0;
        self.was_in_vain(now, Obstacle::Challenged);
        if is_first {
            self.not_before = Some(now);
        }
    }

    /// Why fetching makes no progress, if it has made none for a while.
    pub(super) fn obstacle(&self) -> Option<Obstacle> {
        self.obstacle.filter(|_| self.in_vain >= OBSTACLE_AFTER)
    }
}

impl Reception<'_> {
    /// Notes how much a census allows to fetch now.
    pub(super) fn grant(&mut self, now: Instant, query: &Query<'_>) {
        if query.update.is_none() || query.update == self.received.id() {
            self.fetch.allowance = query.unicast_max;
            self.fetch.begin_anew(now);
            if query.unicast_max > 0 && self.fetch.request.is_none() {
                let spread = Duration::from_millis(u64::from(query.leisure_ms)).min(FETCH_FIRST_WITHIN);
                self.fetch.not_before = Some(now + self.random.up_to(spread));
            }
        }
    }

    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        self.received.is_quiet(now, self.config.quiet)
    }

    /// Whether there is anything to fetch.
    pub(super) fn wants(&self, now: Instant) -> bool {
        self.wanted(now).is_some()
    }

    /// What to fetch next, if anything may be fetched while the distributor is there.
    fn wanted(&self, now: Instant) -> Option<Wanted> {
        if let Some(id) = self.fetch.offer_wanted {
            let (number, size_exponent) = self.offers.next_missing(id);
            return Some(Wanted::Offer(id, number, size_exponent));
        }
        if !self.received.is_receiving() || self.vault.has_changes() || self.vault.is_making() {
            return None;
        }
        let (pages, blocks) = (self.vault.missing(Area::Pages), self.vault.missing(Area::Image));
        let quiet = self.is_quiet(now);
        // With parity symbols at hand fewer blocks are enough.
        let lacking = self.vault.lacking().unwrap_or(blocks);
        let granted = pages + lacking <= self.fetch.allowance;
        let few_pages = pages <= PAGES_FETCHED_MAX && self.fetch.page_wanted;
        if pages > 0 && (quiet || granted || few_pages) {
            return self.vault.next_missing(Area::Pages, 0).map(|page| Wanted::Block(Area::Pages, page));
        }
        if blocks > 0 && (quiet || granted) {
            return self.vault.next_missing(Area::Image, 0).map(|block| Wanted::Block(Area::Image, block));
        }
        None
    }

    /// The request to send now.
    pub(super) fn next_fetch(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
        if let Some(request) = &self.fetch.request {
            if now < request.expires {
                return None;
            }
            // A retry is a new request (protocol.md \[requests\]).
            self.fetch.had_no_answer(!self.is_quiet(now));
        }
        if self.fetch.is_cut_off(self.is_quiet(now)) {
            return None;
        }
        let wanted = self.wanted(now)?;
        if let Some(free) = self.channel.request_free_at().filter(|free| now < *free) {
            self.fetch.not_before = Some(free);
        }
        match self.fetch.not_before {
            Some(moment) if now < moment => return None,
            Some(_) => {}
            None => {
                self.fetch.not_before = Some(now + self.random.up_to(FETCH_FIRST_WITHIN));
                return None;
            }
        }
        let (resource, number) = match wanted {
            Wanted::Offer(id, number, _) => (Resource::Manifest(id), number),
            Wanted::Block(area, number) => {
                let id = self.received.id()?;
                (Resource::of_area(area, id), number)
            }
        };
        let size_exponent = match wanted {
            Wanted::Offer(.., Some(size_exponent)) => size_exponent,
            // The offer's block size is not known yet. The distributor answers in its own.
            Wanted::Offer(..) => Block::exponent_of(crate::limits::BLOCK_BYTES_MAX as usize)?,
            Wanted::Block(..) => self.received.update()?.shape().layout().block_size.exponent(),
        };
        let block = Block { number, more: false, size_exponent };
        let request = channel::Request { code: Code::GET, resource, block: Some(block), payload: &[] };
        let sent = self.channel.request(now, &mut self.random, &request, buffer);
        let (len, token, binding) = self.sent(sent)?;
        let expires = now + self.fetch.retry + self.random.up_to(self.fetch.retry / 4);
        self.fetch.request = Some(Request { token, binding, wanted, sent: now, expires });
        Some(len)
    }

    /// Takes a datagram that may answer the pending request; `false` if its Token belongs to another request.
    pub(super) fn on_fetched(
        &mut self,
        now: Instant,
        from: SocketAddr,
        token: Token,
        bytes: &mut [u8],
    ) -> bool {
        let request = self.fetch.request.take_if(|request| request.token == token);
        request.map(|request| self.on_block_response(now, from, request, bytes)).is_some()
    }

    fn on_block_response(&mut self, now: Instant, from: SocketAddr, request: Request, bytes: &mut [u8]) {
        let Some(response) = self.channel.open_response(from, bytes, &request.binding) else {
            // It is not from the distributor, so the request stays pending.
            self.fetch.request = Some(request);
            return;
        };
        self.fetch.distributor_answered();
        let body = response.body();
        if let Some(echo) = body.option(option::ECHO) {
            self.channel.echo_next(echo);
            return self.fetch.was_challenged(now);
        }
        if body.code() == Code::FORBIDDEN {
            return self.is_rewound();
        }
        if body.code() != Code::CONTENT {
            if let Wanted::Offer(..) = request.wanted {
                self.fetch.offer_settled();
            }
            self.fetch.was_in_vain(now, Obstacle::Refused);
            return;
        }
        // The next answer gets a few times the time that this one took, which includes the distributor's
        // queue.
        self.fetch.usual = (now.since(request.sent) * 4).clamp(FETCH_RETRY_MIN, FETCH_RETRY_MAX);
        self.fetch.retry = self.fetch.usual;
        let block = block_option(&body, option::BLOCK2);
        if !self.take_fetched(now, request.wanted, block, body.payload()) {
            self.fetch.was_in_vain(now, Obstacle::Unfitting);
        }
    }

    /// Passes on what was fetched; `false` when it is not what was asked for, or useless.
    fn take_fetched(&mut self, now: Instant, wanted: Wanted, block: Option<Block>, payload: &[u8]) -> bool {
        let (Wanted::Offer(_, number, _) | Wanted::Block(_, number)) = wanted;
        let Some(block) = block.filter(|block| block.number == number) else {
            self.counted.unfitting_block();
            return false;
        };
        match wanted {
            Wanted::Offer(id, ..) => {
                let taken = self.take_offer(now, id, block, payload);
                if taken {
                    self.fetch.was_of_use();
                } else {
                    self.counted.unfitting_block();
                }
                taken
            }
            Wanted::Block(area, _) => {
                let taken = self.take_block(area, block, payload, Way::Unicast);
                if self.vault.missing(Area::Pages) == 0 {
                    self.fetch.page_wanted = false;
                }
                taken
            }
        }
    }

    /// When the unicast repair needs to be polled again.
    pub(super) fn fetch_deadline(&self, now: Instant) -> Option<Instant> {
        if let Some(request) = &self.fetch.request {
            return Some(request.expires);
        }
        if self.fetch.is_cut_off(self.is_quiet(now)) {
            // The probe has its own deadline.
            return None;
        }
        if self.wanted(now).is_some() {
            return Some(self.fetch.not_before.unwrap_or(now));
        }
        let unfinished = self.received.is_receiving();
        unfinished.then(|| self.received.quiet_at(self.config.quiet)).filter(|moment| *moment > now)
    }
}
