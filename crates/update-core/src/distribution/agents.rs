//! What the distributor knows of each agent.

mod asked;
mod lacking;

use super::challenge::{Challenge, Proof};
use super::claims::Conduct;
use super::hearing::Hearing;
use super::patience::{Lag, Patience, Unit};
use super::status::Status;
use super::used_numbers::{Rewind, UsedNumbers};
use crate::census::{Report, State, Window};
use crate::limits::{
    ANNOUNCED_AGAIN_AFTER, ECHO_AGAIN_AFTER, ECHO_WITHIN, FAINT_WITHIN, FLOOR_AHEAD, FLOOR_DOUBLINGS_MAX,
    LAG_BLOCKS_IN_VAIN, SILENT_ASKS_MAX,
};
use crate::platform::Area;
use crate::time::{Duration, Instant};
use core::net::SocketAddr;
use group_oscore::MemberId;
use group_oscore::limits::SEQUENCE_NUMBER_MAX;

/// One agent, and what was last heard from it.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its Sender ID.
    pub id: MemberId,
    /// Where it last authenticated from (protocol.md \[sockets\]).
    pub address: Option<SocketAddr>,
    /// The latest report; `None` before the first.
    pub status: Option<Status>,
    /// It stayed silent to the end, so it counts as lost.
    pub lost: bool,
    /// Queries that it was meant to answer.
    asked: u32,
    /// Answers that came.
    answered: u32,
    /// When something authentic last came from it.
    heard_at: Option<Instant>,
    /// Consecutive asks that it did not answer; 1 also if it may have had no reason to answer.
    silent: u8,
    /// The last ask that it answered.
    heard_in: u32,
    /// The last ask that it was meant to answer.
    asked_in: u32,
    /// The Echo value that it was sent and has not returned.
    echo: Option<Challenge>,
    /// Which questions and orders reach it.
    pub(super) hearing: Hearing,
    /// The highest Partial IV of a request that was answered with Echo, and when that last happened.
    challenged: Option<(u64, Instant)>,
    /// Which numbers it has used.
    pub(super) numbers: UsedNumbers,
    /// From where its last answer came once more.
    also_from: Option<SocketAddr>,
    /// When its last announcement counted.
    announced_at: Option<Instant>,
    /// Authentic answers that could not be parsed.
    unreadable: u32,
    conduct: Conduct,
    /// The floor stored for its requests; `None` while its window is invalid and nothing is stored.
    floor: Option<u64>,
    /// How often its numbers have reached the floor.
    floors_due: u8,
    /// Image blocks that it missed when the round began; `None` before the first one.
    missed_before: Option<u32>,
    /// How many of a thousand image blocks it missed in the last round over blocks.
    loss: u32,
    /// Some of its generations cannot be repaired with parity.
    needs_blocks: bool,
    /// How many more pages or parity symbols it needs, as it last said in such terms.
    page_lacks: Option<u32>,
    /// How many symbols it can take now, as it said in its last answer by generation; or how many blocks it
    /// has named since.
    takes: u32,
    /// How long the others wait for it.
    patience: Patience,
    /// The distribution continues until this agent has what it should have.
    waited_for: bool,
    /// When it was first told to activate here, or was first seen on trial.
    trial_since: Option<Instant>,
    /// Its device has put the activation off.
    deferred: bool,
    /// If it rolled back at a lower attempt than this, it should try again (protocol.md \[attempt\]).
    attempt: u32,
}

impl Agent {
    pub(super) fn new(id: MemberId, floor: Option<u64>, attempt: u32, waited_for: bool) -> Self {
        Self {
            id,
            address: None,
            status: None,
            lost: false,
            asked: 0,
            answered: 0,
            heard_at: None,
            silent: 0,
            heard_in: 0,
            asked_in: 0,
            echo: None,
            hearing: Hearing::default(),
            challenged: None,
            numbers: UsedNumbers::default(),
            also_from: None,
            announced_at: None,
            unreadable: 0,
            conduct: Conduct::Good,
            floor,
            floors_due: 0,
            missed_before: None,
            loss: 0,
            needs_blocks: false,
            page_lacks: None,
            takes: 0,
            patience: Patience::default(),
            waited_for,
            trial_since: None,
            deferred: false,
            attempt,
        }
    }

