//! The state folder: every way in which the agent changes a file, so that a power cut leaves the old or the
//! new one.
//!
//! A small file is replaced as a whole: written under another name, made durable, renamed over the old one,
//! and the folder made durable. Each of these is a [`Step`] and passes a gate at which tests can cut the
//! power.

use std::cell::RefCell;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// The most bytes that a replaced file may have. Far above any record; it limits what a damaged folder can
/// make the agent read.
pub const SMALL_FILE_BYTES_MAX: u64 = 64 * 1024;

/// How long to wait for a folder that another process holds.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// The suffix of a file that is still being written.
const UNFINISHED: &str = "new";

/// One operation that changes the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Writing bytes, to a new file or into an area.
    Write,
    /// Emptying a file and giving it its size.
    Resize,
    /// Making a file durable.
    SyncFile,
    /// Making a symbolic link under its temporary name.
    Link,
    /// Renaming a finished file or link over the old one.
    Rename,
    /// Making the folder's names durable.
    SyncFolder,
    /// Calling a switch command. It is not a disk operation, but can be cut too.
    Command,
}

/// What a test lets a step do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Carry it out.
    No,
    /// The power is cut before it.
    Before,
    /// The power is cut halfway: half of the bytes are written. Steps that cannot be halved are not begun.
    Half,
}

/// Asked before each [`Step`]; see [`Disk::cut_by`].
pub type Gate = Box<dyn FnMut(Step) -> Cut>;

/// The state folder, locked for this process. Clones share it.
#[derive(Clone)]
pub struct Disk(Rc<Inner>);

struct Inner {
    path: PathBuf,
    folder: File,
    _lock: File,
    gate: RefCell<Option<Gate>>,
}

