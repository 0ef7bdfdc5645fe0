//! A store that is one file of the state folder, and so can be backed up with it.

use std::future::Future;
use std::path::Path;

use super::{Answer, Store};

/// A store in one file.
pub trait InFile: Store + Sized {
    /// The file's name in the state folder.
    const FILE: &'static str;
    /// Files of other names that belong to it while it is in use.
    const COMPANIONS: &'static [&'static str];

    /// Opens a file, and makes it where there is none.
    fn open_path(path: &Path) -> impl Future<Output = Answer<Self>> + Send;

    /// Writes a whole copy to a file that does not exist yet.
    fn copy_to(&self, path: &Path) -> impl Future<Output = Answer<()>> + Send;

    /// Reads everything once and looks for damage.
    ///
    /// # Errors
    /// [`StoreError::Broken`](super::StoreError::Broken).
    fn check(&self) -> impl Future<Output = Answer<()>> + Send;

    /// Closes it, so that the file is whole without its companions. Dropping it loses nothing either.
    fn close(self) -> impl Future<Output = ()> + Send;
}
