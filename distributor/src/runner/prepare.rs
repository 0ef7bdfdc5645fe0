//! From rollout manifests to a rollout that can begin: images are taken in, documents applied, a plan made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use provisioning::{Hex, Name};
use serde::de::DeserializeOwned;
use update_core::digest::Digest;
use update_core::suit::Offer;
use uuid::Uuid;

use crate::commands::exit_codes::Failure;
use crate::files::shown;
use crate::image;
use crate::manifest::check::Flaw;
use crate::manifest::compile::{self, Compiled, FleetGroup, FleetImage};
use crate::manifest::document::{ApiVersion, Framed, Metadata};
use crate::manifest::group::{GroupKind, RolloutGroup};
use crate::manifest::image::{Image, ImageKind};
use crate::manifest::rollout::{Rollout, RolloutKind};
use crate::manifest::{Digest as DigestText, Found, ImageRef, Kind, Manifest, Manifests, Problem};
use crate::rollout::plan::{AgentKey, Lane, Plan, PlannedImage};
use crate::state::{Attempts, GroupState, StateDir};
use crate::store::images::Images;
use crate::store::{Applied, Document, NewDocument, Store};

/// A rollout that can begin.
#[derive(Debug)]
pub struct Planned {
    /// Its name.
    pub name: Name,
    /// The generation of its document; 0 where that was not applied.
    pub generation: u32,
    /// What is to be done.
    pub plan: Plan,
    /// Agents of its groups that the image is not for.
    pub left_out: Vec<AgentKey>,
}

/// What was said of a document when it was applied.
#[derive(Debug)]
pub struct AppliedDocument {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// What became of it.
    pub applied: Applied,
}

/// Why a rollout cannot begin: something in the files, or something else.
#[derive(Debug)]
pub enum Unprepared {
    /// In the files, with places.
    Problems(Vec<Problem>),
    /// Elsewhere.
    Failure(Failure),
}

impl<E: Into<Failure>> From<E> for Unprepared {
    fn from(error: E) -> Self {
        Self::Failure(error.into())
    }
}

impl Planned {
    /// The last attempt number used for its image in any of its security groups, or 1.
    ///
    /// # Errors
    /// A group's file of attempts cannot be read.
    pub fn last_attempt(&self, dir: &StateDir) -> Result<u32, Failure> {
        let digest = digest_of(&self.plan)?;
        let mut last = 1;
        for lane in &self.plan.lanes {
            last = last.max(Attempts::load(dir, &lane.security_group)?.last(&digest).unwrap_or(1));
        }
        Ok(last)
    }
}

/// The digest of a plan's image.
///
/// # Errors
/// It has not 32 bytes, which no plan that was compiled has.
pub fn digest_of(plan: &Plan) -> Result<Digest, Failure> {
    let bytes = plan.image.digest.as_bytes().try_into();
    bytes
        .map(Digest)
        .map_err(|_| Failure::error("the plan's image has no SHA-256: apply the rollout under a new name"))
}

/// Documents as far as they are known: those of the files, and of the store those that the files do not have.
#[derive(Debug, Default)]
pub struct Known {
    groups: BTreeMap<Name, RolloutGroup>,
    images: BTreeMap<Name, Image>,
    /// Where image files of documents lie, by the Image's name.
    folders: BTreeMap<Name, PathBuf>,
}

/// Takes images in and applies all documents: all, or none. Images that no document names any more go.
///
/// # Errors
/// An image is not there, or not the one that was signed; the store's own.
pub async fn apply<S: Store>(
    dir: &StateDir,
    store: &S,
    manifests: &Manifests,
    at: Timestamp,
) -> Result<Vec<AppliedDocument>, Unprepared> {
    let mut documents = Vec::new();
    for found in &manifests.found {
        documents.push(document(dir, manifests, found)?);
    }
    let applied = store.apply(&documents, at).await?;
    // What the documents before named.
    Images::of(dir).collect(store).await?;
    let said = documents.into_iter().zip(applied);
    Ok(said.map(|(it, applied)| AppliedDocument { kind: it.kind, name: it.name, applied }).collect())
}

