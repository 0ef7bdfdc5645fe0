//! A board with embassy's clock.

use embassy_time::Timer;
use update_core::time::Instant;

use crate::drive::Board;

/// A board with embassy's clock, and two functions of its own.
#[derive(Debug, Clone, Copy)]
pub struct EmbassyBoard {
    /// Feeds the watchdog.
    pub feed: fn(),
    /// Resets the board.
    pub restart: fn() -> !,
}

/// Time since the start, by embassy's clock.
#[must_use]
pub fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}

impl Board for EmbassyBoard {
    fn now(&self) -> Instant {
        now()
    }

    async fn sleep_until(&self, moment: Option<Instant>) {
        match moment {
            Some(moment) => Timer::at(embassy_time::Instant::from_micros(moment.as_micros())).await,
            None => core::future::pending().await,
        }
    }

    fn feed(&mut self) {
        (self.feed)();
    }

    fn restart(&mut self) -> ! {
        (self.restart)()
    }
}
