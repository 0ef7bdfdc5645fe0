//! Notifies systemd. Without systemd nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

/// The agent's connection to the service manager.
#[derive(Debug)]
pub struct Notifier {
    /// How often to report that the loop still runs.
    interval: Option<Duration>,
    next: Option<Instant>,
    status: String,
}

impl Notifier {
    /// Reads the settings from the environment.
    #[must_use]
    pub fn from_environment() -> Self {
        // Twice as often as requested, as systemd recommends.
        let interval = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        Self { interval, next: interval.map(|interval| Instant::now() + interval), status: String::new() }
    }

    /// The agent is ready.
    pub fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The agent is not ready yet, and waits for something.
    pub fn waits(&self, for_what: &str) {
        tell(&[NotifyState::Status(for_what)]);
    }

    /// The agent is about to end.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// One line about what the agent does, for `systemctl status`.
    pub fn status(&mut self, status: &str) {
        if self.status != status {
            status.clone_into(&mut self.status);
            tell(&[NotifyState::Status(status)]);
        }
    }

    /// When [`still_here`](Self::still_here) is due; `None` for never.
    #[must_use]
    pub const fn due(&self) -> Option<Instant> {
        self.next
    }

    /// Reports that the loop still runs, if that is due.
    pub fn still_here(&mut self) {
        let now = Instant::now();
        if let (Some(next), Some(interval)) = (self.next, self.interval)
            && now >= next
        {
            tell(&[NotifyState::Watchdog]);
            self.next = Some(now + interval);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}