/// A document as the store keeps it: images by digest, no paths.
fn document(dir: &StateDir, manifests: &Manifests, found: &Found) -> Result<NewDocument, Unprepared> {
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
                    return Err(Unprepared::Problems(vec![manifests.problem(found, &place, why)]));
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
    let spec = spec.map_err(|error| Failure::error(format!("cannot write a document as JSON: {error}")))?;
    let labels = metadata.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    Ok(NewDocument { kind: found.manifest.kind(), name: metadata.name.clone(), labels, spec })
}

fn image_envelope(image: &Path, envelope: Option<PathBuf>) -> Result<Vec<u8>, Failure> {
    crate::files::open(image)?;
    let path = envelope.unwrap_or_else(|| image::default_envelope(image));
    Ok(image::read_envelope(&path)?)
}

impl Known {
    /// The documents of the store.
    ///
    /// # Errors
    /// The store's own.
    pub async fn in_store<S: Store>(store: &S) -> Result<Self, Failure> {
        let mut known = Self { groups: rollout_groups(store).await?, ..Self::default() };
        for document in store.documents(Kind::Image).await? {
            let image: Image = framed(ImageKind::Image, &document)?;
            known.images.insert(document.name, image);
        }
        Ok(known)
    }

    /// Those of the files as well, in place of what the store has of the same name.
    pub fn with(mut self, manifests: &Manifests) -> Self {
        for found in &manifests.found {
            match &found.manifest {
                Manifest::RolloutGroup(group) => {
                    self.groups.insert(group.metadata.name.clone(), group.clone());
                }
                Manifest::Image(image) => {
                    let name = image.metadata.name.clone();
                    self.folders.insert(name.clone(), manifests.source(found).folder.clone());
                    self.images.insert(name, image.clone());
                }
                Manifest::Rollout(_) => {}
            }
        }
        self
    }

    /// Makes a plan of a rollout. `folder` is where paths in it start from.
    ///
    /// # Errors
    /// Inner: all that is wrong, with its place in the rollout's `spec`. Outer: the image cannot be read,
    /// or a group's folder.
    pub fn plan(
        &self,
        dir: &StateDir,
        rollout: &Rollout,
        folder: &Path,
    ) -> Result<Result<Compiled, Vec<Flaw>>, Failure> {
        let image = self.image(dir, rollout, folder)?;
        let groups: Vec<&RolloutGroup> = self.groups.values().collect();
        let named = groups.iter().filter(|group| rollout.spec.groups.contains(&group.metadata.name));
        let security: BTreeSet<&Name> = named.map(|group| &group.spec.security.group).collect();
        let mut fleet = Vec::new();
        for name in dir.groups()?.iter().filter(|name| security.contains(name)) {
            fleet.push(FleetGroup::from(&GroupState::open(dir, name)?));
        }
        Ok(compile::compile(rollout, &groups, &image, &fleet))
    }

    /// The image of a rollout, from its file or from the store.
    fn image(&self, dir: &StateDir, rollout: &Rollout, folder: &Path) -> Result<FleetImage, Failure> {
        let rollout_name = &rollout.metadata.name;
        match &rollout.spec.image {
            ImageRef::Name(name) => {
                let image = self.images.get(name).ok_or_else(|| {
                    Failure::error(format!(
                        "rollout '{rollout_name}' names the image '{name}', and there is no such Image: \
                         give its document as well"
                    ))
                })?;
                let version = image.spec.version.to_string();
                match (&image.spec.file, &image.spec.digest) {
                    (Some(file), _) => {
                        let folder = self.folders.get(name).map_or(folder, PathBuf::as_path);
                        let envelope = image.spec.envelope.as_ref().map(|path| folder.join(path));
                        from_file(name.clone(), version, &folder.join(file), envelope)
                    }
                    (None, Some(digest)) => from_store(dir, name.clone(), version, &digest.0),
                    (None, None) => {
                        Err(Failure::error(format!("image '{name}' says nowhere which image it is")))
                    }
                }
            }
            ImageRef::Digest(digest) => from_store(dir, rollout_name.clone(), String::new(), &digest.0),
            ImageRef::File(file) => from_file(rollout_name.clone(), String::new(), &folder.join(file), None),
        }
    }
}

