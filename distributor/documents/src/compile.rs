//! Compiles rollout manifests and the known agents to a [`Plan`] without selectors or file names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use provisioning::Name;
use provisioning::yaml::Step;
use uuid::Uuid;

use super::check::{UnplacedDiagnostic, of_group, two_groups};
use super::group::{Members, RolloutGroup};
use super::rollout::{ActivateWhen, Approval, DisruptionBudget, Rollout, RolloutSpec, WindowSpec};
use super::text::Span;
use super::waves::{self, Member};
use fwcast_state::GroupState;
use rollout_engine::plan::{Abort, AgentKey, Budget, Lane, Plan, PlannedImage, Retry, Wave, When};
use rollout_engine::window::Windows;

/// The default time to receive the whole image.
const TRANSFER_WITHIN_S: u32 = 6 * 60 * 60;
/// The default time to report the end of a trial.
const CONFIRM_WITHIN_S: u32 = 10 * 60;
/// How much longer an agent is waited for whose device has put the activation off.
const DEFERRED_WITHIN_S: u32 = 60 * 60;

/// The part of a security group that a plan needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetGroup {
    /// Its name.
    pub name: Name,
    /// The address and port of its CoAP group.
    pub coap_group: SocketAddr,
    /// The address and port that the distributor sends from.
    pub distributor: SocketAddr,
    /// Bytes per block.
    pub block_bytes: u16,
    /// Who is enrolled.
    pub agents: Vec<FleetAgent>,
}

/// The part of an agent that a plan needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetAgent {
    /// Its name.
    pub name: Name,
    /// SUIT vendor identifier.
    pub vendor: Uuid,
    /// SUIT class identifier.
    pub class: Uuid,
    /// The operator's labels for it.
    pub labels: BTreeMap<String, String>,
}

/// A signed image, and the devices it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetImage {
    /// The part that a plan keeps.
    pub planned: PlannedImage,
    /// SUIT vendor identifier.
    pub vendor: Uuid,
    /// SUIT class identifier.
    pub class: Uuid,
}

/// A plan, and the agents left out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The plan.
    pub plan: Plan,
    /// Agents of the groups that have another vendor or class than the image.
    pub left_out: Vec<AgentKey>,
}

/// Compiles a rollout. `groups` are the known rollout groups, in any order; `fleet` the security groups.
///
/// Agents are sorted by name, then by security group, so that the same rollout and fleet always give the same
/// waves.
///
/// # Errors
/// Everything that is wrong, with its place in the rollout's `spec`.
pub fn compile(
    rollout: &Rollout,
    groups: &[&RolloutGroup],
    image: &FleetImage,
    fleet: &[FleetGroup],
) -> Result<Compiled, Vec<UnplacedDiagnostic>> {
    let spec = &rollout.spec;
    let by_name = groups.iter().map(|group| (&group.metadata.name, *group)).collect();
    // The waves are checked again below, once the number of agents is known.
    let mut diagnostics = super::check::of_rollout(spec, &by_name);
    let mut gathered = Gathered::default();
    for (index, name) in spec.groups.iter().enumerate() {
        let at = |problem: String| UnplacedDiagnostic::new(["groups".into(), index.into()], problem);
        match lane(name, &by_name, image, fleet) {
            Ok((lane, members, left_out)) => {
                diagnostics.extend(gathered.add(lane, members, left_out).into_iter().map(at));
            }
            Err(problems) => diagnostics.extend(problems.into_iter().map(at)),
        }
    }
    diagnostics.extend(one_address(&gathered.lanes, fleet));
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    gathered
        .members
        .sort_by(|one, other| (&one.key.name, &one.key.group).cmp(&(&other.key.name, &other.key.group)));
    let waves = planned_waves(spec, &gathered.members)?;
    let budget = spec.disruption_budget.as_ref().map(|budget| planned_budget(budget, &gathered.members));
    let plan = Plan {
        image: image.planned.clone(),
        lanes: gathered.lanes,
        waves,
        success: spec.success.minimum,
        abort: Abort {
            failed: spec.abort.failed,
            lost: spec.abort.lost,
            min_sample: spec.abort.min_sample.get(),
        },
        retry: Retry {
            max: spec.retry.max,
            backoff_s: spec.retry.backoff.seconds(),
            on: spec.retry.on.clone(),
        },
        transfer_within_s: spec.deadlines.transfer.map_or(TRANSFER_WITHIN_S, Span::seconds),
        report_within_s: report_within_s(spec),
        deferred_within_s: spec.deadlines.deferred.map_or(DEFERRED_WITHIN_S, Span::seconds),
        transfer_windows: windows("transfer", &spec.windows.transfer)?,
        activation_windows: windows("activate", &spec.windows.activate)?,
        activation: match (spec.activation.when, spec.activation.at) {
            (ActivateWhen::At, Some(moment)) => When::At(moment.0),
            (ActivateWhen::Window, _) => When::Window,
            _ => When::Now,
        },
        budget,
        paused: spec.paused,
    };
    Ok(Compiled { plan, left_out: gathered.left_out })
}

