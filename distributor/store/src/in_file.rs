//! A store in one file of the state folder, so that it can be backed up with it.

use std::future::Future;
use std::path::Path;

use super::{Answer, Store};

/// A store in one file.
pub trait InFile: Store + Sized {
    /// The file's name in the state folder.
    const FILE: &'static str;
    /// Other files that belong to it while it is in use.
    const COMPANIONS: &'static [&'static str];

    /// Opens a file, and creates it if there is none.
    fn open_path(path: &Path) -> impl Future<Output = Answer<Self>> + Send;

    /// Writes a complete copy to a new file.
    fn copy_to(&self, path: &Path) -> impl Future<Output = Answer<()>> + Send;

    /// Reads everything once and checks it for damage.
    ///
    /// # Errors
    /// [`StoreError::Broken`](super::StoreError::Broken).
    fn check(&self) -> impl Future<Output = Answer<()>> + Send;

    /// Closes it, so that the file is complete without its companions. Dropping it loses nothing either.
    fn close(self) -> impl Future<Output = ()> + Send;
}
