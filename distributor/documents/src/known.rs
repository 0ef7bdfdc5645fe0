//! The known documents, and the plans made from them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use provisioning::{Hex, Name};
use update_core::digest::Digest;
use update_core::suit::Offer;
use uuid::Uuid;

use super::apply::image_envelope;
use super::stored::{self, DocumentError};
use crate::check::UnplacedDiagnostic;
use crate::compile::{self, Compiled, FleetGroup, FleetImage};
use crate::group::RolloutGroup;
use crate::image::Image;
use crate::rollout::Rollout;
use crate::{Diagnostic, ImageRef, Manifest, Manifests};
use fwcast_state::files::FileError;
use fwcast_state::image::{self, ImageError, OfferError};
use fwcast_state::{Attempts, GroupState, StateDir, StateError};
use fwcast_store::Store;
use fwcast_store::images::{Images, ImagesError};
use rollout_engine::Many;
use rollout_engine::plan::{AgentKey, Lane, Plan, PlannedImage};

/// A rollout that is ready to begin.
#[derive(Debug)]
pub struct Planned {
    /// Its name.
    pub name: Name,
    /// The generation of its document; 0 if that was not applied.
    pub generation: u32,
    /// The plan.
    pub plan: Plan,
    /// Agents of its groups that the image does not fit.
    pub left_out: Vec<AgentKey>,
}

/// Why a rollout cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Problems in the rollout's file, with places.
    #[error("the files contain errors")]
    Diagnostics(Vec<Diagnostic>),
    /// The files of the image.
    #[error(transparent)]
    File(#[from] FileError),
    /// The image is not the signed one.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Its envelope.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The image in the state folder.
    #[error(transparent)]
    Images(#[from] ImagesError),
    /// A group's folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The documents applied before.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// No Image document with this name is known.
    #[error(
        "rollout '{rollout}' names the image '{image}', but there is no such Image: give its document as well"
    )]
    NoImage {
        /// Which rollout.
        rollout: Name,
        /// What it names.
        image: Name,
    },
    /// Agents run a newer image already.
    #[error(
        "{} of the rollout, such as '{first}' with manifest sequence number {installed}, would refuse the \
         image, which has {sequence_number}: sign it with a higher number, or take them out of its groups",
        Many(*.agents, "agent")
    )]
    Downgrade {
        /// One of them.
        first: AgentKey,
        /// What it runs.
        installed: u64,
        /// How many there are.
        agents: usize,
        /// The image's.
        sequence_number: u64,
    },
    /// An Image document without file or digest.
    #[error("image '{0}' has neither a file nor a digest")]
    ImageOfNothing(Name),
}

/// The digest of a plan's image is not 32 bytes long. This never happens in a compiled plan.
#[derive(Debug, thiserror::Error)]
#[error("the plan's image has no SHA-256: apply the rollout under a new name")]
pub struct NoDigest;

