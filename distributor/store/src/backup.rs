//! One file with everything that can be restored: database, groups, images. It is a tar archive. Its last
//! entry lists the others with their SHA-256, so a truncated file is noticed.
//!
//! The groups' counters are never in it (protocol.md \[reserve\]), except in a move, after which nothing is
//! sent from here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use provisioning::{Hex, Name};
use serde::{Deserialize, Serialize};
use tar::{Builder, EntryType, Header};
use update_core::digest::Hasher;

use super::images::Images;
use super::{InFile, StoreError};
use fwcast_state::files::{self, Access, FileError};
use fwcast_state::{
    GroupLock, GroupState, MachineId, SequenceDoubt, SequenceStore, StateDir, StateError, StateLock,
};

/// The format version that this program writes and reads.
pub(super) const FORMAT: u32 = 2;
/// The name of the last entry.
pub(super) const INDEX: &str = "index.json";

/// The contents of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    pub(super) format: u32,
    /// The version of the program that wrote it.
    pub(super) program: String,
    pub(super) made_at: Timestamp,
    /// For a move: who may send from now on, and from where on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) moved: Option<Move>,
    /// The files, by path in the archive.
    pub(super) files: BTreeMap<String, Entry>,
}

/// A move to another machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Move {
    /// Which machine.
    pub(super) to: String,
    /// The numbers that each group's keys may go on from. A group whose numbers are in doubt has none.
    pub(super) numbers: BTreeMap<Name, u64>,
}

/// A file in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) bytes: u64,
    pub(super) sha256: Hex,
}

/// What was backed up or restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// When the backup was made.
    pub made_at: Timestamp,
    /// The security groups.
    pub groups: Vec<Name>,
    /// How many images.
    pub images: usize,
    /// The groups that need fresh keys before anything is sent for them from this backup.
    pub without_keys: Vec<Name>,
}

/// Why a backup failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A group's files.
    #[error(transparent)]
    State(#[from] StateError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A move to where it is.
    #[error("'{0}' is this machine: run `fwcast config machine` on the new one, and give its answer")]
    SameMachine(String),
}

/// Writes a backup to a new file, readable by its owner only. With `to` it is a move: first this machine
/// gives up the right to send for its groups, and only the other one can restore the file with that right. A
/// move that was interrupted can be repeated.
///
/// # Errors
/// Something cannot be read, or the file cannot be written. The file is then removed.
pub async fn write<S: InFile>(
    dir: &StateDir,
    store: &S,
    out: &Path,
    to: Option<&MachineId>,
) -> Result<Contents, BackupError> {
    files::check_target(out)?;
    let _lock = StateLock::to_back_up(dir).await?;
    let making = dir.in_making("backup");
    files::remove_folder(making.state())?;
    files::make_folder(making.state())?;
    let written = write_with(dir, store, out, to, &making.state().join(S::FILE)).await;
    files::remove_folder(making.state())?;
    written
}

async fn write_with<S: InFile>(
    dir: &StateDir,
    store: &S,
    out: &Path,
    to: Option<&MachineId>,
    database: &Path,
) -> Result<Contents, BackupError> {
    let groups = dir.groups()?;
    let (moved, send_locks) = match to {
        Some(to) => {
            let (moved, locks) = give_away(dir, &groups, to)?;
            (Some(moved), locks)
        }
        None => (None, Vec::new()),
    };
    store.copy_to(database).await?;
    let images = Images::of(dir).digests()?;
    let made_at = Timestamp::now();
    // Enrolling an agent writes several files: do not copy them halfway through.
    let mut locks = Vec::new();
    for group in &groups {
        locks.push(GroupLock::to_edit(dir, group).await?);
    }
    let mut sources = vec![(S::FILE.to_owned(), database.to_owned())];
    for path in groups.iter().flat_map(|group| dir.backed_up(group)) {
        sources.push((below(dir, &path), path));
    }
    for digest in &images {
        for file in ["image", "envelope"] {
            let path = Images::of(dir).folder().join(digest).join(file);
            sources.push((below(dir, &path), path));
        }
    }
    let mut index = Index {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        made_at,
        moved,
        files: BTreeMap::new(),
    };
    files::create_with(out, Access::Secret, |file| {
        let mut archive = Builder::new(file);
        for (name, path) in sources {
            let entry = append(&mut archive, &name, &path, made_at)?;
            index.files.insert(name, entry);
        }
        let text = serde_json::to_vec_pretty(&index)?;
        archive.append_data(&mut header(text.len() as u64, made_at), INDEX, text.as_slice())?;
        archive.into_inner().map(drop)
    })?;
    drop((locks, send_locks));
    let has_numbers =
        |group: &Name| index.moved.as_ref().is_some_and(|moved| moved.numbers.contains_key(group));
    let without_keys = groups.iter().filter(|group| !has_numbers(group)).cloned().collect();
    Ok(Contents { made_at, groups, images: images.len(), without_keys })
}

