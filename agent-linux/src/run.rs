//! The driver loop: the state machine on one side, sockets, storage, trial and clock on the other.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use group_manager::Agent;
use tokio::task::yield_now;
use tokio::time::{Instant as Moment, sleep, sleep_until};
use update_core::limits::DATAGRAM_BYTES_MAX;
use update_core::platform::{Done, Platform, Record, Task, Trial, carry_out};
use update_core::reception::{Event, Input, Output};
use update_core::remark::Remark;
use update_core::time::Instant;

use crate::event_log;
use crate::linux_platform::LinuxPlatform;
use crate::notify::Notifier;
use crate::sockets::{Received, Sockets};
use crate::watch::{Change, Watch};

/// The buffer for datagrams, in bytes. One more than the longest valid datagram, so that a longer one is
/// noticed.
const BUFFER_BYTES: usize = DATAGRAM_BYTES_MAX + 1;

/// The pause after a socket failed, so that a persistent error does not fill the log.
const SOCKET_PAUSE: Duration = Duration::from_millis(200);

/// A state machine that this loop can drive: [`Agent`], or a smaller one in tests.
pub trait Machine {
    /// Handles an input.
    fn handle(&mut self, now: Instant, input: Input<'_>);

    /// Returns the next thing to do.
    fn poll(&mut self, now: Instant, buffer: &mut [u8]) -> Output<'_>;

    /// The program ends: the next task is to save the exact counters, and nothing more is sent.
    fn close(&mut self);

    /// Sets the device's own words about how its update stands.
    fn set_remark(&mut self, remark: Remark);

    /// Sets how many datagrams have been dropped deliberately so far.
    fn set_injected_losses(&mut self, count: u32);

    /// One line about what it does, for the service manager.
    fn status(&self) -> String;

    /// The CoAP group to listen to; `None`: the one before.
    fn coap_group(&self) -> Option<SocketAddr> {
        None
    }
}

impl Machine for Agent<'_> {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        Agent::handle(self, now, input);
    }

    fn poll(&mut self, now: Instant, buffer: &mut [u8]) -> Output<'_> {
        Agent::poll(self, now, buffer)
    }

    fn close(&mut self) {
        Agent::close(self);
    }

    fn set_remark(&mut self, remark: Remark) {
        self.reception_mut().set_remark(remark);
    }

    fn set_injected_losses(&mut self, count: u32) {
        self.reception_mut().set_injected_losses(count);
    }

    fn status(&self) -> String {
        let (present, of) = self.reception().progress();
        format!("{:?}, {present} of {of} blocks", self.reception().state())
    }

    fn coap_group(&self) -> Option<SocketAddr> {
        Some(self.place().coap_group)
    }
}

/// The resources that the loop drives the machine with.
#[derive(Debug)]
pub struct Device {
    /// Both sockets.
    pub sockets: Sockets,
    /// Whether their interface changes.
    pub watch: Watch,
    /// Storage and boot switch.
    pub platform: LinuxPlatform,
    /// The service manager.
    pub notifier: Notifier,
    /// When the machine's clock started.
    pub start: Moment,
}

/// Why the wait ended.
enum Happening {
    Received(io::Result<Received>),
    Trial(Trial),
    Network(Change),
    Due,
    Watchdog,
    Stop,
}

/// Drives the machine until `stop` is ready, then lets it save its exact counters.
pub async fn run(machine: &mut impl Machine, device: &mut Device, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    let mut buffer = [0; BUFFER_BYTES];
    device.notifier.ready();
    loop {
        device.notifier.still_here();
        machine.set_injected_losses(device.sockets.traffic().dropped());
        match machine.poll(device.now(), &mut buffer) {
            Output::Transmit { to, len } => device.send(to, &buffer[..len]).await,
            Output::Task(task) => {
                let (done, failure) = device.carry_out(task, &mut buffer).await;
                if let Some(failure) = failure {
                    machine.set_remark(failure);
                }
                let bytes = read(done, &buffer);
                machine.handle(device.now(), Input::Done { done, bytes });
            }
            Output::Event(event) => {
                event_log::write(&event);
                device.notifier.status(&machine.status());
                if let (Event::Rekeyed { .. }, Some(coap_group)) = (event, machine.coap_group()) {
                    device.listen_at(coap_group);
                }
            }
            Output::Wait(until) => match device.wait(until, &mut buffer, stop.as_mut()).await {
                Happening::Received(Ok(Received { len, from, via })) => {
                    machine.handle(device.now(), Input::Datagram { from, via, bytes: &mut buffer[..len] });
                }
                Happening::Received(Err(error)) => {
                    tracing::warn!(%error, "receiving failed");
                    sleep(SOCKET_PAUSE).await;
                }
                Happening::Trial(trial) => {
                    machine.set_remark(device.platform.remark());
                    machine.handle(device.now(), Input::Trial(trial));
                    device.notifier.status(&machine.status());
                }
                Happening::Network(change) => device.follow(change),
                Happening::Due => machine.handle(device.now(), Input::Timeout),
                Happening::Watchdog => device.notifier.status(&machine.status()),
                Happening::Stop => break,
            },
        }
    }
    end(machine, device, &mut buffer).await;
}

