//! Carries a rollout out: the engine meets the store, the clock, the operator's orders and the network here.
//!
//! One process runs a rollout at a time ([`RolloutLock`](crate::state::RolloutLock)). Whatever the engine
//! wants saved is durable before the next thing happens, so that the process may be killed at any moment
//! and another one goes on. Orders come through the store, from whichever process they are given in.

mod lanes;
mod latest;
mod membership;
pub mod prepare;
pub mod show;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use provisioning::Name;
use tokio::sync::watch;

use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::output::say;
use crate::control::Stop;
use crate::rollout::record::{Order, Outcome};
use crate::rollout::state::{Pause, Stage};
use crate::rollout::{Engine, Input, Now, Output, Run, RunEnd};
use crate::state::{GroupLock, RolloutLock, StateDir, StateError};
use crate::store::images::Images;
use crate::store::{NewRollout, REFUSED, Revision, Step, Store};
use lanes::{Lanes, Worked};
use latest::Latest;
use show::Show;

/// How often orders and reports are looked at while there is nothing else to do.
const TICK: Duration = Duration::from_millis(250);

/// Where nothing is to be done for longer than this, others may send for the groups.
const RELEASED_FOR: SignedDuration = SignedDuration::from_secs(3);

/// How running ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The rollout is over.
    Over(Outcome),
    /// This process was told to stop; another one can go on.
    Interrupted,
}

/// A rollout in the hands of this process.
pub struct Runner<'a, S> {
    dir: &'a StateDir,
    store: &'a S,
    engine: Engine,
    began: Instant,
    seen: Revision,
    show: Show,
    _lock: RolloutLock,
}

/// What a run gives back, and what came of it.
type Finished = (Lanes, Worked);

/// A run under way, and what stops it.
struct Work {
    future: Pin<Box<dyn Future<Output = Finished>>>,
    stopper: watch::Sender<bool>,
}

impl Work {
    fn stop(&self) {
        self.stopper.send_replace(true);
    }
}

/// What running a rollout has at hand.
#[derive(Default)]
struct Hands {
    /// The security groups, while they are open and no run has them.
    lanes: Option<Lanes>,
    /// A run that waits for another process to be through with a group.
    held: Option<Run>,
    /// The run under way.
    work: Option<Work>,
    /// What agents report in it.
    latest: Latest,
    /// Nothing more is to begin.
    interrupted: bool,
}

impl Hands {
    fn stop_work(&self) {
        self.work.iter().for_each(Work::stop);
    }
}

impl<'a, S: Store> Runner<'a, S> {
    /// Begins a rollout that was planned; from then on it is in the store.
    ///
    /// # Errors
    /// The store's own, as for agents that another rollout has.
    pub async fn begin(
        dir: &'a StateDir,
        store: &'a S,
        planned: prepare::Planned,
        show: Show,
        lock: RolloutLock,
    ) -> Result<Self, Failure> {
        let began = Instant::now();
        let now = Now { wall: Timestamp::now(), steady: Duration::ZERO };
        let attempt = planned.last_attempt(dir)?;
        let mut engine = Engine::begin(planned.name, planned.plan, attempt, now);
        let changes = engine.take_changes();
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
        store.begin_rollout(new).await?;
        let mut runner = Self { dir, store, engine, began, seen: Revision::UNKNOWN, show, _lock: lock };
        runner.show.facts(&changes.facts);
        Ok(runner)
    }

    /// Goes on with a rollout that is in the store.
    ///
    /// # Errors
    /// The store's own; what it holds cannot be read.
    pub async fn resume(
        dir: &'a StateDir,
        store: &'a S,
        name: &Name,
        show: Show,
        lock: RolloutLock,
    ) -> Result<Self, Failure> {
        let engine = load(store, name).await?;
        Ok(Self { dir, store, engine, began: Instant::now(), seen: Revision::UNKNOWN, show, _lock: lock })
    }

    /// The engine, for looking at.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs to the end, or until `stop`.
    ///
    /// # Errors
    /// What the rollout cannot go on with: its pause is saved, and says the same.
    pub async fn run(&mut self, stop: Stop) -> Result<Ended, Failure> {
        let ended = self.run_to_end(stop).await;
        self.show.finish();
        ended
    }

