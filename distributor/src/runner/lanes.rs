//! A run's work on the network: all security groups at once, and within each one distribution after another.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use group_oscore::MemberId;
use jiff::Timestamp;
use provisioning::Name;
use update_core::digest::Digest;
use update_core::distribution::{
    Activate, Agent, Distribution, DistributionConfig, Ending, Event, Job, Tallies, Update,
};
use update_core::suit::Offer;
use update_core::time::Duration;

use super::latest::Latest;
use super::{RunError, membership};
use crate::control::{Control, Instruction, Stop};
use crate::drive::{self, DistributionEnd, DistributionObserver};
use crate::manifest::{members_of, stored};
use crate::random::seed;
use crate::session::Session;
use crate::socket;
use crate::state::{Agents, GroupLock, Profile, StateDir};
use crate::store::epoch::Claimed;
use crate::store::images::StoredImage;
use crate::store::{Loss, Store};
use rollout_engine::plan::{AgentKey, Lane, Plan};
use rollout_engine::record::{AgentRecord, Progress, Report};
use rollout_engine::{Engine, Input, Run, RunEnd, Task};

/// The security groups of a rollout, opened to send.
pub(super) struct Lanes {
    image: StoredImage,
    groups: Vec<Group>,
}

/// One security group with the rollout groups in it.
struct Group {
    name: Name,
    session: Session,
    fingerprint: Option<String>,
    lanes: Vec<Lane>,
    offer: Offer,
}

/// The result of a run.
#[derive(Debug)]
pub(super) struct Worked {
    /// How it ended.
    pub(super) end: RunEnd,
    /// The highest attempt number that was used.
    pub(super) attempt: u32,
    /// The loss that was measured, by security group.
    pub(super) losses: BTreeMap<Name, Loss>,
    /// Why a group could not continue.
    pub(super) failure: Option<RunError>,
}

impl Worked {
    /// The result of a run that has not begun.
    pub(super) fn stopped() -> Self {
        Self { end: RunEnd::Stopped, attempt: 0, losses: BTreeMap::new(), failure: None }
    }
}

/// The result of a run in one lane.
struct LaneEnd {
    group: Name,
    end: RunEnd,
    attempt: u32,
    tallies: Tallies,
}

impl Lanes {
    /// Opens all security groups of a plan, and checks that each would accept the image.
    ///
    /// # Errors
    /// A group is missing, its counters are in doubt, or no key of its key set signed the image.
    pub(super) fn open(
        claimed: &Claimed,
        plan: &Plan,
        image: StoredImage,
        mut locks: BTreeMap<Name, GroupLock>,
    ) -> Result<Self, RunError> {
        let dir = claimed.dir();
        let mut lanes: BTreeMap<&Name, Vec<Lane>> = BTreeMap::new();
        for lane in &plan.lanes {
            lanes.entry(&lane.security_group).or_default().push(lane.clone());
        }
        let mut open = |(name, lanes): (&Name, Vec<Lane>)| {
            let lock = locks.remove(name).map_or_else(|| GroupLock::to_send(dir, name), Ok)?;
            let session = Session::open_locked(claimed, lock)?;
            let offer = crate::image::offer_to(&session.group, &plan.image.name, &image.envelope)?;
            let fingerprint = Agents::fingerprint(dir, name)?;
            Ok(Group { name: name.clone(), session, fingerprint, lanes, offer })
        };
        let groups = lanes.into_iter().map(&mut open).collect::<Result<_, RunError>>()?;
        Ok(Self { image, groups })
    }

    /// Reads which agents were enrolled or removed since.
    pub(super) async fn refresh<S: Store>(
        &mut self,
        dir: &StateDir,
        store: &S,
        engine: &Engine,
    ) -> Result<(), RunError> {
        let documents = stored::rollout_groups(store).await?;
        for group in &mut self.groups {
            let fingerprint = Agents::fingerprint(dir, &group.name)?;
            if fingerprint != group.fingerprint {
                group.session.reload_agents(dir)?;
                group.fingerprint = fingerprint;
            }
            let had = had(engine, &group.name);
            let mut selected = Vec::new();
            for lane in &group.lanes {
                let of_lane = members_of(lane, &documents, &group.session.group, &group.offer);
                let mut there = Vec::new();
                for name in of_lane.unwrap_or_default() {
                    let key = AgentKey { group: group.name.clone(), name };
                    if had.contains(&key.name) || is_free(store, &key, engine.name()).await? {
                        there.push(key.name);
                    }
                }
                selected.push(there);
            }
            let enrolled = group.session.group.agents.iter().map(|agent| agent.name.clone()).collect();
            membership::assign(&mut group.lanes, &enrolled, &had, selected);
        }
        Ok(())
    }

    /// Which agents have joined or left since the engine was last told.
    pub(super) fn differences(&self, engine: &Engine) -> Vec<Input> {
        let there: BTreeSet<AgentKey> = self.groups.iter().flat_map(Group::keys).collect();
        let known = |key: &AgentKey| engine.agents().get(key).is_some_and(is_in);
        let joined = there.iter().filter(|key| !known(key)).cloned().map(Input::Joined);
        let left = engine.agents().keys().filter(|key| known(key) && !there.contains(key)).cloned();
        joined.chain(left.map(Input::Left)).collect()
    }

