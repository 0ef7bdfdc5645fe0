//! Reading and writing files durably, and keeping secrets from others.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

/// Who may read a written file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Its owner only (0600).
    Secret,
    /// Everyone (0644, less the umask).
    Public,
}

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It does not exist.
    #[error("there is no file {}: check the path", shown(.0))]
    Missing(PathBuf),
    /// It already exists, and is not overwritten.
    #[error("{} already exists and is not overwritten: move it away or choose another name", shown(.0))]
    Exists(PathBuf),
    /// Its folder does not exist.
    #[error("{} cannot be written, because its folder does not exist: create the folder, or choose another \
    path", shown(.0))]
    NoFolder(PathBuf),
    /// Others can read this secret.
    #[error(
        "{} holds a secret, but its mode {mode:03o} gives others access: run `chmod 600` on it, and if \
         others use this machine, create a new secret", shown(.path)
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is longer than the limit.
    #[error("{} is longer than {max} bytes, so it is not the right file: check the path", shown(.path))]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// The limit in bytes.
        max: u64,
    },
    /// It is a folder, a device, a socket or a pipe.
    #[error("{} is not a regular file: check the path", shown(.0))]
    NotRegular(PathBuf),
    /// The system refused.
    #[error("cannot {verb} {}: {source}; check its folder, permissions and free space", shown(.path))]
    System {
        /// The operation that failed.
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A path as shown to people: in quotes, with control characters escaped.
pub fn shown(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().escape_debug())
}

/// Opens a regular file for reading. A pipe or device that would block is refused.
pub fn open(path: &Path) -> Result<File, FileError> {
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).map_err(
            |source| match source.kind() {
                io::ErrorKind::NotFound => FileError::Missing(path.into()),
                _ => system("open", path, source),
            },
        )?;
    let metadata = file.metadata().map_err(|source| system("access", path, source))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular(path.into()));
    }
    Ok(file)
}

/// The text in a file, without one byte order mark in front.
///
/// # Errors
/// It is not UTF-8.
pub fn text(bytes: &[u8]) -> Result<&str, std::str::Utf8Error> {
    let text = std::str::from_utf8(bytes)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Reads a file of at most `max` bytes.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    read_open(&open(path)?, path, max)
}

/// Reads a file of at most `max` bytes, unless anyone but its owner can read or write it.
pub fn read_secret(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    read_open(&open_secret(path)?, path, max)
}

/// Opens a regular file for reading, unless anyone but its owner can read or write it.
pub fn open_secret(path: &Path) -> Result<File, FileError> {
    let file = open(path)?;
    let metadata = file.metadata().map_err(|source| system("access", path, source))?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { path: path.into(), mode });
    }
    Ok(file)
}

/// Writes a new file. After a power cut it is there completely or not at all.
pub fn create(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    create_with(path, access, |file| file.write_all(bytes))
}

/// As [`create`], with content that `fill` writes piece by piece.
pub fn create_with(
    path: &Path,
    access: Access,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), FileError> {
    let temporary = Temporary::write(path, access, fill)?;
    temporary.sync(path)?;
    temporary.link(path)?;
    sync_folder(path)
}

/// As [`create`], for many files. To wait for the disk after all are written takes a fraction of the time.
pub fn create_all(all: &[(&Path, &[u8])], access: Access) -> Result<(), FileError> {
    let mut temporaries = Vec::with_capacity(all.len());
    for (path, bytes) in all {
        temporaries.push((Temporary::write(path, access, |file| file.write_all(bytes))?, *path));
    }
    temporaries.iter().try_for_each(|(temporary, path)| temporary.sync(path))?;
    temporaries.iter().try_for_each(|(temporary, path)| temporary.link(path))?;
    sync_folders(all.iter().map(|(path, _)| *path))
}

/// Writes a file or replaces it. After a power cut it is the old one or the new one, never a mixture.
pub fn replace(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    #[cfg(test)]
    cut::step(path)?;
    let temporary = Temporary::write(path, access, |file| file.write_all(bytes))?;
    temporary.sync(path)?;
    fs::rename(&temporary.path, path).map_err(|source| system("write", path, source))?;
    sync_folder(path)
}

/// Fails early where [`create`] would fail, because the name is taken or there is no such folder.
pub fn check_target(path: &Path) -> Result<(), FileError> {
    if !folder_of(path).is_dir() {
        return Err(FileError::NoFolder(path.into()));
    }
    match fs::symlink_metadata(path) {
        Ok(_) => Err(FileError::Exists(path.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(system("access", path, source)),
    }
}

/// Changes whenever a file is replaced. `None` if there is no such file.
pub fn fingerprint(path: &Path) -> Result<Option<String>, FileError> {
    match fs::metadata(path) {
        // Each write makes a new file.
        Ok(it) => Ok(Some(format!("{}-{}-{}.{:09}", it.ino(), it.size(), it.mtime(), it.mtime_nsec()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(system("access", path, source)),
    }
}

/// Creates a folder and its parents, for the owner only (0700).
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| system("create the folder", path, source))
}

/// Removes a folder with its content; a missing folder is not an error.
pub fn remove_folder(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(system("remove", path, source)),
        _ => Ok(()),
    }
}

/// Removes a file, if it is there.
pub fn remove_file(path: &Path) -> Result<(), FileError> {
    #[cfg(test)]
    cut::step(path)?;
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(system("remove", path, source)),
        _ => Ok(()),
    }
}

/// Renames a file or folder durably.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    rename_all(&[(from, to)])
}