    async fn run_to_end(&mut self, mut stop: Stop) -> Result<Ended, Failure> {
        self.mended().await?;
        // Agents may have been enrolled since it ended.
        let over = matches!(self.engine.state().outcome(), Some(Outcome::Done | Outcome::DoneWithFailures));
        let mut hands =
            Hands { lanes: if over { self.joined_since().await } else { None }, ..Hands::default() };
        loop {
            self.take_reports(&hands.latest);
            self.take_orders().await?;
            self.begin_held(&mut hands).await?;
            let now = self.now();
            match self.engine.poll(now) {
                Output::Save => self.save().await?,
                Output::Run(_) if hands.interrupted => return Ok(Ended::Interrupted),
                Output::Run(run) => hands.held = Some(run),
                Output::Stop if hands.held.take().is_some() => self.run_ended(Worked::stopped()).await?,
                Output::Stop => hands.stop_work(),
                Output::Ended => {
                    return Ok(self.engine.state().outcome().map_or(Ended::Interrupted, Ended::Over));
                }
                Output::Wait(_) if hands.interrupted && hands.work.is_none() => {
                    return Ok(Ended::Interrupted);
                }
                Output::Wait(until) => self.wait(&mut hands, until, now.wall, &mut stop).await?,
            }
        }
    }