/// Security groups that the distributor would serve from one address: only one socket can have it.
fn one_address(lanes: &[Lane], fleet: &[FleetGroup]) -> Option<UnplacedDiagnostic> {
    let mut first: BTreeMap<SocketAddr, &Name> = BTreeMap::new();
    lanes.iter().find_map(|lane| {
        let name = &lane.security_group;
        let address = fleet.iter().find(|group| group.name == *name)?.distributor;
        let before = *first.entry(address).or_insert(name);
        (before != name).then(|| {
            let why = format!(
                "the security groups '{before}' and '{name}' both have the distributor at {address}, so they \
                 cannot be served at once: give each a port of its own, or put them in two rollouts"
            );
            UnplacedDiagnostic::new(["groups".into()], why)
        })
    })
}

/// The result of the groups so far.
#[derive(Default)]
struct Gathered {
    lanes: Vec<Lane>,
    members: Vec<Member>,
    left_out: Vec<AgentKey>,
    group_of: BTreeMap<AgentKey, Name>,
}

impl Gathered {
    /// Adds a group; returns a sentence for each agent that another group already has.
    fn add(&mut self, lane: Lane, members: Vec<Member>, left_out: Vec<AgentKey>) -> Vec<String> {
        let mut problems = Vec::new();
        for member in &members {
            if let Some(before) = self.group_of.insert(member.key.clone(), lane.name.clone()) {
                problems.push(two_groups(&member.key.name, &before, &lane.name));
            }
        }
        self.lanes.push(lane);
        self.members.extend(members);
        self.left_out.extend(left_out);
        problems
    }
}

/// The currently enrolled agents of a rollout group that can take an image, by name.
pub fn fitting(group: &RolloutGroup, security: &FleetGroup, image: &FleetImage) -> Vec<Name> {
    let chosen = members(group, security).unwrap_or_default();
    let fits = |agent: &&FleetAgent| can_take(agent, image);
    chosen.into_iter().filter(fits).map(|agent| agent.name.clone()).collect()
}

fn can_take(agent: &FleetAgent, image: &FleetImage) -> bool {
    agent.vendor == image.vendor && agent.class == image.class
}

type LaneParts = (Lane, Vec<Member>, Vec<AgentKey>);

/// The lane of a rollout group, its members that can take the image, and the others.
fn lane(
    name: &Name,
    groups: &BTreeMap<&Name, &RolloutGroup>,
    image: &FleetImage,
    fleet: &[FleetGroup],
) -> Result<LaneParts, Vec<String>> {
    let group = groups.get(name).ok_or_else(|| {
        vec![format!("there is no RolloutGroup '{name}': correct the name, or give its document as well")]
    })?;
    let mut problems: Vec<String> = of_group(&group.spec)
        .into_iter()
        .map(|diagnostic| format!("in group '{name}', {}", diagnostic.problem))
        .collect();
    let wanted = &group.spec.security.group;
    let Some(security) = fleet.iter().find(|it| &it.name == wanted) else {
        problems.push(format!(
            "there is no security group '{wanted}' for group '{name}': create it with `fwcast group create`"
        ));
        return Err(problems);
    };
    problems.extend(transport_differs(group, security, image));
    let chosen = match members(group, security) {
        Ok(chosen) => chosen,
        Err(more) => {
            problems.extend(more);
            return Err(problems);
        }
    };
    let key = |agent: &FleetAgent| AgentKey { group: wanted.clone(), name: agent.name.clone() };
    let (fitting, others): (Vec<&FleetAgent>, Vec<&FleetAgent>) =
        chosen.into_iter().partition(|agent| can_take(agent, image));
    if fitting.is_empty() {
        problems.push(format!(
            "no agent of group '{name}' can take the image '{}', which is for vendor {} and class {}: choose \
             another image or group",
            image.planned.name, image.vendor, image.class
        ));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let transport = &group.spec.transport;
    let lane = Lane {
        name: name.clone(),
        security_group: wanted.clone(),
        interface: transport.interface.as_ref().map(|interface| interface.0.clone()),
        hops: transport.hops.map(std::num::NonZeroU8::get),
        rate_bits_per_second: transport.rate.map(|rate| rate.0),
        parity: group.spec.parity.and_then(super::group::Parity::checked),
        agents: fitting.iter().map(|agent| agent.name.clone()).collect(),
    };
    let member = |agent: &&FleetAgent| Member { key: key(agent), labels: agent.labels.clone() };
    Ok((lane, fitting.iter().map(member).collect(), others.into_iter().map(key).collect()))
}

/// The transport settings that must match the security group, but do not.
fn transport_differs(group: &RolloutGroup, security: &FleetGroup, image: &FleetImage) -> Vec<String> {
    let (name, transport) = (&group.metadata.name, &group.spec.transport);
    let mut problems = Vec::new();
    if let Some(address) = transport.group.filter(|address| address.0 != security.coap_group) {
        problems.push(format!(
            "group '{name}' has {address}, but agents of security group '{}' listen on coap://{}: write \
             that, or leave it out",
            security.name, security.coap_group
        ));
    }
    if let Some(size) = transport.block_size.filter(|size| size.0 != security.block_bytes) {
        problems.push(format!(
            "group '{name}' has blocks of {} bytes, but security group '{}' uses blocks of {}: write that, \
             or leave it out",
            size.0, security.name, security.block_bytes
        ));
    }
    if image.planned.block_bytes != security.block_bytes {
        problems.push(format!(
            "the image '{}' is signed for blocks of {} bytes, but group '{name}' uses blocks of {}: sign \
             it with --block-size {}",
            image.planned.name, image.planned.block_bytes, security.block_bytes, security.block_bytes
        ));
    }
    problems
}

/// The agents of a group, by name.
fn members<'a>(group: &RolloutGroup, security: &'a FleetGroup) -> Result<Vec<&'a FleetAgent>, Vec<String>> {
    let name = &group.metadata.name;
    let mut chosen: Vec<&FleetAgent> = match &group.spec.members {
        Members::Selector(selector) => {
            security.agents.iter().filter(|agent| selector.matches(&agent.labels)).collect()
        }
        Members::Agents(names) => {
            let known: BTreeSet<&Name> = security.agents.iter().map(|agent| &agent.name).collect();
            let unknown: Vec<&Name> = names.iter().filter(|agent| !known.contains(agent)).collect();
            if let Some(first) = unknown.first() {
                let more = match unknown.len() - 1 {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                return Err(vec![format!(
                    "agent '{first}'{more} of group '{name}' is not enrolled in security group '{}': \
                     enroll it with `fwcast agent enroll {first} --group {}`, or remove it here",
                    security.name, security.name
                )]);
            }
            let wanted: BTreeSet<&Name> = names.iter().collect();
            security.agents.iter().filter(|agent| wanted.contains(&agent.name)).collect()
        }
    };
    if chosen.is_empty() {
        return Err(vec![format!(
            "group '{name}' has no agents, because none of the {} in security group '{}' matches its \
             selector: correct the selector, or the labels of the agents",
            security.agents.len(),
            security.name
        )]);
    }
    chosen.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(chosen)
}

