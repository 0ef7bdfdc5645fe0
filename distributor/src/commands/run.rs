//! `fwcast run`: rollouts in the foreground.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use futures_util::future::join_all;
use provisioning::Name;

use super::completions::names_of;
use super::exit_codes::{Exit, Failure, exit_of};
use super::kind::{Noun, on_fleet, on_fleet_of};
use super::manifest_files::{ManifestFiles, not_begun};
use super::output::{self, say};
use super::report::{RolloutList, RolloutStatus};
use super::rollout_progress::RolloutProgress;
use crate::commands::global::Global;
use fwcast_service::Fleet;
use fwcast_service::control::Stop;
use fwcast_service::forecast::parity_of;
use fwcast_service::look::Filter;
use fwcast_service::runner::{RolloutEnd, Runner, doing};
use fwcast_store::Store;
use rollout_engine::record::Outcome;

/// Run rollouts in the foreground: those that were applied, by their names, or one from files
///
/// Ctrl-C stops it without harm: agents keep what they have, and the same command continues from there.
/// `fwcast rollout` controls it from another terminal. A rollout that has ended is not repeated; its outcome
/// is shown. Several rollouts run at the same time, except where they need the same security group.
#[derive(Debug, Args)]
pub struct Run {
    /// Rollouts that were applied
    #[arg(value_name = "ROLLOUT", required_unless_present = "files",
        conflicts_with_all = ["files", "rollout"], add = names_of(Noun::Rollouts))]
    names: Vec<Name>,
    /// A file to apply first, a folder with *.yaml files, or - for standard input; may be given more than
    /// once
    #[arg(short, long = "file", value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// Which rollout, if the files have several
    #[arg(long, value_name = "NAME")]
    rollout: Option<Name>,
    /// No progress on standard error
    #[arg(short, long)]
    quiet: bool,
}

impl Run {
    /// Runs them to their ends.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        // One that is named twice is meant once.
        let names: Vec<&Name> = BTreeSet::from_iter(&self.names).into_iter().collect();
        match names.as_slice() {
            [] => self.of_files(global),
            [name] => on_fleet(global, async |fleet| {
                let stop = Stop::on_signals()?;
                let begun = fleet.begin_applied(name, RolloutProgress::new(self.quiet)).await;
                self.one(global, begun.map_err(|error| not_begun(error, global.output))?, stop).await
            }),
            names => on_fleet(global, async |fleet| self.several(global, fleet, names).await),
        }
    }

    fn of_files(&self, global: &Global) -> Result<Exit, Failure> {
        let manifests = ManifestFiles::of(self.files.clone()).read(global.output)?;
        let rollout = manifests.one_rollout(self.rollout.as_ref())?;
        on_fleet_of(global.state_dir_or_new()?, async |fleet| {
            // From here on, nothing that has begun is cut off.
            let stop = Stop::on_signals()?;
            let begun = fleet.begin(&manifests, rollout, RolloutProgress::new(self.quiet)).await;
            self.one(global, begun.map_err(|error| not_begun(error, global.output))?, stop).await
        })
    }

    async fn one<S: Store>(
        &self,
        global: &Global,
        mut runner: Runner<'_, S, RolloutProgress>,
        stop: Stop,
    ) -> Result<Exit, Failure> {
        let ended = runner.run(stop).await?;
        let parity = parity_of(&global.state_dir()?, runner.engine().plan());
        let status = RolloutStatus::new(runner.engine(), false, parity);
        output::print(global.output, &status)?;
        if global.output.is_for_people() && !self.quiet {
            say_how_it_ended(ended, &doing(runner.engine()), &status.name);
        }
        Ok(exit_of(ended))
    }

    /// Runs several at the same time. One that fails stops no other.
    async fn several<S: Store>(
        &self,
        global: &Global,
        fleet: &Fleet<S>,
        names: &[&Name],
    ) -> Result<Exit, Failure> {
        let stop = Stop::on_signals()?;
        let run = async |name: &Name| {
            let progress = RolloutProgress::of_several(self.quiet, name);
            let begun = fleet.begin_applied(name, progress).await;
            let mut runner = begun.map_err(|error| not_begun(error, global.output))?;
            let ended = runner.run(stop.clone()).await?;
            if global.output.is_for_people() && !self.quiet {
                say_how_it_ended(ended, &doing(runner.engine()), name);
            }
            Ok::<Exit, Failure>(exit_of(ended))
        };
        let ended = join_all(names.iter().map(|name| run(name))).await;
        let (mut ran, mut failures, mut worst) = (Vec::new(), Vec::new(), Exit::Done);
        for (name, ended) in names.iter().zip(ended) {
            match ended {
                Ok(exit) => {
                    worst = worse(worst, exit);
                    ran.push(name.to_string());
                }
                Err(failure) => failures.push((name, failure)),
            }
        }
        if !ran.is_empty() {
            let filter = Filter { names: &ran, selector: None };
            output::print(global.output, &RolloutList::new(fleet.rollouts(&filter).await?))?;
        }
        let Some((name, last)) = failures.pop() else { return Ok(worst) };
        failures.iter().for_each(|(name, failure)| say!("rollout '{name}': {failure}"));
        Err(Failure::new(last.exit, format!("rollout '{name}': {last}")))
    }
}

/// The worse of two ends: an operator who interrupts knows it; a failure says more than a partial one.
fn worse(one: Exit, other: Exit) -> Exit {
    const FROM_BEST: [Exit; 4] =
        [Exit::Done, Exit::SomeDevicesFailed, Exit::RolloutFailed, Exit::Interrupted];
    let rank = |exit| FROM_BEST.iter().position(|known| *known == exit).unwrap_or(FROM_BEST.len());
    if rank(other) > rank(one) { other } else { one }
}

fn say_how_it_ended(ended: RolloutEnd, doing: &str, name: &Name) {
    match ended {
        RolloutEnd::Interrupted => say!(
            "rollout '{name}' stopped here ({doing}); agents keep what they have, and `fwcast run {name}` \
             continues from there; `fwcast rollout cancel {name}` ends it for good"
        ),
        RolloutEnd::Over(Outcome::Stopped) => {
            say!("rollout '{name}': {doing}; `fwcast rollout retry {name}` retries what failed");
        }
        RolloutEnd::Over(_) => say!("rollout '{name}': {doing}"),
    }
}
