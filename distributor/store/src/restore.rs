//! Restoring a backup into an empty state folder.
//!
//! Everything is unpacked and checked in a temporary folder. Each group in it is marked so that its keys
//! never send again, because it is unknown what was sent since the backup (protocol.md \[reserve\]); groups
//! that were moved here go on with their numbers. Then everything is moved to its final name, the database
//! last.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use provisioning::Hex;
use tar::{Archive, EntryType};
use update_core::digest::{Digest, Hasher};

use super::backup::{Contents, Entry, FORMAT, Hashing, INDEX, Index, place};
use super::images::{Images, ImagesError};
use super::{InFile, StoreError};
use fwcast_state::files::{self, Access, FileError, shown};
use fwcast_state::{EpochWitness, GroupState, MachineId, SequenceStore, StateDir, StateError, StateLock};

/// The longest list of the other files, in bytes.
const INDEX_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why a backup was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A group's files.
    #[error(transparent)]
    State(#[from] StateError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An image.
    #[error(transparent)]
    Images(#[from] ImagesError),
    /// The state folder is not empty.
    #[error(
        "the state folder {} already holds {what}, and nothing is overwritten: move its contents away, or \
         name another folder with --state", shown(.folder)
    )]
    NotEmpty {
        /// The state folder.
        folder: PathBuf,
        /// What it holds.
        what: String,
    },
    /// It is not a backup, or not a complete one.
    #[error(
        "{} is not a complete fwcast backup ({why}): use another copy of it, or another backup", shown(.file)
    )]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong in it.
        why: String,
    },
    /// It moves the groups to another machine.
    #[error(
        "{} moves its groups to the machine '{machine}', which this one is not (`fwcast config machine`): \
         restore it there", shown(.file)
    )]
    ForAnother {
        /// Which file.
        file: PathBuf,
        /// The machine that may restore it.
        machine: String,
    },
    /// It was made by a newer program.
    #[error(
        "{} was made by a newer fwcast ({program}) than this one: restore it with that one", shown(.file)
    )]
    Newer {
        /// Which file.
        file: PathBuf,
        /// The version that made it.
        program: String,
    },
}

/// Restores a backup of this kind of store.
///
/// # Errors
/// The state folder is not empty, or the backup is readable by others, damaged, incomplete or newer. The
/// state folder is then unchanged.
pub async fn restore<S: InFile>(dir: &StateDir, file: &Path) -> Result<Contents, RestoreError> {
    let archive = files::open_secret(file)?;
    let machine = MachineId::of_this_machine()?;
    let _lock = StateLock::to_back_up(dir).await?;
    refuse_what_is_there::<S>(dir)?;
    let making = dir.in_making("restore");
    files::remove_folder(making.state())?;
    files::make_folder(making.state())?;
    let restored = match unpack(&making, S::FILE, archive, file) {
        Ok(index) => match &index.moved {
            Some(moved) if moved.to != machine.as_str() => {
                Err(RestoreError::ForAnother { file: file.into(), machine: moved.to.clone() })
            }
            _ => take_over::<S>(dir, &making, &index, &machine).await,
        },
        Err(error) => Err(error),
    };
    files::remove_folder(making.state())?;
    restored
}

fn refuse_what_is_there<S: InFile>(dir: &StateDir) -> Result<(), RestoreError> {
    let taken = |name: &str| dir.state().join(name).exists();
    let database = [S::FILE].iter().chain(S::COMPANIONS).find(|name| taken(name));
    let what = match database {
        Some(name) => format!("a database ({name})"),
        None if !dir.groups()?.is_empty() => "groups".to_owned(),
        None if !Images::of(dir).digests()?.is_empty() => "images".to_owned(),
        None => return Ok(()),
    };
    Err(RestoreError::NotEmpty { folder: dir.state().into(), what })
}