/// As [`rename`], for many.
pub fn rename_all(all: &[(&Path, &Path)]) -> Result<(), FileError> {
    for (from, to) in all {
        #[cfg(test)]
        cut::step(from)?;
        fs::rename(from, to).map_err(|source| system("rename", from, source))?;
    }
    sync_folders(all.iter().flat_map(|(from, to)| [*from, *to]))
}

/// As [`sync_folder`], each folder once.
fn sync_folders<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<(), FileError> {
    let by_folder: BTreeMap<&Path, &Path> = paths.map(|path| (folder_of(path), path)).collect();
    by_folder.into_values().try_for_each(sync_folder)
}

/// Ends a sequence of durable writes after any of them, as a crash does.
#[cfg(test)]
pub(crate) mod cut {
    use super::{FileError, system};
    use std::cell::Cell;
    use std::path::Path;

    thread_local!(static LEFT: Cell<Option<u32>> = const { Cell::new(None) });

    /// From now on this many changes are made, and all others fail; `None` for no limit.
    pub(crate) fn after(changes: Option<u32>) {
        LEFT.set(changes);
    }

    pub(super) fn step(path: &Path) -> Result<(), FileError> {
        match LEFT.get() {
            None => Ok(()),
            Some(0) => Err(system("write", path, std::io::Error::other("cut"))),
            Some(left) => {
                LEFT.set(Some(left - 1));
                Ok(())
            }
        }
    }
}

/// Makes the entry of `path` in its folder durable.
pub fn sync_folder(path: &Path) -> Result<(), FileError> {
    let folder = folder_of(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| system("sync the folder of", path, source))
}

fn read_open(file: &File, path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(|source| system("read", path, source))?;
    if bytes.len() as u64 > max {
        return Err(FileError::TooLong { path: path.into(), max });
    }
    Ok(bytes)
}

/// A file beside the one that is meant, with a name that nothing else uses. It is gone when this ends.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    /// Writes it. It is not durable yet.
    fn write(
        beside: &Path,
        access: Access,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<Self, FileError> {
        let Some(name) = beside.file_name() else {
            return Err(FileError::NotRegular(beside.into()));
        };
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| system("write", beside, io::Error::other(error)))?;
        let mut temporary_name = std::ffi::OsString::from(".");
        temporary_name.push(name);
        temporary_name.push(format!(".{}.tmp", hex::encode(random)));
        let path = folder_of(beside).join(temporary_name);
        let mode = match access {
            Access::Secret => 0o600,
            Access::Public => 0o644,
        };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let mut temporary = Self { file: file.map_err(|source| system("write", beside, source))?, path };
        fill(&mut temporary.file).map_err(|source| system("write", beside, source))?;
        Ok(temporary)
    }

    fn sync(&self, meant: &Path) -> Result<(), FileError> {
        self.file.sync_all().map_err(|source| system("write", meant, source))
    }

    /// Gives it this name too. A hard link fails where the name is taken, unlike a rename.
    fn link(&self, path: &Path) -> Result<(), FileError> {
        fs::hard_link(&self.path, path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => FileError::Exists(path.into()),
            _ => system("write", path, source),
        })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn system(verb: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError::System { verb, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_for_its_owner_only_and_refused_when_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        create(&path, b"x", Access::Secret).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read_secret(&path, 1).unwrap(), b"x");
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_secret(&path, 1).unwrap_err();
            assert!(matches!(error, FileError::Exposed { .. }), "{mode:o}: {error}");
        }
    }

    #[test]
    fn create_never_overwrites_and_replace_leaves_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create(&path, b"one", Access::Public).unwrap();
        assert!(matches!(create(&path, b"two", Access::Public), Err(FileError::Exists(_))));
        assert!(matches!(check_target(&path), Err(FileError::Exists(_))));
        let nowhere = folder.path().join("no/file");
        assert!(matches!(check_target(&nowhere), Err(FileError::NoFolder(_))));
        assert_eq!(read(&path, 100).unwrap(), b"one");
        replace(&path, b"two", Access::Public).unwrap();
        assert_eq!(read(&path, 100).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(matches!(read(&path, 2), Err(FileError::TooLong { max: 2, .. })));
    }

    #[test]
    fn many_files_are_created_together_and_none_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, three] = ["one", "two", "three"].map(|name| folder.path().join(name));
        create_all(&[(&one, b"1"), (&two, b"2")], Access::Secret).unwrap();
        assert_eq!(read_secret(&two, 9).unwrap(), b"2");
        let taken = create_all(&[(&three, b"3"), (&one, b"4")], Access::Secret);
        assert!(matches!(taken, Err(FileError::Exists(_))));
        assert_eq!(read(&one, 9).unwrap(), b"1");
        rename_all(&[(&one, &folder.path().join("a")), (&two, &folder.path().join("b"))]).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "b", "three"], "nothing temporary stays");
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path(), 9), Err(FileError::NotRegular(_))));
        assert!(matches!(read(Path::new("/dev/zero"), 9), Err(FileError::NotRegular(_))));
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(read(&pipe, 9), Err(FileError::NotRegular(_))));
        assert!(matches!(read(&folder.path().join("no"), 9), Err(FileError::Missing(_))));
    }

    #[test]
    fn a_path_is_shown_without_control_characters() {
        assert_eq!(shown(Path::new("a\u{1b}[2J\n\u{202e}b")), "'a\\u{1b}[2J\\n\\u{202e}b'");
    }
}
