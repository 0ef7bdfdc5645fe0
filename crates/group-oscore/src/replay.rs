//! The replay window of a Recipient Context (RFC 8613 section 7.4, RFC 10021 sections 2.6.1 and 5.2).

use crate::{
    PartialIv,
    limits::{REPLAY_WINDOW, SEQUENCE_NUMBER_MAX},
};

const WORDS: usize = (REPLAY_WINDOW / 64) as usize;

/// Which Partial IVs of a sender have been accepted: a floor, the highest one, and a bit for each of the last
/// 1,024. Older ones are refused. Gaps do not matter: the sender uses one counter for everything that it
/// sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayWindow {
    floor: Option<Floor>,
    highest: Option<u64>,
    /// A ring: the bit of a number is at the number modulo the window size.
    seen: [u64; WORDS],
}

/// From where on the window can tell new from seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Floor {
    at: u64,
    /// Whether a number below it is unknown (after a reboot) or known to be old (after an Echo).
    below_is_unknown: bool,
}

/// What the window knows about a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    Seen,
    /// It may be new or seen.
    Unknown,
}

impl ReplayWindow {
    /// For new keys: valid, and every number from 0 on is acceptable.
    pub const fn fresh() -> Self {
        Self::with_floor(Some(Floor { at: 0, below_is_unknown: true }))
    }

    /// After a reboot, with the stored floor (see [`floor_due`](Self::floor_due)): numbers from `floor` on
    /// are acceptable. For numbers below it, the window cannot tell whether they were accepted before the
    /// reboot.
    pub const fn from_floor(floor: u64) -> Self {
        Self::with_floor(Some(Floor { at: floor, below_is_unknown: true }))
    }

    /// For a Recipient Context that was deleted and created again, or whose stored floor is lost: the window
    /// cannot tell anything (RFC 10021 section 2.6.1.2). [`accept_echo`](crate::GroupContext::accept_echo)
    /// makes it valid.
    pub const fn invalid() -> Self {
        Self::with_floor(None)
    }

    const fn with_floor(floor: Option<Floor>) -> Self {
        Self { floor, highest: None, seen: [0; WORDS] }
    }

    /// Whether the window can tell new numbers from seen ones.
    pub const fn is_valid(&self) -> bool {
        self.floor.is_some()
    }

    /// The lowest acceptable number; `None` while the window is invalid.
    pub fn floor(&self) -> Option<u64> {
        self.floor.map(|floor| floor.at)
    }

    /// The highest number accepted since the window was created.
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// The floor to store before a planned restart: one above the highest accepted number, or the floor
    /// itself if none was accepted. `None` while the window is invalid: it then stays invalid across a
    /// restart.
    pub fn next_floor(&self) -> Option<u64> {
        let floor = self.floor?.at;
        Some(self.highest.map_or(floor, |highest| floor.max(highest + 1)))
    }

    /// The floor to store. Until it is stored, do not act upon the message just accepted. It is due when the
    /// highest accepted number has reached `stored_floor`. It is then `ahead` above what is needed, so that
    /// it is due only every `ahead` numbers. After a crash up to `ahead` numbers of the sender are lost.
    pub fn floor_due(&self, stored_floor: u64, ahead: u64) -> Option<u64> {
        let needed = self.next_floor()?;
        (needed > stored_floor).then(|| needed.saturating_add(ahead).min(SEQUENCE_NUMBER_MAX + 1))
    }

    /// What is known about a number, before anything in its message has been verified.
    pub(crate) fn check(&self, piv: PartialIv) -> Verdict {
        let number = piv.value();
        let age = self.highest.and_then(|highest| highest.checked_sub(number));
        if age.is_some_and(|age| age < REPLAY_WINDOW && self.is_marked(number)) {
            return Verdict::Seen;
        }
        match self.floor {
            None => Verdict::Unknown,
            Some(floor) if number < floor.at && floor.below_is_unknown => Verdict::Unknown,
            Some(floor) if number < floor.at => Verdict::Seen,
            Some(_) if age.is_some_and(|age| age >= REPLAY_WINDOW) => Verdict::Seen,
            Some(_) => Verdict::New,
        }
    }

    /// Marks the number of a fully verified message, if it is new.
    #[must_use]
    pub(crate) fn accept(&mut self, piv: PartialIv) -> bool {
        let is_new = self.check(piv) == Verdict::New;
        if is_new {
            self.mark(piv.value());
        }
        is_new
    }

    /// Marks the number of a message that an Echo has proved new. If the window was not valid, the number
    /// becomes its lower limit (RFC 10021 section 9). The sender counts upwards, so everything above was sent
    /// after the challenge, and is new unless this window has seen it.
    #[must_use]
    pub(crate) fn accept_proven(&mut self, piv: PartialIv) -> bool {
        let number = piv.value();
        match self.check(piv) {
            Verdict::Seen => return false,
            Verdict::New => {}
            Verdict::Unknown => {
                self.floor = Some(Floor { at: number, below_is_unknown: false });
            }
        }
        self.mark(number);
        true
    }

    fn mark(&mut self, number: u64) {
        match self.highest {
            // Too old to be remembered, although an Echo may have proved it new.
            Some(highest) if number <= highest && highest - number >= REPLAY_WINDOW => return,
            Some(highest) if number <= highest => {}
            // Forget what leaves the window. Without a highest number there is nothing to forget.
            Some(highest) if number - highest >= REPLAY_WINDOW => self.seen = [0; WORDS],
            Some(highest) => (highest + 1..=number).for_each(|passed| self.set(passed, false)),
            None => {}
        }
        self.set(number, true);
        self.highest = self.highest.max(Some(number));
    }

    fn set(&mut self, number: u64, to: bool) {
        let (word, bit) = Self::place(number);
        if let Some(word) = self.seen.get_mut(word) {
            *word = if to { *word | bit } else { *word & !bit };
        }
    }

    fn is_marked(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        self.seen.get(word).is_some_and(|word| word & bit != 0)
    }

    const fn place(number: u64) -> (usize, u64) {
        let at = number % REPLAY_WINDOW;
        ((at / 64) as usize, 1 << (at % 64))
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
