//! `fwcast status`: the known state of a rollout, or a census of a group.

use std::time::Duration;

use clap::{ArgGroup, Args};
use provisioning::Name;
use update_core::distribution::Ending;

use super::arguments::seconds;
use super::completions::{names_of, security_groups};
use super::exit_codes::{Exit, Failure, exit_of};
use super::kind::{Noun, on_fleet};
use super::output::{self, say};
use super::report::outcome::{self, StatusReport};
use super::report::{Glance, RolloutStatus};
use crate::commands::global::Global;
use fwcast_service::control::Stop;
use fwcast_service::drive;
use fwcast_service::forecast::parity_of;
use fwcast_service::runner::{RolloutEnd, doing_of};
use fwcast_service::{Census, Fleet};
use fwcast_state::{GroupState, StateDir};
use fwcast_store::{Revision, Store};
use rollout_engine::Engine;

/// How often to check whether some process still runs the rollout.
const PROCESS_LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// Show the progress of a rollout, ask every agent of a group what it is doing, or show what there is
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("follows").args(["watch", "wait"]).multiple(true)))]
pub struct Status {
    /// A rollout, shown from the database; nothing is sent
    #[arg(value_name = "ROLLOUT", conflicts_with = "group", add = names_of(Noun::Rollouts))]
    rollout: Option<Name>,
    /// A security group, whose agents are asked
    #[arg(short, long, add = security_groups())]
    group: Option<Name>,
    /// Show it again whenever something has changed, until the rollout has ended
    #[arg(short, long, requires = "rollout")]
    watch: bool,
    /// Wait until the rollout has ended, show it, and exit with the code that it ended with
    #[arg(long, requires = "rollout")]
    wait: bool,
    /// How long to watch or wait. The command then exits with 6, and the rollout goes on
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "follows")]
    timeout: Option<u32>,
}

impl Status {
    /// Prints the rollout, what each agent answered, or all rollouts and groups at a glance.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        match (&self.rollout, &self.group) {
            (Some(rollout), _) => self.rollout(global, rollout),
            (None, Some(group)) => self::group(global, group),
            (None, None) => on_fleet(global, async |fleet| {
                output::print(global.output, &Glance::from(fleet.overview().await?))?;
                Ok(Exit::Done)
            }),
        }
    }

    fn rollout(&self, global: &Global, name: &Name) -> Result<Exit, Failure> {
        on_fleet(global, async |fleet| {
            let mut stop = Stop::on_signals()?;
            let shown = self.follow(global, fleet, name);
            tokio::select! {
                exit = shown => exit,
                () = timeout(self.timeout) => {
                    let why = format!("rollout '{name}' has not ended: `fwcast status {name}` shows more");
                    Err(Failure::new(Exit::TimedOut, why))
                }
                () = stop.asked() => {
                    say!("the rollout continues; `fwcast rollout cancel {name}` would end it");
                    Ok(Exit::Interrupted)
                }
            }
        })
    }

    /// Shows the rollout, and its changes if the operator wants to follow them.
    async fn follow<S: Store>(
        &self,
        global: &Global,
        fleet: &Fleet<S>,
        name: &Name,
    ) -> Result<Exit, Failure> {
        let (mut seen, mut was_run) = (Revision::UNKNOWN, None);
        loop {
            tokio::select! {
                changed = fleet.changed(&mut seen) => changed?,
                // A process that is killed changes nothing in the database.
                () = tokio::time::sleep(PROCESS_LOOKED_AT_EVERY) => {
                    if was_run == Some(fleet.is_run(name)?) {
                        continue;
                    }
                }
            }
            let (engine, is_run) = (fleet.rollout(name).await?, fleet.is_run(name)?);
            let outcome = engine.state().outcome();
            let follows = self.watch || (self.wait && outcome.is_none());
            if self.watch || !follows {
                show(global, fleet.dir(), &engine, is_run)?;
            } else if !is_run && was_run != Some(false) {
                say!("{}", doing_of(&engine, is_run));
            }
            was_run = Some(is_run);
            match outcome {
                Some(outcome) if self.wait => return Ok(exit_of(RolloutEnd::Over(outcome))),
                None if follows => {}
                _ => return Ok(Exit::Done),
            }
        }
    }
}

/// Ends after this many seconds, or never.
async fn timeout(seconds: Option<u32>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds.into())).await,
        None => std::future::pending().await,
    }
}

fn show(global: &Global, dir: &StateDir, engine: &Engine, is_run: bool) -> Result<(), Failure> {
    let status = RolloutStatus::new(engine, is_run, parity_of(dir, engine.plan()));
    output::print(global.output, &status)?;
    if global.output.is_for_people() {
        output::print_text(&format!("{}\n\n", status.summary()))?;
    }
    Ok(())
}

/// Asks, and prints what each agent answered. If some are silent, the exit is [`Exit::SomeDevicesFailed`].
fn group(global: &Global, group: &Name) -> Result<Exit, Failure> {
    let dir = global.state_dir()?;
    // Opened first, so that a missing group is reported as missing.
    GroupState::open(&dir, group)?;
    let census = on_fleet(global, async |fleet| Ok(fleet.census(group, 1, Stop::on_signals()?).await?))?;
    say_if_not_noted(&census);
    let agents = outcome::lines(&census.group, &census.distribution);
    let silent = census.silent();
    let parity = census.group.parity(census.group.profile.parity);
    let report = StatusReport { ok: silent == 0, group: group.to_string(), parity, agents };
    output::print(global.output, &report)?;
    if global.output.is_for_people() {
        say!("parity: {parity}");
    }
    Ok(match census.ended {
        drive::DistributionEnd::Interrupted => Exit::Interrupted,
        drive::DistributionEnd::By(Ending::NobodyAnswered) => Exit::Error,
        drive::DistributionEnd::By(_) if silent > 0 => Exit::SomeDevicesFailed,
        drive::DistributionEnd::By(_) => Exit::Done,
    })
}

/// A result that could not be stored does no harm.
pub(super) fn say_if_not_noted(census: &Census) {
    if let Some(error) = &census.not_noted {
        say!("note: some reports and measurements could not be stored: {error}");
    }
}
