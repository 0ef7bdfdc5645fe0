//! Words that a flash with an error-correcting code cannot read, reported by a non-maskable interrupt.
//!
//! The driver of such a flash expects them after power cuts. In the running program they mean damage.
//! Anything else must not stop a device: otherwise it would reset at every start, for ever.

use core::ops::Range;

/// What an unreadable word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// The driver is reading it, and reports it to its caller.
    Read,
    /// The running program is damaged.
    Program,
    /// Nothing that is used: the driver has already read it, or the flash has prefetched it.
    Unused,
}

/// What the driver is reading, or has read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LastRead {
    /// The offset in its bank.
    pub offset: u32,
    /// Its length.
    pub bytes: u32,
    /// Whether the read is still in progress.
    pub goes_on: bool,
    /// Whether an error of this read was reported after its end. There is at most one for each read.
    pub was_late: bool,
}

/// Judges a word of `word_bytes` at this offset in its bank. `program` is the range of the running program in
/// its own bank.
///
/// It makes no difference which bank the word is in, so nobody needs to know how a chip counts banks that
/// have been swapped.
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
        // The read begins and ends within a word.
        assert_eq!(judge(0xa_0010, 16, &SLOT, &read(0xa_001f, 2)), Unreadable::Read);
        assert_eq!(judge(0xa_0020, 16, &SLOT, &read(0xa_001f, 2)), Unreadable::Read);
    }

    #[test]
    fn an_error_after_the_end_of_a_reading_resets_nothing() {
        for offset in [0xa_0000, 0x1_0000] {
            assert_eq!(judge(offset + 16, 16, &SLOT, &over(offset, 32)), Unreadable::Unused);
        }
        // And one of the previous read, in the records.
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
