//! The loop of an agent: the state machine on one side; flash, network, board and application on the other.

use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::{Pin, pin};
use core::task::Poll;

use embassy_futures::select::{Either4, select4};
use embedded_storage::nor_flash::NorFlash;
use update_core::census::State;
use update_core::limits::DATAGRAM_BYTES_MAX;
use update_core::platform::{Done, Record, RollBackCause, Task, Trial, carry_out};
use update_core::reception::{Event as UpdateEvent, Input, Output, Via};
use update_core::time::{Duration, Instant, earliest};

use crate::event::Event;
use crate::provisioning::Health;
use crate::start::Machine;
use crate::store::FlashStore;

/// How long an image on trial has to prove healthy, unless the provisioning says otherwise. After that it is
/// rolled back.
pub const HEALTHY_WITHIN: Duration = Duration::from_secs(Health::DEFAULT.within_seconds as u64);
/// A board that has not fed its watchdog for this long hangs, and is reset. A start with its verifications,
/// an erase, and a hash of a whole image each take a fraction of this time. The RP2350's watchdog cannot wait
/// longer.
pub const WATCHDOG_WITHIN: Duration = Duration::from_secs(16);
/// How long an application may delay a restart: long enough for work that must not be interrupted, and half
/// of the time that a distributor waits for a confirmation by default. Then the board restarts anyway: an
/// activation or a roll back that never happens is worse.
pub const RESTART_VETO_MAX: Duration = Duration::from_secs(5 * 60);
/// An idle agent wakes this often to feed the watchdog.
const FEED_EVERY: Duration = Duration::from_secs(4);
/// A confirmation that could not be stored is retried after this time.
const CONFIRM_AGAIN: Duration = Duration::from_secs(1);
/// Due answers are sent before the board restarts.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// An application that does not allow a restart is asked again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(1);

const _: () = assert!(FEED_EVERY.as_micros() * 2 <= WATCHDOG_WITHIN.as_micros());
// It is asked more than once before it is overruled.
const _: () = assert!(ASK_AGAIN.as_micros() * 2 <= RESTART_VETO_MAX.as_micros());

/// Where datagrams come from and go to.
#[allow(async_fn_in_trait, reason = "a board drives it from one task; no Send bound is wanted")]
pub trait Network {
    /// Waits for a datagram from either socket: that of the CoAP group, or the agent's own. A datagram
    /// that is longer than the buffer is dropped.
    async fn receive(&mut self, buffer: &mut [u8]) -> Received;

    /// Sends from the agent's own socket; returns whether it could.
    async fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> bool;

    /// The CoAP group is at this address from now on, and not where it was before; returns whether it could
    /// be joined there.
    fn listen_at(&mut self, coap_group: SocketAddr) -> bool;
}

/// A received datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its length in the buffer.
    pub len: usize,
    /// Its source.
    pub from: SocketAddr,
    /// The socket that it came by.
    pub via: Via,
}

/// The hardware that the loop needs: clock, watchdog, reset.
#[allow(async_fn_in_trait, reason = "a board drives it from one task; no Send bound is wanted")]
pub trait Board {
    /// Time since the start.
    fn now(&self) -> Instant;

    /// Sleeps until then, or for ever.
    async fn sleep_until(&self, moment: Option<Instant>);

    /// Feeds the watchdog. Only this loop does, so a board whose loop hangs is reset.
    fn feed(&mut self);

    /// Resets the board, which starts the boot stage.
    fn restart(&mut self) -> !;
}

/// The firmware around the agent: the events that it hears, and its decisions.
#[allow(async_fn_in_trait, reason = "a board drives it from one task; no Send bound is wanted")]
pub trait Application {
    /// Handles an event. It must not block.
    fn on_event(&mut self, event: Event);

    /// Whether the board may restart now. An activation and a roll back need a restart. The agent asks right
    /// before it, and every second as long as the answer is no, and continues in the meantime. After
    /// [`RESTART_VETO_MAX`] it restarts whatever the answer is.
    fn may_restart(&mut self) -> bool {
        true
    }

    /// Returns when the application wants an [`Event::Status`].
    async fn asked(&self) {
        core::future::pending::<()>().await;
    }
}

/// What the loop drives.
pub struct Agent<'m, F, N, B, A> {
    /// The state machines, in their final place: they are too large to move on a small stack.
    pub machine: &'m mut Machine<'m>,
    /// Records, areas and boot switch.
    pub store: FlashStore<F>,
    /// Sockets.
    pub network: N,
    /// Clock, watchdog and reset.
    pub board: B,
    /// The firmware around the agent.
    pub application: A,
    /// The buffer for datagrams.
    pub buffer: &'m mut Buffer,
    /// When the image on trial is healthy, as provisioned.
    pub health: Health,
    /// The address of the CoAP group that [`Self::network`] has joined.
    pub coap_group: SocketAddr,
}