/// Gives the numbers of all groups to another machine; with the right to send, which nobody else then has.
fn give_away(dir: &StateDir, groups: &[Name], to: &MachineId) -> Result<(Move, Vec<GroupLock>), BackupError> {
    let machine = MachineId::of_this_machine()?;
    if machine == *to {
        return Err(BackupError::SameMachine(to.as_str().to_owned()));
    }
    // All of them first: what is being sent for is not moved.
    let locks = groups.iter().map(|group| GroupLock::to_send(dir, group)).collect::<Result<Vec<_>, _>>()?;
    let mut numbers = BTreeMap::new();
    for (name, lock) in groups.iter().zip(&locks) {
        match SequenceStore::give_away(dir, &GroupState::open(dir, name)?, &machine, lock, to) {
            Ok(end) => drop(numbers.insert(name.clone(), end)),
            // Another machine has them already, so this file would be good for nothing.
            Err(error @ StateError::SequenceInDoubt { doubt: SequenceDoubt::Moved, .. }) => {
                return Err(error.into());
            }
            // Keys in doubt send nowhere.
            Err(StateError::SequenceInDoubt { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((Move { to: to.as_str().to_owned(), numbers }, locks))
}

/// A path in the archive, relative to the state folder.
fn below(dir: &StateDir, path: &Path) -> String {
    path.strip_prefix(dir.state()).unwrap_or(path).to_string_lossy().into_owned()
}

fn append(archive: &mut Builder<&mut File>, name: &str, path: &Path, at: Timestamp) -> io::Result<Entry> {
    let told = |error: FileError| io::Error::other(error.to_string());
    let file = files::open(path).map_err(told)?;
    let bytes = file.metadata()?.len();
    // Bytes appended meanwhile are left out. A file that got shorter is an error.
    let mut reader = Hashing { inner: file.take(bytes), hasher: Hasher::new(), bytes: 0 };
    archive.append_data(&mut header(bytes, at), name, &mut reader)?;
    if reader.bytes != bytes {
        return Err(io::Error::other(format!("{} got shorter while it was read", path.display())));
    }
    Ok(Entry { bytes, sha256: Hex::from(reader.hasher.finish().0) })
}

fn header(bytes: u64, at: Timestamp) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_size(bytes);
    header.set_mtime(at.as_second().try_into().unwrap_or(0));
    header
}

/// A reader that hashes what it reads.
pub(super) struct Hashing<R> {
    pub(super) inner: R,
    pub(super) hasher: Hasher,
    pub(super) bytes: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Where a file of a backup belongs below a state folder, for a database with this name; `None` if it is
/// never in a backup.
pub(super) fn place(dir: &StateDir, database: &str, name: &str) -> Option<PathBuf> {
    let parts: Vec<&str> = name.split('/').collect();
    let known = match parts.as_slice() {
        [file] => *file == database,
        ["groups", group, file] => Name::new(group).is_ok() && fwcast_state::GROUP_FILES.contains(file),
        ["images", "sha256", digest, file] => {
            super::images::is_digest(digest) && ["image", "envelope"].contains(file)
        }
        _ => false,
    };
    known.then(|| dir.state().join(name))
}
