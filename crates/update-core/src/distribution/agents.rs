//! What the distributor knows of each agent.

use crate::census::{Counters, Report, State};
use crate::limits::SILENT_ASKS_MAX;
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
    /// The Echo value that it was sent and has not returned.
    pub(super) echo: Option<[u8; 8]>,
    /// The floor stored for its requests; `None` while its window is invalid and nothing is stored.
    pub(super) floor: Option<u64>,
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
    pub(super) const fn new(id: MemberId, floor: Option<u64>) -> Self {
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

    /// Nothing more can be expected of this update: it has ended here, well or not.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.lost
            || matches!(
                self.state(),
                Some(State::Confirmed | State::RolledBack | State::Failed | State::Refused)
            )
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
