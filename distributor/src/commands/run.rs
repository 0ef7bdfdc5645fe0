//! `fwcast run`: one rollout in the foreground.

use clap::Args;
use jiff::Timestamp;
use provisioning::{Hex, Name};

use super::kind::on_store;
use super::manifest_files::{ManifestFiles, one_rollout, placed, told, unprepared};
use crate::cli::Global;
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::output::{self, say};
use crate::commands::report::RolloutStatus;
use crate::control::Stop;
use crate::manifest::{Kind, Manifest, Manifests};
use crate::rollout::record::Outcome;
use crate::runner::prepare::{self, Known, Planned};
use crate::runner::show::Show;
use crate::runner::{Ended, Runner, doing, exit_of};
use crate::state::{RolloutLock, StateDir};
use crate::store::{SqliteStore, Store};

/// Carry one rollout out in the foreground
///
/// Ctrl-C stops it without harm: agents keep what they have, and the same command goes on from there.
/// `fwcast rollout` reaches it from another terminal. A rollout that has ended is not done again: how it
/// ended is shown.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    files: ManifestFiles,
    /// Which rollout, where the files have several
    #[arg(long, value_name = "NAME")]
    rollout: Option<Name>,
    /// No progress on standard error
    #[arg(short, long)]
    quiet: bool,
}

impl Run {
    /// Runs it to its end.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let manifests = self.files.read(global.output)?;
        let name = one_rollout(&manifests, self.rollout.as_ref())?.manifest.metadata().name.clone();
        on_store(global, async |dir, store| {
            // From now on: what has begun is never cut off.
            let stop = Stop::on_signals()?;
            let lock = RolloutLock::to_run(dir, &name)?;
            let beginning = Beginning { global, dir, store, manifests: &manifests, name: name.clone() };
            let mut runner = beginning.runner(lock, Show::new(self.quiet)).await?;
            let ended = runner.run(stop).await?;
            let status = RolloutStatus::new(runner.engine());
            output::print(global.output, &status)?;
            if global.output.is_for_people() && !self.quiet {
                say_how_it_ended(ended, &doing(runner.engine()), &name);
            }
            Ok(exit_of(ended))
        })
    }
}

/// What a rollout is begun with, or gone on with.
struct Beginning<'a> {
    global: &'a Global,
    dir: &'a StateDir,
    store: &'a SqliteStore,
    manifests: &'a Manifests,
    name: Name,
}

impl<'a> Beginning<'a> {
    /// The rollout, begun now or gone on with.
    async fn runner(&self, lock: RolloutLock, show: Show) -> Result<Runner<'a, SqliteStore>, Failure> {
        let Self { global, dir, store, manifests, name } = self;
        let applied = prepare::apply(dir, *store, manifests, Timestamp::now()).await;
        applied.map_err(|error| unprepared(error, global.output))?;
        let generation = store.document(Kind::Rollout, name).await?.map_or(0, |document| document.generation);
        if let Some(begun) = store.rollout(name).await? {
            // What is under way has its rollout's document still, and its image's: the store changes neither.
            let digest = prepare::image_digest(*store, name).await?;
            let same = begun.line.generation == generation && begun.plan.image.digest == Hex::from(digest.0);
            if begun.line.outcome.is_none() || same {
                return Runner::resume(dir, *store, name, show, lock).await;
            }
        }
        let planned = plan_of(global, dir, store, manifests, Some(name), generation).await?;
        for agent in &planned.left_out {
            say!("note: agent {agent} is left out, because the image is not for its vendor and class");
        }
        Runner::begin(dir, *store, planned, show, lock).await
    }
}

/// Makes a plan of the one rollout in some files, with what the store knows besides.
pub(super) async fn plan_of(
    global: &Global,
    dir: &StateDir,
    store: &SqliteStore,
    manifests: &Manifests,
    name: Option<&Name>,
    generation: u32,
) -> Result<Planned, Failure> {
    let found = one_rollout(manifests, name)?;
    let Manifest::Rollout(rollout) = &found.manifest else {
        return Err(Failure::usage("there is no document of kind Rollout in these files: add one"));
    };
    let known = Known::in_store(store).await?.with(manifests);
    let planned = known.plan(dir, rollout, &manifests.source(found).folder)?;
    let compiled = planned.map_err(|flaws| told(&placed(manifests, found, flaws), global.output))?;
    let name = rollout.metadata.name.clone();
    Ok(Planned { name, generation, plan: compiled.plan, left_out: compiled.left_out })
}

fn say_how_it_ended(ended: Ended, doing: &str, name: &Name) {
    match ended {
        Ended::Interrupted => say!(
            "stopped here ({doing}); agents keep what they have, and the same command goes on from there; \
             `fwcast rollout cancel {name}` ends it for good"
        ),
        Ended::Over(Outcome::Stopped) => {
            say!("rollout '{name}': {doing}; `fwcast rollout retry {name}` tries again what failed");
        }
        Ended::Over(_) => say!("rollout '{name}': {doing}"),
    }
}
