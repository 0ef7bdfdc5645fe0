//! The loop around a distribution: connects the state machine to network, clock and files.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::time::Instant as Clock;

use update_core::distribution::{Distribution, Ending, Event, Input, Output};
use update_core::limits::{BLOCK_BYTES_MAX, DATAGRAM_BYTES_MAX};
use update_core::time::{Duration, Instant};

use crate::control::Stop;
use crate::link::{Link, LinkError};
use crate::session::Session;
use fwcast_state::StateError;

/// Observes a running distribution.
pub trait DistributionObserver {
    /// A fact happened. The state machine can be asked for details.
    fn event(&mut self, event: Event, distribution: &Distribution);
    /// Some time has passed.
    fn tick(&mut self, distribution: &Distribution);
    /// Nothing can be sent to the group, for this reason; `None`: it can again.
    fn outage(&mut self, why: Option<&str>);
}

/// Why a distribution cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// A file that must be durable cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system refuses to send.
    #[error("cannot send to the CoAP group {to}: {source}; `fwcast doctor` checks each part of the way")]
    NotSent {
        /// The CoAP group.
        to: SocketAddr,
        /// What the system said.
        source: LinkError,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DistributionEnd {
    /// By itself.
    By(Ending),
    /// The operator stopped it.
    Interrupted,
}

/// How often to tell the observer that time has passed.
const TICK: Duration = Duration::from_millis(100);
/// How many datagrams to send in a row before checking for incoming ones.
const SENT_IN_A_ROW_MAX: u32 = 8;
/// Room for any incoming datagram, so that none is truncated and mistaken for another.
const RECEIVE_BYTES: usize = 2048;
/// A datagram that could not be sent is tried again after this time, twice as long each time ...
const SEND_AGAIN_FIRST: Duration = Duration::from_millis(20);
/// ... up to this.
const SEND_AGAIN_MAX: Duration = Duration::from_secs(2);
/// A full queue is not worth a word for this long.
const QUEUE_FULL_FOR: Duration = Duration::from_secs(1);
/// How long to try if the distribution itself has no deadline.
const OUTAGE_WITHOUT_DEADLINE_MAX: Duration = Duration::from_secs(5);

/// Runs a distribution to its end, or until it is told to stop. The caller then settles or closes the
/// session. Several groups can run at once on one thread, each with its own session and link.
///
/// While nothing can be sent, the datagram at hand waits: the distribution goes on as soon as the interface
/// and its address are back. Its deadlines hold meanwhile.
///
/// # Errors
/// A file that must be durable cannot be written; or the system refuses to send, and the distribution has no
/// deadline.
pub async fn run(
    distribution: &mut Distribution,
    session: &mut Session,
    image: Option<&File>,
    link: &mut Link,
    observer: &mut impl DistributionObserver,
    stop: &mut Stop,
) -> Result<DistributionEnd, DriveError> {
    let clock = clock();
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    let mut incoming = [0; RECEIVE_BYTES];
    let mut sent = 0;
    let mut ticked = clock();
    loop {
        match distribution.poll(clock(), &mut buffer) {
            Output::Transmit { to, len, source } => {
                let delivery = Delivery { bytes: &buffer[..len], to, source, clock: &clock };
                if delivery.send(link, distribution, observer, stop).await? == Sending::Stopped {
                    distribution.stop();
                    return Ok(DistributionEnd::Interrupted);
                }
                sent += 1;
                if sent % SENT_IN_A_ROW_MAX == 0 {
                    receive_ready(link, distribution, clock(), &mut incoming);
                }
            }
            Output::Reserve(reservation) => {
                session.reserve(&reservation)?;
                distribution.handle(clock(), Input::Reserved(reservation));
            }
            Output::SaveFloors => {
                session.save_floors(distribution)?;
                distribution.handle(clock(), Input::FloorsSaved);
            }
            Output::Read { offset, len } => {
                let mut block = [0; BLOCK_BYTES_MAX as usize];
                let bytes = image.and_then(|file| read(file, offset, block.get_mut(..len)?));
                distribution.handle(clock(), Input::Block(bytes));
            }
            Output::Event(event) => {
                observer.event(event, distribution);
                if let Event::Finished(ending) = event {
                    return Ok(DistributionEnd::By(ending));
                }
            }
            Output::Wait(until) => {
                let now = clock();
                if now.since(ticked) >= TICK {
                    ticked = now;
                    observer.tick(distribution);
                }
                let pause = until.map_or(TICK, |until| until.since(now)).min(TICK);
                if wait(pause, distribution, link, &mut incoming, stop, &clock).await == Sending::Stopped {
                    distribution.stop();
                    return Ok(DistributionEnd::Interrupted);
                }
            }
        }
    }
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    GoesOn,
    Stopped,
}

/// A datagram to be sent.
struct Delivery<'a, C> {
    bytes: &'a [u8],
    to: SocketAddr,
    source: u8,
    clock: &'a C,
}

