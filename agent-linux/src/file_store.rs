//! Records and the two areas of an update, as files in the state folder.
//!
//! A record is replaced as a whole. An area is written in place, and written data counts only after
//! [`FileStore::sync`] (protocol.md \[synced\]). An area must be prepared before it can be written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use update_core::platform::{Area, Record};

use crate::boot_record::{Prepared, Slot};
use crate::disk::Disk;

const PAGES: &str = "pages.bin";

/// How many bytes an update must leave free, so that records can be replaced.
const RECORDS_ROOM_BYTES: u32 = 64 * 1024;

/// Why a storage operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{doing}: {error}")]
    Io {
        /// The operation that failed.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The bytes are not within the area.
    #[error("{len} bytes at {offset} are not within the area {area:?}")]
    OutOfRange {
        /// Which area.
        area: Area,
        /// The byte offset in it.
        offset: u32,
        /// How many bytes.
        len: usize,
    },
    /// The area has not been prepared.
    #[error("the area has not been prepared")]
    NotPrepared,
    /// Both slots are needed until the image on trial is confirmed or rolled back.
    #[error("an image is on trial: both slots are in use")]
    OnTrial,
    /// The image to be activated does not have the prepared length.
    #[error("the image does not have the prepared length")]
    OtherLength,
}

/// Turns an [`io::Error`] into a [`StoreError`] by naming the operation.
pub trait While<T> {
    /// Names the operation.
    ///
    /// # Errors
    /// [`StoreError::Io`] for an error.
    fn while_doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> While<T> for io::Result<T> {
    fn while_doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|error| StoreError::Io { doing, error })
    }
}

/// The file name of a record.
#[must_use]
pub const fn record_name(record: Record) -> &'static str {
    match record {
        Record::Counters => "counters.cbor",
        Record::Update => "update.cbor",
        Record::Installed => "installed.cbor",
        Record::Membership => "membership.cbor",
    }
}

/// The files of one agent. The caller knows the boot record, and says which slot may be written.
#[derive(Debug)]
pub struct FileStore {
    disk: Disk,
    image: AreaFile,
    pages: AreaFile,
}

/// One area while it is open.
#[derive(Debug, Default)]
struct AreaFile {
    file: Option<File>,
    length: u32,
    unsynced: bool,
}

impl FileStore {
    /// Opens the areas as an earlier run left them. An area that is missing or does not have its prepared
    /// length counts as not prepared.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open(disk: Disk, slot: Slot, prepared: Option<Prepared>) -> Result<Self, StoreError> {
        let mut store = Self { disk, image: AreaFile::default(), pages: AreaFile::default() };
        if let Some(Prepared { image_bytes, page_bytes }) = prepared {
            store.image = store.reopen(slot.file_name(), image_bytes)?;
            store.pages = store.reopen(PAGES, page_bytes)?;
        }
        Ok(store)
    }

    /// A record's content; `None` when it was never saved.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn load(&self, record: Record) -> Result<Option<Vec<u8>>, StoreError> {
        self.disk.read(record_name(record)).while_doing("reading a record")
    }

    /// Replaces a record durably.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the record then has its old or its new content.
    pub fn save(&self, record: Record, bytes: &[u8]) -> Result<(), StoreError> {
        self.disk.replace(record_name(record), bytes).while_doing("saving a record")
    }

    /// Empties both areas and reserves their space, durably. `slot` is the one that does not run.
    ///
    /// # Errors
    /// [`StoreError::Io`]; nothing can be written then.
    pub fn prepare(&mut self, slot: Slot, sizes: Prepared) -> Result<(), StoreError> {
        self.close();
        let Prepared { image_bytes, page_bytes } = sizes;
        let image = self.disk.set_aside(slot.file_name(), image_bytes);
        let image = image.while_doing("making room for an image")?;
        let pages = self.disk.set_aside(PAGES, page_bytes).while_doing("making room for hash pages");
        let room = self.disk.check_room(RECORDS_ROOM_BYTES).while_doing("keeping room for records");
        let pages = pages.and_then(|pages| room.map(|()| pages)).inspect_err(|_| {
            // The records need the space more.
            let _ = image.set_len(0);
        })?;
        self.image = AreaFile { file: Some(image), length: image_bytes, unsynced: false };
        self.pages = AreaFile { file: Some(pages), length: page_bytes, unsynced: false };
        Ok(())
    }

    /// From now on, neither area can be written until it is prepared again.
    pub fn close(&mut self) {
        self.image = AreaFile::default();
        self.pages = AreaFile::default();
    }

    /// Writes into an area; not durable before [`sync`](Self::sync).
    ///
    /// # Errors
    /// [`StoreError::NotPrepared`], [`StoreError::OutOfRange`] (nothing is written), [`StoreError::Io`].
    pub fn write(&mut self, area: Area, offset: u32, data: &[u8]) -> Result<(), StoreError> {
        let disk = self.disk.clone();
        let target = self.area(area);
        let Some(file) = &target.file else {
            return Err(StoreError::NotPrepared);
        };
        if !target.holds(offset, data.len()) {
            return Err(StoreError::OutOfRange { area, offset, len: data.len() });
        }
        target.unsynced = true;
        disk.write_at(file, offset, data).while_doing("writing into an area")
    }

    /// Reads from an area. Bytes outside the prepared length were never written, and read as zeros.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn read(&mut self, area: Area, offset: u32, buffer: &mut [u8]) -> Result<(), StoreError> {
        buffer.fill(0);
        let source = self.area(area);
        let inside = source.length.saturating_sub(offset) as usize;
        let length = buffer.len().min(inside);
        match &source.file {
            Some(file) => {
                file.read_exact_at(&mut buffer[..length], offset.into()).while_doing("reading from an area")
            }
            None => Ok(()),
        }
    }

    /// Makes everything durable that was written since the last call.
    ///
    /// # Errors
    /// [`StoreError::Io`]: what was written since then may be lost.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        let disk = self.disk.clone();
        for area in [&mut self.image, &mut self.pages] {
            if let Some(file) = area.file.as_ref().filter(|_| area.unsynced) {
                disk.sync_data(file).while_doing("making blocks durable")?;
                area.unsynced = false;
            }
        }
        Ok(())
    }

    fn reopen(&self, name: &str, length: u32) -> Result<AreaFile, StoreError> {
        let file = self.disk.reopen(name, length).while_doing("opening an area")?;
        if file.is_none() {
            tracing::warn!(file = name, "missing, or has another length: it must be prepared again");
            return Ok(AreaFile::default());
        }
        Ok(AreaFile { file, length, unsynced: false })
    }

    const fn area(&mut self, area: Area) -> &mut AreaFile {
        match area {
            Area::Image => &mut self.image,
            Area::Pages => &mut self.pages,
        }
    }
}

