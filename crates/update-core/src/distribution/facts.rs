//! The events and tallies of a distribution.

use group_oscore::{MemberId, ProtectError};

/// Events of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A new stage begins.
    Stage(Stage),
    /// An agent has reported something new: see [`Distribution::agents`](super::Distribution::agents).
    Report(MemberId),
    /// An agent stayed silent to the end.
    Lost(MemberId),
    /// An agent claims something about our numbers that cannot be true. Its reports are ignored from now on.
    Quarantined(MemberId),
    /// An agent has used numbers again that it had used before: its state was wiped, put back or copied.
    Rewound(MemberId),
    /// The distribution has ended. No event follows.
    Finished(Ending),
}

/// What the distributor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Sends the offer.
    Offer,
    /// Sends this many pages of the hash tree.
    Pages(u32),
    /// Sends this many image blocks; round 0 is the first pass.
    Blocks {
        /// Which pass.
        round: u32,
        /// Blocks in it.
        blocks: u32,
    },
    /// Sends this many parity symbols.
    Parity(u32),
    /// Asks which agents miss what.
    Census,
    /// The last few blocks are being fetched by unicast.
    Repair,
    /// Every agent that answers has the image. The silent ones are asked once more.
    Closing,
    /// Agents boot the new image on trial.
    Activation,
    /// Agents are told to drop the update.
    Cancellation,
    /// Agents on trial are told to return to their previous image.
    Undo,
}

/// How a distribution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything possible is done. The status of each agent tells its result.
    Done,
    /// No agent answered at all.
    NobodyAnswered,
    /// An agent has shown a request of ours with a number that we have not used. This machine's counter is
    /// out of date, and a nonce might be used twice. Nothing more is sent (protocol.md \[evidence\]).
    CounterBehind {
        /// The agent that showed it.
        agent: MemberId,
        /// The number after the one in it.
        expects: u64,
    },
    /// The image file cannot be read, or is no longer what was signed.
    ImageUnreadable,
    /// The counters are exhausted: the group needs new keys.
    NumbersExhausted,
    /// A message could not be protected: this program, or the buffer that it was given, is at fault. Nothing
    /// more is sent.
    Unprotectable(ProtectError),
    /// Cancelled. [`Agent::fate`](super::Agent::fate) tells the result at each agent.
    Cancelled,
    /// Undone. [`Agent::fate`](super::Agent::fate) tells the result at each agent.
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
    /// Parity symbols sent to the CoAP group.
    pub symbols_multicast: u64,
    /// Image blocks and pages sent in answer to requests.
    pub blocks_unicast: u64,
    /// Image blocks sent to the CoAP group while an agent missed them, summed over the agents that later
    /// reported what they still missed.
    pub blocks_awaited: u64,
    /// How many of them the agents still missed. Divided by [`Self::blocks_awaited`], this is the loss on the
    /// way to them.
    pub blocks_missed: u64,
}
