//! What there is, at a glance.

use comfy_table::{Cell, Table};
use jiff::Timestamp;
use serde::Serialize;

use super::or_dash;
use super::rollouts::RolloutRow;
use crate::commands::output::{Printable, age_of, columns, safe};
use fwcast_service::{GroupGlance, Overview};
use rollout_engine::Many;

/// Rollouts that have not ended, and security groups.
#[derive(Debug, Serialize)]
pub struct Glance {
    /// Rollouts that have not ended.
    pub rollouts: Vec<RolloutRow>,
    /// How many have ended.
    pub ended_rollouts: usize,
    /// Security groups.
    pub groups: Vec<GroupGlance>,
}

impl From<Overview> for Glance {
    fn from(overview: Overview) -> Self {
        Self {
            rollouts: overview.rollouts.into_iter().map(RolloutRow::from).collect(),
            ended_rollouts: overview.ended,
            groups: overview.groups,
        }
    }
}

impl Printable for Glance {
    fn table(&self) -> Table {
        let now = Timestamp::now();
        let mut table = columns(["WHAT", "NAME", "STATE"]);
        for rollout in &self.rollouts {
            let doing = or_dash(rollout.doing.as_deref());
            let state = format!("{}: {}", rollout.state, safe(&doing));
            table.add_row([Cell::new("rollout"), Cell::new(&rollout.name), Cell::new(state)]);
        }
        for group in &self.groups {
            let mut state = format!("{}, {} heard", Many(group.agents, "agent"), group.heard);
            if group.last_heard.is_some() {
                state.push_str(&format!(" (the last {} ago)", age_of(group.last_heard, now)));
            }
            let known = group.installed.iter().filter(|(image, _)| *image != "-");
            let known: Vec<String> =
                known.map(|(image, count)| format!("{count} with image {}", safe(image))).collect();
            if !known.is_empty() {
                state.push_str(&format!("; {}", known.join(", ")));
            }
            table.add_row(["security group".to_owned(), group.name.to_string(), state]);
        }
        if self.ended_rollouts > 0 {
            let state =
                format!("{} ended: `fwcast history` lists them", Many(self.ended_rollouts, "rollout"));
            table.add_row(["history".to_owned(), "-".to_owned(), state]);
        }
        table
    }

    fn names(&self) -> Option<Vec<String>> {
        let rollouts = self.rollouts.iter().map(|rollout| format!("rollout/{}", rollout.name));
        let groups = self.groups.iter().map(|group| format!("group/{}", group.name));
        Some(rollouts.chain(groups).collect())
    }
}
