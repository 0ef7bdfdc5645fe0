//! The Partial IVs that an agent has used, and whether it uses them again (protocol.md \[rewind\]).

use core::net::SocketAddr;

/// The end of a protected message: most of it is the tag, so two messages of one agent under one number that
/// differ there are two texts under one nonce.
pub(super) type Mark = [u8; 8];

/// What is known of one agent's numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UsedNumbers {
    /// That of the last report taken, and the mark of its message.
    reported: Option<(u64, Option<Mark>)>,
    /// The highest one accepted, in requests and reports ...
    heard: Option<u64>,
    /// ... what this was when the distribution began ...
    heard_before: Option<u64>,
    /// ... and what it was when this question was sent, the newest one that was open when it last grew.
    heard_when_asked: (u64, Option<u64>),
    rewound: Option<Rewind>,
}

/// An agent has used numbers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewind {
    /// Where the message came from that showed it.
    pub from: SocketAddr,
}

impl UsedNumbers {
    /// Whether a report under this number is newer than all reports taken so far (RFC 10021 section 5.3.1).
    /// If so, it is the last one now. `question` is the newest one.
    pub(super) fn reports_under(&mut self, piv: u64, mark: Option<Mark>, question: u64) -> bool {
        let last = self.reported.map(|(last, _)| last);
        let is_new = last.max(self.heard_before).is_none_or(|last| piv > last);
        if is_new {
            self.reported = Some((piv, mark));
            self.has_used(piv, question);
        }
        is_new
    }

    /// Whether an answer shows that numbers are used again: two answers under one number, or one from before.
    /// With the `question`, if it answers the newest one, every number is from before that was accepted until
    /// the question was sent: the answer was made later, and an agent counts upwards.
    pub(super) fn is_used_again(&self, piv: u64, mark: Mark, question: Option<u64>) -> bool {
        let twice = |(last, with): (u64, Option<Mark>)| last == piv && with.is_some_and(|with| with != mark);
        let before = match (question, self.heard_when_asked) {
            (None, _) => self.heard_before,
            (Some(question), (asked, heard)) if asked == question => heard,
            (Some(_), _) => self.heard,
        };
        before.is_some_and(|heard| piv <= heard) || self.reported.is_some_and(twice)
    }

    /// Whether it is the last report taken once more.
    pub(super) fn is_last(&self, piv: u64, mark: Mark) -> bool {
        self.reported == Some((piv, Some(mark)))
    }

    /// Whether a number that it has used in this distribution was used before.
    pub(super) fn was_used_before(&self, piv: u64) -> bool {
        self.heard_before.is_some_and(|heard| piv <= heard)
    }

    /// A message under this number has been accepted. `question` is the newest one.
    pub(super) fn has_used(&mut self, piv: u64, question: u64) {
        if self.heard_when_asked.0 != question {
            self.heard_when_asked = (question, self.heard);
        }
        self.heard = self.heard.max(Some(piv));
    }

    /// The highest number accepted from it.
    pub(super) const fn heard(&self) -> Option<u64> {
        self.heard
    }

    /// What was remembered of that.
    pub(super) const fn remember(&mut self, heard: u64) {
        (self.heard, self.heard_before) = (Some(heard), Some(heard));
    }

    /// How it was found to use numbers again, if it was.
    pub(super) const fn rewind(&self) -> Option<Rewind> {
        self.rewound
    }

    /// It uses numbers again. `true` if that is new.
    pub(super) const fn note_rewind(&mut self, rewind: Rewind) -> bool {
        let is_new = self.rewound.is_none();
        if is_new {
            self.rewound = Some(rewind);
        }
        is_new
    }
}
