//! The latest report of an agent, as far as it is remembered.

use crate::census::{Counters, State};
use crate::remark::Remark;

/// The latest report of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What it is doing with the update.
    pub state: State,
    /// The reason for the state: see [`reason_text`](crate::reception::reason_text).
    pub reason: u8,
    /// How many pages of the hash tree it misses.
    pub missing_pages: u32,
    /// How many image blocks it misses.
    pub missing_blocks: u32,
    /// The last attempt that it acted upon.
    pub attempt: u32,
    /// How many more blocks or parity symbols it needs; `None` if it uses no parity.
    pub lacking: Option<u32>,
    /// Manifest sequence number of what it runs and has confirmed.
    pub installed: u64,
    /// With the reason busy: for how many seconds; 0 if unknown.
    pub busy_seconds: u32,
    /// Its counters, if they were asked for.
    pub counters: Option<Counters>,
    /// Its own words about the reason; empty for none.
    pub remark: Remark,
}