    /// Performs a run in all groups at once. The lanes of one group follow one another.
    pub(super) async fn work(mut self, run: Run, latest: Latest, mut stop: Stop) -> (Self, Worked) {
        let image = &self.image;
        let (stopper, own) = Stop::on_demand();
        let works = self.groups.iter_mut().map(|group| group.work(image, &run, &latest, &own));
        let mut works: FuturesUnordered<_> = works.collect();
        let (mut ends, mut failure) = (Vec::new(), None);
        loop {
            tokio::select! {
                () = stop.asked(), if !own.is_asked() => drop(stopper.send_replace(true)),
                worked = works.next() => match worked {
                    None => break,
                    Some(Ok(more)) => ends.extend(more),
                    // An error in one group stops the others.
                    Some(Err(failed)) => {
                        stopper.send_replace(true);
                        failure.get_or_insert(failed);
                    }
                },
            }
        }
        drop(works);
        let attempt = ends.iter().map(|lane| lane.attempt).max().unwrap_or(0);
        let all = |end: &RunEnd| !ends.is_empty() && ends.iter().all(|lane| lane.end == *end);
        let end = if ends.iter().any(|lane| lane.end == RunEnd::Stopped) || stop.is_asked() {
            RunEnd::Stopped
        } else if all(&RunEnd::NobodyAnswered) {
            RunEnd::NobodyAnswered
        } else {
            RunEnd::Done
        };
        // Later runs only serve the few agents that were away.
        let losses = if run.task == Task::Transfer { losses(&ends) } else { BTreeMap::new() };
        (self, Worked { end, attempt, losses, failure })
    }
}

impl Group {
    fn keys(&self) -> impl Iterator<Item = AgentKey> {
        let key = |name: &Name| AgentKey { group: self.name.clone(), name: name.clone() };
        self.lanes.iter().flat_map(|lane| lane.agents.iter()).map(key)
    }

    async fn work(
        &mut self,
        image: &StoredImage,
        run: &Run,
        latest: &Latest,
        stop: &Stop,
    ) -> Result<Vec<LaneEnd>, RunError> {
        let mut ends = Vec::new();
        for lane in &self.lanes.clone() {
            if stop.is_asked() {
                break;
            }
            let members = self.members(lane, run);
            let idle = matches!(run.task, Task::Activate(_)) && !members.values().any(|key| run.tells(key));
            if members.is_empty() || idle {
                continue;
            }
            ends.push(self.work_lane(lane, image, run, &members, latest, stop).await?);
        }
        Ok(ends)
    }

    /// The agents of a lane that a run is for, by Sender ID.
    fn members(&self, lane: &Lane, run: &Run) -> BTreeMap<MemberId, AgentKey> {
        let wanted: BTreeSet<&Name> =
            run.agents.iter().filter(|key| key.group == self.name).map(|key| &key.name).collect();
        let names: BTreeSet<&Name> = lane.agents.iter().collect();
        let enrolled = self.session.group.agents.iter();
        enrolled
            .filter(|agent| wanted.contains(&agent.name) && names.contains(&agent.name))
            .map(|agent| (agent.member_id(), AgentKey { group: self.name.clone(), name: agent.name.clone() }))
            .collect()
    }

    /// What to send to the agents of a lane.
    fn distribution(
        &mut self,
        lane: &Lane,
        image: &StoredImage,
        run: &Run,
        members: &BTreeMap<MemberId, AgentKey>,
    ) -> Result<Distribution, RunError> {
        let ids: Vec<MemberId> = members.keys().copied().collect();
        let told = members.iter().filter(|(_, key)| run.tells(key)).map(|(id, _)| *id).collect();
        let config = self.session.config_of(&ids);
        let config = DistributionConfig {
            rate: lane.rate_bits_per_second.unwrap_or(config.rate),
            activate: if matches!(run.task, Task::Activate(_)) {
                Activate::Only(told)
            } else {
                Activate::Nobody
            },
            attempt: run.attempt,
            transfer_within: Duration::from_secs(run.transfer_within_s.into()),
            confirm_within: Duration::from_secs(run.report_within_s.into()),
            ..config
        };
        let update =
            Update { envelope: image.envelope.clone(), offer: self.offer, pages: image.tree.pages.clone() };
        let context = self.session.context_of(&ids)?;
        let distribution = Distribution::new(config, context, Job::Update(update), seed()?, drive::clock()());
        Ok(distribution.remembering(&self.session.conduct()))
    }

