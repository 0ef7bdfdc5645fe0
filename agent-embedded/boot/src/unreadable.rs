//! Words that a flash with an error correcting code cannot read, told by an interrupt that cannot be masked.
//!
//! The driver of such a flash expects them where the power was cut. In the running program they are damage.
//! Anything else must not stop a device: a reset would come again with the next start, and for ever.

use core::ops::Range;

/// What an unreadable word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// The driver reads it now, and tells its caller.
    Read,
    /// The program that runs is damaged.
    Program,
    /// Nothing that is used: the driver has read it and is told too late, or the flash has looked ahead.
    Unused,
}

/// What the driver reads, or has read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LastRead {
    /// The offset in its bank.
    pub offset: u32,
    /// How much of it.
    pub bytes: u32,
    /// It has not ended yet.
    pub goes_on: bool,
    /// An error of it was told after its end. There is one of each reading at most.
    pub was_late: bool,
}

/// Judges a word of `word_bytes` at this offset in its bank. `program` is where the program that runs lies in
/// its own bank.
///
/// In which bank the word is makes no difference, so nobody has to know how a chip counts banks that have
/// changed places.
#[must_use]
pub fn judge(at: u32, word_bytes: u32, program: &Range<u32>, last: &LastRead) -> Unreadable {
    let first = last.offset - last.offset % word_bytes;
    let is_of_read = (first..last.offset.saturating_add(last.bytes)).contains(&at);
    if is_of_read && last.goes_on {
        Unreadable::Read
    } else if is_of_read && !last.was_late || !program.contains(&at) {
        Unreadable::Unused
    } else {
        Unreadable::Program
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Range<u32> = 0x1_0000..0x9_0000;

    fn read(offset: u32, bytes: u32) -> LastRead {
        LastRead { offset, bytes, goes_on: true, was_late: false }
    }

    fn over(offset: u32, bytes: u32) -> LastRead {
        LastRead { goes_on: false, ..read(offset, bytes) }
    }

    #[test]
    fn a_word_that_is_read_is_told_to_the_reader_in_the_slot_of_the_program_too() {
        for offset in [0xa_0000, 0x1_0000] {
            for at in [offset, offset + 0x30] {
                assert_eq!(judge(at, 16, &SLOT, &read(offset, 0x40)), Unreadable::Read);
            }
        }
        // The reading begins and ends within a word.
        assert_eq!(judge(0xa_0010, 16, &SLOT, &read(0xa_001f, 2)), Unreadable::Read);
        assert_eq!(judge(0xa_0020, 16, &SLOT, &read(0xa_001f, 2)), Unreadable::Read);
    }

    #[test]
    fn an_error_after_the_end_of_a_reading_resets_nothing() {
        for offset in [0xa_0000, 0x1_0000] {
            assert_eq!(judge(offset + 16, 16, &SLOT, &over(offset, 32)), Unreadable::Unused);
        }
        // And one of the reading before, in the records.
        assert_eq!(judge(0xa_0000, 16, &SLOT, &read(0xa_1000, 32)), Unreadable::Unused);
        assert_eq!(judge(0xa_0000, 16, &SLOT, &LastRead::default()), Unreadable::Unused);
    }

    #[test]
    fn damage_of_the_program_is_no_late_error_for_ever() {
        let late = LastRead { was_late: true, ..over(0x1_0000, 32) };
        assert_eq!(judge(0x1_0010, 16, &SLOT, &late), Unreadable::Program);
        assert_eq!(judge(0xa_0010, 16, &SLOT, &LastRead { offset: 0xa_0000, ..late }), Unreadable::Unused);
    }

    #[test]
    fn a_damaged_program_is_told_while_something_else_is_read() {
        assert_eq!(judge(0x2_0000, 16, &SLOT, &read(0xa_0000, 32)), Unreadable::Program);
        assert_eq!(judge(0x2_0000, 16, &SLOT, &over(0xa_0000, 32)), Unreadable::Program);
        assert_eq!(judge(0x1_0000, 16, &SLOT, &LastRead::default()), Unreadable::Program);
        assert_eq!(judge(0x2_0020, 16, &SLOT, &read(0x2_0000, 32)), Unreadable::Program);
    }
}
