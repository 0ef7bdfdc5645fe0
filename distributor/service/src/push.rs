//! One update to one group.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration as StdDuration, Instant};

use provisioning::Name;
use update_core::distribution::{Activate, Distribution, DistributionConfig, Job, Update};
use update_core::suit::{self, Offer};
use update_core::suit_inspect::inspect_unverified;
use update_core::time::Duration;

use super::{Fleet, SendError};
use crate::control::Stop;
use crate::drive::{self, DistributionEnd, DistributionObserver};
use crate::link::Link;
use crate::manager::meanwhile;
use crate::session::Session;
use fwcast_state::files::{self, FileError, shown};
use fwcast_state::image::{self, ImageError};
use fwcast_state::random::seed;
use fwcast_state::{GroupState, StateDir, StateError};
use fwcast_store::{Store, StoreError};

/// What to deliver, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The image file.
    pub image: PathBuf,
    /// Its envelope; `None` for the one beside it.
    pub envelope: Option<PathBuf>,
    /// The group.
    pub group: Name,
    /// Whether agents activate it.
    pub activate: bool,
    /// Whether agents retry an activation that was rolled back.
    pub retry: bool,
    /// Agents activate this many seconds after they hear it.
    pub delay_s: u32,
    /// An agent that has not been heard from after this many seconds counts as lost.
    pub first_answer_within_s: u32,
    /// An agent that has been heard from and is still missing something after this many seconds counts as
    /// lost.
    pub transfer_within_s: u32,
    /// An agent that has not confirmed this many seconds after the activation counts as lost.
    pub confirm_within_s: u32,
    /// The rate in bits per second, in place of the group's.
    pub rate_bits_per_second: Option<u64>,
    /// Whether it is offered even if this machine's key set cannot verify it.
    pub unverified: bool,
    /// Whether agents that have not activated it drop it, in place of its delivery. That needs no image.
    pub cancel: bool,
}

/// Why an update cannot be delivered.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The group's files.
    #[error(transparent)]
    State(#[from] StateError),
    /// The image or its envelope cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The image is not the signed one.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The group would not accept it.
    #[error(
        "{} is not an update that group '{group}' would accept: {why}; sign the image with a key of the \
         group's key set", shown(.envelope)
    )]
    Refused {
        /// The envelope.
        envelope: PathBuf,
        /// The group.
        group: Name,
        /// An agent's reason.
        why: &'static str,
    },
    /// The image and the group have different block sizes.
    #[error(
        "{} is for blocks of {block_bytes} bytes, but group '{group}' uses blocks of {carried}: sign the \
         image with --block-size {carried}", shown(.envelope)
    )]
    BlockSize {
        /// The envelope.
        envelope: PathBuf,
        /// The image's block size.
        block_bytes: u32,
        /// The group.
        group: Name,
        /// Its block size.
        carried: u16,
    },
}

/// An update that was checked as the agents will check it, with its hash tree.
pub struct Checked {
    request: Request,
    offer: Offer,
    /// What is delivered; `None` where the update is cancelled.
    delivery: Option<(Update, File)>,
}

/// A group that is open for a push.
pub struct Push<'a, S> {
    fleet: &'a Fleet<S>,
    checked: Checked,
    session: Session,
    attempt: u32,
}

/// The result of a push.
pub struct Pushed {
    /// The group.
    pub group: GroupState,
    /// What each agent has reported.
    pub distribution: Distribution,
    /// How it ended.
    pub ended: DistributionEnd,
    /// From the first datagram to the last.
    pub took: StdDuration,
    /// What was offered.
    pub offer: Offer,
    /// Why the reports could not be stored, if so.
    pub not_noted: Option<StoreError>,
}