    /// Waits for the end of the run under way, for a stop, or until it is time to look again.
    async fn wait(
        &mut self,
        hands: &mut Hands,
        until: Option<Timestamp>,
        now: Timestamp,
        stop: &mut Stop,
    ) -> Result<(), Failure> {
        self.show.tick(&self.engine);
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

    /// Begins the run that is held, if no other process sends for its groups.
    async fn begin_held(&mut self, hands: &mut Hands) -> Result<(), Failure> {
        let opened = hands.lanes.is_some();
        if let Some(run) = hands.held.take_if(|_| opened || self.are_free()) {
            hands.work = self.begin_run(run, hands.lanes.take(), &hands.latest).await?;
        }
        Ok(())
    }

    /// Begins a run; `None` where it could not begin, and has ended with that.
    ///
    /// # Errors
    /// What the rollout cannot go on with.
    async fn begin_run(
        &mut self,
        run: Run,
        opened: Option<Lanes>,
        latest: &Latest,
    ) -> Result<Option<Work>, Failure> {
        let lanes = match self.lanes(opened).await {
            Ok(lanes) => lanes,
            Err(failure) => {
                let ended = Worked { failure: Some(failure), ..Worked::stopped() };
                return self.run_ended(ended).await.map(|()| None);
            }
        };
        let (stopper, stop) = Stop::on_demand();
        self.show.run_begins(&run, &self.engine);
        Ok(Some(Work { future: Box::pin(lanes.work(run, latest.clone(), stop)), stopper }))
    }

    /// Whether no other process sends for a group of the rollout; who waits for one is told so.
    fn are_free(&mut self) -> bool {
        let groups: BTreeSet<&Name> =
            self.engine.plan().lanes.iter().map(|lane| &lane.security_group).collect();
        let taken = groups.into_iter().find_map(|group| match GroupLock::to_send(self.dir, group) {
            Err(StateError::Locked { name, .. }) => Some(name),
            // Whatever else is wrong is told by whoever opens it.
            _ => None,
        });
        if let Some(group) = &taken {
            self.show.waits_for(group);
        }
        taken.is_none()
    }

    /// Tells the engine who has joined since the rollout ended; how it ended is known without.
    async fn joined_since(&mut self) -> Option<Lanes> {
        let lanes = self.lanes(None).await;
        lanes
            .inspect_err(|failure| say!("note: whether agents were enrolled since is not known: {failure}"))
            .ok()
    }

    /// Who runs it again has mended what it could not go on with.
    async fn mended(&mut self) -> Result<(), Failure> {
        if matches!(self.engine.state().paused, Some(Pause::Broken(_))) {
            let _ = self.engine.order(Timestamp::now(), Order::Resume, None);
        }
        self.save().await
    }

    /// The security groups, opened to send; their members are looked at before each run.
    async fn lanes(&mut self, opened: Option<Lanes>) -> Result<Lanes, Failure> {
        let mut lanes = match opened {
            Some(lanes) => lanes,
            None => {
                let plan = self.engine.plan();
                let image = Images::of(self.dir).open(&prepare::digest_of(plan)?)?;
                Lanes::open(self.dir, plan, image)?
            }
        };
        lanes.refresh(self.dir, self.store, &self.engine).await?;
        let now = self.now();
        for input in lanes.differences(&self.engine) {
            self.engine.handle(now, input);
        }
        Ok(lanes)
    }

    /// Tells the engine. What the rollout cannot go on with is given back when it is saved.
    async fn run_ended(&mut self, worked: Worked) -> Result<(), Failure> {
        let now = self.now();
        let Worked { end, attempt, losses, failure } = worked;
        let end = failure.as_ref().map_or(end, |failure| RunEnd::Broken(failure.sentence.clone()));
        self.engine.handle(now, Input::RunEnded { end, attempt });
        self.save().await?;
        for (group, loss) in losses {
            if let Err(error) = self.store.note_loss(&group, loss).await {
                say!("note: the loss on the way to group '{group}' could not be stored: {error}");
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn take_reports(&mut self, latest: &Latest) {
        let now = Timestamp::now();
        for (key, report) in latest.take() {
            self.engine.report(now, &key, report);
        }
    }

    /// Carries out what operators have ordered since, as far as that needs no network.
    ///
    /// # Errors
    /// The store's own.
    pub async fn take_orders(&mut self) -> Result<(), Failure> {
        let revision = self.store.revision().await?;
        if std::mem::replace(&mut self.seen, revision) == revision {
            return Ok(());
        }
        for given in self.store.open_orders(self.engine.name()).await? {
            let said = self.engine.order(Timestamp::now(), given.order, given.reason.as_deref());
            let saved = self.save().await;
            let said = match &saved {
                Ok(()) => said.unwrap_or_else(|why| format!("{REFUSED}{why}")),
                // It must not be carried out by whoever comes next.
                Err(failure) => format!("{REFUSED}{failure}"),
            };
            self.store.settle_order(given.id, &said, Timestamp::now()).await?;
            saved?;
        }
        Ok(())
    }

    async fn save(&mut self) -> Result<(), Failure> {
        let changes = self.engine.take_changes();
        let state = to_json(&self.engine)?;
        let step = Step {
            rollout: self.engine.name(),
            state: &state,
            outcome: self.engine.state().outcome(),
            agents: &changes.agents,
            facts: &changes.facts,
            at: Timestamp::now(),
        };
        self.store.save(step).await?;
        self.show.facts(&changes.facts);
        Ok(())
    }

    fn now(&self) -> Now {
        Now { wall: Timestamp::now(), steady: self.began.elapsed() }
    }
}

/// The engine of a rollout that is in the store.
///
/// # Errors
/// There is none of this name; it cannot be read.
pub async fn load<S: Store>(store: &S, name: &Name) -> Result<Engine, Failure> {
    let rollout = store.rollout(name).await?.ok_or_else(|| {
        Failure::error(format!(
            "there is no rollout '{name}' that has begun: `fwcast get rollouts` lists them"
        ))
    })?;
    let state = serde_json::from_str(&rollout.state).map_err(|error| {
        Failure::error(format!(
            "the state of rollout '{name}' cannot be read ({error}): a newer fwcast may have written it, \
             so use that one"
        ))
    })?;
    let agents = store.rollout_agents(name).await?.into_iter().collect();
    Ok(Engine::resume(name.clone(), rollout.plan, state, agents))
}

/// The exit code of a rollout that has ended like this.
pub fn exit_of(ended: Ended) -> Exit {
    match ended {
        Ended::Interrupted => Exit::Interrupted,
        Ended::Over(Outcome::Done) => Exit::Done,
        Ended::Over(Outcome::DoneWithFailures) => Exit::SomeDevicesFailed,
        Ended::Over(Outcome::Stopped | Outcome::Cancelled | Outcome::Undone) => Exit::RolloutFailed,
    }
}

/// In one line, what the rollout does or waits for.
pub fn doing(engine: &Engine) -> String {
    let state = engine.state();
    let wave = |wave: u32| engine.plan().waves.get(wave as usize).map_or("", |wave| wave.name.as_str());
    if let (Some(pause), false) = (&state.paused, state.outcome().is_some()) {
        return format!("paused: {pause}");
    }
    match &state.stage {
        Stage::Transfer => "everyone receives".to_owned(),
        Stage::Activation { wave: number } => format!("wave '{}' activates", wave(*number)),
        Stage::Soak { wave: number, until, .. } => {
            format!("wave '{}' is watched until {until:.0}", wave(*number))
        }
        Stage::Approval { wave: number } => {
            let (name, next) = (engine.name(), wave(number + 1));
            format!("wave '{next}' waits for `fwcast rollout approve {name}`")
        }
        Stage::Cancelling => "agents are told to drop the update".to_owned(),
        Stage::Undoing => "agents on trial are told to go back".to_owned(),
        Stage::Ended { outcome, why } => format!("{}: {why}", outcome.name()),
    }
}

fn to_json(engine: &Engine) -> Result<String, Failure> {
    serde_json::to_string(engine.state())
        .map_err(|error| Failure::error(format!("cannot write the rollout's state as JSON: {error}")))
}

/// Whether it is long enough until a moment, or nobody knows how long, to let others send.
fn is_far(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_none_or(|until| until.duration_since(now) > RELEASED_FOR)
}

/// Until a moment, but not so long that orders wait.
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
