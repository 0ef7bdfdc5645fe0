//! The board `mps2-an386`: a Cortex-M4F with Ethernet (LAN9118) and 16 MiB of PSRAM that stand in for
//! flash, as QEMU emulates it.
//!
//! This package alone touches registers; what an agent does is in `agent-embedded`.
#![no_std]

pub mod board;
pub mod console;
pub mod flash;
pub mod lan9118;
mod registers;
pub mod time;
mod vectors;

use core::panic::PanicInfo;

/// Says where, and starts anew: the boot stage knows what is good.
#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    if let Some(place) = info.location() {
        line!("panic at {}:{}", place.file(), place.line());
    }
    cortex_m::peripheral::SCB::sys_reset()
}
