//! `fwcast push`: one update to one group, in the foreground.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use provisioning::Name;
use update_core::census::State;
use update_core::distribution::{Activate, Distribution, DistributionConfig, Ending, Job, Update};
use update_core::suit::{self, Offer};
use update_core::suit_inspect::inspect_unverified;
use update_core::time::Duration;

use super::finish::finish;
use crate::cli::Global;
use crate::commands::arguments::{Rate, seconds};
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::output::{self, say};
use crate::commands::progress::Progress;
use crate::commands::report::outcome::PushReport;
use crate::control::{Control, Stop};
use crate::drive::{self, Ended};
use crate::files::{self, shown};
use crate::process::{runtime, seed};
use crate::session::Session;
use crate::state::GroupState;
use crate::{image, socket};

/// Bring an image to every agent of a group, and activate it there
#[derive(Debug, Args)]
pub struct Push {
    /// The image file
    image: PathBuf,
    /// Its signed SUIT envelope [default: IMAGE with .suit appended]
    #[arg(long, value_name = "FILE")]
    envelope: Option<PathBuf>,
    /// The group
    #[arg(short, long)]
    group: Name,
    /// Only bring it; leave it ready, and do not activate
    #[arg(long)]
    no_activate: bool,
    /// Try again where an earlier activation was rolled back
    #[arg(long)]
    retry: bool,
    /// Agents activate so long after they hear it [default: at once]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    delay: Option<u32>,
    /// Who misses something after so long counts as lost
    #[arg(long, value_name = "TIME", default_value = "6h", value_parser = seconds)]
    transfer_within: u32,
    /// Who has not confirmed so long after the activation counts as lost
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = seconds)]
    confirm_within: u32,
    /// Send at this rate instead of the group's, in bits a second on the link
    #[arg(long)]
    rate: Option<Rate>,
    /// Offer it even if this machine's key set cannot verify it: the agents decide
    #[arg(long)]
    unverified: bool,
    /// No progress on standard error
    #[arg(short, long)]
    quiet: bool,
}

impl Push {
    /// Brings the update, and prints what became of each agent.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let dir = global.state_dir()?;
        let group = GroupState::open(&dir, &self.group)?;
        // Everything about the image is checked before the group is touched.
        let (update, file) = self.update(&group)?;
        let offer = update.offer;
        let mut session = Session::open(&dir, &self.group)?;
        let attempt = session.attempt(&offer.digest, self.retry)?;
        let config = self.config(&session, attempt);
        if !self.quiet {
            say!(
                "pushing update {} (manifest sequence number {}) to {} agents of group {} at {}",
                offer.id,
                offer.sequence_number,
                session.group.agents.len(),
                self.group,
                Rate(config.rate)
            );
        }
        let runtime = runtime()?;
        let (distribution, ended, report) =
            runtime.block_on(self.push(config, &mut session, update, &offer, &file))?;
        if distribution.attempt() > attempt {
            session.note_attempt(&offer.digest, distribution.attempt())?;
        }
        finish(global, session, &distribution, ended)?;
        output::print(global.output, &report)?;
        if global.output.is_for_people() {
            self.say_how_it_ended(ended, &report);
        }
        Ok(report.exit(ended, self.wanted()))
    }

    async fn push(
        &self,
        config: DistributionConfig,
        session: &mut Session,
        update: Update,
        offer: &Offer,
        file: &File,
    ) -> Result<(Distribution, Ended, PushReport), Failure> {
        let socket = socket::open(&session.group.profile)?;
        let context = session.context()?;
        let started = Instant::now();
        let mut distribution =
            Distribution::new(config, context, Job::Update(update), seed()?, drive::clock()());
        let mut progress = Progress::new(self.quiet);
        let mut control = Control::new(Stop::on_signals()?);
        let ended =
            drive::run(&mut distribution, session, Some(file), &socket, &mut progress, &mut control).await;
        progress.finish();
        let ended = ended?;
        let (took, rounds) = (started.elapsed(), progress.rounds());
        let report =
            PushReport::new(&session.group, &distribution, ended, took, rounds, offer, self.wanted());
        Ok((distribution, ended, report))
    }

    fn config(&self, session: &Session, attempt: u32) -> DistributionConfig {
        let config = session.config();
        DistributionConfig {
            rate: self.rate.map_or(config.rate, |rate| rate.0),
            activate: if self.no_activate { Activate::Nobody } else { Activate::Everyone },
            attempt,
            delay_ms: self.delay.unwrap_or(0).saturating_mul(1000),
            transfer_within: Duration::from_secs(self.transfer_within.into()),
            confirm_within: Duration::from_secs(self.confirm_within.into()),
            ..config
        }
    }

    const fn wanted(&self) -> State {
        if self.no_activate { State::Ready } else { State::Confirmed }
    }

    /// The update, verified as the agents will verify it, with the hash tree built from the image file.
    fn update(&self, group: &GroupState) -> Result<(Update, File), Failure> {
        // The image first: an envelope's name is made from its own.
        files::open(&self.image)?;
        let path = self.envelope.clone().unwrap_or_else(|| image::default_envelope(&self.image));
        let envelope = image::read_envelope(&path)?;
        let offer = self.offer(group, &path, &envelope)?;
        let block_bytes = offer.layout.block_size.bytes();
        let carried = group.profile.block_size;
        if block_bytes != u32::from(carried) {
            return Err(Failure::usage(format!(
                "{} is for blocks of {block_bytes} bytes, but group '{}' carries blocks of {carried}: sign \
                 the image with --block-size {carried}",
                shown(&path),
                self.group,
            )));
        }
        let tree = image::check(&self.image, &offer)?;
        Ok((Update { envelope, offer, pages: tree.pages }, files::open(&self.image)?))
    }

    fn offer(&self, group: &GroupState, path: &Path, envelope: &[u8]) -> Result<Offer, Failure> {
        let keys = group.key_set()?;
        let refused = |why: &str| {
            Failure::bad_signature(format!(
                "{} is no update that group '{}' would take: {why}; sign the image with a key of the \
                 group's key set",
                shown(path),
                self.group
            ))
        };
        match suit::verify(envelope, &keys) {
            Ok(offer) => Ok(offer),
            Err(error) if self.unverified => inspect_unverified(envelope)
                .and_then(|inspection| inspection.offer)
                .map_err(|_| refused(update_core::refusal::Refusal::from(error).text())),
            Err(error) => Err(refused(update_core::refusal::Refusal::from(error).text())),
        }
    }

    fn say_how_it_ended(&self, ended: Ended, report: &PushReport) {
        let (there, of) = report.counts(self.wanted());
        let state = self.wanted().name();
        match ended {
            Ended::Interrupted => {
                say!("stopped; agents keep what they have, and the same command goes on from there");
            }
            Ended::By(Ending::NobodyAnswered) => {
                say!("no agent answered: check that they run, then `fwcast doctor --group {}`", self.group);
            }
            Ended::By(Ending::ImageUnreadable) => say!(
                "{} changed or could not be read while it was sent; agents keep what they have, and with the \
                 right file the same command goes on",
                shown(&self.image)
            ),
            Ended::By(_) => say!("{there} of {of} agents {state} after {:.1} s", report.seconds),
        }
    }
}
