//! Applied documents, read back from the store.

use std::collections::BTreeMap;

use provisioning::Name;
use serde::de::DeserializeOwned;
use update_core::digest::Digest;

use crate::ImageRef;
use crate::document::{ApiVersion, Framed, Metadata};
use crate::group::{GroupKind, RolloutGroup};
use crate::image::{Image, ImageKind};
use crate::rollout::{Rollout, RolloutKind};
use fwcast_state::files::shown;
use fwcast_store::kind::Kind;
use fwcast_store::{Document, Store, StoreError};

/// Why an applied document cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The store's errors.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No rollout with this name was applied.
    #[error("there is no rollout '{0}': `fwcast get rollouts` lists those that were applied")]
    NoRollout(Name),
    /// The image that a rollout names was not applied.
    #[error("there is no image '{0}': apply its document")]
    NoImage(String),
    /// This program does not know its form.
    #[error("the {} '{name}' in the database cannot be read ({why}): apply it again", .kind.noun())]
    Unreadable {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: Name,
        /// What is wrong in it.
        why: String,
    },
}

/// The applied rollout groups.
///
/// # Errors
/// The store's errors.
pub async fn rollout_groups<S: Store>(store: &S) -> Result<BTreeMap<Name, RolloutGroup>, DocumentError> {
    let mut groups = BTreeMap::new();
    for document in store.documents(Kind::RolloutGroup).await? {
        let group: RolloutGroup = framed(GroupKind::RolloutGroup, &document)?;
        groups.insert(document.name, group);
    }
    Ok(groups)
}

/// The applied images.
///
/// # Errors
/// The store's errors.
pub async fn images<S: Store>(store: &S) -> Result<BTreeMap<Name, Image>, DocumentError> {
    let mut images = BTreeMap::new();
    for document in store.documents(Kind::Image).await? {
        let image: Image = framed(ImageKind::Image, &document)?;
        images.insert(document.name, image);
    }
    Ok(images)
}

/// An applied rollout, with its generation.
///
/// # Errors
/// There is no rollout with this name, or the store's errors.
pub async fn rollout<S: Store>(store: &S, name: &Name) -> Result<(Rollout, u32), DocumentError> {
    let document = store.document(Kind::Rollout, name).await?;
    let document = document.ok_or_else(|| DocumentError::NoRollout(name.clone()))?;
    Ok((framed(RolloutKind::Rollout, &document)?, document.generation))
}

/// The digest of the image that a rollout names, according to the applied documents.
///
/// # Errors
/// A document is missing, or does not say which image it names.
pub async fn image_digest<S: Store>(store: &S, name: &Name) -> Result<Digest, DocumentError> {
    let unknown = |image: &dyn std::fmt::Display| DocumentError::NoImage(image.to_string());
    match rollout(store, name).await?.0.spec.image {
        ImageRef::Digest(digest) => Ok(digest.0),
        ImageRef::File(file) => Err(unknown(&shown(&file))),
        ImageRef::Name(image) => {
            let document = store.document(Kind::Image, &image).await?.ok_or_else(|| unknown(&image))?;
            let document: Image = framed(ImageKind::Image, &document)?;
            document.spec.digest.map(|digest| digest.0).ok_or_else(|| unknown(&image))
        }
    }
}

/// A document of the store in the form in which it was first read.
fn framed<K, T: DeserializeOwned>(kind: K, document: &Document) -> Result<Framed<K, T>, DocumentError> {
    let spec = serde_json::from_value(document.spec.clone()).map_err(|error| DocumentError::Unreadable {
        kind: document.kind,
        name: document.name.clone(),
        why: error.to_string(),
    })?;
    let metadata = Metadata { name: document.name.clone(), labels: BTreeMap::new() };
    Ok(Framed { api_version: ApiVersion::V1, kind, metadata, spec })
}