fn planned_waves(spec: &RolloutSpec, members: &[Member]) -> Result<Vec<Wave>, Vec<UnplacedDiagnostic>> {
    let keys = |indices: &[usize]| indices.iter().map(|&index| members[index].key.clone()).collect();
    if spec.waves.is_empty() {
        let agents = members.iter().map(|member| member.key.clone()).collect();
        let name = Name::new("all")
            .map_err(|error| vec![UnplacedDiagnostic::new(["waves".into()], error.to_string())])?;
        return Ok(vec![Wave { name, agents, soak_s: 0, approval: false }]);
    }
    let spread = spec.disruption_budget.as_ref().map(|budget| budget.group_by.as_str());
    let divided = waves::divide(&spec.waves, members, spread)?;
    let wave = |(wave, indices): (&super::rollout::Wave, Vec<usize>)| Wave {
        name: wave.name.clone(),
        agents: keys(&indices),
        soak_s: wave.soak.map_or(0, Span::seconds),
        approval: wave.approval == Approval::Manual,
    };
    let planned = spec.waves.iter().zip(divided).map(wave);
    // An empty rest has nothing to wait for.
    Ok(planned.filter(|wave| !wave.agents.is_empty()).collect())
}

/// Which agents are in which place.
fn planned_budget(budget: &DisruptionBudget, members: &[Member]) -> Budget {
    let mut places: BTreeMap<String, BTreeSet<AgentKey>> = BTreeMap::new();
    for member in members {
        places.entry(member.place(&budget.group_by).to_owned()).or_default().insert(member.key.clone());
    }
    Budget { label: budget.group_by.clone(), max: budget.max_unavailable.0, places }
}

fn report_within_s(spec: &RolloutSpec) -> u32 {
    let confirm = spec.activation.confirm_within.map_or(CONFIRM_WITHIN_S, Span::seconds);
    confirm.saturating_add(spec.deadlines.report.map_or(0, Span::seconds))
}

fn windows(which: &str, specs: &[WindowSpec]) -> Result<Windows, Vec<UnplacedDiagnostic>> {
    let window = |(index, spec): (usize, &WindowSpec)| {
        let path: [Step; 3] = ["windows".into(), which.into(), index.into()];
        spec.window().map_err(|why| vec![UnplacedDiagnostic::new(path, why)])
    };
    specs.iter().enumerate().map(window).collect::<Result<Vec<_>, _>>().map(Windows::new)
}

impl From<&GroupState> for FleetGroup {
    fn from(group: &GroupState) -> Self {
        let agent = |agent: &fwcast_state::Enrolled| FleetAgent {
            name: agent.name.clone(),
            vendor: agent.vendor,
            class: agent.class,
            labels: agent.labels.clone(),
        };
        Self {
            name: group.name.clone(),
            coap_group: group.profile.coap_group,
            distributor: group.profile.distributor,
            block_bytes: group.profile.block_size,
            agents: group.agents.iter().map(agent).collect(),
        }
    }
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