/// What this loop waits for in addition to the machine's own deadlines.
#[derive(Debug, Default)]
struct Times {
    /// The running image has not proved healthy yet.
    unproven: bool,
    /// The verdict of the self-test.
    verdict: Option<bool>,
    trial_ends: Option<Instant>,
    /// A confirmation that could not be stored is not retried before this moment.
    confirm_again: Option<Instant>,
    restart: Option<Instant>,
    /// The application has delayed the restart, and can no longer do so from this moment on.
    veto_ends: Option<Instant>,
}

impl Times {
    /// Nothing is left to judge; only a restart may still be due.
    const fn restart_at(restart: Option<Instant>) -> Self {
        Self {
            unproven: false,
            verdict: None,
            trial_ends: None,
            confirm_again: None,
            restart,
            veto_ends: None,
        }
    }
}

/// The buffer for datagrams. It is one byte longer than any valid datagram, so that a longer one is noticed.
pub type Buffer = [u8; DATAGRAM_BYTES_MAX + 1];

impl<F: NorFlash, N: Network, B: Board, A: Application> Agent<'_, F, N, B, A> {
    /// Runs for ever.
    ///
    /// `self_test` is polled alongside everything else while the running image is on trial. The image is
    /// confirmed when the test has returned `true` and, if [`Self::health`] requires it, the agent has heard
    /// the distributor. It is rolled back when the test returns `false`, or when the time in [`Self::health`]
    /// is over. With `core::future::ready(true)`, hearing the distributor is enough.
    pub async fn run(mut self, self_test: impl Future<Output = bool>) -> ! {
        let mut self_test = pin!(self_test);
        let mut times = self.begin();
        loop {
            self.board.feed();
            self.follow_group();
            let now = self.board.now();
            self.judge(now, &mut times);
            // An order whose attempt is saved is carried out first: it would not be accepted a second time.
            if times.restart.is_some_and(|moment| moment <= now)
                && !self.machine.reception().is_ordered_back()
            {
                if self.may_restart(now, &mut times) {
                    self.restart().await;
                }
                times.restart = Some(now + ASK_AGAIN);
            }
            self.step(self_test.as_mut(), &mut times).await;
        }
    }

    /// A group moves with its keys.
    fn follow_group(&mut self) {
        let place = self.machine.place().coap_group;
        if place != self.coap_group && self.network.listen_at(place) {
            self.coap_group = place;
        }
    }

    /// Whether the application allows the restart that is due, or has delayed it for too long.
    fn may_restart(&mut self, now: Instant, times: &mut Times) -> bool {
        let veto_ends = *times.veto_ends.get_or_insert(now + RESTART_VETO_MAX);
        if self.application.may_restart() {
            return true;
        }
        let is_over = veto_ends <= now;
        if is_over {
            self.application.on_event(Event::VetoOverruled);
        }
        is_over
    }

    fn begin(&mut self) -> Times {
        let unproven = self.machine.reception().state() == State::Trial;
        match self.store.trial() {
            // Without its update record an image on trial could never be settled, and no other update would
            // be accepted. So it is not confirmed, and is rolled back when its time is over.
            Ok(Trial::Running) => {
                let trial_ends =
                    Some(self.board.now() + Duration::from_secs(self.health.within_seconds.into()));
                Times { unproven, trial_ends, ..Times::default() }
            }
            // It was healthy before, and must not count as confirmed: it is older than the confirmed one.
            Ok(Trial::Recovered) if self.store.runs_previous() => Times::default(),
            // There is nothing to go back to, so there is no deadline.
            Ok(Trial::Recovered) => Times { unproven, ..Times::default() },
            _ => Times::default(),
        }
    }

    /// Confirms an image on trial that has proved healthy, and gives up one that has not.
    fn judge(&mut self, now: Instant, times: &mut Times) {
        if self.machine.reception().is_ordered_back() {
            return;
        }
        let hears = !self.health.hears_distributor || self.machine.reception().has_heard_distributor();
        let is_healthy = times.unproven && times.verdict == Some(true) && hears;
        if is_healthy && times.confirm_again.is_none_or(|moment| moment <= now) {
            match self.store.confirm() {
                Ok(()) => {
                    *times = Times::restart_at(times.restart);
                    self.machine.handle(now, Input::Trial(Trial::Healthy));
                }
                Err(error) => {
                    times.confirm_again = Some(now + CONFIRM_AGAIN);
                    self.application.on_event(Event::NotConfirmed(error.kind()));
                }
            }
        } else if times.trial_ends.is_some() && times.verdict == Some(false) {
            self.give_up(Event::SelfTestFailed, now, times);
        } else if times.trial_ends.is_some_and(|ends| ends <= now) {
            self.give_up(Event::NotHealthyInTime, now, times);
        }
    }

    fn give_up(&mut self, why: Event, now: Instant, times: &mut Times) {
        self.application.on_event(why);
        if let Err(error) = self.store.give_up(RollBackCause::Unhealthy) {
            self.application.on_event(Event::CauseNotStored(error.kind()));
        }
        *times = Times::restart_at(Some(now));
    }

    /// Does what the machine asks for next.
    async fn step(&mut self, self_test: Pin<&mut impl Future<Output = bool>>, times: &mut Times) {
        let Self { machine, store, network, board, application, buffer, .. } = self;
        match machine.poll(board.now(), *buffer) {
            Output::Transmit { to, len } => {
                if !network.send(to, buffer.get(..len).unwrap_or_default()).await {
                    application.on_event(Event::NotSent);
                }
            }
            Output::Task(task) => {
                let done = carry(task, store, board, application, buffer).await;
                if store.restart_due() && times.restart.is_none() {
                    // Activated or ordered back: there is nothing left to judge.
                    *times = Times::restart_at(Some(board.now() + RESTART_AFTER));
                }
                let bytes = read(done, buffer);
                machine.handle(board.now(), Input::Done { done, bytes });
            }
            Output::Event(event) => tell(application, event),
            Output::Wait(until) => self.wait(until, self_test, times).await,
        }
    }

    async fn wait(
        &mut self,
        until: Option<Instant>,
        mut self_test: Pin<&mut impl Future<Output = bool>>,
        times: &mut Times,
    ) {
        let of_trial = earliest(times.trial_ends, times.confirm_again);
        let due = earliest(until, earliest(of_trial, times.restart));
        let due = earliest(due, Some(self.board.now() + FEED_EVERY));
        let Self { machine, network, board, application, buffer, .. } = self;
        let is_tested = times.unproven && times.verdict.is_none();
        let test =
            poll_fn(|context| if is_tested { self_test.as_mut().poll(context) } else { Poll::Pending });
        // Datagrams come before the deadline: while the machine reads back an image, its deadline is always
        // now.
        match select4(test, network.receive(*buffer), application.asked(), board.sleep_until(due)).await {
            Either4::First(healthy) => times.verdict = Some(healthy),
            Either4::Second(Received { len, from, via }) => {
                let bytes = buffer.get_mut(..len).unwrap_or_default();
                machine.handle(board.now(), Input::Datagram { from, via, bytes });
            }
            Either4::Third(()) => {
                let (blocks, of) = machine.reception().progress();
                application.on_event(Event::Status { state: machine.reception().state(), blocks, of });
            }
            Either4::Fourth(()) => machine.handle(board.now(), Input::Timeout),
        }
    }

    /// Saves the exact counters, so that nothing is skipped afterwards, and resets the board.
    async fn restart(&mut self) -> ! {
        let Self { machine, store, board, application, buffer, .. } = self;
        machine.close();
        loop {
            match machine.poll(board.now(), *buffer) {
                Output::Event(event) => tell(application, event),
                Output::Task(task) => {
                    let saves = matches!(task, Task::Save { record: Record::Counters, .. });
                    let done = carry(task, store, board, application, buffer).await;
                    let bytes = read(done, buffer);
                    machine.handle(board.now(), Input::Done { done, bytes });
                    if saves {
                        break;
                    }
                }
                Output::Transmit { .. } | Output::Wait(_) => break,
            }
        }
        application.on_event(Event::Restarting);
        board.restart()
    }
}

/// Does what the machine asks of its storage.
async fn carry<F: NorFlash>(
    task: Task<'_>,
    store: &mut FlashStore<F>,
    board: &mut impl Board,
    application: &mut impl Application,
    buffer: &mut Buffer,
) -> Done {
    let mut failed = None;
    let done = {
        let mut work = pin!(carry_out(task, store, buffer, |error| failed = Some(error)));
        // Erasing both areas may take longer than the watchdog's timeout; a single page never does.
        let fed = poll_fn(|context| {
            board.feed();
            work.as_mut().poll(context)
        });
        fed.await
    };
    if let Some(error) = failed {
        application.on_event(Event::StorageFailed(error.kind()));
    }
    done
}

fn read(done: Done, buffer: &Buffer) -> &[u8] {
    match done {
        Done::Read(len) => buffer.get(..len).unwrap_or_default(),
        Done::Carried | Done::Failed(_) => &[],
    }
}

fn tell(application: &mut impl Application, event: UpdateEvent) {
    // Discarded datagrams are only counted. If each were reported, anyone could flood the console.
    if !matches!(event, UpdateEvent::Discarded(_)) {
        application.on_event(Event::Update(event));
    }
}
