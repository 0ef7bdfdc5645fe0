//! `fwcast doctor`: checks everything that a push needs.

use clap::Args;
use comfy_table::Table;
use provisioning::Name;
use serde::Serialize;

use super::completions::security_groups;
use super::kind::on_fleet;
use super::status::say_if_not_noted;
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output::{self, Printable};
use fwcast_service::control::Stop;
use fwcast_service::doctor::{self, Finding};
use fwcast_state::GroupState;

/// Check what a push needs: interface, address, route, MTU, and the loss on the way to the agents
#[derive(Debug, Args)]
pub struct Doctor {
    /// The group
    #[arg(short, long, add = security_groups())]
    group: Name,
    /// How many questions the loss test asks; 0 skips the test
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1000))]
    probes: u32,
}

#[derive(Debug, Serialize)]
struct Findings {
    ok: bool,
    group: String,
    checks: Vec<Finding>,
}

impl Printable for Findings {
    fn table(&self) -> Table {
        let mut table = output::columns(["CHECK", "", "FOUND"]);
        for finding in &self.checks {
            let mark = if finding.ok { "ok" } else { "BAD" };
            table.add_row([finding.check, mark, &finding.says]);
        }
        table
    }
}

impl Doctor {
    /// Checks each part, from this machine outwards. The loss is measured in any case.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let dir = global.state_dir()?;
        let group = GroupState::open(&dir, &self.group)?;
        let mut checks = doctor::machine(&group.profile);
        if self.probes > 0 {
            let measured = on_fleet(global, async |fleet| {
                Ok(fleet.census(&self.group, self.probes, Stop::on_signals()?).await?)
            });
            match measured {
                Ok(census) => {
                    say_if_not_noted(&census);
                    checks.extend(doctor::loss(&group, &census.distribution));
                }
                // What is wrong above explains it.
                Err(failure) if checks.iter().any(|finding| !finding.ok) => {
                    checks.push(doctor::not_measured(&failure.sentence));
                }
                Err(failure) => return Err(failure),
            }
        }
        let ok = checks.iter().all(|finding| finding.ok);
        output::print(global.output, &Findings { ok, group: self.group.to_string(), checks })?;
        Ok(if ok { Exit::Done } else { Exit::Error })
    }
}
