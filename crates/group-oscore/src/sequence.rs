//! Sender Sequence Numbers and their reservation (RFC 8613 section 7.2.1 and appendix B.1.1).

use crate::{ForeignReservation, PartialIv, ProtectError, limits::SEQUENCE_NUMBER_MAX, mark::Mark};

/// Sender Sequence Numbers that may be used: `next..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceNumbers {
    next: u64,
    end: u64,
}

/// A request to use the numbers below [`end`](Self::end). Store that end durably, then pass the reservation
/// to `reserve` of the context that made it. After a restart the first number used is the stored end.
///
/// Only a context makes reservations, and a reservation cannot be copied: it takes effect at most once.
#[must_use = "store its end, then hand it to `reserve`"]
#[derive(Debug, PartialEq, Eq)]
pub struct Reservation {
    end: u64,
    /// The mark of the Sender Context's key.
    owner: Mark,
}

impl Reservation {
    /// The first number that is not reserved: the value to store.
    pub const fn end(&self) -> u64 {
        self.end
    }
}

impl SequenceNumbers {
    /// Numbers `next..end` may be used. After a restart `next` is the stored end.
    pub fn new(next: u64, end: u64) -> Self {
        let limit = SEQUENCE_NUMBER_MAX + 1;
        Self { next: next.min(limit), end: end.min(limit) }
    }

    pub(crate) fn take(&mut self) -> Result<PartialIv, ProtectError> {
        let piv = PartialIv::new(self.next).ok_or(ProtectError::SequenceNumbersExhausted)?;
        if self.next >= self.end {
            return Err(ProtectError::ReservationExhausted);
        }
        self.next += 1;
        Ok(piv)
    }

    pub(crate) fn reservation_due(
        &self,
        low_water: u64,
        step: u64,
        owner: impl FnOnce() -> Mark,
    ) -> Option<Reservation> {
        let limit = SEQUENCE_NUMBER_MAX + 1;
        let end = self.end.max(self.next).saturating_add(step).min(limit);
        (self.remaining() <= low_water && end > self.end).then(|| Reservation { end, owner: owner() })
    }

    pub(crate) fn reserve(
        &mut self,
        reservation: Reservation,
        owner: Mark,
    ) -> Result<(), ForeignReservation> {
        if reservation.owner != owner {
            return Err(ForeignReservation);
        }
        self.end = self.end.max(reservation.end).min(SEQUENCE_NUMBER_MAX + 1);
        Ok(())
    }

    pub(crate) fn skip(&mut self, count: u64) {
        self.next = self.next.saturating_add(count).min(SEQUENCE_NUMBER_MAX + 1);
    }

    /// The number that is used next.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// How many of the reserved numbers are left.
    pub const fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Mark {
        Mark::of(&[b"own"])
    }

    #[test]
    fn numbers_end_where_the_reservation_ends() {
        let mut numbers = SequenceNumbers::new(5, 7);
        assert_eq!(numbers.take().unwrap().value(), 5);
        assert_eq!(numbers.reservation_due(0, 10, owner), None);
        assert_eq!(numbers.take().unwrap().value(), 6);
        assert_eq!(numbers.take(), Err(ProtectError::ReservationExhausted));
        let due = numbers.reservation_due(0, 10, owner).unwrap();
        assert_eq!(due.end(), 17);
        numbers.reserve(due, owner()).unwrap();
        assert_eq!(numbers.take().unwrap().value(), 7);
        assert_eq!(numbers.remaining(), 9);
    }

    #[test]
    fn skipping_beyond_the_reservation_needs_a_new_one() {
        let mut numbers = SequenceNumbers::new(0, 10);
        numbers.skip(256);
        assert_eq!(numbers.take(), Err(ProtectError::ReservationExhausted));
        let due = numbers.reservation_due(16, 100, owner).unwrap();
        assert_eq!(due.end(), 356);
        numbers.reserve(due, owner()).unwrap();
        assert_eq!(numbers.take().unwrap().value(), 256);
    }

    #[test]
    fn the_last_number_of_all_is_reserved_and_used() {
        let mut numbers = SequenceNumbers::new(SEQUENCE_NUMBER_MAX - 1, SEQUENCE_NUMBER_MAX - 1);
        let due = numbers.reservation_due(0, 100, owner).unwrap();
        assert_eq!(due.end(), SEQUENCE_NUMBER_MAX + 1);
        numbers.reserve(due, owner()).unwrap();
        assert_eq!(numbers.take().unwrap().value(), SEQUENCE_NUMBER_MAX - 1);
        assert_eq!(numbers.take().unwrap().value(), SEQUENCE_NUMBER_MAX);
        assert_eq!(numbers.take(), Err(ProtectError::SequenceNumbersExhausted));
        assert_eq!(numbers.reservation_due(0, 100, owner), None);
    }

    #[test]
    fn nothing_lies_beyond_forty_bits() {
        let mut numbers = SequenceNumbers::new(SEQUENCE_NUMBER_MAX, u64::MAX);
        assert_eq!(numbers.take().unwrap().value(), SEQUENCE_NUMBER_MAX);
        assert_eq!(numbers.take(), Err(ProtectError::SequenceNumbersExhausted));
        numbers.skip(u64::MAX);
        assert_eq!(numbers.take(), Err(ProtectError::SequenceNumbersExhausted));
        assert_eq!(numbers.reservation_due(u64::MAX, u64::MAX, owner), None);
    }
}
