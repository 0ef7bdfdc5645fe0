//! Talking to systemd. Without systemd nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

/// The agent's line to the service manager.
#[derive(Debug)]
pub struct Notifier {
    /// How often it wants to hear that the loop still turns.
    interval: Option<Duration>,
    next: Option<Instant>,
    status: String,
}

impl Notifier {
    /// As the environment says.
    #[must_use]
    pub fn from_environment() -> Self {
        // Twice as often as asked for, as systemd advises.
        let interval = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        Self { interval, next: interval.map(|interval| Instant::now() + interval), status: String::new() }
    }

    /// The agent listens.
    pub fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The agent is about to end.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// One line on what the agent does, for `systemctl status`.
    pub fn status(&mut self, status: &str) {
        if self.status != status {
            status.clone_into(&mut self.status);
            tell(&[NotifyState::Status(status)]);
        }
    }

    /// When [`still_here`](Self::still_here) is due; `None`: never.
    #[must_use]
    pub const fn due(&self) -> Option<Instant> {
        self.next
    }

    /// Says that the loop still turns, if that is due.
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
