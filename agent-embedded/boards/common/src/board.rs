//! What the agent's loop wants of a board: clock, console and reset.

use core::fmt::Display;
use core::future::poll_fn;

use agent_embedded::drive::Board;
use embassy_time::Timer;
use update_core::time::Instant;

use crate::{Chip, Console, line, stack_paint};

/// A board with a console, embassy's clock and the processor's own reset.
#[derive(Debug)]
pub struct CortexM<C> {
    console: C,
    chip: Chip,
    stack_bytes: usize,
}

impl<C: Console> CortexM<C> {
    /// With this console and this watchdog.
    pub const fn new(console: C, chip: Chip) -> Self {
        Self { console, chip, stack_bytes: 0 }
    }
}

impl<C: Console> Board for CortexM<C> {
    fn now(&self) -> Instant {
        Instant::from_micros(embassy_time::Instant::now().as_micros())
    }

    async fn sleep_until(&self, moment: Option<Instant>) {
        match moment {
            Some(moment) => Timer::at(embassy_time::Instant::from_micros(moment.as_micros())).await,
            None => core::future::pending().await,
        }
    }

    async fn asked(&self) {
        poll_fn(|context| self.console.poll_byte(context)).await;
    }

    /// The stack's peak follows wherever it has grown.
    fn line(&mut self, line: &dyn Display) {
        line!(self.console, "agent: {line}");
        let peak = stack_paint::peak_bytes();
        if peak > self.stack_bytes {
            self.stack_bytes = peak;
            line!(self.console, "agent: stack bytes={peak}");
        }
    }

    fn feed(&mut self) {
        if cfg!(feature = "hangs") {
            crate::halt();
        }
        if cfg!(feature = "faults") {
            cortex_m::asm::udf();
        }
        (self.chip.feed)();
    }

    fn restart(&mut self) -> ! {
        cortex_m::peripheral::SCB::sys_reset()
    }
}
