//! `fwcast plan`: what a rollout would do; nothing of rollouts is changed, and nothing sent.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use comfy_table::Table;
use jiff::{SignedDuration, Timestamp};
use provisioning::Name;
use serde::Serialize;

use super::kind::on_store;
use super::manifest_files::{ManifestFiles, one_rollout};
use super::run::plan_of;
use crate::cli::Global;
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::output::{self, Report, columns, say};
use crate::rollout::plan::{AgentKey, Percent, Plan as RolloutPlan};
use crate::runner::prepare::Planned;
use crate::state::{GroupState, StateDir};
use crate::store::{Loss, Store};

/// Show what a rollout would do: which agents, in which waves, how many blocks, how long on the air
#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    files: ManifestFiles,
    /// Which rollout, where the files have several
    #[arg(long, value_name = "NAME")]
    rollout: Option<Name>,
    /// Reckon with such a loss to each agent, in place of what the last rollout or push measured; 5%
    /// where none has
    #[arg(long, value_name = "PERCENT")]
    loss: Option<Percent>,
    /// End with code 3 where something would change
    #[arg(long)]
    exit_code: bool,
}

/// What goes over the link besides a block's bytes: headers, signature and hash tree.
const OVERHEAD_BYTES: u64 = 128 + 42;
/// The loss that is reckoned with where none was measured.
const LOSS_ASSUMED: Percent = Percent::whole(5);
/// Rounds that are reckoned with at most: at such a loss nothing is brought anyway.
const ROUNDS_MAX: i32 = 20;

#[derive(Serialize)]
struct Planning {
    rollout: Name,
    image: String,
    sequence_number: u64,
    agents: usize,
    blocks: u64,
    changes: bool,
    /// The loss that was reckoned with, in the group that takes longest.
    loss: Percent,
    /// When that was measured; none where it was given or assumed.
    loss_measured_at: Option<Timestamp>,
    /// Seconds on the air, transfer alone, of the group that takes longest.
    air_s: u64,
    /// When the last wave would be through, if all goes well and nobody has to approve.
    ends_at: Option<Timestamp>,
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
        let name = one_rollout(&manifests, self.rollout.as_ref())?.manifest.metadata().name.clone();
        let planning = on_store(global, async |dir, store| {
            let planned = plan_of(global, dir, store, &manifests, self.rollout.as_ref(), 0).await?;
            let done = store.rollout(&name).await?.is_some_and(|begun| {
                begun.line.outcome.is_some() && form(begun.plan) == form(planned.plan.clone())
            });
            self.planning(dir, planned, !done, &store.losses().await?)
        })?;
        output::print(global.output, &planning)?;
        if global.output.is_for_people() {
            say!("{}", planning.summary());
        }
        Ok(if self.exit_code && planning.changes { Exit::ChangesPending } else { Exit::Done })
    }

    fn planning(
        &self,
        dir: &StateDir,
        planned: Planned,
        changes: bool,
        losses: &BTreeMap<Name, Loss>,
    ) -> Result<Planning, Failure> {
        let Planned { name, plan, left_out, .. } = planned;
        let blocks = u64::from(plan.image.bytes.div_ceil(u32::from(plan.image.block_bytes).max(1)));
        let given = self.loss.unwrap_or(LOSS_ASSUMED);
        let (mut air_s, mut loss, mut loss_measured_at) = (0, given, None);
        // Security groups go at once, the rollout groups of one follow one another.
        let groups: BTreeSet<&Name> = plan.lanes.iter().map(|lane| &lane.security_group).collect();
        for name in groups {
            let group = GroupState::open(dir, name)?;
            let measured = losses.get(name).filter(|_| self.loss.is_none());
            let here = measured.map_or(given, |loss| Percent::share(loss.missed, loss.awaited));
            let lanes = plan.lanes.iter().filter(|lane| lane.security_group == *name);
            let takes = lanes.map(|lane| {
                let rate = lane.rate_bits_per_second.unwrap_or(group.profile.rate_bits_per_second);
                self::air_s(here, plan.image.block_bytes, blocks, lane.agents.len(), rate)
            });
            let takes = takes.sum();
            if takes > air_s {
                (air_s, loss, loss_measured_at) = (takes, here, measured.map(|loss| loss.at));
            }
        }
        let waves = plan.waves.iter().map(|wave| WaveLine {
            name: wave.name.clone(),
            agents: wave.agents.clone(),
            soak_s: wave.soak_s,
            approval: wave.approval,
        });
        Ok(Planning {
            rollout: name,
            image: format!("{} {}", plan.image.name, plan.image.version),
            sequence_number: plan.image.sequence_number,
            agents: plan.agents().count(),
            blocks,
            changes,
            loss,
            loss_measured_at,
            air_s,
            ends_at: ends_at(&plan, air_s),
            waves: waves.collect(),
            left_out,
        })
    }
}