impl<C: Fn() -> Instant> Delivery<'_, C> {
    /// Sends it. If it is for the group and cannot be sent, tries again until it can, until an agent's time
    /// is over, or until it is told to stop. One that is for a single agent is then lost, as on the way.
    async fn send(
        self,
        link: &mut Link,
        distribution: &Distribution,
        observer: &mut impl DistributionObserver,
        stop: &mut Stop,
    ) -> Result<Sending, DriveError> {
        let (mut told, mut pause, began) = (false, SEND_AGAIN_FIRST, (self.clock)());
        while let Err(failure) = link.send(self.bytes, self.to, self.source).await {
            if !self.to.ip().is_multicast() {
                return Ok(Sending::GoesOn);
            }
            let now = (self.clock)();
            if !told && (!failure.is_queue_full() || now.since(began) >= QUEUE_FULL_FOR) {
                told = true;
                observer.outage(Some(&failure.to_string()));
            }
            match distribution.time_limit() {
                Some(limit) if now >= limit => return Ok(Sending::GoesOn),
                None if now.since(began) >= OUTAGE_WITHOUT_DEADLINE_MAX => {
                    return Err(DriveError::NotSent { to: self.to, source: failure });
                }
                limit => pause = limit.map_or(pause, |limit| pause.min(limit.since(now))),
            }
            observer.tick(distribution);
            tokio::select! {
                () = stop.asked() => return Ok(Sending::Stopped),
                () = tokio::time::sleep(pause) => pause = (pause * 2).clamp(SEND_AGAIN_FIRST, SEND_AGAIN_MAX),
            }
        }
        if told {
            observer.outage(None);
        }
        Ok(Sending::GoesOn)
    }
}

/// Passes on the next datagrams or the end of the pause, or finds out that it has to stop.
async fn wait(
    pause: Duration,
    distribution: &mut Distribution,
    link: &Link,
    incoming: &mut [u8],
    stop: &mut Stop,
    clock: impl Fn() -> Instant,
) -> Sending {
    tokio::select! {
        received = link.receive(incoming) => {
            if let Ok((len, from)) = received {
                take(distribution, clock(), from, &mut incoming[..len]);
                receive_ready(link, distribution, clock(), incoming);
            }
        }
        () = tokio::time::sleep(pause) => {
            // Datagrams that arrived while this process was not running arrived in time.
            receive_ready(link, distribution, clock(), incoming);
            distribution.handle(clock(), Input::Timeout);
        }
        () = stop.asked() => return Sending::Stopped,
    }
    Sending::GoesOn
}

/// A part of the image, if the file has it completely.
fn read<'b>(image: &File, offset: u32, target: &'b mut [u8]) -> Option<&'b [u8]> {
    image.read_exact_at(target, offset.into()).ok()?;
    Some(target)
}

/// This process's clock, in the state machine's units.
pub fn clock() -> impl Fn() -> Instant + Copy {
    static START: OnceLock<Clock> = OnceLock::new();
    let start = *START.get_or_init(Clock::now);
    move || Instant::from_micros(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// Takes the datagrams that have arrived, without waiting for more.
fn receive_ready(link: &Link, distribution: &mut Distribution, now: Instant, incoming: &mut [u8]) {
    // Bounded, so that a flood cannot keep the distributor from sending.
    for _ in 0..64 {
        match link.receive_ready(incoming) {
            Some((len, from)) => take(distribution, now, from, &mut incoming[..len]),
            None => return,
        }
    }
}

fn take(distribution: &mut Distribution, now: Instant, from: SocketAddr, bytes: &mut [u8]) {
    distribution.handle(now, Input::Datagram { from, bytes });
}
