//! The Echo values that agents are sent, and what they prove (protocol.md \[requests\], [rewind]).

use crate::time::Instant;

/// An Echo value that an agent was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Challenge {
    pub(super) value: [u8; 8],
    /// When it was first sent.
    pub(super) sent: Instant,
    /// The highest Partial IV accepted from the agent until then. The request that returns the value was made
    /// later, so an agent that counts upwards uses a higher one.
    pub(super) heard: Option<u64>,
}

/// What an agent proves when it returns its Echo value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The request is no replay.
    Fresh,
    /// It is none, but its number was used before.
    Rewound,
}
