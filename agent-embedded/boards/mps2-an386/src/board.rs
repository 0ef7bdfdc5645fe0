//! What the agent's loop wants of a board, and where everything lies in its flash.

use core::fmt::Display;

use agent_embedded::drive::Board;
use agent_embedded::layouts::MPS2_AN386;
use board_common::stack_paint;
use boot_stage::layout::{FlashLayout, Partition};
use embassy_time::Timer;
use update_core::time::Instant;

use crate::flash;

/// Where everything lies in the flash. `memory/agent/memory.x` has the begin of the active slot too.
pub const LAYOUT: FlashLayout = MPS2_AN386;

/// The address of the active slot.
pub const ACTIVE: usize = flash::BASE + LAYOUT.active.offset as usize;

/// The provisioning area.
#[must_use]
pub fn provisioning() -> &'static [u8] {
    const AREA: Partition = LAYOUT.provisioning;
    let begin = (flash::BASE + AREA.offset as usize) as *const u8;
    // SAFETY: within the PSRAM, and neither agent nor boot stage ever writes there.
    unsafe { core::slice::from_raw_parts(begin, AREA.bytes as usize) }
}

/// Clock, console and reset.
#[derive(Debug, Default)]
pub struct An386 {
    stack_bytes: usize,
}

impl Board for An386 {
    fn now(&self) -> Instant {
        Instant::from_micros(embassy_time::Instant::now().as_micros())
    }

    async fn sleep_until(&self, moment: Option<Instant>) {
        match moment {
            Some(moment) => Timer::at(embassy_time::Instant::from_micros(moment.as_micros())).await,
            None => core::future::pending().await,
        }
    }

    /// The stack's peak follows wherever it has grown.
    fn line(&mut self, line: &dyn Display) {
        crate::line!("agent: {line}");
        let peak = stack_paint::peak_bytes();
        if peak > self.stack_bytes {
            self.stack_bytes = peak;
            crate::line!("agent: stack bytes={peak}");
        }
    }

    fn restart(&mut self) -> ! {
        cortex_m::peripheral::SCB::sys_reset()
    }
}
