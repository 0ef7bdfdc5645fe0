//! The driver loop: the state machine on one side; flash, network, clock and console of a board on the other.

use core::fmt::{Debug, Display};
use core::future::{Future as _, poll_fn};
use core::net::SocketAddr;
use core::pin::pin;

use embassy_futures::select::{Either3, select3};
use embedded_storage::nor_flash::NorFlash;
use update_core::census::State;
use update_core::limits::DATAGRAM_BYTES_MAX;
use update_core::platform::{Done, Record, RollBackCause, Task, Trial, carry_out};
use update_core::reception::{Event, Input, Output, Reception, Via};
use update_core::time::{Duration, Instant, earliest};

use crate::event_line::EventLine;
use crate::store::FlashStore;

/// How long an image on trial may take until it has heard the distributor; then it is rolled back.
pub const HEALTHY_WITHIN: Duration = Duration::from_secs(60);
/// A board that has not fed its watchdog for so long hangs, and is reset. A start with its verifications, an
/// erase and a hash over a whole image each take a fraction of it; no longer time fits the watchdog of the
/// RP2350.
pub const WATCHDOG_WITHIN: Duration = Duration::from_secs(16);
/// An agent with nothing to do wakes so often to feed it.
const FEED_EVERY: Duration = Duration::from_secs(4);
/// So long after a confirmation could not be stored, it is tried again.
const CONFIRM_AGAIN: Duration = Duration::from_secs(1);
/// Answers that are due go out, and those of others are not disturbed, before the board restarts.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// Where datagrams come from and go to.
#[allow(async_fn_in_trait, reason = "a board drives it from one task; no Send bound is wanted")]
pub trait Network {
    /// Waits for a datagram, by the socket of the CoAP group or by the own one. Longer ones than the buffer
    /// are dropped.
    async fn receive(&mut self, buffer: &mut [u8]) -> Received;

    /// Sends from the own socket; says whether it could.
    async fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> bool;
}

/// A datagram that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its length in the buffer.
    pub len: usize,
    /// Its source.
    pub from: SocketAddr,
    /// By which socket.
    pub via: Via,
}

/// The rest of a board: clock, console, reset.
#[allow(async_fn_in_trait, reason = "a board drives it from one task; no Send bound is wanted")]
pub trait Board {
    /// Microseconds since the start.
    fn now(&self) -> Instant;

    /// Sleeps until then, or for ever.
    async fn sleep_until(&self, moment: Option<Instant>);

    /// Waits until somebody wants a line that says how things stand: by any byte on the console. A board
    /// whose console only sends is never asked.
    async fn asked(&self) {
        core::future::pending::<()>().await;
    }

    /// Writes one line to the console: no secrets, and without the end of the line.
    fn line(&mut self, line: &dyn Display);

    /// Feeds the watchdog. Only this loop does, so that it bites where the loop gets no further.
    fn feed(&mut self);

    /// Starts the boot stage anew.
    fn restart(&mut self) -> !;
}

/// The image on trial judges itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfTest {
    /// Healthy as soon as it has heard the distributor.
    HearsDistributor,
    /// Never healthy: to see the roll back.
    Never,
}

/// What the loop drives.
pub struct Agent<'m, F, N, B> {
    /// The state machine, at its place for good: it is too large to be moved about on a small stack.
    pub reception: &'m mut Reception<'m>,
    /// Records, areas and boot switch.
    pub store: FlashStore<F>,
    /// Sockets.
    pub network: N,
    /// The board.
    pub board: B,
    /// How an image on trial proves healthy.
    pub self_test: SelfTest,
}

/// Moments that this loop waits for beside the machine's own.
#[derive(Debug, Default)]
struct Times {
    /// The image that runs has not proved healthy yet.
    unproven: bool,
    trial_ends: Option<Instant>,
    /// Not before this moment is a confirmation tried again that could not be stored.
    confirm_again: Option<Instant>,
    restart: Option<Instant>,
}

/// The buffer for datagrams: one byte more than any that counts, so that a longer one is noticed.
pub type Buffer = [u8; DATAGRAM_BYTES_MAX + 1];

