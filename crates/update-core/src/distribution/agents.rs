//! What the distributor knows of each agent.

use crate::census::{Counters, Report, State};
use crate::limits::{ECHO_WITHIN, SILENT_ASKS_MAX};
use crate::time::Instant;
use alloc::vec::Vec;
use core::net::SocketAddr;
use group_oscore::{MemberId, RecipientContext, Recipients};

/// The Recipient Contexts of a group's agents, found by Sender ID.
pub struct Members(Vec<RecipientContext>);

impl Members {
    /// Puts them in order. Two with the same Sender ID cannot be told apart: the first one counts.
    #[must_use]
    pub fn new(mut contexts: Vec<RecipientContext>) -> Self {
        contexts.sort_by_key(RecipientContext::id);
        contexts.dedup_by_key(|context| context.id());
        Self(contexts)
    }

    pub(super) fn as_slice(&self) -> &[RecipientContext] {
        &self.0
    }

    pub(super) fn index(&self, id: MemberId) -> Option<usize> {
        self.0.binary_search_by_key(&id, RecipientContext::id).ok()
    }
}

impl Recipients for Members {
    fn get_mut(&mut self, id: MemberId) -> Option<&mut RecipientContext> {
        let index = self.index(id)?;
        self.0.get_mut(index)
    }
}

/// One agent, as far as it has let itself be heard.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its Sender ID.
    pub id: MemberId,
    /// Where it last authenticated from (DESIGN \[sockets\]).
    pub address: Option<SocketAddr>,
    /// The latest report; `None` before the first.
    pub status: Option<Status>,
    /// It stayed silent to the end and counts as lost.
    pub lost: bool,
    /// Queries that it was meant to answer.
    pub(super) asked: u32,
    /// Answers that came.
    pub(super) answered: u32,
    /// Asks in a row that it did not answer.
    pub(super) silent: u8,
    /// The ask that it answered last.
    pub(super) heard_in: u32,
    /// The Echo value that it was sent and has not returned, and when that was first.
    pub(super) echo: Option<([u8; 8], Instant)>,
    /// The floor stored for its requests; `None` while its window is invalid and nothing is stored.
    pub(super) floor: Option<u64>,
    /// Image blocks that it missed when the round began; `None` before the first one.
    pub(super) missed_before: Option<u32>,
    /// The distribution goes on until it has what it is to have.
    pub(super) waited_for: bool,
    /// Rolled back at a lower attempt than this one, it is to try again (DESIGN \[attempt\]).
    attempt: u32,
}

/// The latest report of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What it is doing with the update.
    pub state: State,
    /// Why: see [`reason_text`](crate::reception::reason_text).
    pub reason: u8,
    /// Pages of the hash tree that it misses.
    pub missing_pages: u32,
    /// Image blocks that it misses.
    pub missing_blocks: u32,
    /// The last attempt that it acted upon.
    pub attempt: u32,
    /// Manifest sequence number of what it runs and has confirmed.
    pub installed: u64,
    /// Its counters, where they were asked for.
    pub counters: Option<Counters>,
}

impl Agent {
    pub(super) const fn new(id: MemberId, floor: Option<u64>, attempt: u32, waited_for: bool) -> Self {
        Self {
            id,
            address: None,
            status: None,
            lost: false,
            asked: 0,
            answered: 0,
            silent: 0,
            heard_in: 0,
            echo: None,
            floor,
            missed_before: None,
            waited_for,
            attempt,
        }
    }

    /// Queries that it was meant to answer: with [`Self::answered`], a measure of the loss there and back.
    #[must_use]
    pub const fn asked(&self) -> u32 {
        self.asked
    }

    /// Answers that came.
    #[must_use]
    pub const fn answered(&self) -> u32 {
        self.answered
    }

    /// What it is doing, where that is known.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.status.map(|status| status.state)
    }

    /// The Echo value that proves a request to be new, while it may still come.
    pub(super) fn echo(&self, now: Instant) -> Option<[u8; 8]> {
        self.echo.filter(|(_, sent)| now.since(*sent) < ECHO_WITHIN).map(|(value, _)| value)
    }

    /// Nothing more can be expected of this update: it has ended here, well or not.
    #[must_use]
    pub fn ended(&self) -> bool {
        let ended = match self.status {
            Some(Status { state: State::RolledBack, attempt, .. }) => attempt >= self.attempt,
            Some(status) => matches!(status.state, State::Confirmed | State::Failed | State::Refused),
            None => false,
        };
        self.lost || ended
    }

    /// The image is there, and the agent waits to be told to activate it.
    pub(super) fn waits(&self) -> bool {
        !self.ended() && matches!(self.state(), Some(State::Ready | State::RolledBack))
    }

    /// Image blocks that it misses, where that is known.
    pub(super) fn misses(&self) -> Option<u32> {
        match self.status {
            Some(Status { state: State::Blocks | State::Pages, missing_blocks, .. }) => Some(missing_blocks),
            _ => self.has_all().then_some(0),
        }
    }

    /// The image is there.
    pub(super) fn has_all(&self) -> bool {
        self.waits() || matches!(self.state(), Some(State::Scheduled | State::Trial))
    }

    /// Nothing final is known of it, and it has not answered since: the last asks are for these.
    pub(super) fn unsure(&self) -> bool {
        !self.ended() && (self.silent > 0 || self.status.is_none())
    }

    /// Whether an ask waits for it: one that stays silent again and again is not waited for until the end.
    pub(super) fn awaited(&self) -> bool {
        !self.ended() && self.silent < SILENT_ASKS_MAX
    }

    pub(super) fn take(&mut self, report: &Report<'_>) {
        let counters = report.counters.or(self.status.and_then(|status| status.counters));
        self.status = Some(Status {
            state: report.state,
            reason: report.reason,
            missing_pages: report.missing_pages,
            missing_blocks: report.missing_blocks,
            attempt: report.attempt,
            installed: report.installed,
            counters,
        });
        self.lost = false;
        self.silent = 0;
    }
}
