//! `fwcast manager`: the Group Manager, which brings keys to the agents.

use clap::Subcommand;
use futures_util::future::try_join_all;
use fwcast_service::control::Stop;
use fwcast_service::manager::{self, ManagerObserver, ManagerWork};
use fwcast_state::rekey::Due;

use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output::say;
use crate::commands::runtime::runtime;

/// The commands of the Group Manager.
#[derive(Debug, Subcommand)]
pub enum Manager {
    /// Be the Group Manager of all groups, in the foreground: agents ask it for keys
    Run,
}

impl Manager {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let Self::Run = self;
        let dir = global.state_dir()?;
        runtime()?.block_on(async {
            let stop = Stop::on_signals()?;
            let mut works = Vec::new();
            for address in manager::addresses(&dir)? {
                works.push(ManagerWork::at(&dir, address).await?);
                say!("the Group Manager is at {address}");
            }
            let run = async |mut work: ManagerWork| work.run(&mut Said, &mut stop.clone()).await;
            try_join_all(works.into_iter().map(run)).await?;
            Ok(Exit::Done)
        })
    }
}

/// Says what happens, one line each.
struct Said;

impl ManagerObserver for Said {
    fn confirmed(&mut self, group: &str, node: &str, num: u32) {
        say!("agent '{group}/{node}' uses the keys of generation {num}");
    }

    fn another_id(&mut self, group: &str, node: &str) {
        say!("agent '{group}/{node}' has lost count of its numbers, and got another Sender ID");
    }

    fn left(&mut self, group: &str, node: &str) {
        say!("agent '{group}/{node}' has left its group, which gets new keys");
    }

    fn rekeyed(&mut self, group: &str, due: &Due) {
        say!("group '{group}' has new keys: {due}");
    }

    fn trouble(&mut self, why: &str) {
        say!("note: {why}; trying again");
    }

    fn tick(&mut self, _: &group_manager::manager::Manager) -> bool {
        false
    }
}
