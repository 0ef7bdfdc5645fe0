//! The Partial IVs that an agent has used, and whether it uses them again (protocol.md \[rewind\]).

/// What is known of one agent's numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UsedNumbers {
    /// That of the last report taken.
    reported_under: Option<u64>,
    /// The highest one accepted, in requests and reports ...
    heard: Option<u64>,
    /// ... and what this was when the distribution began.
    heard_before: Option<u64>,
    rewound: bool,
}

impl UsedNumbers {
    /// Whether a report under this number is newer than all reports taken so far (RFC 10021 section 5.3.1).
    /// If so, it is the last one now.
    pub(super) fn reports_under(&mut self, piv: u64) -> bool {
        let is_new = self.reported_under.max(self.heard_before).is_none_or(|last| piv > last);
        if is_new {
            self.reported_under = Some(piv);
            self.has_used(piv);
        }
        is_new
    }

    /// Whether a number that it has used in this distribution was used before.
    pub(super) fn was_used_before(&self, piv: u64) -> bool {
        self.heard_before.is_some_and(|heard| piv <= heard)
    }

    /// A message under this number has been accepted.
    pub(super) fn has_used(&mut self, piv: u64) {
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

    /// Whether it has used numbers again that it had used before.
    pub(super) const fn is_rewound(&self) -> bool {
        self.rewound
    }

    /// It has; `true` if that is new.
    pub(super) const fn rewound(&mut self) -> bool {
        !core::mem::replace(&mut self.rewound, true)
    }
}
