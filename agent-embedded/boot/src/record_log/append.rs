//! Appending entries and seals to the bank in use.

use embedded_storage::nor_flash::NorFlash;

use super::entry::{COPY, Content, Header, InFlash, InMemory, Sealed, checksum};
use super::{Kind, LogError, RecordLog};
use crate::planted::{self, Bug};

/// How often a record is written if the flash does not keep it.
const TRIES: u8 = 3;

impl RecordLog {
    pub(super) fn append_record<F: NorFlash>(
        &mut self,
        flash: &mut F,
        kind: Kind,
        content: &[u8],
    ) -> Result<(), LogError<F::Error>> {
        let header = self.append_bytes(flash, kind as u8, content)?;
        self.make_live(header);
        Ok(())
    }

    /// From now on this entry holds the record.
    pub(super) fn make_live(&mut self, header: Header) {
        let tag = header.tag & !COPY;
        if let Some(live) = self.live.get_mut(usize::from(tag)) {
            *live = Some(header);
            self.damaged &= !(1 << tag);
        }
    }

    /// Appends an entry of this bank once more, copied from here.
    pub(super) fn append_again<F: NorFlash>(
        &mut self,
        flash: &mut F,
        copy: &Header,
    ) -> Result<Header, LogError<F::Error>> {
        let mut content = InFlash { offset: self.bank().content_offset(copy.cell) };
        self.append_sealed(flash, Header { tag: copy.tag & !COPY, ..*copy }, &mut content)
    }

    /// Appends an entry with content from memory, and its seal; returns its header.
    pub(super) fn append_bytes<F: NorFlash>(
        &mut self,
        flash: &mut F,
        tag: u8,
        content: &[u8],
    ) -> Result<Header, LogError<F::Error>> {
        let len = u16::try_from(content.len()).map_err(|_| LogError::Full)?;
        let entry = Header { tag, len, cell: self.tail, check: checksum(content) };
        self.append_sealed(flash, entry, &mut InMemory(content))
    }

    /// Appends an entry like this one, from wherever it is, and its seal; returns its header. An entry that
    /// cannot be read back is not sealed but written once more after it: the flash has refused, its cells do
    /// not take the content, or had been touched although they looked blank.
    pub(super) fn append_sealed<F: NorFlash>(
        &mut self,
        flash: &mut F,
        entry: Header,
        content: &mut impl Content<F>,
    ) -> Result<Header, LogError<F::Error>> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match self.append_once(flash, entry, content) {
                Err(LogError::NotKept | LogError::Lost | LogError::Flash(_)) if tries > 0 => {}
                ended => return ended,
            }
        }
    }

    fn append_once<F: NorFlash>(
        &mut self,
        flash: &mut F,
        entry: Header,
        content: &mut impl Content<F>,
    ) -> Result<Header, LogError<F::Error>> {
        let bank = *self.bank();
        let cells = bank.cells_of(entry.len.into());
        // Two copies, and an untouched cell for their seal.
        let cell = bank.free(flash, self.tail, 2 * cells + 1);
        if cell + 2 * cells + 1 > bank.cells() {
            return Err(LogError::Full);
        }
        let header = Header { cell, ..entry };
        self.tail = cell + 2 * cells;
        if planted::is(Bug::SealedBeforeWritten) {
            self.seal(flash, header.entry())?;
        }
        for copy in [header, header.copy(cells)] {
            if planted::is(Bug::OneCopy) && copy != header {
                break;
            }
            bank.write(flash, &copy, content)?;
            if bank.header(flash, copy.cell) != Some(copy) || !bank.is_whole(flash, &copy) {
                return Err(LogError::NotKept);
            }
        }
        if !planted::is(Bug::SealedBeforeWritten) {
            self.seal(flash, header.entry())?;
        }
        Ok(header)
    }

    /// Seals an entry in the next free cell that takes the seal.
    pub(super) fn seal<F: NorFlash>(
        &mut self,
        flash: &mut F,
        entry: Sealed,
    ) -> Result<(), LogError<F::Error>> {
        let bank = *self.bank();
        let mut error = LogError::NotKept;
        for _ in 0..TRIES {
            let cell = bank.free(flash, self.tail, 1);
            if cell >= bank.cells() {
                return Err(LogError::Full);
            }
            let header = Header::seal(cell, entry);
            self.tail = cell + 1;
            match bank.write(flash, &header, &mut InMemory(&[])) {
                Ok(()) if bank.header(flash, cell) == Some(header) => return Ok(()),
                Ok(()) => error = LogError::NotKept,
                Err(refused) => error = refused,
            }
        }
        Err(error)
    }
}
