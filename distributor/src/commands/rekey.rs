//! `fwcast group rekey`, `fwcast agent evict` and `fwcast agent rejoin`: who has a group's keys.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use comfy_table::Table;
use provisioning::Name;
use serde::Serialize;

use super::arguments::{self, seconds};
use super::completions::{names_of, security_groups};
use super::confirm::Yes;
use super::exit_codes::{Exit, Failure};
use super::global::Global;
use super::kind::{Noun, made, on_fleet};
use super::output::{self, Printable, columns, say};
use fwcast_service::control::Stop;
use fwcast_service::deliver::{self, Delivered};
use fwcast_service::{Fleet, members};
use fwcast_state::GroupState;
use fwcast_state::rekey::Moves;
use fwcast_store::Store;
use rollout_engine::Many;
use rollout_engine::plan::AgentKey;

/// Arguments of `group rekey`.
#[derive(Debug, Args)]
pub struct Rekey {
    /// Its name
    #[arg(add = security_groups())]
    name: Name,
    /// Multicast address and port that its agents listen on from now on
    #[arg(long, value_name = "ADDR:PORT", value_parser = arguments::coap_group)]
    coap_group: Option<SocketAddr>,
    /// Unicast address and port from which this machine sends from now on
    #[arg(long, value_name = "ADDR:PORT", value_parser = arguments::peer)]
    distributor: Option<SocketAddr>,
    /// Network interface of this machine that sends multicast from now on
    #[arg(long, value_name = "IF", value_parser = arguments::interface)]
    interface: Option<String>,
    #[command(flatten)]
    within: Within,
}

/// Arguments of `agent evict`.
#[derive(Debug, Args)]
pub struct Evict {
    /// Which agents; their groups may stand in front, like hall/lamp-1
    #[arg(required = true, value_name = "NAME", add = names_of(Noun::Agents))]
    names: Vec<String>,
    /// Their group, where several have an agent of this name
    #[arg(long)]
    group: Option<Name>,
    /// Why, for the history
    #[arg(long)]
    reason: String,
    /// Forget them altogether, as for stolen devices: to come back they need new files
    #[arg(long)]
    destroy: bool,
    #[command(flatten)]
    within: Within,
    #[command(flatten)]
    yes: Yes,
}

/// Arguments of `agent rejoin`.
#[derive(Debug, Args)]
pub struct Rejoin {
    /// Its name
    name: Name,
    /// The group that it was evicted from
    #[arg(long, add = security_groups())]
    group: Name,
}

/// How long to wait for the agents.
#[derive(Debug, Clone, Copy, Args)]
struct Within {
    /// How long to bring the keys to agents that do not answer; they get them later, when they ask
    #[arg(long = "within", value_name = "TIME", value_parser = seconds, default_value = "60s")]
    seconds: u32,
}

#[derive(Serialize)]
struct Shown(Vec<Delivered>);

impl Rekey {
    /// Gives the group new keys, and brings them to its agents.
    pub(super) fn run(&self, global: &Global) -> Result<Exit, Failure> {
        on_fleet(global, async |fleet| {
            let (coap_group, distributor) = (self.coap_group, self.distributor);
            let moves = Moves { coap_group, distributor, interface: self.interface.clone() };
            let group = made(fleet.rekey(&self.name, moves).await?);
            bring(global, fleet, &[group], self.within).await
        })
    }
}

impl Evict {
    /// Evicts the agents, and brings new keys to all others.
    pub(super) fn run(&self, global: &Global) -> Result<Exit, Failure> {
        on_fleet(global, async |fleet| {
            let find = |name: &String| members::find(fleet.dir(), name, self.group.as_ref());
            let keys = self.names.iter().map(find).collect::<Result<Vec<AgentKey>, _>>()?;
            for group in groups_of(&keys) {
                let group = GroupState::open(fleet.dir(), group)?;
                let leaving = keys.iter().filter(|key| key.group == group.name).count();
                let cost = deliver::cost(&group, group.agents.len().saturating_sub(leaving));
                say!("group '{}': {cost}", group.name);
            }
            let question = format!("evict {}?", Many(keys.len(), "agent"));
            self.yes.or_ask(&question, "every group")?;
            let groups = made(fleet.evict(&keys, &self.reason, self.destroy).await?);
            bring(global, fleet, &groups, self.within).await
        })
    }
}

impl Rejoin {
    /// Takes an evicted agent back into its group.
    pub(super) async fn run<S: Store>(&self, fleet: &Fleet<S>) -> Result<(), Failure> {
        made(fleet.rejoin(&self.name, &self.group).await?);
        say!(
            "agent '{}/{}' is a member again, and gets the keys when it asks the Group Manager (`fwcast \
             manager run`)",
            self.group,
            self.name
        );
        Ok(())
    }
}

fn groups_of(keys: &[AgentKey]) -> Vec<&Name> {
    let mut groups: Vec<&Name> = keys.iter().map(|key| &key.group).collect();
    groups.sort();
    groups.dedup();
    groups
}

/// Brings the keys of these groups to their agents, one group after another.
async fn bring<S: Store>(
    global: &Global,
    fleet: &Fleet<S>,
    groups: &[GroupState],
    within: Within,
) -> Result<Exit, Failure> {
    let stop = Stop::on_signals()?;
    let mut all = Vec::new();
    for group in groups {
        let within = Duration::from_secs(within.seconds.into());
        let progress = |node: &str| say!("agent '{}/{node}' has the new keys", group.name);
        all.push(fleet.deliver_keys(group, within, progress, stop.clone()).await?);
    }
    let shown = Shown(all);
    output::print(global.output, &shown)?;
    let missing: usize = shown.0.iter().map(|one| one.without.len()).sum();
    match (missing, stop.is_asked()) {
        (0, _) => return Ok(Exit::Done),
        (_, true) => return Ok(Exit::Interrupted),
        _ => {}
    }
    say!(
        "note: {} without the new keys: each gets them when it asks, as long as `fwcast manager run` serves",
        Many(missing, "agent")
    );
    Ok(Exit::TimedOut)
}

impl Printable for Shown {
    fn table(&self) -> Table {
        let mut table = columns(["GROUP", "GENERATION", "AGENTS", "WITHOUT THE NEW KEYS"]);
        for one in &self.0 {
            let names: Vec<&str> = one.without.iter().map(Name::as_str).collect();
            let missing = if names.is_empty() { "-".to_owned() } else { names.join(" ") };
            let (num, agents) = (one.generation.to_string(), one.agents.to_string());
            table.add_row([one.name.to_string(), num, agents, missing]);
        }
        table
    }
}
