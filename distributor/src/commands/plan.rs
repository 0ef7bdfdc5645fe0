//! `fwcast plan`: what a rollout would do. Changes no rollout and sends nothing.

use clap::Args;
use comfy_table::Table;
use jiff::Timestamp;
use provisioning::Name;
use serde::Serialize;

use super::kind::on_fleet;
use super::manifest_files::{ManifestFiles, unplanned};
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output::{self, Printable, columns, say};
use fwcast_documents::Planned;
use fwcast_service::forecast::Forecast;
use rollout_engine::plan::{AgentKey, Percent};
use rollout_engine::{Many, Parity};

/// Show what a rollout would do: which agents, in which waves, how many blocks, how long on the air
#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    files: ManifestFiles,
    /// Which rollout, if the files have several
    #[arg(long, value_name = "NAME")]
    rollout: Option<Name>,
    /// Assume this loss to each agent, instead of what the last rollout or push measured, or 5% if none has
    #[arg(long, value_name = "PERCENT")]
    loss: Option<Percent>,
    /// Exit with code 3 if something would change
    #[arg(long)]
    exit_code: bool,
}

#[derive(Serialize)]
struct Planning {
    rollout: Name,
    image: String,
    sequence_number: u64,
    agents: usize,
    blocks: u64,
    changes: bool,
    /// The loss that was assumed for the group that takes longest.
    loss: Percent,
    /// When it was measured; `None` if it was given or is the default.
    loss_measured_at: Option<Timestamp>,
    /// The parity of the group that takes longest.
    parity: Parity,
    /// Seconds on the air, for the transfer alone, of the group that takes longest.
    air_s: u64,
    /// How many transfer windows the transfer takes; 0 if there are no windows.
    windows: u32,
    /// Whether the deadline of the transfer is over before that.
    is_late: bool,
    /// When the last wave would finish, if all goes well and needs no approval.
    ends_at: Option<Timestamp>,
    /// At most so many agents of one place on trial at once; `None` without a disruption budget.
    budget: Option<String>,
    waves: Vec<WaveLine>,
    left_out: Vec<AgentKey>,
}

#[derive(Serialize)]
struct WaveLine {
    name: Name,
    agents: Vec<AgentKey>,
    soak_s: u32,
    approval: bool,
}

impl Plan {
    /// Prints the plan.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let manifests = self.files.read(global.output)?;
        let rollout = manifests.one_rollout(self.rollout.as_ref())?;
        let forecast = on_fleet(global, async |fleet| {
            let planned = fleet.plan(&manifests, rollout, 0).await;
            let planned = planned.map_err(|error| unplanned(error, global.output))?;
            Ok(fleet.forecast(planned, self.loss).await?)
        })?;
        let planning = Planning::from(forecast);
        output::print(global.output, &planning)?;
        if global.output.is_for_people() {
            say!("{}", planning.summary());
        }
        Ok(if self.exit_code && planning.changes { Exit::ChangesPending } else { Exit::Done })
    }
}

impl From<Forecast> for Planning {
    fn from(forecast: Forecast) -> Self {
        let Planned { name, plan, left_out, .. } = forecast.planned;
        let waves = plan.waves.iter().map(|wave| WaveLine {
            name: wave.name.clone(),
            agents: wave.agents.clone(),
            soak_s: wave.soak_s,
            approval: wave.approval,
        });
        Self {
            rollout: name,
            image: format!("{} {}", plan.image.name, plan.image.version),
            sequence_number: plan.image.sequence_number,
            agents: plan.agents().count(),
            blocks: forecast.blocks,
            changes: forecast.changes,
            loss: forecast.loss,
            loss_measured_at: forecast.loss_measured_at,
            parity: forecast.parity,
            air_s: forecast.air_s,
            budget: plan
                .budget
                .as_ref()
                .map(|budget| format!("at most {} of each '{}' on trial at once", budget.max, budget.label)),
            windows: forecast.windows,
            is_late: forecast.is_late,
            ends_at: forecast.ends_at,
            waves: waves.collect(),
            left_out,
        }
    }
}

impl Planning {
    fn summary(&self) -> String {
        let ends = self.ends_at.map_or_else(
            || "it would never end, because a window never opens".to_owned(),
            |at| format!("finished at {at:.0} at the earliest"),
        );
        let approvals = match self.waves.iter().filter(|wave| wave.approval).count() {
            0 => String::new(),
            count => format!(", with {} to give", Many(count, "approval")),
        };
        let windows = match self.windows {
            0 | 1 => String::new(),
            count => format!(" in {}", Many(count, "transfer window")),
        };
        let budget = self.budget.as_ref().map_or_else(String::new, |budget| format!(", {budget}"));
        let late = if self.is_late {
            "; that is longer than `deadlines.transfer`, so agents will be lost: raise that, or the rate"
        } else {
            ""
        };
        let left_out = match self.left_out.len() {
            0 => String::new(),
            count => format!(", {} left out: another vendor or class", Many(count, "agent")),
        };
        let measured = self.loss_measured_at.map_or_else(String::new, |at| format!(" (measured at {at:.0})"));
        let parity = match self.parity {
            Parity::None => String::new(),
            parity => format!(" and parity {parity}"),
        };
        format!(
            "{} (manifest sequence number {}) to {}{left_out}: {}, {} s on the air{windows} with {} loss to \
             each{measured}{parity}; {ends}{approvals}{budget}{late}",
            self.image,
            self.sequence_number,
            Many(self.agents, "agent"),
            Many(self.blocks, "block"),
            self.air_s,
            self.loss
        )
    }
}

impl Printable for Planning {
    /// With every agent, and those that are left out.
    fn wide(&self) -> Table {
        let mut table = columns(["WAVE", "AGENT"]);
        for (wave, agent) in
            self.waves.iter().flat_map(|wave| wave.agents.iter().map(move |agent| (wave, agent)))
        {
            table.add_row([wave.name.to_string(), agent.to_string()]);
        }
        for agent in &self.left_out {
            table.add_row(["(left out: another vendor or class)".to_owned(), agent.to_string()]);
        }
        table
    }

    fn table(&self) -> Table {
        let mut table = columns(["WAVE", "AGENTS", "SOAK", "APPROVAL", "WHO"]);
        for wave in &self.waves {
            let mut who: Vec<String> = wave.agents.iter().take(3).map(ToString::to_string).collect();
            if wave.agents.len() > 3 {
                who.push("...".to_owned());
            }
            table.add_row([
                wave.name.to_string(),
                wave.agents.len().to_string(),
                format!("{}s", wave.soak_s),
                if wave.approval { "wanted" } else { "none" }.to_owned(),
                who.join(" "),
            ]);
        }
        table
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(vec![self.rollout.to_string()])
    }
}
