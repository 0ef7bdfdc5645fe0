//! `fwcast run`: one rollout in the foreground.

use clap::Args;
use provisioning::Name;

use super::exit_codes::{Exit, Failure, exit_of};
use super::kind::on_fleet_of;
use super::manifest_files::{ManifestFiles, not_begun};
use super::output::{self, say};
use super::report::RolloutStatus;
use super::rollout_progress::RolloutProgress;
use crate::commands::global::Global;
use fwcast_service::control::Stop;
use fwcast_service::runner::{RolloutEnd, doing};
use rollout_engine::record::Outcome;

/// Run one rollout in the foreground
///
/// Ctrl-C stops it without harm: agents keep what they have, and the same command continues from there.
/// `fwcast rollout` controls it from another terminal. A rollout that has ended is not repeated; its outcome
/// is shown.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    files: ManifestFiles,
    /// Which rollout, if the files have several
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
        let rollout = manifests.one_rollout(self.rollout.as_ref())?;
        let name = &rollout.1.metadata.name;
        on_fleet_of(global.state_dir_or_new()?, async |fleet| {
            // From here on, nothing that has begun is cut off.
            let stop = Stop::on_signals()?;
            let begun = fleet.begin(&manifests, rollout, RolloutProgress::new(self.quiet)).await;
            let mut runner = begun.map_err(|error| not_begun(error, global.output))?;
            let ended = runner.run(stop).await?;
            let status = RolloutStatus::new(runner.engine(), false);
            output::print(global.output, &status)?;
            if global.output.is_for_people() && !self.quiet {
                say_how_it_ended(ended, &doing(runner.engine()), name);
            }
            Ok(exit_of(ended))
        })
    }
}

fn say_how_it_ended(ended: RolloutEnd, doing: &str, name: &Name) {
    match ended {
        RolloutEnd::Interrupted => say!(
            "stopped here ({doing}); agents keep what they have, and the same command continues from \
             there; `fwcast rollout cancel {name}` ends it for good"
        ),
        RolloutEnd::Over(Outcome::Stopped) => {
            say!("rollout '{name}': {doing}; `fwcast rollout retry {name}` retries what failed");
        }
        RolloutEnd::Over(_) => say!("rollout '{name}': {doing}"),
    }
}
