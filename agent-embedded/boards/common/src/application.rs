//! What the boards' own programs do around the agent: print a line on the console for each event.

use core::future::{pending, poll_fn};

use agent_embedded::board::EmbassyBoard;
use agent_embedded::drive::Application;
use agent_embedded::event::Event;
use cortex_m::peripheral::SCB;

use crate::{Chip, Console, line, stack_paint};

/// Writes each event to a console.
#[derive(Debug)]
pub struct Lines<C> {
    console: C,
    stack_bytes: usize,
}

impl<C: Console> Lines<C> {
    /// Writes to this console.
    pub const fn new(console: C) -> Self {
        Self { console, stack_bytes: 0 }
    }

    /// Writes one line, followed by the stack's peak if that has grown.
    pub fn say(&mut self, line: core::fmt::Arguments<'_>) {
        line!(self.console, "agent: {line}");
        let peak = stack_paint::peak_bytes();
        if peak > self.stack_bytes {
            self.stack_bytes = peak;
            line!(self.console, "agent: stack bytes={peak}");
        }
    }
}

impl<C: Console> Application for Lines<C> {
    fn on_event(&mut self, event: Event) {
        self.say(format_args!("{event}"));
    }

    async fn asked(&self) {
        poll_fn(|context| self.console.poll_byte(context)).await;
    }
}

/// The board as the agent's loop uses it.
#[must_use]
pub fn board(chip: Chip) -> EmbassyBoard {
    let feed = if cfg!(feature = "hangs") {
        hang
    } else if cfg!(feature = "faults") {
        fault
    } else {
        chip.feed
    };
    EmbassyBoard { feed, restart: SCB::sys_reset }
}

/// Healthy as soon as it has heard the distributor.
pub async fn self_test() -> bool {
    if cfg!(feature = "never-healthy") {
        pending::<()>().await;
    }
    true
}

fn hang() {
    crate::halt();
}

fn fault() {
    cortex_m::asm::udf();
}