impl Disk {
    /// Opens the folder and locks it; creates it with mode 0700 if it is missing. Two agents with one folder
    /// would use the same counter twice.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process holds the folder, otherwise the system's error.
    pub fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let folder = File::open(path)?;
        let lock = private().create(true).truncate(false).open(path.join("lock"))?;
        hold(&lock)?;
        let disk =
            Self(Rc::new(Inner { path: path.to_owned(), folder, _lock: lock, gate: RefCell::new(None) }));
        disk.remove_unfinished()?;
        Ok(disk)
    }

    /// For tests: asks `gate` before each step from now on. A step that it cuts fails with
    /// [`io::ErrorKind::Interrupted`] and leaves the disk as a power cut would.
    pub fn cut_by(&self, gate: Gate) {
        self.0.gate.replace(Some(gate));
    }

    /// The path of the file with this name.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path.join(name)
    }

    /// Whether something with this name exists, even a dangling link.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// A small file's content; `None` when there is no such file.
    ///
    /// # Errors
    /// The system's error, or [`io::ErrorKind::InvalidData`] above [`SMALL_FILE_BYTES_MAX`].
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(SMALL_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > SMALL_FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than anything that belongs here"));
        }
        Ok(Some(bytes))
    }

    /// Replaces a small file with these bytes, durably, with mode 0600. After an error it holds the old or
    /// the new content.
    ///
    /// # Errors
    /// The system's error.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.unfinished(name)?;
        let mut file = private().create_new(true).open(&unfinished)?;
        self.write_through(bytes, |part| file.write_all(part))?;
        self.take_name(&file, &unfinished, name)
    }

    /// Copies a file into the folder under `name`, durably, with mode 0600; returns its length.
    ///
    /// # Errors
    /// The system's error.
    pub fn copy_in(&self, from: &Path, name: &str) -> io::Result<u64> {
        let mut source = File::open(from)?;
        let unfinished = self.unfinished(name)?;
        let mut file = private().create_new(true).open(&unfinished)?;
        self.pass(Step::Write)?;
        let length = io::copy(&mut source, &mut file)?;
        self.take_name(&file, &unfinished, name)?;
        Ok(length)
    }

    /// Makes the symbolic link `name` point to `target`, durably; a reader sees the old target or the new
    /// one.
    ///
    /// # Errors
    /// The system's error.
    pub fn point(&self, name: &str, target: &str) -> io::Result<()> {
        let unfinished = self.unfinished(name)?;
        self.pass(Step::Link)?;
        symlink(target, &unfinished)?;
        self.rename(&unfinished, name)
    }

    /// The target of the symbolic link `name`; `None` if it is missing or not a link.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<PathBuf> {
        fs::read_link(self.path(name)).ok()
    }

    /// Creates a file of exactly `length` bytes, discards its old content, and reserves its space, so that a
    /// full disk is noticed now and not in the middle of an update. Durable on return.
    ///
    /// # Errors
    /// The system's error, such as [`io::ErrorKind::StorageFull`].
    pub fn set_aside(&self, name: &str, length: u32) -> io::Result<File> {
        self.pass(Step::Resize)?;
        let file = private().read(true).create(true).truncate(true).open(self.path(name))?;
        if let Err(error) = reserve(&file, length) {
            // Free the space again: the records need it.
            let _ = file.set_len(0);
            return Err(error);
        }
        self.pass(Step::SyncFile)?;
        file.sync_all()?;
        self.sync_folder()?;
        Ok(file)
    }

    /// Whether there is room for this many more bytes.
    ///
    /// # Errors
    /// The system's error, such as [`io::ErrorKind::StorageFull`].
    pub fn check_room(&self, bytes: u32) -> io::Result<()> {
        let path = self.unfinished("room")?;
        let file = private().create_new(true).open(&path)?;
        let result = reserve(&file, bytes);
        fs::remove_file(path)?;
        result
    }

    /// Opens a file that [`set_aside`](Self::set_aside) created; `None` if it is missing or has another
    /// length.
    ///
    /// # Errors
    /// The system's error.
    pub fn reopen(&self, name: &str, length: u32) -> io::Result<Option<File>> {
        match private().read(true).open(self.path(name)) {
            Ok(file) => Ok((file.metadata()?.len() == u64::from(length)).then_some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes into a file at an offset; not durable yet.
    ///
    /// # Errors
    /// The system's error.
    pub fn write_at(&self, file: &File, offset: u32, data: &[u8]) -> io::Result<()> {
        self.write_through(data, |part| file.write_all_at(part, offset.into()))
    }

    /// Makes a file's bytes durable; its length already is.
    ///
    /// # Errors
    /// The system's error. What was written since the last success may then be lost, even if a later call
    /// succeeds.
    pub fn sync_data(&self, file: &File) -> io::Result<()> {
        self.pass(Step::SyncFile)?;
        file.sync_data()
    }

    /// Lets the gate cut a step that belongs to another module.
    ///
    /// # Errors
    /// The cut.
    pub fn pass(&self, step: Step) -> io::Result<()> {
        match self.ask(step) {
            Cut::No => Ok(()),
            Cut::Before | Cut::Half => Err(cut()),
        }
    }

    fn ask(&self, step: Step) -> Cut {
        self.0.gate.borrow_mut().as_mut().map_or(Cut::No, |gate| gate(step))
    }

    fn write_through(&self, bytes: &[u8], write: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match self.ask(Step::Write) {
            Cut::No => write(bytes),
            Cut::Before => Err(cut()),
            Cut::Half => {
                write(&bytes[..bytes.len() / 2])?;
                Err(cut())
            }
        }
    }

    fn take_name(&self, file: &File, unfinished: &Path, name: &str) -> io::Result<()> {
        self.pass(Step::SyncFile)?;
        file.sync_all()?;
        self.rename(unfinished, name)
    }

    fn rename(&self, unfinished: &Path, name: &str) -> io::Result<()> {
        self.pass(Step::Rename)?;
        fs::rename(unfinished, self.path(name))?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.pass(Step::SyncFolder)?;
        self.0.folder.sync_all()
    }

    /// A free temporary path for `name`.
    fn unfinished(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path(&format!("{name}.{UNFINISHED}"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(path),
        }
    }

    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0.path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Disk").field(&self.0.path).finish()
    }
}

/// Locks the folder. A child process that is just starting briefly holds a copy of the lock, so this tries
/// again after a refusal.
fn hold(lock: &File) -> io::Result<()> {
    let mut patience = LOCK_PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if patience.is_zero() => {
                let kind = io::ErrorKind::WouldBlock;
                return Err(io::Error::new(kind, "another fwcast-agent uses it"));
            }
            Err(TryLockError::WouldBlock) => {
                let pause = patience.min(Duration::from_millis(10));
                patience -= pause;
                thread::sleep(pause);
            }
        }
    }
}