impl<F: NorFlash, N: Network, B: Board> Agent<'_, F, N, B> {
    /// Runs for ever.
    pub async fn run(mut self, buffer: &mut Buffer) -> ! {
        let mut times = Times::default();
        match self.store.trial() {
            Ok(Trial::Running) => {
                // Without its update nobody could settle it afterwards, and no other one would ever be
                // taken: it goes back when its time is over.
                times.unproven = self.reception.state() == State::Trial;
                times.trial_ends = Some(self.board.now() + HEALTHY_WITHIN);
            }
            // There is nothing to go back to, so there is no deadline.
            Ok(Trial::Recovered) => times.unproven = self.reception.state() == State::Trial,
            _ => {}
        }
        loop {
            self.board.feed();
            let now = self.board.now();
            self.judge(now, &mut times).await;
            // An order whose attempt is saved is carried out first: it would not be taken a second time.
            if times.restart.is_some_and(|moment| moment <= now) && !self.reception.is_ordered_back() {
                self.restart(buffer).await;
            }
            self.step(buffer, &mut times).await;
        }
    }

    /// An image on trial is confirmed when it hears the distributor, and rolled back when its time is over.
    async fn judge(&mut self, now: Instant, times: &mut Times) {
        if self.reception.is_ordered_back() {
            return;
        }
        let is_healthy = times.unproven
            && self.self_test == SelfTest::HearsDistributor
            && self.reception.has_heard_distributor();
        if is_healthy && times.confirm_again.is_none_or(|moment| moment <= now) {
            match self.store.confirm() {
                Ok(()) => {
                    *times = Times { restart: times.restart, ..Times::default() };
                    self.reception.handle(now, Input::Trial(Trial::Healthy));
                }
                Err(error) => {
                    times.confirm_again = Some(now + CONFIRM_AGAIN);
                    self.board.line(&format_args!("confirming failed: {}", Shown(&error)));
                }
            }
        } else if times.trial_ends.is_some_and(|ends| ends <= now) {
            self.board.line(&"not healthy in time: rolling back");
            if let Err(error) = self.store.give_up(RollBackCause::Unhealthy) {
                self.board.line(&format_args!("the cause could not be stored: {}", Shown(&error)));
            }
            *times = Times { restart: Some(now), ..Times::default() };
        }
    }

    /// Does the next thing that the machine wants.
    async fn step(&mut self, buffer: &mut Buffer, times: &mut Times) {
        let Self { reception, store, network, board, .. } = self;
        match reception.poll(board.now(), buffer) {
            Output::Transmit { to, len } => {
                if !network.send(to, buffer.get(..len).unwrap_or_default()).await {
                    board.line(&"a datagram could not be sent");
                }
            }
            Output::Task(task) => {
                let mut failed = None;
                let done = {
                    let mut work = pin!(carry_out(task, store, buffer, |error| failed = Some(error)));
                    // Erasing both areas may take longer than the watchdog waits; a single page never does.
                    let fed = poll_fn(|context| {
                        board.feed();
                        work.as_mut().poll(context)
                    });
                    fed.await
                };
                if let Some(error) = failed {
                    board.line(&format_args!("storage failed: {}", Shown(&error)));
                }
                if store.restart_due() && times.restart.is_none() {
                    // Activated or ordered back: there is nothing to judge any more.
                    *times = Times { restart: Some(board.now() + RESTART_AFTER), ..Times::default() };
                }
                let bytes = read(done, buffer);
                reception.handle(board.now(), Input::Done { done, bytes });
            }
            Output::Event(event) => tell(board, event),
            Output::Wait(until) => self.wait(until, buffer, times).await,
        }
    }

    async fn wait(&mut self, until: Option<Instant>, buffer: &mut Buffer, times: &Times) {
        let of_trial = earliest(times.trial_ends, times.confirm_again);
        let due = earliest(until, earliest(of_trial, times.restart));
        let due = earliest(due, Some(self.board.now() + FEED_EVERY));
        let Self { reception, network, board, .. } = self;
        // Datagrams come before the deadline: while the machine reads back an image, its deadline is always
        // now.
        match select3(network.receive(buffer), board.asked(), board.sleep_until(due)).await {
            Either3::First(Received { len, from, via }) => {
                let bytes = buffer.get_mut(..len).unwrap_or_default();
                reception.handle(board.now(), Input::Datagram { from, via, bytes });
            }
            Either3::Second(()) => {
                let (blocks, of) = reception.progress();
                board.line(&format_args!("state={} blocks={blocks} of={of}", reception.state().name()));
            }
            Either3::Third(()) => reception.handle(board.now(), Input::Timeout),
        }
    }

    /// Saves the exact counters, so that nothing is skipped afterwards, and starts the boot stage.
    async fn restart(&mut self, buffer: &mut Buffer) -> ! {
        let Self { reception, store, board, .. } = self;
        reception.close();
        loop {
            match reception.poll(board.now(), buffer) {
                Output::Event(event) => tell(board, event),
                Output::Task(task) => {
                    let saves = matches!(task, Task::Save { record: Record::Counters, .. });
                    let done = carry_out(task, store, buffer, |_| {}).await;
                    let bytes = read(done, buffer);
                    reception.handle(board.now(), Input::Done { done, bytes });
                    if saves {
                        break;
                    }
                }
                Output::Transmit { .. } | Output::Wait(_) => break,
            }
        }
        board.line(&"restarting");
        board.restart()
    }
}

fn read(done: Done, buffer: &Buffer) -> &[u8] {
    match done {
        Done::Read(len) => buffer.get(..len).unwrap_or_default(),
        Done::Carried | Done::Failed(_) => &[],
    }
}

fn tell(board: &mut impl Board, event: Event) {
    // A datagram that is nothing to us is counted; a line for each would let anyone fill the console.
    if !matches!(event, Event::Discarded(_)) {
        board.line(&EventLine(event));
    }
}

/// An error of the platform, which is small and `Debug`.
struct Shown<'e, E>(&'e E);

impl<E: Debug> Display for Shown<'_, E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        Debug::fmt(self.0, f)
    }
}
