//! The driver loop: the state machine on one side, sockets, storage, trial and clock on the other.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use update_core::platform::{Done, Platform, Task, Trial, carry_out};

use crate::linux_platform::LinuxPlatform;
use crate::notify::Notifier;
use crate::sockets::{Received, Sockets, Via};

/// The buffer for datagrams in bytes: above what any path of the protocol needs.
const BUFFER_BYTES: usize = 2048;

/// Pause after a socket failed, so that a lasting error does not fill the log.
const SOCKET_PAUSE: Duration = Duration::from_millis(200);

/// What the machine is told.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram came in.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// By which socket.
        via: Via,
        /// Its bytes, which may be worked on in place.
        bytes: &'a mut [u8],
    },
    /// A task has ended; with the bytes that a [`Task::Read`] read, else none.
    Done(Done, &'a [u8]),
    /// How the trial of an image stands.
    Trial(Trial),
    /// The moment that was waited for has come.
    Timeout,
    /// The agent is about to end: what must be durable is to be handed out as tasks, then a wait.
    Stop,
}

/// What the machine wants.
#[derive(Debug)]
pub enum Output<'a, E> {
    /// Send what is in the buffer.
    Transmit {
        /// To whom.
        to: SocketAddr,
        /// How many bytes.
        len: usize,
    },
    /// Carry this out, then say so.
    Task(Task<'a>),
    /// A fact to be logged.
    Event(E),
    /// Nothing before this moment, or before something happens.
    Wait(Option<Duration>),
}

/// A state machine that this loop can drive. Moments are durations since the loop's start.
pub trait Machine {
    /// Facts that it tells.
    type Event;

    /// Takes an input in.
    fn handle(&mut self, now: Duration, input: Input<'_>);

    /// Gives the next thing to do.
    fn poll(&mut self, now: Duration, buffer: &mut [u8]) -> Output<'_, Self::Event>;
}

/// What the loop drives the machine with.
#[derive(Debug)]
pub struct Device {
    /// Both sockets.
    pub sockets: Sockets,
    /// Storage and boot switch.
    pub platform: LinuxPlatform,
    /// The service manager.
    pub notifier: Notifier,
}

/// Something the machine waited for, or did not.
enum Happening {
    Received(io::Result<Received>),
    Verdict(Trial),
    Due,
    Watchdog,
    Stop,
}

/// Drives the machine until `stop` is ready, then lets it make durable what it has to.
pub async fn run<M: Machine>(
    machine: &mut M,
    device: &mut Device,
    mut log: impl FnMut(&mut Device, M::Event),
    stop: impl Future<Output = ()>,
) {
    let start = Instant::now();
    let mut stop = std::pin::pin!(stop);
    let mut stopping = false;
    let mut buffer = [0; BUFFER_BYTES];
    machine.handle(Duration::ZERO, Input::Trial(device.platform.trial()));
    device.notifier.ready();
    loop {
        device.notifier.still_here();
        match machine.poll(start.elapsed(), &mut buffer) {
            Output::Transmit { to, len } => device.send(to, &buffer[..len.min(BUFFER_BYTES)]).await,
            Output::Task(task) => {
                let done = carry_out(task, &mut device.platform, &mut buffer, |error| {
                    tracing::error!(%error, "storage failed");
                })
                .await;
                let len = if let Done::Read(len) = done { len } else { 0 };
                machine.handle(start.elapsed(), Input::Done(done, &buffer[..len]));
            }
            Output::Event(event) => log(device, event),
            Output::Wait(_) if stopping => break,
            Output::Wait(until) => {
                let until = until.map(|until| start + until);
                let happening = device.wait(until, &mut buffer, stop.as_mut()).await;
                let now = start.elapsed();
                match happening {
                    Happening::Received(Ok(Received { len, from, via })) => {
                        machine.handle(
                            now,
                            Input::Datagram {
                                from,
                                via,
                                bytes: &mut buffer[..len],
                            },
                        );
                    }
                    Happening::Received(Err(error)) => {
                        tracing::warn!(%error, "receiving failed");
                        sleep(SOCKET_PAUSE).await;
                    }
                    Happening::Verdict(trial) => machine.handle(now, Input::Trial(trial)),
                    Happening::Due => machine.handle(now, Input::Timeout),
                    Happening::Watchdog => {}
                    Happening::Stop => {
                        stopping = true;
                        device.notifier.stopping();
                        machine.handle(now, Input::Stop);
                    }
                }
            }
        }
    }
    device.end().await;
}

/// Ready when the process is asked to end.
///
/// # Errors
/// The system's own, when the signals cannot be caught.
pub fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("asked to stop by SIGTERM"),
            _ = interrupt.recv() => tracing::info!("asked to stop by SIGINT"),
        }
    })
}

impl Device {
    async fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        if let Err(error) = self.sockets.send(to, bytes).await {
            tracing::warn!(%to, %error, "sending failed");
        }
    }

    async fn wait(
        &mut self,
        until: Option<Instant>,
        buffer: &mut [u8],
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Happening {
        tokio::select! {
            biased;
            () = stop => Happening::Stop,
            () = moment(self.notifier.due()) => Happening::Watchdog,
            () = moment(until) => Happening::Due,
            trial = self.platform.verdict() => Happening::Verdict(trial),
            received = self.sockets.receive(buffer) => Happening::Received(received),
        }
    }

    async fn end(&mut self) {
        if let Err(error) = self.platform.sync().await {
            tracing::error!(%error, "the last blocks could not be made durable");
        }
        let traffic = self.sockets.traffic();
        tracing::info!(
            group_received = traffic.group_received,
            own_received = traffic.own_received,
            sent = traffic.sent,
            received_dropped = traffic.received_dropped,
            sent_dropped = traffic.sent_dropped,
            "stopped"
        );
    }
}

async fn moment(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}