/// Seconds to bring so many blocks to so many agents, at a rate in bit/s and with such a loss to each.
///
/// Each block goes out until every agent has it: with independent loss, the rounds are those after which
/// all of them together are expected to miss less than half a block.
fn air_s(loss: Percent, block_bytes: u16, blocks: u64, agents: usize, rate: u64) -> u64 {
    let loss = f64::from(loss.hundredths()) / 10_000.0;
    let (blocks, agents) = (blocks as f64, i32::try_from(agents).unwrap_or(i32::MAX));
    let (mut sent, mut missing) = (0.0, blocks);
    for round in 1..=ROUNDS_MAX {
        sent += missing;
        // A block is sent again if any agent has missed it each time.
        missing = blocks * (1.0 - (1.0 - loss.powi(round)).powi(agents));
        if missing < 0.5 {
            break;
        }
    }
    let bits = sent * (f64::from(block_bytes) + OVERHEAD_BYTES as f64) * 8.0;
    (bits / rate.max(1) as f64).ceil() as u64
}

/// A plan without its agents: what its documents say.
fn form(mut plan: RolloutPlan) -> RolloutPlan {
    plan.lanes.iter_mut().for_each(|lane| lane.agents.clear());
    plan.waves.iter_mut().for_each(|wave| wave.agents.clear());
    plan
}

/// When the last wave would be through.
fn ends_at(plan: &RolloutPlan, air_s: u64) -> Option<Timestamp> {
    let now = Timestamp::now();
    let opens = |windows: &crate::rollout::window::Windows, moment: Timestamp| {
        if windows.are_open(moment) { Some(moment) } else { windows.next_open(moment) }
    };
    let mut moment = opens(&plan.transfer_windows, now)?;
    moment = moment.checked_add(SignedDuration::from_secs(i64::try_from(air_s).ok()?)).ok()?;
    for wave in &plan.waves {
        moment = match plan.activation {
            crate::rollout::plan::When::Now => moment,
            crate::rollout::plan::When::At(at) => moment.max(at),
            crate::rollout::plan::When::Window => opens(&plan.activation_windows, moment)?,
        };
        moment = moment.checked_add(SignedDuration::from_secs(wave.soak_s.into())).ok()?;
    }
    Some(moment)
}

impl Planning {
    fn summary(&self) -> String {
        let ends = self.ends_at.map_or_else(
            || "it would never end, as a window never opens".to_owned(),
            |at| format!("through at {at:.0} at the earliest"),
        );
        let approvals = match self.waves.iter().filter(|wave| wave.approval).count() {
            0 => String::new(),
            count => format!(", with {count} approvals to give"),
        };
        let measured = self.loss_measured_at.map_or_else(String::new, |at| format!(" (measured at {at:.0})"));
        format!(
            "{} (manifest sequence number {}) to {} agents: {} blocks, {} s on the air with {} loss to \
             each{measured}; {ends}{approvals}",
            self.image, self.sequence_number, self.agents, self.blocks, self.air_s, self.loss
        )
    }
}

impl Report for Planning {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_on_the_air_is_what_the_bytes_take_and_grows_with_loss_and_agents() {
        let air_s = |loss: &str, agents| air_s(loss.parse().unwrap(), 1024, 10_000, agents, 1_000_000);
        // 10,000 blocks of 1194 bytes in all, at 1 Mbit/s.
        assert_eq!(air_s("0%", 1), 96);
        assert_eq!(air_s("0%", 10_000), 96);
        // One agent that loses one of 20 needs 1 / 0.95 of that.
        assert_eq!(air_s("5%", 1), 101);
        let of_agents = [1, 10, 100, 10_000].map(|agents| air_s("5%", agents));
        assert!(of_agents.is_sorted() && of_agents[3] < 6 * 96, "{of_agents:?}");
        let of_loss = ["0%", "1%", "10%", "50%"].map(|loss| air_s(loss, 100));
        assert!(of_loss.is_sorted() && of_loss[3] > 2 * 96, "{of_loss:?}");
        // Nobody hears anything: that is no reason to hang.
        assert!(air_s("100%", 3) > 19 * 96);
    }
}
