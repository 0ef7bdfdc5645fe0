//! Small records in flash that survive any number of power cuts: the newest intact one is kept, and an older
//! one never returns.
//!
//! There are two banks. One is in use, and entries are appended to it. An entry is written, then *sealed* by
//! a separate cell. These rules keep it correct even if words read differently each time until they are
//! rewritten, and if a word can be programmed only once:
//!
//! * **A seal that is seen even once proves that its entry is finished**: programming the seal began after
//!   that.
//! * **What was read is rewritten before anything relies on it.** Opening the log seals its last good entry
//!   once more, in a fresh cell. If the last entry was never sealed, it may be unfinished and yet look
//!   intact, so it is appended and sealed again.
//! * **An entry that is not sealed and is not the last one is void.** So what one start considered torn
//!   cannot come back in a later one.
//! * **A cell that may have been touched is not used**: before a cell is written, it must repeatedly read as
//!   blank.
//! * **When the bank is full, the other one is erased and filled with the newest records. The bank in use is
//!   then marked as no longer in use, and after that the new one is marked as in use.** Until the first of
//!   these two marks has been sealed, the new bank does not count and can be erased again at any time. If
//!   interrupted starts have left no room for that mark, or for any seal, no start can use the bank for
//!   anything but filling the other one again, so the mark is not needed.
//!
//! | bank in use says | other bank | a start |
//! |---|---|---|
//! | "bank n", records | bank n - 1, or torn, or half filled | uses this bank |
//! | records, "moved", unsealed | filled | repeats the mark, then continues as below |
//! | records, "moved" | filled | marks the other bank as "bank n + 1" and uses it |
//! | "moved" | "bank n + 1", records | uses the other bank |
//!
//! Flash that loses a bit loses no record. **Each entry has two copies before its seal**; opening the log
//! rewrites an entry whose first or second copy is damaged. **An entry with two intact copies and something
//! unreadable in the cell after them counts as sealed**: programming the seal began after the entry was
//! finished. It is rewritten as well. Only a later seal that names an older entry makes it void.
//! If both copies are lost, the record is reported as lost: an older one does not replace it.
//!
//! Both the agent and the boot stage open the log. It needs no heap, no additional journal, and one cell per
//! start.

mod append;
mod change;
mod entry;
mod scan;

use embedded_storage::nor_flash::NorFlash;

use crate::layout::Partition;
use crate::planted::{self, Bug};
use change::LOST;
use entry::{Bank, COPY, Header, TAG_BANK, TAG_MOVED};
use scan::Scan;

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The [`BootRecord`](crate::boot_record::BootRecord).
    Boot = 0,
    /// What the areas have been erased for.
    Prepared = 1,
    /// The page that is being repaired through the spare page.
    Mending = 2,
    /// [`Record::Counters`](update_core::platform::Record::Counters).
    Counters = 3,
    /// [`Record::Update`](update_core::platform::Record::Update).
    Update = 4,
    /// [`Record::Installed`](update_core::platform::Record::Installed).
    Installed = 5,
    /// The signed key set that superseded the provisioned one.
    KeySet = 6,
    /// The groups that the device was given to, and their counters.
    Groups = 7,
    /// [`Record::Membership`](update_core::platform::Record::Membership).
    Membership = 8,
}

/// How many kinds there are.
pub(crate) const RECORDS: usize = 9;
/// One bit for each kind.
type Kinds = u16;
/// Shortest bank in bytes.
pub const BANK_BYTES_MIN: u32 = 8192;
/// Cells at the end of a bank that are reserved for the change to the other one, however often it is cut.
const RESERVE_CELLS: u32 = 40;
/// A bank that was never used may have this many touched cells, left by interrupted starts.
const FRESH_CELLS_MAX: u32 = 32;

/// Why a record was not stored or not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogError<E> {
    /// The flash refused.
    Flash(E),
    /// Something was written here once, and can no longer be read.
    Lost,
    /// There is no room for it.
    Full,
    /// The flash does not keep what is written.
    NotKept,
}

/// The open log; see the module documentation.
#[derive(Debug, Clone)]
pub struct RecordLog {
    banks: [Bank; 2],
    /// The bank in use.
    used: usize,
    generation: u32,
    tail: u32,
    /// The header of an intact copy of each record.
    live: [Option<Header>; RECORDS],
    damaged: Kinds,
    /// Changes to the other bank in a row that have failed, or were not tried.
    refused_changes: u32,
}

