//! Runs a rollout: connects the engine to the store, the clock, the operator's orders and the network.
//!
//! One process runs a rollout at a time ([`RolloutLock`]). Whatever the engine wants saved is durable before
//! the next action. So the process may be killed at any moment, and another one continues. Orders from any
//! process come through the store.

mod error;
mod known;
mod lanes;
mod latest;
mod membership;
mod observer;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use provisioning::Name;
use tokio::sync::watch;

use crate::SendError;
use crate::control::Stop;
use crate::manager::meanwhile;
use fwcast_documents::Planned;
use fwcast_state::{GroupLock, RolloutLock, StateDir};
use fwcast_store::epoch::Claims;
use fwcast_store::images::Images;
use fwcast_store::{NewRollout, Revision, Step, Store, StoreError};
use lanes::{Lanes, Worked};
use latest::Latest;
use rollout_engine::record::{Given, OrderOutcome, Outcome, Settled};
use rollout_engine::{Engine, Input, Now, Output, Run, RunEnd};

pub use error::RunError;
pub use known::{BLOCK_OVERHEAD_BYTES, Standing, doing, doing_of, load, pace, sending};
pub use observer::{Note, RolloutObserver};

/// How often to check for orders and reports while idle.
const TICK: Duration = Duration::from_millis(250);

/// How often to save how far a run is, if nothing else is saved.
const SAVE_EVERY: Duration = Duration::from_secs(3);

/// If there is nothing to do for longer than this, others may send for the groups.
const RELEASED_FOR: SignedDuration = SignedDuration::from_secs(3);

/// How a run of the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutEnd {
    /// The rollout is over.
    Over(Outcome),
    /// This process was told to stop; another one can continue.
    Interrupted,
}

/// What all rollouts of this process share.
#[derive(Debug)]
pub struct Resources<'a, S> {
    /// The state folder.
    pub dir: &'a StateDir,
    /// The store in it.
    pub store: &'a S,
    /// The right to send, claimed before the first run.
    pub claims: &'a Claims,
    /// Who works with them, for the history.
    pub actor: &'a str,
}

impl<S> Clone for Resources<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Resources<'_, S> {}

/// A rollout that this process runs.
pub struct Runner<'a, S, O> {
    with: Resources<'a, S>,
    engine: Engine,
    began: Instant,
    seen: Revision,
    /// When the state was last saved.
    saved: Instant,
    observer: O,
    _lock: RolloutLock,
}

/// What a run returns: the lanes, and its result.
type Finished = (Lanes, Worked);

/// The current run, and the handle that stops it.
struct Work {
    future: Pin<Box<dyn Future<Output = Finished>>>,
    stopper: watch::Sender<bool>,
}

impl Work {
    fn stop(&self) {
        self.stopper.send_replace(true);
    }
}

/// The resources of a running rollout.
#[derive(Default)]
struct Hands {
    /// The security groups, while they are open and no run uses them.
    lanes: Option<Lanes>,
    /// A run that waits until another process has finished with a group.
    held: Option<Run>,
    /// The current run.
    work: Option<Work>,
    /// What agents report in it.
    latest: Latest,
    /// No further run may begin.
    interrupted: bool,
}

impl Hands {
    fn stop_work(&self) {
        self.work.iter().for_each(Work::stop);
    }
}

impl<'a, S: Store, O: RolloutObserver> Runner<'a, S, O> {
    /// Begins a planned rollout, and stores it.
    ///
    /// # Errors
    /// The store's errors, for example if another rollout has some of the agents.
    pub async fn begin(
        with: Resources<'a, S>,
        planned: Planned,
        observer: O,
        lock: RolloutLock,
    ) -> Result<Self, RunError> {
        let began = Instant::now();
        let now = Now { wall: Timestamp::now(), steady: Duration::ZERO };
        let attempt = planned.last_attempt(with.dir)?;
        let mut engine = Engine::begin(planned.name, planned.plan, attempt, now);
        let mut changes = engine.take_changes();
        changes.facts.iter_mut().for_each(|fact| fact.text.push_str(&format!(", by {}", with.actor)));
        let state = to_json(&engine)?;
        let new = NewRollout {
            name: engine.name(),
            generation: planned.generation,
            plan: engine.plan(),
            state: &state,
            agents: &changes.agents,
            facts: &changes.facts,
            at: now.wall,
        };
        with.store.begin_rollout(new).await?;
        let seen = Revision::UNKNOWN;
        let mut runner = Self { with, engine, began, seen, saved: began, observer, _lock: lock };
        runner.observer.facts(&changes.facts);
        Ok(runner)
    }

