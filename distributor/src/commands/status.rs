//! `fwcast status`: a rollout as far as it is known, or a census of a group now.

use std::time::{Duration, Instant};

use clap::Args;
use provisioning::Name;
use update_core::distribution::{Distribution, Ending, Event, Job};

use super::arguments::seconds;
use super::finish::finish;
use super::kind::on_store;
use crate::cli::Global;
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::output::{self, say};
use crate::commands::report::RolloutStatus;
use crate::commands::report::outcome::{self, StatusReport};
use crate::control::{Control, Stop};
use crate::drive::{self, Ended, Observer};
use crate::process::{runtime, seed};
use crate::rollout::Engine;
use crate::runner::{self, exit_of, load};
use crate::session::Session;
use crate::socket;
use crate::store::{Revision, Store};

/// Show how far a rollout is, or ask every agent of a group what it is doing
#[derive(Debug, Args)]
pub struct Status {
    /// A rollout: what is known of it; nothing is sent
    #[arg(value_name = "ROLLOUT", required_unless_present = "group", conflicts_with = "group")]
    rollout: Option<Name>,
    /// A security group, whose agents are asked now
    #[arg(short, long)]
    group: Option<Name>,
    /// Print it again whenever something has changed, until the rollout has ended
    #[arg(short, long, requires = "rollout")]
    watch: bool,
    /// Wait until the rollout has ended, and end with its exit code
    #[arg(long, requires = "rollout")]
    wait: bool,
    /// Wait no longer than this
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "rollout")]
    timeout: Option<u32>,
}

/// Nobody watches a census.
pub(super) struct Nobody;

impl Observer for Nobody {
    fn event(&mut self, _: Event, _: &Distribution) {}
    fn tick(&mut self, _: &Distribution) {}
}

impl Status {
    /// Prints the rollout, or what each agent answered.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        match (&self.rollout, &self.group) {
            (Some(rollout), _) => self.rollout(global, rollout),
            (None, Some(group)) => self::group(global, group),
            (None, None) => Err(Failure::usage("name a rollout, or a security group with --group")),
        }
    }

    fn rollout(&self, global: &Global, name: &Name) -> Result<Exit, Failure> {
        on_store(global, async |_, store| {
            let mut stop = Stop::on_signals()?;
            let deadline = self.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
            let mut seen = Revision::UNKNOWN;
            loop {
                let revision = store.revision().await?;
                if std::mem::replace(&mut seen, revision) != revision {
                    let engine = load(store, name).await?;
                    let outcome = engine.state().outcome();
                    let follows = self.watch || (self.wait && outcome.is_none());
                    if self.watch || !follows {
                        show(global, &engine)?;
                    }
                    match outcome {
                        Some(outcome) if self.wait => return Ok(exit_of(runner::Ended::Over(outcome))),
                        None if follows => {}
                        _ => return Ok(Exit::Done),
                    }
                }
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    let why = format!("rollout '{name}' goes on: `fwcast status {name}` shows how far it is");
                    return Err(Failure::new(Exit::TimedOut, why));
                }
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = stop.asked() => {
                        say!("the rollout goes on; `fwcast rollout cancel {name}` would end it");
                        return Ok(Exit::Interrupted);
                    }
                }
            }
        })
    }
}

/// How often the store is looked at by --watch and --wait.
const LOOK_EVERY: Duration = Duration::from_millis(250);

fn show(global: &Global, engine: &Engine) -> Result<(), Failure> {
    let status = RolloutStatus::new(engine);
    output::print(global.output, &status)?;
    if global.output.is_for_people() {
        output::print_text(&format!("{}\n\n", status.doing))?;
    }
    Ok(())
}

/// Asks, and prints what each agent answered. Silence of some is [`Exit::SomeDevicesFailed`].
fn group(global: &Global, group: &Name) -> Result<Exit, Failure> {
    let mut session = Session::open(&global.state_dir()?, group)?;
    let (distribution, ended) = census(&mut session, 1)?;
    let agents = outcome::lines(&session.group, &distribution);
    let silent = agents.iter().filter(|agent| matches!(agent.state, "silent" | "lost")).count();
    let report = StatusReport { ok: silent == 0, group: group.to_string(), agents };
    finish(global, session, &distribution, ended)?;
    output::print(global.output, &report)?;
    Ok(match ended {
        Ended::Interrupted => Exit::Interrupted,
        Ended::By(Ending::NobodyAnswered) => Exit::Error,
        Ended::By(_) if silent > 0 => Exit::SomeDevicesFailed,
        Ended::By(_) => Exit::Done,
    })
}

/// Runs so many censuses of the session's group, one after another.
pub(super) fn census(session: &mut Session, rounds: u32) -> Result<(Distribution, Ended), Failure> {
    let runtime = runtime()?;
    let config = session.config();
    runtime.block_on(async {
        let socket = socket::open(&session.group.profile)?;
        let context = session.context()?;
        let job = Job::Census { rounds };
        let mut distribution = Distribution::new(config, context, job, seed()?, drive::clock()());
        let mut control = Control::new(Stop::on_signals()?);
        let ended = drive::run(&mut distribution, session, None, &socket, &mut Nobody, &mut control).await?;
        Ok((distribution, ended))
    })
}
