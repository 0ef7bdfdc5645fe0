//! The board `mps2-an386`: a Cortex-M4F with Ethernet (LAN9118) and 16 MiB of PSRAM that stand in for
//! flash, as QEMU emulates it.
//!
//! Only this package touches registers; the agent itself is in `agent-embedded`.
#![no_std]

pub mod console;
pub mod flash;
pub mod lan9118;
pub mod place;
mod registers;
pub mod time;
mod vectors;
pub mod watchdog;

use board_common::{Chip, line};
use cortex_m_rt::exception;

/// What all boards must know about the chip.
pub const CHIP: Chip = Chip { clock: 25_000_000, feed: watchdog::feed };

board_common::handlers!(console::Console);

/// The watchdog has not been fed. Its second round, which nothing delays, resets the board even if this can
/// no longer print anything.
#[exception]
unsafe fn NonMaskableInt() {
    line!(console::Console, "the watchdog was not fed");
    cortex_m::peripheral::SCB::sys_reset()
}