    async fn work_lane(
        &mut self,
        lane: &Lane,
        image: &StoredImage,
        run: &Run,
        members: &BTreeMap<MemberId, AgentKey>,
        latest: &Latest,
        stop: &Stop,
    ) -> Result<LaneEnd, RunError> {
        let digest: Digest = self.offer.digest;
        let socket = socket::open(&profile(&self.session.group.profile, lane))?;
        self.session.note_attempt(&digest, run.attempt)?;
        let mut distribution = self.distribution(lane, image, run, members)?;
        let session = &mut self.session;
        let (orders, mut control) = Control::with_orders(stop.clone());
        let order = match run.task {
            Task::Cancel => Some(Instruction::Cancel),
            Task::Undo => Some(Instruction::Undo),
            _ => None,
        };
        // `control` holds the receiver, so this cannot fail.
        order.map(|order| orders.send(order));
        let mut reporter = Reporter { members, latest };
        let ended =
            drive::run(&mut distribution, session, Some(&image.file), &socket, &mut reporter, &mut control)
                .await?;
        session.note_attempt(&digest, distribution.attempt())?;
        reporter.all(&distribution);
        let end = end_of(ended, session, &distribution, &self.name)?;
        if end == RunEnd::NobodyAnswered {
            reporter.silence();
        }
        session.settle(&distribution)?;
        let (attempt, tallies) = (distribution.attempt(), distribution.tallies());
        Ok(LaneEnd { group: self.name.clone(), end, attempt, tallies })
    }
}

/// Whether the rollout still has this agent.
fn is_in(agent: &AgentRecord) -> bool {
    agent.progress != Progress::Removed
}

/// The agents of a security group that the rollout has.
fn had(engine: &Engine, group: &Name) -> BTreeSet<Name> {
    let agents = engine.agents().iter().filter(|(key, agent)| key.group == *group && is_in(agent));
    agents.map(|(key, _)| key.name.clone()).collect()
}

/// Whether no other rollout has this agent.
async fn is_free<S: Store>(store: &S, key: &AgentKey, rollout: &Name) -> Result<bool, RunError> {
    let agent = store.agent(key).await?;
    Ok(agent.and_then(|agent| agent.rollout).is_none_or(|other| other == *rollout))
}

/// The loss that the lanes have measured on the way to their agents, by security group.
fn losses(ends: &[LaneEnd]) -> BTreeMap<Name, Loss> {
    let mut sums: BTreeMap<&Name, (u64, u64)> = BTreeMap::new();
    for lane in ends {
        let (awaited, missed) = sums.entry(&lane.group).or_default();
        *awaited += lane.tallies.blocks_awaited;
        *missed += lane.tallies.blocks_missed;
    }
    let at = Timestamp::now();
    let measured =
        |(group, (awaited, missed)): (&Name, _)| Some((group.clone(), Loss::measured(awaited, missed, at)?));
    sums.into_iter().filter_map(measured).collect()
}

/// How a run ended, for the engine.
fn end_of(
    ended: DistributionEnd,
    session: &mut Session,
    distribution: &Distribution,
    group: &Name,
) -> Result<RunEnd, RunError> {
    match ended {
        DistributionEnd::Interrupted => Ok(RunEnd::Stopped),
        DistributionEnd::By(Ending::Done | Ending::Cancelled | Ending::Undone) => Ok(RunEnd::Done),
        DistributionEnd::By(Ending::NobodyAnswered) => Ok(RunEnd::NobodyAnswered),
        DistributionEnd::By(Ending::CounterBehind { .. }) => Err(session.condemn(distribution).into()),
        DistributionEnd::By(Ending::ImageUnreadable) => Err(RunError::ImageChanged),
        DistributionEnd::By(Ending::NumbersExhausted) => Err(RunError::NumbersExhausted(group.clone())),
        DistributionEnd::By(Ending::Unprotectable(why)) => {
            Err(RunError::Unprotectable { group: group.clone(), why })
        }
    }
}

/// The security group's profile, with the rollout group's settings applied.
fn profile(profile: &Profile, lane: &Lane) -> Profile {
    Profile {
        interface: lane.interface.clone().unwrap_or_else(|| profile.interface.clone()),
        hops: lane.hops.unwrap_or(profile.hops),
        ..profile.clone()
    }
}

/// Passes on what agents report.
struct Reporter<'a> {
    members: &'a BTreeMap<MemberId, AgentKey>,
    latest: &'a Latest,
}

impl Reporter<'_> {
    fn one(&self, agent: &Agent) {
        let Some(key) = self.members.get(&agent.id) else { return };
        let report = match agent.status {
            _ if agent.lost => SILENT,
            None => return,
            Some(status) => Report {
                state: Some(status.state),
                reason: status.reason,
                missing: status.missing_blocks.saturating_add(status.missing_pages),
                installed: status.installed,
            },
        };
        self.latest.put(key.clone(), report);
    }

    fn all(&self, distribution: &Distribution) {
        distribution.agents().iter().for_each(|agent| self.one(agent));
    }

    fn silence(&self) {
        self.members.values().for_each(|key| self.latest.put(key.clone(), SILENT));
    }
}

const SILENT: Report = Report { state: None, reason: 0, missing: 0, installed: 0 };

impl DistributionObserver for Reporter<'_> {
    fn event(&mut self, event: Event, distribution: &Distribution) {
        if let Event::Report(id) | Event::Lost(id) | Event::Quarantined(id) = event
            && let Some(agent) = distribution.agents().iter().find(|agent| agent.id == id)
        {
            self.one(agent);
        }
    }

    fn tick(&mut self, _: &Distribution) {}
}