    /// Continues a stored rollout.
    ///
    /// # Errors
    /// The store's errors, or its content cannot be read.
    pub async fn resume(
        with: Resources<'a, S>,
        name: &Name,
        observer: O,
        lock: RolloutLock,
    ) -> Result<Self, RunError> {
        let engine = load(with.store, name).await?;
        let (began, seen) = (Instant::now(), Revision::UNKNOWN);
        Ok(Self { with, engine, began, seen, saved: began, observer, _lock: lock })
    }

    /// The engine, read-only.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs to the end, or until `stop`.
    ///
    /// # Errors
    /// Why the rollout cannot continue. It is saved as paused, with the same reason.
    pub async fn run(&mut self, stop: Stop) -> Result<RolloutEnd, RunError> {
        let groups: BTreeSet<Name> =
            self.engine.plan().lanes.iter().map(|lane| lane.security_group.clone()).collect();
        let ended = meanwhile(self.with.dir, &groups, self.run_to_end(stop)).await;
        self.observer.finish();
        ended
    }

    async fn run_to_end(&mut self, mut stop: Stop) -> Result<RolloutEnd, RunError> {
        self.mended().await?;
        // Agents may have been enrolled since it ended.
        let over = matches!(self.engine.state().outcome(), Some(Outcome::Done | Outcome::DoneWithFailures));
        let mut hands =
            Hands { lanes: if over { self.joined_since().await } else { None }, ..Hands::default() };
        loop {
            self.take_reports(&hands.latest);
            self.take_orders().await?;
            self.begin_held(&mut hands).await?;
            if hands.work.is_some() && self.saved.elapsed() >= SAVE_EVERY {
                // For those who look on from elsewhere.
                self.save().await?;
            }
            let now = self.now();
            match self.engine.poll(now) {
                Output::Save => self.save().await?,
                Output::Run(_) if hands.interrupted => return Ok(RolloutEnd::Interrupted),
                Output::Run(run) => hands.held = Some(run),
                Output::Stop if hands.held.take().is_some() => self.run_ended(Worked::stopped()).await?,
                Output::Stop => hands.stop_work(),
                Output::Ended => {
                    return Ok(self
                        .engine
                        .state()
                        .outcome()
                        .map_or(RolloutEnd::Interrupted, RolloutEnd::Over));
                }
                Output::Wait(_) if hands.interrupted && hands.work.is_none() => {
                    return Ok(RolloutEnd::Interrupted);
                }
                Output::Wait(until) => self.wait(&mut hands, until, now.wall, &mut stop).await?,
            }
        }
    }

    /// Waits for the end of the current run, for a stop, or until it is time to check again.
    async fn wait(
        &mut self,
        hands: &mut Hands,
        until: Option<Timestamp>,
        now: Timestamp,
        stop: &mut Stop,
    ) -> Result<(), RunError> {
        self.observer.tick(&self.engine);
        if hands.work.is_none() && hands.held.is_none() && is_far(until, now) {
            // Others may send for the groups meanwhile.
            hands.lanes = None;
        }
        tokio::select! {
            (back, worked) = finished(&mut hands.work) => {
                hands.lanes = Some(back);
                self.take_reports(&hands.latest);
                self.run_ended(worked).await?;
            }
            () = stop.asked(), if !hands.interrupted => {
                hands.interrupted = true;
                hands.stop_work();
            }
            () = tokio::time::sleep(pause_until(until, now)) => {}
        }
        Ok(())
    }

