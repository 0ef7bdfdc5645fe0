//! Stores documents and their images in the state folder.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use provisioning::Name;

use crate::{Diagnostic, Digest as DigestText, Found, ImageRef, Manifest, Manifests};
use fwcast_state::StateDir;
use fwcast_state::files::{self, FileError, shown};
use fwcast_state::image;
use fwcast_store::images::{Images, ImagesError};
use fwcast_store::kind::Kind;
use fwcast_store::{Applied, NewDocument, Store, StoreError};

/// The result of applying a document.
#[derive(Debug)]
pub struct AppliedDocument {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// The result.
    pub applied: Applied,
}

/// Why documents were not applied. Nothing has changed, except that images may have been stored.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Problems in the files, with places.
    #[error("the files contain errors")]
    Diagnostics(Vec<Diagnostic>),
    /// The files of an image.
    #[error(transparent)]
    File(#[from] FileError),
    /// An image to be stored.
    #[error(transparent)]
    Images(#[from] ImagesError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A document that cannot be written as JSON.
    #[error("cannot write a document as JSON: {0}")]
    NotWritten(serde_json::Error),
}

/// Stores the images and applies all documents or none. Deletes images that no document names any more.
///
/// # Errors
/// An image is missing or is not the signed one, or the store's errors.
pub async fn apply<S: Store>(
    dir: &StateDir,
    store: &S,
    manifests: &Manifests,
    by: &str,
    at: Timestamp,
) -> Result<Vec<AppliedDocument>, ApplyError> {
    let mut documents = Vec::new();
    for found in &manifests.found {
        documents.push(document(dir, manifests, found)?);
    }
    let applied = store.apply(&documents, by, at).await?;
    // The images that earlier documents named.
    Images::of(dir).collect(store).await?;
    let said = documents.into_iter().zip(applied);
    Ok(said.map(|(it, applied)| AppliedDocument { kind: it.kind, name: it.name, applied }).collect())
}

/// A document as the store keeps it: images by digest, no paths.
fn document(dir: &StateDir, manifests: &Manifests, found: &Found) -> Result<NewDocument, ApplyError> {
    let folder = &manifests.source(found).folder;
    let metadata = found.manifest.metadata();
    let spec = match &found.manifest {
        Manifest::RolloutGroup(group) => serde_json::to_value(&group.spec),
        Manifest::Image(image) => {
            let mut spec = image.spec.clone();
            if let Some(file) = spec.file.take() {
                let path = folder.join(file);
                let envelope = image_envelope(&path, spec.envelope.take().map(|it| folder.join(it)))?;
                let digest = Images::of(dir).add(&path, &envelope)?;
                if spec.digest.as_ref().is_some_and(|wanted| wanted.0 != digest) {
                    let why = format!(
                        "the envelope of {} has another digest: sha256:{}",
                        shown(&path),
                        hex::encode(digest.0)
                    );
                    let place = ["spec".into(), "digest".into()];
                    return Err(ApplyError::Diagnostics(vec![manifests.problem(found, &place, why)]));
                }
                spec.digest = Some(DigestText(digest));
            }
            serde_json::to_value(&spec)
        }
        Manifest::Rollout(rollout) => {
            let mut spec = rollout.spec.clone();
            if let ImageRef::File(file) = &spec.image {
                let path = folder.join(file);
                let digest = Images::of(dir).add(&path, &image_envelope(&path, None)?)?;
                spec.image = ImageRef::Digest(DigestText(digest));
            }
            serde_json::to_value(&spec)
        }
    };
    let spec = spec.map_err(ApplyError::NotWritten)?;
    let labels = metadata.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    Ok(NewDocument { kind: found.manifest.kind(), name: metadata.name.clone(), labels, spec })
}

/// The envelope of an image: the named one, or the one beside it.
pub(super) fn image_envelope(image: &Path, envelope: Option<PathBuf>) -> Result<Vec<u8>, FileError> {
    files::open(image)?;
    let path = envelope.unwrap_or_else(|| image::default_envelope(image));
    image::read_envelope(&path)
}