/// Checks everything about an image before the group is touched.
///
/// # Errors
/// The group would not accept it.
pub fn check(dir: &StateDir, request: Request) -> Result<Checked, CheckError> {
    let group = GroupState::open(dir, &request.group)?;
    // The image first: an envelope's name is made from its own.
    if !request.cancel {
        files::open(&request.image)?;
    }
    let path = request.envelope.clone().unwrap_or_else(|| image::default_envelope(&request.image));
    let envelope = image::read_envelope(&path)?;
    let offer = offer_of(&group, &path, &envelope, request.unverified)?;
    if request.cancel {
        return Ok(Checked { request, offer, delivery: None });
    }
    let block_bytes = offer.layout.block_size.bytes();
    let carried = group.profile.block_size;
    if block_bytes != u32::from(carried) {
        return Err(CheckError::BlockSize { envelope: path, block_bytes, group: group.name, carried });
    }
    let tree = image::check(&request.image, &offer)?;
    let file = files::open(&request.image)?;
    let update = Update { envelope, offer, pages: tree.pages };
    Ok(Checked { request, offer, delivery: Some((update, file)) })
}

/// The update, verified as the agents will verify it.
fn offer_of(group: &GroupState, path: &Path, envelope: &[u8], unverified: bool) -> Result<Offer, CheckError> {
    let refused = |error| CheckError::Refused {
        envelope: path.into(),
        group: group.name.clone(),
        why: update_core::refusal::Refusal::from(error).text(),
    };
    match suit::verify(envelope, &group.key_set()?) {
        Ok(offer) => Ok(offer),
        Err(error) if unverified => {
            inspect_unverified(envelope).and_then(|inspection| inspection.offer).map_err(|_| refused(error))
        }
        Err(error) => Err(refused(error)),
    }
}

impl<S: Store> Fleet<S> {
    /// Opens the group for a push.
    ///
    /// # Errors
    /// Another process sends for it, or its counters are in doubt.
    pub async fn open_push(&self, checked: Checked) -> Result<Push<'_, S>, SendError> {
        let mut session = Session::open(self.claimed().await?, &checked.request.group)?;
        let attempt = session.attempt(&checked.offer.digest, checked.request.retry)?;
        Ok(Push { fleet: self, checked, session, attempt })
    }
}

impl<S: Store> Push<'_, S> {
    /// What is offered.
    pub fn offer(&self) -> &Offer {
        &self.checked.offer
    }

    /// How many agents the group has.
    pub fn agents(&self) -> usize {
        self.session.group.agents.len()
    }

    /// The rate in bits per second.
    pub fn rate_bits_per_second(&self) -> u64 {
        self.config().rate
    }

    /// Delivers the update.
    ///
    /// # Errors
    /// This machine cannot send, the group's files cannot be written, or its counters are in doubt.
    pub async fn run(
        self,
        observer: &mut impl DistributionObserver,
        mut stop: Stop,
    ) -> Result<Pushed, SendError> {
        let config = self.config();
        let Self { fleet, checked, mut session, attempt } = self;
        let Checked { offer, delivery, .. } = checked;
        let (job, file) = match delivery {
            Some((update, file)) => (Job::Update(update), Some(file)),
            None => (Job::Cancel(offer.digest), None),
        };
        let mut link = Link::open(session.group.profile.clone())?;
        let context = session.context()?;
        let started = Instant::now();
        let distribution = Distribution::new(config, context, job, seed()?, drive::clock()());
        let mut distribution = session.continued(distribution);
        let name = session.group.name.clone();
        let driven =
            drive::run(&mut distribution, &mut session, file.as_ref(), &mut link, observer, &mut stop);
        let ended = meanwhile(fleet.dir(), [&name], driven).await?;
        let took = started.elapsed();
        if distribution.attempt() > attempt {
            session.note_attempt(&offer.digest, distribution.attempt())?;
        }
        let group = session.group.clone();
        let not_noted = fleet.finish(session, &distribution, ended).await?;
        Ok(Pushed { group, distribution, ended, took, offer, not_noted })
    }

    fn config(&self) -> DistributionConfig {
        let config = self.session.config();
        let request = &self.checked.request;
        DistributionConfig {
            rate: request.rate_bits_per_second.unwrap_or(config.rate),
            activate: if request.activate { Activate::Everyone } else { Activate::Nobody },
            attempt: self.attempt,
            delay_ms: request.delay_s.saturating_mul(1000),
            first_answer_within: Duration::from_secs(request.first_answer_within_s.into()),
            transfer_within: Duration::from_secs(request.transfer_within_s.into()),
            confirm_within: Duration::from_secs(request.confirm_within_s.into()),
            deferred_within: Duration::ZERO,
            ..config
        }
    }
}
