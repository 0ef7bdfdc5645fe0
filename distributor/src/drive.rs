//! The loop around a distribution: connects the state machine to socket, clock, files and orders.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::time::Instant as Clock;

use tokio::net::UdpSocket;
use update_core::distribution::{Distribution, Ending, Event, Input, Output};
use update_core::limits::{BLOCK_BYTES_MAX, DATAGRAM_BYTES_MAX};
use update_core::time::{Duration, Instant};

use crate::control::{Control, Instruction};
use crate::session::Session;
use crate::state::StateError;

/// Observes a running distribution.
pub trait DistributionObserver {
    /// A fact happened. The state machine can be asked for details.
    fn event(&mut self, event: Event, distribution: &Distribution);
    /// Some time has passed.
    fn tick(&mut self, distribution: &Distribution);
}

/// Why a distribution cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// A file that must be durable cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system refuses to send.
    #[error(
        "cannot send to the CoAP group {to}: {source}; there may be no route for multicast on the group's \
         interface: run `fwcast doctor`"
    )]
    NotSent {
        /// The CoAP group.
        to: SocketAddr,
        /// What the system said.
        source: std::io::Error,
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

/// Runs a distribution to its end, or until it is told to stop. The caller then settles or closes the
/// session. Several groups can run at once on one thread, each with its own session and socket.
///
/// # Errors
/// The system refuses to send, or a file that must be durable cannot be written.
pub async fn run(
    distribution: &mut Distribution,
    session: &mut Session,
    image: Option<&File>,
    socket: &UdpSocket,
    observer: &mut impl DistributionObserver,
    control: &mut Control,
) -> Result<DistributionEnd, DriveError> {
    let clock = clock();
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    let mut incoming = [0; RECEIVE_BYTES];
    let mut sent = 0;
    let mut ticked = clock();
    loop {
        match distribution.poll(clock(), &mut buffer) {
            Output::Transmit { to, len } => {
                send(socket, &buffer[..len], to).await?;
                sent += 1;
                if sent % SENT_IN_A_ROW_MAX == 0 {
                    receive_ready(socket, distribution, clock(), &mut incoming);
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
                let order = wait(pause, distribution, socket, &mut incoming, control, clock).await;
                match order {
                    None => {}
                    Some(Instruction::Stop) => {
                        distribution.stop();
                        return Ok(DistributionEnd::Interrupted);
                    }
                    Some(Instruction::Cancel) => distribution.handle(clock(), Input::Cancel),
                    Some(Instruction::Undo) => distribution.handle(clock(), Input::Undo),
                }
            }
        }
    }
}

/// Passes on the next datagrams or the end of the pause, or returns an order that came first.
async fn wait(
    pause: Duration,
    distribution: &mut Distribution,
    socket: &UdpSocket,
    incoming: &mut [u8],
    control: &mut Control,
    clock: impl Fn() -> Instant,
) -> Option<Instruction> {
    tokio::select! {
        received = socket.recv_from(incoming) => {
            if let Ok((len, from)) = received {
                take(distribution, clock(), from, &mut incoming[..len]);
                receive_ready(socket, distribution, clock(), incoming);
            }
        }
        () = tokio::time::sleep(pause) => {
            // Datagrams that arrived while this process was not running arrived in time.
            receive_ready(socket, distribution, clock(), incoming);
            distribution.handle(clock(), Input::Timeout);
        }
        order = control.next() => return Some(order),
    }
    None
}

/// A part of the image, if the file has it completely.
fn read<'b>(image: &File, offset: u32, target: &'b mut [u8]) -> Option<&'b [u8]> {
    image.read_exact_at(target, offset.into()).ok()?;
    Some(target)
}

/// A clock that starts now, in the state machine's units.
pub fn clock() -> impl Fn() -> Instant + Copy {
    let start = Clock::now();
    move || Instant::from_micros(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// Sends one datagram. A failure of this datagram alone (a full queue, a missing agent) is ordinary loss. If
/// this machine cannot send at all, that is an error.
async fn send(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) -> Result<(), DriveError> {
    use std::io::ErrorKind::{
        AddrNotAvailable, HostUnreachable, InvalidInput, NetworkDown, NetworkUnreachable, PermissionDenied,
    };
    match socket.send_to(bytes, to).await {
        Ok(_) => Ok(()),
        Err(source)
            if to.ip().is_multicast()
                && matches!(
                    source.kind(),
                    AddrNotAvailable
                        | HostUnreachable
                        | InvalidInput
                        | NetworkDown
                        | NetworkUnreachable
                        | PermissionDenied
                ) =>
        {
            Err(DriveError::NotSent { to, source })
        }
        Err(_) => Ok(()),
    }
}

/// Takes the datagrams that have arrived, without waiting for more.
fn receive_ready(socket: &UdpSocket, distribution: &mut Distribution, now: Instant, incoming: &mut [u8]) {
    // Bounded, so that a flood cannot keep the distributor from sending.
    for _ in 0..64 {
        match socket.try_recv_from(incoming) {
            Ok((len, from)) => take(distribution, now, from, &mut incoming[..len]),
            Err(_) => return,
        }
    }
}

fn take(distribution: &mut Distribution, now: Instant, from: SocketAddr, bytes: &mut [u8]) {
    distribution.handle(now, Input::Datagram { from, bytes });
}