    /// Begins the held run if no other process sends for its groups; otherwise tells the observer.
    async fn begin_held(&mut self, hands: &mut Hands) -> Result<(), RunError> {
        let Some(run) = hands.held.take() else { return Ok(()) };
        let lanes = self.lanes(hands.lanes.take(), run.task.withdraws()).await;
        if let Some(group) = lanes.as_ref().err().and_then(RunError::busy_group) {
            self.observer.waits_for(group);
            hands.held = Some(run);
            return Ok(());
        }
        hands.work = self.begin_run(run, lanes, &hands.latest).await?;
        Ok(())
    }

    /// Begins a run; `None` if it could not begin and has thereby ended.
    ///
    /// # Errors
    /// Why the rollout cannot continue.
    async fn begin_run(
        &mut self,
        run: Run,
        lanes: Result<Lanes, RunError>,
        latest: &Latest,
    ) -> Result<Option<Work>, RunError> {
        let lanes = match lanes {
            Ok(lanes) => lanes,
            Err(error) => {
                let ended = Worked { failure: Some(error), ..Worked::stopped() };
                return self.run_ended(ended).await.map(|()| None);
            }
        };
        let (stopper, stop) = Stop::on_demand();
        self.observer.run_begins(&run, &self.engine);
        Ok(Some(Work { future: Box::pin(lanes.work(run, latest.clone(), stop)), stopper }))
    }

    /// The right to send for each security group of the rollout: for all of them, or none.
    ///
    /// # Errors
    /// Another process sends for one of them, or the database was restored while another process sends.
    fn take_groups(&self) -> Result<BTreeMap<Name, GroupLock>, RunError> {
        let groups = self.security_groups().into_iter();
        let locks = groups.map(|group| Ok((group.clone(), GroupLock::to_send(self.with.dir, group)?)));
        locks.collect()
    }

