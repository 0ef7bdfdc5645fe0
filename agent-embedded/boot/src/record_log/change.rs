//! The change to the other bank.

use embedded_storage::nor_flash::NorFlash;

use super::entry::{Header, InFlash, TAG_MOVED};
use super::{Kind, LogError, RECORDS, RecordLog};
use crate::medium::erase;
use crate::planted::{self, Bug};

/// Marks a record that was lost: no real record is empty.
pub(super) const LOST: [u8; 0] = [];

/// After so many failed changes in a row the next ones are tried less often.
const REFUSED_CHANGES: u32 = 3;

impl RecordLog {
    /// Makes room for this many records of `bytes` each before the next change of banks, or makes sure that a
    /// change is possible then.
    ///
    /// # Errors
    /// As [`RecordLog::append`]: the other bank takes nothing.
    pub fn make_room<F: NorFlash>(
        &mut self,
        flash: &mut F,
        records: u32,
        bytes: usize,
    ) -> Result<(), LogError<F::Error>> {
        let cells = records * (self.bank().cells_of_pair(bytes) + 1);
        // If a whole bank is not enough, each has to take what the other holds.
        for _ in 0..2 {
            if cells < self.room() {
                break;
            }
            self.change_banks(flash, None)?;
        }
        Ok(())
    }

    /// Fills the other bank with the newest records, including `new`, and uses it from now on. After a few
    /// failures in a row this is tried less and less often: each try costs an erase.
    pub(super) fn change_banks<F: NorFlash>(
        &mut self,
        flash: &mut F,
        new: Option<(Kind, &[u8])>,
    ) -> Result<(), LogError<F::Error>> {
        let refused = self.refused_changes;
        self.refused_changes = refused.saturating_add(1);
        if refused >= REFUSED_CHANGES && !refused.is_power_of_two() {
            return Err(LogError::NotKept);
        }
        self.try_change(flash, new)?;
        self.refused_changes = 0;
        Ok(())
    }

    fn try_change<F: NorFlash>(
        &mut self,
        flash: &mut F,
        new: Option<(Kind, &[u8])>,
    ) -> Result<(), LogError<F::Error>> {
        let mut other = Self { used: 1 - self.used, tail: 0, live: [None; RECORDS], ..self.clone() };
        if planted::is(Bug::MovedBeforeFilled) {
            self.append_bytes(flash, TAG_MOVED, &[])?;
        }
        if !erase(flash, other.bank().place) {
            // What it still holds would be taken for newer than what is written there now.
            return Err(LogError::NotKept);
        }
        let skipped = new.map(|(kind, _)| kind as u8);
        for tag in (0..RECORDS as u8).filter(|tag| Some(*tag) != skipped) {
            other.copy_from(flash, self, tag)?;
        }
        if let Some((kind, content)) = new {
            if other.bank().cells_of_pair(content.len()) + 1 > other.room() {
                return Err(LogError::Full);
            }
            other.append_record(flash, kind, content)?;
        }
        // A page that takes nothing is passed over. This ends: each try takes cells.
        while !matches!(self.append_bytes(flash, TAG_MOVED, &[]), Ok(_) | Err(LogError::Full)) {}
        *self = other;
        self.begin(flash)
    }

    /// Copies a record from the other bank. One that is lost there stays lost.
    fn copy_from<F: NorFlash>(
        &mut self,
        flash: &mut F,
        other: &Self,
        tag: u8,
    ) -> Result<(), LogError<F::Error>> {
        let live = other.live.get(usize::from(tag)).copied().flatten();
        let header = match live.and_then(|live| other.whole(flash, &live)) {
            Some(whole) => {
                let mut content = InFlash { offset: other.bank().content_offset(whole.cell) };
                let entry = Header { tag, ..whole };
                match self.append_sealed(flash, entry, &mut content) {
                    Err(LogError::Lost) => self.append_bytes(flash, tag, &LOST)?,
                    ended => ended?,
                }
            }
            None if live.is_some() || other.damaged & (1 << tag) != 0 => {
                self.append_bytes(flash, tag, &LOST)?
            }
            None => return Ok(()),
        };
        self.make_live(header);
        Ok(())
    }
}
