//! A run's work on the network: all security groups at once, and within each one distribution after another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use group_oscore::MemberId;
use jiff::Timestamp;
use provisioning::Name;
use update_core::census::State;
use update_core::digest::Digest;
use update_core::distribution::{
    Activate, Agent, Distribution, DistributionConfig, Ending, Event, Job, Lag as Behind, Stage, Tallies,
    Update,
};
use update_core::reception::NOT_NOW;
use update_core::remark::Remark;
use update_core::time::Duration;

use super::latest::Latest;
use super::{RunError, membership};
use crate::control::Stop;
use crate::drive::{self, DistributionEnd, DistributionObserver};
use crate::link::Link;
use crate::rewound::heard_at;
use crate::session::Session;
use fwcast_documents::{digest_of, members_of, stored};
use fwcast_state::random::seed;
use fwcast_state::{Agents, GroupLock, Profile, StateDir};
use fwcast_store::epoch::Claimed;
use fwcast_store::images::StoredImage;
use fwcast_store::{Loss, Store};
use rollout_engine::plan::{AgentKey, Lane, Plan};
use rollout_engine::record::{AgentRecord, Lag, Progress, Report};
use rollout_engine::state::Sending;
use rollout_engine::{Engine, Input, Run, RunEnd, Task};

/// How long a transfer waits until somebody has answered, before other rollout groups have their turn.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The same for a census, which is repeated.
const CENSUS_ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// The security groups of a rollout, opened to send.
pub(super) struct Lanes {
    digest: Digest,
    /// `None` if the update can only be taken back.
    image: Option<StoredImage>,
    groups: Vec<Group>,
    /// Why a group could not be opened to take the update back.
    unopened: Option<RunError>,
}