    /// As [`Self::take_groups`], but without groups that cannot be had at all, and why not.
    fn take_groups_to_withdraw(&self) -> Result<(BTreeMap<Name, GroupLock>, Option<RunError>), RunError> {
        let (mut locks, mut failure) = (BTreeMap::new(), None);
        for group in self.security_groups() {
            match GroupLock::to_send(self.with.dir, group).map_err(RunError::from) {
                Ok(lock) => drop(locks.insert(group.clone(), lock)),
                Err(busy) if busy.busy_group().is_some() => return Err(busy),
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        Ok((locks, failure))
    }

    fn security_groups(&self) -> BTreeSet<&Name> {
        self.engine.plan().lanes.iter().map(|lane| &lane.security_group).collect()
    }

    /// Finds out which agents joined since the rollout ended. Without this, its outcome is still known.
    async fn joined_since(&mut self) -> Option<Lanes> {
        match self.lanes(None, false).await {
            Ok(lanes) => Some(lanes),
            Err(error) => {
                self.observer.note(Note::JoinedUnknown(error));
                None
            }
        }
    }

    /// An operator who runs it again has fixed what stopped it.
    async fn mended(&mut self) -> Result<(), RunError> {
        self.engine.handle(self.now(), Input::Mended);
        self.save().await
    }

    /// The security groups, opened to send, with their current members. To take an update back, neither its
    /// image is needed nor every group.
    async fn lanes(&mut self, opened: Option<Lanes>, withdraws: bool) -> Result<Lanes, RunError> {
        let Resources { dir, store, claims, .. } = self.with;
        let mut lanes = match opened.filter(|lanes| withdraws || lanes.can_deliver()) {
            Some(lanes) => lanes,
            None => {
                let plan = self.engine.plan();
                // First, because a restored database stops all groups, under their locks.
                let claimed = claims.get(dir, store).await?;
                if withdraws {
                    let (locks, failure) = self.take_groups_to_withdraw()?;
                    Lanes::open_to_withdraw(claimed, plan, locks, failure)?
                } else {
                    let locks = self.take_groups()?;
                    let image = Images::of(dir).open(&fwcast_documents::digest_of(plan)?)?;
                    Lanes::open(claimed, plan, image, locks)?
                }
            }
        };
        lanes.refresh(dir, store, &self.engine).await?;
        let now = self.now();
        for input in lanes.differences(&self.engine) {
            self.engine.handle(now, input);
        }
        Ok(lanes)
    }

    /// Tells the engine, and saves. Then returns the error that the rollout cannot continue after.
    async fn run_ended(&mut self, worked: Worked) -> Result<(), RunError> {
        let now = self.now();
        let Worked { end, attempt, losses, failure } = worked;
        let end = failure.as_ref().map_or(end, |failure| RunEnd::Broken(failure.to_string()));
        self.engine.handle(now, Input::RunEnded { end, attempt });
        self.save().await?;
        for (group, loss) in losses {
            if let Err(error) = self.with.store.note_loss(&group, loss).await {
                self.observer.note(Note::LossNotStored { group, error });
            }
        }
        match failure {
            // It has ended all the same, and says why in its outcome.
            Some(_) if self.engine.state().outcome().is_some() => Ok(()),
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn take_reports(&mut self, latest: &Latest) {
        let now = self.now();
        for input in latest.take() {
            self.engine.handle(now, input);
        }
    }

    /// Carries out new orders of operators, as far as they need no network.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn take_orders(&mut self) -> Result<(), RunError> {
        let revision = self.with.store.revision().await?;
        if std::mem::replace(&mut self.seen, revision) == revision {
            return Ok(());
        }
        for given in self.with.store.open_orders(self.engine.name()).await? {
            let who = Given { by: given.by, reason: given.reason };
            let order = Input::Order { id: given.id, order: given.order, given: who };
            self.engine.handle(self.now(), order);
            if let Err(failure) = self.save().await {
                if let RunError::Send(SendError::Store(StoreError::Conflict { .. })) = &failure {
                    // Nobody can carry it out, and the next process must not try. After any other failure it
                    // stays open, for whoever runs the rollout next.
                    let outcome = OrderOutcome::Refused(failure.to_string());
                    let refused = Settled { id: given.id, outcome };
                    self.with.store.settle_order(&refused, Timestamp::now()).await?;
                }
                return Err(failure);
            }
        }
        Ok(())
    }

    async fn save(&mut self) -> Result<(), RunError> {
        let changes = self.engine.take_changes();
        let state = to_json(&self.engine)?;
        let step = Step {
            rollout: self.engine.name(),
            state: &state,
            outcome: self.engine.state().outcome(),
            agents: &changes.agents,
            facts: &changes.facts,
            settled: &changes.settled,
            at: Timestamp::now(),
        };
        if let Err(error) = self.with.store.save(step).await {
            self.engine.not_saved(changes);
            return Err(error.into());
        }
        self.saved = Instant::now();
        self.observer.facts(&changes.facts);
        Ok(())
    }

    fn now(&self) -> Now {
        Now { wall: Timestamp::now(), steady: self.began.elapsed() }
    }
}

fn to_json(engine: &Engine) -> Result<String, RunError> {
    serde_json::to_string(engine.state()).map_err(RunError::StateNotWritten)
}

/// Whether a moment is unknown or far enough away to let others send.
fn is_far(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_none_or(|until| until.duration_since(now) > RELEASED_FOR)
}

/// The time until a moment, but not so long that orders wait.
fn pause_until(until: Option<Timestamp>, now: Timestamp) -> Duration {
    let left = until.and_then(|until| Duration::try_from(until.duration_since(now)).ok());
    left.unwrap_or(TICK).clamp(Duration::from_millis(1), TICK)
}

async fn finished(work: &mut Option<Work>) -> Finished {
    let Some(under_way) = work else { return std::future::pending().await };
    let done = under_way.future.as_mut().await;
    *work = None;
    done
}
