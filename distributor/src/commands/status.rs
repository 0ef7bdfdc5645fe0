//! `fwcast status`: a census of a group, now.

use clap::Args;
use provisioning::Name;
use update_core::distribution::{Distribution, Ending, Event, Job};

use super::push::{runtime, seed};
use crate::cli::Global;
use crate::control::{Control, Stop};
use crate::drive::{self, Ended, Observer};
use crate::exit::{Exit, Failure};
use crate::outcome::{self, StatusReport};
use crate::output;
use crate::session::Session;
use crate::socket;

/// Ask every agent of a group what it is doing
#[derive(Debug, Args)]
pub struct Status {
    /// The group
    #[arg(short, long)]
    group: Name,
}

/// Nobody watches a census.
pub(super) struct Nobody;

impl Observer for Nobody {
    fn event(&mut self, _: Event, _: &Distribution) {}
    fn tick(&mut self, _: &Distribution) {}
}

impl Status {
    /// Asks, and prints what each agent answered. Silence of some is [`Exit::SomeDevicesFailed`].
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let mut session = Session::open(&global.state_dir()?, &self.group)?;
        let (distribution, ended) = census(&mut session, 1)?;
        let agents = outcome::lines(&session.group, &distribution);
        let silent = agents.iter().filter(|agent| matches!(agent.state, "silent" | "lost")).count();
        let report = StatusReport { ok: silent == 0, group: self.group.to_string(), agents };
        finish(session, &distribution, ended)?;
        output::print(global.output, &report)?;
        Ok(match ended {
            Ended::Interrupted => Exit::Interrupted,
            Ended::By(Ending::NobodyAnswered) => Exit::Error,
            Ended::By(_) if silent > 0 => Exit::SomeDevicesFailed,
            Ended::By(_) => Exit::Done,
        })
    }
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

/// Closes the session as the census's end demands.
pub(super) fn finish(mut session: Session, distribution: &Distribution, ended: Ended) -> Result<(), Failure> {
    if let Ended::By(Ending::CounterBehind { .. }) = ended {
        session.save_floors(distribution)?;
        return Err(session.condemn());
    }
    Ok(session.close(distribution)?)
}
