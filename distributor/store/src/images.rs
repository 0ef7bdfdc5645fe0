//! Images by the digest of their signed SUIT manifest: `images/sha256/DIGEST/image` and `envelope`.
//!
//! A folder gets its name once both files in it are complete and durable. Opening trusts nothing: each time,
//! it checks the envelope's digest, and the image against the envelope.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use update_core::digest::Digest;
use update_core::suit::Offer;
use update_core::suit_inspect::inspect_unverified;
use update_core::tree_build::Tree;

use super::{Store, StoreError};
use crate::kind::Kind;
use fwcast_state::StateDir;
use fwcast_state::files::{self, Access, FileError, shown};
use fwcast_state::image::{self, ImageError, OfferError};
use fwcast_state::random::{NoRandomness, seed};

/// Images younger than this are not collected: the document that will name them may not be applied yet.
const COLLECTED_AFTER: Duration = Duration::from_secs(3600);

/// What is wrong with an image in the store, or with one to be stored.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Its envelope.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The system gives no random bytes.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// There is no image with this digest.
    #[error(
        "there is no image sha256:{digest} in {}: apply its document again, with the image file and its \
         envelope", shown(.folder)
    )]
    Missing {
        /// In hexadecimal.
        digest: String,
        /// The folder that was searched.
        folder: PathBuf,
    },
    /// The envelope is a different one.
    #[error(
        "the envelope in {} is not the one with the digest sha256:{digest}: delete that folder, and apply \
         the image's document again", shown(.folder)
    )]
    OtherEnvelope {
        /// In hexadecimal.
        digest: String,
        /// The image's folder.
        folder: PathBuf,
    },
}

/// The images of a state folder.
#[derive(Debug, Clone)]
pub struct Images {
    folder: PathBuf,
}

/// An image that was opened and checked against its digest, byte for byte. Each group decides whether it
/// trusts the key of its signature.
#[derive(Debug)]
pub struct StoredImage {
    /// The SUIT envelope.
    pub envelope: Vec<u8>,
    /// What it offers.
    pub offer: Offer,
    /// The image's hash tree.
    pub tree: Tree,
    /// The image, at its beginning.
    pub file: File,
}

impl Images {
    /// The images of a state folder.
    pub fn of(dir: &StateDir) -> Self {
        Self { folder: dir.state().join("images").join("sha256") }
    }

    /// Stores an image with its envelope after comparing the two; returns its digest. An image that is
    /// already there stays.
    ///
    /// # Errors
    /// The files cannot be read or written, the envelope offers nothing, or the image is not the one it
    /// offers.
    pub fn add(&self, path: &Path, envelope: &[u8]) -> Result<Digest, ImagesError> {
        let offer = image::offer_unverified(path, envelope)?;
        let digest = offer.digest;
        // Check even if it is stored already, so that a wrong file beside the old envelope is reported.
        image::check(path, &offer)?;
        if self.open(&digest).is_ok() {
            // Make it young again: the document that will name it is not applied yet.
            let place = self.place(&digest);
            let touched = File::open(&place).and_then(|folder| folder.set_modified(SystemTime::now()));
            touched.map_err(|source| FileError::System { verb: "touch", path: place, source })?;
            return Ok(digest);
        }
        files::make_folder(&self.folder)?;
        let making = self.folder.join(format!(".{}.{:016x}", hex::encode(digest.0), seed()?));
        let added = self.add_in(&making, path, envelope, &digest);
        files::remove_folder(&making)?;
        added?;
        Ok(digest)
    }

    fn add_in(
        &self,
        making: &Path,
        path: &Path,
        envelope: &[u8],
        digest: &Digest,
    ) -> Result<(), ImagesError> {
        files::make_folder(making)?;
        let mut source = files::open(path)?;
        files::create_with(&making.join("image"), Access::Secret, |file| {
            io::copy(&mut source, file).map(drop)
        })?;
        files::create(&making.join("envelope"), envelope, Access::Secret)?;
        let place = self.place(digest);
        // The folder with this name did not open, so its content is wrong.
        files::remove_folder(&place)?;
        files::rename(making, &place)?;
        // The file may have changed between the check and the copy.
        match self.open(digest) {
            Ok(_) => Ok(()),
            Err(failure) => {
                files::remove_folder(&place)?;
                Err(failure)
            }
        }
    }

    /// Opens an image, and checks that it matches its digest.
    ///
    /// # Errors
    /// There is no image with this digest, or it is damaged.
    pub fn open(&self, digest: &Digest) -> Result<StoredImage, ImagesError> {
        let place = self.place(digest);
        let name = hex::encode(digest.0);
        if !place.is_dir() {
            return Err(ImagesError::Missing { digest: name, folder: self.folder.clone() });
        }
        let path = place.join("image");
        let envelope = image::read_envelope(&place.join("envelope"))?;
        let offer = inspect_unverified(&envelope).and_then(|inspection| inspection.offer);
        let offer = offer
            .ok()
            .filter(|offer| offer.digest == *digest)
            .ok_or_else(|| ImagesError::OtherEnvelope { digest: name, folder: place.clone() })?;
        let tree = image::check(&path, &offer)?;
        Ok(StoredImage { envelope, offer, tree, file: files::open(&path)? })
    }

    /// The digests of all images, unopened.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn digests(&self) -> Result<BTreeSet<String>, FileError> {
        Ok(self.entries()?.into_iter().filter(|name| is_digest(name)).collect())
    }

    /// Removes images that no document or rollout names, and leftovers of interrupted commands; returns how
    /// many images it removed. Anything younger than an hour stays.
    ///
    /// # Errors
    /// The store's errors, or the folder cannot be changed.
    pub async fn collect<S: Store>(&self, store: &S) -> Result<usize, StoreError> {
        let entries = self.entries()?;
        let named = named(store).await?;
        let mut gone = 0;
        for name in entries.iter().filter(|name| !named.contains(*name)) {
            let path = self.folder.join(name);
            if age(&path).is_some_and(|age| age >= COLLECTED_AFTER) {
                files::remove_folder(&path)?;
                gone += usize::from(is_digest(name));
            }
        }
        Ok(gone)
    }

    /// The folder that holds a folder for each image.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of an image.
    fn place(&self, digest: &Digest) -> PathBuf {
        self.folder.join(hex::encode(digest.0))
    }

    fn entries(&self) -> Result<Vec<String>, FileError> {
        let failed = |source| FileError::System { verb: "list", path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        Ok(names)
    }
}

/// The digests that any document or rollout names, anywhere in it.
async fn named<S: Store>(store: &S) -> Result<BTreeSet<String>, StoreError> {
    let mut named = BTreeSet::new();
    for kind in Kind::ALL {
        for document in store.documents(kind).await? {
            collect_digests(&document.spec, &mut named);
        }
    }
    for line in store.rollouts().await? {
        if let Some(rollout) = store.rollout(&line.name).await? {
            named.insert(rollout.plan.image.digest.to_string());
        }
    }
    Ok(named)
}

fn collect_digests(value: &Value, named: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            let digits = text.strip_prefix("sha256:").unwrap_or(text);
            if is_digest(digits) {
                named.insert(digits.to_owned());
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect_digests(value, named)),
        Value::Object(fields) => fields.values().for_each(|value| collect_digests(value, named)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The SHA-256 in lower-case hexadecimal.
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn age(path: &Path) -> Option<Duration> {
    SystemTime::now().duration_since(fs::metadata(path).ok()?.modified().ok()?).ok()
}