/// One security group with the rollout groups in it.
struct Group {
    name: Name,
    session: Session,
    fingerprint: Option<String>,
    lanes: Vec<Lane>,
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
        let mut groups = Vec::new();
        for (name, lanes) in lanes_by_group(plan) {
            let group = Group::open(claimed, name, lanes, locks.remove(name))?;
            fwcast_state::image::offer_to(&group.session.group, &plan.image.name, &image.envelope)?;
            groups.push(group);
        }
        Ok(Self { digest: digest_of(plan)?, image: Some(image), groups, unopened: None })
    }

    /// Opens the security groups that can be opened, to take the update back. That needs no image, and no key
    /// that signed one. `unopened` is why a group has no lock, if one has none.
    ///
    /// # Errors
    /// The plan names no image.
    pub(super) fn open_to_withdraw(
        claimed: &Claimed,
        plan: &Plan,
        mut locks: BTreeMap<Name, GroupLock>,
        mut unopened: Option<RunError>,
    ) -> Result<Self, RunError> {
        let mut groups = Vec::new();
        for (name, lanes) in lanes_by_group(plan) {
            let Some(lock) = locks.remove(name) else { continue };
            match Group::open(claimed, name, lanes, Some(lock)) {
                Ok(group) => groups.push(group),
                Err(error) => drop(unopened.get_or_insert(error)),
            }
        }
        Ok(Self { digest: digest_of(plan)?, image: None, groups, unopened })
    }

    /// Whether the image can be delivered; without it, the update can only be taken back.
    pub(super) fn can_deliver(&self) -> bool {
        self.image.is_some()
    }

    /// Reads which agents were enrolled or removed since.
    pub(super) async fn refresh<S: Store>(
        &mut self,
        dir: &StateDir,
        store: &S,
        engine: &Engine,
    ) -> Result<(), RunError> {
        // Nobody joins an update that is being taken back.
        let documents = match &self.image {
            Some(image) => Some((stored::rollout_groups(store).await?, image.offer)),
            None => None,
        };
        for group in &mut self.groups {
            let fingerprint = Agents::fingerprint(dir, &group.name)?;
            if fingerprint != group.fingerprint {
                group.session.reload_agents(dir)?;
                group.fingerprint = fingerprint;
            }
            let had = had(engine, &group.name);
            let mut selected = Vec::new();
            for lane in &group.lanes {
                let of_lane = documents
                    .as_ref()
                    .and_then(|(documents, offer)| members_of(lane, documents, &group.session.group, offer));
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
        let opened: BTreeSet<&Name> = self.groups.iter().map(|group| &group.name).collect();
        let is_gone = |key: &&AgentKey| known(key) && opened.contains(&key.group) && !there.contains(key);
        let left = engine.agents().keys().filter(is_gone).cloned();
        joined.chain(left.map(Input::Left)).collect()
    }

    /// Performs a run in all groups at once. The lanes of one group follow one another.
    pub(super) async fn work(mut self, run: Run, latest: Latest, mut stop: Stop) -> (Self, Worked) {
        let withdraws = run.task.withdraws();
        let (digest, image) = (self.digest, self.image.as_ref());
        let (stopper, own) = Stop::on_demand();
        let works = self.groups.iter_mut().map(|group| group.work(digest, image, &run, &latest, &own));
        let mut works: FuturesUnordered<_> = works.collect();
        let (mut ends, mut failure) = (Vec::new(), None);
        loop {
            tokio::select! {
                () = stop.asked(), if !own.is_asked() => drop(stopper.send_replace(true)),
                worked = works.next() => match worked {
                    None => break,
                    Some(Ok(more)) => ends.extend(more),
                    Some(Err(failed)) => {
                        // An error in one group stops the others, but not from being told to take it back.
                        if !withdraws {
                            stopper.send_replace(true);
                        }
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
        if withdraws && !stop.is_asked() {
            failure = failure.or_else(|| self.unopened.take());
        }
        (self, Worked { end, attempt, losses, failure })
    }
}

impl Group {
    fn open(
        claimed: &Claimed,
        name: &Name,
        lanes: Vec<Lane>,
        lock: Option<GroupLock>,
    ) -> Result<Self, RunError> {
        let lock = lock.map_or_else(|| GroupLock::to_send(claimed.dir(), name), Ok)?;
        let session = Session::open_locked(claimed, lock)?;
        let fingerprint = Agents::fingerprint(claimed.dir(), name)?;
        Ok(Self { name: name.clone(), session, fingerprint, lanes })
    }

    fn keys(&self) -> impl Iterator<Item = AgentKey> {
        let key = |name: &Name| AgentKey { group: self.name.clone(), name: name.clone() };
        self.lanes.iter().flat_map(|lane| lane.agents.iter()).map(key)
    }

    async fn work(
        &mut self,
        digest: Digest,
        image: Option<&StoredImage>,
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
            let job = job(digest, image, run)?;
            let file = image.map(|image| &image.file);
            ends.push(self.work_lane(lane, (digest, job, file), run, &members, latest, stop).await?);
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
        job: Job,
        run: &Run,
        members: &BTreeMap<MemberId, AgentKey>,
    ) -> Result<Distribution, RunError> {
        let ids: Vec<MemberId> = members.keys().copied().collect();
        let told = members.iter().filter(|(_, key)| run.tells(key)).map(|(id, _)| *id).collect();
        let config = self.session.config_of(&ids);
        let transfer_within = Duration::from_secs(run.transfer_within_s.into());
        let config = DistributionConfig {
            rate: lane.rate_bits_per_second.unwrap_or(config.rate),
            parity: lane.parity.map_or(config.parity, |parity| self.session.group.parity(parity).coded()),
            activate: if matches!(run.task, Task::Activate(_)) {
                Activate::Only(told)
            } else {
                Activate::Nobody
            },
            attempt: run.attempt,
            first_answer_within: transfer_within.min(first_answer_within(&run.task)),
            transfer_within,
            confirm_within: Duration::from_secs(run.report_within_s.into()),
            deferred_within: Duration::from_secs(run.deferred_within_s.into()),
            leaves_silent: true,
            ..config
        };
        let context = self.session.context_of(&ids)?;
        let distribution = Distribution::new(config, context, job, seed()?, drive::clock()());
        Ok(self.session.continued(distribution))
    }

    async fn work_lane(
        &mut self,
        lane: &Lane,
        (digest, job, file): (Digest, Job, Option<&File>),
        run: &Run,
        members: &BTreeMap<MemberId, AgentKey>,
        latest: &Latest,
        stop: &Stop,
    ) -> Result<LaneEnd, RunError> {
        let profile = profile(&self.session.group.profile, lane);
        // A way that does not exist at first is a mistake; one that existed may come back.
        let was_there = latest.reaches(&lane.name);
        let mut link = if was_there { Link::open_again(profile) } else { Link::open(profile)? };
        self.session.note_attempt(&digest, run.attempt)?;
        let mut distribution = self.distribution(lane, job, run, members)?;
        let session = &mut self.session;
        let mut reporter = Reporter::new(&self.name, members, latest);
        let mut stop = stop.clone();
        let ended = drive::run(&mut distribution, session, file, &mut link, &mut reporter, &mut stop).await?;
        session.note_attempt(&digest, distribution.attempt())?;
        reporter.all(&distribution);
        let end = end_of(ended, session, &distribution, &self.name)?;
        session.settle(&distribution)?;
        let (attempt, tallies) = (distribution.attempt(), distribution.tallies());
        Ok(LaneEnd { group: self.name.clone(), end, attempt, tallies })
    }
}

/// The rollout groups of a plan, by security group.
fn lanes_by_group(plan: &Plan) -> BTreeMap<&Name, Vec<Lane>> {
    let mut lanes: BTreeMap<&Name, Vec<Lane>> = BTreeMap::new();
    for lane in &plan.lanes {
        lanes.entry(&lane.security_group).or_default().push(lane.clone());
    }
    lanes
}

/// What a distribution does in a run.
fn job(digest: Digest, image: Option<&StoredImage>, run: &Run) -> Result<Job, RunError> {
    let update = |image: &StoredImage| Update {
        envelope: image.envelope.clone(),
        offer: image.offer,
        pages: image.tree.pages.clone(),
    };
    match run.task {
        Task::Cancel => Ok(Job::Cancel(digest)),
        Task::Undo => Ok(Job::Undo(digest)),
        _ => image.map(|image| Job::Update(update(image))).ok_or(RunError::ImageChanged),
    }
}

/// How long a run waits for a first answer. Where nobody answers, the engine decides what follows: agents
/// that are silent have the whole time of the transfer, in one run or another.
fn first_answer_within(task: &Task) -> Duration {
    match task {
        Task::Transfer => FIRST_ANSWER_WITHIN,
        Task::Activate(_) => Duration::MAX,
        Task::Census | Task::Cancel | Task::Undo => CENSUS_ANSWER_WITHIN,
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

/// Passes on what agents report, and how far the blocks are.
struct Reporter<'a> {
    group: &'a Name,
    members: &'a BTreeMap<MemberId, AgentKey>,
    latest: &'a Latest,
    /// The pass over image blocks, and how many it sends.
    round: (u32, u32),
}

impl<'a> Reporter<'a> {
    fn new(group: &'a Name, members: &'a BTreeMap<MemberId, AgentKey>, latest: &'a Latest) -> Self {
        Self { group, members, latest, round: (0, 0) }
    }

    fn one(&self, agent: &Agent) {
        let Some(key) = self.members.get(&agent.id) else { return };
        let report = match agent.status {
            // It was waited for as long as the rollout says.
            Some(status) if agent.lost && status.state == State::Deferred => {
                Report { state: Some(State::Failed), reason: NOT_NOW, remark: status.remark, ..SILENT }
            }
            _ if agent.lost => {
                let remark = heard_at(agent).map_or(Remark::NONE, |said| Remark::new(&said));
                Report { reason: why_lost(agent), remark, ..SILENT }
            }
            None => return,
            Some(status) => Report {
                state: Some(status.state),
                reason: status.reason,
                remark: status.remark,
                missing: status.missing_blocks.saturating_add(status.missing_pages),
                installed: status.installed,
            },
        };
        self.latest.put(key.clone(), report);
    }

    fn all(&self, distribution: &Distribution) {
        distribution.agents().iter().for_each(|agent| self.one(agent));
    }
}

/// Why an agent is lost although it was heard; 0 if it was not.
fn why_lost(agent: &Agent) -> u8 {
    if agent.is_quarantined() {
        return Lag::Quarantined as u8;
    }
    if agent.rewind().is_some() {
        return Lag::Rewound as u8;
    }
    agent.laggard().map_or(0, |lag| match lag {
        Behind::Offer => Lag::Offer as u8,
        Behind::Pages => Lag::Pages as u8,
        Behind::Blocks => Lag::Blocks as u8,
        Behind::Busy => Lag::Busy as u8,
    })
}

const SILENT: Report = Report { state: None, reason: 0, remark: Remark::NONE, missing: 0, installed: 0 };

impl DistributionObserver for Reporter<'_> {
    fn event(&mut self, event: Event, distribution: &Distribution) {
        match event {
            Event::Report(id) | Event::Lost(id) | Event::Quarantined(id) | Event::Rewound(id) => {
                if let Some(agent) = distribution.agents().iter().find(|agent| agent.id == id) {
                    self.one(agent);
                }
            }
            Event::Stage(Stage::Blocks { round, blocks }) => self.round = (round, blocks),
            Event::Stage(_) => self.round.1 = 0,
            Event::Finished(_) => {}
        }
    }

    fn tick(&mut self, distribution: &Distribution) {
        let (round, blocks) = self.round;
        let sending = Sending::new(round, blocks, distribution.blocks_to_send(), distribution.rate());
        self.latest.put_sending(self.group, sending);
    }

    fn outage(&mut self, why: Option<&str>) {
        self.latest.put_outage(self.group, why);
    }
}