impl AreaFile {
    fn holds(&self, offset: u32, len: usize) -> bool {
        u32::try_from(len).ok().and_then(|len| offset.checked_add(len)).is_some_and(|end| end <= self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Cut, Step};
    use std::cell::Cell;
    use std::fs;
    use std::rc::Rc;

    const SIZES: Prepared = Prepared { image_bytes: 3000, page_bytes: 64 };

    fn store(folder: &tempfile::TempDir, prepared: Option<Prepared>) -> FileStore {
        FileStore::open(Disk::open(folder.path()).unwrap(), Slot::B, prepared).unwrap()
    }

    #[test]
    fn nothing_is_written_before_prepare() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("slot-b.img"), b"an older image").unwrap();
        let mut store = store(&folder, None);
        for area in [Area::Image, Area::Pages] {
            let error = store.write(area, 0, b"x").unwrap_err();
            assert!(matches!(error, StoreError::NotPrepared));
        }
        assert_eq!(fs::read(folder.path().join("slot-b.img")).unwrap(), b"an older image");
        assert!(!folder.path().join("pages.bin").exists());
    }

    #[test]
    fn blocks_and_pages_read_back_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = store(&folder, None);
        first.prepare(Slot::B, SIZES).unwrap();
        first.write(Area::Image, 2048, &[5; 952]).unwrap();
        first.write(Area::Pages, 0, &[6; 64]).unwrap();
        first.sync().unwrap();
        drop(first);
        let mut again = store(&folder, Some(SIZES));
        let mut buffer = [9; 1024];
        again.read(Area::Image, 2048, &mut buffer).unwrap();
        assert_eq!((buffer[0], buffer[951], buffer[952]), (5, 5, 0));
        again.read(Area::Pages, 0, &mut buffer[..64]).unwrap();
        assert_eq!(buffer[..64], [6; 64]);
        again.write(Area::Image, 0, &[7; 10]).unwrap();
    }

    #[test]
    fn a_write_out_of_range_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder, None);
        store.prepare(Slot::B, SIZES).unwrap();
        for (offset, len) in [(2999, 2), (3000, 1), (u32::MAX, 1), (u32::MAX, 1024), (0, 3001)] {
            let error = store.write(Area::Image, offset, &vec![1; len]).unwrap_err();
            assert!(matches!(error, StoreError::OutOfRange { .. }), "{error}");
        }
        assert_eq!(fs::read(folder.path().join("slot-b.img")).unwrap(), vec![0; 3000]);
        store.write(Area::Image, 2999, &[1]).unwrap();
    }

    #[test]
    fn reading_beyond_the_end_gives_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder, None);
        let mut buffer = [9; 8];
        store.read(Area::Image, 100, &mut buffer).unwrap();
        assert_eq!(buffer, [0; 8]);
        store.prepare(Slot::B, SIZES).unwrap();
        store.write(Area::Image, 2996, &[1, 2, 3, 4]).unwrap();
        store.read(Area::Image, 2998, &mut buffer).unwrap();
        assert_eq!(buffer, [3, 4, 0, 0, 0, 0, 0, 0]);
        store.read(Area::Image, u32::MAX, &mut buffer).unwrap();
        assert_eq!(buffer, [0; 8]);
    }

    #[test]
    fn an_area_of_another_length_counts_as_not_prepared() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = store(&folder, None);
        first.prepare(Slot::B, SIZES).unwrap();
        drop(first);
        fs::write(folder.path().join("slot-b.img"), b"shorter").unwrap();
        let mut again = store(&folder, Some(SIZES));
        assert!(matches!(again.write(Area::Image, 0, b"x").unwrap_err(), StoreError::NotPrepared));
        again.write(Area::Pages, 0, b"x").unwrap();
    }

    #[test]
    fn only_what_was_written_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder, None);
        store.prepare(Slot::B, SIZES).unwrap();
        let syncs = Rc::new(Cell::new(0));
        let count = syncs.clone();
        store.disk.cut_by(Box::new(move |step| {
            count.set(count.get() + u32::from(step == Step::SyncFile));
            Cut::No
        }));
        store.sync().unwrap();
        assert_eq!(syncs.get(), 0);
        store.write(Area::Image, 0, b"x").unwrap();
        store.sync().unwrap();
        store.sync().unwrap();
        assert_eq!(syncs.get(), 1);
    }

    #[test]
    fn a_failed_prepare_leaves_nothing_to_write_to() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder, None);
        store.prepare(Slot::B, SIZES).unwrap();
        store.disk.cut_by(Box::new(|_| Cut::Before));
        store.prepare(Slot::B, SIZES).unwrap_err();
        assert!(matches!(store.write(Area::Image, 0, b"x").unwrap_err(), StoreError::NotPrepared));
    }
}
