//! The flash of an emulated board: the file in which QEMU keeps it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// Bytes of the board's flash.
pub const FLASH_BYTES: usize = 16 * 1024 * 1024;
/// The length of a page, which is erased as a whole.
const PAGE_BYTES: usize = 4096;
/// The length of a word, which is programmed as a whole.
const WORD_BYTES: usize = 4;

/// A flash in memory, backed by a file.
#[derive(Debug)]
pub struct FlashFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl FlashFile {
    /// An erased flash.
    #[must_use]
    pub fn erased(path: &Path) -> Self {
        Self { path: path.to_owned(), bytes: vec![0xff; FLASH_BYTES] }
    }

    /// Reads the file, while no QEMU runs on it or between two of its writes.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(bytes.len() == FLASH_BYTES, "{} is not a flash of this board", path.display());
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self) -> Result<()> {
        fs::write(&self.path, &self.bytes).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// All bytes; they may also be changed in ways that no flash allows.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl ErrorType for FlashFile {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for FlashFile {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        let offset = offset as usize;
        bytes.copy_from_slice(&self.bytes[offset..offset + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        FLASH_BYTES
    }
}

impl NorFlash for FlashFile {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = PAGE_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        self.bytes[from as usize..to as usize].fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        for (place, byte) in self.bytes[offset as usize..].iter_mut().zip(bytes) {
            if *place & byte != *byte {
                return Err(NorFlashErrorKind::Other);
            }
            *place = *byte;
        }
        Ok(())
    }
}