/// Sets a file's length and reserves its space.
fn reserve(file: &File, length: u32) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::empty(), 0, length.into()) {
        Ok(()) => Ok(()),
        // Some file systems cannot reserve space; then only set the length.
        Err(Errno::EOPNOTSUPP) => file.set_len(length.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether only the owner can read or write the file.
///
/// # Errors
/// The system's error.
pub fn is_private(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.permissions().mode() & 0o077 == 0)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "power cut by a test")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts the `nth` step, and everything after it.
    fn cut_at(nth: usize, how: Cut) -> Gate {
        let mut count = 0;
        Box::new(move |_| {
            count += 1;
            match count.cmp(&(nth + 1)) {
                std::cmp::Ordering::Less => Cut::No,
                std::cmp::Ordering::Equal => how,
                std::cmp::Ordering::Greater => Cut::Before,
            }
        })
    }

    #[test]
    fn a_replaced_file_is_old_or_new_wherever_the_cut_comes() {
        for how in [Cut::Before, Cut::Half] {
            let mut cuts = 0;
            loop {
                let folder = tempfile::tempdir().unwrap();
                let disk = Disk::open(folder.path()).unwrap();
                disk.replace("record", b"the old one").unwrap();
                disk.cut_by(cut_at(cuts, how));
                let done = disk.replace("record", b"the new and longer one").is_ok();
                drop(disk);
                let disk = Disk::open(folder.path()).unwrap();
                let content = disk.read("record").unwrap().unwrap();
                assert!(content == b"the old one" || content == b"the new and longer one");
                assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "record and lock");
                if done {
                    break;
                }
                cuts += 1;
            }
            assert_eq!(cuts, 4, "write, sync, rename, sync of the folder");
        }
    }

    #[test]
    fn a_link_points_to_the_old_or_the_new_wherever_the_cut_comes() {
        for cuts in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let disk = Disk::open(folder.path()).unwrap();
            disk.point("current", "a").unwrap();
            disk.cut_by(cut_at(cuts, Cut::Before));
            disk.point("current", "b").unwrap_err();
            drop(disk);
            let target = Disk::open(folder.path()).unwrap().target("current").unwrap();
            assert_eq!(target, Path::new(if cuts < 2 { "a" } else { "b" }));
        }
    }

    #[test]
    fn files_are_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(&folder.path().join("made")).unwrap();
        disk.replace("record", b"x").unwrap();
        assert!(is_private(&File::open(disk.path("record")).unwrap()).unwrap());
        assert!(is_private(&disk.set_aside("area", 10).unwrap()).unwrap());
        let mode = fs::metadata(folder.path().join("made")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_folder_serves_one_agent_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Disk::open(folder.path()).unwrap();
        assert_eq!(Disk::open(folder.path()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        Disk::open(folder.path()).unwrap();
    }

    #[test]
    fn an_area_is_empty_and_of_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        fs::write(disk.path("area"), b"something old and long").unwrap();
        let file = disk.set_aside("area", 9).unwrap();
        assert_eq!(fs::read(disk.path("area")).unwrap(), [0; 9]);
        drop(file);
        assert!(disk.reopen("area", 9).unwrap().is_some());
        assert!(disk.reopen("area", 10).unwrap().is_none());
        assert!(disk.reopen("nothing", 10).unwrap().is_none());
    }

    #[test]
    fn a_file_too_large_to_be_ours_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        fs::write(disk.path("record"), vec![0; 65 * 1024]).unwrap();
        assert_eq!(disk.read("record").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
