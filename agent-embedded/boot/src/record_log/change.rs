//! The change to the other bank.

use embedded_storage::nor_flash::NorFlash;

use super::entry::{Header, InFlash, TAG_MOVED};
use super::{Kind, LogError, RECORDS, RecordLog};
use crate::medium::erase;
use crate::planted::{self, Bug};

/// Marks a record that was lost: no real record is empty.
pub(super) const LOST: [u8; 0] = [];

impl RecordLog {
    /// Fills the other bank with the newest records, including `new`, and uses it from now on.
    pub(super) fn change_banks<F: NorFlash>(
        &mut self,
        flash: &mut F,
        new: Option<(Kind, &[u8])>,
    ) -> Result<(), LogError<F::Error>> {
        let mut other = Self { used: 1 - self.used, tail: 0, live: [None; RECORDS], ..self.clone() };
        if planted::is(Bug::MovedBeforeFilled) {
            self.append_bytes(flash, TAG_MOVED, &[])?;
        }
        erase(flash, other.bank().place).map_err(LogError::Flash)?;
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
        match self.append_bytes(flash, TAG_MOVED, &[]) {
            Ok(_) | Err(LogError::Full) => {}
            Err(error) => return Err(error),
        }
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
