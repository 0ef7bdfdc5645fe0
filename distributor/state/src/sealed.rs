//! Small files that show whether they are complete: one line of JSON, followed by its SHA-256.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use update_core::digest::Digest;

use crate::files::{self, Access, FileError};

/// The longest sealed file, in bytes: the replay floors of a very large group.
const SEALED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why a sealed file has no value to read.
#[derive(Debug)]
pub(super) enum SealedError {
    /// It does not exist.
    Missing,
    /// Its content is not what was written.
    Torn(&'static str),
    /// It cannot be read.
    File(FileError),
}

/// Reads a value and checks that the file is complete.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, SealedError> {
    let bytes = files::read_secret(path, SEALED_BYTES_MAX).map_err(|error| match error {
        FileError::Missing(_) => SealedError::Missing,
        other => SealedError::File(other),
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| SealedError::Torn("it is not text"))?;
    let (line, rest) = text.split_once('\n').ok_or(SealedError::Torn("it ends too early"))?;
    if rest != seal(line) {
        return Err(SealedError::Torn("its checksum is wrong"));
    }
    serde_json::from_str(line).map_err(|_| SealedError::Torn("its content has an unknown form"))
}

/// Writes a value durably: the old file or the new one, never a mixture.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let line = line(value).map_err(|error| FileError::System {
        verb: "write",
        path: path.into(),
        source: error.into(),
    })?;
    let seal = seal(&line);
    files::replace(path, format!("{line}\n{seal}").as_bytes(), Access::Secret)
}

/// The first line that [`write`] writes.
pub(super) fn line<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(value)
}

fn seal(line: &str) -> String {
    format!("{}\n", hex::encode(Digest::of(line.as_bytes()).0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn any_cut_or_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(matches!(read::<Vec<u32>>(&path), Err(SealedError::Missing)));
        write(&path, &vec![1, 2, 3]).unwrap();
        assert_eq!(read::<Vec<u32>>(&path).unwrap(), [1, 2, 3]);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(read::<Vec<u32>>(&path), Err(SealedError::Torn(_))), "{length}");
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).unwrap();
            assert!(matches!(read::<Vec<u32>>(&path), Err(SealedError::Torn(_))), "{bit}");
        }
    }
}