/// Unpacks each file into the temporary folder, and compares them all with the list at the end of the
/// archive.
fn unpack(making: &StateDir, database: &str, archive: File, file: &Path) -> Result<Index, RestoreError> {
    let damaged = |why: &str| RestoreError::Damaged { file: file.into(), why: why.to_owned() };
    let unreadable = |error: io::Error| damaged(&error.to_string().escape_debug().to_string());
    let mut archive = Archive::new(archive);
    let mut found = BTreeMap::new();
    let mut index: Option<Index> = None;
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| damaged("a name in it is not text"))?;
        if index.is_some() || entry.header().entry_type() != EntryType::Regular {
            return Err(damaged("it holds what does not belong there"));
        }
        if name == INDEX {
            let mut text = Vec::new();
            entry.by_ref().take(INDEX_BYTES_MAX).read_to_end(&mut text).map_err(unreadable)?;
            index =
                Some(serde_json::from_slice(&text).map_err(|_| damaged("its list of files cannot be read"))?);
            continue;
        }
        let Some(path) = place(making, database, &name).filter(|_| !found.contains_key(&name)) else {
            return Err(damaged("it holds what does not belong there"));
        };
        if let Some(folder) = path.parent() {
            files::make_folder(folder)?;
        }
        let mut reader = Hashing { inner: entry, hasher: Hasher::new(), bytes: 0 };
        let mut read_failed = None;
        let written =
            files::create_with(&path, Access::Secret, |file| copy(&mut reader, file, &mut read_failed));
        if let Some(error) = read_failed {
            return Err(unreadable(error));
        }
        written?;
        found.insert(name, Entry { bytes: reader.bytes, sha256: Hex::from(reader.hasher.finish().0) });
    }
    let index = index.ok_or_else(|| damaged("its end is missing"))?;
    if index.format > FORMAT {
        return Err(RestoreError::Newer {
            file: file.into(),
            program: index.program.escape_debug().to_string(),
        });
    }
    if found != index.files || !found.contains_key(database) {
        return Err(damaged("its files are not those of its list"));
    }
    Ok(index)
}

/// As [`io::copy`], but says which side failed.
fn copy(from: &mut impl Read, to: &mut File, read_failed: &mut Option<io::Error>) -> io::Result<()> {
    let mut noted = Noted { inner: from, failed: read_failed };
    io::copy(&mut noted, to).map(drop)
}

struct Noted<'a, R> {
    inner: &'a mut R,
    failed: &'a mut Option<io::Error>,
}

impl<R: Read> Read for Noted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let told = io::Error::new(error.kind(), error.to_string());
            *self.failed = Some(error);
            told
        })
    }
}

/// Checks what was unpacked, revokes its right to send, and moves it to its final name.
async fn take_over<S: InFile>(
    dir: &StateDir,
    making: &StateDir,
    index: &Index,
    machine: &MachineId,
) -> Result<Contents, RestoreError> {
    let store = S::open_path(&making.state().join(S::FILE)).await?;
    store.check().await?;
    let images = Images::of(making);
    let digests = images.digests()?;
    for digest in &digests {
        let mut bytes = [0; 32];
        if hex::decode_to_slice(digest, &mut bytes).is_ok() {
            images.open(&Digest(bytes))?;
        }
    }
    let groups = making.groups()?;
    let mut without_keys = Vec::new();
    for name in &groups {
        let group = GroupState::open(making, name)?;
        let numbers = index.moved.as_ref().and_then(|moved| moved.numbers.get(name));
        let taken = match numbers {
            Some(end) => SequenceStore::take_over(making, &group, machine, *end)?,
            None => false,
        };
        if !taken {
            group.condemn_restored(making)?;
            without_keys.push(name.clone());
        }
    }
    let epoch = store.epoch().await?;
    let witness = EpochWitness::of(dir, epoch.database);
    let next = epoch.number.max(witness.read()?) + 1;
    store.set_epoch(next).await?;
    store.close().await;
    witness.write(next)?;
    for name in ["images", "groups", S::FILE] {
        let (from, to) = (making.state().join(name), dir.state().join(name));
        if from.exists() {
            // Anything of value there would have been refused before.
            files::remove_folder(&to)?;
            files::rename(&from, &to)?;
        }
    }
    Ok(Contents { made_at: index.made_at, groups, images: digests.len(), without_keys })
}