impl Planned {
    /// The last attempt number used for its image in any of its security groups, or 1.
    ///
    /// # Errors
    /// A group's file of attempts cannot be read.
    pub fn last_attempt(&self, dir: &StateDir) -> Result<u32, StateError> {
        let Ok(digest) = digest_of(&self.plan) else { return Ok(1) };
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
/// It is not 32 bytes long, but never in a compiled plan.
pub fn digest_of(plan: &Plan) -> Result<Digest, NoDigest> {
    plan.image.digest.as_bytes().try_into().map(Digest).map_err(|_| NoDigest)
}

/// The known documents: those in the files, and those in the store that the files do not replace.
#[derive(Debug, Default)]
pub struct Known {
    groups: BTreeMap<Name, RolloutGroup>,
    images: BTreeMap<Name, Image>,
    /// The paths of image files, by the Image's name.
    folders: BTreeMap<Name, PathBuf>,
}

impl Known {
    /// The documents of the store.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn in_store<S: Store>(store: &S) -> Result<Self, DocumentError> {
        let mut known = Self { groups: stored::rollout_groups(store).await?, ..Self::default() };
        known.images = stored::images(store).await?;
        Ok(known)
    }

    /// Adds the documents in the files. They replace documents of the same name in the store.
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

    /// Plans a rollout. Relative paths in it start from `folder`.
    ///
    /// # Errors
    /// Inner: everything that is wrong, with its place in the rollout's `spec`. Outer: the image or a group's
    /// folder cannot be read.
    pub fn plan(
        &self,
        dir: &StateDir,
        rollout: &Rollout,
        folder: &Path,
    ) -> Result<Result<Compiled, Vec<UnplacedDiagnostic>>, PlanError> {
        let source = self.image(dir, rollout, folder)?;
        let security = self.security_groups(dir, rollout)?;
        let groups: Vec<&RolloutGroup> = self.groups.values().collect();
        let fleet: Vec<FleetGroup> = security.iter().map(FleetGroup::from).collect();
        let compiled = compile::compile(rollout, &groups, &source.image, &fleet);
        if compiled.is_ok() {
            source.verify(&security)?;
        }
        Ok(compiled)
    }

    /// Checks that each security group of a rollout, as far as it is known, would accept its image.
    ///
    /// # Errors
    /// One of them would not, or the image or a group's folder cannot be read.
    pub fn verify(&self, dir: &StateDir, rollout: &Rollout, folder: &Path) -> Result<(), PlanError> {
        match self.image(dir, rollout, folder) {
            Ok(source) => source.verify(&self.security_groups(dir, rollout)?),
            // Its document or its files may be applied later.
            Err(PlanError::NoImage { .. } | PlanError::Images(ImagesError::Missing { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The security groups of a rollout that exist.
    fn security_groups(&self, dir: &StateDir, rollout: &Rollout) -> Result<Vec<GroupState>, PlanError> {
        let named = rollout.spec.groups.iter().filter_map(|name| self.groups.get(name));
        let wanted: BTreeSet<&Name> = named.map(|group| &group.spec.security.group).collect();
        let mut groups = Vec::new();
        for name in dir.groups()?.iter().filter(|name| wanted.contains(name)) {
            groups.push(GroupState::open(dir, name)?);
        }
        Ok(groups)
    }

    /// The image of a rollout, from its file or from the store.
    fn image(&self, dir: &StateDir, rollout: &Rollout, folder: &Path) -> Result<ImageSource, PlanError> {
        let rollout_name = &rollout.metadata.name;
        match &rollout.spec.image {
            ImageRef::Name(name) => {
                let no_image = || PlanError::NoImage { rollout: rollout_name.clone(), image: name.clone() };
                let image = self.images.get(name).ok_or_else(no_image)?;
                let version = image.spec.version.to_string();
                match (&image.spec.file, &image.spec.digest) {
                    (Some(file), _) => {
                        let folder = self.folders.get(name).map_or(folder, PathBuf::as_path);
                        let envelope = image.spec.envelope.as_ref().map(|path| folder.join(path));
                        from_file(name.clone(), version, &folder.join(file), envelope)
                    }
                    (None, Some(digest)) => from_store(dir, name.clone(), version, &digest.0),
                    (None, None) => Err(PlanError::ImageOfNothing(name.clone())),
                }
            }
            ImageRef::Digest(digest) => from_store(dir, rollout_name.clone(), String::new(), &digest.0),
            ImageRef::File(file) => from_file(rollout_name.clone(), String::new(), &folder.join(file), None),
        }
    }
}

/// An image that was checked against its envelope, and the envelope.
struct ImageSource {
    image: FleetImage,
    envelope: Vec<u8>,
}

impl ImageSource {
    /// Checks that each of these groups would accept it.
    fn verify(&self, groups: &[GroupState]) -> Result<(), PlanError> {
        for group in groups {
            image::offer_to(group, &self.image.planned.name, &self.envelope)?;
        }
        Ok(())
    }
}

fn from_file(
    name: Name,
    version: String,
    path: &Path,
    envelope: Option<PathBuf>,
) -> Result<ImageSource, PlanError> {
    let envelope = image_envelope(path, envelope)?;
    let offer = image::offer_unverified(path, &envelope)?;
    image::check(path, &offer)?;
    Ok(ImageSource { image: fleet_image(name, version, &offer), envelope })
}

fn from_store(
    dir: &StateDir,
    name: Name,
    version: String,
    digest: &Digest,
) -> Result<ImageSource, PlanError> {
    let stored = Images::of(dir).open(digest)?;
    Ok(ImageSource { image: fleet_image(name, version, &stored.offer), envelope: stored.envelope })
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

/// The currently enrolled agents of a lane; `None` if its rollout group no longer exists.
pub fn members_of(
    lane: &Lane,
    groups: &BTreeMap<Name, RolloutGroup>,
    security: &GroupState,
    offer: &Offer,
) -> Option<Vec<Name>> {
    let image = fleet_image(lane.name.clone(), String::new(), offer);
    let group = groups.get(&lane.name)?;
    Some(compile::fitting(group, &FleetGroup::from(security), &image))
}
