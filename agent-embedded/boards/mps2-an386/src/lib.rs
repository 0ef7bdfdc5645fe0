//! The board `mps2-an386`: a Cortex-M4F with Ethernet (LAN9118) and 16 MiB of PSRAM that stand in for
//! flash, as QEMU emulates it.
//!
//! This package alone touches registers; what an agent does is in `agent-embedded`.
#![no_std]

pub mod console;
pub mod flash;
pub mod lan9118;
pub mod place;
mod registers;
pub mod time;
mod vectors;

use core::panic::PanicInfo;

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    board_common::on_panic(info, console::Console)
}