/// Ready when the process is asked to stop.
///
/// # Errors
/// The system's error if signals cannot be caught.
pub fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut user_1 = signal(SignalKind::user_defined1())?;
    let mut user_2 = signal(SignalKind::user_defined2())?;
    Ok(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => return tracing::info!("asked to stop by SIGTERM"),
                _ = interrupt.recv() => return tracing::info!("asked to stop by SIGINT"),
                _ = hang_up.recv() => "SIGHUP",
                _ = user_1.recv() => "SIGUSR1",
                _ = user_2.recv() => "SIGUSR2",
            };
            tracing::info!("{name} changes nothing: the configuration is read at the start alone");
        }
    })
}

/// Makes the last batch durable and saves the exact counters. Everything else must wait for the next start,
/// because nothing more may be sent or accepted.
async fn end(machine: &mut impl Machine, device: &mut Device, buffer: &mut [u8]) {
    device.notifier.stopping();
    if let Err(error) = device.platform.sync().await {
        tracing::error!(%error, "the last blocks could not be made durable");
    }
    machine.close();
    loop {
        match machine.poll(device.now(), buffer) {
            Output::Event(event) => event_log::write(&event),
            Output::Task(task @ Task::Save { record: Record::Counters, .. }) => {
                device.carry_out(task, buffer).await;
                break;
            }
            Output::Task(_) | Output::Transmit { .. } | Output::Wait(_) => break,
        }
    }
    event_log::write_traffic(&device.sockets.traffic());
}

impl Device {
    fn now(&self) -> Instant {
        let micros = self.start.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The interface has changed: the CoAP group is joined on it again, now or at the next look.
    fn follow(&mut self, change: Change) {
        let interface = match change {
            Change::Changed(interface) => interface,
            Change::Gone => return tracing::warn!("the interface is gone: waiting for it"),
        };
        if let Err(error) = self.sockets.join_again(interface) {
            tracing::warn!(%error, "the CoAP group cannot be joined yet: trying again");
            self.watch.forget();
        }
    }

    /// The group is at this address from now on.
    pub fn listen_at(&mut self, coap_group: SocketAddr) {
        if let Err(error) = self.sockets.listen_at(coap_group) {
            tracing::warn!(%error, "the new CoAP group cannot be joined yet: trying again");
            self.watch.forget();
        }
    }

    async fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        if let Err(error) = self.sockets.send(to, bytes).await {
            tracing::warn!(%to, %error, "sending failed");
        }
    }

    /// How the task ended, and if it failed, why.
    async fn carry_out(&mut self, task: Task<'_>, buffer: &mut [u8]) -> (Done, Option<Remark>) {
        let mut failure = None;
        let done = carry_out(task, &mut self.platform, buffer, |error| {
            tracing::error!(%error, "storage failed");
            failure = Some(Remark::of(format_args!("{error}")));
        });
        (done.await, failure)
    }

    /// Datagrams have priority over the deadline: while the machine reads back a whole image, its deadline is
    /// always now.
    async fn wait(
        &mut self,
        until: Option<Instant>,
        buffer: &mut [u8],
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Happening {
        let due = until.map(|until| self.start + until.since(Instant::default()));
        tokio::select! {
            biased;
            () = stop => Happening::Stop,
            () = moment(self.notifier.due()) => Happening::Watchdog,
            change = self.watch.change() => Happening::Network(change),
            trial = self.platform.news() => Happening::Trial(trial),
            received = self.sockets.receive(buffer) => Happening::Received(received),
            () = moment(due) => Happening::Due,
        }
    }
}

fn read(done: Done, buffer: &[u8]) -> &[u8] {
    match done {
        Done::Read(len) => buffer.get(..len).unwrap_or_default(),
        Done::Carried | Done::Failed(_) => &[],
    }
}

async fn moment(when: Option<Moment>) {
    match when {
        // The timer counts in milliseconds, and while a whole image is read the moment is over each time:
        // then only the sockets are looked at.
        Some(when) if when <= Moment::now() => yield_now().await,
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_moment_that_is_over_takes_no_time() {
        let start = Moment::now();
        // An image of 64 MiB is read in so many pieces of 64 blocks. With the timer it takes a second.
        for _ in 0..1024 {
            moment(Some(start)).await;
        }
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    }
}