impl RecordLog {
    /// Finds the newest records, and rewrites what may not be finished.
    ///
    /// # Errors
    /// [`LogError::Lost`] if neither bank can be read although they were written; the flash's own.
    pub fn open<F: NorFlash>(flash: &mut F, records: Partition) -> Result<Self, LogError<F::Error>> {
        let banks = Self::banks::<F>(records);
        let scans = [Scan::of(flash, &banks[0]), Scan::of(flash, &banks[1])];
        let Some(used) = newest(&scans) else {
            return Self::format(flash, banks, &scans);
        };
        let mut log = Self::at(banks, used, &scans[used]);
        let mut scan = &scans[used];
        let is_sealed = match log.seal_again(flash, scan) {
            Ok(false) => true,
            Ok(true) => {
                // Everything in the other bank was finished before.
                scan = &scans[1 - used];
                log = Self { generation: log.generation, ..Self::at(banks, 1 - used, scan) };
                log.begin(flash)?;
                true
            }
            // What was read is rewritten in the other bank.
            Err(LogError::Full) => false,
            Err(error) => return Err(error),
        };
        if log.room() > 0 {
            log.mend(flash, scan)?;
            return Ok(log);
        }
        match log.change_banks(flash, None) {
            // The other bank is worn out. What was read can be relied upon while there is a cell for it.
            Err(_) if is_sealed && scan.weak == 0 => Ok(log),
            changed => changed.map(|()| log),
        }
    }

    /// What can be read, without writing anything: for a device whose flash takes nothing any more. What a
    /// cut has left in doubt may be in it.
    pub fn read_only<F: NorFlash>(flash: &mut F, records: Partition) -> Option<Self> {
        let banks = Self::banks::<F>(records);
        let scans = [Scan::of(flash, &banks[0]), Scan::of(flash, &banks[1])];
        let used = newest(&scans)?;
        let used = if scans[used].moved { 1 - used } else { used };
        Some(Self::at(banks, used, &scans[used]))
    }

    fn banks<F: NorFlash>(records: Partition) -> [Bank; 2] {
        let bytes = records.bytes / 2;
        let cell_bytes = F::WRITE_SIZE.max(16) as u32;
        [0, 1].map(|index| Bank {
            place: Partition { offset: records.offset + index * bytes, bytes },
            cell_bytes,
        })
    }