fn from_file(
    name: Name,
    version: String,
    path: &Path,
    envelope: Option<PathBuf>,
) -> Result<FleetImage, Failure> {
    let envelope = image_envelope(path, envelope)?;
    let offer = image::offer_unverified(path, &envelope)?;
    image::check(path, &offer)?;
    Ok(fleet_image(name, version, &offer))
}

fn from_store(dir: &StateDir, name: Name, version: String, digest: &Digest) -> Result<FleetImage, Failure> {
    let stored = Images::of(dir).open(digest)?;
    Ok(fleet_image(name, version, &stored.offer))
}

fn fleet_image(name: Name, version: String, offer: &Offer) -> FleetImage {
    let version = if version.is_empty() { format!("#{}", offer.sequence_number) } else { version };
    let planned = PlannedImage {
        digest: Hex::from(offer.digest.0),
        name,
        version,
        sequence_number: offer.sequence_number,
        bytes: offer.layout.image_size.bytes(),
        block_bytes: u16::try_from(offer.layout.block_size.bytes()).unwrap_or(u16::MAX),
    };
    FleetImage { planned, vendor: Uuid::from_bytes(offer.vendor), class: Uuid::from_bytes(offer.class) }
}

/// The rollout groups that were applied.
///
/// # Errors
/// The store's own.
pub(super) async fn rollout_groups<S: Store>(store: &S) -> Result<BTreeMap<Name, RolloutGroup>, Failure> {
    let mut groups = BTreeMap::new();
    for document in store.documents(Kind::RolloutGroup).await? {
        let group: RolloutGroup = framed(GroupKind::RolloutGroup, &document)?;
        groups.insert(document.name, group);
    }
    Ok(groups)
}

/// A rollout that was applied, with its generation.
///
/// # Errors
/// There is none of this name; the store's own.
pub async fn rollout<S: Store>(store: &S, name: &Name) -> Result<(Rollout, u32), Failure> {
    let document = store.document(Kind::Rollout, name).await?.ok_or_else(|| {
        Failure::error(format!(
            "there is no rollout '{name}': `fwcast get rollouts` lists those that were applied"
        ))
    })?;
    Ok((framed(RolloutKind::Rollout, &document)?, document.generation))
}

/// The digest of the image that a rollout names, by the documents that were applied.
///
/// # Errors
/// A document is not there, or names an image without saying which.
pub async fn image_digest<S: Store>(store: &S, name: &Name) -> Result<Digest, Failure> {
    let unknown =
        |image: &dyn std::fmt::Display| Failure::error(format!("image '{image}' is not there: apply it"));
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

/// The agents of a lane as they are enrolled now; `None` where its rollout group is no more.
pub(super) fn members_of(
    lane: &Lane,
    groups: &BTreeMap<Name, RolloutGroup>,
    security: &GroupState,
    offer: &Offer,
) -> Option<Vec<Name>> {
    let image = fleet_image(lane.name.clone(), String::new(), offer);
    let group = groups.get(&lane.name)?;
    Some(compile::fitting(group, &FleetGroup::from(security), &image))
}

/// A document of the store in the form that it was read in.
fn framed<K, T: DeserializeOwned>(kind: K, document: &Document) -> Result<Framed<K, T>, Failure> {
    let unreadable = |why: String| {
        Failure::error(format!(
            "the {} '{}' in the database cannot be read ({why}): apply it again",
            document.kind.noun(),
            document.name
        ))
    };
    let spec =
        serde_json::from_value(document.spec.clone()).map_err(|error| unreadable(error.to_string()))?;
    let metadata = Metadata { name: document.name.clone(), labels: BTreeMap::new() };
    Ok(Framed { api_version: ApiVersion::V1, kind, metadata, spec })
}
