//! What a distribution tells of itself.

use group_oscore::{MemberId, ProtectError};

/// Facts about a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A new stage begins.
    Stage(Stage),
    /// An agent has reported something new: see [`Distribution::agents`](super::Distribution::agents).
    Report(MemberId),
    /// An agent stayed silent to the end.
    Lost(MemberId),
    /// An agent says what cannot be true of our numbers; it counts for nothing from now on.
    Quarantined(MemberId),
    /// The distribution has ended; nothing more comes.
    Finished(Ending),
}

/// What the distributor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Sends the offer.
    Offer,
    /// Sends so many pages of the hash tree.
    Pages(u32),
    /// Sends so many image blocks: round 0 is the first pass.
    Blocks {
        /// Which pass.
        round: u32,
        /// Blocks in it.
        blocks: u32,
    },
    /// Asks who misses what.
    Census,
    /// The last few blocks are fetched by unicast.
    Repair,
    /// The image is complete with everyone who answers; the silent are asked once more.
    Closing,
    /// Agents boot the new image on trial.
    Activation,
    /// Agents are told to drop the update.
    Cancellation,
    /// Agents on trial are told to go back to the image that they had.
    Undo,
}

/// How a distribution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything that could be done is done: each agent's status says how.
    Done,
    /// Nobody answered at all.
    NobodyAnswered,
    /// An agent has shown a request of ours with a number that we have not used: this machine's counter is an
    /// old one, and a nonce might be used twice. Nothing more is sent (protocol.md \[evidence\]).
    CounterBehind {
        /// Who showed it.
        agent: MemberId,
        /// The number after the one in it.
        expects: u64,
    },
    /// The image file cannot be read, or no longer is what was signed.
    ImageUnreadable,
    /// The counters are exhausted: the group needs new keys.
    NumbersExhausted,
    /// A message could not be protected: a fault of this program or of the buffer that it was given.
    /// Nothing more is sent.
    Unprotectable(ProtectError),
    /// Cancelled: [`Agent::fate`](super::Agent::fate) says what that did at each agent.
    Cancelled,
    /// Undone: [`Agent::fate`](super::Agent::fate) says what that did at each agent.
    Undone,
}

impl From<ProtectError> for Ending {
    fn from(error: ProtectError) -> Self {
        match error {
            ProtectError::ReservationExhausted | ProtectError::SequenceNumbersExhausted => {
                Self::NumbersExhausted
            }
            error => Self::Unprotectable(error),
        }
    }
}

/// What has been sent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tallies {
    /// Datagrams to the CoAP group.
    pub datagrams_multicast: u64,
    /// Datagrams to single agents.
    pub datagrams_unicast: u64,
    /// UDP payload bytes to the CoAP group.
    pub bytes_multicast: u64,
    /// UDP payload bytes to single agents.
    pub bytes_unicast: u64,
    /// Image blocks sent to the CoAP group, repetitions included.
    pub blocks_multicast: u64,
    /// Image blocks and pages sent in answer to requests.
    pub blocks_unicast: u64,
    /// Image blocks that were sent to the CoAP group while an agent missed them, added up over the agents
    /// that said afterwards what they still miss.
    pub blocks_awaited: u64,
    /// Those of them that the agent still missed: by [`Self::blocks_awaited`], the loss on the way to it.
    pub blocks_missed: u64,
}