    /// Rewrites an entry that has lost one of its copies, or its seal.
    fn mend<F: NorFlash>(&mut self, flash: &mut F, scan: &Scan) -> Result<(), LogError<F::Error>> {
        if scan.bank_is_weak {
            match self.say_in_use(flash) {
                Err(LogError::Full) => return self.change_banks(flash, None),
                said => said?,
            }
        }
        for tag in (0..RECORDS as u8).filter(|tag| scan.weak & (1 << tag) != 0) {
            // It may have been rewritten as the last entry.
            let live = self.live.get(usize::from(tag)).copied().flatten();
            let Some(header) = live.filter(|live| scan.live.get(usize::from(tag)) == Some(&Some(*live)))
            else {
                continue;
            };
            let fits = self.bank().cells_of_pair(header.len.into()) < self.room();
            match if fits { self.append_again(flash, &header) } else { Err(LogError::Full) } {
                Ok(header) => self.make_live(header),
                Err(LogError::Full) => return self.change_banks(flash, None),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Replaces a record, durably.
    ///
    /// # Errors
    /// [`LogError::Full`] if it does not fit with the other records, [`LogError::NotKept`], or the flash's
    /// own. The record is then the old one or, if the power was cut, the new one.
    pub fn append<F: NorFlash>(
        &mut self,
        flash: &mut F,
        kind: Kind,
        content: &[u8],
    ) -> Result<(), LogError<F::Error>> {
        if self.bank().cells_of_pair(content.len()) < self.room() {
            match self.append_record(flash, kind, content) {
                // Cells that were counted as free had been touched, or a page takes nothing any more.
                Err(LogError::Full | LogError::NotKept | LogError::Flash(_)) => {}
                ended => return ended,
            }
        }
        self.change_banks(flash, Some((kind, content)))
    }

    /// Reads a record into `buffer` and returns its length; `None` if it was never saved.
    ///
    /// # Errors
    /// [`LogError::Lost`] if it was saved and can no longer be read, [`LogError::Full`] if `buffer` is too
    /// short.
    pub fn read<F: NorFlash>(
        &self,
        flash: &mut F,
        kind: Kind,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, LogError<F::Error>> {
        let Some(live) = self.live.get(kind as usize).copied().flatten() else {
            let damaged = self.damaged & (1 << kind as u8) != 0;
            return if damaged { Err(LogError::Lost) } else { Ok(None) };
        };
        let whole = self.whole(flash, &live).ok_or(LogError::Lost)?;
        let len = usize::from(whole.len);
        if len == LOST.len() {
            return Err(LogError::Lost);
        }
        let bytes = buffer.get_mut(..len).ok_or(LogError::Full)?;
        self.bank().read(flash, &whole, bytes)?;
        Ok(Some(len))
    }

    /// How far the log has come. It is further at each start: opening the log takes a cell.
    #[must_use]
    pub const fn position(&self) -> u64 {
        (self.generation as u64) << 32 | self.tail as u64
    }

    /// The header of an intact copy of the entry that this is a copy of.
    fn whole<F: NorFlash>(&self, flash: &mut F, copy: &Header) -> Option<Header> {
        let cells = self.bank().cells_of(copy.len.into());
        let back = if copy.tag & COPY == 0 { 0 } else { cells };
        let first = Header { tag: copy.tag & !COPY, cell: copy.cell.checked_sub(back)?, ..*copy };
        self.bank().pair(flash, &first).map(|pair| pair.whole)
    }

    fn at(banks: [Bank; 2], used: usize, scan: &Scan) -> Self {
        let generation = scan.generation.unwrap_or(0);
        let Scan { tail, live, damaged, .. } = *scan;
        Self { banks, used, generation, tail, live, damaged, refused_changes: 0 }
    }

    /// The first start of a device: both banks are in their factory state, except for what interrupted starts
    /// left.
    fn format<F: NorFlash>(
        flash: &mut F,
        banks: [Bank; 2],
        scans: &[Scan; 2],
    ) -> Result<Self, LogError<F::Error>> {
        if scans[0].tail > FRESH_CELLS_MAX || scans[1].tail > 0 {
            return Err(LogError::Lost);
        }
        let mut log = Self::at(banks, 0, &scans[0]);
        log.begin(flash)?;
        Ok(log)
    }

    /// Marks the bank as in use, as the next generation.
    fn begin<F: NorFlash>(&mut self, flash: &mut F) -> Result<(), LogError<F::Error>> {
        self.generation = self.generation.wrapping_add(1);
        self.say_in_use(flash)
    }

    fn say_in_use<F: NorFlash>(&mut self, flash: &mut F) -> Result<(), LogError<F::Error>> {
        let content = self.generation.to_le_bytes();
        self.append_bytes(flash, TAG_BANK, &content).map(drop)
    }

    /// Rewrites what was read: the last entry, if it was never sealed, else its seal. Returns whether the
    /// other bank is in use afterwards.
    fn seal_again<F: NorFlash>(&mut self, flash: &mut F, scan: &Scan) -> Result<bool, LogError<F::Error>> {
        if planted::is(Bug::NotWrittenAgain) && scan.last.is_some() {
            if let Some(pair) = scan.unsealed {
                self.make_live(pair.whole);
            }
            return Ok(scan.moved || scan.unsealed.is_some_and(|pair| pair.header.tag == TAG_MOVED));
        }
        if scan.unsealed.is_some_and(|pair| pair.header.tag == TAG_BANK) {
            // Without this entry, this bank is not in use: it is marked again from what was checked. If that
            // fails, the other bank must not be erased.
            return match self.say_in_use(flash) {
                Err(LogError::Full) => Err(LogError::NotKept),
                said => said.map(|()| false),
            };
        }
        if let Some(pair) = scan.unsealed {
            match self.append_again(flash, &pair.whole) {
                Ok(header) => {
                    self.make_live(header);
                    return Ok(header.tag == TAG_MOVED);
                }
                // It was finished, and the other bank takes it. If nothing takes it, no older one replaces
                // it.
                Err(error @ (LogError::NotKept | LogError::Lost | LogError::Full))
                    if scan.has_lost_seal() =>
                {
                    return Err(error);
                }
                // It looked intact once and no longer does, so it was never finished; or there is no room.
                // Nothing has relied on it, and after the next seal nothing can.
                Err(LogError::NotKept | LogError::Lost | LogError::Full) => {}
                Err(error) => return Err(error),
            }
        }
        match scan.last {
            Some(last) => self.seal(flash, last)?,
            None => self.begin(flash)?,
        }
        Ok(scan.moved)
    }

    /// Free cells for records.
    fn room(&self) -> u32 {
        self.bank().cells().saturating_sub(RESERVE_CELLS).saturating_sub(self.tail)
    }

    const fn bank(&self) -> &Bank {
        let [first, second] = &self.banks;
        if self.used == 0 { first } else { second }
    }
}

/// The bank in use: the newer one of those marked so.
fn newest(scans: &[Scan; 2]) -> Option<usize> {
    match (scans[0].generation, scans[1].generation) {
        (None, None) => None,
        (Some(_), None) => Some(0),
        (None, Some(_)) => Some(1),
        (Some(first), Some(second)) => Some(usize::from(second > first)),
    }
}
