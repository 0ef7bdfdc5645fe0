//! Operations and reads that fail, and pages that are worn out.

use super::{FlashError, SimulatedFlash};

/// An operation that fails without a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// How many operations are completed before.
    pub after: u32,
    /// Whether its page fails for good.
    pub for_good: bool,
}

/// A read that fails, or returns a wrong bit, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadFault {
    /// How many reads are done before it.
    pub after: u64,
    /// Whether it returns a wrong bit; otherwise it fails.
    pub wrong: bool,
}

/// How a worn page behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wear {
    /// It refuses each operation.
    Refuses,
    /// It refuses to be erased.
    Erase,
    /// It keeps its bits although an erase reports success.
    KeepsBits,
}

impl<const WORD: usize, const PAGE: usize> SimulatedFlash<WORD, PAGE> {
    /// The number of reads so far.
    #[must_use]
    pub const fn reads(&self) -> u64 {
        self.reads
    }

    /// Makes this operation fail.
    pub const fn fail(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    /// Lets a read fail, counted from now.
    pub const fn fail_read(&mut self, fault: ReadFault) {
        let after = self.reads + fault.after;
        self.read_fault = Some(ReadFault { after, ..fault });
    }

    /// Wears out the page at this offset.
    pub const fn wear_out(&mut self, offset: u32, wear: Wear) {
        self.worn = Some((offset as usize / PAGE, wear));
    }

    /// The offset of the worn page.
    #[must_use]
    pub fn worn_out(&self) -> Option<u32> {
        self.worn.map(|(page, _)| (page * PAGE) as u32)
    }

    /// Whether an operation on this page fails.
    pub(super) fn fails(&mut self, page: usize, is_erase: bool) -> bool {
        if let Some(fault) = &mut self.fault {
            if fault.after == 0 {
                let for_good = fault.for_good;
                self.fault = None;
                self.worn = if for_good { Some((page, Wear::Refuses)) } else { self.worn };
                return true;
            }
            fault.after -= 1;
        }
        self.worn.is_some_and(|(worn, wear)| {
            worn == page && (wear == Wear::Refuses || is_erase && wear == Wear::Erase)
        })
    }

    /// Counts a read, which may fail or return a wrong bit.
    pub(super) fn disturb(&mut self, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.reads += 1;
        let Some(fault) = self.read_fault.take_if(|fault| fault.after < self.reads) else { return Ok(()) };
        if !fault.wrong {
            return Err(FlashError::Failed);
        }
        bytes.iter_mut().take(1).for_each(|byte| *byte ^= 0x10);
        Ok(())
    }
}
