//! What must be made durable, and in which order.

/// A change of a record or an area, in the order in which changes are carried out. That order survives a
/// power cut between any two of them: what is installed comes before the outcome that depends on it, and the
/// update before its areas and before an order that came with its attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::reception) enum Change {
    Installed,
    Update,
    RollBack,
    Prepare,
    Settle,
}

impl Change {
    const ORDER: [Self; 5] = [Self::Installed, Self::Update, Self::RollBack, Self::Prepare, Self::Settle];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The changes that are due.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Changes(u8);

impl Changes {
    pub(super) const fn insert(&mut self, change: Change) {
        self.0 |= change.bit();
    }

    pub(super) const fn remove(&mut self, change: Change) {
        self.0 &= !change.bit();
    }

    pub(super) const fn contains(self, change: Change) -> bool {
        self.0 & change.bit() != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Takes the first due change in the order.
    pub(super) fn take_first(&mut self) -> Option<Change> {
        let first = Change::ORDER.into_iter().find(|change| self.contains(*change))?;
        self.remove(first);
        Some(first)
    }
}