    /// Its state, if known.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.status.map(|status| status.state)
    }

    /// The Echo value that proves a request fresh, while it is still valid.
    fn echo(&self, now: Instant) -> Option<[u8; 8]> {
        self.echo.filter(|echo| now.since(echo.sent) < ECHO_WITHIN).map(|echo| echo.value)
    }

    /// Whether the update has ended here, well or not: nothing more is expected.
    #[must_use]
    pub fn ended(&self) -> bool {
        let ended = match self.status {
            Some(Status { state: State::RolledBack, attempt, .. }) => attempt >= self.attempt,
            Some(status) => matches!(status.state, State::Confirmed | State::Failed | State::Refused),
            None => false,
        };
        self.lost || ended
    }

    /// Whether the agent has the image and waits for the order to activate it.
    pub(super) fn waits(&self) -> bool {
        !self.ended() && matches!(self.state(), Some(State::Ready | State::RolledBack))
    }

    /// How many image blocks it misses, if known.
    pub(super) fn misses(&self) -> Option<u32> {
        match self.status {
            Some(Status { state: State::Blocks | State::Pages, missing_blocks, .. }) => Some(missing_blocks),
            _ => self.has_all().then_some(0),
        }
    }

    /// Whether the agent has the whole image.
    pub(super) fn has_all(&self) -> bool {
        self.waits() || matches!(self.state(), Some(State::Scheduled | State::Deferred | State::Trial))
    }

    /// Whether it has no final state and has not answered since. The last asks are for these agents.
    pub(super) fn unsure(&self) -> bool {
        !self.ended() && self.laggard().is_none() && (self.silent > 0 || self.status.is_none())
    }

    /// Whether an ask waits for it. After repeated silence nobody waits for it until the end.
    pub(super) fn awaited(&self) -> bool {
        !self.ended() && self.laggard().is_none() && self.silent < SILENT_ASKS_MAX
    }

    /// It stays silent, and does not have the image.
    pub(super) fn is_absent(&self) -> bool {
        self.unsure() && !self.has_all()
    }

    /// It runs the image on trial, or is about to.
    pub(super) fn is_on_trial(&self) -> bool {
        matches!(self.state(), Some(State::Scheduled | State::Trial))
    }

    /// Whether its device has put the activation off in this run.
    pub(super) const fn was_deferred(&self) -> bool {
        self.deferred
    }

    /// Since when it is on trial, as far as that was told or seen here.
    pub(super) const fn on_trial_since(&self) -> Option<Instant> {
        self.trial_since
    }

    /// It is told to activate, or was seen on trial; whether that is the first time.
    pub(super) const fn begin_trial(&mut self, now: Instant) -> bool {
        let first = self.trial_since.is_none();
        if first {
            self.trial_since = Some(now);
        }
        first
    }

    pub(super) const fn waited_for(&self) -> bool {
        self.waited_for
    }

    pub(super) const fn floor(&self) -> Option<u64> {
        self.floor
    }

    /// The floor to store when this one is needed. The distance doubles each time the agent's own numbers
    /// have reached the floor, so that numbers that jump have it stored a few times, not with each message.
    pub(super) fn floor_above(&self, needed: u64) -> u64 {
        let doublings = self.floors_due.saturating_sub(1).min(FLOOR_DOUBLINGS_MAX);
        (needed + (FLOOR_AHEAD << doublings)).min(SEQUENCE_NUMBER_MAX + 1)
    }

    /// Its numbers have reached its floor.
    pub(super) const fn floor_was_due(&mut self) {
        self.floors_due = self.floors_due.saturating_add(1);
    }

    pub(super) const fn set_floor(&mut self, floor: Option<u64>) {
        self.floor = floor;
    }

    /// What is remembered of its conduct.
    #[must_use]
    pub const fn conduct(&self) -> Conduct {
        self.conduct
    }

    /// Whether everything that it says is ignored.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.conduct == Conduct::Quarantined
    }

    pub(super) fn set_conduct(&mut self, conduct: Conduct) {
        self.conduct = conduct;
        self.lost |= self.is_quarantined();
    }

    /// Authentic answers that could not be parsed.
    #[must_use]
    pub const fn unreadable(&self) -> u32 {
        self.unreadable
    }

    /// Counts an answer that could not be parsed.
    pub(super) const fn count_unreadable(&mut self) {
        self.unreadable = self.unreadable.saturating_add(1);
    }

    /// Set if its state was wiped, put back or copied: it has used numbers again that it had used before.
    /// Everything that it says is ignored from then on.
    #[must_use]
    pub const fn rewind(&self) -> Option<Rewind> {
        self.numbers.rewind()
    }

    /// It uses numbers again. `true` if that is new.
    pub(super) const fn note_rewind(&mut self, rewind: Rewind) -> bool {
        self.lost = true;
        self.numbers.note_rewind(rewind)
    }

    /// Another address from which one of its answers came, byte by byte the same: from a second device with
    /// the same state, or from somebody who repeats what it says.
    #[must_use]
    pub const fn also_from(&self) -> Option<SocketAddr> {
        self.also_from
    }

    /// Its last answer came once more, from there.
    pub(super) fn repeated_from(&mut self, from: SocketAddr) {
        if self.address.is_some_and(|address| address != from) {
            self.also_from = Some(from);
        }
    }

    /// Whether nothing that it says counts.
    pub(super) fn is_out(&self) -> bool {
        self.is_quarantined() || self.rewind().is_some()
    }

    /// Whether it has left several asks to the group unanswered, so that it is asked individually.
    pub(super) fn seems_deaf(&self) -> bool {
        self.hearing.is_poor() && self.address.is_some() && self.status.is_some() && !self.ended()
    }

    /// Whether it answers individual questions, but none to the group.
    #[must_use]
    pub const fn is_deaf(&self) -> bool {
        self.hearing.is_individual()
    }

    /// Notes that it authenticated from this address.
    pub(super) const fn heard_from(&mut self, address: SocketAddr) {
        self.address = Some(address);
    }

    /// Notes that something authentic came from it.
    pub(super) const fn shows_itself(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// Whether it misses something and leaves questions unanswered, but was heard a short time ago: its link
    /// is bad, or it has just gone.
    pub(super) fn is_faint(&self, now: Instant) -> bool {
        let is_near = self.heard_at.is_some_and(|at| now.since(at) < FAINT_WITHIN);
        // A laggard to which rounds bring something gets on, if slowly.
        let is_slow = self.laggard().is_some() && self.patience.brings_something();
        let is_silent = self.silent > 1 && self.laggard().is_none();
        let does_not_answer = is_silent || self.status.is_none() || is_slow;
        is_near && does_not_answer && self.waited_for && !self.ended() && !self.has_all()
    }

    /// Waits for it again, for an answer or a round more.
    pub(super) fn call_back(&mut self) {
        self.silent = self.silent.min(SILENT_ASKS_MAX - 1);
        self.patience.begin_anew();
    }

    /// Whether it may miss pages of the hash tree.
    pub(super) fn may_miss_pages(&self) -> bool {
        self.status.is_none_or(|status| status.missing_pages > 0) || self.is_without_update()
    }

    /// Whether it reads back or checks what it has.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.state(), Some(State::Recovering | State::Checking))
    }

    /// Whether it may not have taken up the update.
    pub(super) fn is_without_update(&self) -> bool {
        matches!(self.state(), None | Some(State::Unknown | State::Idle))
    }

    /// Counts it as lost.
    pub(super) const fn lose(&mut self) {
        self.lost = true;
    }

    /// Waits for it again, whatever was known before.
    pub(super) fn expect_again(&mut self) {
        (self.lost, self.silent) = (self.is_out(), 0);
    }

    /// Why nobody waits for it any more. `None` while the others wait for it, if it has the image, and if
    /// nothing that it says counts: then it is not served either.
    #[must_use]
    pub fn laggard(&self) -> Option<Lag> {
        let is_through = matches!(
            self.state(),
            Some(
                State::Ready
                    | State::Scheduled
                    | State::Deferred
                    | State::Trial
                    | State::Confirmed
                    | State::RolledBack
                    | State::Failed
            )
        );
        self.patience.lag().filter(|_| !is_through && !self.is_out())
    }

    /// What it misses of an area, if it says so.
    fn misses_of(&self, area: Area) -> Option<u32> {
        match (area, self.status) {
            (Area::Pages, Some(Status { state: State::Pages, missing_pages, .. })) => Some(missing_pages),
            (Area::Pages, Some(Status { state: State::Blocks, .. })) => Some(0),
            (Area::Pages, _) => self.has_all().then_some(0),
            (Area::Image, _) => self.misses(),
        }
    }

    /// Begins a round over blocks or pages, for an agent that has said what it misses. `is_whole`: it sends
    /// the whole image.
    pub(super) fn begin_round(&mut self, area: Area, is_whole: bool) {
        // Who uses parity has named only what that does not repair, or nothing at all.
        let named = match area {
            Area::Image if !is_whole && self.uses_parity() => {
                Some(if self.needs_blocks { self.takes } else { 0 })
            }
            _ => None,
        };
        // A round over some blocks says nothing about the loss. That of the round before may still be open.
        if area == Area::Image && named.is_none() {
            self.missed_before = self.misses();
        }
        let is_in_it = self.awaited() && self.has_answered_last() && named != Some(0);
        let misses = self.misses_of(area).filter(|_| is_in_it).unwrap_or(0);
        self.patience.begin_round_of(area, misses, named.unwrap_or(u32::MAX), Unit::Missing);
    }

    /// How many of a thousand blocks do not reach it.
    pub(super) const fn loss(&self) -> u32 {
        self.loss
    }

    /// Whether the round in progress was of use to it; `None` if it was not in it or has not answered.
    pub(super) fn gets_on(&self) -> Option<bool> {
        let judged = self.silent == 0 && self.awaited();
        self.patience
            .gets_on(|area, unit| match unit {
                Unit::Missing => self.misses_of(area),
                Unit::Lacking => self.lacks(area),
            })
            .filter(|_| judged)
    }

    /// Whether what it names now is in doubt: the round in progress brought it nothing.
    pub(super) fn gets_nowhere(&self, area: Area) -> bool {
        self.misses_of(area).is_some_and(|misses| self.patience.gets_nowhere(area, misses))
    }

    /// Whether it made no progress in the last round, and is still waited for.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.awaited() && self.patience.is_in_doubt()
    }

    /// Judges its progress once all expected answers are in. `unnamed`: it has answered, and nobody has named
    /// anything missing in this area.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        has_answered: bool,
        unnamed: Option<Area>,
        busy_max: Duration,
        others_got_on: bool,
    ) {
        if self.silent > 0 || !self.awaited() {
            return;
        }
        let Some(status) = self.status else { return };
        let (pages, blocks) = (self.misses_of(Area::Pages), self.misses_of(Area::Image));
        let (page_lacks, lacking) = (self.lacks(Area::Pages), self.lacks(Area::Image));
        let misses = |area, unit| match (area, unit) {
            (Area::Pages, Unit::Missing) => pages,
            (Area::Pages, Unit::Lacking) => page_lacks,
            (Area::Image, Unit::Missing) => blocks,
            (Area::Image, Unit::Lacking) => lacking,
        };
        self.patience.end_round(misses, others_got_on);
        let made = [(Area::Pages, status.missing_pages), (Area::Image, status.missing_blocks)];
        let made = made.into_iter().find(|(area, _)| has_answered && self.makes(*area));
        if let Some((area, misses)) = made {
            self.patience.makes(area, misses);
        }
        let misses_nothing = status.missing_pages == 0 && status.missing_blocks == 0;
        match unnamed {
            _ if made.is_some() => {}
            Some(Area::Pages) if status.missing_pages > 0 => self.patience.names_nothing(Area::Pages),
            Some(Area::Image) if status.missing_blocks > 0 => self.patience.names_nothing(Area::Image),
            // It is not done, yet misses nothing.
            _ if misses_nothing && matches!(status.state, State::Pages | State::Blocks) => {
                self.patience.names_nothing(Area::Image);
            }
            _ => {}
        }
        let is_busy = matches!(status.state, State::Recovering | State::Checking);
        self.patience.says(now, is_busy, busy_max);
    }

    /// Notes that it names this many blocks of a window, of as many as the area has.
    pub(super) const fn names_blocks(&mut self, window: &Window, named: u32, of: u32) {
        if matches!(window.area, Area::Image) {
            self.takes = if window.first == 0 { named } else { self.takes.saturating_add(named) };
        }
        self.names(window.area, named, of);
    }

    /// Notes that it names this many of the area's blocks, to be sent to the group.
    pub(super) const fn names(&mut self, area: Area, named: u32, of: u32) {
        self.patience.names(area, named, of);
    }

    /// Whether an announcement counts: not if the last one has only just come.
    pub(super) fn may_announce(&mut self, now: Instant) -> bool {
        let counts = self.announced_at.is_none_or(|at| now.since(at) >= ANNOUNCED_AGAIN_AFTER);
        if counts {
            self.announced_at = Some(now);
        }
        counts
    }

    /// Whether it has not taken up the update.
    pub(super) fn is_without_offer(&self) -> bool {
        self.awaited() && matches!(self.state(), Some(State::Unknown | State::Idle))
    }

    /// Notes that it is offered the update once more.
    pub(super) const fn offer_again(&mut self) {
        self.patience.offered();
    }

    /// Ends a round: returns how many of the blocks sent it missed before, and how many it misses now.
    pub(super) fn end_round(&mut self) -> Option<(u32, u32)> {
        if !self.awaited() || self.silent > 0 {
            return None;
        }
        self.measure_loss();
        Some((self.missed_before.take()?, self.misses()?))
    }

    /// How many of a thousand blocks of the round did not reach it, by its last report.
    pub(super) fn measure_loss(&mut self) {
        let Some((before, left)) = self.missed_before.zip(self.misses()) else { return };
        // A few blocks say too little.
        if before >= LAG_BLOCKS_IN_VAIN {
            self.loss = (u64::from(left.min(before)) * 1000 / u64::from(before)) as u32;
        }
    }

    /// The Echo value to send it: the pending one, or else a new one. `None` for a request that may be a
    /// replay, if one was challenged a moment ago. Only a number above all earlier ones is surely not a
    /// replay.
    pub(super) fn challenge(
        &mut self,
        now: Instant,
        piv: u64,
        new: impl FnOnce() -> [u8; 8],
    ) -> Option<[u8; 8]> {
        let (highest, at) = self.challenged.unzip();
        let is_higher = highest.is_none_or(|highest| piv > highest);
        if !is_higher && at.is_some_and(|at| now.since(at) < ECHO_AGAIN_AFTER) {
            return None;
        }
        self.challenged = Some((highest.unwrap_or(0).max(piv), now));
        if let Some(echo) = self.echo(now) {
            return Some(echo);
        }
        let value = new();
        self.echo = Some(Challenge { value, sent: now, heard: self.numbers.heard() });
        Some(value)
    }

    /// What it proves if a request under this Partial IV carries this Echo value; `None` if that is not the
    /// one that it was sent. The value is used up.
    pub(super) fn returns_echo(&mut self, now: Instant, value: &[u8], piv: u64) -> Option<Proof> {
        self.echo(now).filter(|sent| sent == value)?;
        let challenge = self.echo.take()?;
        let is_above = challenge.heard.is_none_or(|heard| piv > heard);
        Some(if is_above { Proof::Fresh } else { Proof::Rewound })
    }

    /// Takes its report: an answer to this ask, or an announcement (ask 0).
    pub(super) fn take(&mut self, ask: u32, report: &Report<'_>) {
        self.heard_in = self.heard_in.max(ask);
        let counters = report.counters.or(self.status.and_then(|status| status.counters));
        self.deferred |= report.state == State::Deferred;
        self.status = Some(Status {
            state: report.state,
            reason: report.reason,
            missing_pages: report.missing_pages,
            missing_blocks: report.missing_blocks,
            attempt: report.attempt,
            lacking: report.lacking,
            installed: report.installed,
            busy_seconds: report.busy_seconds,
            counters,
            remark: report.remark,
        });
        let has_got_over = match self.patience.lag() {
            Some(Lag::Offer) => matches!(report.state, State::Pages | State::Blocks),
            Some(Lag::Pages) => report.state == State::Blocks && report.missing_pages == 0,
            _ => false,
        };
        if has_got_over {
            self.patience.got_over();
        }
        // A laggard that was given up stays lost until it has the image.
        self.lost = self.lost && self.laggard().is_some();
        self.silent = 0;
    }
}
