//! What the distributor may make a device do that wears it out or interrupts it: erase the slot, restart into
//! an image, roll back (protocol.md \[wear\]). Each of these draws on a bucket that fills slowly, so that a
//! compromised distributor can neither wear out a flash nor keep a device restarting.

use crate::limits::{ALLOWANCE_AGAIN, ALLOWANCE_MAX};
use crate::record::Allowance;
use crate::time::Instant;

/// The actions that draw on a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Costly {
    /// A new offer is accepted, and the slot erased for it.
    Erase,
    /// The image is activated.
    Activate,
    /// The image on trial is taken back.
    Undo,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u8,
    /// When the bucket was last filled, for accounting.
    filled_at: Instant,
}

impl Bucket {
    /// Adds what has flowed in since.
    fn fill(&mut self, now: Instant) {
        while self.left < ALLOWANCE_MAX && self.filled_at + ALLOWANCE_AGAIN <= now {
            self.left += 1;
            self.filled_at = self.filled_at + ALLOWANCE_AGAIN;
        }
        if self.left == ALLOWANCE_MAX {
            self.filled_at = now;
        }
    }
}

/// The three buckets.
#[derive(Debug)]
pub(super) struct Allowances {
    erase: Bucket,
    activate: Bucket,
    undo: Bucket,
    /// When the last refused order would be carried out.
    order_waits_until: Option<Instant>,
}

impl Allowances {
    pub(super) const fn full(now: Instant) -> Self {
        let bucket = Bucket { left: ALLOWANCE_MAX, filled_at: now };
        Self { erase: bucket, activate: bucket, undo: bucket, order_waits_until: None }
    }

    /// Restores what was stored. A start that no order led to leaves at least one of each.
    pub(super) fn restore(&mut self, stored: Allowance, was_ordered: bool) {
        let least = u8::from(!was_ordered);
        let left = |stored: u8| stored.clamp(least, ALLOWANCE_MAX);
        self.erase.left = left(stored.erases);
        self.activate.left = left(stored.activations);
        self.undo.left = left(stored.undos);
    }

    /// What to store.
    pub(super) const fn left(&self) -> Allowance {
        Allowance { erases: self.erase.left, activations: self.activate.left, undos: self.undo.left }
    }

    /// Takes one.
    ///
    /// # Errors
    /// When one will be available again.
    pub(super) fn take(&mut self, now: Instant, what: Costly) -> Result<(), Instant> {
        let bucket = match what {
            Costly::Erase => &mut self.erase,
            Costly::Activate => &mut self.activate,
            Costly::Undo => &mut self.undo,
        };
        bucket.fill(now);
        bucket.left = bucket.left.checked_sub(1).ok_or(bucket.filled_at + ALLOWANCE_AGAIN)?;
        Ok(())
    }

    /// Takes one for an order; `false` if the order must wait.
    pub(super) fn take_for_order(&mut self, now: Instant, what: Costly) -> bool {
        self.order_waits_until = self.take(now, what).err();
        self.order_waits_until.is_none()
    }

    /// When a refused order would be carried out, if that is not now.
    pub(super) fn order_waits_until(&self, now: Instant) -> Option<Instant> {
        self.order_waits_until.filter(|until| *until > now)
    }
}
